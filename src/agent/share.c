/*
 * Owns what becomes of a convicted client of a file server: the processes that serve it are ended (frozen, they could
 * hold locks that the whole share waits for), and its address is kept from the share until people release the incident.
 * The share stays up for everybody else. Must not judge, nor touch the server itself, which the judge spares.
 */
#include "agent/share.h"

#include "agent/clients.h"
#include "base/err.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PEERS_MAX 16

bool pc_share_is_client(const struct pc_guard *g, pc_actor root)
{
    return pc_judge_pid(g->judge, root) < 0;
}

/* Once. At the bound the rest is not blocked, and each new connection of it is ended. */
static void add_peer(struct pc_peer *list, uint32_t *n, const struct pc_peer *p)
{
    for (uint32_t i = 0; i < *n; i++)
        if (list[i].port == p->port && strcmp(list[i].address, p->address) == 0)
            return;
    if (*n < PEERS_MAX)
        list[(*n)++] = *p;
}

/*
 * Where it came from, and from where else its open connections come (SMB's multichannel); here: all of it can be
 * blocked.
 */
static uint32_t peers_of(struct pc_guard *g, const struct pc_stopped *s, pc_actor root, struct pc_peer *list,
                         bool *here)
{
    uint32_t n = 0;
    struct pc_peer found[PEERS_MAX];
    bool is_here = false;
    *here = pc_clients_find(g, pc_judge_pid(g->judge, root), &found[0], &is_here) && is_here;
    if (*here)
        add_peer(list, &n, &found[0]);
    for (uint32_t i = 0; i < s->members; i++) {
        pid_t pid = s->member[i].pid;
        int more = pc_judge_is_beneath(g->judge, pc_judge_actor_of(g->judge, pid), root)
                       ? pc_peers_of(pid, found, PEERS_MAX)
                       : 0;
        for (int k = 0; k < more; k++)
            add_peer(list, &n, &found[k]);
    }
    return n;
}

/* In words, for the incident's timeline and the log. */
static void keep_out(struct pc_guard *g, struct pc_stopped *s, pc_actor root)
{
    struct pc_peer list[PEERS_MAX];
    bool here;
    uint32_t n = peers_of(g, s, root, list, &here);
    char text[256], why[160] = "";
    if (!g->settings.share_block || !here) {
        snprintf(text, sizeof text, "%s: not blocked (%s); each new connection of it is ended instead",
                 pc_clients_address(g, pc_judge_pid(g->judge, root)),
                 !g->settings.share_block ? "[share] block is no" : "its server runs in another network namespace");
        pc_stopped_note(g, s->inc.id, text);
        return;
    }
    int r = pc_blocked_add(g, s->inc.id, list, n, why, sizeof why);
    for (uint32_t i = 0; i < n; i++) {
        if (r < 0)
            snprintf(text, sizeof text,
                     "%s could not be kept from TCP port %u: %s; each new connection of it is ended instead",
                     list[i].address, list[i].port, why[0] ? why : pc_strerror(r));
        else
            snprintf(text, sizeof text, "%s is kept from TCP port %u until the incident is released", list[i].address,
                     list[i].port);
        pc_stopped_note(g, s->inc.id, text);
        pc_event(g->log, r < 0 ? PC_LEVEL_ERROR : PC_LEVEL_NOTICE, "share",
                 &(struct pc_event_about){.incident = s->inc.id}, "incident %" PRIu64 ": %s", s->inc.id, text);
    }
}

void pc_share_stop(struct pc_guard *g, struct pc_stopped *s)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < s->roots; i++)
        if (pc_share_is_client(g, s->root[i]))
            keep_out(g, s, s->root[i]);
    for (uint32_t m = 0; m < s->members; m++)
        for (uint32_t i = 0; i < s->roots; i++)
            if (pc_share_is_client(g, s->root[i]) &&
                pc_judge_is_beneath(g->judge, pc_judge_actor_of(g->judge, s->member[m].pid), s->root[i]))
                ended += kill(s->member[m].pid, SIGKILL) == 0;
    if (!ended)
        return;
    char text[96];
    snprintf(text, sizeof text, "%u connections of a client were ended; the share stays up for everybody else", ended);
    pc_stopped_note(g, s->inc.id, text);
}

void pc_share_refuse(struct pc_guard *g, pid_t pid, pc_actor client)
{
    uint64_t incident = pc_stop_incident_of(g, client);
    if (!incident || kill(pid, SIGKILL) < 0)
        return;
    pc_event(g->log, PC_LEVEL_WARNING, "share", &(struct pc_event_about){.incident = incident, .pid = pid},
             "incident %" PRIu64 ": another connection of %s was ended", incident,
             pc_clients_address(g, pc_judge_pid(g->judge, client)));
}
