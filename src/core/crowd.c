/*
 * Owns the memory of births and what a crowd is. Must not decide what is done about one: the gate does. judge.c tells
 * it who was born and when to count.
 */
#include "core/crowd.h"

#define GROUPS_SEEN 64u

struct tally {
    uint32_t group, processes;
};

void pc_crowds_born(struct pc_crowds *c, pc_actor actor, pid_t tid, uint64_t now_ns)
{
    c->ring[c->at++ % PC_CROWD_RING] = (struct pc_birth){actor, tid, now_ns};
    c->uncounted++;
}

void pc_crowds_ended(struct pc_crowds *c, pid_t tid)
{
    for (uint32_t i = 0; tid && i < PC_CROWD_RING; i++)
        if (c->ring[i].tid == tid)
            c->ring[i] = (struct pc_birth){0};
}

static void add(struct tally *seen, uint32_t group)
{
    for (uint32_t i = 0; i < GROUPS_SEEN; i++) {
        struct tally *t = &seen[(group + i) % GROUPS_SEEN];
        if (t->group && t->group != group)
            continue;
        *t = (struct tally){group, t->processes + 1};
        return;
    }
}

void pc_crowds_count(struct pc_crowds *c, const struct pc_lineage *l, uint64_t now_ns)
{
    struct tally seen[GROUPS_SEEN] = {0};
    for (uint32_t i = 0; i < PC_CROWD_RING; i++) {
        const struct pc_birth *b = &c->ring[i];
        uint32_t slot = b->actor && now_ns - b->time_ns < PC_CROWD_NS ? pc_lineage_slot(l, b->actor) : 0;
        /* A thread counts until its own end: the first of a process may end before the others. */
        if (slot && (b->tid || l->node[slot].alive) && !l->node[slot].spared)
            add(seen, pc_lineage_group(l, slot));
    }
    c->uncounted = c->groups = 0;
    for (uint32_t i = 0; i < GROUPS_SEEN && c->groups < PC_CROWDS_MAX; i++)
        if (seen[i].processes >= PC_CROWD_PROCESSES)
            c->group[c->groups++] = l->node[seen[i].group].id;
}

pc_actor pc_crowds_of(const struct pc_crowds *c, const struct pc_lineage *l, uint32_t slot)
{
    pc_actor group = slot && c->groups ? l->node[pc_lineage_group(l, slot)].id : 0;
    for (uint32_t i = 0; group && i < c->groups; i++)
        if (c->group[i] == group)
            return group;
    return 0;
}
