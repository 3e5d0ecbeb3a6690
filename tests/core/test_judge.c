/* The judge end to end on real content: who is convicted, of what, and who is not. */
#include "core/judge.h"

#include "core/kind.h"
#include "tests_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define SEC 1000000000ULL
#define LEN 9000u

static uint8_t text[LEN], noise[LEN];
static uint64_t rng = 88172645463325252ULL;

static uint64_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static int fill(void **state)
{
    (void)state;
    static const char *const words[] = {"the ", "council ", "met ",   "on ",     "Monday ",
                                        "to ",  "discuss ", "water ", "pipes.\n"};
    uint32_t n = 0;
    while (n < LEN) {
        const char *w = words[next() % 9];
        for (; *w && n < LEN; w++)
            text[n++] = (uint8_t)*w;
    }
    for (n = 0; n < LEN; n++)
        noise[n] = (uint8_t)(next() >> 24);
    return 0;
}

static struct pc_content whole(const uint8_t *data)
{
    return (struct pc_content){.size = LEN, .count = 1, .win = {{.off = 0, .len = LEN, .data = data}}};
}

static struct pc_judge *new_judge(void)
{
    struct pc_judge_policy p;
    struct pc_judge *j = NULL;
    pc_judge_policy_default(&p);
    assert_int_equal(pc_judge_new(&p, &j), 0);
    return j;
}

static struct pc_outcome act(struct pc_judge *j, pid_t pid, enum pc_op op, uint64_t file, const uint8_t *before,
                             const uint8_t *after, uint64_t at)
{
    struct pc_content b = whole(before), a = whole(after);
    struct pc_act x = {.now_ns = at, .pid = pid, .op = (uint8_t)op, .file = file, .folder = 7, .name_hash = file,
                       .size_before = before ? LEN : 0, .size_after = after ? LEN : 0, .has_pre_image = before != NULL};
    struct pc_outcome out;
    enum pc_answer answer = pc_judge_act(j, &x, &out);
    x.before = before ? &b : NULL;
    x.after = after ? &a : NULL;
    if (answer != PC_DECIDED)
        answer = pc_judge_act(j, &x, &out);
    assert_int_equal(answer, PC_DECIDED);
    return out;
}

static void one_process_encrypting_in_place_is_convicted_at_the_third_file(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    pc_actor sh = pc_judge_fork(j, 0, 100, 0), w = pc_judge_fork(j, 100, 101, 0);
    assert_true(pc_judge_is_beneath(j, w, sh));
    for (uint64_t f = 1; f <= 3; f++) {
        struct pc_outcome o = act(j, 101, PC_OP_MODIFY, f, text, noise, SEC);
        assert_int_equal(o.finding.score, 100);
        assert_true(o.gate);
        assert_int_equal(o.convicted, f == 3);
        if (f == 3)
            assert_int_equal(o.roots[0], w);
    }
    pc_judge_free(j);
}

static void one_process_a_file_convicts_the_shell(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    pc_actor sh = pc_judge_fork(j, 0, 100, 0);
    struct pc_outcome o = {0};
    for (int f = 1; f <= 3; f++) {
        pc_judge_fork(j, 100, 100 + 2 * f, 0);
        act(j, 100 + 2 * f, PC_OP_CREATE, 1000 + (uint64_t)f, NULL, noise, SEC);
        pc_judge_exit(j, 100 + 2 * f, SEC);
        pc_judge_fork(j, 100, 101 + 2 * f, 0);
        o = act(j, 101 + 2 * f, PC_OP_DELETE, (uint64_t)f, text, NULL, SEC);
        pc_judge_exit(j, 101 + 2 * f, SEC);
        assert_int_equal(o.finding.evidence, PC_EV_OPAQUE_TWIN);
    }
    for (uint64_t f = 11; !o.convicted && f < 13; f++) {
        act(j, 100, PC_OP_CREATE, 1000 + f, NULL, noise, SEC);
        o = act(j, 100, PC_OP_DELETE, f, text, NULL, SEC);
    }
    assert_true(o.convicted);
    assert_int_equal(o.roots[0], sh);
    pc_judge_free(j);
}

/* Looked at late: by then the number of who wrote it is another program's. */
static void what_is_seen_late_is_its_writers(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    pc_judge_fork(j, 0, 100, 0);
    pc_actor writer = pc_judge_fork(j, 100, 101, 0);
    pc_judge_exit(j, 101, 0);
    pc_actor other = pc_judge_fork(j, 0, 101, 0);
    const struct pc_content a = whole(noise);
    struct pc_act x = {.now_ns = SEC, .pid = 101, .actor = writer, .op = PC_OP_CREATE, .file = 1001, .folder = 7,
                       .name_hash = 1001, .size_after = LEN, .after = &a};
    struct pc_outcome o;
    assert_int_equal(pc_judge_act(j, &x, &o), PC_DECIDED);
    assert_int_equal(o.actor, writer);
    x.actor = other + 1000; /* forgotten */
    x.file = 1002;
    assert_int_equal(pc_judge_act(j, &x, &o), PC_DECIDED);
    assert_true(o.actor != writer && o.actor != other);
    o = act(j, 100, PC_OP_DELETE, 1, text, NULL, SEC);
    assert_int_equal(o.finding.evidence, PC_EV_OPAQUE_TWIN);
    assert_int_equal(pc_judge_suspicion(j, other), 0);
    pc_judge_free(j);
}

static void deleting_alone_is_nothing(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    for (uint64_t f = 1; f <= 5000; f++)
        assert_int_equal(act(j, 9, PC_OP_DELETE, f, text, NULL, SEC).finding.score, 0);
    pc_judge_free(j);
}

static void evidence_older_than_the_window_does_not_count(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    for (uint64_t f = 1; f <= 20; f++)
        assert_false(act(j, 9, PC_OP_MODIFY, f, text, noise, f * 400 * SEC).convicted);
    pc_judge_free(j);
}

/* A file looked at while it was being written seems destroyed, until it is looked at again. */
static struct pc_outcome look(struct pc_judge *j, uint64_t file, const uint8_t *after, uint64_t at)
{
    struct pc_content b = whole(text), a = whole(after);
    struct pc_act x = {.now_ns = at, .pid = 9, .op = PC_OP_MODIFY, .file = file, .folder = 7, .name_hash = file,
                       .size_before = LEN, .size_after = LEN, .has_pre_image = true, .base = file + 1000};
    struct pc_outcome out;
    assert_int_equal(pc_judge_act(j, &x, &out), PC_NEED_BOTH);
    x.before = &b;
    x.after = &a;
    assert_int_equal(pc_judge_act(j, &x, &out), PC_DECIDED);
    return out;
}

static void an_attack_begins_with_evidence_that_stands(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    pc_judge_fork(j, 0, 9, 0);
    look(j, 1, noise, SEC);
    look(j, 1, text, 2 * SEC); /* withdrawn */
    look(j, 2, noise, 30 * SEC);
    look(j, 2, noise, 35 * SEC); /* the same again: held since the first time */
    look(j, 3, noise, 36 * SEC);
    struct pc_outcome o = look(j, 4, noise, 37 * SEC);
    assert_true(o.convicted);
    assert_int_equal(o.evidence_files, 3);
    assert_int_equal(o.evidence_since_ns, 30 * SEC);
    pc_judge_free(j);
}

/* --- packed twins: what is made is the deleted file packed, or unpacked ------------------------------------------ */

struct bytes {
    uint8_t data[4 * LEN];
    uint64_t len;
};

static void gzip(const uint8_t *in, uint32_t n, struct bytes *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = n};
    z.next_out = out->data;
    z.avail_out = sizeof out->data;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len = z.total_out;
    deflateEnd(&z);
}

static void zstd(const uint8_t *in, uint32_t n, struct bytes *out)
{
    out->len = ZSTD_compress(out->data, sizeof out->data, in, n, 3);
    assert_false(ZSTD_isError(out->len));
}

/* A zip of one member, stored as it is. */
static void zip_stored(const uint8_t *in, uint32_t n, struct bytes *out)
{
    static const uint8_t head[30] = {'P', 'K', 3, 4, 10};
    memcpy(out->data, head, sizeof head);
    for (int i = 0; i < 4; i++)
        out->data[18 + i] = out->data[22 + i] = (uint8_t)(n >> 8 * i);
    out->data[26] = 1;
    out->data[30] = 'a';
    memcpy(out->data + 31, in, n);
    out->len = 31 + n;
}

/* Half of it ordered: what a font or a firmware looks like, meaningful and of no known kind. */
static void half_ordered(uint8_t *out, uint32_t n, uint64_t seed)
{
    make_random(out, n, seed);
    memcpy(out, "\x80\x01%!PS-AdobeFont", 17);
    for (uint32_t i = 17; i < n / 2; i++)
        out[i] = text[i];
}

static struct pc_outcome act_on(struct pc_judge *j, pid_t pid, enum pc_op op, uint64_t file, const uint8_t *data,
                                uint64_t len)
{
    struct pc_content c;
    struct pc_act x = {.now_ns = SEC, .pid = pid, .op = (uint8_t)op, .file = file, .folder = 7, .name_hash = file,
                       .has_pre_image = op == PC_OP_DELETE};
    struct pc_outcome out;
    *(op == PC_OP_DELETE ? &x.size_before : &x.size_after) = len;
    pc_content_plan_one(len, 1, &c);
    for (uint32_t i = 0; i < c.count; i++)
        c.win[i].data = data + c.win[i].off;
    enum pc_answer answer = pc_judge_act(j, &x, &out);
    *(op == PC_OP_DELETE ? &x.before : &x.after) = &c;
    if (answer != PC_DECIDED)
        answer = pc_judge_act(j, &x, &out);
    assert_int_equal(answer, PC_DECIDED);
    return out;
}

/* Makes the judge read this process's deletions: some ciphertext that fits nothing. */
static void arouse(struct pc_judge *j, pid_t pid)
{
    act_on(j, pid, PC_OP_CREATE, 99999, noise, 40);
}

static void unpacking_ones_predecessor_is_harmless(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    static struct bytes packed;
    for (uint64_t f = 1; f <= 20; f++) {
        make_random(noise, LEN, f); /* ciphertext by its looks, but the very content of the deleted file */
        gzip(noise, LEN, &packed);
        act_on(j, 9, PC_OP_CREATE, 1000 + f, noise, LEN);
        struct pc_outcome o = act_on(j, 9, PC_OP_DELETE, f, packed.data, packed.len);
        assert_int_equal(o.finding.score, 0);
        zstd(noise, LEN, &packed);
        act_on(j, 9, PC_OP_CREATE, 3000 + f, noise, LEN);
        assert_int_equal(act_on(j, 9, PC_OP_DELETE, 2000 + f, packed.data, packed.len).finding.score, 0);
    }
    pc_judge_free(j);
}

static void ciphertext_of_a_packed_file_is_not(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    static struct bytes packed;
    struct pc_outcome o = {0};
    for (uint64_t f = 1; f <= 3; f++) {
        gzip(text + f, LEN - 10, &packed);
        make_random(noise, LEN, 100 + f);
        act_on(j, 9, PC_OP_CREATE, 1000 + f, noise, packed.len + 16);
        o = act_on(j, 9, PC_OP_DELETE, f, packed.data, packed.len);
        assert_int_equal(o.finding.score, 95);
    }
    assert_true(o.convicted);
    pc_judge_free(j);
}

typedef void (*packer)(const uint8_t *in, uint32_t n, struct bytes *out);

static void packing_ones_predecessor_is_harmless(void **state)
{
    (void)state;
    static const packer packers[] = {gzip, zstd, zip_stored};
    static struct bytes packed;
    for (size_t p = 0; p < sizeof packers / sizeof packers[0]; p++) {
        struct pc_judge *j = new_judge();
        for (uint64_t f = 1; f <= 30; f++) {
            uint32_t n = (uint32_t)(200 + 290 * f);
            half_ordered(noise, n, f);
            packers[p](noise, n, &packed);
            arouse(j, 9);
            act_on(j, 9, PC_OP_CREATE, 1000 + f, packed.data, packed.len);
            struct pc_outcome o = act_on(j, 9, PC_OP_DELETE, f, noise, n);
            assert_int_equal(o.finding.score, 0);
        }
        pc_judge_free(j);
    }
}

static void ciphertext_dressed_as_a_zip_is_found(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    static struct bytes packed;
    bool convicted = false;
    uint64_t f = 0;
    while (!convicted && f < 6) {
        make_random(noise, LEN, ++f);
        zip_stored(noise, LEN, &packed);
        act_on(j, 9, PC_OP_CREATE, 1000 + f, packed.data, packed.len);
        convicted = act_on(j, 9, PC_OP_DELETE, f, text, LEN).convicted;
    }
    assert_true(convicted);
    pc_judge_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_process_encrypting_in_place_is_convicted_at_the_third_file),
        cmocka_unit_test(one_process_a_file_convicts_the_shell),
        cmocka_unit_test(what_is_seen_late_is_its_writers),
        cmocka_unit_test(deleting_alone_is_nothing),
        cmocka_unit_test(evidence_older_than_the_window_does_not_count),
        cmocka_unit_test(an_attack_begins_with_evidence_that_stands),
        cmocka_unit_test(unpacking_ones_predecessor_is_harmless),
        cmocka_unit_test(ciphertext_of_a_packed_file_is_not),
        cmocka_unit_test(packing_ones_predecessor_is_harmless),
        cmocka_unit_test(ciphertext_dressed_as_a_zip_is_found),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
