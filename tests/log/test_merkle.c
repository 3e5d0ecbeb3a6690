/* The Merkle tree: known answers, and properties over every tree of up to 300 leaves. */
#include "base/err.h"
#include "base/str.h"
#include "trust/merkle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LEAVES 300
#define LEVELS 10

/* Every complete node of a tree of LEAVES leaves, and the root of every tree up to that size. */
static uint8_t nodes[LEVELS][LEAVES][PC_HASH_LEN];
static uint8_t roots[LEAVES + 1][PC_HASH_LEN];
static uint64_t tree_size;

static int keep_node(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    unsigned *count = ctx;
    assert_true(level < LEVELS && index < LEAVES);
    memcpy(nodes[level][index], hash, PC_HASH_LEN);
    ++*count;
    return 0;
}

/* Nothing may be read that is not complete in the tree in question. */
static int read_node(void *ctx, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    (void)ctx;
    assert_true(level < LEVELS && (index + 1) << level <= tree_size);
    memcpy(out, nodes[level][index], PC_HASH_LEN);
    return 0;
}

/* MTH of RFC 6962 section 2.1, word for word, as something to compare with. */
static void mth(uint64_t first, uint64_t count, uint8_t out[PC_HASH_LEN])
{
    if (count == 1) {
        memcpy(out, nodes[0][first], PC_HASH_LEN);
        return;
    }
    uint64_t k = 1;
    while (k * 2 < count)
        k *= 2;
    uint8_t left[PC_HASH_LEN], right[PC_HASH_LEN];
    mth(first, k, left);
    mth(first + k, count - k, right);
    pc_merkle_node(left, right, out);
}

static int grow(void **state)
{
    (void)state;
    struct pc_merkle_frontier f = {0};
    unsigned count = 0;
    pc_merkle_frontier_root(&f, roots[0]);
    for (uint32_t i = 0; i < LEAVES; i++) {
        uint32_t seed = i * 2654435761u;
        uint8_t leaf[PC_HASH_LEN];
        pc_merkle_leaf(&seed, i % 5 ? sizeof seed : 0, leaf);
        if (pc_merkle_append(&f, leaf, keep_node, &count) != 0)
            return -1;
        pc_merkle_frontier_root(&f, roots[i + 1]);
    }
    /* A tree of n leaves has 2n - (ones in n) complete nodes. */
    return count == 2 * LEAVES - (unsigned)__builtin_popcount(LEAVES) ? 0 : -1;
}

/* The tree of the test data of RFC 6962's reference implementation; the same values as in tests/vectors/merkle. */
static void known_roots(void **state)
{
    (void)state;
    static const struct {
        const char *leaf, *root;
    } steps[] = {
        {"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {"00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
        {"10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
        {"2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
        {"3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
        {"40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
        {"5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
        {"606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
    };
    struct pc_merkle_frontier f = {0};
    uint8_t root[PC_HASH_LEN];
    char hex[2 * PC_HASH_LEN + 1];
    pc_merkle_empty(root);
    pc_hex(root, sizeof root, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint8_t data[16], leaf[PC_HASH_LEN];
        int n = pc_unhex(steps[i].leaf, data, sizeof data);
        assert_true(n >= 0);
        pc_merkle_leaf(data, (size_t)n, leaf);
        assert_int_equal(pc_merkle_append(&f, leaf, NULL, NULL), 0);
        pc_merkle_frontier_root(&f, root);
        pc_hex(root, sizeof root, hex);
        assert_string_equal(hex, steps[i].root);
    }
}

static void roots_agree(void **state)
{
    (void)state;
    for (uint64_t size = 0; size <= LEAVES; size++) {
        uint8_t root[PC_HASH_LEN], want[PC_HASH_LEN];
        struct pc_merkle_frontier f;
        tree_size = size;
        assert_int_equal(pc_merkle_root(size, read_node, NULL, root), 0);
        assert_memory_equal(root, roots[size], PC_HASH_LEN);
        if (size > 0) {
            mth(0, size, want);
            assert_memory_equal(root, want, PC_HASH_LEN);
        }
        assert_int_equal(pc_merkle_frontier_load(size, read_node, NULL, &f), 0);
        pc_merkle_frontier_root(&f, root);
        assert_memory_equal(root, roots[size], PC_HASH_LEN);
    }
}

typedef uint8_t hash_t[PC_HASH_LEN];
#define CONST(p) ((const uint8_t(*)[PC_HASH_LEN])(p))

static void every_leaf_is_included(void **state)
{
    (void)state;
    hash_t proof[PC_MERKLE_PROOF_MAX];
    for (uint64_t size = 1; size <= LEAVES; size++) {
        tree_size = size;
        for (uint64_t i = 0; i < size; i++) {
            size_t n;
            assert_int_equal(pc_merkle_inclusion_proof(i, size, read_node, NULL, proof, PC_MERKLE_PROOF_MAX, &n), 0);
            assert_int_equal(pc_merkle_verify_inclusion(i, size, nodes[0][i], CONST(proof), n, roots[size]), 0);
            /* Another leaf, another tree, one hash less or more: refused. */
            assert_true(pc_merkle_verify_inclusion(i, size, nodes[0][(i + 1) % size == i ? 7 : (i + 1) % LEAVES],
                                                   CONST(proof), n, roots[size]) < 0);
            assert_true(pc_merkle_verify_inclusion(i, size, nodes[0][i], CONST(proof), n, roots[size - 1]) < 0);
            assert_true(n == 0 ||
                        pc_merkle_verify_inclusion(i, size, nodes[0][i], CONST(proof), n - 1, roots[size]) < 0);
            memset(proof[n], 0, PC_HASH_LEN);
            assert_true(pc_merkle_verify_inclusion(i, size, nodes[0][i], CONST(proof), n + 1, roots[size]) < 0);
        }
    }
}

static void every_pair_is_consistent(void **state)
{
    (void)state;
    hash_t proof[PC_MERKLE_PROOF_MAX];
    for (uint64_t b = 1; b <= LEAVES; b++) {
        tree_size = b;
        for (uint64_t a = 1; a <= b; a++) {
            size_t n;
            assert_int_equal(pc_merkle_consistency_proof(a, b, read_node, NULL, proof, PC_MERKLE_PROOF_MAX, &n), 0);
            assert_int_equal(pc_merkle_verify_consistency(a, b, roots[a], roots[b], CONST(proof), n), 0);
            assert_true(pc_merkle_verify_consistency(a, b, roots[a - 1], roots[b], CONST(proof), n) < 0);
            assert_true(pc_merkle_verify_consistency(a, b, roots[a], roots[b - 1], CONST(proof), n) < 0);
            assert_true(n == 0 || pc_merkle_verify_consistency(a, b, roots[a], roots[b], CONST(proof), n - 1) < 0);
            memset(proof[n], 0, PC_HASH_LEN);
            assert_true(pc_merkle_verify_consistency(a, b, roots[a], roots[b], CONST(proof), n + 1) < 0);
        }
    }
}

/* Sizes around powers of two and some others: every single bit of proof, leaf and roots, one after the other. */
static const uint64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 100, 255, 256, 257, 300};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void flip(uint8_t hash[PC_HASH_LEN], unsigned bit)
{
    hash[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void no_bit_of_an_inclusion_may_change(void **state)
{
    (void)state;
    hash_t proof[PC_MERKLE_PROOF_MAX];
    for (size_t s = 0; s < SIZES; s++) {
        uint64_t size = tree_size = sizes[s];
        const uint64_t indices[] = {0, size / 3, size / 2, size - 1};
        for (unsigned k = 0; k < 4; k++) {
            uint64_t i = indices[k];
            size_t n;
            assert_int_equal(pc_merkle_inclusion_proof(i, size, read_node, NULL, proof, PC_MERKLE_PROOF_MAX, &n), 0);
            hash_t leaf, root;
            memcpy(leaf, nodes[0][i], PC_HASH_LEN);
            memcpy(root, roots[size], PC_HASH_LEN);
            for (size_t h = 0; h < n + 2; h++) {
                uint8_t *target = h < n ? proof[h] : h == n ? leaf : root;
                for (unsigned bit = 0; bit < 256; bit++) {
                    flip(target, bit);
                    assert_int_equal(pc_merkle_verify_inclusion(i, size, leaf, CONST(proof), n, root), PC_E_UNVERIFIED);
                    flip(target, bit);
                }
            }
        }
    }
}

static void no_bit_of_a_consistency_may_change(void **state)
{
    (void)state;
    hash_t proof[PC_MERKLE_PROOF_MAX];
    for (size_t s = 0; s < SIZES; s++) {
        for (size_t q = 0; q <= s; q++) {
            uint64_t a = sizes[q], b = tree_size = sizes[s];
            size_t n;
            assert_int_equal(pc_merkle_consistency_proof(a, b, read_node, NULL, proof, PC_MERKLE_PROOF_MAX, &n), 0);
            hash_t old, new;
            memcpy(old, roots[a], PC_HASH_LEN);
            memcpy(new, roots[b], PC_HASH_LEN);
            for (size_t h = 0; h < n + 2; h++) {
                uint8_t *target = h < n ? proof[h] : h == n ? old : new;
                for (unsigned bit = 0; bit < 256; bit++) {
                    flip(target, bit);
                    assert_int_equal(pc_merkle_verify_consistency(a, b, old, new, CONST(proof), n), PC_E_UNVERIFIED);
                    flip(target, bit);
                }
            }
        }
    }
}

static int fail_read(void *ctx, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    int *left = ctx;
    memset(out, 0, PC_HASH_LEN);
    return (*left)-- > 0 ? 0 : PC_E_NOTFOUND;
}

static void bounds(void **state)
{
    (void)state;
    hash_t proof[PC_MERKLE_PROOF_MAX], root;
    size_t n = 77;
    int left = 1000;
    const uint64_t max = PC_MERKLE_SIZE_MAX;
    assert_int_equal(pc_merkle_root(max + 1, fail_read, &left, root), PC_E_RANGE);
    assert_int_equal(pc_merkle_inclusion_proof(5, 5, fail_read, &left, proof, 64, &n), PC_E_RANGE);
    assert_int_equal(pc_merkle_inclusion_proof(0, max + 1, fail_read, &left, proof, 64, &n), PC_E_RANGE);
    assert_int_equal(pc_merkle_consistency_proof(0, 5, fail_read, &left, proof, 64, &n), PC_E_RANGE);
    assert_int_equal(pc_merkle_consistency_proof(6, 5, fail_read, &left, proof, 64, &n), PC_E_RANGE);
    assert_int_equal(pc_merkle_verify_inclusion(0, max + 1, root, NULL, 0, root), PC_E_RANGE);
    assert_int_equal(pc_merkle_verify_consistency(0, 5, root, root, NULL, 0), PC_E_RANGE);
    assert_int_equal(n, 77);
    /* The largest tree: its proofs fit the bound, and need not one hash more. */
    assert_int_equal(pc_merkle_inclusion_proof(0, max, fail_read, &left, proof, 64, &n), 0);
    assert_int_equal(n, 63);
    assert_int_equal(pc_merkle_inclusion_proof(0, max, fail_read, &left, proof, 62, &n), PC_E_LIMIT);
    assert_int_equal(pc_merkle_consistency_proof(max / 2, max, fail_read, &left, proof, 64, &n), 0);
    assert_in_range(n, 60, PC_MERKLE_PROOF_MAX);
    /* A source that fails is heard, wherever it fails. */
    for (int fails_at = 0; fails_at < 5; fails_at++) {
        left = fails_at;
        assert_int_equal(pc_merkle_inclusion_proof(9, 299, fail_read, &left, proof, 64, &n), PC_E_NOTFOUND);
        left = fails_at;
        assert_int_equal(pc_merkle_consistency_proof(77, 299, fail_read, &left, proof, 64, &n), PC_E_NOTFOUND);
    }
    left = 2;
    assert_int_equal(pc_merkle_root(0x1f, fail_read, &left, root), PC_E_NOTFOUND);
}

static int refuse_node(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    return level == 1 ? PC_E_LIMIT : 0;
}

static void a_failed_append_changes_nothing(void **state)
{
    (void)state;
    struct pc_merkle_frontier f = {0}, before;
    assert_int_equal(pc_merkle_append(&f, nodes[0][0], refuse_node, NULL), 0);
    before = f;
    assert_int_equal(pc_merkle_append(&f, nodes[0][1], refuse_node, NULL), PC_E_LIMIT);
    assert_memory_equal(&f, &before, sizeof f);
    f.size = PC_MERKLE_SIZE_MAX;
    assert_int_equal(pc_merkle_append(&f, nodes[0][1], NULL, NULL), PC_E_LIMIT);
    assert_true(f.size == PC_MERKLE_SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_roots),
        cmocka_unit_test(roots_agree),
        cmocka_unit_test(every_leaf_is_included),
        cmocka_unit_test(every_pair_is_consistent),
        cmocka_unit_test(no_bit_of_an_inclusion_may_change),
        cmocka_unit_test(no_bit_of_a_consistency_may_change),
        cmocka_unit_test(bounds),
        cmocka_unit_test(a_failed_append_changes_nothing),
    };
    return cmocka_run_group_tests(tests, grow, NULL);
}
