/*
 * Signed notes and their keys. Known answers: the key, text and signature of golang.org/x/mod/sumdb/note's tests, the
 * example of C2SP signed-note, and a cosignature made by sigsum-go.
 */
#include "base/err.h"
#include "trust/note.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DASH "\xe2\x80\x94 "
static const char peter_public[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static const char peter_secret[] = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
static const char enoch_public[] = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
#define GO_TEXT "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
#define PETER_LINE                                                                                                     \
    DASH "PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
#define ENOCH_LINE                                                                                                     \
    DASH "EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
static const char go_note[] = GO_TEXT "\n" PETER_LINE ENOCH_LINE;

static struct pc_vkey vkey(const char *text)
{
    struct pc_vkey k;
    assert_int_equal(pc_vkey_parse(text, &k), 0);
    return k;
}

static struct pc_note parsed(const char *text)
{
    struct pc_note n;
    assert_int_equal(pc_note_parse(text, strlen(text), &n), 0);
    return n;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void keys(void **state)
{
    (void)state;
    char text[PC_NOTE_KEY_TEXT_MAX];
    struct pc_vkey pub = vkey(peter_public);
    assert_string_equal(pub.name, "PeterNeumann");
    assert_int_equal(pub.id, 0xc74f20a3);
    assert_int_equal(pub.alg, PC_SIG_ED25519);
    assert_int_equal(pc_vkey_format(&pub, text, sizeof text), sizeof peter_public - 1);
    assert_string_equal(text, peter_public);
    assert_int_equal(pc_vkey_format(&pub, text, sizeof peter_public - 1), PC_E_LIMIT);

    struct pc_skey secret;
    assert_int_equal(pc_skey_parse(peter_secret, &secret), 0);
    assert_memory_equal(secret.pub.key, pub.key, 32);
    assert_int_equal(secret.pub.id, pub.id);
    assert_int_equal(pc_skey_format(&secret, text, sizeof text), sizeof peter_secret - 1);
    assert_string_equal(text, peter_secret);
    /* The example of C2SP signed-note, and the Go checksum database. */
    assert_int_equal(vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").id, 0x530d903a);
    assert_int_equal(vkey("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").id, 0x033de0ae);
}

static void the_longest_key_fits(void **state)
{
    (void)state;
    char name[PC_NOTE_NAME_MAX + 2], text[PC_NOTE_KEY_TEXT_MAX];
    struct pc_skey k, again;
    memset(name, 'n', sizeof name);
    name[PC_NOTE_NAME_MAX + 1] = 0;
    assert_int_equal(pc_skey_make(name, PC_SIG_ED25519, (const uint8_t[32]){1}, &k), PC_E_SYNTAX);
    name[PC_NOTE_NAME_MAX] = 0;
    assert_int_equal(pc_skey_make(name, PC_SIG_ED25519, (const uint8_t[32]){1}, &k), 0);
    assert_true(pc_skey_format(&k, text, sizeof text) > 0);
    assert_int_equal(pc_skey_parse(text, &again), 0);
    assert_memory_equal(again.seed, k.seed, 32);
}

static void bad_keys(void **state)
{
    (void)state;
    struct pc_vkey k;
    struct pc_skey s;
    /* No part of a key is a key, nor is one with a changed character (Go's TestNewVerifier, TestNewSigner). */
    char text[sizeof peter_secret];
    for (size_t from = 0; from < sizeof peter_public - 1; from++) {
        for (size_t to = from; to < sizeof peter_public; to++) {
            if (from == 0 && to == sizeof peter_public - 1)
                continue;
            memcpy(text, peter_public + from, to - from);
            text[to - from] = 0;
            assert_true(pc_vkey_parse(text, &k) < 0);
        }
    }
    for (size_t i = 0; i < sizeof peter_public - 1; i++) {
        strcpy(text, peter_public);
        text[i]++;
        assert_true(pc_vkey_parse(text, &k) < 0);
    }
    for (size_t i = 0; i < sizeof peter_secret - 1; i++) {
        strcpy(text, peter_secret);
        text[i]++;
        assert_true(pc_skey_parse(text, &s) < 0);
    }
    assert_int_equal(pc_vkey_parse("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", &k),
                     PC_E_SYNTAX);
    assert_int_equal(pc_vkey_parse("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &k),
                     PC_E_UNSUPPORTED);
    assert_int_equal(pc_vkey_parse(peter_secret, &k), PC_E_SYNTAX);
    assert_int_equal(pc_skey_parse(peter_public, &s), PC_E_SYNTAX);
}

static void names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "example.com/log", "\xc3\xa9t\xc3\xa9", "\xe2\x80\x94", "a\177b"};
    static const char *const bad[] = {
        "",     "a b",  "a+b",          "a\tb",     "a\nb", "a\302\240b", "\xe2\x80\xa8", "\xe3\x80\x80",
        "\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "a\x01"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(pc_note_name_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(pc_note_name_valid(bad[i], strlen(bad[i])));
}

/* --- notes -------------------------------------------------------------------------------------------------------- */

static void published_notes(void **state)
{
    (void)state;
    struct pc_vkey peter = vkey(peter_public), enoch = vkey(enoch_public);
    struct pc_note n = parsed(go_note);
    assert_int_equal(n.text_len, strlen(GO_TEXT));
    assert_int_equal(n.n_sigs, 2);
    assert_int_equal(pc_note_verify(&n, &peter), 0);
    assert_int_equal(pc_note_verify(&n, &enoch), 0);

    struct pc_vkey foo = vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    n = parsed("This is an example message.\n\n" DASH
               "example.com/foo "
               "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n");
    assert_int_equal(pc_note_verify(&n, &foo), 0);
    assert_int_equal(pc_note_verify(&n, &peter), PC_E_NOTFOUND);
}

static void signing_gives_the_published_bytes(void **state)
{
    (void)state;
    struct pc_skey peter;
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, PC_NOTE_MAX);
    assert_int_equal(pc_skey_parse(peter_secret, &peter), 0);
    assert_int_equal(pc_note_sign(GO_TEXT, strlen(GO_TEXT), &peter, &b), 0);
    assert_string_equal(b.data, GO_TEXT "\n" PETER_LINE);
    pc_buf_reset(&b);
    assert_int_equal(pc_note_sign("no newline", 10, &peter, &b), PC_E_SYNTAX);
    assert_int_equal(pc_note_sign("", 0, &peter, &b), PC_E_SYNTAX);
    assert_int_equal(pc_note_sign("a\0b\n", 4, &peter, &b), PC_E_SYNTAX);
    assert_int_equal(pc_note_cosign("a\n", 2, &peter, 1, &b), PC_E_UNSUPPORTED);
    assert_int_equal(b.len, 0);
}

static void the_last_empty_line_ends_the_text(void **state)
{
    (void)state;
    struct pc_skey peter;
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, PC_NOTE_MAX);
    const char *text = "one\n\n" PETER_LINE "\ntwo\n\n\n";
    assert_int_equal(pc_skey_parse(peter_secret, &peter), 0);
    assert_int_equal(pc_note_sign(text, strlen(text), &peter, &b), 0);
    struct pc_note n = parsed(b.data);
    assert_int_equal(n.text_len, strlen(text));
    assert_int_equal(n.n_sigs, 1);
    assert_int_equal(pc_note_verify(&n, &peter.pub), 0);
}

static void no_bit_may_change(void **state)
{
    (void)state;
    struct pc_vkey peter = vkey(peter_public);
    char note[sizeof GO_TEXT PETER_LINE + 1];
    snprintf(note, sizeof note, "%s\n%s", GO_TEXT, PETER_LINE);
    size_t len = strlen(note);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct pc_note n;
        note[bit / 8] ^= (char)(1 << bit % 8);
        assert_true(pc_note_parse(note, len, &n) < 0 || pc_note_verify(&n, &peter) < 0);
        note[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++) {
        struct pc_note n;
        assert_true(pc_note_parse(note, cut, &n) < 0 || pc_note_verify(&n, &peter) < 0);
    }
}

static void who_counts(void **state)
{
    (void)state;
    struct pc_vkey peter = vkey(peter_public), other;
    /* Same name with another id, and same id with another name: unknown keys, ignored. */
    struct pc_note n = parsed(GO_TEXT "\n" DASH "PeterNeumann AAAAAAAA\n" DASH "Peter x08go/ZJkg==\n" PETER_LINE);
    assert_int_equal(pc_note_verify(&n, &peter), 0);
    /* A wrong line by a known key spoils the note, before or after a right one; so does one of a wrong length. */
    n = parsed(GO_TEXT "\n" DASH "PeterNeumann x08go/ZJkg==\n" PETER_LINE);
    assert_int_equal(pc_note_verify(&n, &peter), PC_E_SIGNATURE);
    n = parsed(
        GO_TEXT
        "\n" PETER_LINE DASH
        "PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAQ=\n");
    assert_int_equal(pc_note_verify(&n, &peter), PC_E_SIGNATURE);
    /* The same key for another algorithm has another id. */
    assert_int_equal(pc_vkey_make(peter.name, PC_SIG_COSIGNATURE, peter.key, &other), 0);
    n = parsed(go_note);
    assert_int_equal(pc_note_verify_cosignature(&n, &other, NULL), PC_E_NOTFOUND);
    assert_int_equal(pc_note_verify(&n, &other), PC_E_UNSUPPORTED);
    assert_int_equal(pc_note_verify_cosignature(&n, &peter, NULL), PC_E_UNSUPPORTED);
}

static void malformed_notes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        GO_TEXT PETER_LINE,
        "\n" PETER_LINE,
        GO_TEXT "\n" PETER_LINE "\n",
        GO_TEXT "\n- PeterNeumann x08go/ZJkg==\n",
        GO_TEXT "\n" DASH "x08go/ZJkg==\n",
        GO_TEXT "\n" DASH "a  x08go/ZJkg==\n",
        GO_TEXT "\n" DASH "a x08go/ZJkg== \n",
        GO_TEXT "\n" DASH "a+b x08go/ZJkg==\n",
        GO_TEXT "\n" DASH "a x08go/ZJkh==\n",
        GO_TEXT "\n" DASH "a x08goA==\n",
        GO_TEXT "\n" DASH "a x08go/ZJkg\n",
        GO_TEXT "\n" DASH "a \n",
        "te\txt\n\n" PETER_LINE,
        "te\xffxt\n\n" PETER_LINE,
        "te\rxt\n\n" PETER_LINE,
        GO_TEXT "\n" DASH "a\xc2\xa0 x08go/ZJkg==\n",
        GO_TEXT "\n" PETER_LINE "more",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pc_note n = {.n_sigs = 42};
        if (pc_note_parse(bad[i], strlen(bad[i]), &n) != PC_E_SYNTAX)
            fail_msg("note %zu was taken", i);
        assert_int_equal(n.n_sigs, 42);
    }
}

static void note_bounds(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf b;
    struct pc_note n;
    pc_buf_init(&b, PC_NOTE_MAX + 1);
    pc_buf_addf(&b, "text\n\n");
    for (int i = 0; i < PC_NOTE_SIGS_MAX; i++)
        pc_buf_addf(&b, DASH "a x08go/ZJkg==\n");
    assert_int_equal(pc_note_parse(b.data, b.len, &n), 0);
    assert_int_equal(n.n_sigs, PC_NOTE_SIGS_MAX);
    pc_buf_addf(&b, DASH "a x08go/ZJkg==\n");
    assert_int_equal(pc_note_parse(b.data, b.len, &n), PC_E_LIMIT);
    while (b.len <= PC_NOTE_MAX)
        pc_buf_add(&b, "x", 1);
    assert_int_equal(pc_note_parse(b.data, b.len, &n), PC_E_LIMIT);
}

/* --- cosignatures ------------------------------------------------------------------------------------------------- */

#define SIGSUM_TEXT "example.org/log\n10\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define SIGSUM_LINE                                                                                                    \
    DASH "example.org/witness "                                                                                        \
         "ys8uUAAAAAAAAATSftMzceM8zssdZ9jin9SjwIxzx9iADMf63VqirX2hafol9RsqNqbofIz0LVRqHXI2kpEBSki5RTXFtxz1vo9+Cg==\n"

static struct pc_skey sigsum_witness(void)
{
    struct pc_skey k;
    assert_int_equal(pc_skey_make("example.org/witness", PC_SIG_COSIGNATURE, (const uint8_t[32]){17}, &k), 0);
    return k;
}

static void a_published_cosignature(void **state)
{
    (void)state;
    struct pc_skey witness = sigsum_witness();
    int64_t time = -1;
    struct pc_note n = parsed(SIGSUM_TEXT "\n" SIGSUM_LINE);
    assert_int_equal(pc_note_verify_cosignature(&n, &witness.pub, &time), 0);
    assert_int_equal(time, 1234);
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 1024);
    assert_int_equal(pc_note_cosign(SIGSUM_TEXT, strlen(SIGSUM_TEXT), &witness, 1234, &b), 0);
    assert_string_equal(b.data, SIGSUM_LINE);
    assert_int_equal(pc_note_cosign(SIGSUM_TEXT, strlen(SIGSUM_TEXT), &witness, -1, &b), PC_E_RANGE);
    assert_int_equal(pc_note_sign(SIGSUM_TEXT, strlen(SIGSUM_TEXT), &witness, &b), PC_E_UNSUPPORTED);
}

static void the_newest_time_counts(void **state)
{
    (void)state;
    struct pc_skey witness = sigsum_witness();
    _buf_free_ struct pc_buf b;
    int64_t time = -1;
    pc_buf_init(&b, 4096);
    pc_buf_addf(&b, "%s\n", SIGSUM_TEXT);
    const int64_t times[] = {5, INT64_MAX, 0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pc_note_cosign(SIGSUM_TEXT, strlen(SIGSUM_TEXT), &witness, times[i], &b), 0);
    struct pc_note n = parsed(b.data);
    assert_int_equal(pc_note_verify_cosignature(&n, &witness.pub, &time), 0);
    assert_true(time == INT64_MAX);
}

static void no_bit_of_a_cosignature_may_change(void **state)
{
    (void)state;
    struct pc_skey witness = sigsum_witness();
    char note[] = SIGSUM_TEXT "\n" SIGSUM_LINE;
    for (size_t bit = 0; bit < 8 * strlen(SIGSUM_TEXT "\n" SIGSUM_LINE); bit++) {
        struct pc_note n;
        int64_t time = -1;
        note[bit / 8] ^= (char)(1 << bit % 8);
        assert_true(pc_note_parse(note, sizeof note - 1, &n) < 0 ||
                    pc_note_verify_cosignature(&n, &witness.pub, &time) < 0);
        assert_true(time == -1);
        note[bit / 8] ^= (char)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(the_longest_key_fits),
        cmocka_unit_test(bad_keys),
        cmocka_unit_test(names),
        cmocka_unit_test(published_notes),
        cmocka_unit_test(signing_gives_the_published_bytes),
        cmocka_unit_test(the_last_empty_line_ends_the_text),
        cmocka_unit_test(no_bit_may_change),
        cmocka_unit_test(who_counts),
        cmocka_unit_test(malformed_notes),
        cmocka_unit_test(note_bounds),
        cmocka_unit_test(a_published_cosignature),
        cmocka_unit_test(the_newest_time_counts),
        cmocka_unit_test(no_bit_of_a_cosignature_may_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
