/*
 * Owns the gist: a number for a file's first bytes and one for what it packs. Decides nothing; judge.c keeps gists and
 * weigh.c compares them. Pure.
 */
#include "core/gist.h"

#include "core/bytes.h"
#include "core/content.h"
#include "core/unpack.h"

#include <string.h>
#include <zstd.h>

/* Compared length. Shorter files and members are compared whole; the length is part of the number. */
#define GIST_BYTES 4096u
/* Less could be equal by chance: an empty line, a header. */
#define GIST_MIN 32u
#define ZIP_HEADER 30u
#define ZIP_SKIPPED 16 /* folders and empty members before the first one with content */

/* have bytes are there; whole: nothing follows them. */
static uint64_t gist(const uint8_t *p, uint32_t have, bool whole)
{
    if (have < GIST_MIN || (have < GIST_BYTES && !whole))
        return 0;
    return pc_bytes_hash(p, have < GIST_BYTES ? have : GIST_BYTES);
}

static uint64_t of_unpacked(const struct pc_unpacked *u)
{
    return u->valid ? gist(u->data, u->len, u->complete) : 0;
}

/* Only the first block is decoded: it is all there is when it is as long as the frame says. */
static uint64_t of_zstd(const uint8_t *p, uint32_t n)
{
    struct pc_unpacked u;
    pc_unpack_zstd(p, n, &u);
    u.complete |= u.len < sizeof u.data && u.len == ZSTD_getFrameContentSize(p, n);
    return of_unpacked(&u);
}

static uint64_t of_zip(const uint8_t *p, uint32_t n)
{
    struct pc_unpacked u;
    for (int i = 0; i < ZIP_SKIPPED && n > ZIP_HEADER && pc_le32(p) == 0x04034b50; i++) {
        uint32_t flags = pc_le16(p + 6), method = pc_le16(p + 8), packed = pc_le32(p + 18);
        uint32_t data = ZIP_HEADER + pc_le16(p + 26) + pc_le16(p + 28);
        if (flags & 1 || data >= n)
            return 0;
        p += data;
        n -= data;
        bool sized = !(flags & 8);
        if (sized && packed == 0)
            continue;
        uint32_t have = sized && packed < n ? packed : n;
        if (method == 0)
            return sized ? gist(p, have, have == packed) : 0;
        if (method != 8)
            return 0;
        pc_unpack_deflate(p, have, -15, &u);
        return of_unpacked(&u);
    }
    return 0;
}

/* By the magic alone, not by the kind: a frame too small to be proved a kind still packs what it packs. */
static uint64_t of_inner(const uint8_t *p, uint32_t n)
{
    struct pc_unpacked u = {0};
    if (n < 8)
        return 0;
    if (p[0] == 0x1f && p[1] == 0x8b)
        pc_unpack_deflate(p, n, 31, &u);
    else if (pc_le32(p) == 0xfd2fb528)
        return of_zstd(p, n);
    else if (memcmp(p, "\xfd" "7zXZ", 6) == 0)
        pc_unpack_xz(p, n, &u);
    else if (p[0] == 0x78 && (p[0] << 8 | p[1]) % 31 == 0)
        pc_unpack_deflate(p, n, 15, &u);
    else
        return of_zip(p, n);
    return of_unpacked(&u);
}

void pc_gist_of(const struct pc_content *c, struct pc_gist *out)
{
    *out = (struct pc_gist){0};
    if (c->count == 0)
        return;
    const struct pc_window *w = &c->win[0];
    out->own = gist(w->data, w->len, w->len == c->size);
    out->inner = of_inner(w->data, w->len);
}

bool pc_gist_packs(const struct pc_gist *a, const struct pc_gist *b)
{
    return (a->inner && (a->inner == b->own || a->inner == b->inner)) || (b->inner && b->inner == a->own);
}
