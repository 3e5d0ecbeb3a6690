/* Owns the checks of programs, fonts and the small formats around them. */
#include "core/bytes.h"
#include "core/kind_impl.h"

#include <string.h>

enum pc_proof pc_check_elf(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    const uint8_t *p = v->head;
    if (v->head_len < 52 || p[4] < 1 || p[4] > 2 || p[5] < 1 || p[5] > 2 || p[6] != 1)
        return PC_PROOF_NONE;
    bool le = p[5] == 1, wide = p[4] == 2;
    if (wide && v->head_len < 64)
        return PC_PROOF_NONE;
    uint16_t type = le ? pc_le16(p + 16) : pc_be16(p + 16);
    uint16_t header = le ? pc_le16(p + (wide ? 52 : 40)) : pc_be16(p + (wide ? 52 : 40));
    return (type <= 4 || type >= 0xfe00) && header == (wide ? 64 : 52) ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_pe(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 64)
        return PC_PROOF_NONE;
    uint32_t at = pc_le32(v->head + 60), have;
    const uint8_t *p = pc_view_at(v, at, 4, &have);
    if (p && memcmp(p, "PE\0\0", 4) == 0)
        return PC_PROOF_STRUCTURE;
    /* A DOS program: its header's page count must fit the file. */
    return (uint64_t)pc_le16(v->head + 4) * 512 <= v->size + 511 && pc_le16(v->head + 4) > 0 &&
                   pc_le16(v->head + 2) < 512 && pc_le16(v->head + 8) <= 64
               ? PC_PROOF_MAGIC
               : PC_PROOF_NONE;
}

enum pc_proof pc_check_macho(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return v->head_len >= 28 && pc_le32(v->head + 16) <= 1024 && pc_le32(v->head + 12) <= 16 ? PC_PROOF_STRUCTURE
                                                                                           : PC_PROOF_NONE;
}

/* Java classes and Apple's fat binaries share a magic: a small count is the latter's. */
enum pc_proof pc_check_cafebabe(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 16)
        return PC_PROOF_NONE;
    uint16_t major = pc_be16(v->head + 6);
    if (pc_be32(v->head + 4) < 20) {
        s->kind = PC_KIND_MACHO;
        return PC_PROOF_STRUCTURE;
    }
    return major >= 45 && major <= 90 && v->head[10] >= 1 && v->head[10] <= 20 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* Two bytes of version, "\r\n", flags, time and size or hash, then a marshalled code object. */
enum pc_proof pc_check_pyc(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 32 || pc_le32(v->head + 4) > 3)
        return PC_PROOF_NONE;
    return (v->head[16] & 0x7f) == 'c' ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_wasm(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return v->head_len >= 8 && pc_le32(v->head + 4) == 1 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* TrueType and OpenType: a table directory with printable names that lie inside the file. */
enum pc_proof pc_check_sfnt(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 12 + 16)
        return PC_PROOF_NONE;
    uint16_t n = pc_be16(v->head + 4);
    if (n == 0 || n > 128)
        return PC_PROOF_NONE;
    for (uint32_t i = 0; i < n && 12 + 16 * (i + 1) <= v->head_len; i++) {
        const uint8_t *p = v->head + 12 + 16 * i;
        if ((uint64_t)pc_be32(p + 8) + pc_be32(p + 12) > v->size + 3)
            return PC_PROOF_NONE;
        for (int b = 0; b < 4; b++)
            if (p[b] < 0x20 || p[b] > 0x7e)
                return PC_PROOF_NONE;
    }
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_woff(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    bool sane = v->head_len >= 44 && pc_be32(v->head + 8) == v->size && pc_be16(v->head + 12) > 0;
    return sane ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* Packet records of either byte order, from the first one on. */
enum pc_proof pc_check_pcap(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    bool le = v->head_len >= 24 && v->head[0] != 0xa1;
    if (v->head_len < 24 || (le ? pc_le16(v->head + 4) : pc_be16(v->head + 4)) != 2)
        return PC_PROOF_NONE;
    uint64_t at = 24;
    for (int i = 0; at + 16 <= v->head_len; i++) {
        uint32_t len = le ? pc_le32(v->head + at + 8) : pc_be32(v->head + at + 8);
        if (len > 1u << 20)
            return i == 0 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        at += 16ull + len;
    }
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_pcapng(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    bool sane = v->head_len >= 28 && (pc_le32(v->head + 8) == 0x1a2b3c4d || pc_be32(v->head + 8) == 0x1a2b3c4d);
    return sane ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_git_index(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    bool sane = v->head_len >= 12 && pc_be32(v->head + 4) >= 2 && pc_be32(v->head + 4) <= 4;
    return sane && (uint64_t)pc_be32(v->head + 8) * 16 <= v->size ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_parquet(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->tail_off + v->tail_len < v->size || v->tail_len < 8)
        return PC_PROOF_MAGIC;
    return memcmp(v->tail + v->tail_len - 4, "PAR1", 4) == 0 ? PC_PROOF_STRUCTURE : PC_PROOF_BROKEN;
}

enum pc_proof pc_check_mo(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return v->head_len >= 28 && pc_le32(v->head + 12) < v->size && pc_le32(v->head + 16) < v->size ? PC_PROOF_STRUCTURE
                                                                                                 : PC_PROOF_NONE;
}
