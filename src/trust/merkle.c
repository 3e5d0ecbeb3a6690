/*
 * Owns the Merkle tree of RFC 6962: hashes, checking proofs, building proofs, appending. Hosts hand it proofs from a
 * server they do not trust; the server hands it stored nodes. Must not know how leaves look or where nodes are kept.
 */
#include "trust/merkle.h"

#include "base/err.h"

#include <stdbool.h>
#include <string.h>

/* --- hashes ------------------------------------------------------------------------------------------------------- */

/* The first byte keeps leaves and inner nodes apart: without it an inner node could be shown as a leaf. */
void pc_merkle_leaf(const void *data, size_t len, uint8_t out[PC_HASH_LEN])
{
    static const uint8_t prefix = 0;
    pc_sha256((struct pc_bytes[]){{&prefix, 1}, {data, len}}, 2, out);
}

void pc_merkle_node(const uint8_t left[PC_HASH_LEN], const uint8_t right[PC_HASH_LEN], uint8_t out[PC_HASH_LEN])
{
    static const uint8_t prefix = 1;
    uint8_t hash[PC_HASH_LEN];
    pc_sha256((struct pc_bytes[]){{&prefix, 1}, {left, PC_HASH_LEN}, {right, PC_HASH_LEN}}, 3, hash);
    memcpy(out, hash, PC_HASH_LEN);
}

void pc_merkle_empty(uint8_t out[PC_HASH_LEN])
{
    pc_sha256(NULL, 0, out);
}

static int same(const uint8_t a[PC_HASH_LEN], const uint8_t b[PC_HASH_LEN])
{
    return memcmp(a, b, PC_HASH_LEN) == 0;
}

/* --- checking proofs ---------------------------------------------------------------------------------------------- */

/*
 * A way up from a node towards the root: `node` is its number on its level, `last` the number of the rightmost node
 * there (which may stand for an incomplete subtree). At the root both are 0.
 */
struct climb {
    uint64_t node, last;
};

/* Is the sibling that comes next on the left? The rightmost node has a right sibling on no level: it moves up alone. */
static int sibling_is_left(const struct climb *c)
{
    return (c->node & 1) || c->node == c->last;
}

/* One level up; past all levels on which the rightmost node has no sibling. */
static void climb_up(struct climb *c)
{
    while (!(c->node & 1) && c->node != 0 && c->node == c->last) {
        c->node >>= 1;
        c->last >>= 1;
    }
    c->node >>= 1;
    c->last >>= 1;
}

int pc_merkle_verify_inclusion(uint64_t index, uint64_t size, const uint8_t leaf_hash[PC_HASH_LEN],
                               const uint8_t (*proof)[PC_HASH_LEN], size_t n, const uint8_t root[PC_HASH_LEN])
{
    if (size > PC_MERKLE_SIZE_MAX || index >= size)
        return PC_E_RANGE;
    struct climb c = {index, size - 1};
    uint8_t hash[PC_HASH_LEN];
    memcpy(hash, leaf_hash, PC_HASH_LEN);
    for (size_t i = 0; i < n; i++) {
        if (c.last == 0)
            return PC_E_SYNTAX;
        if (sibling_is_left(&c))
            pc_merkle_node(proof[i], hash, hash);
        else
            pc_merkle_node(hash, proof[i], hash);
        climb_up(&c);
    }
    if (c.last != 0)
        return PC_E_SYNTAX;
    return same(hash, root) ? 0 : PC_E_UNVERIFIED;
}

/* From the node that both trees have in common up to both roots at once. old_hash starts as that node's hash. */
static int climb_both(struct climb c, uint8_t old_hash[PC_HASH_LEN], uint8_t new_hash[PC_HASH_LEN],
                      const uint8_t (*proof)[PC_HASH_LEN], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c.last == 0)
            return PC_E_SYNTAX;
        if (sibling_is_left(&c)) {
            pc_merkle_node(proof[i], old_hash, old_hash);
            pc_merkle_node(proof[i], new_hash, new_hash);
        } else {
            pc_merkle_node(new_hash, proof[i], new_hash);
        }
        climb_up(&c);
    }
    return c.last == 0 ? 0 : PC_E_SYNTAX;
}

int pc_merkle_verify_consistency(uint64_t size1, uint64_t size2, const uint8_t root1[PC_HASH_LEN],
                                 const uint8_t root2[PC_HASH_LEN], const uint8_t (*proof)[PC_HASH_LEN], size_t n)
{
    if (size1 == 0 || size1 > size2 || size2 > PC_MERKLE_SIZE_MAX)
        return PC_E_RANGE;
    if (size1 == size2) {
        if (n > 0)
            return PC_E_SYNTAX;
        return same(root1, root2) ? 0 : PC_E_UNVERIFIED;
    }
    if (n == 0)
        return PC_E_SYNTAX;
    /* The largest complete subtree at the old tree's right edge is the start. */
    struct climb c = {size1 - 1, size2 - 1};
    while (c.node & 1) {
        c.node >>= 1;
        c.last >>= 1;
    }
    /* An old tree that is one complete subtree is its own start, and its hash is not repeated in the proof. */
    const uint8_t *start = root1;
    if (size1 & (size1 - 1)) {
        start = proof[0];
        proof++;
        n--;
    }
    uint8_t old_hash[PC_HASH_LEN], new_hash[PC_HASH_LEN];
    memcpy(old_hash, start, PC_HASH_LEN);
    memcpy(new_hash, start, PC_HASH_LEN);
    int r = climb_both(c, old_hash, new_hash, proof, n);
    if (r < 0)
        return r;
    return same(old_hash, root1) && same(new_hash, root2) ? 0 : PC_E_UNVERIFIED;
}

/* --- building roots and proofs ------------------------------------------------------------------------------------ */

/* A source of nodes, and the proof that is being collected from the root downwards. */
struct builder {
    pc_merkle_read *read;
    void *ctx;
    uint8_t (*out)[PC_HASH_LEN];
    size_t cap, n;
};

/*
 * Hash of the leaves [first, first + count), count > 0. first is a multiple of the smallest power of two >= count: so
 * the range is a tree of its own, of complete subtrees that get smaller to the right.
 */
static int range_hash(const struct builder *b, uint64_t first, uint64_t count, uint8_t out[PC_HASH_LEN])
{
    uint8_t hash[PC_HASH_LEN], node[PC_HASH_LEN];
    int have = 0;
    for (unsigned level = 0; level < 64; level++) {
        if (!(count >> level & 1))
            continue;
        uint64_t start = first + (count & ~(((uint64_t)2 << level) - 1));
        int r = b->read(b->ctx, level, start >> level, have ? node : hash);
        if (r < 0)
            return r;
        if (have)
            pc_merkle_node(node, hash, hash);
        have = 1;
    }
    memcpy(out, hash, PC_HASH_LEN);
    return 0;
}

static int add_range(struct builder *b, uint64_t first, uint64_t count)
{
    if (b->n >= b->cap)
        return PC_E_LIMIT;
    int r = range_hash(b, first, count, b->out[b->n]);
    if (r == 0)
        b->n++;
    return r;
}

/* Size of the left half of a tree of `count` > 1 leaves: the largest power of two below count. */
static uint64_t left_half(uint64_t count)
{
    return (uint64_t)1 << (63 - __builtin_clzll(count - 1));
}

static void reverse(uint8_t (*hashes)[PC_HASH_LEN], size_t n)
{
    for (size_t i = 0; i + 1 < n - i; i++) {
        uint8_t swap[PC_HASH_LEN];
        memcpy(swap, hashes[i], PC_HASH_LEN);
        memcpy(hashes[i], hashes[n - 1 - i], PC_HASH_LEN);
        memcpy(hashes[n - 1 - i], swap, PC_HASH_LEN);
    }
}

int pc_merkle_root(uint64_t size, pc_merkle_read *read, void *ctx, uint8_t out[PC_HASH_LEN])
{
    if (size > PC_MERKLE_SIZE_MAX)
        return PC_E_RANGE;
    if (size == 0) {
        pc_merkle_empty(out);
        return 0;
    }
    struct builder b = {.read = read, .ctx = ctx};
    return range_hash(&b, 0, size, out);
}

/*
 * From a subtree (count leaves from first) into its left or right half; the hash of the other half is part of the
 * proof.
 */
static int descend(struct builder *b, bool left, uint64_t *first, uint64_t *count)
{
    uint64_t half = left_half(*count);
    int r = left ? add_range(b, *first + half, *count - half) : add_range(b, *first, half);
    *first += left ? 0 : half;
    *count = left ? half : *count - half;
    return r;
}

/* PATH of RFC 6962 section 2.1.1, from the root downwards. */
int pc_merkle_inclusion_proof(uint64_t index, uint64_t size, pc_merkle_read *read, void *ctx,
                              uint8_t (*out)[PC_HASH_LEN], size_t cap, size_t *n)
{
    if (size > PC_MERKLE_SIZE_MAX || index >= size)
        return PC_E_RANGE;
    struct builder b = {.read = read, .ctx = ctx, .out = out, .cap = cap};
    uint64_t first = 0, count = size;
    while (count > 1) {
        int r = descend(&b, index - first < left_half(count), &first, &count);
        if (r < 0)
            return r;
    }
    reverse(out, b.n);
    *n = b.n;
    return 0;
}

/* SUBPROOF of RFC 6962 section 2.1.2, from the root downwards. */
int pc_merkle_consistency_proof(uint64_t size1, uint64_t size2, pc_merkle_read *read, void *ctx,
                                uint8_t (*out)[PC_HASH_LEN], size_t cap, size_t *n)
{
    if (size1 == 0 || size1 > size2 || size2 > PC_MERKLE_SIZE_MAX)
        return PC_E_RANGE;
    struct builder b = {.read = read, .ctx = ctx, .out = out, .cap = cap};
    uint64_t first = 0, count = size2;
    int r = 0;
    while (first + count != size1) {
        r = descend(&b, size1 - first <= left_half(count), &first, &count);
        if (r < 0)
            return r;
    }
    /* What is left is the old tree's edge. When that is the whole old tree, the verifier has its hash: root1. */
    if (first > 0 && (r = add_range(&b, first, count)) < 0)
        return r;
    reverse(out, b.n);
    *n = b.n;
    return 0;
}

/* --- appending ---------------------------------------------------------------------------------------------------- */

int pc_merkle_append(struct pc_merkle_frontier *f, const uint8_t leaf[PC_HASH_LEN], pc_merkle_emit *emit, void *ctx)
{
    if (f->size >= PC_MERKLE_SIZE_MAX)
        return PC_E_LIMIT;
    uint8_t hash[PC_HASH_LEN];
    memcpy(hash, leaf, PC_HASH_LEN);
    unsigned level = 0;
    for (;; level++) {
        int r = emit ? emit(ctx, level, f->size >> level, hash) : 0;
        if (r < 0)
            return r;
        if (!(f->size >> level & 1))
            break;
        pc_merkle_node(f->node[level], hash, hash);
    }
    memcpy(f->node[level], hash, PC_HASH_LEN);
    f->size++;
    return 0;
}

static int read_frontier(void *ctx, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    const struct pc_merkle_frontier *f = ctx;
    (void)index;
    memcpy(out, f->node[level], PC_HASH_LEN);
    return 0;
}

void pc_merkle_frontier_root(const struct pc_merkle_frontier *f, uint8_t out[PC_HASH_LEN])
{
    struct pc_merkle_frontier edge = *f;
    if (f->size == 0)
        pc_merkle_empty(out);
    else
        range_hash(&(struct builder){.read = read_frontier, .ctx = &edge}, 0, f->size, out);
}

int pc_merkle_frontier_load(uint64_t size, pc_merkle_read *read, void *ctx, struct pc_merkle_frontier *out)
{
    if (size > PC_MERKLE_SIZE_MAX)
        return PC_E_RANGE;
    struct pc_merkle_frontier f = {.size = size};
    for (unsigned level = 0; level < 64; level++) {
        if (!(size >> level & 1))
            continue;
        int r = read(ctx, level, (size >> level) - 1, f.node[level]);
        if (r < 0)
            return r;
    }
    *out = f;
    return 0;
}
