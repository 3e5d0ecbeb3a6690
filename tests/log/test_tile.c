/* Tiles: paths with one spelling, widths of the specification's examples, a tree read back from its tiles, entry
 * bundles. */
#include "base/err.h"
#include "trust/tile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void good_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        struct pc_tile tile;
    } good[] = {
        {"tile/0/000", {false, 0, 0, 256}},
        {"tile/0/001.p/5", {false, 0, 1, 5}},
        {"tile/1/x001/x234/067", {false, 1, 1234067, 256}},
        {"tile/entries/x001/x234/067.p/255", {true, 0, 1234067, 255}},
        {"tile/entries/999", {true, 0, 999, 256}},
        {"tile/entries/x001/000", {true, 0, 1000, 256}},
        {"tile/7/000.p/127", {false, 7, 0, 127}},
        {"tile/0/x036/x028/x797/x018/x963/966", {false, 0, 36028797018963966ULL, 256}},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct pc_tile t;
        char path[PC_TILE_PATH_MAX];
        assert_int_equal(pc_tile_path_parse(good[i].path, &t), 0);
        assert_int_equal(t.entries, good[i].tile.entries);
        assert_int_equal(t.level, good[i].tile.level);
        assert_true(t.index == good[i].tile.index);
        assert_int_equal(t.width, good[i].tile.width);
        assert_int_equal(pc_tile_path_format(&t, path, sizeof path), strlen(good[i].path));
        assert_string_equal(path, good[i].path);
        assert_int_equal(pc_tile_path_format(&t, path, strlen(good[i].path)), PC_E_LIMIT);
    }
}

static void bad_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int error;
    } bad[] = {
        {"", PC_E_SYNTAX},
        {"/tile/0/000", PC_E_SYNTAX},
        {"tile/00/000", PC_E_SYNTAX},
        {"tile/0/00", PC_E_SYNTAX},
        {"tile/0/0000", PC_E_SYNTAX},
        {"tile/0/x000/001", PC_E_SYNTAX},
        {"tile/0/001/002", PC_E_SYNTAX},
        {"tile/0/x001", PC_E_SYNTAX},
        {"tile/0/x001/", PC_E_SYNTAX},
        {"tile/0/000.p/0", PC_E_SYNTAX},
        {"tile/0/000.p/256", PC_E_SYNTAX},
        {"tile/0/000.p/05", PC_E_SYNTAX},
        {"tile/0/000.p/", PC_E_SYNTAX},
        {"tile/0/000.p/5/", PC_E_SYNTAX},
        {"tile/0/000 ", PC_E_SYNTAX},
        {"tile/0/-01", PC_E_SYNTAX},
        {"tile/entries0/000", PC_E_SYNTAX},
        {"tile/data/000", PC_E_SYNTAX},
        {"tile/../000", PC_E_SYNTAX},
        {"tile/0/x001/x001/x001/x001/x001/x001/x001/x001/x001/x001/x001/001", PC_E_SYNTAX},
        {"tile/8/000", PC_E_RANGE},
        {"tile/63/000", PC_E_RANGE},
        {"tile/0/x036/x028/x797/x018/x963/968", PC_E_RANGE},
        {"tile/7/000", PC_E_RANGE},
        {"tile/7/001.p/1", PC_E_RANGE},
        {"tile/0/x999/x999/x999/x999/x999/x999/999", PC_E_RANGE},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pc_tile t = {.index = 42};
        if (pc_tile_path_parse(bad[i].path, &t) != bad[i].error)
            fail_msg("%s: %d, wanted %d", bad[i].path, pc_tile_path_parse(bad[i].path, &t), bad[i].error);
        assert_true(t.index == 42);
    }
}

/* The examples of tlog-tiles. */
static void widths(void **state)
{
    (void)state;
    assert_int_equal(pc_tile_width(70000, 0, 272), 256);
    assert_int_equal(pc_tile_width(70000, 0, 273), 112);
    assert_int_equal(pc_tile_width(70000, 0, 274), 0);
    assert_int_equal(pc_tile_width(70000, 1, 0), 256);
    assert_int_equal(pc_tile_width(70000, 1, 1), 17);
    assert_int_equal(pc_tile_width(70000, 2, 0), 1);
    assert_int_equal(pc_tile_width(70000, 3, 0), 0);
    assert_int_equal(pc_tile_width(256, 0, 0), 256);
    assert_int_equal(pc_tile_width(256, 0, 1), 0);
    assert_int_equal(pc_tile_width(256, 1, 0), 1);
    assert_int_equal(pc_tile_width(0, 0, 0), 0);
    assert_int_equal(pc_tile_width(PC_MERKLE_SIZE_MAX, 7, 0), 127);
    assert_int_equal(pc_tile_width(PC_MERKLE_SIZE_MAX, 8, 0), 0);
    assert_int_equal(pc_tile_width(UINT64_MAX, 0, 0), 0);
}

/* --- a tree in tiles ---------------------------------------------------------------------------------------------- */

#define TREE 70000
static uint8_t level0[TREE][PC_HASH_LEN], level1[TREE / 256 + 1][PC_HASH_LEN], level2[2][PC_HASH_LEN];
static uint8_t root_of_700[PC_HASH_LEN], root_of_all[PC_HASH_LEN];

static int keep(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    (void)ctx;
    uint8_t(*levels[])[PC_HASH_LEN] = {level0, level1, level2};
    if (level % 8 == 0)
        memcpy(levels[level / 8][index], hash, PC_HASH_LEN);
    return 0;
}

static int load(void *ctx, const struct pc_tile *t, uint8_t (*out)[PC_HASH_LEN])
{
    uint8_t(*levels[])[PC_HASH_LEN] = {level0, level1, level2};
    unsigned *loads = ctx;
    ++*loads;
    assert_false(t->entries);
    assert_in_range(t->width, 1, 256);
    assert_in_range(t->level, 0, 2);
    memcpy(out, levels[t->level] + t->index * 256, (size_t)t->width * PC_HASH_LEN);
    return 0;
}

static int build(void **state)
{
    (void)state;
    struct pc_merkle_frontier f = {0};
    for (uint32_t i = 0; i < TREE; i++) {
        uint8_t leaf[PC_HASH_LEN];
        pc_merkle_leaf(&i, sizeof i, leaf);
        if (pc_merkle_append(&f, leaf, keep, NULL) != 0)
            return -1;
        if (i + 1 == 700)
            pc_merkle_frontier_root(&f, root_of_700);
    }
    pc_merkle_frontier_root(&f, root_of_all);
    return 0;
}

static void proofs_out_of_tiles(void **state)
{
    (void)state;
    unsigned loads = 0;
    struct pc_tiles tiles = {.load = load, .ctx = &loads, .size = TREE};
    uint8_t proof[PC_MERKLE_PROOF_MAX][PC_HASH_LEN], root[PC_HASH_LEN];
    size_t n;
    assert_int_equal(pc_merkle_root(TREE, pc_tile_node, &tiles, root), 0);
    assert_memory_equal(root, root_of_all, PC_HASH_LEN);
    for (uint64_t i = 0; i < TREE; i += 997) {
        assert_int_equal(pc_merkle_inclusion_proof(i, TREE, pc_tile_node, &tiles, proof, PC_MERKLE_PROOF_MAX, &n), 0);
        assert_int_equal(pc_merkle_verify_inclusion(i, TREE, level0[i], (const uint8_t(*)[PC_HASH_LEN])proof, n, root),
                         0);
    }
    assert_int_equal(pc_merkle_consistency_proof(700, TREE, pc_tile_node, &tiles, proof, PC_MERKLE_PROOF_MAX, &n), 0);
    assert_int_equal(
        pc_merkle_verify_consistency(700, TREE, root_of_700, root, (const uint8_t(*)[PC_HASH_LEN])proof, n), 0);
    assert_true(loads > 100);
    /* Not complete in this tree, or in any. */
    assert_int_equal(pc_tile_node(&tiles, 0, TREE, root), PC_E_RANGE);
    assert_int_equal(pc_tile_node(&tiles, 17, 0, root), PC_E_RANGE);
    assert_int_equal(pc_tile_node(&tiles, 64, 0, root), PC_E_RANGE);
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static void entries(void **state)
{
    (void)state;
    static char longest[PC_ENTRY_MAX + 1];
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 1 << 20);
    assert_int_equal(pc_entries_add(&b, "one", 3), 0);
    assert_int_equal(pc_entries_add(&b, "", 0), 0);
    assert_int_equal(pc_entries_add(&b, longest, PC_ENTRY_MAX), 0);
    assert_int_equal(pc_entries_add(&b, longest, PC_ENTRY_MAX + 1), PC_E_RANGE);
    assert_int_equal(b.len, 3 + 2 + 2 + PC_ENTRY_MAX + 2);
    assert_memory_equal(b.data, "\0\3one\0\0\xff\xff", 9);

    struct pc_cur c;
    struct pc_bytes e;
    pc_cur_init(&c, b.data, b.len);
    assert_int_equal(pc_entries_next(&c, &e), 1);
    assert_int_equal(e.len, 3);
    assert_memory_equal(e.data, "one", 3);
    assert_int_equal(pc_entries_next(&c, &e), 1);
    assert_int_equal(e.len, 0);
    assert_int_equal(pc_entries_next(&c, &e), 1);
    assert_int_equal(e.len, PC_ENTRY_MAX);
    assert_int_equal(pc_entries_next(&c, &e), 0);

    uint8_t hashes[PC_TILE_WIDTH][PC_HASH_LEN], want[PC_HASH_LEN];
    assert_int_equal(pc_entries_hash(b.data, b.len, 3, hashes), 0);
    pc_merkle_leaf("one", 3, want);
    assert_memory_equal(hashes[0], want, PC_HASH_LEN);
    assert_int_equal(pc_entries_hash(b.data, b.len, 2, hashes), PC_E_TRAILING);
    assert_int_equal(pc_entries_hash(b.data, b.len, 4, hashes), PC_E_SYNTAX);
    assert_int_equal(pc_entries_hash(b.data, b.len, 0, hashes), PC_E_RANGE);
    assert_int_equal(pc_entries_hash(b.data, b.len, 257, hashes), PC_E_RANGE);
    for (size_t cut = 1; cut < 9; cut++)
        assert_int_equal(pc_entries_hash(b.data, b.len - cut, 3, hashes), PC_E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_paths),          cmocka_unit_test(bad_paths), cmocka_unit_test(widths),
        cmocka_unit_test(proofs_out_of_tiles), cmocka_unit_test(entries),
    };
    return cmocka_run_group_tests(tests, build, NULL);
}
