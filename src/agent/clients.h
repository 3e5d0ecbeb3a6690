#ifndef PC_AGENT_CLIENTS_H
#define PC_AGENT_CLIENTS_H
#include "agent/guard.h"
#include "kern/peers.h"

/*
 * Clients of a file server on this host ([share] server): a program on another machine destroys files through smbd,
 * which must not be stopped for everybody. clients.c knows who is served by whom, blocked.c keeps stopped ones out.
 */

/* ---- clients.c ---- */
int pc_clients_new(struct pc_clients **out); /* -ENOMEM */
void pc_clients_free(struct pc_clients *c);
/*
 * Before an act of this process is judged: finds out whether it serves a client, once. A readlink at its first act;
 * cheap after that.
 */
void pc_clients_know(struct pc_guard *g, pid_t pid);
/*
 * The lineage has met a process that runs, or it has a new program: is it a file server, or does it serve a client? A
 * readlink or two.
 */
void pc_clients_met(struct pc_guard *g, pid_t pid);
/* The lineage has a new process: looked at if its parent is a file server. */
void pc_clients_forked(struct pc_guard *g, pid_t parent, pid_t child);
/*
 * Address of the client that the judge knows by this (negative) number; "unknown" when it was forgotten. Until the next
 * call.
 */
const char *pc_clients_address(struct pc_guard *g, pid_t number);
/*
 * The same with the port; here: its server runs in our network namespace. False: forgotten, *out and *here untouched.
 */
bool pc_clients_find(struct pc_guard *g, pid_t number, struct pc_peer *out, bool *here);

/* ---- blocked.c ---- */
/* Reads what an earlier guard blocked (<state>/blocked) and blocks it again: over a reboot, too. */
void pc_blocked_load(struct pc_guard *g);
void pc_blocked_free(struct pc_guard *g);
/*
 * Keeps these addresses from these ports until pc_blocked_release(incident): all, or on failure none. 0, PC_E_LIMIT
 * (256 of them), or an error; and why.
 */
int pc_blocked_add(struct pc_guard *g, uint64_t incident, const struct pc_peer *peers, uint32_t n, char *why,
                   size_t cap);
/* Lets in again what this incident keeps out. How many addresses; 0: none. */
uint32_t pc_blocked_release(struct pc_guard *g, uint64_t incident);
/* Calls fn for each, in the order of blocking. */
void pc_blocked_each(const struct pc_guard *g, void (*fn)(void *arg, uint64_t incident, const struct pc_peer *peer),
                     void *arg);
#endif
