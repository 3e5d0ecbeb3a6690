/* What log verify remembers of a log: every beginning's root, from far back too, and no tile is believed. */
#include "base/err.h"
#include "cli/net/log_roots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENTRIES (PC_ROOTS_RECENT + 5000)

struct log {
    struct pc_log_roots roots;
    struct pc_merkle_frontier edge;
    uint8_t (*leaf)[PC_HASH_LEN], (*root)[PC_HASH_LEN]; /* of all, for comparison */
    unsigned fetched;
    int fails; /* what the next fetch returns */
    bool lies;
};

static int fetch(void *ctx, uint64_t index, uint8_t (*out)[PC_HASH_LEN])
{
    struct log *l = ctx;
    l->fetched++;
    if (l->fails)
        return l->fails;
    assert_true((index + 1) * PC_TILE_WIDTH <= l->edge.size);
    memcpy(out, l->leaf + index * PC_TILE_WIDTH, PC_TILE_WIDTH * PC_HASH_LEN);
    out[7][3] ^= l->lies;
    return 0;
}

static int node(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    return pc_log_roots_node(ctx, level, index, hash);
}

static void keep(struct log *l)
{
    pc_log_roots_keep(&l->roots, &l->edge);
    if (l->edge.size)
        pc_merkle_frontier_root(&l->edge, l->root[l->edge.size]);
    else
        pc_merkle_empty(l->root[0]);
}

static int setup(void **state)
{
    struct log *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->leaf = calloc(ENTRIES, PC_HASH_LEN);
    l->root = calloc(ENTRIES + 1, PC_HASH_LEN);
    assert_int_equal(pc_log_roots_init(&l->roots, fetch, l), 0);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        keep(l);
        pc_merkle_leaf(&i, sizeof i, l->leaf[i]);
        assert_int_equal(pc_merkle_append(&l->edge, l->leaf[i], node, &l->roots), 0);
    }
    keep(l);
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    struct log *l = *state;
    pc_log_roots_clear(&l->roots);
    free(l->leaf);
    free(l->root);
    free(l);
    return 0;
}

static void same(struct log *l, uint64_t size)
{
    uint8_t root[PC_HASH_LEN];
    assert_int_equal(pc_log_roots_get(&l->roots, size, root), 0);
    assert_memory_equal(root, l->root[size], PC_HASH_LEN);
}

static void test_every_beginning(void **state)
{
    struct log *l = *state;
    for (uint64_t size = 0; size <= ENTRIES; size++)
        same(l, size);
    /* Each tile once, as they were asked for in order; none for the newest. */
    assert_int_equal(l->fetched, 1 + (ENTRIES - PC_ROOTS_RECENT) / PC_TILE_WIDTH);
    uint8_t root[PC_HASH_LEN];
    assert_int_equal(pc_log_roots_get(&l->roots, ENTRIES + 1, root), PC_E_RANGE);
}

static void test_whole_tiles_need_no_fetch(void **state)
{
    struct log *l = *state;
    l->fetched = 0;
    for (uint64_t size = 0; size <= ENTRIES; size += PC_TILE_WIDTH)
        same(l, size);
    assert_int_equal(l->fetched, 0);
}

static void test_no_tile_is_believed(void **state)
{
    struct log *l = *state;
    uint8_t root[PC_HASH_LEN];
    memset(l->roots.tile, 0, PC_ROOTS_TILES * sizeof *l->roots.tile);
    l->lies = true;
    assert_int_equal(pc_log_roots_get(&l->roots, 300, root), PC_E_UNVERIFIED);
    l->lies = false;
    l->fails = 5; /* an exit status */
    assert_int_equal(pc_log_roots_get(&l->roots, 300, root), 5);
    l->fails = 0;
    same(l, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_beginning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_tiles_need_no_fetch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_tile_is_believed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
