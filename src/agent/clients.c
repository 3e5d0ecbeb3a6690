/*
 * Owns what is known of the clients of this host's file server (smbd): which process serves which address. The judge then counts what a client
 * does as the client's (core/judge.h: pc_judge_serve). Must not decide what becomes of one (stop.c, blocked.c).
 *
 * Looked at before the first act of a process is judged; and, once a process is known to be a file server, at each of its forks, so that a
 * connection that is over before its events are read has been seen.
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
            return actor != 0;
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

/* False: it may still become known whom it serves. */
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

void pc_clients_know(struct pc_guard *g, pid_t pid)
{
    pc_actor actor = pc_judge_actor_of(g->judge, pid);
    pc_actor *slot = &g->clients->looked[actor % LOOKED_SLOTS];
    if (actor && *slot != actor && look(g, actor, pid))
        *slot = actor;
}

void pc_clients_forked(struct pc_guard *g, pid_t parent, pid_t child)
{
    if (g->clients->servers && is_server(g->clients, pc_judge_actor_of(g->judge, parent)))
        pc_clients_know(g, child);
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
