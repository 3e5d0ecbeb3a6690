#ifndef PC_CLI_NET_LOG_ROOTS_H
#define PC_CLI_NET_LOG_ROOTS_H
#include "trust/tile.h"

#include <stdbool.h>

/*
 * The root of every beginning of a log, while it is walked: hosts say which they saw, and may name any. Kept are the
 * roots of the newest PC_ROOTS_RECENT beginnings and all nodes from level 8 up, a quarter of a byte an entry (4 MiB at
 * 16 million entries). For an older beginning the leaf hashes of one tile are fetched again, and believed only when
 * they have the node that was computed from the entries themselves.
 */
#define PC_ROOTS_RECENT 65536u
#define PC_ROOTS_TILES 16u /* that were fetched last are kept */

struct pc_log_roots {
    /* Full tile `index` of level 0. Nonzero: what pc_log_roots_get then returns. */
    int (*fetch)(void *ctx, uint64_t index, uint8_t (*out)[PC_HASH_LEN]);
    void *ctx;
    /* inside */
    uint64_t size; /* of the largest beginning that is known */
    bool any;
    uint8_t (*recent)[PC_HASH_LEN];
    struct pc_log_level {
        uint8_t (*node)[PC_HASH_LEN];
        uint64_t n;
    } level[64 - 8];
    struct pc_roots_tile {
        bool there;
        uint64_t index;
        uint8_t hash[PC_TILE_WIDTH][PC_HASH_LEN];
    } *tile;
};
/* -ENOMEM. To be cleared also then. */
int pc_log_roots_init(struct pc_log_roots *r, int (*fetch)(void *ctx, uint64_t index, uint8_t (*out)[PC_HASH_LEN]),
                      void *ctx);
void pc_log_roots_clear(struct pc_log_roots *r);
/* A node that an append completed (of any level), in the order in which pc_merkle_append tells them. -ENOMEM. */
int pc_log_roots_node(struct pc_log_roots *r, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN]);
/* The beginning that this is the edge of; sizes 0, 1, 2, ... in turn. */
void pc_log_roots_keep(struct pc_log_roots *r, const struct pc_merkle_frontier *f);
/*
 * Root of the first `size` entries. PC_E_RANGE: not known yet. PC_E_UNVERIFIED: the tile that was fetched for it is not
 * the one that the entries have. Else what fetch returned.
 */
int pc_log_roots_get(struct pc_log_roots *r, uint64_t size, uint8_t out[PC_HASH_LEN]);
#endif
