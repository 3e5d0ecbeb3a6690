#ifndef PC_PROC_CONFINE_H
#define PC_PROC_CONFINE_H
#include <stdbool.h>

struct pc_identity;
/*
 * Takes from this process what the guard never needs, for good and for every thread started later: capabilities beyond
 * the list in confine.c, gaining privileges by exec, starting programs, the network, tracing, loading kernel code. Call
 * it before threads are started. 0 or -errno / PC_E_UNSUPPORTED (the kernel has no seccomp; capabilities are dropped
 * all the same).
 */
int pc_confine_guard(void);
/*
 * For the process that holds the host's connection: only the system calls of a TLS client over IPv4, IPv6 and local
 * sockets (the list in confine_link.c); everything else answers ENOSYS. It starts no program, makes no file, traces
 * nobody. Call it after pc_become, before threads. 0 or -errno / PC_E_UNSUPPORTED (no seccomp here).
 */
int pc_confine_link(void);
/*
 * For portcullis-server: only the system calls of a TLS server with a database in files of its own or behind a socket
 * (the list in confine_server.c); everything else answers ENOSYS. It starts no program, traces nobody, has no
 * capability, also as root. Call it after the listening sockets are open and before threads. 0 or -errno /
 * PC_E_UNSUPPORTED (no seccomp here, or a build with a sanitizer, which needs calls that are not on the list;
 * capabilities are gone all the same).
 */
int pc_confine_server(void);
/*
 * What of it holds for the calling thread, as the kernel says: no_new_privs, a filter of system calls, no capability.
 * -errno.
 */
struct pc_confined {
    bool no_new_privs, seccomp, no_capabilities;
};
int pc_confined_get(struct pc_confined *out);
/*
 * Becomes another user for good: groups, user, no capabilities, no_new_privs. 0 or -errno (then the process must not go
 * on).
 */
int pc_become(const struct pc_identity *as);
#endif
