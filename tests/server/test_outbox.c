/* What waits for a peer: small frames written together, large ones where they lie, and parts of them. */
#include "net/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct pc_frame *add(struct pc_outbox *b, char fill, size_t len)
{
    struct pc_frame *f = pc_frame_new(PC_FRAME_LOOK, NULL, len);
    assert_non_null(f);
    memset(f->data + PC_FRAME_HEAD, fill, len);
    assert_int_equal(pc_outbox_add(b, f), 0);
    return f;
}

static void small_ones_are_written_together(void **state)
{
    (void)state;
    static uint8_t record[PC_OUTBOX_RECORD];
    struct pc_outbox b = {0};
    const uint8_t *from;
    struct pc_frame *f[3] = {add(&b, 'a', 10), add(&b, 'b', 20), add(&b, 'c', 2 * PC_OUTBOX_RECORD)};
    size_t small = f[0]->len + f[1]->len, all = small + f[2]->len;
    assert_int_equal(b.bytes, all);
    assert_int_equal(pc_outbox_next(&b, record, &from), PC_OUTBOX_RECORD);
    assert_ptr_equal(from, record);
    assert_memory_equal(from, f[0]->data, f[0]->len);
    assert_memory_equal(from + f[0]->len, f[1]->data, f[1]->len);
    assert_memory_equal(from + small, f[2]->data, PC_OUTBOX_RECORD - small);
    /* A part of the second: it goes on from there. */
    assert_int_equal(pc_outbox_wrote(&b, f[0]->len + 5), 1);
    assert_int_equal(b.bytes, all - f[0]->len - 5);
    (void)pc_outbox_next(&b, record, &from);
    assert_memory_equal(from, f[1]->data + 5, f[1]->len - 5);
    /* The rest of it and the beginning of the large one, which then needs no copy. */
    assert_int_equal(pc_outbox_wrote(&b, f[1]->len - 5 + 7), 1);
    assert_int_equal(pc_outbox_next(&b, record, &from), f[2]->len - 7);
    assert_ptr_equal(from, f[2]->data + 7);
    assert_int_equal(pc_outbox_wrote(&b, f[2]->len - 7), 1);
    assert_int_equal(b.bytes, 0);
    assert_null(b.first);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f[i]->refs, 1);
        pc_frame_unref(f[i]);
    }
}

static void one_that_is_cleared_is_empty_and_can_be_filled(void **state)
{
    (void)state;
    static uint8_t record[PC_OUTBOX_RECORD];
    struct pc_outbox b = {0};
    const uint8_t *from;
    struct pc_frame *f = add(&b, 'a', 10);
    assert_int_equal(pc_outbox_add(&b, f), 0);
    assert_int_equal(f->refs, 3);
    pc_outbox_clear(&b);
    assert_int_equal(f->refs, 1);
    assert_int_equal(b.bytes, 0);
    assert_int_equal(pc_outbox_add(&b, f), 0);
    assert_int_equal(pc_outbox_next(&b, record, &from), f->len);
    assert_ptr_equal(from, f->data); /* alone: where it lies */
    assert_int_equal(pc_outbox_wrote(&b, f->len), 1);
    assert_int_equal(f->refs, 1);
    pc_frame_unref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_are_written_together),
        cmocka_unit_test(one_that_is_cleared_is_empty_and_can_be_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
