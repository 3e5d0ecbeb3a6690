/* What JSON a document may be, what times and names look like: table tests of the strict readers. */
#include "base/err.h"
#include "trust/json.h"
#include "trust/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, size_t len)
{
    json_t *made = NULL;
    char why[200];
    why[0] = 0;
    int r = pc_json_parse(text, len, 1u << 20, &made, (struct pc_why){why, sizeof why});
    if (r < 0 && (made || !why[0]))
        return -1; /* a refusal says why, and gives nothing */
    json_decref(made);
    return r;
}

static void test_accepted(void **state)
{
    static const char *const texts[] = {
        "{}", "{}\n", "{ }", "{\"a\":1}", "{\"a\" : [ 1 , 2 ]\t,\r\n\"b\":{}}", "{\"a\":9007199254740991}", "{\"a\":0}",
        "{\"a\":[true,false,null]}", "{\"a\":\"\\u00e9\\ud83d\\ude00\\n\\/\"}", "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\"}",
        "{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{}}}}}}}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (parse(texts[i], strlen(texts[i])) != 0)
            fail_msg("refused: %s", texts[i]);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " {}",
        "[]",
        "1",
        "{",
        "}",
        "{}{}",
        "{}\n\n",
        "{} ",
        "{}\r\n",
        "\xef\xbb\xbf{}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\":-1}",
        "{\"a\":-0}",
        "{\"a\":1.0}",
        "{\"a\":1e3}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":9007199254740992}",
        "{\"a\":99999999999999999999}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":[1 2]}",
        "{\"a\":\"\\u0000\"}",
        "{\"\\u0000\":1}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\uZZZZ\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\",
        "{\"a\":\"b",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc0\xaf\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf4\x90\x80\x80\"}",
        "{\"a\":\"\xc3\"}",
        "{\"a\":1}//x",
        "/**/{}",
        "{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{\"8\":{}}}}}}}}}",
        "{\"1\":[[[[[[[[1]]]]]]]]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (parse(texts[i], strlen(texts[i])) != PC_E_SYNTAX)
            fail_msg("not refused as syntax: %s", texts[i]);
    assert_int_equal(parse("{\"a\0\":1}", 8), PC_E_SYNTAX);
    assert_int_equal(parse("{}\0", 3), PC_E_SYNTAX);
}

/* Few bytes must not become much memory. */
static void test_bounds(void **state)
{
    static char text[1u << 20];
    size_t n = (size_t)sprintf(text, "{\"a\":[");
    for (int i = 0; i <= PC_JSON_CONTAINERS_MAX; i++)
        n += (size_t)sprintf(text + n, "%s[]", i ? "," : "");
    n += (size_t)sprintf(text + n, "]}");
    assert_int_equal(parse(text, n), PC_E_LIMIT);
    n = (size_t)sprintf(text, "{\"a\":[");
    for (int i = 0; i <= PC_JSON_VALUES_MAX; i++)
        n += (size_t)sprintf(text + n, "%s1", i ? "," : "");
    n += (size_t)sprintf(text + n, "]}");
    assert_int_equal(parse(text, n), PC_E_LIMIT);
    json_t *made = NULL;
    assert_int_equal(pc_json_parse("{\"a\":1}", 7, 6, &made, (struct pc_why){0}), PC_E_LIMIT);
    assert_null(made);
}

/* A text that is cut off anywhere is refused, and read no further than its end (the sanitizers watch). */
static void test_every_prefix(void **state)
{
    static const char text[] = "{\"a\":[1,\"x\\u00e9\\ud83d\\ude00\xc3\xa9\",{\"b\":true}],\"c\":null,\"d\":\"\"}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *exact = malloc(n ? n : 1);
        assert_non_null(exact);
        memcpy(exact, text, n);
        assert_int_equal(parse(exact, n), PC_E_SYNTAX);
        free(exact);
    }
    assert_int_equal(parse(text, sizeof text - 1), 0);
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t t;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},          {"2000-02-29T23:59:59Z", 951868799},
        {"2026-11-21T18:03:00Z", 1795284180}, {"2038-01-19T03:14:07Z", 2147483647},
        {"2038-01-19T03:14:08Z", 2147483648}, {"2106-02-07T06:28:16Z", 4294967296},
        {"2100-03-01T00:00:00Z", 4107542400}, {"9999-12-31T23:59:59Z", PC_TIME_MAX},
    };
    static const char *const bad[] = {
        "",
        "2026-11-21",
        "2026-11-21T18:03:00",
        "2026-11-21T18:03:00z",
        "2026-11-21 18:03:00Z",
        "2026-11-21T18:03:00+00:00",
        "2026-11-21T18:03:00.0Z",
        "2026-11-21T18:03:60Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T18:60:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "02026-11-21T18:03:0Z",
        "-026-11-21T18:03:00Z",
        "2026-11-21T18:03:00Z ",
        "2026-1-021T18:03:00Z",
        "2026-11-21T18:03: 0Z",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t t = -1;
        char text[PC_TIME_SIZE];
        assert_int_equal(pc_time_parse(good[i].text, &t), 0);
        assert_true(t == good[i].t);
        pc_time_format(good[i].t, text);
        assert_string_equal(text, good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t t = 42;
        if (pc_time_parse(bad[i], &t) != PC_E_SYNTAX || t != 42)
            fail_msg("not refused: %s", bad[i]);
    }
}

/* Every day of four hundred years, there and back. */
static void test_every_day(void **state)
{
    for (int64_t day = 0; day < 146097; day++) {
        char text[PC_TIME_SIZE];
        int64_t t = 0;
        pc_time_format(day * 86400 + 86399, text);
        assert_int_equal(pc_time_parse(text, &t), 0);
        assert_true(t == day * 86400 + 86399);
    }
    char text[PC_TIME_SIZE];
    pc_time_format(-5, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    pc_time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

#define ID "0123456789abcdef0123456789abcdef"
#define LONG "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_names(void **state)
{
    static const char *const good[] = {"a", "web1", "web1.example.org", "a-b_c.d", "0", LONG};
    static const char *const bad[] = {"", "-a", "a-", ".a", "a.", "A", "a b", "a/b", "a#b", "\xc3\xa9", LONG "a"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(pc_name_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(pc_name_valid(bad[i]));
    struct pc_host_ref ref;
    char text[PC_HOST_REF_SIZE];
    assert_int_equal(pc_host_ref_parse(LONG "#" ID, &ref), 0);
    pc_host_ref_format(&ref, text);
    assert_string_equal(text, LONG "#" ID);
    static const char *const refs[] = {
        "",          "web1",     "#" ID,      "web1#",      "web1#" ID "0",
        "web1#0123", "Web1#" ID, "web1##" ID, LONG "a#" ID, "web1#0123456789ABCDEF0123456789abcdef",
        "web1 #" ID};
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++)
        assert_int_equal(pc_host_ref_parse(refs[i], &ref), PC_E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),     cmocka_unit_test(test_refused), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_every_prefix), cmocka_unit_test(test_times),   cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
