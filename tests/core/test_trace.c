/* Traces: written and read again, cut off anywhere, and replayed to the same verdict without any content. */
#include "core/trace.h"

#include "base/err.h"
#include "core/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void write_fork(struct pc_buf *b, pid_t parent, pid_t child, uint64_t now_ns)
{
    struct pc_trace_rec r = {.type = PC_TRACE_FORK, .now_ns = now_ns, .pid = child, .parent = parent};
    assert_int_equal(pc_trace_write(b, &r), 0);
}

static void record_attack(struct pc_buf *b)
{
    struct pc_trace_rec r = {.type = PC_TRACE_POLICY};
    struct pc_facts facts = {.have = PC_HAVE_FINDING | PC_HAVE_BEFORE | PC_HAVE_AFTER,
                             .finding = {.score = 90, .evidence = PC_EV_RANDOMISED, .changed_permil = 990},
                             .before = {.kind = PC_KIND_TEXT_UTF8, .textual = 1},
                             .after = {.opaque = 100}};
    pc_judge_policy_default(&r.policy);
    r.policy.convict_score = 300;
    assert_int_equal(pc_trace_begin(b), 0);
    assert_int_equal(pc_trace_write(b, &r), 0);
    write_fork(b, 1, 100, 5);
    for (int i = 0; i < 6; i++) {
        struct pc_act act = {.now_ns = 1000 + (uint64_t)i, .pid = 200 + i, .op = PC_OP_MODIFY, .file = 1 + (uint64_t)i,
                             .folder = 3, .size_before = 5000, .size_after = 5000, .has_pre_image = true};
        struct pc_trace_rec told = {.type = PC_TRACE_ACT, .act = act},
                            over = {.type = PC_TRACE_EXIT, .now_ns = 20, .pid = 200 + i};
        told.act.facts = &facts;
        write_fork(b, 100, 200 + i, 10);
        assert_int_equal(pc_trace_write(b, &told), 0);
        assert_int_equal(pc_trace_write(b, &over), 0);
    }
    assert_false(b->failed);
}

struct seen {
    uint64_t acts, convicted_at;
    pid_t root;
};

static int on_act(void *arg, const struct pc_judge *j, const struct pc_act *act, const struct pc_outcome *out)
{
    struct seen *s = arg;
    (void)act;
    s->acts++;
    if (out->convicted && !s->convicted_at) {
        s->convicted_at = s->acts;
        s->root = pc_judge_pid(j, out->roots[0]);
    }
    return 0;
}

static int replay(const struct pc_buf *b, size_t len, const struct pc_judge_policy *policy, struct seen *s,
                  struct pc_replay_stats *stats)
{
    struct pc_cur c;
    pc_cur_init(&c, b->data, len);
    int r = pc_trace_open(&c);
    *s = (struct seen){0};
    return r < 0 ? r : pc_replay(&c, policy, on_act, s, stats);
}

static void a_replay_reaches_the_verdict_again(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf b;
    struct seen s;
    struct pc_replay_stats stats;
    pc_buf_init(&b, 1 << 20);
    record_attack(&b);
    assert_int_equal(replay(&b, b.len, NULL, &s, &stats), 0);
    assert_int_equal(stats.acts, 6);
    assert_int_equal(stats.verdicts, 1);
    assert_int_equal(stats.unread, 0);
    assert_int_equal(s.convicted_at, 4); /* 4 x 90 >= 300 */
    assert_int_equal(s.root, 100);
}

static void another_policy_judges_otherwise(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf b;
    struct seen s;
    struct pc_replay_stats stats;
    struct pc_judge_policy p;
    pc_buf_init(&b, 1 << 20);
    record_attack(&b);
    pc_judge_policy_default(&p);
    p.convict_score = 100;
    p.min_files = 2;
    assert_int_equal(replay(&b, b.len, &p, &s, &stats), 0);
    assert_int_equal(s.convicted_at, 2);
    p.convict_score = 5000;
    assert_int_equal(replay(&b, b.len, &p, &s, &stats), 0);
    assert_int_equal(stats.verdicts, 0);
}

static void a_cut_off_trace_is_replayed_as_far_as_it_goes(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf b;
    struct seen s;
    struct pc_replay_stats whole, part;
    pc_buf_init(&b, 1 << 20);
    record_attack(&b);
    assert_int_equal(replay(&b, b.len, NULL, &s, &whole), 0);
    for (size_t len = 0; len < b.len; len++) {
        int r = replay(&b, len, NULL, &s, &part);
        assert_true(r == 0 || r == PC_E_CORRUPT || r == PC_E_SYNTAX);
        assert_true(r == PC_E_SYNTAX || part.records < whole.records);
    }
}

static void every_record_survives_writing_and_reading(void **state)
{
    (void)state;
    for (uint8_t type = PC_TRACE_POLICY; type <= PC_TRACE_SERVE; type++) {
        _buf_free_ struct pc_buf b;
        struct pc_cur c;
        struct pc_trace_rec in = {.type = type, .now_ns = 77, .pid = 5, .parent = type == PC_TRACE_SERVE ? -4 : 4, .actor = 99}, out;
        strcpy(in.name, "openssl");
        in.act = (struct pc_act){.now_ns = 77, .pid = 5, .op = PC_OP_REPLACE, .file = UINT64_MAX, .folder = 2,
                                 .name_hash = 3, .size_before = 4, .size_after = 1ULL << 50, .creator = 6,
                                 .has_pre_image = true};
        in.policy.window_ns = 12345;
        pc_buf_init(&b, 4096);
        assert_int_equal(pc_trace_begin(&b), 0);
        assert_int_equal(pc_trace_write(&b, &in), 0);
        pc_cur_init(&c, b.data, b.len);
        assert_int_equal(pc_trace_open(&c), 0);
        assert_int_equal(pc_trace_next(&c, &out), 1);
        assert_int_equal(out.type, type);
        if (type == PC_TRACE_ACT) {
            assert_null(out.act.facts);
            assert_int_equal(out.act.file, UINT64_MAX);
            assert_int_equal(out.act.size_after, 1ULL << 50);
            assert_true(out.act.has_pre_image && !out.act.is_dir);
        } else if (type == PC_TRACE_NAME) {
            assert_string_equal(out.name, "openssl");
        } else if (type == PC_TRACE_POLICY) {
            assert_int_equal(out.policy.window_ns, 12345);
        } else if (type == PC_TRACE_ABSOLVE) {
            assert_int_equal(out.actor, 99);
        } else {
            assert_int_equal(out.pid, 5);
            assert_int_equal(out.parent, in.parent);
            assert_int_equal(out.now_ns, 77);
        }
        assert_int_equal(pc_trace_next(&c, &out), 0);
    }
}

static void what_is_no_trace_is_refused(void **state)
{
    (void)state;
    struct pc_cur c;
    struct pc_trace_rec r = {.type = 0};
    _buf_free_ struct pc_buf b;
    pc_cur_init(&c, "hello world", 11);
    assert_int_equal(pc_trace_open(&c), PC_E_SYNTAX);
    pc_cur_init(&c, "PCTRACE\x07", 8);
    assert_int_equal(pc_trace_open(&c), PC_E_UNSUPPORTED);
    pc_buf_init(&b, 10);
    assert_int_equal(pc_trace_write(&b, &r), PC_E_RANGE);
    r.type = PC_TRACE_ACT;
    assert_int_equal(pc_trace_write(&b, &r), PC_E_LIMIT);
    assert_int_equal(pc_trace_begin(&b), PC_E_LIMIT);
}

static void records_of_a_later_writer_are_skipped(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf b;
    struct seen s;
    struct pc_replay_stats stats;
    pc_buf_init(&b, 1 << 20);
    record_attack(&b);
    pc_buf_add(&b, "\xc8\x03\0abc", 6);
    write_fork(&b, 1, 7, 1);
    assert_int_equal(replay(&b, b.len, NULL, &s, &stats), 0);
    assert_int_equal(s.convicted_at, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_reaches_the_verdict_again),
        cmocka_unit_test(another_policy_judges_otherwise),
        cmocka_unit_test(a_cut_off_trace_is_replayed_as_far_as_it_goes),
        cmocka_unit_test(every_record_survives_writing_and_reading),
        cmocka_unit_test(what_is_no_trace_is_refused),
        cmocka_unit_test(records_of_a_later_writer_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
