/*
 * The N-th allocation fails, for N = 1, 2, 3 ..., while documents are read and checked: the answer is "no memory" or a
 * refusal, never an acceptance of what is wrong, nothing leaks, and out-parameters stay as they were. Runs over the
 * fuzzers' corpus, whose inputs must be good when nothing fails.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "fuzz_judge.h"
#include "fuzz_fleet.h"
#include "../lib/fail_alloc.h"
#include "trust/report.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/* Each: 1 good, 0 refused or no memory; exits when an out-parameter was touched. */
static void untouched(bool good)
{
    if (good)
        return;
    fputs("an out-parameter was touched by what failed\n", stderr);
    _exit(1);
}

static int do_order(const char *text, size_t len)
{
    struct pc_order o = {.sequence = 4711};
    if (pc_order_parse(text, len, &o, NULL, 0) != PC_CHECK_OK) {
        untouched(o.sequence == 4711);
        return 0;
    }
    pc_order_clear(&o);
    return 1;
}

static int do_trust(const char *text, size_t len)
{
    static struct pc_trust t;
    t.version = 4711;
    if (pc_trust_parse(text, len, &t, NULL, 0) < 0) {
        untouched(t.version == 4711);
        return 0;
    }
    pc_trust_clear(&t);
    return 1;
}

static int do_envelope(const char *text, size_t len)
{
    struct pc_envelope e = {.len = 4711};
    char *again = NULL;
    size_t again_len;
    if (pc_envelope_parse(text, len, &e) < 0) {
        untouched(e.len == 4711);
        return 0;
    }
    int r = pc_envelope_format(&e, &again, &again_len);
    pc_envelope_clear(&e);
    free(again);
    return r == 0;
}

static int do_host_envelope(const char *text, size_t len)
{
    struct pc_host_envelope e = {.len = 4711};
    if (pc_host_envelope_open(text, len, "ring", &e) < 0) {
        untouched(e.len == 4711);
        return 0;
    }
    pc_host_envelope_clear(&e);
    return 1;
}

static int do_result(const char *text, size_t len)
{
    struct pc_result r = {.run = 4711};
    char *again = NULL;
    size_t again_len;
    if (pc_result_parse(text, len, &r) < 0) {
        untouched(r.run == 4711);
        return 0;
    }
    int s = pc_result_format(&r, &again, &again_len);
    pc_result_clear(&r);
    free(again);
    return s == 0;
}

static struct pc_trust judge_t;
static struct pc_memory judge_m;
static struct pc_order judge_o, judge_r;

static int do_bundle(const char *text, size_t len)
{
    struct pc_bundle *b = NULL;
    struct pc_checkpoint c = {.size = 4711};
    struct pc_approvers who;
    if (pc_bundle_parse(text, len, &b, NULL, 0) != PC_CHECK_OK) {
        untouched(b == NULL);
        return 0;
    }
    enum pc_check got = pc_bundle_check(b, &judge_t, NULL, &judge_m, FLEET_NOW, &c, &who, NULL, 0);
    untouched(got == PC_CHECK_OK || c.size == 4711);
    pc_bundle_free(b);
    return got == PC_CHECK_OK;
}

static int do_continue(const char *text, size_t len)
{
    struct pc_checkpoint c = {.size = 4711};
    enum pc_check got = pc_continue_check(text, len, &judge_o, &judge_t, &judge_m, 1, 0, &c, NULL, 0);
    untouched(got == PC_CHECK_OK || c.size == 4711);
    return got == PC_CHECK_OK;
}

static int do_start(const char *text, size_t len)
{
    struct pc_checkpoint c = {.size = 4711};
    uint64_t run;
    enum pc_check got = pc_start_check(text, len, &judge_r, &judge_t, &judge_m, 0, &run, &c, NULL, 0);
    untouched(got == PC_CHECK_OK || c.size == 4711);
    return got == PC_CHECK_OK;
}

static int do_checkpoint(const char *text, size_t len)
{
    struct pc_checkpoint c = {.size = 4711};
    enum pc_check got = pc_checkpoint_accept(text, len, &judge_t, &judge_m, &c, NULL, 0);
    untouched(got == PC_CHECK_OK || c.size == 4711);
    return got == PC_CHECK_OK;
}

static const struct {
    const char *file;
    int (*run)(const char *text, size_t len);
} rows[] = {
    {"order/act", do_order},
    {"order/recipe", do_order},
    {"trust/trust", do_trust},
    {"envelope/owners", do_envelope},
    {"envelope/host", do_host_envelope},
    {"report/result", do_result},
    {"bundle/act", do_bundle},
    {"continue/continue", do_continue},
    {"continue/start", do_start},
    {"continue/checkpoint", do_checkpoint},
};

static char text[1u << 16];

static bool load(const char *corpus, const char *file, size_t *len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", corpus, file);
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n < 0)
        perror(path);
    *len = n < 0 ? 0 : (size_t)n;
    return n > 0;
}

/* How many allocations it takes, or -1 after saying what was wrong. */
static long fail_each(const char *file, size_t len, int (*run)(const char *text, size_t len))
{
    if (run(text, len) != 1 || run(text, len) != 1) { /* twice: what libcrypto and stdio set up once is there now */
        fprintf(stderr, "%s: refused with all memory: is the corpus that of fuzz_fleet.h?\n", file);
        return -1;
    }
    for (long n = 1; n < 100000; n++) {
        ERR_clear_error();
        long before = fail_alloc.alive;
        fail_alloc_start(n);
        int good = run(text, len);
        long used = fail_alloc_stop();
        ERR_clear_error(); /* what libcrypto keeps to tell is not lost */
        if (fail_alloc.alive != before) {
            fprintf(stderr, "%s, allocation %ld: %ld leaked\n", file, n, fail_alloc.alive - before);
            return -1;
        }
        if (used < n)
            return good == 1 ? n - 1 : -1;
    }
    return -1;
}

int main(int argc, char **argv)
{
    bool good = argc == 2;
    if (!FAIL_ALLOC_WORKS)
        return fail_alloc_skip();
    judge_trust(&judge_t);
    judge_memory(&judge_m);
    judge_order(&judge_o);
    judge_recipe(&judge_r);
    for (size_t i = 0; good && i < PC_ARRAY_SIZE(rows); i++) {
        size_t len;
        long n = load(argv[1], rows[i].file, &len) ? fail_each(rows[i].file, len, rows[i].run) : -1;
        printf("%s: each of %ld allocations failed once\n", rows[i].file, n);
        good = n > 3;
    }
    return good ? 0 : 1;
}
