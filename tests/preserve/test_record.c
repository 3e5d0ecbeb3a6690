/* The vault record: there and back, every truncation, flipped bytes, every allocation failing. */
#include "base/err.h"
#include "preserve/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long fail_after = -1; /* allocations until one fails; -1 never */

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
    if (fail_after >= 0 && fail_after-- == 0)
        return NULL;
    return __real_realloc(p, n);
}

static void sample(struct pc_record *r)
{
    pc_record_init(r);
    r->how = 1;
    r->packed = true;
    r->has_data = true;
    r->data = 1ULL << 39;
    r->time_ns = 123456789;
    r->actor = 42;
    pc_fh_set(&r->fh, 0x81, "handle bytes", 12);
    pc_fh_set(&r->parent, 0x81, "folder", 6);
    strcpy(r->name, "na\nme\xff");
    strcpy(r->path, "/srv/data/na\nme\xff");
    r->meta.mode = 0104755;
    r->meta.uid = 1000;
    r->meta.size = 1ULL << 40;
    r->meta.mtime_ns = -5;
    assert_int_equal(pc_buf_add(&r->meta.target, "target", 6), 0);
    assert_int_equal(pc_xattrs_add(&r->meta.xattrs, "user.a", "v\0w", 3), 0);
    assert_int_equal(pc_xattrs_add(&r->meta.xattrs, "user.empty", "", 0), 0);
}

static void encoded(struct pc_buf *out)
{
    struct pc_record r;
    sample(&r);
    pc_buf_init(out, PC_RECORD_MAX);
    assert_int_equal(pc_record_encode(&r, out), 0);
    pc_record_free(&r);
}

static void there_and_back(void **state)
{
    struct pc_buf b;
    struct pc_record want, got;
    struct pc_xattr x;
    encoded(&b);
    sample(&want);
    pc_record_init(&got);
    assert_int_equal(pc_record_decode(b.data, b.len, &got), 0);
    assert_int_equal(got.how, want.how);
    assert_true(got.packed && got.has_data);
    assert_int_equal(got.data, want.data);
    assert_true(pc_fh_equal(&got.fh, &want.fh) && pc_fh_equal(&got.parent, &want.parent));
    assert_string_equal(got.name, want.name);
    assert_string_equal(got.path, want.path);
    assert_int_equal(got.meta.mtime_ns, -5);
    assert_int_equal(got.meta.size, want.meta.size);
    assert_true(pc_xattrs_find(&got.meta.xattrs, "user.a", &x));
    assert_int_equal(x.len, 3);
    assert_memory_equal(x.value, "v\0w", 3);
    assert_true(pc_xattrs_find(&got.meta.xattrs, "user.empty", &x) && x.len == 0);
    assert_false(pc_xattrs_find(&got.meta.xattrs, "user", &x));
    pc_record_free(&want);
    pc_record_free(&got);
    pc_buf_free(&b);
}

static int decode(const char *data, size_t len)
{
    struct pc_record r;
    pc_record_init(&r);
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, data, len);
    int e = pc_record_decode(exact, len, &r);
    free(exact);
    pc_record_free(&r);
    return e;
}

static void every_truncation_is_an_error(void **state)
{
    struct pc_buf b;
    encoded(&b);
    for (size_t n = 0; n < b.len; n++)
        assert_true(decode(b.data, n) < 0);
    assert_int_equal(pc_buf_add(&b, "x", 1), 0);
    assert_int_equal(decode(b.data, b.len), PC_E_TRAILING);
    pc_buf_free(&b);
}

static void flipped_bytes_do_no_harm(void **state)
{
    struct pc_buf b;
    encoded(&b);
    for (size_t i = 0; i < b.len; i++)
        for (int v = 0; v < 256; v += 51) {
            char old = b.data[i];
            b.data[i] = (char)v;
            int e = decode(b.data, b.len);
            assert_true(e <= 0);
            b.data[i] = old;
        }
    b.data[4] = 0; /* how */
    assert_int_equal(decode(b.data, b.len), PC_E_SYNTAX);
    b.data[4] = 9;
    assert_int_equal(decode(b.data, b.len), PC_E_SYNTAX);
    pc_buf_free(&b);
}

static void bad_names_are_refused(void **state)
{
    static const char *const bad[] = {"a/b", ".", ".."};
    for (size_t i = 0; i < 3; i++) {
        struct pc_record r;
        struct pc_buf b;
        sample(&r);
        strcpy(r.name, bad[i]);
        pc_buf_init(&b, PC_RECORD_MAX);
        assert_int_equal(pc_record_encode(&r, &b), 0);
        assert_int_equal(decode(b.data, b.len), PC_E_SYNTAX);
        pc_buf_free(&b);
        pc_record_free(&r);
    }
}

static void every_allocation_may_fail(void **state)
{
    struct pc_buf b;
    encoded(&b);
    int e = -ENOMEM;
    long n;
    for (n = 0; n < 100 && e < 0; n++) {
        struct pc_record r;
        pc_record_init(&r);
        fail_after = n;
        e = pc_record_decode(b.data, b.len, &r);
        fail_after = -1;
        assert_true(e == 0 || e == -ENOMEM);
        pc_record_free(&r);
    }
    assert_int_equal(e, 0);
    assert_true(n > 1); /* at least one was made to fail */
    pc_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),         cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(flipped_bytes_do_no_harm), cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
