#ifndef PC_CLI_DRILL_SEAL_H
#define PC_CLI_DRILL_SEAL_H
#include <stdbool.h>

/*
 * Gives up, for this process and all its descendants, what the drill never needs: sockets of any kind, starting other
 * programs, mounting; io_uring unless uring is set (an unrestricted ring could open sockets past the filter); and all
 * capabilities unless keep_rights is set. 0 or -errno.
 */
int drill_seal(bool uring, bool keep_rights);
#endif
