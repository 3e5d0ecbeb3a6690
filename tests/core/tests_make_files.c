/* Owns the making of test files of many kinds, with real compressors where there are any. */
#include "tests_make.h"

#include <bzlib.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct maker {
    const char *kind;
    size_t (*make)(uint8_t *out, size_t n, uint64_t seed);
};

static size_t make_text(uint8_t *out, size_t n, uint64_t seed)
{
    static const char *const words[] = {"the ",   "council ", "met ",       "on ",    "Monday ",  "and ",   "decided ",
                                        "that ",  "water ",   "pipes ",     "in ",    "Westmount ", "need ", "repair, ",
                                        "which ", "will ",    "cost ",      "about ", "1200 ",    "dollars.\n"};
    uint8_t pick[64];
    size_t at = 0;
    for (uint64_t turn = 0; at < n; turn++) {
        make_random(pick, sizeof pick, seed + turn * 977);
        for (size_t i = 0; i < sizeof pick && at < n; i++)
            for (const char *w = words[pick[i] % 20]; *w && at < n; w++)
                out[at++] = (uint8_t)*w;
    }
    return n;
}

static size_t make_log(uint8_t *out, size_t n, uint64_t seed)
{
    size_t at = 0;
    for (unsigned i = 0; at + 100 < n; i++)
        at += (size_t)sprintf((char *)out + at, "2026-11-21 12:%02u:%02u host app[%u]: request %llu served in %u ms\n",
                              i / 60 % 60, i % 60, 100 + i % 7, (unsigned long long)(seed * 31 + i), i * 37 % 991);
    return at;
}

static size_t make_noise(uint8_t *out, size_t n, uint64_t seed)
{
    make_random(out, n, seed);
    return n;
}

static size_t make_zeros(uint8_t *out, size_t n, uint64_t seed)
{
    (void)seed;
    memset(out, 0, n);
    return n;
}

/* Bytes that compress to about n: text of thrice the size. Caller frees. */
static uint8_t *plain_for(size_t n, uint64_t seed, size_t *len)
{
    *len = n * 3 + 200;
    uint8_t *p = malloc(*len);
    if (!p)
        abort();
    make_text(p, *len, seed);
    /* Some noise in it, so that the packed form is not tiny. */
    for (size_t i = 0; i + 8 < *len; i += 24)
        make_random(p + i, 8, seed + i);
    return p;
}

static size_t deflated(uint8_t *out, size_t cap, const uint8_t *in, size_t n, int wrap)
{
    z_stream z = {0};
    if (deflateInit2(&z, 6, Z_DEFLATED, wrap, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (z_const Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    deflateEnd(&z);
    return z.total_out;
}

static size_t make_gzip(uint8_t *out, size_t n, uint64_t seed)
{
    size_t len;
    uint8_t *p = plain_for(n, seed, &len);
    n = deflated(out, 2 * n + 8192, p, len, 31);
    free(p);
    return n;
}

/* What cannot be packed, packed: a certificate. n: of what is in it. */
static size_t make_gzip_noise(uint8_t *out, size_t n, uint64_t seed)
{
    uint8_t *p = malloc(n + 1);
    if (!p)
        abort();
    make_random(p, n, seed);
    n = deflated(out, 2 * n + 8192, p, n, 31);
    free(p);
    return n;
}

static size_t make_zlib(uint8_t *out, size_t n, uint64_t seed)
{
    size_t len;
    uint8_t *p = plain_for(n, seed, &len);
    n = deflated(out, 2 * n + 8192, p, len, 15);
    free(p);
    return n;
}

static size_t make_sphinx(uint8_t *out, size_t n, uint64_t seed)
{
    size_t at = (size_t)sprintf((char *)out, "# Sphinx inventory version 2\n# Project: Policy\n# Version: %u\n"
                                             "# The remainder of this file is compressed using zlib.\n",
                                (unsigned)seed % 10);
    return at + make_zlib(out + at, n, seed);
}

static size_t make_xz(uint8_t *out, size_t n, uint64_t seed)
{
    size_t len, at = 0;
    uint8_t *p = plain_for(n, seed, &len);
    if (lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, p, len, out, &at, 2 * n + 8192) != LZMA_OK)
        abort();
    free(p);
    return at;
}

static size_t make_lzma(uint8_t *out, size_t n, uint64_t seed)
{
    size_t len;
    uint8_t *p = plain_for(n, seed, &len);
    lzma_options_lzma o;
    lzma_stream s = LZMA_STREAM_INIT;
    lzma_lzma_preset(&o, 6);
    if (lzma_alone_encoder(&s, &o) != LZMA_OK)
        abort();
    s.next_in = p;
    s.avail_in = len;
    s.next_out = out;
    s.avail_out = 2 * n + 8192;
    if (lzma_code(&s, LZMA_FINISH) != LZMA_STREAM_END)
        abort();
    n = s.total_out;
    lzma_end(&s);
    free(p);
    return n;
}

static size_t make_bzip2(uint8_t *out, size_t n, uint64_t seed)
{
    size_t len;
    uint8_t *p = plain_for(n, seed, &len);
    unsigned made = (unsigned)(2 * n + 8192);
    if (BZ2_bzBuffToBuffCompress((char *)out, &made, (char *)p, (unsigned)len, 9, 0, 0) != BZ_OK)
        abort();
    free(p);
    return made;
}

static size_t make_zstd(uint8_t *out, size_t n, uint64_t seed)
{
    size_t len;
    uint8_t *p = plain_for(n, seed, &len);
    n = ZSTD_compress(out, 2 * n + 8192, p, len, 3);
    free(p);
    return n;
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v & 0xffff);
    put16(p + 2, v >> 16);
}

static void put32_be(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* A zip of one member; flags bit 0 marks it encrypted, and its data is then noise. */
static size_t zip_of(uint8_t *out, size_t n, uint64_t seed, const char *name, unsigned flags)
{
    size_t name_len = strlen(name), plain, packed;
    uint8_t *p = plain_for(n, seed, &plain), *data = out + 30 + name_len;
    packed = deflated(data, 2 * n + 4096, p, plain, -15);
    if (flags & 1)
        make_random(data, packed, seed);
    memset(out, 0, 30);
    memcpy(out, "PK\3\4\x14", 5);
    put16(out + 6, flags);
    put16(out + 8, 8);
    put32(out + 14, (uint32_t)crc32(0, p, (uInt)plain));
    put32(out + 18, (uint32_t)packed);
    put32(out + 22, (uint32_t)plain);
    put16(out + 26, (unsigned)name_len);
    memcpy(out + 30, name, name_len);
    uint8_t *dir = data + packed, *end = dir + 46 + name_len;
    memset(dir, 0, 46 + name_len + 22);
    memcpy(dir, "PK\1\2\x14\0\x14", 7);
    memcpy(dir + 8, out + 6, 22);
    put16(dir + 28, (unsigned)name_len);
    memcpy(dir + 46, name, name_len);
    memcpy(end, "PK\5\6", 4);
    put16(end + 8, 1);
    put16(end + 10, 1);
    put32(end + 12, (uint32_t)(46 + name_len));
    put32(end + 16, (uint32_t)(dir - out));
    free(p);
    return (size_t)(end + 22 - out);
}

static size_t make_zip(uint8_t *out, size_t n, uint64_t seed)
{
    return zip_of(out, n, seed, "notes.txt", 0);
}

static size_t make_docx(uint8_t *out, size_t n, uint64_t seed)
{
    return zip_of(out, n, seed, "[Content_Types].xml", 0);
}

static size_t make_locked_zip(uint8_t *out, size_t n, uint64_t seed)
{
    return zip_of(out, n, seed, "notes.txt", 1);
}

static size_t make_jpeg(uint8_t *out, size_t n, uint64_t seed)
{
    static const uint8_t head[] = {0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0,
                                   0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0};
    size_t at = sizeof head;
    memcpy(out, head, at);
    uint8_t b[256];
    for (uint64_t turn = 0; at < n; turn++) {
        make_random(b, sizeof b, seed + turn * 31);
        for (size_t i = 0; i < sizeof b && at < n; i++) {
            out[at++] = b[i];
            if (b[i] == 0xff)
                out[at++] = 0;
        }
    }
    out[at++] = 0xff;
    out[at++] = 0xd9;
    return at;
}

static size_t png_chunk(uint8_t *out, const char *type, const uint8_t *data, size_t n)
{
    put32_be(out, (uint32_t)n);
    memcpy(out + 4, type, 4);
    if (n)
        memmove(out + 8, data, n);
    put32_be(out + 8 + n, (uint32_t)crc32(0, out + 4, (uInt)n + 4));
    return n + 12;
}

static size_t make_png(uint8_t *out, size_t n, uint64_t seed)
{
    static const uint8_t header[13] = {0, 0, 1, 0, 0, 0, 1, 0, 8, 2, 0, 0, 0};
    size_t len, at = 8;
    uint8_t *p = plain_for(n, seed, &len);
    memcpy(out, "\x89PNG\r\n\x1a\n", 8);
    at += png_chunk(out + at, "IHDR", header, sizeof header);
    size_t packed = deflated(out + at + 8, 2 * n + 4096, p, len, 15);
    at += png_chunk(out + at, "IDAT", out + at + 8, packed);
    at += png_chunk(out + at, "IEND", NULL, 0);
    free(p);
    return at;
}

static size_t make_pdf(uint8_t *out, size_t n, uint64_t seed)
{
    size_t at = (size_t)sprintf((char *)out, "%%PDF-1.5\n1 0 obj\n<< /Length %zu /Filter /FlateDecode >>\nstream\n", n);
    at += make_zlib(out + at, n, seed);
    at += (size_t)sprintf((char *)out + at, "\nendstream\nendobj\nxref\n0 2\ntrailer\n<< /Root 1 0 R >>\n");
    at += (size_t)sprintf((char *)out + at, "startxref\n9\n%%%%EOF\n");
    return at;
}

/* 4 KiB leaf pages: type 13, cells of text. */
static size_t make_sqlite(uint8_t *out, size_t n, uint64_t seed)
{
    n = (n + 4095) / 4096 * 4096;
    make_text(out, n, seed);
    for (size_t page = 0; page < n; page += 4096) {
        memset(out + page, 0, 600);
        out[page] = 13;
    }
    memcpy(out, "SQLite format 3", 16);
    memcpy(out + 16, "\x10\0\1\1\0\x40\x20\x20", 8);
    return n;
}

static size_t make_pgpages(uint8_t *out, size_t n, uint64_t seed)
{
    n = (n + 8191) / 8192 * 8192;
    make_text(out, n, seed);
    for (size_t page = 0; page < n; page += 8192) {
        memset(out + page, 0, 2000);
        put16(out + page + 12, 200);
        put16(out + page + 14, 2000);
        put16(out + page + 16, 8192);
        put16(out + page + 18, 0x2004);
    }
    return n;
}

static size_t make_elf(uint8_t *out, size_t n, uint64_t seed)
{
    make_text(out, n, seed);
    for (size_t i = 0; i + 16 <= n; i += 32)
        memset(out + i, (int)(i >> 8), 16);
    memset(out, 0, 64);
    memcpy(out, "\x7f" "ELF\2\1\1", 7);
    out[16] = 3;
    out[52] = 64;
    return n;
}

static size_t make_mp3(uint8_t *out, size_t n, uint64_t seed)
{
    make_random(out, n + 418, seed);
    for (size_t at = 0; at < n + 418; at += 417) /* 128 kbit/s at 44.1 kHz, without padding */
        memcpy(out + at, "\xff\xfb\x90\x00", 4);
    return n / 417 * 417;
}

static size_t make_mp4(uint8_t *out, size_t n, uint64_t seed)
{
    memcpy(out, "\0\0\0\x18" "ftypisom\0\0\2\0isommp41", 24);
    put32_be(out + 24, (uint32_t)n);
    memcpy(out + 28, "mdat", 4);
    make_random(out + 32, n - 8, seed);
    uint8_t *moov = out + 24 + n;
    put32_be(moov, 108);
    memcpy(moov + 4, "moov", 4);
    memset(moov + 8, 0, 100);
    return 24 + n + 108;
}

static size_t make_gpg(uint8_t *out, size_t n, uint64_t seed)
{
    memcpy(out, "\x8c\x0d\x04\x09\x03\x02", 6);
    make_random(out + 6, n, seed);
    out[15] = 0xd2;
    out[16] = 0xff;
    put32_be(out + 17, (uint32_t)(n - 21));
    return n;
}

static size_t make_openssl(uint8_t *out, size_t n, uint64_t seed)
{
    make_random(out, n, seed);
    memcpy(out, "Salted__", 8);
    return n;
}

static size_t make_disk(uint8_t *out, size_t n, uint64_t seed)
{
    n = n < 1u << 20 ? 1u << 20 : n;
    make_text(out, n, seed);
    memset(out, 0, 512);
    out[446] = 0x80;
    out[510] = 0x55;
    out[511] = 0xaa;
    return n;
}

/* Records of numbers: a format of its own, neither text nor packed. */
static size_t make_binary(uint8_t *out, size_t n, uint64_t seed)
{
    memset(out, 0, n);
    for (size_t i = 0; i + 16 <= n; i += 16) {
        put32(out + i, (uint32_t)(i / 16));
        put32(out + i + 4, (uint32_t)(seed * 7 + i % 97));
        out[i + 8] = 1;
    }
    return n;
}

static const struct maker makers[] = {
    {"text", make_text},     {"log", make_log},         {"random", make_noise}, {"zeros", make_zeros},
    {"gzip", make_gzip},     {"zlib", make_zlib},       {"sphinx", make_sphinx}, {"xz", make_xz},        {"lzma", make_lzma},
    {"bzip2", make_bzip2},   {"zstd", make_zstd},       {"zip", make_zip},      {"docx", make_docx},
    {"locked-zip", make_locked_zip}, {"jpeg", make_jpeg}, {"png", make_png},    {"pdf", make_pdf},
    {"sqlite", make_sqlite}, {"pgpages", make_pgpages}, {"elf", make_elf},      {"mp3", make_mp3},
    {"mp4", make_mp4},       {"gpg", make_gpg},         {"openssl", make_openssl}, {"disk", make_disk},
    {"binary", make_binary}, {"gzip-noise", make_gzip_noise},
};

const char *const make_file_kinds[] = {"text",  "log",  "random", "zeros",      "gzip",    "zlib", "sphinx", "xz",     "lzma",
                                       "bzip2", "zstd", "zip",    "docx",       "locked-zip", "jpeg", "png",  "pdf",
                                       "sqlite", "pgpages", "elf", "mp3",       "mp4",     "gpg",  "openssl", "disk",
                                       "binary", NULL};

size_t make_file(const char *kind, uint8_t *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
        if (strcmp(makers[i].kind, kind) == 0)
            return makers[i].make(out, n, seed);
    return 0;
}

/* --- harmless changes --------------------------------------------------------------------------------------------- */

static size_t edit_words(const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    memcpy(out, old, n);
    for (size_t i = seed % 100; i + 6 < n; i += 700)
        memcpy(out + i, "sewers", 6);
    return n;
}

static size_t edit_append(const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    memcpy(out, old, n);
    return n + make_text(out + n, n / 4 + 64, seed);
}

static size_t edit_insert(const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    (void)seed;
    memcpy(out, "A new first line, and everything moves.\n", 40);
    memcpy(out + 40, old, n);
    return n + 40;
}

/* What a database does: the bodies of a few pages get rows of packed or random bytes; page headers stay. */
static size_t edit_pages(const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    memcpy(out, old, n);
    for (size_t page = 0; page + 8192 <= n; page += 8192 * 3)
        make_random(out + page + 2000, 2000, seed + page);
    return n;
}

/* A guest fills blocks that were empty. */
static size_t edit_fill_zeros(const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = old[i];
    for (size_t block = 4096; block + 4096 <= n; block += 4096)
        if (old[block] == 0 && memcmp(old + block, old + block + 1, 4095) == 0)
            make_random(out + block, 4096, seed + block);
    return n;
}

/* gunzip. */
static size_t edit_unpack(const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    (void)seed;
    z_stream z = {0};
    if (inflateInit2(&z, 31) != Z_OK)
        abort();
    z.next_in = (z_const Bytef *)(uintptr_t)old;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = 8u << 20;
    if (inflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    inflateEnd(&z);
    return z.total_out;
}

size_t make_edit(const char *edit, const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    static const struct {
        const char *name;
        size_t (*fn)(const uint8_t *, size_t, uint8_t *, uint64_t);
    } edits[] = {{"edit", edit_words}, {"append", edit_append}, {"insert", edit_insert}, {"pages", edit_pages},
                 {"fill-zeros", edit_fill_zeros}, {"unpack", edit_unpack}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        if (strcmp(edits[i].name, edit) == 0)
            return edits[i].fn(old, n, out, seed);
    return 0;
}
