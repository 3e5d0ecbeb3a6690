/* Plans and comparisons: where windows lie, which damage is seen on which kind, and which change is none. */
#include "base/cleanup.h"
#include "core/content.h"
#include "core/kind.h"
#include "tests_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ROOM (8u << 20)
static uint8_t *old_bytes, *new_bytes;

static int reserve(void **state)
{
    (void)state;
    old_bytes = malloc(2 * ROOM);
    new_bytes = malloc(3 * (size_t)ROOM + 8192);
    return old_bytes && new_bytes ? 0 : -1;
}

static int release(void **state)
{
    (void)state;
    free(old_bytes);
    free(new_bytes);
    return 0;
}

static void attach(struct pc_content *c, const uint8_t *data)
{
    for (uint32_t i = 0; i < c->count; i++)
        c->win[i].data = data + c->win[i].off;
}

static struct pc_finding compare(size_t before_len, size_t after_len, uint64_t seed)
{
    struct pc_content before, after;
    struct pc_finding f;
    pc_content_plan(before_len, after_len, seed, &before, &after);
    attach(&before, old_bytes);
    attach(&after, new_bytes);
    pc_content_compare(&before, &after, &f);
    return f;
}

static uint64_t check_plan(const struct pc_content *c)
{
    uint64_t end = 0, sum = 0;
    assert_true(c->count <= PC_WINDOWS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct pc_window *w = &c->win[i];
        assert_true(i > 0 || w->off == 0);
        assert_true(w->len == 0 || w->off + w->len <= c->size);
        assert_true(w->off >= end || w->len == 0);
        end = w->off + w->len > end ? w->off + w->len : end;
        sum += w->len;
    }
    return sum;
}

static void plans_are_ascending_bounded_and_alike(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0,       1,        4095,           65536,   131071,  131072,
                                     131073,  300000,   1u << 20,       (1u << 20) + 1, 1100000, 1310720,
                                     2u << 20, 50u << 20, 1ULL << 32,   1ULL << 40,     UINT64_MAX / 4};
    for (size_t i = 0; i < PC_ARRAY_SIZE(sizes); i++) {
        struct pc_content one;
        pc_content_plan_one(sizes[i], i, &one);
        assert_true(check_plan(&one) <= 128u << 10);
        for (size_t j = 0; j < PC_ARRAY_SIZE(sizes); j++) {
            struct pc_content before, after;
            pc_content_plan(sizes[i], sizes[j], i * 31 + j, &before, &after);
            assert_int_equal(before.size, sizes[i]);
            assert_int_equal(after.size, sizes[j]);
            assert_true(check_plan(&before) <= PC_CONTENT_BUDGET && check_plan(&after) <= PC_CONTENT_BUDGET);
            assert_int_equal(before.count, after.count);
            for (uint32_t k = 0; k < before.count; k++)
                assert_int_equal(before.win[k].off, after.win[k].off);
        }
    }
}

static void small_files_are_read_whole_and_large_ones_to_the_end(void **state)
{
    (void)state;
    struct pc_content before, after;
    pc_content_plan(700000, 900000, 1, &before, &after);
    assert_int_equal(before.count, 1);
    assert_int_equal(after.win[0].len, 900000);
    pc_content_plan(5u << 20, 9u << 20, 1, &before, &after);
    assert_int_equal(after.win[after.count - 1].off + after.win[after.count - 1].len, 9u << 20);
    assert_true(before.count > 80);
}

/* The pattern is seen for every seed, not only for a lucky one. */
static void a_twentieth_of_the_bytes_is_seen_whatever_the_seed(void **state)
{
    (void)state;
    size_t n = make_file("text", old_bytes, 6u << 20, 3);
    memcpy(new_bytes, old_bytes, n);
    for (size_t at = 64u << 10; at < n; at += 80u << 10) /* the head is left alone */
        make_random(new_bytes + at, 4096, at);
    for (uint64_t seed = 0; seed < 40; seed++)
        assert_true(compare(n, n, seed).score >= 90);
}

/* Overwriting a log with zeros may be house-keeping; a table whose first column holds numbers or dates is no log. */
static void a_table_is_no_log(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint8_t score;
    } cases[] = {{"2024-03-05,4711,a description,12.50\n", 70}, {"17;4711;a description;12,50\n", 70},
                 {"1.5\t4711\ta description\n", 70},           {"2024-03-05 10:11:12 host sshd: a message\n", 30},
                 {"2024-03-05T10:11:12Z a message\n", 30},      {"192.168.7.9 - - [05/Mar] \"GET / HTTP/1.1\" 200\n", 30},
                 {"Mar  5 10:11:12 host sshd: a message\n", 30}, {"[ 12.345678] a message\n", 30},
                 {"{\"time\": 4711, \"message\": \"words\"}\n", 30}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].line), size = len * 300;
        for (size_t at = 0; at < size; at += len)
            memcpy(old_bytes + at, cases[i].line, len);
        memset(new_bytes, 0, size);
        struct pc_finding f = compare(size, size, 7);
        if (f.score != cases[i].score)
            fail_msg("%s weighs %u, not %u", cases[i].line, f.score, cases[i].score);
    }
}

static const char *const meaningful[] = {"text", "log",  "gzip", "xz",  "zstd", "bzip2", "zip",     "docx", "jpeg",
                                         "png",  "pdf",  "sqlite", "pgpages", "elf", "mp3", "mp4", "binary", "zlib"};

static void every_pattern_is_seen_on_every_kind(void **state)
{
    (void)state;
    static const size_t sizes[] = {9000, 60000, 300000, 2500000};
    static const char large[] = "text jpeg mp4 sqlite"; /* kinds enough for the costly size */
    for (size_t k = 0; k < PC_ARRAY_SIZE(meaningful); k++)
        for (size_t s = 0; s < PC_ARRAY_SIZE(sizes); s++) {
            if (sizes[s] > 1000000 && !strstr(large, meaningful[k]))
                continue;
            size_t n = make_file(meaningful[k], old_bytes, sizes[s], k);
            for (int p = 0; p < MAKE_PATTERNS; p++) {
                size_t made = make_damage((enum make_pattern)p, old_bytes, n, new_bytes, 11);
                struct pc_finding f = compare(n, made, 1000 + s);
                /* A simple cipher or an emptied log may be a program's own business: damage, but less of it. */
                unsigned least = p == MAKE_WIPE_ZERO ? 20 : 50;
                if (f.score < least)
                    fail_msg("%s of %zu bytes, %s: score %u, %s -> %s", meaningful[k], n,
                             make_pattern_name((enum make_pattern)p), f.score, pc_kind_name(f.kind_before),
                             pc_kind_name(f.kind_after));
            }
        }
}

static void written_anew_in_the_same_kind_is_no_damage(void **state)
{
    (void)state;
    for (size_t k = 0; k < PC_ARRAY_SIZE(meaningful); k++) {
        size_t n = make_file(meaningful[k], old_bytes, 200000, 1);
        size_t made = make_file(meaningful[k], new_bytes, 210000, 2);
        struct pc_finding f = compare(n, made, k);
        if (f.score > 10)
            fail_msg("%s written anew: score %u", meaningful[k], f.score);
    }
}

static void ordinary_edits_are_no_damage(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *edit;
    } cases[] = {{"text", "edit"},    {"text", "append"},   {"text", "insert"}, {"log", "append"},
                 {"sqlite", "pages"}, {"pgpages", "pages"}, {"disk", "pages"},  {"zeros", "fill-zeros"},
                 {"binary", "append"}};
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++)
        for (size_t n = 3000; n < 3000000; n *= 9) {
            size_t len = make_file(cases[i].kind, old_bytes, n, i);
            assert_true(len > 0);
            size_t made = make_edit(cases[i].edit, old_bytes, len, new_bytes, 4);
            struct pc_finding f = compare(len, made, i);
            if (f.score != 0)
                fail_msg("%s, %s, %zu bytes: score %u", cases[i].kind, cases[i].edit, len, f.score);
        }
}

static void ciphertext_to_ciphertext_is_no_damage(void **state)
{
    (void)state;
    make_random(old_bytes, 300000, 1);
    make_random(new_bytes, 310000, 2);
    assert_int_equal(compare(300000, 310000, 1).score, 0);
    memcpy(new_bytes, old_bytes, 300000);
    make_random(new_bytes + 4096, 40960, 2);
    assert_int_equal(compare(300000, 300000, 1).score, 0);
}

static void nothing_to_lose_is_no_damage(void **state)
{
    (void)state;
    memcpy(old_bytes, "pid 1234\n", 9);
    make_random(new_bytes, 300000, 2);
    assert_int_equal(compare(9, 300000, 1).score, 0);
    assert_int_equal(compare(0, 300000, 1).score, 0);
    memset(old_bytes, 0, 300000);
    assert_int_equal(compare(300000, 300000, 1).score, 0);
}

static void unreadable_windows_are_nothing(void **state)
{
    (void)state;
    struct pc_content before, after;
    struct pc_finding f;
    pc_content_plan(5u << 20, 5u << 20, 1, &before, &after);
    for (uint32_t i = 0; i < before.count; i++) {
        before.win[i] = (struct pc_window){.off = before.win[i].off};
        after.win[i] = (struct pc_window){.off = after.win[i].off};
    }
    pc_content_compare(&before, &after, &f);
    assert_int_equal(f.score, 0);
}

static void evidence_is_put_into_words(void **state)
{
    (void)state;
    char text[128], small[8];
    assert_string_equal(pc_evidence_text(PC_EV_STRUCTURE_GONE | PC_EV_RANDOMISED, text, sizeof text),
                        "structure gone, randomised");
    assert_string_equal(pc_evidence_text(0, text, sizeof text), "");
    pc_evidence_text(0x7ff, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_no_log),
        cmocka_unit_test(plans_are_ascending_bounded_and_alike),
        cmocka_unit_test(small_files_are_read_whole_and_large_ones_to_the_end),
        cmocka_unit_test(a_twentieth_of_the_bytes_is_seen_whatever_the_seed),
        cmocka_unit_test(every_pattern_is_seen_on_every_kind),
        cmocka_unit_test(written_anew_in_the_same_kind_is_no_damage),
        cmocka_unit_test(ordinary_edits_are_no_damage),
        cmocka_unit_test(ciphertext_to_ciphertext_is_no_damage),
        cmocka_unit_test(nothing_to_lose_is_no_damage),
        cmocka_unit_test(unreadable_windows_are_nothing),
        cmocka_unit_test(evidence_is_put_into_words),
    };
    return cmocka_run_group_tests(tests, reserve, release);
}
