/* Heads of frames: every type, both bounds, and every way to lie about them. */
#include "wire/frame.h"

#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_there_and_back(void **state)
{
    static const size_t bodies[] = {0, 1, 255, 65536, PC_FRAME_MAX_DOWN - 1};
    for (int type = 1; type < PC_FRAME_TYPES; type++) {
        for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
            uint8_t head[PC_FRAME_HEAD];
            enum pc_frame_type t = 0;
            uint32_t body = 77;
            pc_frame_head(head, (enum pc_frame_type)type, bodies[i]);
            for (size_t short_of = 0; short_of < PC_FRAME_HEAD; short_of++)
                assert_int_equal(pc_frame_peek(head, short_of, PC_FRAME_MAX_DOWN, &t, &body), -EAGAIN);
            assert_int_equal(body, 77);
            assert_int_equal(pc_frame_peek(head, sizeof head, PC_FRAME_MAX_DOWN, &t, &body), 0);
            assert_int_equal(t, type);
            assert_int_equal(body, bodies[i]);
        }
        assert_string_not_equal(pc_frame_name((enum pc_frame_type)type), "unknown");
    }
}

static void test_layout_is_that_of_the_protocol(void **state)
{
    uint8_t head[PC_FRAME_HEAD];
    pc_frame_head(head, PC_FRAME_GOT, 0x010203);
    assert_memory_equal(head, ((uint8_t[]){0x00, 0x01, 0x02, 0x04, 17}), PC_FRAME_HEAD);
}

static void test_lies(void **state)
{
    static const struct {
        uint8_t bytes[5];
        size_t len;
        int want;
    } rows[] = {
        {{0, 0, 0, 0, 1}, 5, PC_E_SYNTAX},                 /* no room for the type */
        {{0, 0, 0, 0, 0}, 4, PC_E_SYNTAX},                 /* told before the type comes */
        {{0, 0, 0, 1, 0}, 5, PC_E_SYNTAX},                 /* type 0 */
        {{0, 0, 0, 1, PC_FRAME_TYPES}, 5, PC_E_SYNTAX},    /* no such type */
        {{0, 0, 0, 1, 255}, 5, PC_E_SYNTAX},
        {{0, 0x10, 0, 1, 1}, 4, PC_E_LIMIT},               /* one byte above */
        {{0xff, 0xff, 0xff, 0xff, 1}, 4, PC_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum pc_frame_type t;
        uint32_t body;
        assert_int_equal(pc_frame_peek(rows[i].bytes, rows[i].len, PC_FRAME_MAX, &t, &body), rows[i].want);
    }
    assert_string_equal(pc_frame_name(0), "unknown");
    assert_string_equal(pc_frame_name(PC_FRAME_TYPES), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_layout_is_that_of_the_protocol),
        cmocka_unit_test(test_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
