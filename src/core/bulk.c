/*
 * Owns counting deletions: how many each subtree of processes made within the last minute. Reaches no verdict.
 */
#include "core/bulk.h"

#include <errno.h>
#include <stdlib.h>

int pc_bulk_init(struct pc_bulk *b, struct pc_lineage *lin)
{
    *b = (struct pc_bulk){.lin = lin, .ring = calloc(PC_BULK_RING, sizeof *b->ring)};
    return b->ring ? 0 : -ENOMEM;
}

void pc_bulk_fini(struct pc_bulk *b)
{
    free(b->ring);
    *b = (struct pc_bulk){.lin = b->lin};
}

static void forget(struct pc_bulk *b, struct pc_bulk_entry *e)
{
    if (e->owner)
        pc_lineage_add_deleted(b->lin, e->owner, -1);
    *e = (struct pc_bulk_entry){0};
}

static void drop_oldest(struct pc_bulk *b)
{
    forget(b, &b->ring[b->oldest]);
    b->oldest = (b->oldest + 1) % PC_BULK_RING;
    b->used--;
}

void pc_bulk_deleted(struct pc_bulk *b, uint32_t actor, uint64_t file, uint64_t now_ns)
{
    while (b->used && (b->used == PC_BULK_RING || now_ns - b->ring[b->oldest].time_ns > PC_BULK_NS))
        drop_oldest(b);
    b->ring[(b->oldest + b->used++) % PC_BULK_RING] = (struct pc_bulk_entry){file, now_ns, actor};
    pc_lineage_add_deleted(b->lin, actor, 1);
}

void pc_bulk_back(struct pc_bulk *b, uint64_t file)
{
    for (uint32_t i = 0; i < b->used; i++) {
        struct pc_bulk_entry *e = &b->ring[(b->oldest + i) % PC_BULK_RING];
        uint64_t time_ns = e->time_ns;
        if (e->file != file || !e->owner)
            continue;
        forget(b, e);
        e->time_ns = time_ns; /* its place in the ring stays */
    }
}

uint32_t pc_bulk_root(const struct pc_bulk *b, uint32_t actor, uint32_t files)
{
    uint32_t found = 0;
    for (uint32_t s = actor; s; s = b->lin->node[s].parent) {
        const struct pc_node *n = &b->lin->node[s];
        if (n->convicted)
            return 0;
        if (n->spared)
            break;
        if (!found && n->deleted >= files)
            found = s;
    }
    return found;
}

void pc_bulk_inherit(struct pc_bulk *b, uint32_t slot, uint32_t parent)
{
    struct pc_node *n = &b->lin->node[slot];
    for (uint32_t i = 0; n->deleted && i < b->used; i++) {
        struct pc_bulk_entry *e = &b->ring[(b->oldest + i) % PC_BULK_RING];
        if (e->owner != slot)
            continue;
        e->owner = parent; /* the sums of parent and above hold it already */
        n->deleted--;
    }
}
