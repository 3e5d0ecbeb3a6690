/*
 * Owns what log verify remembers of the tree that it walks (log_roots.h), in bounded memory. Must not believe a tile:
 * it counts only when its hashes have the node that was computed here. Knows no server: tiles come by a function.
 */
#include "cli/net/log_roots.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TILE_LEVEL 8 /* a tile of leaves is one node of this level */

int pc_log_roots_init(struct pc_log_roots *r, int (*fetch)(void *ctx, uint64_t index, uint8_t (*out)[PC_HASH_LEN]),
                      void *ctx)
{
    *r = (struct pc_log_roots){.fetch = fetch, .ctx = ctx};
    r->recent = calloc(PC_ROOTS_RECENT, sizeof *r->recent);
    r->tile = calloc(PC_ROOTS_TILES, sizeof *r->tile);
    return r->recent && r->tile ? 0 : -ENOMEM;
}

void pc_log_roots_clear(struct pc_log_roots *r)
{
    for (size_t i = 0; i < sizeof r->level / sizeof *r->level; i++)
        free(r->level[i].node);
    free(r->recent);
    free(r->tile);
    *r = (struct pc_log_roots){0};
}

int pc_log_roots_node(struct pc_log_roots *r, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    if (level < TILE_LEVEL)
        return 0;
    struct pc_log_level *l = &r->level[level - TILE_LEVEL];
    if (index != l->n)
        return PC_E_RANGE;
    if ((l->n & (l->n - 1)) == 0) { /* room doubles at powers of two */
        void *grown = realloc(l->node, (size_t)(l->n ? 2 * l->n : 1) * PC_HASH_LEN);
        if (!grown)
            return -ENOMEM;
        l->node = grown;
    }
    memcpy(l->node[l->n++], hash, PC_HASH_LEN);
    return 0;
}

void pc_log_roots_keep(struct pc_log_roots *r, const struct pc_merkle_frontier *f)
{
    uint8_t *root = r->recent[f->size % PC_ROOTS_RECENT];
    if (f->size == 0)
        pc_merkle_empty(root);
    else
        pc_merkle_frontier_root(f, root);
    r->size = f->size;
    r->any = true;
}

/* The root of 2^level leaves side by side; level <= TILE_LEVEL. */
static void root_of(const uint8_t (*leaf)[PC_HASH_LEN], unsigned level, uint8_t out[PC_HASH_LEN])
{
    struct pc_merkle_frontier f = {0};
    for (size_t i = 0; i < (size_t)1 << level; i++)
        (void)pc_merkle_append(&f, leaf[i], NULL, NULL); /* fails in a full tree only */
    pc_merkle_frontier_root(&f, out);
}

static int tile_of(struct pc_log_roots *r, uint64_t index, const uint8_t (**out)[PC_HASH_LEN])
{
    struct pc_roots_tile *t = &r->tile[index % PC_ROOTS_TILES];
    uint8_t root[PC_HASH_LEN];
    if (!t->there || t->index != index) {
        t->there = false;
        int e = r->fetch(r->ctx, index, t->hash);
        if (e)
            return e;
        root_of((const uint8_t(*)[PC_HASH_LEN])t->hash, TILE_LEVEL, root);
        if (index >= r->level[0].n || memcmp(root, r->level[0].node[index], PC_HASH_LEN) != 0)
            return PC_E_UNVERIFIED;
        t->index = index;
        t->there = true;
    }
    *out = (const uint8_t(*)[PC_HASH_LEN])t->hash;
    return 0;
}

struct reading {
    struct pc_log_roots *roots;
    int result; /* fetch's, which may be positive */
};

/* A pc_merkle_read. */
static int read_node(void *ctx, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    struct reading *g = ctx;
    const uint8_t(*leaf)[PC_HASH_LEN];
    if (level >= TILE_LEVEL) {
        const struct pc_log_level *l = &g->roots->level[level - TILE_LEVEL];
        g->result = index < l->n ? 0 : PC_E_RANGE;
        if (g->result == 0)
            memcpy(out, l->node[index], PC_HASH_LEN);
    } else {
        uint64_t first = index << level;
        g->result = tile_of(g->roots, first / PC_TILE_WIDTH, &leaf);
        if (g->result == 0)
            root_of(leaf + first % PC_TILE_WIDTH, level, out);
    }
    return g->result ? PC_E_UNVERIFIED : 0;
}

int pc_log_roots_get(struct pc_log_roots *r, uint64_t size, uint8_t out[PC_HASH_LEN])
{
    struct reading g = {.roots = r};
    if (!r->any || size > r->size)
        return PC_E_RANGE;
    if (r->size - size < PC_ROOTS_RECENT) {
        memcpy(out, r->recent[size % PC_ROOTS_RECENT], PC_HASH_LEN);
        return 0;
    }
    int e = pc_merkle_root(size, read_node, &g, out);
    return g.result ? g.result : e;
}
