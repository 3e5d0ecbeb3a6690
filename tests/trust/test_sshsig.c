/* The rules of SSHSIG one by one, each with the error it has: on signatures made for the purpose. */
#include "base/cleanup.h"
#include "base/err.h"
#include "fields.h"
#include "forge.h"
#include "trust/sshsig.h"

#include <errno.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NS "order@portcullis"
#define MSG "restart nginx on web-1"
#define SK "sk-ssh-ed25519@openssh.com"
#define SK_EC "sk-ecdsa-sha2-nistp256@openssh.com"

static struct pc_sshkey *parsed(const struct forge_key *key)
{
    struct pc_sshkey *k;
    assert_int_equal(pc_sshkey_parse_blob((const uint8_t *)key->blob.data, key->blob.len, &k), 0);
    return k;
}

static int verify_raw(const struct forge_key *key, const struct pc_buf *raw, struct pc_sshsig_info *info)
{
    struct pc_sshkey *k = parsed(key);
    _free_ char *text = forge_armour(raw->data, raw->len);
    int r = pc_sshsig_verify(text, strlen(text), MSG, strlen(MSG), NS, k, info);
    pc_sshkey_free(k);
    return r;
}

/* Signs as `how` says with a new key of a type, and verifies. */
static int made(const char *type, const char *application, struct forge_how how, struct pc_sshsig_info *info)
{
    struct forge_key key = forge_key(type, application, PC_SSHKEY_RSA_MIN_BITS);
    how.ns = NS;
    how.hash = how.hash ? how.hash : "sha512";
    struct pc_buf raw _buf_free_ = forge_sign(&key, &how, MSG, strlen(MSG));
    int r = verify_raw(&key, &raw, info);
    forge_key_free(&key);
    return r;
}

static void test_every_kind(void **state)
{
    (void)state;
    static const char *const types[] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
                                        "ecdsa-sha2-nistp521", "ssh-rsa"};
    struct pc_sshsig_info info;
    for (size_t i = 0; i < PC_ARRAY_SIZE(types); i++) {
        assert_int_equal(made(types[i], NULL, (struct forge_how){.hash = "sha256"}, &info), 0);
        assert_string_equal(info.hash, "sha256");
        assert_int_equal(made(types[i], NULL, (struct forge_how){0}, &info), 0);
        assert_string_equal(info.hash, "sha512");
        assert_false(info.hardware || info.user_present || info.user_verified || info.webauthn || info.sk_flags ||
                     info.sk_counter);
    }
    assert_int_equal(made("ssh-rsa", NULL, (struct forge_how){.rsa = "rsa-sha2-256"}, NULL), 0);
}

static void test_rsa_with_sha1_is_unsupported(void **state)
{
    (void)state;
    assert_int_equal(made("ssh-rsa", NULL, (struct forge_how){.rsa = "ssh-rsa"}, NULL), PC_E_UNSUPPORTED);
}

static void test_touch(void **state)
{
    (void)state;
    struct pc_sshsig_info info = {.sk_counter = 77};
    assert_int_equal(made(SK, "ssh:", (struct forge_how){.flags = 0, .counter = 5}, &info), PC_E_PRESENCE);
    assert_int_equal(made(SK, "ssh:", (struct forge_how){.flags = 4, .counter = 5}, &info), PC_E_PRESENCE);
    assert_int_equal(made(SK_EC, "ssh:", (struct forge_how){.flags = 0xbe, .counter = 5}, &info), PC_E_PRESENCE);
    assert_int_equal(info.sk_counter, 77);
    assert_int_equal(made(SK, "ssh:", (struct forge_how){.flags = 1, .counter = 5}, &info), 0);
    assert_true(info.hardware && info.user_present && !info.user_verified && info.sk_counter == 5 &&
                info.sk_flags == 1);
    assert_int_equal(made(SK_EC, "ssh:", (struct forge_how){.flags = 5, .counter = 0xfffffffe}, &info), 0);
    assert_true(info.hardware && info.user_present && info.user_verified && info.sk_counter == 0xfffffffe);
}

static void test_untouched_when_allowed(void **state)
{
    (void)state;
    struct forge_key key = forge_key(SK, "ssh:", 0);
    struct pc_buf raw _buf_free_ = forge_sign(&key, &(struct forge_how){.ns = NS, .hash = "sha256"}, MSG, strlen(MSG));
    _free_ char *text = forge_armour(raw.data, raw.len);
    struct pc_sshkey *k = parsed(&key);
    struct pc_sshsig *sig;
    struct pc_sshsig_info info;
    uint8_t digest[32];
    assert_int_equal(EVP_Digest(MSG, strlen(MSG), digest, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(pc_sshsig_parse(text, strlen(text), &sig), 0);
    assert_string_equal(pc_sshsig_hash(sig), "sha256");
    assert_true(pc_sshkey_equal(pc_sshsig_signer(sig), k));
    assert_int_equal(pc_sshsig_verify_digest(sig, digest, sizeof digest, NS, k, 0, NULL), PC_E_PRESENCE);
    assert_int_equal(pc_sshsig_verify_digest(sig, digest, sizeof digest, NS, k, PC_SSHSIG_UNTOUCHED, &info), 0);
    assert_false(info.user_present);
    assert_int_equal(pc_sshsig_verify_digest(sig, digest, sizeof digest - 1, NS, k, 0, NULL), -EINVAL);
    assert_int_equal(pc_sshsig_verify_digest(sig, digest, sizeof digest, NS, NULL, 0, NULL), -EINVAL);
    pc_sshsig_free(sig);
    pc_sshkey_free(k);
    forge_key_free(&key);
}

static void test_webauthn(void **state)
{
    (void)state;
    static const struct {
        struct forge_how how;
        int want;
    } cases[] = {
        {{.flags = 0x01, .origin = "https://a"}, 0},
        {{.flags = 0x81, .origin = "https://a", .extensions = "\xa0"}, 0},
        {{.flags = 0x00, .origin = "https://a"}, PC_E_PRESENCE},
        {{.flags = 0x81, .origin = "https://a"}, PC_E_SYNTAX},
        {{.flags = 0x01, .origin = "https://a", .extensions = "\xa0"}, PC_E_SYNTAX},
        {{.flags = 0x41, .origin = "https://a"}, PC_E_SYNTAX},
        {{.flags = 0x01, .origin = "https://a\",\"challenge\":\""}, PC_E_SYNTAX},
        {{.flags = 0x01, .origin = "https://a", .client = "{\"type\":\"webauthn.get\",\"challenge\":\"AAAA\"}"},
         PC_E_SIGNATURE},
        {{.flags = 0x01, .origin = "https://a", .client = ""}, PC_E_SIGNATURE},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        struct pc_sshsig_info info = {0};
        assert_int_equal(made(SK_EC, "a", cases[i].how, &info), cases[i].want);
        assert_int_equal(info.webauthn, cases[i].want == 0);
    }
}

/* --- one field changed ------------------------------------------------------------------------------------------- */

struct change {
    const char *field;
    const void *bytes; /* NULL: left as it is */
    size_t len;
    const char *more; /* appended, with more_len bytes */
    size_t more_len;
    int want;
};

static int after(const struct forge_key *key, const struct pc_buf *raw, const struct change *change)
{
    struct pc_buf out _buf_free_;
    struct field *all = fields_of(raw->data, raw->len), *f = fields_find(all, change->field);
    pc_buf_init(&out, 65536);
    assert_non_null(f);
    struct pc_buf bytes _buf_free_;
    pc_buf_init(&bytes, 65536);
    pc_buf_add(&bytes, change->bytes ? change->bytes : f->bytes, change->bytes ? change->len : f->len);
    pc_buf_add(&bytes, change->more, change->more_len);
    free(f->bytes);
    f->bytes = malloc(bytes.len + 1);
    assert_non_null(f->bytes);
    memcpy(f->bytes, bytes.data, bytes.len);
    f->len = bytes.len;
    fields_write(all, &out);
    fields_free(all);
    return verify_raw(key, &out, NULL);
}

#define SET(name, text, result)                                                     \
    {                                                                               \
        .field = (name), .bytes = (text), .len = sizeof(text) - 1, .want = (result) \
    }
#define ADD(name, text, result)                                                         \
    {                                                                                   \
        .field = (name), .more = (text), .more_len = sizeof(text) - 1, .want = (result) \
    }

static void check_changes(const char *type, const char *application, const struct change *changes, size_t n)
{
    struct forge_key key = forge_key(type, application, PC_SSHKEY_RSA_MIN_BITS);
    struct pc_buf raw _buf_free_ =
        forge_sign(&key, &(struct forge_how){.ns = NS, .hash = "sha512", .flags = 1}, MSG, strlen(MSG));
    for (size_t i = 0; i < n; i++) {
        int got = after(&key, &raw, &changes[i]);
        if (got != changes[i].want)
            fail_msg("%s: change %zu of %s: %s, not %s", type, i, changes[i].field, pc_strerror(got),
                     pc_strerror(changes[i].want));
    }
    forge_key_free(&key);
}

static void test_fields(void **state)
{
    (void)state;
    static const struct change changes[] = {
        SET("magic", "SSHSIH", PC_E_SYNTAX),
        SET("version", "\0\0\0\0", 0), /* as OpenSSH: only later ones are refused */
        SET("version", "\0\0\0\2", PC_E_UNSUPPORTED),
        SET("namespace", "", PC_E_NAMESPACE),
        SET("namespace", "file", PC_E_NAMESPACE),
        SET("namespace", NS "\0", 0),
        SET("namespace", NS "\0\0", PC_E_SYNTAX),
        SET("namespace", NS "\0x", PC_E_SYNTAX),
        SET("reserved", "ignored", 0), /* PROTOCOL.sshsig; it is not among what is signed */
        SET("hash", "sha256", PC_E_SIGNATURE),
        SET("hash", "sha512\0", 0),
        SET("hash", "SHA512", PC_E_UNSUPPORTED),
        SET("hash", "sha1", PC_E_UNSUPPORTED),
        SET("hash", "", PC_E_UNSUPPORTED),
        SET("key type", "ED25519", 0), /* OpenSSH's own short name */
        SET("key type", "ssh-rsa", PC_E_SYNTAX),
        SET("key type", "ssh-dss", PC_E_UNSUPPORTED),
        SET("key type", "ssh-ed25519-cert-v01@openssh.com", PC_E_UNSUPPORTED),
        SET("key type", "", PC_E_SYNTAX),
        ADD("key number 1", "x", PC_E_SYNTAX),
        SET("signature type", "ssh-rsa", PC_E_SYNTAX),
        SET("signature type", "ED25519", PC_E_SYNTAX),
        SET("signature type", "ssh-ed25519\0", 0),
        SET("signature bytes", "", PC_E_SYNTAX),
        ADD("signature bytes", "x", PC_E_SYNTAX),
    };
    check_changes("ssh-ed25519", NULL, changes, PC_ARRAY_SIZE(changes));
}

static void test_fields_of_hardware_keys(void **state)
{
    (void)state;
    static const struct change changes[] = {
        SET("flags", "\5", PC_E_SIGNATURE), /* the flags are signed */
        SET("counter", "\0\0\0\1", PC_E_SIGNATURE),
        ADD("counter", "x", PC_E_TRAILING),
        SET("key number 2", "ssh:x", PC_E_KEY),
        SET("key number 2", "ssh:\0", 0),
        SET("signature type", "ssh-ed25519", PC_E_SYNTAX),
    };
    check_changes(SK, "ssh:", changes, PC_ARRAY_SIZE(changes));
}

static void test_fields_of_ecdsa(void **state)
{
    (void)state;
    static const struct change changes[] = {
        SET("r", "", PC_E_SIGNATURE),
        SET("s", "", PC_E_SIGNATURE),
        SET("r", "\x81", PC_E_SYNTAX), /* negative */
        ADD("s", "x", PC_E_SIGNATURE),
        SET("key type", "ECDSA", PC_E_UNSUPPORTED), /* no short name: OpenSSH needs the curve's */
        SET("key number 1", "nistp384", PC_E_SYNTAX),
        ADD("key number 2", "x", PC_E_SYNTAX),
    };
    check_changes("ecdsa-sha2-nistp256", NULL, changes, PC_ARRAY_SIZE(changes));
}

static void test_bytes_after_the_end(void **state)
{
    (void)state;
    struct forge_key key = forge_key("ssh-ed25519", NULL, 0);
    struct pc_buf raw _buf_free_ = forge_sign(&key, &(struct forge_how){.ns = NS, .hash = "sha512"}, MSG, strlen(MSG));
    assert_int_equal(verify_raw(&key, &raw, NULL), 0);
    for (size_t len = 0; len < raw.len; len++) {
        struct pc_buf cut = {.data = raw.data, .len = len};
        int r = verify_raw(&key, &cut, NULL);
        assert_int_equal(r, PC_E_SYNTAX);
    }
    pc_buf_add(&raw, "", 1);
    assert_int_equal(verify_raw(&key, &raw, NULL), PC_E_TRAILING);
    forge_key_free(&key);
}

/* --- armour ------------------------------------------------------------------------------------------------------- */

#define BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define END "\n-----END SSH SIGNATURE-----"

static void test_armour(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
        int want;
    } cases[] = {
        {BEGIN, END, 0},
        {BEGIN, END "\n", 0},
        {BEGIN, END "anything, as in OpenSSH", 0},
        {BEGIN " \t\r\n\v\f", "\n\n" END, 0},
        {"\n" BEGIN, END, PC_E_SYNTAX},
        {" " BEGIN, END, PC_E_SYNTAX},
        {"-----BEGIN SSH SIGNATURE-----\r\n", END, PC_E_SYNTAX},
        {"-----BEGIN SSH SIGNATURE-----", END, PC_E_SYNTAX},
        {"-----BEGIN PGP SIGNATURE-----\n", END, PC_E_SYNTAX},
        {"", END, PC_E_SYNTAX},
        {BEGIN, "", PC_E_SYNTAX},
        {BEGIN, "-----END SSH SIGNATURE-----", PC_E_SYNTAX},
        {BEGIN, "\n----END SSH SIGNATURE-----", PC_E_SYNTAX},
        {BEGIN "!", END, PC_E_SYNTAX},
        {BEGIN, "=" END, PC_E_SYNTAX},
        {BEGIN, "A" END, PC_E_SYNTAX},
    };
    struct forge_key key = forge_key("ssh-ed25519", NULL, 0);
    struct pc_buf raw _buf_free_ = forge_sign(&key, &(struct forge_how){.ns = NS, .hash = "sha512"}, MSG, strlen(MSG));
    struct pc_sshkey *k = parsed(&key);
    _free_ char *whole = forge_armour(raw.data, raw.len);
    char *base64 = whole + strlen(BEGIN);
    *strstr(base64, END) = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        struct pc_buf text _buf_free_;
        pc_buf_init(&text, 65536);
        pc_buf_addf(&text, "%s%s%s", cases[i].before, base64, cases[i].after);
        int r = pc_sshsig_verify(text.data, text.len, MSG, strlen(MSG), NS, k, NULL);
        if (r != cases[i].want)
            fail_msg("case %zu: %s, not %s", i, pc_strerror(r), pc_strerror(cases[i].want));
    }
    pc_sshkey_free(k);
    forge_key_free(&key);
}

static void test_size_limit(void **state)
{
    (void)state;
    _free_ char *text = calloc(1, PC_SSHSIG_ARMOUR_MAX + 1);
    struct pc_sshkey *key = NULL;
    char algorithm[PC_SSHSIG_ALGORITHM_SIZE];
    assert_non_null(text);
    assert_int_equal(pc_sshsig_key(text, PC_SSHSIG_ARMOUR_MAX + 1, &key), PC_E_LIMIT);
    assert_int_equal(pc_sshsig_key(text, PC_SSHSIG_ARMOUR_MAX, &key), PC_E_SYNTAX);
    assert_int_equal(pc_sshsig_key("", 0, &key), PC_E_SYNTAX);
    assert_int_equal(pc_sshsig_algorithm(text, PC_SSHSIG_ARMOUR_MAX + 1, algorithm), PC_E_LIMIT);
    assert_null(key);
}

/* The name in a message must not carry anything to the terminal. */
static void test_algorithm_is_printable(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int want;
    } cases[] = {{"ssh-new@example.org", 0},
                 {"", PC_E_SYNTAX},
                 {"a b", PC_E_SYNTAX},
                 {"\x1b[2J", PC_E_SYNTAX},
                 {"caf\xc3\xa9", PC_E_SYNTAX},
                 {"a-name-of-sixty-four-bytes-is-one-too-long-for-the-room-there-is", PC_E_SYNTAX}};
    struct forge_key key = forge_key("ssh-ed25519", NULL, 0);
    struct pc_buf raw _buf_free_ = forge_sign(&key, &(struct forge_how){.ns = NS, .hash = "sha512"}, MSG, strlen(MSG));
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        char algorithm[PC_SSHSIG_ALGORITHM_SIZE] = "untouched";
        struct field *all = fields_of(raw.data, raw.len), *type = fields_find(all, "key type");
        struct pc_buf out _buf_free_;
        pc_buf_init(&out, 65536);
        free(type->bytes);
        type->bytes = (uint8_t *)strdup(cases[i].name);
        type->len = strlen(cases[i].name);
        fields_write(all, &out);
        fields_free(all);
        _free_ char *text = forge_armour(out.data, out.len);
        assert_int_equal(pc_sshsig_algorithm(text, strlen(text), algorithm), cases[i].want);
        assert_string_equal(algorithm, cases[i].want ? "untouched" : cases[i].name);
    }
    forge_key_free(&key);
}

/* A failure leaves nothing in libcrypto's error queue, where TLS code of the same thread would find it. */
static void test_error_queue_stays_empty(void **state)
{
    (void)state;
    static const struct change wrong =
        SET("signature bytes", "0123456789012345678901234567890123456789012345678901234567890123", PC_E_SIGNATURE);
    ERR_clear_error();
    check_changes("ssh-ed25519", NULL, &wrong, 1);
    static const struct change off_curve = SET("r", "\1", PC_E_SIGNATURE);
    check_changes("ecdsa-sha2-nistp256", NULL, &off_curve, 1);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_rsa_with_sha1_is_unsupported),
        cmocka_unit_test(test_touch),
        cmocka_unit_test(test_untouched_when_allowed),
        cmocka_unit_test(test_webauthn),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields_of_hardware_keys),
        cmocka_unit_test(test_fields_of_ecdsa),
        cmocka_unit_test(test_bytes_after_the_end),
        cmocka_unit_test(test_armour),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_algorithm_is_printable),
        cmocka_unit_test(test_error_queue_stays_empty),
    };
    return cmocka_run_group_tests_name("sshsig", tests, NULL, NULL);
}
