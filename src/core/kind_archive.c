/* Owns the checks of archives and documents made of parts, and whether their parts are encrypted. */
#include "core/bytes.h"
#include "core/kind_impl.h"
#include "core/unpack.h"

#include <string.h>

/* --- zip ---------------------------------------------------------------------------------------------------------- */

#define ZIP_ENTRIES 256 /* of one archive looked at */

struct zip_entry {
    uint16_t flags, method, name_len;
    uint32_t packed, data; /* data: offset from the header's beginning */
    const uint8_t *name;
};

static bool zip_known_method(uint16_t m)
{
    return m <= 1 || m == 6 || (m >= 8 && m <= 20) || (m >= 93 && m <= 99);
}

static bool zip_entry(const uint8_t *p, uint32_t n, struct zip_entry *e)
{
    if (n < 31 || pc_le32(p) != 0x04034b50)
        return false;
    *e = (struct zip_entry){.flags = pc_le16(p + 6), .method = pc_le16(p + 8), .packed = pc_le32(p + 18),
                            .name_len = pc_le16(p + 26), .name = p + 30};
    e->data = 30u + e->name_len + pc_le16(p + 28);
    if (!zip_known_method(e->method) || e->name_len == 0 || e->name_len > 4096 || 30u + e->name_len > n || (p[4] > 63))
        return false;
    for (uint32_t i = 0; i < e->name_len; i++)
        if (e->name[i] < 0x20)
            return false;
    return true;
}

static bool name_begins(const struct zip_entry *e, const char *with)
{
    size_t n = strlen(with);
    return e->name_len >= n && memcmp(e->name, with, n) == 0;
}

static uint8_t zip_child(const struct zip_entry *e, const uint8_t *data, uint32_t n)
{
    static const struct {
        const char *name;
        uint8_t kind;
    } by_name[] = {{"[Content_Types].xml", PC_KIND_OOXML}, {"_rels/", PC_KIND_OOXML},   {"docProps/", PC_KIND_OOXML},
                   {"word/", PC_KIND_OOXML},               {"xl/", PC_KIND_OOXML},      {"ppt/", PC_KIND_OOXML},
                   {"META-INF/", PC_KIND_JAR},             {"AndroidManifest", PC_KIND_JAR}};
    if (name_begins(e, "mimetype") && pc_find_bytes(data, n < 128 ? n : 128, "epub", 4))
        return PC_KIND_EPUB;
    if (name_begins(e, "mimetype") && pc_find_bytes(data, n < 128 ? n : 128, "opendocument", 12))
        return PC_KIND_ODF;
    for (size_t i = 0; i < sizeof by_name / sizeof by_name[0]; i++)
        if (name_begins(e, by_name[i].name))
            return by_name[i].kind;
    return PC_KIND_ZIP;
}

struct zip_tally {
    uint32_t entries, locked, sized;
    bool chain_broken;
};

/* The chain of local headers, as far as it is in the head; entries of unknown length (flag 3) end it. */
static void zip_chain(const struct pc_view *v, struct zip_tally *t)
{
    uint64_t at = 0;
    while (t->entries < ZIP_ENTRIES && at + 31 <= v->head_len) {
        struct zip_entry e;
        uint32_t signature = pc_le32(v->head + at);
        if (signature != 0x04034b50) { /* central directory, its extras, or a descriptor */
            t->chain_broken = signature != 0x02014b50 && signature != 0x08064b50 && signature != 0x08074b50;
            return;
        }
        if (!zip_entry(v->head + at, (uint32_t)(v->head_len - at), &e)) {
            t->chain_broken = at + 30 + 4096 < v->head_len;
            return;
        }
        t->entries++;
        t->sized += e.packed > 12 || e.flags & 8;
        t->locked += e.flags & 1;
        if (e.flags & 8 || e.packed == 0xffffffff)
            return;
        at += e.data + (uint64_t)e.packed;
    }
}

static const uint8_t *zip_end(const struct pc_view *v)
{
    for (uint32_t i = v->tail_len >= 22 ? v->tail_len - 22 : 0, looked = 0; v->tail_len >= 22 && looked < 66000;
         i--, looked++) {
        if (pc_le32(v->tail + i) == 0x06054b50)
            return v->tail + i;
        if (i == 0)
            break;
    }
    return NULL;
}

/* The central directory, as far as it was read, tells of all entries, of those with unknown lengths too. */
static void zip_directory(const struct pc_view *v, const uint8_t *end, struct zip_tally *t)
{
    uint64_t off = pc_le32(end + 16);
    uint32_t have;
    const uint8_t *p = pc_view_at(v, off, 46, &have);
    for (uint32_t i = 0; p && i < ZIP_ENTRIES && have >= 46 && pc_le32(p) == 0x02014b50; i++) {
        uint32_t len = 46u + pc_le16(p + 28) + pc_le16(p + 30) + pc_le16(p + 32), header_have;
        t->sized += pc_le32(p + 20) > 12;
        t->locked += p[8] & 1;
        const uint8_t *header = pc_view_at(v, pc_le32(p + 42), 4, &header_have);
        t->chain_broken |= header && pc_le32(header) != 0x04034b50 && pc_le32(p + 42) != 0xffffffff;
        if (len > have)
            return;
        p += len;
        have -= len;
    }
}

/* The first member's data: deflate must decode; stored bytes must not be ciphertext without a name of its own. */
static enum pc_proof zip_first_member(const struct pc_view *v, const struct zip_entry *e, struct pc_sight *s)
{
    struct pc_unpacked u;
    if (e->data >= v->head_len)
        return PC_PROOF_STRUCTURE;
    uint32_t n = v->head_len - e->data;
    if (!(e->flags & 8) && n > e->packed)
        n = e->packed;
    if (e->method == 0)
        s->random_inside = pc_random_payload(v->head + e->data, n);
    if (e->method != 8 || n < 64 || e->flags & 1)
        return PC_PROOF_STRUCTURE;
    pc_unpack_deflate(v->head + e->data, n, -15, &u);
    if (!u.valid)
        return PC_PROOF_BROKEN;
    s->random_inside = pc_random_payload(u.data, u.len);
    return PC_PROOF_DECODED;
}

enum pc_proof pc_check_zip(const struct pc_view *v, struct pc_sight *s)
{
    struct zip_entry e;
    struct zip_tally t = {0};
    if (!zip_entry(v->head, v->head_len, &e))
        return PC_PROOF_NONE;
    s->kind = zip_child(&e, v->head + (e.data < v->head_len ? e.data : v->head_len),
                        e.data < v->head_len ? v->head_len - e.data : 0);
    enum pc_proof proof = zip_first_member(v, &e, s);
    zip_chain(v, &t);
    const uint8_t *end = zip_end(v);
    if (end)
        zip_directory(v, end, &t);
    if (t.locked && t.locked * 2 >= t.sized) {
        *s = (struct pc_sight){.kind = PC_KIND_ZIP_LOCKED};
        return PC_PROOF_STRUCTURE;
    }
    if (t.chain_broken || proof == PC_PROOF_BROKEN)
        return PC_PROOF_BROKEN;
    /* Every zip ends with its directory, unless its writer has not got there yet or something took its tail away. */
    return !end && pc_random_end(v) ? PC_PROOF_BROKEN : proof;
}

/* --- 7z ----------------------------------------------------------------------------------------------------------- */

/* The codec "AES-256 + SHA-256" (06 f1 07 01) behind its property byte, as it stands in a coder's description. */
static bool names_aes(const uint8_t *p, size_t n)
{
    return pc_find_bytes(p, n, "\x24\x06\xf1\x07\x01", 5) != NULL;
}

/* 7z's own variable-length number: leading ones of the first byte count the bytes that follow. */
static bool sz_number(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    if (*p >= end)
        return false;
    uint8_t first = *(*p)++, mask = 0x80;
    uint64_t v = 0;
    for (int i = 0; i < 8; i++, mask >>= 1) {
        if (!(first & mask)) {
            *out = v | (uint64_t)(first & (mask - 1)) << (8 * i);
            return true;
        }
        if (*p >= end)
            return false;
        v |= (uint64_t)*(*p)++ << (8 * i);
    }
    *out = v;
    return true;
}

/*
 * The real header is usually packed with LZMA; its description (position, size, properties) stands in the tail:
 * 17 06 <position> 01 09 <size> 00 07 0b 01 00 01 23 03 01 01 05 <5 property bytes> ...
 */
enum sz_coding { SZ_UNKNOWN, SZ_OPEN, SZ_LOCKED };

static enum sz_coding sz_packed_header(const struct pc_view *v, const uint8_t *p, uint32_t n)
{
    struct pc_unpacked u;
    const uint8_t *end = p + n, *at = p + 2;
    uint64_t pos, streams, size;
    if (n < 8 || p[0] != 0x17 || p[1] != 0x06 || !sz_number(&at, end, &pos) || !sz_number(&at, end, &streams) ||
        at >= end || *at++ != 0x09 || !sz_number(&at, end, &size))
        return SZ_UNKNOWN;
    const uint8_t *coder = pc_find_bytes(at, (size_t)(end - at), "\x23\x03\x01\x01\x05", 5);
    uint32_t have;
    const uint8_t *packed = pc_view_at(v, 32 + pos, 16, &have);
    if (!coder || coder + 6 > end || !packed || size == 0)
        return SZ_UNKNOWN;
    pc_unpack_lzma1(packed, size < have ? (size_t)size : have, coder[5], &u);
    if (!u.valid)
        return SZ_UNKNOWN;
    return names_aes(u.data, u.len) ? SZ_LOCKED : SZ_OPEN;
}

static enum sz_coding sz_header(const struct pc_view *v, const uint8_t *p, uint32_t n)
{
    if (names_aes(p, n))
        return SZ_LOCKED;
    return p[0] == 0x01 ? SZ_OPEN : sz_packed_header(v, p, n);
}

/* The header was out of reach: then the packed data itself must tell. */
static enum pc_proof sz_body(const struct pc_view *v, struct pc_sight *s)
{
    struct pc_unpacked u;
    if (v->head_len < 128)
        return PC_PROOF_STRUCTURE;
    pc_unpack_lzma2(v->head + 32, v->head_len - 32, &u);
    if (u.valid && u.len >= 256)
        return PC_PROOF_DECODED;
    /* LZMA1 and PPMd begin with a zero byte. */
    if (v->head[32] != 0 && pc_random_payload(v->head + 32, v->head_len - 32))
        s->kind = PC_KIND_SEVENZIP_LOCKED;
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_sevenzip(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 32 || v->head[6] != 0)
        return PC_PROOF_NONE;
    uint64_t off = pc_le64(v->head + 12), len = pc_le64(v->head + 20);
    if (len == 0) /* still being written, or holding nothing */
        return PC_PROOF_MAGIC;
    if (off > v->size || len > v->size || 32 + off + len > v->size) /* the first of several volumes, or none at all */
        return sz_body(v, s) == PC_PROOF_DECODED ? PC_PROOF_DECODED : PC_PROOF_NONE;
    uint32_t have;
    const uint8_t *header = pc_view_at(v, 32 + off, 1, &have);
    if (header && header[0] != 0x01 && header[0] != 0x17)
        return PC_PROOF_NONE;
    enum sz_coding coding = header ? sz_header(v, header, len < have ? (uint32_t)len : have) : SZ_UNKNOWN;
    if (coding == SZ_UNKNOWN)
        return sz_body(v, s);
    if (coding == SZ_LOCKED)
        s->kind = PC_KIND_SEVENZIP_LOCKED;
    return PC_PROOF_STRUCTURE;
}

/* --- rar ---------------------------------------------------------------------------------------------------------- */

static bool rar_number(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 63 && *p < end; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* RAR 5: headers are <crc32> <size> <type> <flags> [<extra size>] [<data size>]; type 4 announces encrypted headers. */
static enum pc_proof rar5(const struct pc_view *v, struct pc_sight *s)
{
    const uint8_t *p = v->head + 8, *end = v->head + v->head_len;
    for (int i = 0; i < 8 && end - p > 8; i++) {
        uint64_t size, type, flags, extra = 0, data = 0;
        const uint8_t *at = p + 4;
        if (!rar_number(&at, end, &size) || size == 0 || size > 2u << 20)
            return i ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
        const uint8_t *body = at;
        if (!rar_number(&at, end, &type) || !rar_number(&at, end, &flags) || type > 5)
            return i ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
        if ((flags & 1 && !rar_number(&at, end, &extra)) || (flags & 2 && !rar_number(&at, end, &data)))
            break;
        bool seen = size <= (uint64_t)(end - body);
        /* A file's extra area begins with records <size> <type>; type 1 is encryption. */
        bool locked = type == 2 && seen && extra > 2 && extra < size && body[size - extra + 1] == 1;
        if (type == 4 || locked) {
            s->kind = PC_KIND_RAR_LOCKED;
            return PC_PROOF_STRUCTURE;
        }
        if (!seen || data > (uint64_t)(end - body) - size)
            break;
        p = body + size + data;
    }
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_rar(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 32)
        return PC_PROOF_NONE;
    if (v->head[6] == 1)
        return v->head[7] == 0 ? rar5(v, s) : PC_PROOF_NONE;
    const uint8_t *main_head = v->head + 7, *file_head = v->head + 20;
    if (v->head[6] != 0 || main_head[2] != 0x73)
        return PC_PROOF_NONE;
    if (main_head[3] & 0x80 || (file_head[2] == 0x74 && file_head[3] & 4))
        s->kind = PC_KIND_RAR_LOCKED;
    return PC_PROOF_STRUCTURE;
}

/* --- tar, cpio, ar ------------------------------------------------------------------------------------------------ */

static bool octal(const uint8_t *p, uint32_t n, uint64_t *out)
{
    uint64_t v = 0;
    uint32_t i = 0;
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    *out = v;
    return i > 0;
}

static bool tar_header(const uint8_t *p, uint64_t *size)
{
    uint64_t sum;
    if (!octal(p + 148, 8, &sum))
        return false;
    uint64_t real = 8 * ' ';
    for (uint32_t i = 0; i < 512; i++)
        real += i >= 148 && i < 156 ? 0 : p[i];
    if (p[124] & 0x80) /* base 256, beyond 8 GiB */
        *size = pc_be64(p + 128);
    else if (!octal(p + 124, 12, size))
        return false;
    return real == sum;
}

enum pc_proof pc_check_tar(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint64_t at = 0, size = 0;
    uint32_t have;
    for (int i = 0; i < 512; i++) {
        const uint8_t *p = pc_view_at(v, at, 512, &have);
        if (!p)
            break;
        if (p[0] == 0) /* the end, two blocks of zeros */
            break;
        if (!tar_header(p, &size))
            return i == 0 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        if (size > v->size)
            break;
        uint8_t type = p[156];
        bool has_data = type != '1' && type != '2' && type != '5' && type != '3' && type != '4' && type != '6';
        at += 512 + (has_data ? (size + 511) / 512 * 512 : 0);
    }
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_cpio(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 110)
        return PC_PROOF_NONE;
    for (uint32_t i = 6; i < 110; i++) {
        uint8_t b = v->head[i];
        if (!((b >= '0' && b <= '9') || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F')))
            return PC_PROOF_NONE;
    }
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_ar(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->size == 8)
        return PC_PROOF_STRUCTURE;
    return v->head_len >= 68 && v->head[66] == '`' && v->head[67] == '\n' ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

/* "EncryptedPackage" in UTF-16: the stream an office document with a password consists of. */
static const char encrypted_package[] = "E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e";

enum pc_proof pc_check_ole(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 512 || pc_le16(v->head + 28) != 0xfffe)
        return PC_PROOF_NONE;
    uint16_t shift = pc_le16(v->head + 30);
    if ((shift != 9 && shift != 12) || pc_le16(v->head + 32) != 6)
        return PC_PROOF_NONE;
    uint64_t directory = ((uint64_t)pc_le32(v->head + 48) + 1) << shift;
    if (directory >= v->size)
        return PC_PROOF_BROKEN;
    for (uint32_t i = 0; i < v->c->count; i++)
        if (pc_find_bytes(v->c->win[i].data, v->c->win[i].len, encrypted_package, sizeof encrypted_package))
            s->kind = PC_KIND_OLE_LOCKED;
    /* The directory's first entry is always "Root Entry". */
    uint32_t have;
    const uint8_t *root = pc_view_at(v, directory, 20, &have);
    return root && memcmp(root, "R\0o\0o\0t\0", 8) != 0 ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_pdf(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 32 || v->head[5] < '1' || v->head[5] > '2' || v->head[6] != '.')
        return PC_PROOF_NONE;
    /* Behind the first line and its comment of high bytes comes an object. */
    uint32_t near_len = v->head_len < 4096 ? v->head_len : 4096;
    if (!pc_find_bytes(v->head, near_len, " obj", 4) && !pc_find_bytes(v->head, near_len, "xref", 4))
        return v->whole ? PC_PROOF_NONE : PC_PROOF_MAGIC;
    if (pc_find_bytes(v->tail, v->tail_len, "/Encrypt", 8) || pc_find_bytes(v->head, v->head_len, "/Encrypt", 8))
        s->kind = PC_KIND_PDF_LOCKED;
    bool ends = pc_find_bytes(v->tail, v->tail_len, "startxref", 9) && pc_find_bytes(v->tail, v->tail_len, "%%EOF", 5);
    if (ends)
        return PC_PROOF_STRUCTURE;
    return pc_random_end(v) ? PC_PROOF_BROKEN : PC_PROOF_MAGIC;
}

enum pc_proof pc_check_cab(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    bool sane = v->head_len >= 36 && pc_le32(v->head + 4) == 0 && pc_le32(v->head + 8) <= v->size && v->head[25] == 1;
    return sane ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}
