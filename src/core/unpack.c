/*
 * Owns trial decoding with zlib, liblzma and libzstd. Allocates nothing: every library gets a bump allocator over an
 * arena in its caller's stack frame; freeing is leaving the frame.
 */
#include "core/unpack.h"

#include <lzma.h>
#include <string.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY /* decoding into memory of our own, block by block */
#include <zstd.h>

struct arena {
    size_t used, cap;
    uint8_t *mem;
};

static void *arena_take(struct arena *a, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (n > a->cap - a->used)
        return NULL;
    void *p = a->mem + a->used;
    a->used += n;
    return p;
}

/* --- deflate ------------------------------------------------------------------------------------------------------ */

#define DEFLATE_ARENA (64u << 10) /* state 7 KiB, window 32 KiB */

static voidpf zlib_take(voidpf opaque, uInt items, uInt size)
{
    return arena_take(opaque, (size_t)items * size);
}

static void zlib_drop(voidpf opaque, voidpf p)
{
    (void)opaque;
    (void)p;
}

void pc_unpack_deflate(const uint8_t *in, size_t n, int wrap, struct pc_unpacked *out)
{
    _Alignas(16) uint8_t mem[DEFLATE_ARENA];
    struct arena a = {.mem = mem, .cap = sizeof mem};
    z_stream z = {.zalloc = zlib_take, .zfree = zlib_drop, .opaque = &a};
    out->valid = out->complete = false;
    out->len = 0;
    if (inflateInit2(&z, wrap) != Z_OK)
        return;
    z.next_in = (z_const Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)n;
    z.next_out = out->data;
    z.avail_out = sizeof out->data;
    int r = inflate(&z, Z_SYNC_FLUSH);
    out->complete = r == Z_STREAM_END;
    out->valid = r == Z_STREAM_END || r == Z_OK || r == Z_BUF_ERROR;
    out->len = (uint32_t)z.total_out;
    inflateEnd(&z);
}

/* --- zstd --------------------------------------------------------------------------------------------------------- */

#define ZSTD_ARENA (128u << 10) /* one decoding context: 94 KiB in libzstd 1.5 */
#define ZSTD_BLOCK (128u << 10) /* a block is decoded whole or not at all */

static void zstd_blocks(ZSTD_DCtx *ctx, const uint8_t *in, size_t n, uint8_t *block, struct pc_unpacked *out)
{
    bool raw = false;
    out->valid = ZSTD_decompressBegin(ctx) == 0;
    while (out->valid && out->len < sizeof out->data) {
        size_t want = ZSTD_nextSrcSizeToDecompress(ctx);
        out->complete = want == 0;
        if (want > n && raw) {
            out->len = n < sizeof out->data ? (uint32_t)n : (uint32_t)sizeof out->data;
            memcpy(out->data, in, out->len);
        }
        if (want == 0 || want > n) /* the end of the frame, or of what was read */
            return;
        /* Only the first block has the whole output buffer behind it: a second would refer back beyond it. */
        size_t got = ZSTD_decompressContinue(ctx, block, ZSTD_BLOCK, in, want);
        out->valid = !ZSTD_isError(got);
        raw = want == 3 && (in[0] >> 1 & 3) == 0; /* a block header: the block that follows is stored as it is */
        in += want;
        n -= want;
        if (!out->valid || got == 0)
            continue;
        out->len = got < sizeof out->data ? (uint32_t)got : (uint32_t)sizeof out->data;
        memcpy(out->data, block, out->len);
        return;
    }
}

void pc_unpack_zstd(const uint8_t *in, size_t n, struct pc_unpacked *out)
{
    _Alignas(16) uint8_t mem[ZSTD_ARENA], block[ZSTD_BLOCK];
    out->valid = out->complete = false;
    out->len = 0;
    ZSTD_DCtx *ctx = ZSTD_initStaticDCtx(mem, sizeof mem);
    if (ctx)
        zstd_blocks(ctx, in, n, block, out);
}

/* --- lzma --------------------------------------------------------------------------------------------------------- */

#define LZMA_ARENA (160u << 10)
/* Whatever dictionary the stream asks for: less than this is decoded, so nothing can refer further back. */
#define LZMA_DICT (32u << 10)

static void *lzma_take(void *opaque, size_t items, size_t size)
{
    return arena_take(opaque, items * size);
}

static void lzma_drop(void *opaque, void *p)
{
    (void)opaque;
    (void)p;
}

static void run_lzma(const uint8_t *in, size_t n, lzma_filter *filters, const lzma_allocator *alloc,
                     struct pc_unpacked *out)
{
    lzma_stream s = LZMA_STREAM_INIT;
    s.allocator = alloc;
    if (lzma_raw_decoder(&s, filters) != LZMA_OK)
        return;
    s.next_in = in;
    s.avail_in = n;
    s.next_out = out->data;
    s.avail_out = sizeof out->data;
    lzma_ret r = lzma_code(&s, LZMA_RUN);
    out->complete = r == LZMA_STREAM_END;
    out->valid = r == LZMA_OK || r == LZMA_STREAM_END || r == LZMA_BUF_ERROR;
    out->len = (uint32_t)s.total_out;
    lzma_end(&s);
}

static void raw_lzma(const uint8_t *in, size_t n, lzma_vli filter, lzma_options_lzma *options, struct pc_unpacked *out)
{
    _Alignas(16) uint8_t mem[LZMA_ARENA];
    struct arena a = {.mem = mem, .cap = sizeof mem};
    lzma_allocator alloc = {.alloc = lzma_take, .free = lzma_drop, .opaque = &a};
    lzma_filter filters[] = {{.id = filter, .options = options}, {.id = LZMA_VLI_UNKNOWN}};
    out->valid = out->complete = false;
    out->len = 0;
    options->dict_size = LZMA_DICT;
    run_lzma(in, n, filters, &alloc, out);
}

void pc_unpack_lzma1(const uint8_t *in, size_t n, uint8_t props, struct pc_unpacked *out)
{
    lzma_options_lzma o = {.lc = props % 9, .lp = props / 9 % 5, .pb = props / 45};
    out->valid = false;
    out->len = 0;
    if (props < 225 && o.lc + o.lp <= 4)
        raw_lzma(in, n, LZMA_FILTER_LZMA1, &o, out);
}

void pc_unpack_lzma2(const uint8_t *in, size_t n, struct pc_unpacked *out)
{
    lzma_options_lzma o = {0};
    raw_lzma(in, n, LZMA_FILTER_LZMA2, &o, out);
}

/* Stream header, block header, then the block's own filters with a dictionary that fits the arena. */
void pc_unpack_xz(const uint8_t *in, size_t n, struct pc_unpacked *out)
{
    _Alignas(16) uint8_t mem[LZMA_ARENA];
    struct arena a = {.mem = mem, .cap = sizeof mem};
    lzma_allocator alloc = {.alloc = lzma_take, .free = lzma_drop, .opaque = &a};
    lzma_stream_flags flags;
    lzma_filter filters[LZMA_FILTERS_MAX + 1];
    out->valid = out->complete = false;
    out->len = 0;
    if (n < LZMA_STREAM_HEADER_SIZE + 8 || lzma_stream_header_decode(&flags, in) != LZMA_OK)
        return;
    in += LZMA_STREAM_HEADER_SIZE;
    n -= LZMA_STREAM_HEADER_SIZE;
    if (in[0] == 0) { /* no block at all: an empty file, compressed */
        out->valid = out->complete = true;
        return;
    }
    lzma_block block = {.check = flags.check, .filters = filters, .header_size = lzma_block_header_size_decode(in[0])};
    if (block.header_size > n || lzma_block_header_decode(&block, &alloc, in) != LZMA_OK)
        return;
    for (lzma_filter *f = filters; f->id != LZMA_VLI_UNKNOWN; f++)
        if (f->id == LZMA_FILTER_LZMA2)
            ((lzma_options_lzma *)f->options)->dict_size = LZMA_DICT;
    run_lzma(in + block.header_size, n - block.header_size, filters, &alloc, out);
}
