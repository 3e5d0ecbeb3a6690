/*
 * Owns what is known of the clients of this host's file server (smbd): which process serves which address. The judge
 * then counts what a client does as the client's (core/judge.h: pc_judge_serve). Must not decide what becomes of one
 * (stop.c, blocked.c).
 *
 * Who is a file server is looked at as the guard starts and at each exec; its children as soon as they are met (at
 * their fork, or without a process connector as their first event is read), so that a connection that is over before
 * its acts are judged has been seen; and before the first act.
 */
#include "agent/clients.h"

#include "agent/share.h"
#include "base/clock.h"
#include "core/trace.h"
#include "kern/procfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 1024 /* at the bound the one heard of longest ago is forgotten: its next connection is met as new */
#define SERVERS_MAX 16
#define LOOKED_SLOTS 8192 /* a collision only looks again */

struct client {
    struct pc_peer peer;
    pid_t number, server; /* number: what the judge knows it by, negative */
    bool here;            /* its server is in our network namespace: it can be blocked */
    uint64_t heard_ns;
};

struct pc_clients {
    struct client client[CLIENTS_MAX];
    pc_actor server[SERVERS_MAX], looked[LOOKED_SLOTS];
    uint32_t servers;
    pid_t last_number;
};

int pc_clients_new(struct pc_clients **out)
{
    struct pc_clients *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    *out = c;
    return 0;
}

void pc_clients_free(struct pc_clients *c)
{
    free(c);
}

static struct client *by_number(struct pc_clients *c, pid_t number)
{
    for (struct client *k = c->client; number < 0 && k < c->client + CLIENTS_MAX; k++)
        if (k->number == number)
            return k;
    return NULL;
}

/* Known already, or in the place of the one heard of longest ago. */
static struct client *meet(struct pc_clients *c, const struct pc_peer *peer, pid_t server)
{
    struct client *oldest = c->client;
    for (struct client *k = c->client; k < c->client + CLIENTS_MAX; k++) {
        if (k->server == server && strcmp(k->peer.address, peer->address) == 0)
            return k;
        if (k->heard_ns < oldest->heard_ns)
            oldest = k;
    }
    *oldest = (struct client){.peer = *peer, .number = --c->last_number, .server = server};
    return oldest;
}

static bool is_server(const struct pc_clients *c, pc_actor actor)
{
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        if (c->server[i] == actor)
            return actor != 0; /* 0: nobody, and an empty place */
    return false;
}

static void remember_server(struct pc_clients *c, pc_actor actor)
{
    if (!is_server(c, actor))
        c->server[c->servers++ % SERVERS_MAX] = actor;
}

static bool runs_server(const struct pc_guard *g, pid_t pid)
{
    return pid > 0 && strcmp(g->settings.share_server, "none") != 0 && pc_proc_runs(pid, g->settings.share_server);
}

/*
 * The one that waits for clients: it runs the file server, its parent does not. One that became a daemon is a child of
 * it.
 */
static void meet_server(struct pc_guard *g, pc_actor actor, pid_t pid)
{
    if (runs_server(g, pid) && !runs_server(g, pc_judge_pid(g->judge, pc_judge_parent(g->judge, actor))))
        remember_server(g->clients, actor);
}

/* False: its connection was not seen, and may be when it acts. */
static bool look(struct pc_guard *g, pc_actor actor, pid_t pid)
{
    struct pc_clients *c = g->clients;
    pc_actor parent = pc_judge_parent(g->judge, actor);
    pid_t server = pc_judge_pid(g->judge, parent);
    if (server < 0)
        return true; /* served already */
    if (!is_server(c, parent) && (!runs_server(g, pid) || !runs_server(g, server)))
        return true;
    remember_server(c, parent);
    struct pc_peer peer;
    if (pc_peers_of(pid, &peer, 1) != 1)
        return false;
    struct client *k = meet(c, &peer, server);
    uint64_t now = pc_mono_ns();
    k->peer.port = peer.port;
    k->heard_ns = now;
    k->here = pc_peers_here(pid);
    pc_actor client = pc_judge_serve(g->judge, pid, k->number, now);
    pc_tracer_lineage(g, PC_TRACE_SERVE, k->number, pid, now);
    pc_share_refuse(g, pid, client);
    return true;
}

/*
 * At most twice for one process, at its fork and at its first act: a table of many connections is long to read, and
 * each act would wait for it.
 */
static void know(struct pc_guard *g, pid_t pid, bool acts)
{
    pc_actor actor = pc_judge_actor_of(g->judge, pid);
    pc_actor *slot = &g->clients->looked[actor % LOOKED_SLOTS];
    if (!actor || *slot == actor)
        return;
    bool known = look(g, actor, pid);
    if (known || acts)
        *slot = actor;
    if (!known && acts)
        pc_judge_lose(g->judge, pid);
}

void pc_clients_know(struct pc_guard *g, pid_t pid)
{
    know(g, pid, true);
}

void pc_clients_met(struct pc_guard *g, pid_t pid)
{
    meet_server(g, pc_judge_actor_of(g->judge, pid), pid);
    if (g->clients->servers)
        know(g, pid, false);
}

void pc_clients_forked(struct pc_guard *g, pid_t parent, pid_t child)
{
    pc_actor actor = g->clients->servers ? pc_judge_actor_of(g->judge, parent) : 0;
    if (is_server(g->clients, actor) || (actor && is_server(g->clients, pc_judge_parent(g->judge, actor))))
        know(g, child, false);
}

const char *pc_clients_address(struct pc_guard *g, pid_t number)
{
    const struct client *k = by_number(g->clients, number);
    return k ? k->peer.address : "unknown";
}

bool pc_clients_find(struct pc_guard *g, pid_t number, struct pc_peer *out, bool *here)
{
    const struct client *k = by_number(g->clients, number);
    if (!k)
        return false;
    *out = k->peer;
    *here = k->here;
    return true;
}
