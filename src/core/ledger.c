/*
 * Owns evidence, and keeps the lineage's sums equal to it. Decides nothing: weigh.c says what is evidence and what it
 * is worth.
 */
#include "core/ledger.h"

#include <errno.h>
#include <stdlib.h>

#define HEADS (PC_LEDGER_EVIDENCE * 2)

int pc_ledger_init(struct pc_ledger *g, struct pc_lineage *lin)
{
    *g = (struct pc_ledger){.lin = lin};
    g->entry = calloc(PC_LEDGER_EVIDENCE + 1, sizeof *g->entry);
    g->heads = calloc(HEADS, sizeof *g->heads);
    if (!g->entry || !g->heads) {
        pc_ledger_fini(g);
        return -ENOMEM;
    }
    return 0;
}

void pc_ledger_fini(struct pc_ledger *g)
{
    free(g->entry);
    free(g->heads);
    *g = (struct pc_ledger){.lin = g->lin};
}

static uint32_t *head_of(struct pc_ledger *g, uint64_t file)
{
    return &g->heads[(file * 0x9e3779b97f4a7c15ULL >> 40) % HEADS];
}

static uint32_t find(struct pc_ledger *g, uint64_t file)
{
    uint32_t i = *head_of(g, file);
    while (i && g->entry[i].file != file)
        i = g->entry[i].hash_next;
    return i;
}

static void own(struct pc_ledger *g, uint32_t i, uint32_t owner)
{
    struct pc_entry *e = &g->entry[i];
    struct pc_node *n = &g->lin->node[owner];
    e->owner = owner;
    e->own_prev = 0;
    e->own_next = n->own;
    if (n->own)
        g->entry[n->own].own_prev = i;
    n->own = i;
}

static void disown(struct pc_ledger *g, uint32_t i)
{
    struct pc_entry *e = &g->entry[i];
    if (e->own_prev)
        g->entry[e->own_prev].own_next = e->own_next;
    else
        g->lin->node[e->owner].own = e->own_next;
    if (e->own_next)
        g->entry[e->own_next].own_prev = e->own_prev;
}

static void age_append(struct pc_ledger *g, uint32_t i)
{
    struct pc_entry *e = &g->entry[i];
    e->age_next = 0;
    e->age_prev = g->newest;
    if (g->newest)
        g->entry[g->newest].age_next = i;
    else
        g->oldest = i;
    g->newest = i;
}

static void age_remove(struct pc_ledger *g, uint32_t i)
{
    struct pc_entry *e = &g->entry[i];
    if (e->age_prev)
        g->entry[e->age_prev].age_next = e->age_next;
    else
        g->oldest = e->age_next;
    if (e->age_next)
        g->entry[e->age_next].age_prev = e->age_prev;
    else
        g->newest = e->age_prev;
}

static void drop(struct pc_ledger *g, uint32_t i)
{
    struct pc_entry *e = &g->entry[i];
    pc_lineage_add_score(g->lin, e->owner, -(int32_t)e->score, e->counts ? -1 : 0);
    disown(g, i);
    age_remove(g, i);
    uint32_t *at = head_of(g, e->file);
    while (*at != i)
        at = &g->entry[*at].hash_next;
    *at = e->hash_next;
    *e = (struct pc_entry){.hash_next = g->free_head};
    g->free_head = i;
}

static uint32_t take_entry(struct pc_ledger *g)
{
    if (!g->free_head && g->used < PC_LEDGER_EVIDENCE)
        return ++g->used;
    if (!g->free_head)
        drop(g, g->oldest);
    uint32_t i = g->free_head;
    g->free_head = g->entry[i].hash_next;
    return i;
}

void pc_ledger_add(struct pc_ledger *g, uint32_t owner, const struct pc_blame *b)
{
    uint32_t i = find(g, b->file);
    /* A destroyed file that is then emptied is not the better for it. */
    bool again = i && b->base && g->entry[i].base == b->base && !(b->evidence & PC_EV_EMPTIED);
    if (i && !again && g->entry[i].score >= b->score)
        return;
    uint64_t since_ns = i ? g->entry[i].since_ns : b->now_ns;
    if (i)
        drop(g, i);
    if (!b->score)
        return;
    i = take_entry(g);
    struct pc_entry *e = &g->entry[i];
    *e = (struct pc_entry){.file = b->file, .time_ns = b->now_ns, .since_ns = since_ns, .base = b->base,
                           .score = b->score, .evidence = b->evidence, .counts = b->counts};
    uint32_t *head = head_of(g, b->file);
    e->hash_next = *head;
    *head = i;
    own(g, i, owner);
    age_append(g, i);
    pc_lineage_add_score(g->lin, owner, b->score, b->counts ? 1 : 0);
}

void pc_ledger_lower(struct pc_ledger *g, uint64_t file, uint8_t score)
{
    uint32_t i = find(g, file);
    if (!i || g->entry[i].score <= score)
        return;
    if (!score) {
        drop(g, i);
        return;
    }
    pc_lineage_add_score(g->lin, g->entry[i].owner, (int32_t)score - g->entry[i].score, 0);
    g->entry[i].score = score;
}

void pc_ledger_refilled(struct pc_ledger *g, uint64_t file)
{
    uint32_t i = find(g, file);
    if (i && g->entry[i].evidence == PC_EV_EMPTIED)
        drop(g, i);
}

static bool is_old(uint64_t then_ns, uint64_t now_ns, uint64_t window_ns)
{
    return now_ns > then_ns && now_ns - then_ns > window_ns;
}

void pc_ledger_expire(struct pc_ledger *g, uint64_t now_ns, uint64_t window_ns)
{
    while (g->oldest && is_old(g->entry[g->oldest].time_ns, now_ns, window_ns))
        drop(g, g->oldest);
}

uint64_t pc_ledger_since(const struct pc_ledger *g, uint32_t root)
{
    uint64_t since_ns = UINT64_MAX;
    for (uint32_t i = g->oldest; i; i = g->entry[i].age_next)
        if (g->entry[i].since_ns < since_ns && pc_lineage_is_beneath(g->lin, g->entry[i].owner, root))
            since_ns = g->entry[i].since_ns;
    return since_ns;
}

void pc_ledger_absolve(struct pc_ledger *g, uint32_t root)
{
    for (uint32_t i = g->oldest, next; i; i = next) {
        next = g->entry[i].age_next;
        if (pc_lineage_is_beneath(g->lin, g->entry[i].owner, root))
            drop(g, i);
    }
}

void pc_ledger_inherit(struct pc_ledger *g, uint32_t slot, uint32_t parent)
{
    struct pc_node *n = &g->lin->node[slot];
    while (n->own) {
        uint32_t i = n->own;
        if (!parent) {
            drop(g, i);
            continue;
        }
        disown(g, i);
        own(g, i, parent); /* the sums of parent and above hold it already */
    }
}
