#ifndef PC_KERN_PEERS_H
#define PC_KERN_PEERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Who is at the other end of a process's TCP connections, from /proc/PID/fd and /proc/PID/net: of its own network
 * namespace. What an attacker can put there is the address that he really connected from.
 */
struct pc_peer {
    char address[46]; /* INET6_ADDRSTRLEN; an IPv4 address that came in over IPv6 is told as IPv4 */
    uint16_t port;    /* ours: where the connection came in */
};
/*
 * The established connections that came in at a port which is listened on in the namespace, without repeating one: up
 * to max of them. Bounded: the first 256 descriptors, 64 sockets, 8 MiB of each table. Returns how many, 0 too when
 * nothing fits; or -errno.
 */
int pc_peers_of(pid_t pid, struct pc_peer *out, size_t max);
/* Is the process in the caller's network namespace? False also when that cannot be found out. */
bool pc_peers_here(pid_t pid);
#endif
