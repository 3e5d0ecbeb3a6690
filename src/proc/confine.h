#ifndef PC_PROC_CONFINE_H
#define PC_PROC_CONFINE_H

struct pc_identity;
/*
 * Takes from this process what the guard never needs, for good and for every thread started later: capabilities beyond
 * the list in confine.c, gaining privileges by exec, starting programs, the network, tracing, loading kernel code. Call it
 * before threads are started. 0 or -errno / PC_E_UNSUPPORTED (the kernel has no seccomp; capabilities are dropped all the
 * same).
 */
int pc_confine_guard(void);
/*
 * For the process that holds the host's connection: only the system calls of a TLS client over IPv4, IPv6 and local sockets (the list in
 * confine_link.c); everything else answers ENOSYS. It starts no program, makes no file, traces nobody. Call it after pc_become, before threads.
 * 0 or -errno / PC_E_UNSUPPORTED (no seccomp here).
 */
int pc_confine_link(void);
/* Becomes another user for good: groups, user, no capabilities, no_new_privs. 0 or -errno (then the process must not go on). */
int pc_become(const struct pc_identity *as);
#endif
