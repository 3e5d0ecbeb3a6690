/* Owns the checks of compressed streams: a magic counts only when a decoder takes what stands behind it. */
#include "core/bytes.h"
#include "core/kind_impl.h"
#include "core/unpack.h"

/* Shorter output proves little: a few literals come out of almost any bytes. */
#define ENOUGH 256

static enum pc_proof judge_unpacked(const struct pc_unpacked *u, bool input_was_whole, struct pc_sight *s)
{
    if (!u->valid)
        return PC_PROOF_NONE;
    if (!u->complete && u->len < ENOUGH)
        return input_was_whole ? PC_PROOF_NONE : PC_PROOF_MAGIC;
    s->random_inside = pc_random_payload(u->data, u->len);
    return PC_PROOF_DECODED;
}

enum pc_proof pc_check_gzip(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    pc_unpack_deflate(v->head, v->head_len, 31, &u);
    return judge_unpacked(&u, v->whole, s);
}

enum pc_proof pc_check_zlib(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    if (v->head_len < 8 || pc_be16(v->head) % 31 != 0)
        return PC_PROOF_NONE;
    pc_unpack_deflate(v->head, v->head_len, 15, &u);
    enum pc_proof proof = judge_unpacked(&u, v->whole, s);
    /* Two bytes of magic are next to none: only real output counts. */
    return proof == PC_PROOF_DECODED ? proof : PC_PROOF_NONE;
}

/* objects.inv, in each folder of documentation made by Sphinx: four lines of text, then zlib. */
enum pc_proof pc_check_sphinx(const struct pc_view *v, struct pc_sight *s)
{
    static const char last[] = "compressed using zlib.\n";
    const uint8_t *at = pc_find_bytes(v->head, v->head_len < 1024 ? v->head_len : 1024, last, sizeof last - 1);
    if (!at)
        return PC_PROOF_NONE;
    struct pc_view rest = *v;
    rest.head = at + sizeof last - 1;
    rest.head_len = v->head_len - (uint32_t)(rest.head - v->head);
    return pc_check_zlib(&rest, s);
}

enum pc_proof pc_check_xz(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    pc_unpack_xz(v->head, v->head_len, &u);
    return judge_unpacked(&u, v->whole, s);
}

/* .lzma has no magic worth the name: properties, dictionary size, and a size that is known or all ones. */
enum pc_proof pc_check_lzma(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    if (v->head_len < 18 || v->head[13] != 0)
        return PC_PROOF_NONE;
    uint64_t size = pc_le64(v->head + 5);
    if (size != UINT64_MAX && size > 1ULL << 40)
        return PC_PROOF_NONE;
    pc_unpack_lzma1(v->head + 13, v->head_len - 13, v->head[0], &u);
    bool all = u.valid && size < ENOUGH && u.len >= size;
    enum pc_proof proof = judge_unpacked(&u, v->whole && !all, s);
    return proof == PC_PROOF_DECODED || all ? PC_PROOF_DECODED : PC_PROOF_NONE;
}

enum pc_proof pc_check_lzip(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    if (v->head_len < 26 || v->head[4] > 1 || (v->head[5] & 31) < 12 || (v->head[5] & 31) > 29)
        return PC_PROOF_NONE;
    pc_unpack_lzma1(v->head + 6, v->head_len - 6, 93, &u); /* lc 3, lp 0, pb 2: the only ones lzip writes */
    return judge_unpacked(&u, false, s);
}

enum pc_proof pc_check_zstd(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    pc_unpack_zstd(v->head, v->head_len, &u);
    if (u.valid && u.len == 0 && !u.complete && !v->whole)
        return PC_PROOF_STRUCTURE; /* frame and block headers hold; the first block is larger than what was read */
    return judge_unpacked(&u, v->whole, s);
}

enum pc_proof pc_check_bzip2(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return pc_walk_bzip2(v->head, v->head_len) ? PC_PROOF_DECODED : PC_PROOF_NONE;
}

/* Frame: magic, flags (version 1), maximum block size, optional sizes, header check, first block. */
enum pc_proof pc_check_lz4(const struct pc_view *v, struct pc_sight *s)
{
    const uint8_t *p = v->head;
    if (v->head_len < 15 || p[4] >> 6 != 1 || (p[4] & 2) || (p[5] & 0x8f) || (p[5] >> 4) < 4)
        return PC_PROOF_NONE;
    uint32_t at = 7 + (p[4] & 8 ? 8 : 0) + (p[4] & 1 ? 4 : 0);
    if (at + 4 > v->head_len)
        return PC_PROOF_NONE;
    uint32_t block = pc_le32(p + at), len = block & 0x7fffffff, have = v->head_len - at - 4;
    if (len > 4u << 20 || (v->whole && len > have))
        return PC_PROOF_NONE;
    have = have < len ? have : len;
    bool stored = block >> 31;
    if (!stored && !pc_walk_lz4_block(p + at + 4, have, &stored))
        return PC_PROOF_NONE;
    s->random_inside = stored && pc_random_payload(p + at + 4, have);
    return PC_PROOF_DECODED;
}

enum pc_proof pc_check_compress(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return pc_walk_compress(v->head, v->head_len) ? PC_PROOF_DECODED : PC_PROOF_NONE;
}

/* First object: type and length in a variable-length number (deltas: a base after it), then a zlib stream. */
enum pc_proof pc_check_git_pack(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    if (v->head_len < 32 || pc_be32(v->head + 4) < 2 || pc_be32(v->head + 4) > 3)
        return PC_PROOF_NONE;
    if (pc_be32(v->head + 8) == 0)
        return PC_PROOF_STRUCTURE;
    uint32_t at = 12, type = v->head[12] >> 4 & 7;
    while (at < 22 && v->head[at] & 0x80)
        at++;
    at++;
    if (type == 0 || type == 5)
        return PC_PROOF_NONE;
    if (type >= 6) /* the first object of a pack has no earlier one to be a delta of, except by name in thin packs */
        return PC_PROOF_MAGIC;
    pc_unpack_deflate(v->head + at, v->head_len - at, 15, &u);
    (void)s; /* random objects in a pack are somebody's files: their packing is git's, not an encryptor's */
    return u.valid && (u.len > 0 || u.complete) ? PC_PROOF_DECODED : PC_PROOF_NONE;
}

enum pc_proof pc_check_git_idx(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 8 + 1024 || pc_be32(v->head + 4) != 2)
        return PC_PROOF_NONE;
    uint32_t last = 0;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t n = pc_be32(v->head + 8 + 4 * i);
        if (n < last)
            return PC_PROOF_NONE;
        last = n;
    }
    return (uint64_t)last * 28 + 1072 <= v->size ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_squashfs(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 96)
        return PC_PROOF_NONE;
    uint32_t block = pc_le32(v->head + 12);
    uint64_t used = pc_le64(v->head + 40);
    bool sane = block >= 4096 && block <= 1u << 20 && pc_le16(v->head + 28) == 4 && used <= v->size;
    return sane ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}
