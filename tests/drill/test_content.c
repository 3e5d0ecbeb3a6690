/*
 * The drill's pure parts: which bytes each pattern damages, the way there and back in memory, and that the documents
 * are the same every time and valid files of their kinds.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "cli/drill/cipher.h"
#include "cli/drill/document.h"
#include "cli/drill/options.h"
#include "cli/drill/paths.h"
#include "cli/drill/shape.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define DOCUMENTS_CRC 0xe0de8558u /* of the three documents named below */

static const uint64_t sizes[] = {256, 257, 2047, 4095, 4096, 4097, 65536, 81920, 1048575, 1048576, 1048577, 3145729};

/* The ranges cover every damaged byte, lie in the file, ascend, and stay apart. */
static void ranges_cover_the_pieces(void **state)
{
    for (int p = 0; p < DRILL_PATTERNS; p++)
        for (size_t i = 0; i < PC_ARRAY_SIZE(sizes); i++) {
            struct drill_shape s;
            drill_shape_of((enum drill_pattern)p, sizes[i], &s);
            struct drill_range r = {0, 0};
            uint64_t at = 0;
            while (drill_shape_next(&s, &r)) {
                assert_true(r.len > 0 && r.off >= at && r.off + r.len <= sizes[i]);
                for (; at < r.off; at++)
                    assert_false(drill_shape_hits(&s, at));
                at = r.off + r.len;
            }
            for (; at < sizes[i]; at++)
                assert_false(drill_shape_hits(&s, at));
        }
}

static void five_percent_is_five_percent(void **state)
{
    for (size_t i = 2; i < PC_ARRAY_SIZE(sizes); i++) {
        struct drill_shape s;
        uint64_t hit = 0;
        drill_shape_of(DRILL_PERCENT_5, sizes[i], &s);
        for (uint64_t off = 0; off < sizes[i]; off++)
            hit += drill_shape_hits(&s, off);
        assert_in_range(hit * 1000 / sizes[i], 30, 75);
    }
}

static void every_pattern_but_wipe_comes_back(void **state)
{
    struct drill_cipher *c = NULL;
    uint8_t key[DRILL_KEY_BYTES] = {1, 2, 3};
    assert_int_equal(drill_cipher_new(key, &c), 0);
    for (int p = 0; p < DRILL_PATTERNS; p++)
        for (size_t i = 0; i < PC_ARRAY_SIZE(sizes); i++) {
            struct drill_shape s;
            drill_shape_of((enum drill_pattern)p, sizes[i], &s);
            _free_ uint8_t *image = calloc(1, s.size + 8), *wide = calloc(1, s.new_size + 8), *old = malloc(s.size);
            uint8_t *damaged, *back;
            for (uint64_t n = 0; n < s.size; n++)
                image[n] = old[n] = (uint8_t)(n * 7 + n / 256);
            assert_int_equal(drill_damage_image(c, 5, &s, image, wide, &damaged), 0);
            assert_memory_not_equal(damaged, old, s.size);
            _free_ uint8_t *out = calloc(1, s.size + 8);
            int r = drill_restore_image(c, 5, &s, damaged, out, &back);
            assert_int_equal(r, p == DRILL_WIPE ? PC_E_UNSUPPORTED : 0);
            if (r == 0)
                assert_memory_equal(back, old, s.size);
        }
    drill_cipher_free(c);
}

static void files_differ_in_their_stream(void **state)
{
    struct drill_cipher *c = NULL;
    uint8_t key[DRILL_KEY_BYTES] = {9}, a[4096] = {0}, b[4096] = {0}, *out;
    struct drill_shape s;
    assert_int_equal(drill_cipher_new(key, &c), 0);
    drill_shape_of(DRILL_FULL, sizeof a, &s);
    assert_int_equal(drill_damage_image(c, 1, &s, a, NULL, &out), 0);
    assert_int_equal(drill_damage_image(c, 2, &s, b, NULL, &out), 0);
    assert_memory_not_equal(a, b, sizeof a);
    drill_cipher_free(c);
}

static void documents_are_the_same_every_time(void **state)
{
    _buf_free_ struct pc_buf a, b;
    pc_buf_init(&a, 0);
    pc_buf_init(&b, 0);
    for (uint32_t i = 0; i < 48; i++) {
        assert_int_equal(drill_document_make(7, i, 20000, &a), 0);
        assert_int_equal(drill_document_make(8, i, 20000, &b), 0);
        assert_false(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
        assert_int_equal(drill_document_make(7, i, 20000, &b), 0);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
    }
}

/*
 * Fixed: a folder made by one build is undone by another. Covers text kinds only, since the compressed ones depend on
 * zlib's version; changing these bytes needs a new manifest version.
 */
static void documents_do_not_depend_on_the_compiler(void **state)
{
    static const struct {
        uint32_t index;
        const char *begin;
    } known[] = {{0, NULL},
                 {3, "date,account,description,amount,balance\n2024-"},
                 {6, "[\n  {\"id\": 1, \"name\": \""}};
    _buf_free_ struct pc_buf all, one;
    pc_buf_init(&all, 1 << 20);
    pc_buf_init(&one, 0);
    for (size_t i = 0; i < PC_ARRAY_SIZE(known); i++) {
        assert_int_equal(drill_document_make(42, known[i].index, 4096, &one), 0);
        if (known[i].begin)
            assert_memory_equal(one.data, known[i].begin, strlen(known[i].begin));
        assert_int_equal(pc_buf_add(&all, one.data, one.len), 0);
    }
    assert_int_equal(crc32(0, (const Bytef *)all.data, (uInt)all.len), DOCUMENTS_CRC);
}

static void mixed_sizes_span_the_range(void **state)
{
    uint64_t small = UINT64_MAX, large = 0, below_32k = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        uint64_t n = drill_document_target(3, i, 0);
        small = n < small ? n : small;
        large = n > large ? n : large;
        below_32k += n < 32768;
    }
    assert_in_range(small, 2048, 2400);
    assert_in_range(large, 1 << 20, 2 << 20);
    assert_in_range(below_32k, 900, 1400);
}

/* One document of a kind into b; fails the test when no such kind exists. */
static uint32_t make_kind(const char *kind, struct pc_buf *b)
{
    for (uint32_t i = 0; i < 64; i++)
        if (strcmp(drill_document_kind(i), kind) == 0) {
            assert_int_equal(drill_document_make(11, i, 30000, b), 0);
            assert_in_range(b->len, 10000, 90000);
            return i;
        }
    fail_msg("no kind %s", kind);
    return 0;
}

static void inflate_all(const char *data, size_t len, int bits, size_t *out_len)
{
    z_stream z = {0};
    char out[16384];
    assert_int_equal(inflateInit2(&z, bits), Z_OK);
    z.next_in = (Bytef *)data;
    z.avail_in = (uInt)len;
    int r = Z_OK;
    while (r == Z_OK) {
        z.next_out = (Bytef *)out;
        z.avail_out = sizeof out;
        r = inflate(&z, Z_NO_FLUSH);
    }
    assert_int_equal(r, Z_STREAM_END);
    *out_len = z.total_out;
    inflateEnd(&z);
}

static uint32_t be32(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void png_chunks_and_pixels_are_right(void **state)
{
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 0);
    make_kind("png", &b);
    assert_memory_equal(b.data, "\x89PNG\r\n\x1a\n", 8);
    uint32_t width = be32(b.data + 16), rows = be32(b.data + 20);
    size_t at = 8, pixels = 0;
    while (at + 12 <= b.len) {
        uint32_t len = be32(b.data + at);
        assert_int_equal(be32(b.data + at + 8 + len), crc32(0, (const Bytef *)b.data + at + 4, len + 4));
        if (memcmp(b.data + at + 4, "IDAT", 4) == 0)
            inflate_all(b.data + at + 8, len, 15, &pixels);
        at += 12 + len;
    }
    assert_int_equal(at, b.len);
    assert_int_equal(pixels, (size_t)rows * (width * 3 + 1));
}

static void gzip_unpacks(void **state)
{
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 0);
    make_kind("gz", &b);
    size_t n;
    inflate_all(b.data, b.len, 31, &n);
    assert_in_range(n, 90000, 91000);
}

/* Every offset of the table leads to the object it says. */
static void pdf_table_is_right(void **state)
{
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 0);
    make_kind("pdf", &b);
    const char *tail = b.data + b.len - 64, *start = strstr(tail, "startxref\n");
    assert_non_null(start);
    const char *table = b.data + strtoul(start + 10, NULL, 10);
    assert_memory_equal(table, "xref\n0 ", 7);
    unsigned n = (unsigned)strtoul(table + 7, NULL, 10);
    const char *line = strchr(table + 7, '\n') + 1;
    assert_true(n > 5);
    for (unsigned i = 1; i < n; i++) {
        char head[32];
        snprintf(head, sizeof head, "%u 0 obj\n", i);
        assert_memory_equal(b.data + strtoul(line + 20 * i, NULL, 10), head, strlen(head));
    }
}

static void json_parses(void **state)
{
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 0);
    make_kind("json", &b);
    json_t *o = json_loadb(b.data, b.len, 0, NULL);
    assert_true(json_array_size(o) > 50);
    json_decref(o);
}

static int parse(struct drill_options *o, const char *a, const char *b, const char *c, const char *d)
{
    char why[300];
    char *argv[] = {(char *)"drill", (char *)a, (char *)b, (char *)c, (char *)d, NULL};
    int argc = 1;
    while (argc < 5 && argv[argc])
        argc++;
    return drill_options_parse(argc, argv, o, why, sizeof why);
}

static void options_are_checked(void **state)
{
    struct drill_options o;
    assert_int_equal(parse(&o, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(o.files, 300);
    assert_int_equal(parse(&o, "--size", "64k", "--path=exchange", "--json"), 0);
    assert_int_equal(o.size, 65536);
    assert_int_equal(o.path, DRILL_PATH_EXCHANGE);
    assert_true(o.json);
    static const char *const bad[][2] = {
        {"--state-fil", "x"},  {"--files", "0"},        {"--files", NULL},      {"--path", "ftp"},
        {"--processes", "-1"}, {"--json=yes", NULL},    {"files", "3"},         {"--key", "00"},
        {"--dir", ""},         {"--processes", "1025"}, {"--link-dir", "/tmp"}, {"--pattern", "head"},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
        assert_int_equal(parse(&o, bad[i][0], bad[i][1], NULL, NULL), PC_E_SYNTAX);
    assert_int_equal(parse(&o, "--undo", "a", "--report", "b"), PC_E_SYNTAX);
    assert_int_equal(parse(&o, "--path", "replace", "--rename", "after"), PC_E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_cover_the_pieces),
        cmocka_unit_test(five_percent_is_five_percent),
        cmocka_unit_test(every_pattern_but_wipe_comes_back),
        cmocka_unit_test(files_differ_in_their_stream),
        cmocka_unit_test(documents_are_the_same_every_time),
        cmocka_unit_test(documents_do_not_depend_on_the_compiler),
        cmocka_unit_test(mixed_sizes_span_the_range),
        cmocka_unit_test(png_chunks_and_pixels_are_right),
        cmocka_unit_test(gzip_unpacks),
        cmocka_unit_test(pdf_table_is_right),
        cmocka_unit_test(json_parses),
        cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
