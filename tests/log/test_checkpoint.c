/*
 * Checkpoints: their text, who must have signed, what may follow. Known answer: a checkpoint of sum.golang.org of 2025
 * and the inclusion of one module version in it, as published in transparency-dev's tlog-verify.
 */
#include "base/base64.h"
#include "base/err.h"
#include "trust/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define DASH "\xe2\x80\x94 "
#define CONST(p) ((const uint8_t(*)[PC_HASH_LEN])(p))

/* --- the Go checksum database ------------------------------------------------------------------------------------- */

static const char go_key[] = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
static const char go_note[] =
    "go.sum database tree\n58253265\nlIyLAEe4zJUQAda6pFFg3yPOf7j1SgfMEDrpgoX39JU=\n\n" DASH
    "sum.golang.org Az3grkvBHbFcpEFQ3BhGlktgB7pcswIW+ez91eWY6rNPtWfAey8bJO2rVoG2yO5zXvgiaikWVHqon+e14JhA+WXvpAY=\n";
static const char go_entry[] =
    "github.com/transparency-dev/tessera v1.0.0 h1:4OT1V9xJLa5NnYlFWWlCdZkCm18/o12rdd+bCTje7XE=\n"
    "github.com/transparency-dev/tessera v1.0.0/go.mod h1:TLvfjlkbmsmKVEJUtzO2eb9Q2IBnK3EJ0dI4G0oxEOU=\n";
static const char *const go_proof[] = {
    "Q2cuq1e21q4UC1RQ6wtmXmCxk2q3Wqz/yFvD12P2KSM=", "VdgHwjNYSv9fZVxvYzn8kySGvrjqeCnzdJqJILieWf4=",
    "ARfBpZjsj3LSP42V4xBVdCKbHVa4WXSbuFAa0rUSCVQ=", "0VYgz0Vmgz6jOM8H6edZBWHtO6+R7tPvN4EOwwRRSws=",
    "vq+ifloynXE+ORFC1wymQT0cpNIJA1tqg2mQpA55+kc=", "SCRewH6vHE1/Vwkt5yEW8xT7il0WbWltXjFIVqlGtQQ=",
    "p//fIG8jgZie4MMwjHF7quCIJ4hErr7U4at0HV34MZQ=", "D3K5YdBlxQcklrgF8vSbDyT05J5/mA9lzuhhp72uSOk=",
    "jeYlYyH9FhYGwu+ZJmfPr8GvSNdgrydwqmJgHsygoR0=", "p6RFgfGhu8Uuy0LyyZdI4MrSPOZkMe+ycwWJFfr8zTI=",
    "AMZsxrVKBPSe8nSNVVCTyTxWns0CiNbChG/FoiSJWuM=", "e+rtSmK5Pd1K5LgFwj7VSo5XJXOcq7OOcqPVZn1hqeM=",
    "expmv1e6XiGr5NMUjMRkSZijlcBx+fZcpqQmUnawhOY=", "+Wuic0YARH84k80/Q+KJIbhRCldxG8npjLFiHMLtEpo=",
    "NOMeJqlyUxFXUKYRI/1YqAF4WJBfXJr8UM/SlWGqxgY=", "Lm6+TAlLb2lvUs/3unZ2t6RSmJw8RO+WuEuUbAw3QEc=",
    "Jhh2EDG15gDBoLmLiF88lVTgd+uvx3L0xczb8Y3kSq8=", "taenaiKqtYMXS3gDzIF3q8VZzqAXqftHqL9BC39njaw=",
    "kZNKypGwEANnt1+msLINnqrIrwX+0MGZUTTKXTfbloI=", "A4NJSymjVJ5dvGPaGC3Gj04x8qVRKYfh0pP24mwd6Yk=",
    "KQq808D9W4NUgr4ip+rF/RCyAUERYKKCwKiiAJfaFOc=", "I3EVN3zM2rDjs5Q06Zr5gxhg+ksnX2h77E75uL+h3aI=",
    "7iNSYSDhMeRkeV7r9krKbKelNPiqDCJU1i6xAn/Fbuw=", "MYqdo6zSjxaAn+29EEjNRbPYm0myB3bheu+HTZIAbVY=",
    "S7olT9TPLXk+bbawbV3sAzWMmhcpWrtjbw++9ZTiyn8=", "xJ20xXM4QItt5vxFOtolZ5l18p7ej1+RimNkgWmoRFM=",
};
#define GO_PROOF (sizeof go_proof / sizeof go_proof[0])

static void a_published_log(void **state)
{
    (void)state;
    struct pc_vkey key;
    struct pc_note n;
    struct pc_checkpoint c;
    uint8_t leaf[PC_HASH_LEN], proof[GO_PROOF][PC_HASH_LEN];
    assert_int_equal(pc_vkey_parse(go_key, &key), 0);
    assert_int_equal(pc_note_parse(go_note, sizeof go_note - 1, &n), 0);
    assert_int_equal(pc_note_verify(&n, &key), 0);
    assert_int_equal(pc_checkpoint_parse(n.text, n.text_len, &c), 0);
    assert_string_equal(c.origin, "go.sum database tree");
    assert_int_equal(c.size, 58253265);
    assert_int_equal(c.time, 0);
    for (size_t i = 0; i < GO_PROOF; i++)
        assert_int_equal(pc_base64_decode(go_proof[i], strlen(go_proof[i]), 0, proof[i], PC_HASH_LEN), PC_HASH_LEN);
    pc_merkle_leaf(go_entry, sizeof go_entry - 1, leaf);
    assert_int_equal(pc_merkle_verify_inclusion(43930254, c.size, leaf, CONST(proof), GO_PROOF, c.root), 0);
    assert_int_equal(pc_merkle_verify_inclusion(43930255, c.size, leaf, CONST(proof), GO_PROOF, c.root),
                     PC_E_UNVERIFIED);
    pc_merkle_leaf(go_entry, sizeof go_entry - 2, leaf);
    assert_int_equal(pc_merkle_verify_inclusion(43930254, c.size, leaf, CONST(proof), GO_PROOF, c.root),
                     PC_E_UNVERIFIED);
    /* For pc_checkpoint_open the key's name must be the origin, which that log's is not. */
    assert_int_equal(pc_checkpoint_open(go_note, sizeof go_note - 1, &key, NULL, 0, 0, &c), PC_E_KEY);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

#define ROOT "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
#define EMPTY "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"a\n1\n" ROOT "\n", 0},
        {"a b+c\n9223372036854775807\n" ROOT "\ntime 1763750000\n", 0},
        {"a\n0\n" EMPTY "\n", 0},
        {"a\n1\n" ROOT "\nanything\nmore of it\n", 0},
        {"a\n0\n" ROOT "\n", PC_E_CORRUPT},
        {"a\n9223372036854775808\n" ROOT "\n", PC_E_RANGE},
        {"a\n99999999999999999999\n" ROOT "\n", PC_E_RANGE},
        {"a\n999999999999999999999\n" ROOT "\n", PC_E_SYNTAX},
        {"", PC_E_SYNTAX},
        {"a\n1\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT, PC_E_SYNTAX},
        {"\n1\n" ROOT "\n", PC_E_SYNTAX},
        {"a\n\n" ROOT "\n", PC_E_SYNTAX},
        {"a\n01\n" ROOT "\n", PC_E_SYNTAX},
        {"a\n+1\n" ROOT "\n", PC_E_SYNTAX},
        {"a\n 1\n" ROOT "\n", PC_E_SYNTAX},
        {"a\n1 \n" ROOT "\n", PC_E_SYNTAX},
        {"a\n1x\n" ROOT "\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT " \n", PC_E_SYNTAX},
        {"a\n1\nAAAA\n", PC_E_SYNTAX},
        {"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\n\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\ntime \n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\ntime 0\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\ntime 05\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\ntime 9223372036854775808\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\ntime 5\ntime 6\n", PC_E_SYNTAX},
        {"a\n1\n" ROOT "\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n", 0},
        {"a\n1\n" ROOT "\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n", PC_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pc_checkpoint c = {.size = 42};
        int r = pc_checkpoint_parse(cases[i].text, strlen(cases[i].text), &c);
        if (r != cases[i].error)
            fail_msg("case %zu: %d, wanted %d", i, r, cases[i].error);
        assert_true(r == 0 ? c.size != 42 : c.size == 42);
    }
    char text[PC_CHECKPOINT_ORIGIN_MAX + 100];
    struct pc_checkpoint c;
    memset(text, 'o', PC_CHECKPOINT_ORIGIN_MAX + 1);
    strcpy(text + PC_CHECKPOINT_ORIGIN_MAX, "\n1\n" ROOT "\n");
    assert_int_equal(pc_checkpoint_parse(text, strlen(text), &c), 0);
    strcpy(text + PC_CHECKPOINT_ORIGIN_MAX, "o\n1\n" ROOT "\n");
    assert_int_equal(pc_checkpoint_parse(text, strlen(text), &c), PC_E_LIMIT);
}

static void what_is_printed_is_read(void **state)
{
    (void)state;
    struct pc_checkpoint c = {.origin = "portcullis.example/log", .size = 7, .time = 1763750000}, again;
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 4096);
    memset(c.root, 0x5a, sizeof c.root);
    assert_int_equal(pc_checkpoint_format(&c, &b), 0);
    assert_string_equal(b.data,
                        "portcullis.example/log\n7\nWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=\ntime 1763750000\n");
    assert_int_equal(pc_checkpoint_parse(b.data, b.len, &again), 0);
    assert_memory_equal(&again, &c, sizeof c);
    c.time = 0;
    pc_buf_reset(&b);
    assert_int_equal(pc_checkpoint_format(&c, &b), 0);
    assert_int_equal(pc_checkpoint_parse(b.data, b.len, &again), 0);
    assert_int_equal(again.time, 0);
    c.size = 0;
    assert_int_equal(pc_checkpoint_format(&c, &b), PC_E_SYNTAX);
}

/* --- who signed --------------------------------------------------------------------------------------------------- */

#define ORIGIN "log.example/fleet"
struct parties {
    struct pc_skey log, witness[3];
    struct pc_vkey keys[3];
    struct pc_buf note;
};

static int setup(void **state)
{
    static struct parties p;
    uint8_t seed[32] = {1};
    assert_int_equal(pc_skey_make(ORIGIN, PC_SIG_ED25519, seed, &p.log), 0);
    for (int i = 0; i < 3; i++) {
        const char name[] = {'w', (char)('0' + i), 0};
        seed[0] = (uint8_t)(10 + i);
        assert_int_equal(pc_skey_make(name, PC_SIG_COSIGNATURE, seed, &p.witness[i]), 0);
        p.keys[i] = p.witness[i].pub;
    }
    pc_buf_init(&p.note, PC_NOTE_MAX);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    pc_buf_free(&((struct parties *)*state)->note);
    return 0;
}

#define TEXT ORIGIN "\n1\n" ROOT "\ntime 99\n"

/* A note of TEXT by the log, cosigned by the witnesses whose bits are set. */
static void make_note(struct parties *p, unsigned witnesses)
{
    pc_buf_reset(&p->note);
    assert_int_equal(pc_note_sign(TEXT, strlen(TEXT), &p->log, &p->note), 0);
    for (int i = 0; i < 3; i++)
        if (witnesses >> i & 1)
            assert_int_equal(pc_note_cosign(TEXT, strlen(TEXT), &p->witness[i], 100, &p->note), 0);
}

static int opened(const struct parties *p, size_t n_witnesses, unsigned needed)
{
    struct pc_checkpoint c = {.size = 42};
    int r = pc_checkpoint_open(p->note.data, p->note.len, &p->log.pub, p->keys, n_witnesses, needed, &c);
    if (r < 0)
        assert_int_equal(c.size, 42);
    else
        assert_true(c.size == 1 && c.time == 99);
    return r;
}

static void witnesses_are_counted(void **state)
{
    struct parties *p = *state;
    for (unsigned set = 0; set < 8; set++) {
        make_note(p, set);
        for (unsigned needed = 0; needed <= 4; needed++)
            assert_int_equal(opened(p, 3, needed), (unsigned)__builtin_popcount(set) >= needed ? 0 : PC_E_REFUSED);
    }
    make_note(p, 7);
    assert_int_equal(opened(p, 2, 3), PC_E_REFUSED);
}

static void a_witness_counts_once(void **state)
{
    struct parties *p = *state;
    const struct pc_vkey keep = p->keys[1];
    /* Signed twice. */
    make_note(p, 1);
    assert_int_equal(pc_note_cosign(TEXT, strlen(TEXT), &p->witness[0], 101, &p->note), 0);
    assert_int_equal(opened(p, 3, 1), 0);
    assert_int_equal(opened(p, 3, 2), PC_E_REFUSED);
    /* Listed twice. */
    p->keys[1] = p->keys[0];
    assert_int_equal(opened(p, 3, 2), PC_E_REFUSED);
    /* The same key under another name. */
    struct pc_skey alias;
    assert_int_equal(pc_skey_make("alias", PC_SIG_COSIGNATURE, p->witness[0].seed, &alias), 0);
    p->keys[1] = alias.pub;
    assert_int_equal(pc_note_cosign(TEXT, strlen(TEXT), &alias, 102, &p->note), 0);
    assert_int_equal(opened(p, 3, 2), PC_E_REFUSED);
    /* The log as its own witness. */
    assert_int_equal(pc_skey_make("w1", PC_SIG_COSIGNATURE, p->log.seed, &alias), 0);
    p->keys[1] = alias.pub;
    make_note(p, 1);
    assert_int_equal(pc_note_cosign(TEXT, strlen(TEXT), &alias, 102, &p->note), 0);
    assert_int_equal(opened(p, 3, 2), PC_E_REFUSED);
    p->keys[1] = keep;
}

static void wrong_signatures_spoil_it(void **state)
{
    struct parties *p = *state;
    struct pc_skey impostor;
    uint8_t seed[32] = {99};
    /* A witness's line over another text. */
    make_note(p, 3);
    assert_int_equal(pc_note_cosign("other\n", 6, &p->witness[2], 100, &p->note), 0);
    assert_int_equal(opened(p, 3, 2), PC_E_SIGNATURE);
    assert_int_equal(opened(p, 2, 2), 0);
    /* Another key with the log's name: another id, so unknown. */
    assert_int_equal(pc_skey_make(ORIGIN, PC_SIG_ED25519, seed, &impostor), 0);
    pc_buf_reset(&p->note);
    assert_int_equal(pc_note_sign(TEXT, strlen(TEXT), &impostor, &p->note), 0);
    assert_int_equal(opened(p, 3, 0), PC_E_NOTFOUND);
    /* The same with the log's id written over its own. */
    impostor.pub.id = p->log.pub.id;
    pc_buf_reset(&p->note);
    assert_int_equal(pc_note_sign(TEXT, strlen(TEXT), &impostor, &p->note), 0);
    assert_int_equal(opened(p, 3, 0), PC_E_SIGNATURE);
    /* Signed by the log, but the text is another log's checkpoint, or none. */
    const char *other = "log.example/other\n1\n" ROOT "\n";
    pc_buf_reset(&p->note);
    assert_int_equal(pc_note_sign(other, strlen(other), &p->log, &p->note), 0);
    assert_int_equal(opened(p, 3, 0), PC_E_KEY);
    pc_buf_reset(&p->note);
    assert_int_equal(pc_note_sign("hello\n", 6, &p->log, &p->note), 0);
    assert_int_equal(opened(p, 3, 0), PC_E_SYNTAX);
    /* A witness that is listed with the wrong kind of key is an error, not a missing witness. */
    make_note(p, 7);
    p->keys[2].alg = PC_SIG_ED25519;
    assert_int_equal(opened(p, 3, 2), PC_E_UNSUPPORTED);
    p->keys[2].alg = PC_SIG_COSIGNATURE;
}

/* --- what may follow ---------------------------------------------------------------------------------------------- */

static void what_follows(void **state)
{
    (void)state;
    struct pc_checkpoint none = {0}, one = {.origin = ORIGIN, .size = 1}, two = {.origin = ORIGIN, .size = 2}, other;
    uint8_t leaf2[1][PC_HASH_LEN];
    pc_merkle_leaf("1", 1, one.root);
    pc_merkle_leaf("2", 1, leaf2[0]);
    pc_merkle_node(one.root, leaf2[0], two.root);
    assert_int_equal(pc_checkpoint_follows(&none, &two, NULL, 0), 0);
    assert_int_equal(pc_checkpoint_follows(&none, &two, CONST(leaf2), 1), PC_E_SYNTAX);
    assert_int_equal(pc_checkpoint_follows(&one, &one, NULL, 0), 0);
    assert_int_equal(pc_checkpoint_follows(&one, &two, CONST(leaf2), 1), 0);
    assert_int_equal(pc_checkpoint_follows(&one, &two, NULL, 0), PC_E_SYNTAX);
    assert_int_equal(pc_checkpoint_follows(&two, &one, CONST(leaf2), 1), PC_E_CHANGED);
    assert_int_equal(pc_checkpoint_follows(&two, &none, NULL, 0), PC_E_KEY);
    other = one;
    other.root[31] ^= 1;
    assert_int_equal(pc_checkpoint_follows(&one, &other, NULL, 0), PC_E_CHANGED);
    assert_int_equal(pc_checkpoint_follows(&other, &two, CONST(leaf2), 1), PC_E_CHANGED);
    other = two;
    strcpy(other.origin, "log.example/other");
    assert_int_equal(pc_checkpoint_follows(&one, &other, CONST(leaf2), 1), PC_E_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_published_log),
        cmocka_unit_test(texts),
        cmocka_unit_test(what_is_printed_is_read),
        cmocka_unit_test_setup_teardown(witnesses_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_witness_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_signatures_spoil_it, setup, teardown),
        cmocka_unit_test(what_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
