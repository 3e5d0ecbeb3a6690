/* Owns the checks of still images. */
#include "core/bytes.h"
#include "core/kind_impl.h"
#include "core/unpack.h"

#include <string.h>
#include <zlib.h>

/* --- jpeg --------------------------------------------------------------------------------------------------------- */

/* Offset behind the scan header in the head; 0: not reached there; UINT32_MAX: the segments are no jpeg's. */
static uint32_t jpeg_scan_start(const struct pc_view *v)
{
    uint32_t at = 2;
    for (int segments = 0; segments < 256; segments++) {
        if (at + 4 > v->head_len)
            return 0;
        const uint8_t *p = v->head + at;
        if (p[0] != 0xff)
            return UINT32_MAX;
        if (p[1] == 0xff) { /* fill byte */
            at++;
            continue;
        }
        if (p[1] < 0xc0 || (p[1] >= 0xd0 && p[1] <= 0xd9) || pc_be16(p + 2) < 2)
            return UINT32_MAX;
        at += 2u + pc_be16(p + 2);
        if (p[1] == 0xda)
            return at;
    }
    return UINT32_MAX;
}

/*
 * In a scan every ff is followed by 00, a restart marker or a marker of ff c0 and up: 01..bf never follow. Random bytes
 * break that 190 times in 256. Stops at the end marker, for anything may stand behind it.
 */
static uint32_t jpeg_bad_markers(const uint8_t *p, uint32_t n, bool *ended)
{
    uint32_t bad = 0;
    const uint8_t *end = p + n;
    while (!*ended && n > 1 && (p = memchr(p, 0xff, (size_t)(end - p))) && p + 1 < end) {
        bad += p[1] >= 0x01 && p[1] <= 0xbf;
        *ended = p[1] == 0xd9 && bad == 0;
        p++;
    }
    return bad;
}

enum pc_proof pc_check_jpeg(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint32_t scan = jpeg_scan_start(v);
    if (scan == UINT32_MAX)
        return PC_PROOF_NONE;
    if (scan == 0 || scan >= v->head_len) /* a large colour profile in front: the other windows may lie inside it */
        return v->whole ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
    bool ended = false;
    uint32_t bad = jpeg_bad_markers(v->head + scan, v->head_len - scan, &ended);
    for (uint32_t i = 1; i < v->c->count; i++)
        if (v->c->win[i].len)
            bad += jpeg_bad_markers(v->c->win[i].data, v->c->win[i].len, &ended);
    return bad >= 4 ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
}

/* --- png ---------------------------------------------------------------------------------------------------------- */

#define PNG_SUMMED (256u << 10) /* bytes whose checksum is verified: bounds the time */

static bool png_type(const uint8_t *p)
{
    for (int i = 0; i < 4; i++)
        if (!((p[i] >= 'A' && p[i] <= 'Z') || (p[i] >= 'a' && p[i] <= 'z')))
            return false;
    return true;
}

static enum pc_proof png_first_data(const uint8_t *p, uint32_t n, struct pc_sight *s)
{
    struct pc_unpacked u;
    pc_unpack_deflate(p, n, 15, &u);
    if (!u.valid)
        return PC_PROOF_BROKEN;
    s->random_inside = pc_random_payload(u.data, u.len);
    return u.len >= 64 || u.complete ? PC_PROOF_DECODED : PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_png(const struct pc_view *v, struct pc_sight *s)
{
    enum pc_proof proof = PC_PROOF_STRUCTURE;
    uint32_t summed = 0;
    uint64_t at = 8;
    if (v->head_len < 33 || pc_be32(v->head + 8) != 13 || memcmp(v->head + 12, "IHDR", 4) != 0)
        return PC_PROOF_NONE;
    for (bool data_seen = false; at + 12 <= v->head_len;) {
        const uint8_t *p = v->head + at;
        uint32_t len = pc_be32(p), left = v->head_len - (uint32_t)at - 8;
        if (len > 0x7fffffff || !png_type(p + 4))
            return at == 8 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        if (!data_seen && memcmp(p + 4, "IDAT", 4) == 0) {
            data_seen = true;
            proof = png_first_data(p + 8, len < left ? len : left, s);
        }
        if ((uint64_t)len + 4 <= left && summed < PNG_SUMMED) {
            summed += len;
            if (crc32(crc32(0, NULL, 0), p + 4, len + 4) != pc_be32(p + 8 + len))
                return at == 8 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        }
        if (memcmp(p + 4, "IEND", 4) == 0)
            break;
        at += 12ull + len;
    }
    return !pc_find_bytes(v->tail, v->tail_len, "IEND", 4) && pc_random_end(v) ? PC_PROOF_BROKEN : proof;
}

/* --- the others --------------------------------------------------------------------------------------------------- */

/* Skips a gif's chain of sub-blocks; false at the end of what was read. */
static bool gif_blocks(const struct pc_view *v, uint32_t *at)
{
    while (*at < v->head_len) {
        uint8_t len = v->head[(*at)++];
        if (len == 0)
            return true;
        *at += len;
    }
    return false;
}

enum pc_proof pc_check_gif(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 14 || (v->head[4] != '7' && v->head[4] != '9') || v->head[5] != 'a')
        return PC_PROOF_NONE;
    uint32_t at = 13 + (v->head[10] & 0x80 ? 3u << ((v->head[10] & 7) + 1) : 0);
    for (int parts = 0; at + 10 < v->head_len; parts++) {
        uint8_t type = v->head[at++];
        if (type == 0x3b)
            return PC_PROOF_STRUCTURE;
        if (type == 0x21)
            at++;
        else if (type == 0x2c)
            at += 9 + (v->head[at + 8] & 0x80 ? 3u << ((v->head[at + 8] & 7) + 1) : 0) + 1;
        else
            return parts == 0 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        if (!gif_blocks(v, &at))
            break;
    }
    return !pc_find_bytes(v->tail, v->tail_len, "\0;", 2) && pc_random_end(v) ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_tiff(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 16)
        return PC_PROOF_NONE;
    bool le = v->head[0] == 'I';
    uint32_t ifd = le ? pc_le32(v->head + 4) : pc_be32(v->head + 4), have;
    if (ifd < 8 || ifd + 14ull > v->size)
        return PC_PROOF_NONE;
    const uint8_t *p = pc_view_at(v, ifd, 14, &have);
    if (!p)
        return PC_PROOF_MAGIC;
    uint16_t n = le ? pc_le16(p) : pc_be16(p), type = le ? pc_le16(p + 4) : pc_be16(p + 4);
    return n >= 1 && n <= 4096 && type >= 1 && type <= 18 ? PC_PROOF_STRUCTURE : PC_PROOF_BROKEN;
}

/* Pixels as they are: no picture is evenly random. */
static bool plain_payload_random(const struct pc_view *v, uint32_t skip)
{
    return v->head_len > skip + 1024 && pc_random_payload(v->head + skip, v->head_len - skip);
}

enum pc_proof pc_check_bmp(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 54 || pc_le32(v->head + 6) != 0)
        return PC_PROOF_NONE;
    uint32_t size = pc_le32(v->head + 2), data = pc_le32(v->head + 10), dib = pc_le32(v->head + 14);
    if ((size != v->size && size != 0) || dib < 12 || dib > 124 || data < 14 + dib || data > v->size)
        return PC_PROOF_NONE;
    s->random_inside = plain_payload_random(v, data);
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_ico(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 22)
        return PC_PROOF_NONE;
    uint16_t n = pc_le16(v->head + 4);
    uint32_t len = pc_le32(v->head + 14), off = pc_le32(v->head + 18);
    bool inside = len > 0 && off >= 6u + 16u * n && (uint64_t)off + len <= v->size;
    bool sane = n >= 1 && n <= 256 && v->head[9] == 0 && inside;
    return sane ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_psd(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint16_t version = v->head_len >= 26 ? pc_be16(v->head + 4) : 0;
    return version >= 1 && version <= 2 && pc_be32(v->head + 6) == 0 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_xcf(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return v->head_len >= 26 && (v->head[9] == 'v' || v->head[9] == 'f') ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}
