/* Base64: the vectors of RFC 4648, and everything that only resembles it. */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_vectors(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < PC_ARRAY_SIZE(pairs); i++) {
        char text[16], raw[16];
        size_t len = strlen(pairs[i][0]);
        assert_int_equal(pc_base64_encode(pairs[i][0], len, text), strlen(pairs[i][1]));
        assert_string_equal(text, pairs[i][1]);
        assert_true(strlen(text) < PC_BASE64_SIZE(len) && len <= PC_BASE64_RAW_SIZE(strlen(text)));
        assert_int_equal(pc_base64_decode(text, strlen(text), 0, raw, sizeof raw), len);
        assert_memory_equal(raw, pairs[i][0], len);
    }
}

static void test_alphabets(void **state)
{
    (void)state;
    char standard[16], url[16];
    pc_base64_encode("\xfb\xff\xbf\xff", 4, standard);
    pc_base64url_encode("\xfb\xff\xbf\xff", 4, url);
    assert_string_equal(standard, "+/+//w==");
    assert_string_equal(url, "-_-__w");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",    "Zg",       "Zg=",   "Zg===", "Zh==",   "Zm9=", "Zm8",  "Zm8==", "=",
                                      "====", "Zg==Zg==", "Zm9v=", "Zm 9v", "Zm9v\n", "Z-==", "Zm9_", "Zm9v!", "\xff"};
    char raw[16];
    for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
        assert_int_equal(pc_base64_decode(bad[i], strlen(bad[i]), 0, raw, sizeof raw), PC_E_SYNTAX);
    assert_int_equal(pc_base64_decode("Zm9v\0", 5, 0, raw, sizeof raw), PC_E_SYNTAX);
    assert_int_equal(pc_base64_decode("Zm9v\0", 5, PC_BASE64_SPACE, raw, sizeof raw), PC_E_SYNTAX);
}

static void test_white_space(void **state)
{
    (void)state;
    char raw[16];
    assert_int_equal(pc_base64_decode("  Z\tg\r\n= \v=\f ", 13, PC_BASE64_SPACE, raw, sizeof raw), 1);
    assert_int_equal(raw[0], 'f');
    assert_int_equal(pc_base64_decode("Zg = = A", 8, PC_BASE64_SPACE, raw, sizeof raw), PC_E_SYNTAX);
}

static void test_room(void **state)
{
    (void)state;
    char raw[3] = "xy";
    assert_int_equal(pc_base64_decode("Zm9v", 4, 0, raw, 2), PC_E_LIMIT);
    assert_memory_equal(raw, "fo", 3);
    assert_int_equal(pc_base64_decode("Zm9v", 4, 0, raw, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),     cmocka_unit_test(test_alphabets), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_white_space), cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
