/* The trust file: each rule of PROTOCOL 1.3 broken once; replacement; revocation; the server statement. */
#include "base/cleanup.h"
#include "base/err.h"
#include "fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SET(object, key, value) assert_int_equal(json_object_set_new(object, key, value), 0)

static json_t *owner(json_t *t, enum owner who)
{
    return json_array_get(json_object_get(t, "owners"), who);
}
static json_t *key_of(struct fleet *f, enum owner who)
{
    _free_ char *line = forge_line(&f->owner[who]);
    return json_string(line);
}
static json_t *weak_rsa(void)
{
    struct forge_key key = forge_key("ssh-rsa", NULL, 2048);
    _free_ char *line = forge_line(&key);
    forge_key_free(&key);
    return json_string(line);
}
static json_t *vkey_of(const struct pc_skey *key)
{
    char text[PC_NOTE_KEY_TEXT_MAX];
    assert_true(pc_vkey_format(&key->pub, text, sizeof text) > 0);
    return json_string(text);
}

#define ALTER(name, ...)                                                       \
    static void name(struct fleet *f, json_t *t)                               \
    {                                                                          \
        (void)f;                                                               \
        __VA_ARGS__;                                                           \
    }
ALTER(nothing, (void)t)
ALTER(no_owners, json_array_clear(json_object_get(t, "owners")))
ALTER(name_twice, SET(owner(t, BOB), "name", json_string("ann")))
ALTER(key_twice, SET(owner(t, BOB), "key", key_of(f, ANN)))
ALTER(key_twice_with_comment, _free_ char *line = forge_line(&f->owner[ANN]);
      SET(owner(t, BOB), "key", json_sprintf("%s bob@laptop", line)))
ALTER(bad_name, SET(owner(t, BOB), "name", json_string("Bob")))
ALTER(no_key, SET(owner(t, BOB), "key", json_string("ssh-ed25519 AAAA")))
ALTER(weak_key, SET(owner(t, BOB), "key", weak_rsa()))
ALTER(soft_hardware, SET(owner(t, BOB), "hardware", json_true()))
ALTER(class_a, SET(owner(t, BOB), "classes", json_pack("[s]", "A")))
ALTER(class_twice, SET(owner(t, BOB), "classes", json_pack("[s,s]", "C", "C")))
ALTER(no_class, SET(owner(t, BOB), "classes", json_array()))
ALTER(threshold_too_high, SET(json_object_get(t, "thresholds"), "B", json_integer(4)))
ALTER(threshold_zero, SET(json_object_get(t, "thresholds"), "S", json_integer(0)))
ALTER(threshold_missing, json_object_del(json_object_get(t, "thresholds"), "B"))
ALTER(threshold_unknown, SET(json_object_get(t, "thresholds"), "A", json_integer(1)))
ALTER(lonely_c, SET(json_object_get(t, "thresholds"), "C", json_integer(1)))
ALTER(lonely_t, SET(json_object_get(t, "thresholds"), "T", json_integer(1)))
ALTER(long_dwell, SET(t, "dwell", json_integer(PC_DWELL_MAX + 1)))
ALTER(cap_zero, SET(json_object_get(t, "cap"), "C", json_integer(0)))
ALTER(cap_missing, json_object_del(json_object_get(t, "cap"), "S"))
ALTER(bad_log, SET(t, "log", json_string("log.example.org+00000000+AQAB")))
ALTER(log_is_witness_kind, SET(t, "log", vkey_of(&f->witness)))
ALTER(witness_is_log_kind, json_array_append_new(json_object_get(t, "witnesses"), vkey_of(&f->log)))
ALTER(witness_twice, json_array_append_new(json_object_get(t, "witnesses"), vkey_of(&f->witness)))
ALTER(too_many_needed, SET(t, "witnesses_needed", json_integer(3)))
ALTER(version_zero, SET(t, "version", json_integer(0)))
ALTER(short_silence, SET(t, "silence", json_integer(59)))
ALTER(unknown_key, SET(t, "also", json_true()))
ALTER(other_kind, SET(t, "portcullis", json_string("trust/2")))
static void log_as_witness(struct fleet *f, json_t *t)
{
    struct pc_skey k;
    assert_int_equal(pc_skey_make("w.example.org", PC_SIG_COSIGNATURE, f->log.seed, &k), 0);
    json_array_append_new(json_object_get(t, "witnesses"), vkey_of(&k));
}
static void one_owner(struct fleet *f, json_t *t)
{
    (void)f;
    while (json_array_size(json_object_get(t, "owners")) > 1)
        json_array_remove(json_object_get(t, "owners"), 1);
    SET(t, "thresholds", json_pack("{s:i,s:i,s:i,s:i}", "B", 1, "C", 1, "S", 1, "T", 1));
}

static const struct {
    const char *what;
    void (*alter)(struct fleet *f, json_t *t);
    const char *why; /* NULL: good */
} rows[] = {
    {"as it is", nothing, NULL},
    {"one owner alone", one_owner, NULL},
    {"no owners", no_owners, "owners"},
    {"a name twice", name_twice, "twice"},
    {"a key twice", key_twice, "same key"},
    {"a key twice, with another comment", key_twice_with_comment, "same key"},
    {"a name with capitals", bad_name, "name"},
    {"no key", no_key, "key"},
    {"an RSA key of 2048 bits", weak_key, "key"},
    {"hardware without hardware", soft_hardware, "hardware"},
    {"class A", class_a, "classes"},
    {"a class twice", class_twice, "classes"},
    {"no class", no_class, "classes"},
    {"a threshold above its holders", threshold_too_high, "threshold for B"},
    {"a threshold of 0", threshold_zero, "\"S\""},
    {"no threshold for a class", threshold_missing, "\"B\""},
    {"a threshold for class A", threshold_unknown, "\"A\""},
    {"one of several may act alone", lonely_c, "2 or more"},
    {"one of several may change the trust file", lonely_t, "2 or more"},
    {"a dwell of more than a week", long_dwell, "dwell"},
    {"a cap of 0", cap_zero, "\"C\""},
    {"no cap", cap_missing, "\"S\""},
    {"a garbled log key", bad_log, "\"log\""},
    {"a witness's key as the log's", log_is_witness_kind, "\"log\""},
    {"the log's kind of key as a witness", witness_is_log_kind, "witnesses"},
    {"the log as its own witness", log_as_witness, "own key"},
    {"a witness twice", witness_twice, "twice"},
    {"more witnesses needed than there are", too_many_needed, "witnesses_needed"},
    {"version 0", version_zero, "version"},
    {"a silence of less than a minute", short_silence, "silence"},
    {"an unknown key", unknown_key, "also"},
    {"another kind", other_kind, "trust/1"},
};

static void test_rules(void **state)
{
    (void)state;
    struct fleet f;
    fleet_make(&f);
    for (size_t i = 0; i < PC_ARRAY_SIZE(rows); i++) {
        struct pc_trust t = {.version = 4711};
        char why[300] = "";
        size_t len;
        json_t *doc = fleet_trust(&f);
        rows[i].alter(&f, doc);
        _free_ char *text = fleet_text(doc, &len);
        int r = pc_trust_parse(text, len, &t, why, sizeof why);
        if (rows[i].why ? r != PC_E_SYNTAX || t.version != 4711 || !strstr(why, rows[i].why) : r != 0)
            fail_msg("%s: %d, \"%s\"", rows[i].what, r, why);
        if (r == 0)
            pc_trust_clear(&t);
        json_decref(doc);
    }
    fleet_free(&f);
}

static void test_what_is_read(void **state)
{
    (void)state;
    struct fleet f;
    struct pc_trust t;
    fleet_make(&f);
    json_t *doc = fleet_trust(&f);
    fleet_trust_parse(doc, &t);
    assert_string_equal(t.tenant, "acme");
    assert_int_equal(t.owners, OWNERS);
    assert_int_equal(t.threshold[PC_CLASS_C], 2);
    assert_int_equal(t.cap[PC_CLASS_B], UINT32_MAX);
    assert_int_equal(t.silence, PC_SILENCE_DEFAULT);
    assert_true(t.owner[DORA].hardware && t.owner[DORA].classes == (1u << PC_CLASS_C | 1u << PC_CLASS_S));
    assert_int_equal(strncmp(t.owner[ANN].fingerprint, "SHA256:", 7), 0);
    assert_string_equal(t.log.name, "log.example.org");
    pc_trust_clear(&t);
    json_decref(doc);
    fleet_free(&f);
}

/* --- replacement ------------------------------------------------------------------------------------------------- */

/* The word for a next version with these signers. */
static const char *replace(struct fleet *f, json_t *next, const int *owners, const struct pc_revoked *revoked)
{
    struct pc_trust pinned, out = {.version = 4711};
    struct pc_envelope e;
    const char *word = "";
    size_t len;
    json_t *doc = fleet_trust(f);
    fleet_trust_parse(doc, &pinned);
    json_decref(doc);
    _free_ char *text = fleet_text(next, &len);
    fleet_envelope(f, PC_NS_TRUST, text, len, owners, &e);
    int r = pc_trust_may_replace(&pinned, revoked, &e, &out, &word);
    assert_true(r == 0 ? out.version > pinned.version : out.version == 4711);
    if (r == 0) {
        word = "";
        pc_trust_clear(&out);
    }
    pc_trust_clear(&pinned);
    pc_envelope_clear(&e);
    return word;
}

static void test_replacement(void **state)
{
    (void)state;
    static const int two[] = {ANN, BOB, -1}, one[] = {ANN, -1}, with_dora[] = {ANN, DORA, -1},
                     with_eve[] = {ANN, EVE, -1}, and_eve[] = {ANN, BOB, EVE, -1}, nobody[] = {-1};
    struct fleet f;
    struct pc_trust t;
    struct pc_revoked revoked = {0};
    fleet_make(&f);
    json_t *next = fleet_trust(&f);
    fleet_trust_parse(next, &t);
    assert_string_equal(replace(&f, next, two, NULL), "version"); /* the same again: rollback */
    SET(next, "version", json_integer(2));
    assert_string_equal(replace(&f, next, two, NULL), "version");
    SET(next, "version", json_integer(3 + PC_VERSION_STEP_MAX + 1));
    assert_string_equal(replace(&f, next, two, NULL), "version"); /* fast forward */
    SET(next, "version", json_integer(3 + PC_VERSION_STEP_MAX));
    assert_string_equal(replace(&f, next, two, NULL), "");
    SET(next, "version", json_integer(4));
    assert_string_equal(replace(&f, next, two, NULL), "");
    assert_string_equal(replace(&f, next, and_eve, NULL), ""); /* the new file's owners may have signed as well */
    assert_string_equal(replace(&f, next, one, NULL), "quorum");
    assert_string_equal(replace(&f, next, nobody, NULL), "quorum");
    assert_string_equal(replace(&f, next, with_dora, NULL), "quorum"); /* she does not hold T */
    assert_string_equal(replace(&f, next, with_eve, NULL), "quorum");
    strcpy(revoked.fingerprint[revoked.n++], t.owner[BOB].fingerprint);
    assert_string_equal(replace(&f, next, two, &revoked), "quorum");
    SET(next, "tenant", json_string("globex"));
    assert_string_equal(replace(&f, next, two, NULL), "tenant");
    SET(next, "tenant", json_string("ACME"));
    assert_string_equal(replace(&f, next, two, NULL), "syntax");
    pc_trust_clear(&t);
    json_decref(next);
    fleet_free(&f);
}

/* Owners of the next file that are not the pinned one's have no say, however many. */
static void test_takeover(void **state)
{
    (void)state;
    static const int eve[] = {EVE, -1};
    struct fleet f;
    fleet_make(&f);
    json_t *next = fleet_trust(&f);
    one_owner(&f, next);
    SET(owner(next, ANN), "key", key_of(&f, EVE));
    SET(next, "version", json_integer(4));
    assert_string_equal(replace(&f, next, eve, NULL), "quorum");
    json_decref(next);
    fleet_free(&f);
}

/* A signature that is broken spoils the envelope; one for another purpose is broken. */
static void test_signatures_of_another_kind(void **state)
{
    (void)state;
    struct fleet f;
    struct pc_trust t, out;
    struct pc_envelope e;
    const char *word;
    size_t len;
    fleet_make(&f);
    json_t *next = fleet_trust(&f);
    fleet_trust_parse(next, &t);
    SET(next, "version", json_integer(4));
    _free_ char *text = fleet_text(next, &len);
    fleet_envelope(&f, PC_NS_ORDER, text, len, (int[]){ANN, BOB, -1}, &e);
    assert_int_equal(pc_trust_may_replace(&t, NULL, &e, &out, &word), PC_E_SIGNATURE);
    assert_string_equal(word, "signature");
    pc_envelope_clear(&e);
    pc_trust_clear(&t);
    json_decref(next);
    fleet_free(&f);
}

/* --- revocation -------------------------------------------------------------------------------------------------- */

struct lost {
    struct fleet f;
    struct pc_trust t;
    struct pc_revoked revoked;
};

static const char *revoke_bob(struct lost *l, const int *owners, void (*alter)(json_t *doc))
{
    struct pc_envelope e;
    const char *word = "";
    size_t len;
    json_t *doc =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "portcullis", "revoke/1", "tenant", "acme", "owner", "bob", "key",
                  l->t.owner[BOB].fingerprint, "created", fleet_time(NOW), "reason", "laptop stolen");
    if (alter)
        alter(doc);
    _free_ char *text = fleet_text(doc, &len);
    fleet_envelope(&l->f, PC_NS_REVOKE, text, len, owners, &e);
    uint32_t before = l->revoked.n;
    int r = pc_revocation_apply(&l->t, &l->revoked, &e, &word);
    assert_true(r == 0 || l->revoked.n == before);
    pc_envelope_clear(&e);
    json_decref(doc);
    return r == 0 ? "" : word;
}
static void other_key(json_t *doc)
{
    SET(doc, "key", json_string("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
}
static void other_owner(json_t *doc)
{
    SET(doc, "owner", json_string("cid"));
}
static void other_tenant(json_t *doc)
{
    SET(doc, "tenant", json_string("globex"));
}
static void no_reason(json_t *doc)
{
    json_object_del(doc, "reason");
}

static void test_revocation(void **state)
{
    (void)state;
    static const int bob[] = {BOB, -1}, two[] = {ANN, CID, -1}, one[] = {ANN, -1}, dora[] = {ANN, DORA, -1},
                     eve[] = {EVE, -1}, nobody[] = {-1};
    struct lost l = {0};
    fleet_make(&l.f);
    json_t *doc = fleet_trust(&l.f);
    fleet_trust_parse(doc, &l.t);
    assert_string_equal(revoke_bob(&l, one, NULL), "quorum");
    assert_string_equal(revoke_bob(&l, dora, NULL), "quorum");
    assert_string_equal(revoke_bob(&l, eve, NULL), "quorum");
    assert_string_equal(revoke_bob(&l, nobody, NULL), "quorum");
    assert_string_equal(revoke_bob(&l, bob, other_key), "owner");
    assert_string_equal(revoke_bob(&l, bob, other_owner), "owner");
    assert_string_equal(revoke_bob(&l, bob, other_tenant), "tenant");
    assert_string_equal(revoke_bob(&l, bob, no_reason), "syntax");
    assert_int_equal(l.revoked.n, 0);
    assert_string_equal(revoke_bob(&l, bob, NULL), ""); /* by the key itself */
    assert_int_equal(l.revoked.n, 1);
    assert_true(pc_revoked_has(&l.revoked, l.t.owner[BOB].fingerprint));
    assert_false(pc_revoked_has(&l.revoked, l.t.owner[ANN].fingerprint));
    assert_string_equal(revoke_bob(&l, two, NULL), ""); /* again, by others: nothing new */
    assert_int_equal(l.revoked.n, 1);
    l.revoked.n = 0;
    assert_string_equal(revoke_bob(&l, two, NULL), "");
    l.revoked.n = 0;
    strcpy(l.revoked.fingerprint[l.revoked.n++], l.t.owner[CID].fingerprint);
    assert_string_equal(revoke_bob(&l, two, NULL), "quorum"); /* one of the two is revoked itself */
    while (l.revoked.n < PC_REVOKED_MAX)
        strcpy(l.revoked.fingerprint[l.revoked.n++], "SHA256:x");
    assert_string_equal(revoke_bob(&l, bob, NULL), "limit");
    pc_trust_clear(&l.t);
    json_decref(doc);
    fleet_free(&l.f);
}

/* --- server statement -------------------------------------------------------------------------------------------- */

#define PEM "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

static const char *follow(struct lost *l, const char *key, const char *value, const int *owners, uint64_t above)
{
    struct pc_envelope e;
    struct pc_server_statement s = {.version = 4711};
    const char *word = "";
    size_t len;
    json_t *doc = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o}", "portcullis", "server/1", "tenant", "acme",
                            "version", 7, "url", "https://10.0.0.1:7443", "link", "srv.example.org:7444", "ca", PEM,
                            "created", fleet_time(NOW));
    if (key)
        SET(doc, key, json_string(value));
    _free_ char *text = fleet_text(doc, &len);
    fleet_envelope(&l->f, PC_NS_SERVER, text, len, owners, &e);
    int r = pc_server_statement_open(&l->t, &l->revoked, above, &e, &s, &word);
    assert_true(r == 0 ? s.version == 7 && strcmp(s.ca, PEM) == 0 : s.version == 4711);
    if (r == 0)
        pc_server_statement_clear(&s);
    pc_envelope_clear(&e);
    json_decref(doc);
    return r == 0 ? "" : word;
}

static void test_statement(void **state)
{
    (void)state;
    static const int two[] = {ANN, BOB, -1}, one[] = {ANN, -1};
    static const char *const bad_urls[] = {"http://h:1",      "https://h",      "https://h:0",
                                           "https://h:65536", "https://:1",     "https://h:1/",
                                           "https://u@h:1",   "https://[::1:1", "https://h:1\n"};
    static const char *const bad_links[] = {"", "h", "h:", ":1", "h:99999999999", "h:1x", "h :1", "[]:1"};
    static const char *const good_links[] = {"h:1", "10.0.0.1:65535", "[2001:db8::1]:7444"};
    static const char *const bad_pems[] = {"x", "-----BEGIN CERTIFICATE-----\nMIIB\n",
                                           "-----BEGIN CERTIFICATE-----\n\x1b\n-----END CERTIFICATE-----\n"};
    struct lost l = {0};
    fleet_make(&l.f);
    json_t *doc = fleet_trust(&l.f);
    fleet_trust_parse(doc, &l.t);
    assert_string_equal(follow(&l, NULL, NULL, two, 6), "");
    assert_string_equal(follow(&l, NULL, NULL, two, 7), "version");
    assert_string_equal(follow(&l, NULL, NULL, one, 6), "quorum");
    assert_string_equal(follow(&l, "tenant", "globex", two, 6), "tenant");
    for (size_t i = 0; i < PC_ARRAY_SIZE(bad_urls); i++)
        assert_string_equal(follow(&l, "url", bad_urls[i], two, 6), "syntax");
    for (size_t i = 0; i < PC_ARRAY_SIZE(bad_links); i++)
        assert_string_equal(follow(&l, "link", bad_links[i], two, 6), "syntax");
    for (size_t i = 0; i < PC_ARRAY_SIZE(good_links); i++)
        assert_string_equal(follow(&l, "link", good_links[i], two, 6), "");
    for (size_t i = 0; i < PC_ARRAY_SIZE(bad_pems); i++)
        assert_string_equal(follow(&l, "ca", bad_pems[i], two, 6), "syntax");
    pc_trust_clear(&l.t);
    json_decref(doc);
    fleet_free(&l.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),       cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_replacement), cmocka_unit_test(test_takeover),
        cmocka_unit_test(test_signatures_of_another_kind), cmocka_unit_test(test_revocation),
        cmocka_unit_test(test_statement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
