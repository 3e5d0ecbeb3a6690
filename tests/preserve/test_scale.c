/* 200,000 files in the index: memory stays bounded (whatever the number), look-ups stay right. */
#include "fixture.h"

#include "base/clock.h"
#include "base/cleanup.h"
#include "preserve/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { FILES = 200000, RSS_GROWTH_MAX_KB = 8 * 1024 };

static long rss_kb(void)
{
    char line[256];
    long kb = -1;
    _fclose_ FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    assert_true(kb > 0);
    return kb;
}

static void handle(uint32_t i, struct pc_fh *fh)
{
    uint64_t scattered = i * 0x9E3779B97F4A7C15ull; /* as inode numbers and generations are */
    uint8_t raw[12];
    memcpy(raw, &scattered, 8);
    memcpy(raw + 8, &i, 4);
    assert_int_equal(pc_fh_set(fh, 0x81, raw, sizeof raw), 0);
}

static void add(struct fixture *f, uint32_t i, const struct pc_meta *m)
{
    struct pc_row row;
    struct pc_fh fh, dir;
    char name[64];
    handle(i, &fh);
    handle(i / 100 + 10000000, &dir);
    snprintf(name, sizeof name, "document number %u.pdf", i);
    assert_int_equal(pc_row_put(f->s, f->vol, &fh, &dir, name, 0, &row), 0);
    struct pc_ver v = {.vol = f->vol, .how = PC_HOW_CLONE, .object = pc_object_next_id(f->s)};
    assert_int_equal(pc_ver_add(f->s, &row, &v, m), 0);
}

static void memory_is_bounded(void **state)
{
    struct fixture f = {.fs = NULL};
    fixture_up(&f, "xfs", 320);
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    m.mode = 0100644;
    m.size = 12345;
    for (uint32_t i = 0; i < 1000; i++)
        add(&f, i, &m);
    long before = rss_kb();
    uint64_t t0 = pc_mono_ns();
    for (uint32_t i = 1000; i < FILES; i++)
        add(&f, i, &m);
    uint64_t t1 = pc_mono_ns();
    assert_int_equal(pc_store_flush(f.s), 0);
    uint64_t t2 = pc_mono_ns();
    for (uint32_t n = 0; n < 20000; n++) {
        struct pc_known k;
        struct pc_fh fh;
        uint32_t i = (uint32_t)((uint64_t)n * 7919 % FILES);
        char name[64];
        handle(i, &fh);
        snprintf(name, sizeof name, "document number %u.pdf", i);
        assert_int_equal(pc_store_lookup(f.s, f.vol, &fh, &k), 0);
        assert_string_equal(k.name, name);
    }
    uint64_t t3 = pc_mono_ns();
    long growth = rss_kb() - before;
    printf("# rows %.1f us each, look-ups %.1f us each, memory grew %ld KiB\n",
           (double)(t1 - t0) / 1e3 / (FILES - 1000), (double)(t3 - t2) / 1e3 / 20000, growth);
    assert_true(growth < RSS_GROWTH_MAX_KB);
    fixture_down(&f);
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

int main(void)
{
    if (SANITIZED) {
        puts("skipped: the sanitizer's own memory (freed blocks kept in quarantine) is what would be measured");
        return 77;
    }
    fixture_enter();
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
