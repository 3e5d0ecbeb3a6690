/* Crowds: who is one, since when, until when, and what is none. */
#include "core/crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define S 1000000000ULL
#define PARENT 100
#define GUARD 50

static struct pc_judge *new_judge(void)
{
    struct pc_judge_policy p;
    struct pc_judge *j = NULL;
    pc_judge_policy_default(&p);
    assert_int_equal(pc_judge_new(&p, &j), 0);
    pc_judge_seen(j, 1, 0, S);
    pc_judge_spare(j, 1);
    pc_judge_seen(j, GUARD, 1, S);
    pc_judge_spare(j, GUARD);
    pc_judge_seen(j, PARENT, 1, S);
    return j;
}

static void fork_many(struct pc_judge *j, pid_t parent, pid_t first, uint32_t n, uint64_t now_ns)
{
    for (uint32_t i = 0; i < n; i++)
        pc_judge_fork(j, parent, first + (pid_t)i, now_ns);
}

static pc_actor crowd_of(const struct pc_judge *j, pid_t pid)
{
    return pc_judge_crowd_of(j, pc_judge_actor_of(j, pid));
}

static void many_young_processes_are_a_crowd(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    fork_many(j, PARENT, 1000, PC_CROWD_PROCESSES - 1, 2 * S);
    assert_false(pc_judge_crowded(j, 2 * S, true));
    fork_many(j, PARENT, 2000, 1, 2 * S);
    assert_true(pc_judge_crowded(j, 2 * S, true));
    pc_actor group = pc_judge_actor_of(j, PARENT);
    assert_true(crowd_of(j, 1000) == group && crowd_of(j, 2000) == group && crowd_of(j, PARENT) == group);
    assert_true(crowd_of(j, GUARD) == 0);
    pc_judge_free(j);
}

static void it_is_seen_while_it_is_made(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    uint32_t made = 0;
    while (!pc_judge_crowded(j, 2 * S, false) && made < 256)
        fork_many(j, PARENT, 1000 + (pid_t)made++, 1, 2 * S);
    assert_true(made >= PC_CROWD_PROCESSES && made < PC_CROWD_PROCESSES + PC_CROWD_COUNT_AT);
    pc_judge_free(j);
}

static void the_dead_and_the_old_are_none(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    fork_many(j, PARENT, 1000, 2 * PC_CROWD_PROCESSES, 2 * S);
    assert_true(pc_judge_crowded(j, 2 * S + PC_CROWD_NS - 1, true));
    assert_false(pc_judge_crowded(j, 2 * S + PC_CROWD_NS, true));
    assert_true(pc_judge_crowded(j, 3 * S, true));
    for (pid_t pid = 1000; pid < 1000 + (pid_t)PC_CROWD_PROCESSES + 1; pid++)
        pc_judge_exit(j, pid, 3 * S);
    assert_false(pc_judge_crowded(j, 3 * S, true));
    assert_true(crowd_of(j, 1000 + (pid_t)PC_CROWD_PROCESSES + 5) == 0);
    pc_judge_free(j);
}

/* Each made by the one before it, and each by a process that ends at once. */
static void ancestry_does_not_hide_it(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    for (pid_t i = 0; i < (pid_t)PC_CROWD_PROCESSES; i++)
        fork_many(j, i ? 1000 + i - 1 : PARENT, 1000 + i, 1, 2 * S);
    assert_true(pc_judge_crowded(j, 2 * S, true));
    pc_judge_free(j);
    j = new_judge();
    for (pid_t i = 0; i < (pid_t)PC_CROWD_PROCESSES; i++) {
        fork_many(j, PARENT, 1000 + i, 1, 2 * S);
        fork_many(j, 1000 + i, 3000 + i, 1, 2 * S);
        pc_judge_exit(j, 1000 + i, 2 * S);
    }
    assert_true(pc_judge_crowded(j, 2 * S, true));
    assert_true(crowd_of(j, 3000) == pc_judge_actor_of(j, PARENT));
    pc_judge_free(j);
}

static void threads_count_while_they_live(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    for (pid_t i = 0; i < (pid_t)PC_CROWD_PROCESSES; i++)
        pc_judge_thread(j, PARENT, 4000 + i, 2 * S);
    pc_judge_thread(j, 99, 3999, 2 * S); /* nobody knows that process */
    assert_true(pc_judge_crowded(j, 2 * S, true));
    assert_true(crowd_of(j, PARENT) == pc_judge_actor_of(j, PARENT));
    pc_judge_exit(j, PARENT, 2 * S); /* its first thread has ended; the others go on */
    assert_true(pc_judge_crowded(j, 2 * S, true));
    pc_judge_thread_exit(j, 4000);
    assert_false(pc_judge_crowded(j, 2 * S, true));
    pc_judge_free(j);
}

/* What has only a spared one in common is none together; and nobody spared is of one. */
static void strangers_are_no_crowd(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    for (pid_t i = 0; i < (pid_t)(2 * PC_CROWD_PROCESSES); i++) {
        fork_many(j, 1, 5000 + i, 1, 2 * S);
        fork_many(j, GUARD, 7000 + i, 1, 2 * S);
    }
    assert_false(pc_judge_crowded(j, 2 * S, true));
    pc_judge_free(j);
}

static void at_its_bounds(void **state)
{
    (void)state;
    struct pc_judge *j = new_judge();
    const pid_t groups = 2 * PC_CROWDS_MAX;
    for (pid_t i = 0; i < groups; i++) {
        fork_many(j, 1, 200 + i, 1, 2 * S);
        fork_many(j, 200 + i, 10000 + i * 100, PC_CROWD_PROCESSES, 2 * S);
    }
    assert_true(pc_judge_crowded(j, 2 * S, true));
    pid_t known = 0;
    for (pid_t i = 0; i < groups; i++)
        known += crowd_of(j, 200 + i) != 0;
    assert_int_equal(known, PC_CROWDS_MAX);
    /* Many that end at once push the births of the others out of the ring. */
    for (pid_t i = 0; i < (pid_t)PC_CROWD_RING; i++) {
        fork_many(j, PARENT, 100000 + i, 1, 2 * S);
        pc_judge_exit(j, 100000 + i, 2 * S);
    }
    assert_false(pc_judge_crowded(j, 2 * S, true));
    pc_judge_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_young_processes_are_a_crowd),
        cmocka_unit_test(it_is_seen_while_it_is_made),
        cmocka_unit_test(the_dead_and_the_old_are_none),
        cmocka_unit_test(ancestry_does_not_hide_it),
        cmocka_unit_test(threads_count_while_they_live),
        cmocka_unit_test(strangers_are_no_crowd),
        cmocka_unit_test(at_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
