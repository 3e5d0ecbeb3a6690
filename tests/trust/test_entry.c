/* The log's entries of what owners signed, and of halts: what is written is read again, and nothing else is taken for it. */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "fleet.h"
#include "trust/entry.h"
#include "trust/tile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* An order with this much script in it, signed by two owners. */
struct given {
    struct fleet f;
    struct pc_order o;
    struct pc_envelope e;
};

static void given_make(struct given *g, size_t script_len)
{
    static const uint8_t script[60000];
    char sha256[PC_SHA256_HEX + 1];
    size_t len;
    fleet_make(&g->f);
    json_t *doc = fleet_order(&g->f);
    pc_sha256_text(script, script_len, sha256);
    json_object_set_new(doc, "action", json_string("script.run"));
    json_object_set_new(doc, "params",
                        json_pack("{s:o, s:s, s:[s], s:i, s:i}", "script", pc_json_base64_new(script, script_len),
                                  "sha256", sha256, "interpreter", "/bin/sh", "timeout", 60, "output", 0));
    _free_ char *text = fleet_text(doc, &len);
    json_decref(doc);
    assert_int_equal(pc_order_parse(text, len, &g->o, NULL, 0), PC_CHECK_OK);
    fleet_envelope(&g->f, PC_NS_ORDER, text, len, (int[]){ANN, BOB, -1}, &g->e);
}

static void given_free(struct given *g)
{
    pc_envelope_clear(&g->e);
    pc_order_clear(&g->o);
    fleet_free(&g->f);
}

/* An entry's text, read. The result of pc_entry_signed_read. */
static int read_signed(const char *text, size_t len, struct pc_entry_signed *out)
{
    struct pc_entry e;
    void *root;
    char why[200];
    assert_int_equal(pc_entry_parse(text, len, &e, &root, why, sizeof why), 0);
    int r = pc_entry_signed_read(&e, out, why, sizeof why);
    assert_true((r == 0) == (*why == 0));
    json_decref(root);
    return r;
}

static void same(const struct pc_entry_signed *s, const struct pc_envelope *e)
{
    assert_true(s->has_document && s->has_texts);
    assert_int_equal(s->n, e->signatures);
    assert_int_equal(s->e.len, e->len);
    assert_memory_equal(s->e.document, e->document, e->len);
    for (uint32_t i = 0; i < e->signatures; i++)
        assert_string_equal(s->e.signature[i].text, e->signature[i].text);
}

static void test_all_in_the_entry(void **state)
{
    (void)state;
    struct given g;
    struct pc_entry_signed s;
    char *entry;
    size_t len;
    given_make(&g, 100);
    assert_int_equal(pc_entry_order(&g.o, &g.e, NOW, &entry, &len), 0);
    assert_int_equal(read_signed(entry, len, &s), 0);
    assert_string_equal(s.sha256, g.o.sha256);
    assert_string_equal(s.id, g.o.id);
    same(&s, &g.e);
    pc_entry_signed_clear(&s);
    free(entry);
    assert_int_equal(pc_entry_owners("acme", "trust", &g.e, NOW, &entry, &len), 0);
    assert_int_equal(read_signed(entry, len, &s), 0);
    assert_string_equal(s.id, "");
    same(&s, &g.e);
    pc_entry_signed_clear(&s);
    free(entry);
    given_free(&g);
}

/* Puts the parts together, each through its entry. */
static char *through_parts(const struct pc_envelope *e, size_t *len)
{
    char *whole, *again = NULL;
    size_t whole_len, at = 0;
    assert_int_equal(pc_envelope_format(e, &whole, &whole_len), 0);
    uint32_t parts = pc_entry_parts(whole_len);
    assert_true(parts > 1);
    again = malloc(whole_len + 1);
    for (uint32_t i = 0; i < parts; i++) {
        struct pc_entry_piece piece;
        struct pc_entry entry;
        void *root;
        char *text;
        size_t text_len;
        assert_int_equal(pc_entry_part("acme", e->sha256, whole, whole_len, i, NOW, &text, &text_len), 0);
        assert_true(text_len <= PC_ENTRY_MAX);
        assert_int_equal(pc_entry_parse(text, text_len, &entry, &root, NULL, 0), 0);
        assert_string_equal(entry.type, "part");
        assert_int_equal(pc_entry_part_read(&entry, &piece, NULL, 0), 0);
        assert_true(piece.part == i && piece.parts == parts && at + piece.len <= whole_len);
        memcpy(again + at, piece.data, piece.len);
        at += piece.len;
        free(piece.data);
        json_decref(root);
        free(text);
    }
    assert_true(at == whole_len && memcmp(again, whole, at) == 0);
    free(whole);
    *len = at;
    return again;
}

static void test_in_parts(void **state)
{
    (void)state;
    struct given g;
    struct pc_entry_signed s;
    struct pc_envelope whole, other;
    char *entry;
    size_t len, text_len;
    given_make(&g, 44000);
    assert_int_equal(pc_entry_order(&g.o, &g.e, NOW, &entry, &len), 1);
    assert_int_equal(read_signed(entry, len, &s), 0);
    assert_false(s.has_document || s.has_texts);
    _free_ char *text = through_parts(&g.e, &text_len);
    assert_int_equal(pc_envelope_parse(text, text_len, &whole), 0);
    /* Not all that it names, then another document, then all of it and one more. */
    assert_int_equal(pc_envelope_make(whole.document, whole.len, &other), 0);
    assert_int_equal(pc_envelope_add(&other, whole.signature[1].text, whole.signature[1].len), 0);
    assert_int_equal(pc_entry_signed_fill(&s, &other), PC_E_NOTFOUND);
    assert_false(s.has_document);
    pc_envelope_clear(&other);
    assert_int_equal(pc_envelope_make("{}", 2, &other), 0);
    assert_int_equal(pc_entry_signed_fill(&s, &other), PC_E_NOTFOUND);
    pc_envelope_clear(&other);
    assert_int_equal(pc_envelope_add(&whole, "another", 7), 0);
    assert_int_equal(pc_entry_signed_fill(&s, &whole), 0);
    same(&s, &g.e);
    pc_envelope_clear(&whole);
    pc_entry_signed_clear(&s);
    free(entry);
    given_free(&g);
}

/* Any envelope of ours comes in parts that an auditor takes. */
static void test_how_many_parts(void **state)
{
    (void)state;
    assert_int_equal(pc_entry_parts(1), 1);
    assert_int_equal(pc_entry_parts(PC_PART_BYTES), 1);
    assert_int_equal(pc_entry_parts(PC_PART_BYTES + 1), 2);
    assert_int_equal(pc_entry_parts(PC_PARTS_MAX * PC_PART_BYTES), PC_PARTS_MAX);
    assert_int_equal(pc_entry_parts(PC_PARTS_MAX * PC_PART_BYTES + 1), 0);
    /* the longest: every byte of a signature escaped as six */
    size_t longest = (size_t)PC_TRUST_DOCUMENT_MAX * 4 / 3 + PC_SIGNATURES_MAX * (6 * PC_SIGNATURE_TEXT_MAX + 4) + 100;
    assert_true(pc_entry_parts(longest) > 0);
}

static void test_what_it_does_not_hold(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"sha256\":\"%s\",\"signatures\":[],\"document\":\"AAAA\"}",
        "{\"sha256\":\"%s\",\"signatures\":[\"%s\"],\"document\":\"e30=\",\"texts\":[\"x\"]}",
        "{\"sha256\":\"%s\",\"signatures\":[\"%s\"],\"document\":\"e30=\",\"texts\":[]}",
        "{\"sha256\":\"%s\",\"signatures\":[\"%s\"],\"texts\":[\"y\"]}",
        "{\"sha256\":\"%s\",\"signatures\":[\"%s\",\"%s\"]}",
        "{\"sha256\":\"%s\",\"signatures\":[1]}",
        "{\"sha256\":\"%s\",\"signatures\":[],\"texts\":[1]}",
    };
    char sha[PC_SHA256_HEX + 1], text[1200];
    struct pc_entry_signed s;
    pc_sha256_text("{}", 2, sha);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "{\"portcullis\":\"entry/1\",\"tenant\":\"acme\",\"type\":\"revoke\",\"time\":\"2026-11-21T18:00:00Z\",\"body\":");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        n += (size_t)snprintf(text + n, sizeof text - n, bad[i], sha, sha, sha);
#pragma GCC diagnostic pop
        n += (size_t)snprintf(text + n, sizeof text - n, "}");
        assert_int_equal(read_signed(text, n, &s), PC_E_SYNTAX);
    }
}

static void test_halt(void **state)
{
    (void)state;
    struct pc_entry_halt h = {.run = 3, .ring = 1, .failures = 600, .incidents = 2, .n = PC_HALT_REPORTS_MAX}, again;
    struct pc_entry e;
    void *root;
    char *text;
    size_t len;
    memset(h.order_sha256, 'a', PC_SHA256_HEX);
    for (uint32_t i = 0; i < h.n; i++)
        memset(h.because[i], (int)i, sizeof h.because[i]);
    assert_int_equal(pc_entry_halt("acme", &h, NOW, &text, &len), 0);
    assert_int_equal(pc_entry_parse(text, len, &e, &root, NULL, 0), 0);
    assert_int_equal(pc_entry_halt_read(&e, &again, NULL, 0), 0);
    assert_memory_equal(&h, &again, sizeof h);
    json_array_set_new(json_object_get(e.body, "because"), 7, json_string("zz"));
    assert_int_equal(pc_entry_halt_read(&e, &again, NULL, 0), PC_E_SYNTAX);
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_in_the_entry),      cmocka_unit_test(test_in_parts), cmocka_unit_test(test_how_many_parts),
        cmocka_unit_test(test_what_it_does_not_hold), cmocka_unit_test(test_halt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
