#ifndef PC_PROC_CONFINE_IMPL_H
#define PC_PROC_CONFINE_IMPL_H
/* What the lists of allowed system calls have in common; for confine_*.c alone. */
#include <seccomp.h>

/*
 * What every program with a network needs: memory, threads, time, reading what is open, sockets of its own. Opening is
 * not among them, nor socket, clone and prctl, which go by their arguments. 0 or libseccomp's -errno.
 */
int pc_confine_allow_common(scmp_filter_ctx ctx);
/* socket for local, IPv4, IPv6 and netlink (getaddrinfo asks which addresses we have); threads, but no name spaces; naming a thread. The same. */
int pc_confine_allow_bounded(scmp_filter_ctx ctx);
#endif
