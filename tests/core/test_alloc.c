/*
 * The N-th allocation of pc_judge_new fails, for N = 1, 2, 3 ...: the error is told, nothing leaks, out is untouched.
 * And after it: judging allocates nothing. This program brings its own calloc and malloc; under a sanitizer, which
 * brings its own as well, it is skipped.
 */
#include "core/judge.h"

#include "core/kind.h"
#include "tests_make.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#ifndef OWN_MALLOC
#define OWN_MALLOC 1
#endif

#if OWN_MALLOC
void *__libc_calloc(size_t n, size_t size);
void *__libc_malloc(size_t n);
void __libc_free(void *p);

static long fail_at = -1, count, freed;

static int may(void)
{
    count++;
    return fail_at < 0 || count != fail_at;
}

void *calloc(size_t n, size_t size)
{
    return may() ? __libc_calloc(n, size) : NULL;
}

void *malloc(size_t n)
{
    return may() ? __libc_malloc(n) : NULL;
}

void free(void *p)
{
    freed += p != NULL;
    __libc_free(p);
}

static int new_survives_failures(void)
{
    struct pc_judge_policy p;
    pc_judge_policy_default(&p);
    for (long n = 1; n < 100; n++) {
        struct pc_judge *j = (struct pc_judge *)&p;
        fail_at = n;
        count = freed = 0;
        int r = pc_judge_new(&p, &j);
        long taken = count - (r < 0);
        fail_at = -1;
        if (r == 0) {
            pc_judge_free(j);
            return n > 5 && freed == taken;
        }
        if (r != -ENOMEM || j != (struct pc_judge *)&p || freed != taken) {
            fprintf(stderr, "allocation %ld: result %d, %ld taken, %ld freed\n", n, r, taken, freed);
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
    count = 0; /* making the file has allocated: the compressors do */
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
        good = count == 0;
        if (!good)
            fprintf(stderr, "%ld allocations for %s\n", count, make_file_kinds[i]);
    }
    pc_judge_free(j);
    return good;
}

int main(void)
{
    return new_survives_failures() && judging_allocates_nothing() ? 0 : 1;
}
#else
int main(void)
{
    printf("skipped: the sanitizer has its own malloc\n");
    return 77;
}
#endif
