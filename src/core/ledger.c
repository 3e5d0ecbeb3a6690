/*
 * Owns evidence, credits and recent deletions, and keeps the lineage's sums equal to them. Decides nothing: judge.c
 * says what is evidence and what it is worth.
 */
#include "core/ledger.h"

#include <errno.h>
#include <stdlib.h>

#define HEADS (PC_LEDGER_EVIDENCE * 2)
/* An archive of text is rarely smaller than a twentieth of it. */
#define ARCHIVE_RATIO 20
/* Deleting first and writing after happens within seconds, for the data is in memory meanwhile. */
#define GONE_NS (30 * 1000000000ULL)

int pc_ledger_init(struct pc_ledger *g, struct pc_lineage *lin)
{
    *g = (struct pc_ledger){.lin = lin};
    g->entry = calloc(PC_LEDGER_EVIDENCE + 1, sizeof *g->entry);
    g->heads = calloc(HEADS, sizeof *g->heads);
    g->credit = calloc(PC_LEDGER_CREDITS, sizeof *g->credit);
    g->gone = calloc(PC_LEDGER_GONE, sizeof *g->gone);
    if (!g->entry || !g->heads || !g->credit || !g->gone) {
        pc_ledger_fini(g);
        return -ENOMEM;
    }
    return 0;
}

void pc_ledger_fini(struct pc_ledger *g)
{
    free(g->entry);
    free(g->heads);
    free(g->credit);
    free(g->gone);
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

bool pc_ledger_add(struct pc_ledger *g, uint32_t owner, uint64_t file, uint64_t now_ns, uint8_t score,
                   uint32_t evidence, bool counts)
{
    uint32_t i = find(g, file);
    if (i && g->entry[i].score >= score)
        return false;
    if (i)
        drop(g, i);
    i = take_entry(g);
    struct pc_entry *e = &g->entry[i];
    *e = (struct pc_entry){.file = file, .time_ns = now_ns, .score = score, .evidence = evidence, .counts = counts};
    uint32_t *head = head_of(g, file);
    e->hash_next = *head;
    *head = i;
    own(g, i, owner);
    age_append(g, i);
    pc_lineage_add_score(g->lin, owner, score, counts ? 1 : 0);
    return true;
}

static bool is_old(uint64_t then_ns, uint64_t now_ns, uint64_t window_ns)
{
    return now_ns > then_ns && now_ns - then_ns > window_ns;
}

static void forget_credit(struct pc_ledger *g, struct pc_credit *c)
{
    if (!c->owner)
        return;
    pc_lineage_add_opaque(g->lin, c->owner, -1);
    *c = (struct pc_credit){0};
}

/* The whole ring is looked through, but only 64 times a window: a credit may so live a little longer than it should. */
static void expire_credits(struct pc_ledger *g, uint64_t now_ns, uint64_t window_ns)
{
    if (!is_old(g->credit_swept_ns, now_ns, window_ns / 64))
        return;
    g->credit_swept_ns = now_ns;
    for (uint32_t k = 0; k < PC_LEDGER_CREDITS; k++)
        if (is_old(g->credit[k].time_ns, now_ns, window_ns))
            forget_credit(g, &g->credit[k]);
}

void pc_ledger_expire(struct pc_ledger *g, uint64_t now_ns, uint64_t window_ns)
{
    while (g->oldest && is_old(g->entry[g->oldest].time_ns, now_ns, window_ns))
        drop(g, g->oldest);
    expire_credits(g, now_ns, window_ns);
}

void pc_ledger_absolve(struct pc_ledger *g, uint32_t root)
{
    for (uint32_t i = g->oldest, next; i; i = next) {
        next = g->entry[i].age_next;
        if (pc_lineage_is_beneath(g->lin, g->entry[i].owner, root))
            drop(g, i);
    }
    for (uint32_t k = 0; k < PC_LEDGER_CREDITS; k++)
        if (g->credit[k].owner && pc_lineage_is_beneath(g->lin, g->credit[k].owner, root))
            forget_credit(g, &g->credit[k]);
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
    for (uint32_t k = 0; n->opaque && k < PC_LEDGER_CREDITS; k++) {
        struct pc_credit *c = &g->credit[k];
        if (c->owner != slot)
            continue;
        c->owner = parent;
        n->opaque--;
        if (!parent)
            *c = (struct pc_credit){0};
    }
}

static struct pc_credit *credit_of_file(struct pc_ledger *g, uint64_t file)
{
    for (uint32_t k = 0; k < PC_LEDGER_CREDITS; k++)
        if (g->credit[k].owner && g->credit[k].file == file)
            return &g->credit[k];
    return NULL;
}

void pc_ledger_credit(struct pc_ledger *g, uint32_t owner, const struct pc_act *act, bool archive)
{
    struct pc_credit *c = g->lin->node[pc_lineage_wide(g->lin, owner)].opaque ? credit_of_file(g, act->file) : NULL;
    if (c) { /* the same file written on: it grew */
        c->size = act->size_after;
        return;
    }
    c = &g->credit[g->credit_at];
    g->credit_at = (g->credit_at + 1) % PC_LEDGER_CREDITS;
    forget_credit(g, c);
    *c = (struct pc_credit){.file = act->file, .folder = act->folder, .size = act->size_after, .time_ns = act->now_ns,
                            .left = act->size_after * ARCHIVE_RATIO, .owner = owner, .archive = archive};
    pc_lineage_add_opaque(g->lin, owner, 1);
}

static bool size_between(uint64_t made, uint64_t gone, uint32_t low_percent, uint32_t high_percent)
{
    return made * 100 >= gone * low_percent && made <= gone / 100 * high_percent + 4096;
}

/* How much this ciphertext speaks for being what became of a file of that size in that folder. */
static uint8_t match_score(const struct pc_credit *c, uint32_t actor, uint64_t folder, uint64_t size)
{
    if (c->archive && c->left >= size && c->owner == actor)
        return 90; /* an archiver that removes what it packed: zip -m, 7z -sdel */
    if (c->folder == folder && size_between(c->size, size, 5, 210))
        return 95;
    if (size_between(c->size, size, 98, 106) || size_between(c->size, size, 130, 145))
        return 85;
    if (size_between(c->size, size, 25, 160))
        return 30;
    return c->archive && c->left >= size ? 15 : 0;
}

uint8_t pc_ledger_match(struct pc_ledger *g, uint32_t actor, uint64_t folder, uint64_t size)
{
    uint32_t group = pc_lineage_wide(g->lin, actor);
    struct pc_credit *best = NULL;
    uint8_t score = 0;
    for (uint32_t k = 1; k <= PC_LEDGER_CREDITS; k++) { /* newest first: of equals the newest is meant */
        struct pc_credit *c = &g->credit[(g->credit_at + PC_LEDGER_CREDITS - k) % PC_LEDGER_CREDITS];
        if (!c->owner || !pc_lineage_is_beneath(g->lin, c->owner, group))
            continue;
        uint8_t s = match_score(c, actor, folder, size);
        if (s > score) {
            score = s;
            best = c;
        }
    }
    if (best && best->archive)
        best->left -= size < best->left ? size : best->left;
    else if (best)
        best->size = 0; /* used up; stays as a sign that this lineage makes ciphertext */
    return score;
}

void pc_ledger_gone(struct pc_ledger *g, uint32_t actor, const struct pc_act *act)
{
    g->gone[g->gone_at] = (struct pc_gone){.file = act->file, .folder = act->folder, .size = act->size_before,
                                           .time_ns = act->now_ns, .actor = g->lin->node[actor].id};
    g->gone_at = (g->gone_at + 1) % PC_LEDGER_GONE;
    if (g->gone_held < PC_LEDGER_GONE)
        g->gone_held++;
}

bool pc_ledger_take_gone(struct pc_ledger *g, uint32_t actor, const struct pc_act *act, uint64_t *file)
{
    uint32_t group = pc_lineage_wide(g->lin, actor);
    for (uint32_t k = 1; k <= g->gone_held; k++) {
        struct pc_gone *d = &g->gone[(g->gone_at + PC_LEDGER_GONE - k) % PC_LEDGER_GONE];
        uint32_t owner = pc_lineage_slot(g->lin, d->actor);
        if (!owner || d->folder != act->folder || is_old(d->time_ns, act->now_ns, GONE_NS) ||
            !size_between(act->size_after, d->size, 25, 210) || !pc_lineage_is_beneath(g->lin, owner, group))
            continue;
        *file = d->file;
        d->actor = 0;
        return true;
    }
    return false;
}
