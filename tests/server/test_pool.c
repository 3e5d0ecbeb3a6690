/*
 * The pool that checks hosts' documents: the order of a lane, its bounds, its end. Built twice: as everything else, and
 * with ThreadSanitizer, which then sees every access that two threads make without agreeing on it.
 */
#include "server/pool.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LANES 37
#define EACH 400

struct rig {
    struct event_base *base;
    struct pc_pool *pool;
    unsigned room;                  /* times that there was room */
    unsigned next[LANES], returned; /* next number expected of a lane */
    bool disorder;
};

struct number {
    struct pc_task task;
    struct rig *rig;
    unsigned lane, number;
    uint64_t sum; /* what a worker made of it */
};

static void on_room(void *ctx)
{
    ((struct rig *)ctx)->room++;
}

static int start(struct rig *r, unsigned threads)
{
    *r = (struct rig){.base = event_base_new()};
    return r->base ? pc_pool_start(r->base, threads, on_room, r, &r->pool) : -1;
}

static void stop(struct rig *r)
{
    pc_pool_stop(r->pool);
    event_base_free(r->base);
}

/* Some lanes have more to do than others: order must not depend on that. */
static void work(struct pc_task *t)
{
    struct number *n = (struct number *)t;
    for (unsigned i = 0; i < 50 * (n->lane + 1); i++)
        n->sum = n->sum * 31 + n->number;
}

static void back(struct pc_task *t)
{
    struct number *n = (struct number *)t;
    struct rig *r = n->rig;
    r->disorder |= n->number != r->next[n->lane]++;
    r->returned++;
    free(n);
}

static struct number *number(struct rig *r, unsigned lane, unsigned i)
{
    struct number *n = calloc(1, sizeof *n);
    if (!n)
        abort();
    *n = (struct number){.task = {.run = work, .done = back, .bytes = sizeof *n}, .rig = r, .lane = lane, .number = i};
    return n;
}

static void a_lane_keeps_its_order(void **state)
{
    struct rig r;
    assert_int_equal(start(&r, 4), 0);
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned lane = 0; lane < LANES; lane++) {
            struct number *n = number(&r, lane, i);
            while (pc_pool_full(r.pool))
                event_base_loop(r.base, EVLOOP_ONCE);
            assert_int_equal(pc_pool_submit(r.pool, lane, &n->task), 0);
        }
    while (pc_pool_waiting(r.pool))
        event_base_loop(r.base, EVLOOP_ONCE);
    assert_int_equal(r.returned, LANES * EACH);
    assert_false(r.disorder);
    stop(&r);
}

static void full_means_wait(void **state)
{
    struct rig r;
    assert_int_equal(start(&r, 1), 0);
    /* They count until the loop has them back, so it is full however fast the worker is. */
    for (unsigned i = 0; i < PC_POOL_TASKS; i++) {
        assert_false(pc_pool_full(r.pool));
        assert_int_equal(pc_pool_submit(r.pool, 0, &number(&r, 0, i)->task), 0);
    }
    assert_true(pc_pool_full(r.pool));
    struct number *more = number(&r, 0, PC_POOL_TASKS);
    assert_int_equal(pc_pool_submit(r.pool, 0, &more->task), PC_E_LIMIT);
    assert_int_equal(r.room, 0);
    while (r.room == 0)
        event_base_loop(r.base, EVLOOP_ONCE);
    assert_true(pc_pool_waiting(r.pool) <= PC_POOL_TASKS / 2);
    assert_int_equal(pc_pool_submit(r.pool, 0, &more->task), 0);
    pc_pool_drain(r.pool);
    assert_int_equal(r.returned, PC_POOL_TASKS + 1);
    assert_false(r.disorder);
    stop(&r);
}

static void large_ones_fill_it_sooner(void **state)
{
    struct rig r;
    assert_int_equal(start(&r, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct number *n = number(&r, 0, i);
        n->task.bytes = PC_POOL_BYTES / 2;
        assert_false(pc_pool_full(r.pool));
        assert_int_equal(pc_pool_submit(r.pool, 0, &n->task), 0);
    }
    assert_true(pc_pool_full(r.pool));
    stop(&r);
    assert_int_equal(r.returned, 2);
}

static void the_end_takes_nothing_and_loses_nothing(void **state)
{
    struct rig r;
    assert_int_equal(start(&r, 3), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(pc_pool_submit(r.pool, i % LANES, &number(&r, i % LANES, i / LANES)->task), 0);
    pc_pool_drain(r.pool);
    assert_int_equal(r.returned, 1000);
    assert_int_equal(pc_pool_waiting(r.pool), 0);
    assert_int_equal(r.room, 0); /* nobody is to feed it again */
    struct number *late = number(&r, 0, 0);
    assert_int_equal(pc_pool_submit(r.pool, 0, &late->task), PC_E_STATE);
    free(late);
    stop(&r);
}

static void as_many_threads_as_processors(void **state)
{
    struct rig r;
    assert_int_equal(start(&r, 0), 0);
    assert_in_range(pc_pool_threads(r.pool), 1, PC_POOL_THREADS_MAX);
    stop(&r);
    assert_int_equal(start(&r, 1000), 0);
    assert_int_equal(pc_pool_threads(r.pool), PC_POOL_THREADS_MAX);
    stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_keeps_its_order),
        cmocka_unit_test(full_means_wait),
        cmocka_unit_test(large_ones_fill_it_sooner),
        cmocka_unit_test(the_end_takes_nothing_and_loses_nothing),
        cmocka_unit_test(as_many_threads_as_processors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
