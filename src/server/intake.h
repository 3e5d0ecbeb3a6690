#ifndef PC_SERVER_INTAKE_H
#define PC_SERVER_INTAKE_H
/* What intake.c offers besides the requests of server.h. */
#include "server/server.h"

/* Highest sequence of an order that is in the log; PC_KEY_SEQUENCE also counts those that wait for approvals. */
#define PC_KEY_SEQUENCE_LOGGED "sequence-logged"

/* Highest sequence ever taken; 0: none. */
int pc_sequence_seen(struct pc_store *s, uint64_t *out);
#endif
