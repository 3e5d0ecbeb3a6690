#ifndef PC_AGENT_GUARD_START_H
#define PC_AGENT_GUARD_START_H
/* Between guard.c (the loop) and guard_start.c (what it holds). */
#include "agent/guard.h"

/*
 * Opens everything that a guard of these settings and folders needs. Says why not on standard error: then
 * pc_guard_close is still to be called.
 */
int pc_guard_open(struct pc_guard *g);
/* Closes it all; no open waits for us from its first step on. Frozen processes stay frozen. */
void pc_guard_close(struct pc_guard *g);
/* One more folder to guard, not opened yet; one that is there already is kept. 0 or -ENOMEM. */
int pc_guard_add_folder(struct pc_guard *g, const char *path);
/* Says on standard error what failed, why and what to do (hint, may be empty). Returns err. */
int pc_guard_complain(const char *what, int err, const char *hint);

/* guard.c: every process there is becomes known, and those without which there is no host are spared for ever. */
void pc_guard_meet_all(struct pc_guard *g);
#endif
