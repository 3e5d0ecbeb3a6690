"""The log's tree: hashes, roots, proofs and their verification, written from RFC 6962 (and the verifiers of RFC 9162), for all tests in Python.

Must not share code with the product: each side of it (src/trust/merkle.c) is tested against the other side here, and against published vectors
(test_tools.py). Plain recursion: for logs of some thousand entries.
"""
import hashlib


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def split(n):
    """The largest power of two below n > 1."""
    return 1 << ((n - 1).bit_length() - 1)


def root(leaves):
    """MTH of RFC 6962, 2.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(root(leaves[:k]), root(leaves[k:]))


def inclusion(index, leaves):
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) <= 1:
        return []
    k = split(len(leaves))
    if index < k:
        return inclusion(index, leaves[:k]) + [root(leaves[k:])]
    return inclusion(index - k, leaves[k:]) + [root(leaves[:k])]


def consistency(size, leaves, whole=True):
    """SUBPROOF of RFC 6962, 2.1.2; nothing has to be proven from an empty tree."""
    if size == 0:
        return []
    if size == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if size <= k:
        return consistency(size, leaves[:k], whole) + [root(leaves[k:])]
    return consistency(size - k, leaves[k:], False) + [root(leaves[:k])]


def inclusion_root(index, size, leaf, proof):
    """The root that the proof leads to: RFC 9162, 2.1.3.2."""
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        assert sn > 0, "a proof that is too long"
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    assert sn == 0, "a proof that is too short"
    return r


def consistent(size1, root1, size2, root2, proof):
    """Does the proof show that the larger tree continues the smaller one? RFC 9162, 2.1.4.2."""
    if size1 == size2:
        return root1 == root2 and not proof
    if size1 == 0:
        return not proof
    proof = list(proof)
    if size1 & (size1 - 1) == 0:
        proof.insert(0, root1)
    if not proof:
        return False
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    return fr == root1 and sr == root2 and sn == 0
