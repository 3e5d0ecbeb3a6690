/*
 * Rollback: random histories undone to the last byte of metadata, on xfs, btrfs and ext4; undo; running it twice. Each history
 * comes from its seed, which a failure prints; PC_SEEDS sets how many are tried on each file system.
 */
#include "actor.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *fs_name;

static int up(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    fixture_up(f, fs_name, 320);
    *state = f;
    return 0;
}

static int down(void **state)
{
    fixture_down(*state);
    test_free(*state);
    return 0;
}

static void print_failures(struct pc_plan *p)
{
    for (uint32_t i = 0; i < pc_plan_count(p); i++) {
        const struct pc_step *st = pc_plan_step(p, i);
        if (st->result || getenv("PC_TRACE"))
            printf("  step %u kind %u %s from %s: %s (%s)\n", i, st->kind, st->path, st->from, pc_strerror(st->result), st->why);
    }
}

static void apply(struct fixture *f, uint64_t incident, bool undo)
{
    struct pc_plan *p = NULL;
    int r = undo ? pc_rollback_undo(f->s, incident, &p) : pc_plan_make(f->s, incident, &p);
    if (r < 0)
        fail_msg("plan: %s", pc_strerror(r));
    r = pc_plan_apply(p, NULL, NULL);
    if (r < 0) {
        print_failures(p);
        fail_msg("%s: %s", undo ? "undo" : "apply", pc_strerror(r));
    }
    pc_plan_free(p);
}

/* PC_TRACE=1: what the actor did, to understand a failing seed. */
static int print_act(void *arg, const struct pc_act_rec *a)
{
    static const char *const ops[] = {"?", "modify", "create", "delete", "rename", "replace", "meta"};
    char fh[3][2 * PC_FH_MAX + 1];
    pc_hex(a->fh.data, a->fh.len, fh[0]);
    pc_hex(a->parent.data, a->parent.len, fh[1]);
    pc_hex(a->new_parent.data, a->new_parent.len, fh[2]);
    printf("  %s%s %s at %s/%s -> %s/%s before %llu\n", ops[a->op], a->is_dir ? " dir" : "", fh[0], fh[1], a->name, fh[2], a->new_name,
           (unsigned long long)a->before);
    return 0;
}

static void nothing_left(struct fixture *f, uint64_t incident)
{
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, incident, &p), 0);
    for (uint32_t i = 0; i < pc_plan_count(p); i++) {
        const struct pc_step *st = pc_plan_step(p, i);
        if (st->kind != PC_STEP_NOTHING)
            fail_msg("second plan still has step kind %u for %s", st->kind, st->path);
    }
    pc_plan_free(p);
}

static void there_and_back(struct fixture *f, struct actor *a, const char *what)
{
    uint64_t incident = convict(a);
    if (getenv("PC_TRACE"))
        pc_store_incident_acts(f->s, incident, print_act, NULL);
    char *damaged = fingerprint(f);
    extern char *before_damage;
    apply(f, incident, false);
    char *after = fingerprint(f);
    same_fingerprint(before_damage, after, what);
    nothing_left(f, incident);
    apply(f, incident, true);
    char *undone = fingerprint(f);
    same_fingerprint(damaged, undone, "undo");
    apply(f, incident, false);
    char *again = fingerprint(f);
    same_fingerprint(before_damage, again, "rollback after undo");
    free(damaged);
    free(after);
    free(undone);
    free(again);
}

char *before_damage;

static void random_histories(void **state)
{
    struct fixture *f = *state;
    const char *n = getenv("PC_SEEDS"), *first = getenv("PC_SEED");
    unsigned seeds = n ? (unsigned)atoi(n) : 3, from = first ? (unsigned)atoi(first) : 1;
    for (unsigned seed = from; seed < from + seeds; seed++) {
        printf("# seed %u\n", seed);
        struct actor a = {f, 1000 + seed, seed * 2654435761u};
        run("find %s -mindepth 1 -maxdepth 1 ! -name .portcullis ! -name lost+found -exec rm -rf {} +", f->mnt);
        fixture_close(f);
        run("rm -rf %s/* && find %s/.portcullis -type f -exec chattr -i {} + && rm -rf %s/.portcullis", f->state, f->mnt, f->mnt);
        fixture_open(f);
        random_tree(&a, 40);
        before_damage = fingerprint(f);
        for (unsigned i = 0, ops = 1 + rand_r(&a.seed) % 40; i < ops; i++)
            act_random(&a);
        there_and_back(f, &a, "rollback");
        free(before_damage);
    }
}

int main(void)
{
    fixture_enter();
    static const char *const all[] = {"xfs", "btrfs", "ext4"};
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {T(random_histories)};
    const char *only = getenv("PC_FS");
    int failed = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(all); i++) {
        if (only && strcmp(only, all[i]) != 0)
            continue;
        fs_name = all[i];
        printf("# %s\n", fs_name);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed ? 1 : 0;
}
