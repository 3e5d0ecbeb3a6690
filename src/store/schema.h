#ifndef PC_STORE_SCHEMA_H
#define PC_STORE_SCHEMA_H
#include "store/db.h"

/*
 * Brings the database's tables to what sql.h expects, in one transaction; *version is what they are then. Nothing is
 * done on failure. PC_E_UNSUPPORTED: a newer program made them.
 */
int pc_schema_migrate(struct pc_db *db, uint32_t *version);
#endif
