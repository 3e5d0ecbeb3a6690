/* The judge end to end on real content: who is convicted, of what, and who is not. */
#include "core/judge.h"

#include "core/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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
    static const char *const words[] = {"the ", "council ", "met ",     "on ",    "Monday ",
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_process_encrypting_in_place_is_convicted_at_the_third_file),
        cmocka_unit_test(one_process_a_file_convicts_the_shell),
        cmocka_unit_test(deleting_alone_is_nothing),
        cmocka_unit_test(evidence_older_than_the_window_does_not_count),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
