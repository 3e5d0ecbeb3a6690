#ifndef PC_HOST_TRIAL_H
#define PC_HOST_TRIAL_H
/*
 * The trial of a program that an upgrade fetched. `agent.upgrade` leaves the checked program beside ours as NAME.new
 * and says so by PC_EXIT_UPGRADED; the host then runs it as a host of its own (`--trial`), before anything is replaced.
 * A trial that reached the server ends itself with PC_EXIT_UPGRADED; whatever else it does (ends, crashes, is not
 * welcomed in time) means that the old program, which never left its place, goes on.
 */
#include "host/options.h"

#include <stddef.h>
#include <stdint.h>

/* "PROGRAM.new", where the fetched program waits for its trial. */
void pc_trial_path(const char *program, char *out, size_t cap);

/*
 * Runs the trial of o->program's successor, at most wait_ns, and puts it in place when it came up: it is o->program
 * then, and the one before is o->program.previous. signal_fd: pc_signals_open; SIGTERM and SIGINT end the trial.
 * Nothing of the trial is left alive when this returns. 0; or an error, why in words, and nothing was changed: -EINTR
 * (told to end), PC_E_REFUSED (it did not come up), -errno.
 */
int pc_trial_run(const struct pc_host_options *o, int signal_fd, uint64_t wait_ns, char *why, size_t why_len);
#endif
