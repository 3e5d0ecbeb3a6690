#ifndef PC_PROC_SIGNALS_H
#define PC_PROC_SIGNALS_H
/* Signals that come by descriptor, to a loop that polls. */
#include <signal.h>

/*
 * Blocks SIGTERM, SIGINT, SIGHUP and also (0: no more) in this thread and those that it starts from now on, and makes a
 * non-blocking descriptor that is readable when one came. blocked: these signals, for who unblocks them; may be NULL.
 * Descriptor or -errno.
 */
int pc_signals_open(int also, sigset_t *blocked);
/* Takes the number of one that came; 0: there is none. */
int pc_signals_take(int fd);
/* Blocks none: what a program that is started expects. 0 or -errno. */
int pc_signals_allow_all(void);
#endif
