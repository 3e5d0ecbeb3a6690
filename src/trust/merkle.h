#ifndef PC_TRUST_MERKLE_H
#define PC_TRUST_MERKLE_H
#include "trust/sha256.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The Merkle tree of RFC 6962 section 2.1 (the same as RFC 9162 section 2.1) over SHA-256. Leaves are numbered from 0;
 * a tree is named by its size (the number of leaves). A "node" (level, index) is the hash of the complete subtree of
 * 2^level leaves that starts at leaf index * 2^level; level 0 is the leaf hashes.
 *
 * Proofs are arrays of hashes in the order of the RFCs: from the leaves towards the root.
 */

/* No tree is larger: sizes fit a signed 64-bit number, as the formats around the log demand. */
#define PC_MERKLE_SIZE_MAX ((uint64_t)INT64_MAX)
/* No proof in a tree of PC_MERKLE_SIZE_MAX leaves is longer. */
#define PC_MERKLE_PROOF_MAX 64

/* Hash of a leaf: SHA-256(0x00 || data). */
void pc_merkle_leaf(const void *data, size_t len, uint8_t out[PC_HASH_LEN]);
/* Hash of an inner node: SHA-256(0x01 || left || right). out may be one of the inputs. */
void pc_merkle_node(const uint8_t left[PC_HASH_LEN], const uint8_t right[PC_HASH_LEN], uint8_t out[PC_HASH_LEN]);
/* Root of the tree without leaves: SHA-256 of nothing. */
void pc_merkle_empty(uint8_t out[PC_HASH_LEN]);

/*
 * Does leaf number `index` of the tree (size, root) have this leaf hash? RFC 9162 section 2.1.3.2. proof may be NULL
 * when n is 0. 0: yes. PC_E_RANGE: no such leaf, or size above the maximum. PC_E_SYNTAX: the number of hashes is not
 * the one that this leaf of this tree needs. PC_E_UNVERIFIED: the proof leads to another root.
 */
int pc_merkle_verify_inclusion(uint64_t index, uint64_t size, const uint8_t leaf_hash[PC_HASH_LEN],
                               const uint8_t (*proof)[PC_HASH_LEN], size_t n, const uint8_t root[PC_HASH_LEN]);
/*
 * Is the tree (size1, root1) the beginning of the tree (size2, root2)? RFC 9162 section 2.1.4.2. Trees of equal size
 * need equal roots and no proof. 0: yes. PC_E_RANGE: size1 is 0 (every tree begins with the empty one: there is nothing
 * to prove, and a caller who asks has lost what it knew), size1 > size2, or size2 above the maximum. PC_E_SYNTAX: wrong
 * number of hashes. PC_E_UNVERIFIED: no.
 */
int pc_merkle_verify_consistency(uint64_t size1, uint64_t size2, const uint8_t root1[PC_HASH_LEN],
                                 const uint8_t root2[PC_HASH_LEN], const uint8_t (*proof)[PC_HASH_LEN], size_t n);

/*
 * Where hashes come from when roots and proofs are built: writes node (level, index) to out; 0, or any negative value,
 * which the function that asked returns. Only nodes that are complete in the tree of the given size are asked for, in
 * all at most 3 * 64 for one call.
 */
typedef int pc_merkle_read(void *ctx, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN]);

/* Root of the first `size` leaves. PC_E_RANGE above the maximum size, or what read returned. */
int pc_merkle_root(uint64_t size, pc_merkle_read *read, void *ctx, uint8_t out[PC_HASH_LEN]);
/*
 * The proof that pc_merkle_verify_inclusion takes. *n hashes are written to out, which has room for cap of them
 * (PC_MERKLE_PROOF_MAX is always enough). PC_E_RANGE: no such leaf or tree. PC_E_LIMIT: cap is too small. Else what
 * read returned. On failure *n is untouched; out is not.
 */
int pc_merkle_inclusion_proof(uint64_t index, uint64_t size, pc_merkle_read *read, void *ctx,
                              uint8_t (*out)[PC_HASH_LEN], size_t cap, size_t *n);
/* Likewise for pc_merkle_verify_consistency; 0 < size1 <= size2, or PC_E_RANGE. */
int pc_merkle_consistency_proof(uint64_t size1, uint64_t size2, pc_merkle_read *read, void *ctx,
                                uint8_t (*out)[PC_HASH_LEN], size_t cap, size_t *n);

/*
 * The right edge of a tree: all that must be remembered to append to it. node[l] is the root of the complete subtree of
 * 2^l leaves at the edge, and means something only when bit l of size is set. All zero is the empty tree.
 */
struct pc_merkle_frontier {
    uint64_t size;
    uint8_t node[64][PC_HASH_LEN];
};
/* Is told each node that an append completed, lowest level first (the leaf itself is level 0). 0, or negative to stop.
 */
typedef int pc_merkle_emit(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN]);
/*
 * Appends a leaf hash. emit may be NULL. PC_E_LIMIT: the tree is full; else what emit returned. On failure the frontier
 * is as it was.
 */
int pc_merkle_append(struct pc_merkle_frontier *f, const uint8_t leaf[PC_HASH_LEN], pc_merkle_emit *emit, void *ctx);
/* Root of the tree that f is the edge of. */
void pc_merkle_frontier_root(const struct pc_merkle_frontier *f, uint8_t out[PC_HASH_LEN]);
/* The edge of the tree of the first `size` leaves, read back from its nodes. PC_E_RANGE, or what read returned. */
int pc_merkle_frontier_load(uint64_t size, pc_merkle_read *read, void *ctx, struct pc_merkle_frontier *out);
#endif
