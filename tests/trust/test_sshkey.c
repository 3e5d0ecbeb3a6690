/* Public keys: what a line is, which keys are refused and why, and what makes two keys the same. */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "files.h"
#include "forge.h"
#include "trust/sshkey.h"
#include "trust/sshwire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *line)
{
    struct pc_sshkey *key = NULL;
    int r = pc_sshkey_parse_line(line, strlen(line), &key);
    assert_true((r == 0) == (key != NULL));
    pc_sshkey_free(key);
    return r;
}

static int parse_blob(const struct pc_buf *blob)
{
    struct pc_sshkey *key = NULL;
    int r = pc_sshkey_parse_blob((const uint8_t *)blob->data, blob->len, &key);
    assert_true((r == 0) == (key != NULL));
    pc_sshkey_free(key);
    return r;
}

static void test_lines(void **state)
{
    (void)state;
    struct forge_key key = forge_key("ssh-ed25519", NULL, 0);
    _free_ char *line = forge_line(&key);
    const char *blob = strchr(line, ' ') + 1;
    static const struct {
        const char *before, *after;
        int want;
    } cases[] = {
        {"ssh-ed25519 ", "", 0},
        {"ssh-ed25519 ", " alice@example.org", 0},
        {"ssh-ed25519 ", "\tany comment at all\n", 0},
        {" \tssh-ed25519 \t", "\r\n", 0},
        {"ssh-ed25519 ", "\n\n", PC_E_TRAILING},
        {"ssh-ed25519 ", "\nssh-ed25519 AAAA", PC_E_TRAILING},
        {"ssh-ed25519", "", PC_E_SYNTAX},
        {"", "", PC_E_SYNTAX},
        {"ED25519 ", "", PC_E_SYNTAX},
        {"ssh-rsa ", "", PC_E_SYNTAX},
        {"ssh-ed25519 !", "", PC_E_SYNTAX},
        {"ssh-ed25519 AAAA", "", PC_E_SYNTAX},
        {"no-pty ssh-ed25519 ", "", PC_E_SYNTAX},
        {"# ssh-ed25519 ", "", PC_E_SYNTAX},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        struct pc_buf text _buf_free_;
        pc_buf_init(&text, 4096);
        pc_buf_addf(&text, "%s%s%s", cases[i].before, blob, cases[i].after);
        int r = parse(text.data);
        if (r != cases[i].want)
            fail_msg("case %zu: %s, not %s", i, pc_strerror(r), pc_strerror(cases[i].want));
    }
    assert_int_equal(parse(""), PC_E_SYNTAX);
    assert_int_equal(pc_sshkey_parse_line("ssh-ed25519 \0", 13, &(struct pc_sshkey *){NULL}), PC_E_SYNTAX);
    forge_key_free(&key);
}

static void test_longest_line(void **state)
{
    (void)state;
    _free_ char *line = malloc(PC_SSHKEY_LINE_MAX + 2);
    assert_non_null(line);
    memset(line, 'A', PC_SSHKEY_LINE_MAX + 1);
    line[PC_SSHKEY_LINE_MAX + 1] = 0;
    assert_int_equal(parse(line), PC_E_LIMIT);
    line[PC_SSHKEY_LINE_MAX] = 0;
    assert_int_equal(parse(line), PC_E_SYNTAX);
}

static int parse_rsa(struct pc_span e, struct pc_span n)
{
    struct pc_buf blob _buf_free_;
    pc_buf_init(&blob, 65536);
    pc_ssh_put_text(&blob, "ssh-rsa");
    pc_ssh_put_mpint(&blob, e);
    pc_ssh_put_mpint(&blob, n);
    return parse_blob(&blob);
}

#define BYTES(text) ((struct pc_span){(const uint8_t *)(text), sizeof(text) - 1})

/* An exponent that makes every message its own signature, one that has no inverse, and numbers that are too small. */
static void test_weak_rsa(void **state)
{
    (void)state;
    uint8_t n[2048];
    memset(n, 0xff, sizeof n);
    struct pc_span strong = {n, PC_SSHKEY_RSA_MIN_BITS / 8}, largest = {n, sizeof n}, e = BYTES("\1\0\1");
    assert_int_equal(parse_rsa(e, strong), 0);
    assert_int_equal(parse_rsa(BYTES("\3"), strong), 0);
    assert_int_equal(parse_rsa(e, largest), 0);
    assert_int_equal(parse_rsa(BYTES("\1"), strong), PC_E_KEY);
    assert_int_equal(parse_rsa(BYTES(""), strong), PC_E_KEY);
    assert_int_equal(parse_rsa(BYTES("\2"), strong), PC_E_KEY);
    assert_int_equal(parse_rsa(e, (struct pc_span){n, strong.len - 1}), PC_E_KEY);
    n[0] = 0x7f; /* 3071 bits */
    assert_int_equal(parse_rsa(e, strong), PC_E_KEY);
    n[0] = 0xff;
    n[strong.len - 1] = 0xfe;
    assert_int_equal(parse_rsa(e, strong), PC_E_KEY);
}

static void test_too_long_rsa(void **state)
{
    (void)state;
    uint8_t n[2049];
    memset(n, 0x7f, sizeof n);
    assert_int_equal(parse_rsa(BYTES("\1\0\1"), (struct pc_span){n, sizeof n}), PC_E_SYNTAX);
}

static int parse_point(const char *curve, const void *point, size_t len)
{
    struct pc_buf blob _buf_free_;
    pc_buf_init(&blob, 65536);
    pc_ssh_put_text(&blob, "ecdsa-sha2-nistp256");
    pc_ssh_put_text(&blob, curve);
    pc_ssh_put_string(&blob, point, len);
    return parse_blob(&blob);
}

static void test_points(void **state)
{
    (void)state;
    struct forge_key key = forge_key("ecdsa-sha2-nistp256", NULL, 0);
    uint8_t *point = (uint8_t *)key.blob.data + key.blob.len - 65;
    assert_int_equal(parse_point("nistp256", point, 65), 0);
    assert_int_equal(parse_point("nistp384", point, 65), PC_E_SYNTAX);
    assert_int_equal(parse_point("P-256", point, 65), PC_E_SYNTAX);
    assert_int_equal(parse_point("nistp256", point, 64), PC_E_SYNTAX);
    assert_int_equal(parse_point("nistp256", point, 0), PC_E_SYNTAX);
    assert_int_equal(parse_point("nistp256", "", 1), PC_E_SYNTAX); /* infinity */
    point[64] ^= 1;                                                /* off the curve */
    assert_int_equal(parse_point("nistp256", point, 65), PC_E_SYNTAX);
    point[64] ^= 1;
    uint8_t compressed[33] = {(uint8_t)(2 + (point[64] & 1))};
    memcpy(compressed + 1, point + 1, 32);
    assert_int_equal(parse_point("nistp256", compressed, sizeof compressed), PC_E_SYNTAX);
    forge_key_free(&key);
}

/*
 * The same key in another spelling is the same key: leading zeros, OpenSSH's other names, a NUL at the end of a
 * text.
 */
static void test_equal(void **state)
{
    (void)state;
    struct forge_key key = forge_key("sk-ssh-ed25519@openssh.com", "ssh:", 0),
                     other = forge_key("ssh-ed25519", NULL, 0);
    struct pc_cur c;
    struct pc_sshkey *a, *b, *d;
    pc_cur_init(&c, key.blob.data, key.blob.len);
    pc_ssh_text(&c);
    struct pc_span pk = pc_ssh_string(&c);
    struct pc_buf blob _buf_free_;
    pc_buf_init(&blob, 4096);
    pc_ssh_put_text(&blob, "ed25519-SK");
    pc_ssh_put_string(&blob, pk.p, pk.len);
    pc_ssh_put_string(&blob, "ssh:", 5);
    assert_int_equal(pc_sshkey_parse_blob((const uint8_t *)key.blob.data, key.blob.len, &a), 0);
    assert_int_equal(pc_sshkey_parse_blob((const uint8_t *)blob.data, blob.len, &b), 0);
    assert_int_equal(pc_sshkey_parse_blob((const uint8_t *)other.blob.data, other.blob.len, &d), 0);
    assert_true(pc_sshkey_equal(a, b));
    assert_false(pc_sshkey_equal(a, d));
    assert_string_equal(pc_sshkey_type(b), "sk-ssh-ed25519@openssh.com");
    size_t len;
    assert_memory_equal(pc_sshkey_blob(b, &len), key.blob.data, key.blob.len);
    assert_int_equal(len, key.blob.len);
    pc_sshkey_free(a);
    pc_sshkey_free(b);
    pc_sshkey_free(d);
    pc_sshkey_free(NULL);
    forge_key_free(&key);
    forge_key_free(&other);
}

/* The application is part of a hardware key: it says what the key was made for. */
static void test_application(void **state)
{
    (void)state;
    struct forge_key key = forge_key("sk-ssh-ed25519@openssh.com", "ssh:", 0);
    struct pc_sshkey *a, *b;
    assert_int_equal(pc_sshkey_parse_blob((const uint8_t *)key.blob.data, key.blob.len, &a), 0);
    key.blob.data[key.blob.len - 1] = ';';
    assert_int_equal(pc_sshkey_parse_blob((const uint8_t *)key.blob.data, key.blob.len, &b), 0);
    assert_false(pc_sshkey_equal(a, b));
    pc_sshkey_free(a);
    pc_sshkey_free(b);
    forge_key_free(&key);
}

static void test_trailing_and_truncated(void **state)
{
    (void)state;
    static const char *const types[] = {"ssh-ed25519", "ecdsa-sha2-nistp384", "sk-ecdsa-sha2-nistp256@openssh.com",
                                        "ssh-rsa"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(types); i++) {
        struct forge_key key = forge_key(types[i], i == 2 ? "ssh:" : NULL, PC_SSHKEY_RSA_MIN_BITS);
        assert_int_equal(parse_blob(&key.blob), 0);
        for (size_t len = key.blob.len - 1; len; len -= len > 100 ? 7 : 1) {
            struct pc_buf cut = {.data = key.blob.data, .len = len};
            assert_true(parse_blob(&cut) < 0);
        }
        pc_buf_add(&key.blob, "", 1);
        assert_int_equal(parse_blob(&key.blob), PC_E_TRAILING);
        forge_key_free(&key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_longest_line),
        cmocka_unit_test(test_weak_rsa),    cmocka_unit_test(test_too_long_rsa),
        cmocka_unit_test(test_points),      cmocka_unit_test(test_equal),
        cmocka_unit_test(test_application), cmocka_unit_test(test_trailing_and_truncated),
    };
    return cmocka_run_group_tests_name("sshkey", tests, NULL, NULL);
}
