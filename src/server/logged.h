#ifndef PC_SERVER_LOGGED_H
#define PC_SERVER_LOGGED_H
/* How what owners signed gets into the log, whole (PROTOCOL.md 1.7). For a job's run(). */
#include "server/writer.h"
#include "trust/entry.h"

/*
 * Adds the entry that names it, and ahead of that, when entry and signatures are too long for it, the parts of the
 * envelope. *index: the place of the entry that names it. Errors as of pc_log_add.
 */
int pc_logged_order(struct pc_log_batch *log, const struct pc_order *o, const struct pc_envelope *e, uint64_t *index);
/* type: `trust`, `revoke`, `server`. */
int pc_logged_owners(struct pc_log_batch *log, const char *tenant, const char *type, const struct pc_envelope *e);
#endif
