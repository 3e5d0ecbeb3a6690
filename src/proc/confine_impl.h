#ifndef PC_PROC_CONFINE_IMPL_H
#define PC_PROC_CONFINE_IMPL_H
/* What the lists of allowed system calls have in common; for confine_*.c alone. */
#include <seccomp.h>

/*
 * Loads a filter, for good: what every program with a network needs (memory, threads but no name spaces, time, reading
 * what is open, sockets for local, IPv4, IPv6 and netlink, which getaddrinfo asks for our addresses; naming a thread),
 * what allow() adds, and ENOSYS for the rest. Opening is for allow() to say. 0, libseccomp's -errno, or
 * PC_E_UNSUPPORTED (no seccomp here).
 */
int pc_confine_load(int (*allow)(scmp_filter_ctx ctx));
#endif
