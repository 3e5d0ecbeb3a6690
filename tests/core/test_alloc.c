/*
 * The N-th allocation of pc_judge_new fails, for N = 1, 2, 3 ...: the error is told, nothing leaks, out is untouched.
 * And after it: judging allocates nothing.
 */
#include "core/judge.h"

#include "core/kind.h"
#include "../lib/fail_alloc.h"
#include "tests_make.h"

#include <errno.h>
#include <stdio.h>

static int new_survives_failures(void)
{
    struct pc_judge_policy p;
    pc_judge_policy_default(&p);
    for (long n = 1; n < 100; n++) {
        struct pc_judge *j = (struct pc_judge *)&p;
        long before = fail_alloc.alive;
        fail_alloc_start(n);
        int r = pc_judge_new(&p, &j);
        fail_alloc_stop();
        if (r == 0) {
            pc_judge_free(j);
            return n > 5 && fail_alloc.alive == before;
        }
        if (r != -ENOMEM || j != (struct pc_judge *)&p || fail_alloc.alive != before) {
            fprintf(stderr, "allocation %ld: result %d, %ld leaked\n", n, r, fail_alloc.alive - before);
            return 0;
        }
    }
    return 0;
}

static uint8_t old_bytes[200000], new_bytes[700000];

static void judge_one(struct pc_judge *j, const char *kind, uint64_t id)
{
    struct pc_content before, after;
    struct pc_outcome out;
    pid_t pid = (pid_t)(2 + id);
    size_t n = make_file(kind, old_bytes, 60000, id), made = make_damage(MAKE_PERCENT_5, old_bytes, n, new_bytes, id);
    struct pc_act act = {.now_ns = id, .pid = pid, .op = PC_OP_MODIFY, .file = id, .size_before = n, .size_after = made,
                         .has_pre_image = true, .before = &before, .after = &after};
    pc_content_plan(n, made, id, &before, &after);
    for (uint32_t i = 0; i < before.count; i++) {
        before.win[i].data = old_bytes + before.win[i].off;
        after.win[i].data = new_bytes + after.win[i].off;
    }
    fail_alloc_start(0); /* making the file has allocated: the compressors do */
    pc_judge_fork(j, 1, pid, id);
    pc_judge_act(j, &act, &out);
    pc_judge_exit(j, pid, id);
}

static int judging_allocates_nothing(void)
{
    struct pc_judge_policy p;
    struct pc_judge *j;
    pc_judge_policy_default(&p);
    p.max_actors = 16;
    if (pc_judge_new(&p, &j) != 0)
        return 0;
    int good = 1;
    for (int i = 0; good && make_file_kinds[i]; i++) {
        if (make_file_kinds[i][0] == 'd' && make_file_kinds[i][1] == 'i')
            continue; /* a disk image does not fit the buffers here */
        judge_one(j, make_file_kinds[i], (uint64_t)i + 1);
        long used = fail_alloc_stop();
        good = used == 0;
        if (!good)
            fprintf(stderr, "%ld allocations for %s\n", used, make_file_kinds[i]);
    }
    pc_judge_free(j);
    return good;
}

int main(void)
{
    if (!FAIL_ALLOC_WORKS)
        return fail_alloc_skip();
    return new_survives_failures() && judging_allocates_nothing() ? 0 : 1;
}
