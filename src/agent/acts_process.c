/*
 * Owns the index's rows of processes: which actors have one, with their ancestors. Must not judge them. acts_judge.c
 * and acts.c ask for a row before they name it, stop.c for those of an incident; guard.c tells of an exec, which makes
 * a row old.
 */
#include "agent/acts_impl.h"

#include "agent/clients.h"
#include "kern/procfs.h"

#include <stdio.h>
#include <string.h>

/* A client of a file server has no pid: nobody must send a signal to the judge's number for it. */
static void put_client(struct pc_guard *g, pc_actor actor, uint64_t id, uint64_t parent)
{
    struct pc_process p = {.id = id, .parent = parent};
    snprintf(p.exe, sizeof p.exe, "%s", g->settings.share_server);
    snprintf(p.argv, sizeof p.argv, "client\n%s", pc_clients_address(g, pc_judge_pid(g->judge, actor)));
    (void)pc_store_put_process(g->store, &p);
}

static void put_process(struct pc_guard *g, pc_actor actor, uint64_t id, uint64_t parent)
{
    struct pc_process p = {.id = id, .parent = parent, .pid = pc_judge_pid(g->judge, actor)};
    struct pc_procinfo info;
    if (pc_judge_alive(g->judge, actor) && pc_proc_read(p.pid, &info) == 0) {
        p.uid = info.uid;
        p.start_ns = info.start_real_ns;
        memcpy(p.exe, info.exe, sizeof p.exe);
        memcpy(p.argv, info.argv, sizeof p.argv);
        memcpy(p.cgroup, info.cgroup, sizeof p.cgroup);
        memcpy(p.user, info.user, sizeof p.user);
    }
    (void)pc_store_put_process(g->store, &p); /* a failed store shows in status; the act itself is kept */
}

static uint64_t process_at(struct pc_guard *g, pc_actor actor, int depth)
{
    if (!actor)
        return 0;
    uint64_t id = g->run_base + actor;
    pc_actor *slot = &g->acts->written[actor % SET_SLOTS];
    if (*slot == actor || depth > 64)
        return id;
    uint64_t parent = process_at(g, pc_judge_parent(g->judge, actor), depth + 1);
    (pc_judge_pid(g->judge, actor) < 0 ? put_client : put_process)(g, actor, id, parent);
    g->acts->written[actor % SET_SLOTS] = actor;
    return id;
}

uint64_t pc_acts_process(struct pc_guard *g, pc_actor actor)
{
    return process_at(g, actor, 0);
}

void pc_acts_forget_process(struct pc_guard *g, pc_actor actor)
{
    if (g->acts->written[actor % SET_SLOTS] == actor)
        g->acts->written[actor % SET_SLOTS] = 0;
}

void pc_acts_add_to_incident(struct pc_guard *g, uint64_t incident, pc_actor root)
{
    for (uint32_t i = 0; i < SET_SLOTS; i++) {
        pc_actor actor = g->acts->written[i];
        if (actor && pc_judge_is_beneath(g->judge, actor, root))
            (void)pc_store_incident_add_process(g->store, incident, g->run_base + actor);
    }
}
