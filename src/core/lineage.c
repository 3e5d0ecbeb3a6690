/*
 * Owns the table of processes and their creation ancestry. Allocates once, in pc_lineage_init. Knows nothing of
 * evidence except the sums it carries up; judge.c tells it who was born and who died, ledger.c what to add where.
 */
#include "core/lineage.h"

#include <errno.h>
#include <stdlib.h>

#define SLOT_BITS 20

int pc_lineage_init(struct pc_lineage *l, uint32_t cap)
{
    *l = (struct pc_lineage){.cap = cap};
    uint32_t heads = 64;
    while (heads < cap)
        heads *= 2;
    l->pid_mask = heads - 1;
    l->node = calloc((size_t)cap + 1, sizeof *l->node);
    l->pid_heads = calloc(heads, sizeof *l->pid_heads);
    if (!l->node || !l->pid_heads) {
        pc_lineage_fini(l);
        return -ENOMEM;
    }
    /* Slots are taken in order first, so that a quiet host never touches most of the table's memory. */
    return 0;
}

void pc_lineage_fini(struct pc_lineage *l)
{
    free(l->node);
    free(l->pid_heads);
    l->node = NULL;
    l->pid_heads = NULL;
}

static uint32_t *pid_head(const struct pc_lineage *l, pid_t pid)
{
    return &l->pid_heads[((uint32_t)pid * 2654435761u >> 7) & l->pid_mask];
}

uint32_t pc_lineage_slot(const struct pc_lineage *l, pc_actor actor)
{
    uint32_t s = (uint32_t)(actor & PC_LINEAGE_MAX);
    return actor && s <= l->cap && l->node[s].id == actor ? s : 0;
}

uint32_t pc_lineage_by_pid(const struct pc_lineage *l, pid_t pid)
{
    uint32_t s = *pid_head(l, pid);
    while (s && l->node[s].pid != pid)
        s = l->node[s].pid_next;
    return s;
}

static void pid_unlink(struct pc_lineage *l, uint32_t slot)
{
    uint32_t *at = pid_head(l, l->node[slot].pid);
    while (*at && *at != slot)
        at = &l->node[*at].pid_next;
    if (*at)
        *at = l->node[slot].pid_next;
}

static void queue_leaf(struct pc_lineage *l, uint32_t slot)
{
    struct pc_node *n = &l->node[slot];
    if (n->queued || n->alive || n->child)
        return;
    n->queued = true;
    n->leaf_next = 0;
    n->leaf_prev = l->leaf_tail;
    if (l->leaf_tail)
        l->node[l->leaf_tail].leaf_next = slot;
    else
        l->leaf_head = slot;
    l->leaf_tail = slot;
}

static void unqueue_leaf(struct pc_lineage *l, uint32_t slot)
{
    struct pc_node *n = &l->node[slot];
    if (!n->queued)
        return;
    n->queued = false;
    if (n->leaf_prev)
        l->node[n->leaf_prev].leaf_next = n->leaf_next;
    else
        l->leaf_head = n->leaf_next;
    if (n->leaf_next)
        l->node[n->leaf_next].leaf_prev = n->leaf_prev;
    else
        l->leaf_tail = n->leaf_prev;
}

static void link_child(struct pc_lineage *l, uint32_t slot, uint32_t parent)
{
    struct pc_node *n = &l->node[slot], *p = &l->node[parent];
    n->parent = parent;
    n->prev = 0;
    n->next = parent ? p->child : 0;
    if (n->next)
        l->node[n->next].prev = slot;
    if (parent) {
        p->child = slot;
        unqueue_leaf(l, parent);
    }
}

static void unlink_child(struct pc_lineage *l, uint32_t slot)
{
    struct pc_node *n = &l->node[slot];
    if (n->prev)
        l->node[n->prev].next = n->next;
    else if (n->parent)
        l->node[n->parent].child = n->next;
    if (n->next)
        l->node[n->next].prev = n->prev;
    if (n->parent)
        queue_leaf(l, n->parent);
}

static void evict(struct pc_lineage *l, uint32_t slot)
{
    struct pc_node *n = &l->node[slot];
    if (l->on_evict)
        l->on_evict(l->arg, slot, n->parent);
    if (n->is_spared && n->alive)
        pc_lineage_exit(l, slot);
    unqueue_leaf(l, slot);
    unlink_child(l, slot);
    pid_unlink(l, slot);
    *n = (struct pc_node){.next = l->free_head};
    l->free_head = slot;
}

/* Oldest dead leaf without anything to its name; else the oldest dead leaf; looks at a bounded number of them. */
static uint32_t dead_victim(const struct pc_lineage *l, uint32_t keep)
{
    uint32_t s = l->leaf_head;
    for (int looked = 0; s && looked < 256; looked++, s = l->node[s].leaf_next)
        if (s != keep && !l->node[s].files && !l->node[s].opaque)
            return s;
    return l->leaf_head != keep ? l->leaf_head : l->node[keep].leaf_next;
}

/* All alive: some living leaf without evidence goes; the guard will find it again in /proc when it acts. */
static uint32_t living_victim(struct pc_lineage *l, uint32_t keep)
{
    for (uint32_t i = 0; i < 2 * l->cap; i++) {
        l->hand = l->hand % l->cap + 1;
        const struct pc_node *n = &l->node[l->hand];
        bool clean = !n->files && !n->opaque && !n->is_spared;
        if (n->id && !n->child && l->hand != keep && (clean || i >= l->cap))
            return l->hand;
    }
    return 0;
}

static uint32_t take_slot(struct pc_lineage *l, uint32_t keep)
{
    if (!l->free_head && l->used < l->cap)
        return ++l->used;
    if (!l->free_head) {
        uint32_t victim = dead_victim(l, keep);
        if (!victim)
            victim = living_victim(l, keep);
        evict(l, victim);
    }
    uint32_t s = l->free_head;
    l->free_head = l->node[s].next;
    return s;
}

uint32_t pc_lineage_add(struct pc_lineage *l, pid_t pid, uint32_t parent)
{
    while (parent && l->node[parent].depth >= PC_LINEAGE_DEPTH - 1)
        parent = l->node[parent].parent;
    uint32_t s = take_slot(l, parent);
    struct pc_node *n = &l->node[s];
    *n = (struct pc_node){.id = ++l->counter << SLOT_BITS | s, .pid = pid, .alive = true};
    n->depth = parent ? (uint8_t)(l->node[parent].depth + 1) : 0;
    link_child(l, s, parent);
    uint32_t *head = pid_head(l, pid);
    n->pid_next = *head;
    *head = s;
    return s;
}

static void add_spared(struct pc_lineage *l, uint32_t slot, int32_t by)
{
    for (uint32_t s = slot; s; s = l->node[s].parent)
        l->node[s].spared += (uint32_t)by;
}

void pc_lineage_exit(struct pc_lineage *l, uint32_t slot)
{
    struct pc_node *n = &l->node[slot];
    if (!n->alive)
        return;
    if (n->is_spared)
        add_spared(l, slot, -1);
    n->alive = false;
    queue_leaf(l, slot);
}

/* Next node of a depth-first walk over root's subtree, children before siblings; 0 at the end. */
static uint32_t walk_next(const struct pc_lineage *l, uint32_t s, uint32_t root)
{
    if (l->node[s].child)
        return l->node[s].child;
    while (s != root && !l->node[s].next)
        s = l->node[s].parent;
    return s == root ? 0 : l->node[s].next;
}

/* What a subtree holds is added to (sign 1) or taken from (-1) this node and all above it. */
static void carry_sums(struct pc_lineage *l, uint32_t from, const struct pc_node *n, int sign)
{
    for (uint32_t s = from; s; s = l->node[s].parent) {
        struct pc_node *p = &l->node[s];
        p->score += n->score * (uint32_t)sign;
        p->files += n->files * (uint32_t)sign;
        p->opaque += n->opaque * (uint32_t)sign;
        p->young += n->young * (uint32_t)sign;
        p->deleted += n->deleted * (uint32_t)sign;
        p->spared += n->spared * (uint32_t)sign;
    }
}

void pc_lineage_move(struct pc_lineage *l, uint32_t slot, uint32_t parent)
{
    struct pc_node *n = &l->node[slot];
    if (!parent || n->parent == parent || pc_lineage_is_beneath(l, parent, slot))
        return;
    uint32_t deepest = 0, top = n->depth, down = l->node[parent].depth + 1u;
    for (uint32_t s = slot; s; s = walk_next(l, s, slot))
        if (l->node[s].depth > deepest)
            deepest = l->node[s].depth;
    if (deepest - top + down >= PC_LINEAGE_DEPTH)
        return;
    for (uint32_t s = slot; s; s = walk_next(l, s, slot))
        l->node[s].depth = (uint8_t)(l->node[s].depth - top + down);
    if (n->parent) {
        carry_sums(l, n->parent, n, -1);
        unlink_child(l, slot);
    }
    link_child(l, slot, parent);
    carry_sums(l, parent, n, 1);
}

void pc_lineage_adopt(struct pc_lineage *l, uint32_t slot, uint32_t parent)
{
    if (!l->node[slot].parent)
        pc_lineage_move(l, slot, parent);
}

void pc_lineage_spare(struct pc_lineage *l, uint32_t slot)
{
    struct pc_node *n = &l->node[slot];
    if (n->is_spared)
        return;
    n->is_spared = true;
    if (n->alive)
        add_spared(l, slot, 1);
}

bool pc_lineage_is_beneath(const struct pc_lineage *l, uint32_t slot, uint32_t root)
{
    while (slot && slot != root)
        slot = l->node[slot].parent;
    return slot && slot == root;
}

uint32_t pc_lineage_common(const struct pc_lineage *l, uint32_t a, uint32_t b)
{
    while (a && b && a != b) {
        if (l->node[a].depth >= l->node[b].depth)
            a = l->node[a].parent;
        else
            b = l->node[b].parent;
    }
    return a && a == b ? a : 0;
}

uint32_t pc_lineage_group(const struct pc_lineage *l, uint32_t slot)
{
    uint32_t below = slot;
    for (uint32_t s = slot; s && !l->node[s].spared; s = l->node[s].parent)
        below = s;
    return below;
}

uint32_t pc_lineage_wide(const struct pc_lineage *l, uint32_t slot)
{
    uint32_t group = pc_lineage_group(l, slot), above = l->node[group].parent;
    bool strangers = l->node[above].pid == 1 || l->node[group].pid < 0;
    return above && l->node[above].spared && !strangers ? above : group;
}

uint32_t pc_lineage_client(const struct pc_lineage *l, uint32_t slot)
{
    while (slot && l->node[slot].pid >= 0)
        slot = l->node[slot].parent;
    return slot;
}

void pc_lineage_add_score(struct pc_lineage *l, uint32_t slot, int32_t score, int32_t files)
{
    for (uint32_t s = slot; s; s = l->node[s].parent) {
        l->node[s].score += (uint32_t)score;
        l->node[s].files += (uint32_t)files;
    }
}

void pc_lineage_add_opaque(struct pc_lineage *l, uint32_t slot, int32_t n)
{
    for (uint32_t s = slot; s; s = l->node[s].parent)
        l->node[s].opaque += (uint32_t)n;
}

void pc_lineage_add_young(struct pc_lineage *l, uint32_t slot, int32_t n)
{
    for (uint32_t s = slot; s; s = l->node[s].parent)
        l->node[s].young += (uint32_t)n;
}

void pc_lineage_add_deleted(struct pc_lineage *l, uint32_t slot, int32_t n)
{
    for (uint32_t s = slot; s; s = l->node[s].parent)
        l->node[s].deleted += (uint32_t)n;
}
