/* The clock that retention goes by: what the system's clock does to it, and what it may not do. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define DAY (86400 * PC_NS_PER_S)

static void goes_with_the_clock(void **state)
{
    struct pc_slow_clock c = {.real_ns = 100 * DAY};
    pc_slow_clock_step(&c, 100 * DAY, 1 * DAY);
    for (uint64_t day = 2; day < 10; day++) {
        pc_slow_clock_step(&c, (99 + day) * DAY, day * DAY);
        assert_int_equal(c.real_ns, (99 + day) * DAY);
    }
}

/* A year ahead for an hour: retention has seen two hours, and goes on from the right time afterwards. */
static void a_jump_ahead_does_not_age_anything(void **state)
{
    struct pc_slow_clock c = {.real_ns = 100 * DAY};
    pc_slow_clock_step(&c, 100 * DAY, 1 * DAY);
    pc_slow_clock_step(&c, 465 * DAY, 1 * DAY + DAY / 24);
    assert_int_equal(c.real_ns, 100 * DAY + DAY / 12);
    pc_slow_clock_step(&c, 100 * DAY + DAY / 23, 1 * DAY + DAY / 23);
    assert_int_equal(c.real_ns, 100 * DAY + DAY / 23);
}

/* Set back: what is kept from then on must not look old. */
static void a_jump_back_is_followed(void **state)
{
    struct pc_slow_clock c = {.real_ns = 100 * DAY};
    pc_slow_clock_step(&c, 100 * DAY, 1 * DAY);
    pc_slow_clock_step(&c, 40 * DAY, 1 * DAY + 1);
    assert_int_equal(c.real_ns, 40 * DAY);
}

/* Off for ten days, or started with a clock that is wrong: nobody can tell, so it catches up at twice the speed. */
static void after_a_restart_it_catches_up(void **state)
{
    struct pc_slow_clock c = {.real_ns = 100 * DAY};
    pc_slow_clock_step(&c, 110 * DAY, 5 * DAY);
    assert_int_equal(c.real_ns, 100 * DAY);
    pc_slow_clock_step(&c, 115 * DAY, 10 * DAY);
    assert_int_equal(c.real_ns, 110 * DAY);
    pc_slow_clock_step(&c, 120 * DAY, 15 * DAY);
    assert_int_equal(c.real_ns, 120 * DAY);
    pc_slow_clock_step(&c, 121 * DAY, 16 * DAY);
    assert_int_equal(c.real_ns, 121 * DAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_with_the_clock), cmocka_unit_test(a_jump_ahead_does_not_age_anything),
        cmocka_unit_test(a_jump_back_is_followed), cmocka_unit_test(after_a_restart_it_catches_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
