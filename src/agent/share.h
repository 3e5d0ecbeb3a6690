#ifndef PC_AGENT_SHARE_H
#define PC_AGENT_SHARE_H
#include "agent/stopped.h"

/* share.c: convicted clients of a file server. */

/* Is what a verdict names the client of a file server, not a process? */
bool pc_share_is_client(const struct pc_guard *g, pc_actor root);
/*
 * After the processes of the incident were stopped: those that serve its clients are ended, the clients' addresses
 * blocked. Others stay frozen.
 */
void pc_share_stop(struct pc_guard *g, struct pc_stopped *s);
/* A process was found serving this client: ended at once if the client is part of an open incident. */
void pc_share_refuse(struct pc_guard *g, pid_t pid, pc_actor client);
#endif
