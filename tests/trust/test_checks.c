/*
 * THE table of refusals, one row a way of being wrong: a good order, log, host and trust file in which exactly one
 * thing is altered, and the word that must come of it. The ten attacks of the TUF specification are marked.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "fleet.h"
#include "trust/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One attempt to have a host accept an order; each row alters a piece of it before (signing) or after. */
struct attempt {
    struct fleet f;
    json_t *trust, *order, *bundle;
    int signers[PC_SIGNATURES_MAX];
    struct pc_memory m;
    struct pc_revoked revoked;
    uint32_t signers_needed;
    uint64_t from;
    int64_t now;
    bool known, halted;
};

static bool known(void *ctx, const char *sha256)
{
    return strlen(sha256) == PC_SHA256_HEX && ((struct attempt *)ctx)->known;
}

static bool halted(void *ctx, const char *sha256)
{
    return strlen(sha256) == PC_SHA256_HEX && ((struct attempt *)ctx)->halted;
}

static void set_up(struct attempt *a)
{
    memset(a, 0, sizeof *a);
    fleet_make(&a->f);
    fleet_log_more(&a->f, 5);
    a->trust = fleet_trust(&a->f);
    a->order = fleet_order(&a->f);
    memcpy(a->signers, (int[]){ANN, BOB, -1}, 3 * sizeof(int));
    a->m = (struct pc_memory){.me = a->f.host[WEB2], .sequence = 104, .known = known, .halted = halted, .ctx = a};
    fleet_checkpoint(&a->f, 5, NOW - 60, &a->m.checkpoint);
    a->signers_needed = 2;
    a->from = 5;
    a->now = NOW;
}

static void tear_down(struct attempt *a)
{
    json_decref(a->trust);
    json_decref(a->order);
    json_decref(a->bundle);
    fleet_free(&a->f);
}

/* Parses and checks the bundle as a host does. */
static enum pc_check judge(struct attempt *a, struct pc_checkpoint *checkpoint, struct pc_approvers *who, char *why,
                           size_t cap)
{
    struct pc_bundle *b = NULL;
    struct pc_trust t;
    size_t len;
    _free_ char *text = fleet_text(a->bundle, &len);
    enum pc_check c = pc_bundle_parse(text, len, &b, why, cap);
    if (c != PC_CHECK_OK)
        return c;
    fleet_trust_parse(a->trust, &t);
    c = pc_bundle_check(b, &t, &a->revoked, &a->m, a->now, checkpoint, who, why, cap);
    pc_trust_clear(&t);
    pc_bundle_free(b);
    return c;
}

static void make_bundle(struct attempt *a)
{
    size_t len;
    _free_ char *document = fleet_text(a->order, &len);
    a->bundle = fleet_bundle(&a->f, document, len, a->signers, a->from);
}

/* --- alterations before signing ---------------------------------------------------------------------------------- */

#define SET(object, key, value) assert_int_equal(json_object_set_new(object, key, value), 0)
#define BEFORE(name, ...)                                                      \
    static void name(struct attempt *a)                                        \
    {                                                                          \
        __VA_ARGS__;                                                           \
    }
static json_t *params(struct attempt *a)
{
    return json_object_get(a->order, "params");
}
static void sign(struct attempt *a, int x, int y, int z)
{
    memcpy(a->signers, (int[]){x, y, z, -1}, 4 * sizeof(int));
}
static void revoke_key(struct attempt *a, enum owner who)
{
    struct pc_trust t;
    fleet_trust_parse(a->trust, &t);
    strcpy(a->revoked.fingerprint[a->revoked.n++], t.owner[who].fingerprint);
    pc_trust_clear(&t);
}

BEFORE(nothing, (void)a)
BEFORE(unknown_key, SET(a->order, "also", json_true()))
BEFORE(missing_key, json_object_del(a->order, "sequence"))
BEFORE(wrong_kind, SET(a->order, "portcullis", json_string("order/2")))
BEFORE(bad_id, SET(a->order, "id", json_string("00112233445566778899AABBCCDDEEFF")))
BEFORE(negative_time, SET(a->order, "expires", json_string("1969-12-31T23:59:59Z")))
BEFORE(local_time, SET(a->order, "expires", json_string("2026-11-21T19:00:00+01:00")))
BEFORE(long_says, char says[PC_SAYS_MAX + 2]; memset(says, 'x', sizeof says); says[sizeof says - 1] = 0;
       SET(a->order, "says", json_string(says)))
BEFORE(bad_host, json_array_set_new(json_object_get(a->order, "hosts"), 1, json_string("web2")))
BEFORE(list_and_root, SET(a->order, "hosts_root", pc_json_base64_new(a->f.seed[0], 32)))
BEFORE(halt_without_rings, SET(a->order, "halt", json_pack("{s:i,s:i}", "failures", 0, "incidents", 0)))
BEFORE(other_tenant, SET(a->order, "tenant", json_string("globex")))
BEFORE(unknown_action, SET(a->order, "action", json_string("format.disk")))
BEFORE(bad_params, SET(params(a), "do", json_string("explode")))
BEFORE(extra_param, SET(params(a), "then", json_string("explode")))
BEFORE(option_as_service, SET(params(a), "service", json_string("--root=/")))
BEFORE(class_of_another, SET(a->order, "class", json_string("S")))
BEFORE(class_a, SET(a->order, "class", json_string("A")); SET(a->order, "action", json_string("inventory"));
       SET(a->order, "params", json_object()))
BEFORE(class_t, SET(a->order, "class", json_string("T")))
BEFORE(standing_c,
       SET(a->order, "standing",
           json_pack("{s:[s],s:s,s:s,s:i}", "days", "mon", "from", "01:00", "until", "02:00", "every", 86400)))
BEFORE(stop_with_dwell, json_decref(a->order); a->order = fleet_stop(&a->f); SET(a->order, "dwell", json_integer(60)))
BEFORE(wrong_count, SET(a->order, "count", json_integer(2)))
BEFORE(host_twice, json_array_set_new(json_object_get(a->order, "hosts"), 2, fleet_host(&a->f, WEB1)))
static void name_twice(struct attempt *a)
{
    struct pc_host_ref twin = a->f.host[DB1];
    char text[PC_HOST_REF_SIZE];
    strcpy(twin.name, "web1");
    pc_host_ref_format(&twin, text);
    json_array_set_new(json_object_get(a->order, "hosts"), 2, json_string(text));
}
BEFORE(rings_too_small, SET(a->order, "rings", json_pack("[{s:i,s:i}]", "hosts", 2, "soak", 60)))
BEFORE(rings_too_big,
       SET(a->order, "rings", json_pack("[{s:i,s:i},{s:i,s:i}]", "hosts", 2, "soak", 60, "hosts", 2, "soak", 0)))
BEFORE(ends_before, SET(a->order, "expires", fleet_time(NOW - HOUR)))
BEFORE(too_long, SET(a->order, "expires", fleet_time(NOW - HOUR + PC_WINDOW_MAX + 1)))
BEFORE(longest, SET(a->order, "expires", fleet_time(NOW - HOUR + PC_WINDOW_MAX)))
BEFORE(over_cap, json_array_append_new(json_object_get(a->order, "hosts"), fleet_host(&a->f, DB1));
       SET(a->order, "count", json_integer(4)))
BEFORE(not_me, a->m.me = a->f.host[DB1])
BEFORE(my_name_only, strcpy(a->m.me.id, a->f.host[DB1].id))
BEFORE(my_id_only, strcpy(a->m.me.name, "web9"))
BEFORE(known_already, a->known = true)
BEFORE(known_and_expired, a->known = true; a->now = NOW + 3 * HOUR)
BEFORE(signed_by_eve, sign(a, ANN, BOB, EVE))
BEFORE(only_eve, sign(a, EVE, -1, -1))
BEFORE(unsigned_, sign(a, -1, -1, -1))
BEFORE(one_signature, sign(a, ANN, -1, -1))
BEFORE(same_owner_twice, sign(a, ANN, ANN, -1)) /* Ed25519 is deterministic: the envelope holds it once */
BEFORE(three_signatures, sign(a, ANN, BOB, CID))
BEFORE(hardware_and_one, sign(a, DORA, CID, -1))
BEFORE(one_revoked, revoke_key(a, BOB))
BEFORE(revoked_but_enough, revoke_key(a, BOB); sign(a, ANN, BOB, CID))
BEFORE(without_the_class,
       SET(json_array_get(json_object_get(a->trust, "owners"), BOB), "classes", json_pack("[s,s,s]", "B", "S", "T")))
BEFORE(expired, a->now = NOW + HOUR)
BEFORE(last_second, a->now = NOW + HOUR - 1)
BEFORE(future, a->now = NOW - HOUR - PC_FUTURE_GRACE - 1)
BEFORE(a_little_early, a->now = NOW - HOUR - PC_FUTURE_GRACE)
BEFORE(year_2100, SET(a->order, "not_before", fleet_time(4102444800)); SET(a->order, "expires", fleet_time(4102448400));
       a->now = 4102445000)
BEFORE(dwell_too_short, SET(a->order, "dwell", json_integer(599)))
BEFORE(dwell_equal, SET(a->order, "dwell", json_integer(600)))
BEFORE(other_log_key, memset(a->f.log.seed, 9, 32); struct pc_skey k;
       assert_int_equal(pc_skey_make("log.example.org", PC_SIG_ED25519, a->f.log.seed, &k), 0); a->f.log = k)
BEFORE(two_witnesses, SET(a->trust, "witnesses_needed", json_integer(2)))
BEFORE(first_ever, a->m.checkpoint = (struct pc_checkpoint){0}; a->from = 0; a->m.sequence = 0)
BEFORE(other_history, a->m.checkpoint.root[3] ^= 1)
BEFORE(host_saw_more, a->m.checkpoint.size = 30)
BEFORE(same_sequence, a->m.sequence = 105)
BEFORE(lower_sequence, a->m.sequence = 200)
BEFORE(gap, SET(a->order, "sequence", json_integer(104 + PC_SEQUENCE_GAP + 1)))
BEFORE(widest_gap, SET(a->order, "sequence", json_integer(104 + PC_SEQUENCE_GAP)))
BEFORE(fast_forward, SET(a->order, "sequence", json_integer((json_int_t)PC_JSON_NUMBER_MAX)))
BEFORE(halted_order, a->halted = true)

static void stop(struct attempt *a)
{
    json_decref(a->order);
    a->order = fleet_stop(&a->f);
    a->m.me = a->f.host[WEB1];
    sign(a, DORA, -1, -1);
    a->signers_needed = 1;
}
BEFORE(stop_low_sequence, stop(a); a->m.sequence = 100000)
BEFORE(stop_high_sequence, stop(a); a->m.sequence = 1)
BEFORE(stop_other_history, stop(a); a->m.checkpoint.root[3] ^= 1)
BEFORE(stop_known, stop(a); a->known = true)
BEFORE(stop_over_cap, stop(a); json_t *h = json_object_get(a->order, "hosts");
       json_array_append_new(h, fleet_host(&a->f, WEB2)); json_array_append_new(h, fleet_host(&a->f, WEB3));
       SET(a->order, "count", json_integer(3)))
BEFORE(stop_revoked, stop(a); revoke_key(a, DORA))

/* --- alterations of what is delivered ---------------------------------------------------------------------------- */

static json_t *envelope(struct attempt *a)
{
    return json_object_get(a->bundle, "order");
}
static json_t *signatures(struct attempt *a)
{
    return json_object_get(envelope(a), "signatures");
}
/* The document as delivered, with one text replaced by another of the same length. */
static void replace(struct attempt *a, json_t *holder, const char *key, const char *from, const char *to)
{
    char *bytes;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(holder, key), PC_DOCUMENT_MAX, &bytes, &len), 0);
    char *at = strstr(bytes, from);
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    SET(holder, key, pc_json_base64_new(bytes, len));
    free(bytes);
    (void)a;
}
/* The entry replaced and logged for real. */
static void log_entry(struct attempt *a, const char *from, const char *to)
{
    char *bytes;
    size_t len;
    replace(a, a->bundle, "entry", from, to);
    assert_int_equal(pc_json_base64(json_object_get(a->bundle, "entry"), PC_DOCUMENT_MAX, &bytes, &len), 0);
    uint64_t index = fleet_log(&a->f, bytes, len);
    fleet_prove(&a->f, a->bundle, bytes, len, index, a->from, NOW);
    free(bytes);
}
static void proof_bit(struct attempt *a, const char *key)
{
    uint8_t hash[32] = {0};
    json_array_set_new(json_object_get(a->bundle, key), 0, pc_json_base64_new(hash, 32));
}
static void cut_log_part(struct attempt *a)
{
    static const char *const keys[] = {"entry", "index", "proof", "checkpoint", "from", "consistency"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(keys); i++)
        json_object_del(a->bundle, keys[i]);
}
static void add_approval(struct attempt *a)
{
    char *document;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(envelope(a), "document"), PC_DOCUMENT_MAX, &document, &len), 0);
    _free_ char *sig = fleet_sign(&a->f, CID, PC_NS_ORDER, 1, document, len);
    json_array_append_new(signatures(a), json_string(sig));
    free(document);
}
/* Dora's signature without a touch, in the place of Bob's. */
static void untouched(struct attempt *a)
{
    char *document;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(envelope(a), "document"), PC_DOCUMENT_MAX, &document, &len), 0);
    _free_ char *sig = fleet_sign(&a->f, DORA, PC_NS_ORDER, 0, document, len);
    json_array_set_new(signatures(a), 1, json_string(sig));
    free(document);
}
/* Two different signatures of one owner: a hardware key's counter makes them differ. */
static void dora_twice(struct attempt *a)
{
    char *document;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(envelope(a), "document"), PC_DOCUMENT_MAX, &document, &len), 0);
    json_array_clear(signatures(a));
    for (uint32_t counter = 1; counter <= 2; counter++) {
        struct forge_how how = {.ns = PC_NS_ORDER, .hash = "sha512", .flags = 1, .counter = counter};
        struct pc_buf raw _buf_free_ = forge_sign(&a->f.owner[DORA], &how, document, len);
        _free_ char *sig = forge_armour(raw.data, raw.len);
        json_array_append_new(signatures(a), json_string(sig));
    }
    free(document);
}
static void other_namespace(struct attempt *a)
{
    char *document;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(envelope(a), "document"), PC_DOCUMENT_MAX, &document, &len), 0);
    _free_ char *sig = fleet_sign(&a->f, BOB, PC_NS_TRUST, 1, document, len);
    json_array_set_new(signatures(a), 1, json_string(sig));
    free(document);
}
/* Bob's approval of another order, in the place of his of this one: mix and match. */
static void other_order(struct attempt *a)
{
    _free_ char *sig = fleet_sign(&a->f, BOB, PC_NS_ORDER, 1, "another order", 13);
    json_array_set_new(signatures(a), 1, json_string(sig));
}
static void old_checkpoint(struct attempt *a)
{
    _free_ char *note = fleet_note(&a->f, 4, NOW - HOUR); /* rollback: the log of before */
    SET(a->bundle, "checkpoint", json_string(note));
}
static void log_forged(struct attempt *a)
{
    char *note = strdup(json_string_value(json_object_get(a->bundle, "checkpoint")));
    assert_non_null(note);
    char *at = strstr(note, "\n\xe2\x80\x94 witness");
    assert_non_null(at);
    memcpy(at + 5, "Witness", 7);
    SET(a->bundle, "checkpoint", json_string(note));
    free(note);
}

BEFORE(garbled_document, SET(envelope(a), "document", json_string("!!!!")))
BEFORE(half_a_log_part, json_object_del(a->bundle, "index"))
BEFORE(unknown_bundle_key, SET(a->bundle, "x", json_null()))
BEFORE(seventeen_signatures,
       for (int i = 0; i < 17; i++) json_array_append_new(signatures(a), json_sprintf("signature %d", i)))
BEFORE(same_text_twice, json_array_append(signatures(a), json_array_get(signatures(a), 0)))
BEFORE(retargeted, replace(a, envelope(a), "document", "web3#", "web4#"))
BEFORE(other_params, replace(a, envelope(a), "document", "nginx.service", "sshd0.service"))
BEFORE(garbled_signature,
       json_array_set_new(signatures(a), 0,
                          json_string("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")))
BEFORE(empty_signature, json_array_set_new(signatures(a), 0, json_string("")))
BEFORE(entry_of_another, log_entry(a, "\"id\":\"0011", "\"id\":\"1100"))
BEFORE(entry_other_type, log_entry(a, "\"type\":\"order\"", "\"type\":\"trust\""))
BEFORE(entry_other_tenant, log_entry(a, "\"tenant\":\"acme\"", "\"tenant\":\"acmf\""))
BEFORE(entry_altered_after, replace(a, a->bundle, "entry", "2026-11-21", "2026-11-22"))
BEFORE(entry_no_json, SET(a->bundle, "entry", pc_json_base64_new("hello", 5)))
BEFORE(wrong_index, SET(a->bundle, "index", json_integer(0)))
BEFORE(wrong_inclusion, proof_bit(a, "proof"))
BEFORE(short_inclusion, json_array_remove(json_object_get(a->bundle, "proof"), 0))
BEFORE(wrong_consistency, proof_bit(a, "consistency"))
BEFORE(no_consistency, json_array_clear(json_object_get(a->bundle, "consistency")))
BEFORE(other_from, SET(a->bundle, "from", json_integer(3)))

static const struct row {
    const char *what;
    enum pc_check want;
    void (*before)(struct attempt *a), (*after)(struct attempt *a);
} rows[] = {
    {"a good order", PC_CHECK_OK, nothing, nothing},
    {"more approvals than needed", PC_CHECK_OK, three_signatures, nothing},
    {"a hardware key that was touched", PC_CHECK_OK, hardware_and_one, nothing},
    {"a revoked approval, but two others", PC_CHECK_OK, revoked_but_enough, nothing},
    {"the longest window", PC_CHECK_OK, longest, nothing},
    {"the last second", PC_CHECK_OK, last_second, nothing},
    {"as early as allowed", PC_CHECK_OK, a_little_early, nothing},
    {"in the year 2100", PC_CHECK_OK, year_2100, nothing},
    {"dwell as the trust file's", PC_CHECK_OK, dwell_equal, nothing},
    {"the widest gap", PC_CHECK_OK, widest_gap, nothing},
    {"a host that saw nothing yet", PC_CHECK_OK, first_ever, nothing},

    {"an unknown key", PC_CHECK_SYNTAX, unknown_key, nothing},
    {"a missing key", PC_CHECK_SYNTAX, missing_key, nothing},
    {"another kind", PC_CHECK_SYNTAX, wrong_kind, nothing},
    {"an id with capitals", PC_CHECK_SYNTAX, bad_id, nothing},
    {"a time before 1970", PC_CHECK_SYNTAX, negative_time, nothing},
    {"a time with a zone", PC_CHECK_SYNTAX, local_time, nothing},
    {"a text too long (TUF: endless data)", PC_CHECK_SYNTAX, long_says, nothing},
    {"a host without identity", PC_CHECK_SYNTAX, bad_host, nothing},
    {"a list and a root", PC_CHECK_SYNTAX, list_and_root, nothing},
    {"halt without rings", PC_CHECK_SYNTAX, halt_without_rings, nothing},
    {"garbage for a document", PC_CHECK_SYNTAX, nothing, garbled_document},
    {"half a log part", PC_CHECK_SYNTAX, nothing, half_a_log_part},
    {"an unknown key of the bundle", PC_CHECK_SYNTAX, nothing, unknown_bundle_key},
    {"too many signatures (TUF: endless data)", PC_CHECK_SYNTAX, nothing, seventeen_signatures},
    {"a signature's text twice", PC_CHECK_SYNTAX, nothing, same_text_twice},

    {"an action that does not exist", PC_CHECK_ACTION, unknown_action, nothing},
    {"a parameter's value", PC_CHECK_ACTION, bad_params, nothing},
    {"a parameter too many (TUF: extraneous dependencies)", PC_CHECK_ACTION, extra_param, nothing},
    {"an option for a name", PC_CHECK_ACTION, option_as_service, nothing},
    {"a class the action has not", PC_CHECK_CLASS, class_of_another, nothing},
    {"class A as an order", PC_CHECK_CLASS, class_a, nothing},
    {"class T as an order", PC_CHECK_CLASS, class_t, nothing},
    {"standing for class C", PC_CHECK_CLASS, standing_c, nothing},
    {"dwell for a stop", PC_CHECK_CLASS, stop_with_dwell, nothing},
    {"a wrong count", PC_CHECK_COUNT, wrong_count, nothing},
    {"a host twice", PC_CHECK_COUNT, host_twice, nothing},
    {"a name twice with two identities", PC_CHECK_COUNT, name_twice, nothing},
    {"rings with fewer hosts", PC_CHECK_COUNT, rings_too_small, nothing},
    {"rings with more hosts", PC_CHECK_COUNT, rings_too_big, nothing},
    {"an end before the beginning", PC_CHECK_WINDOW, ends_before, nothing},
    {"a window too long", PC_CHECK_WINDOW, too_long, nothing},

    {"another tenant (TUF: wrong software)", PC_CHECK_TENANT, other_tenant, nothing},
    {"over the cap", PC_CHECK_CAP, over_cap, nothing},
    {"a stop over the cap", PC_CHECK_CAP, stop_over_cap, nothing},
    {"not for this host", PC_CHECK_NOT_ME, not_me, nothing},
    {"this host's name with another identity", PC_CHECK_NOT_ME, my_name_only, nothing},
    {"this host's identity with another name", PC_CHECK_NOT_ME, my_id_only, nothing},
    {"accepted before", PC_CHECK_REPLAYED, known_already, nothing},
    {"accepted before, expired since", PC_CHECK_REPLAYED, known_and_expired, nothing},
    {"a stop that was accepted before", PC_CHECK_REPLAYED, stop_known, nothing},

    {"one signature by a stranger", PC_CHECK_SIGNATURE, signed_by_eve, nothing},
    {"only a stranger's (TUF: arbitrary software)", PC_CHECK_SIGNATURE, only_eve, nothing},
    {"another host put in", PC_CHECK_SIGNATURE, nothing, retargeted},
    {"another parameter put in", PC_CHECK_SIGNATURE, nothing, other_params},
    {"a signature for another purpose", PC_CHECK_SIGNATURE, nothing, other_namespace},
    {"an approval of another order (TUF: mix-and-match)", PC_CHECK_SIGNATURE, nothing, other_order},
    {"a garbled signature", PC_CHECK_SIGNATURE, nothing, garbled_signature},
    {"an empty signature", PC_CHECK_SIGNATURE, nothing, empty_signature},
    {"unsigned", PC_CHECK_QUORUM, unsigned_, nothing},
    {"one of two (TUF: key compromise below threshold)", PC_CHECK_QUORUM, one_signature, nothing},
    {"the same owner twice", PC_CHECK_QUORUM, same_owner_twice, nothing},
    {"two signatures of one owner's hardware key", PC_CHECK_QUORUM, nothing, dora_twice},
    {"one of two keys revoked", PC_CHECK_QUORUM, one_revoked, nothing},
    {"a stop by a revoked key", PC_CHECK_QUORUM, stop_revoked, nothing},
    {"an owner without the class", PC_CHECK_QUORUM, without_the_class, nothing},
    {"a hardware key that nobody touched", PC_CHECK_QUORUM, nothing, untouched},
    {"expired (TUF: freeze)", PC_CHECK_EXPIRED, expired, nothing},
    {"too early", PC_CHECK_FUTURE, future, nothing},
    {"dwell shorter than the trust file's", PC_CHECK_DWELL, dwell_too_short, nothing},

    {"no proof at all", PC_CHECK_LOG, nothing, cut_log_part},
    {"an approval that was not logged", PC_CHECK_LOG, nothing, add_approval},
    {"an entry about another id", PC_CHECK_LOG, nothing, entry_of_another},
    {"an entry of another type", PC_CHECK_LOG, nothing, entry_other_type},
    {"an entry of another tenant", PC_CHECK_LOG, nothing, entry_other_tenant},
    {"an entry altered after it was logged", PC_CHECK_LOG, nothing, entry_altered_after},
    {"an entry that is no JSON", PC_CHECK_LOG, nothing, entry_no_json},
    {"another index", PC_CHECK_LOG, nothing, wrong_index},
    {"a wrong proof", PC_CHECK_LOG, nothing, wrong_inclusion},
    {"a proof too short", PC_CHECK_LOG, nothing, short_inclusion},
    {"a checkpoint by another key (TUF: malicious mirror)", PC_CHECK_LOG, other_log_key, nothing},
    {"too few witnesses", PC_CHECK_LOG, two_witnesses, nothing},
    {"a witness's line renamed", PC_CHECK_LOG, nothing, log_forged},
    {"the log of before (TUF: rollback)", PC_CHECK_LOG, nothing, old_checkpoint},
    {"another history (split view)", PC_CHECK_CONSISTENCY, other_history, nothing},
    {"a log that became shorter (TUF: rollback)", PC_CHECK_CONSISTENCY, host_saw_more, nothing},
    {"a wrong consistency proof", PC_CHECK_CONSISTENCY, nothing, wrong_consistency},
    {"no consistency proof", PC_CHECK_CONSISTENCY, nothing, no_consistency},
    {"a consistency proof from elsewhere", PC_CHECK_CONSISTENCY, nothing, other_from},
    {"the sequence of the last one", PC_CHECK_SEQUENCE, same_sequence, nothing},
    {"an older sequence (TUF: rollback)", PC_CHECK_SEQUENCE, lower_sequence, nothing},
    {"a sequence too far ahead", PC_CHECK_SEQUENCE_GAP, gap, nothing},
    {"fast forward (TUF)", PC_CHECK_SEQUENCE_GAP, fast_forward, nothing},
    {"halted", PC_CHECK_HALTED, halted_order, nothing},

    {"a stop by one owner", PC_CHECK_OK, stop, nothing},
    {"a stop with a low sequence", PC_CHECK_OK, stop_low_sequence, nothing},
    {"a stop with a high sequence", PC_CHECK_OK, stop_high_sequence, nothing},
    {"a stop from a file, without the log", PC_CHECK_OK, stop, cut_log_part},
    {"a stop with a spoilt proof", PC_CHECK_OK, stop, wrong_inclusion},
    {"a stop when the log is another", PC_CHECK_OK, stop_other_history, nothing},
};

static void run_row(const struct row *row)
{
    struct attempt a;
    struct pc_checkpoint checkpoint = {.size = 4711};
    struct pc_approvers who = {.n = 4711};
    char why[300] = "";
    set_up(&a);
    row->before(&a);
    make_bundle(&a);
    row->after(&a);
    enum pc_check got = judge(&a, &checkpoint, &who, why, sizeof why);
    if (got != row->want)
        fail_msg("%s: \"%s\" (%s), not \"%s\"", row->what, pc_check_word(got), why, pc_check_word(row->want));
    if (got != PC_CHECK_OK && (checkpoint.size != 4711 || who.n != 4711 || !why[0]))
        fail_msg("%s: refused without a reason, or out-parameters were touched", row->what);
    if (got == PC_CHECK_OK && who.n < a.signers_needed)
        fail_msg("%s: accepted by nobody", row->what);
    tear_down(&a);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < PC_ARRAY_SIZE(rows); i++)
        run_row(&rows[i]);
}

/* Every word that a bundle can earn is earned by a row. */
static void test_every_word_has_a_row(void **state)
{
    (void)state;
    for (enum pc_check c = PC_CHECK_OK; c <= PC_CHECK_HALTED; c++) {
        bool there = false;
        for (size_t i = 0; i < PC_ARRAY_SIZE(rows); i++)
            there = there || rows[i].want == c;
        if (!there)
            fail_msg("no row for \"%s\"", pc_check_word(c));
    }
    for (int c = PC_CHECK_SYNTAX; c < PC_CHECKS; c++) {
        assert_int_equal(pc_check_find(pc_check_word((enum pc_check)c)), c);
        assert_true(strlen(pc_check_text((enum pc_check)c)) > 10);
    }
    assert_int_equal(pc_check_find("nonsense"), -1);
}

/* What is remembered: the new checkpoint; nothing of a stop's that does not hold. */
static void test_what_is_remembered(void **state)
{
    (void)state;
    struct attempt a;
    struct pc_checkpoint c;
    struct pc_approvers who;
    set_up(&a);
    make_bundle(&a);
    assert_int_equal(judge(&a, &c, &who, NULL, 0), PC_CHECK_OK);
    assert_int_equal(c.size, a.f.size);
    assert_true(c.time == NOW);
    assert_int_equal(who.n, 2);
    assert_int_equal(who.owner[0], ANN);
    assert_int_equal(who.owner[1], BOB);
    a.m.checkpoint = c; /* the same tree again: no proof needed, nothing changed */
    SET(a.bundle, "from", json_integer((json_int_t)c.size));
    json_array_clear(json_object_get(a.bundle, "consistency"));
    assert_int_equal(judge(&a, &c, &who, NULL, 0), PC_CHECK_OK);
    tear_down(&a);
    set_up(&a);
    stop_other_history(&a);
    make_bundle(&a);
    assert_int_equal(judge(&a, &c, &who, NULL, 0), PC_CHECK_OK);
    assert_int_equal(c.size, 0);
    tear_down(&a);
}

/* Without revocations and without memory functions. */
static void test_null_helpers(void **state)
{
    (void)state;
    struct attempt a;
    struct pc_bundle *b;
    struct pc_trust t;
    struct pc_checkpoint c;
    struct pc_approvers who;
    size_t len;
    set_up(&a);
    make_bundle(&a);
    a.m.known = a.m.halted = NULL;
    _free_ char *text = fleet_text(a.bundle, &len);
    assert_int_equal(pc_bundle_parse(text, len, &b, NULL, 0), PC_CHECK_OK);
    fleet_trust_parse(a.trust, &t);
    assert_int_equal(pc_bundle_check(b, &t, NULL, &a.m, NOW, &c, &who, NULL, 0), PC_CHECK_OK);
    assert_int_equal(pc_bundle_position(b, &a.f.host[WEB3]), 2);
    assert_int_equal(pc_bundle_position(b, &a.f.host[DB1]), -1);
    assert_non_null(pc_bundle_checkpoint_text(b));
    assert_string_equal(pc_bundle_order(b)->sha256, pc_bundle_envelope(b)->sha256);
    pc_trust_clear(&t);
    pc_bundle_free(b);
    tear_down(&a);
}

/* Twenty thousand hosts: a root in the order, a place in the bundle; every kind of wrong place. */
static void test_large_order(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct attempt a;
    struct pc_checkpoint c;
    struct pc_approvers who;
    struct pc_host_tree *tree;
    struct pc_place place;
    char why[200];
    struct pc_host_ref *hosts = calloc(N, sizeof *hosts);
    assert_non_null(hosts);
    set_up(&a);
    for (int i = 0; i < N; i++) {
        snprintf(hosts[i].name, sizeof hosts[i].name, "host%d", i);
        snprintf(hosts[i].id, sizeof hosts[i].id, "%032x", i);
    }
    hosts[12345] = a.m.me;
    assert_int_equal(pc_host_tree_new(hosts, N, &tree), 0);
    json_object_del(a.order, "hosts");
    SET(a.order, "hosts_root", pc_json_base64_new(pc_host_tree_root(tree), 32));
    SET(a.order, "count", json_integer(N));
    SET(json_object_get(a.trust, "cap"), "C", json_integer(N));
    make_bundle(&a);
    assert_int_equal(judge(&a, &c, &who, why, sizeof why), PC_CHECK_NOT_ME);
    assert_int_equal(pc_host_tree_place(tree, 12345, &place), 0);
    SET(a.bundle, "place", fleet_place(&place));
    assert_int_equal(judge(&a, &c, &who, why, sizeof why), PC_CHECK_OK);
    size_t len;
    _free_ char *text = fleet_text(a.bundle, &len);
    assert_non_null(text);
    assert_true(len < 8192);
    place.index++;
    SET(a.bundle, "place", fleet_place(&place));
    assert_int_equal(judge(&a, &c, &who, why, sizeof why), PC_CHECK_NOT_ME);
    assert_int_equal(pc_host_tree_place(tree, 777, &place), 0);
    SET(a.bundle, "place", fleet_place(&place)); /* somebody else's */
    assert_int_equal(judge(&a, &c, &who, why, sizeof why), PC_CHECK_NOT_ME);
    place.host = a.m.me;
    SET(a.bundle, "place", fleet_place(&place)); /* somebody else's proof with my name */
    assert_int_equal(judge(&a, &c, &who, why, sizeof why), PC_CHECK_NOT_ME);
    assert_int_equal(pc_host_tree_place(tree, N, &place), PC_E_RANGE);
    pc_host_tree_free(tree);
    free(hosts);
    tear_down(&a);
}

/* Every place beneath every small root is proven, and no other. */
static void test_host_trees(void **state)
{
    (void)state;
    struct pc_host_ref hosts[40] = {0};
    struct pc_host_tree *tree;
    for (int i = 0; i < 40; i++) {
        snprintf(hosts[i].name, sizeof hosts[i].name, "host%d", i);
        snprintf(hosts[i].id, sizeof hosts[i].id, "%032x", i);
    }
    for (uint32_t n = 1; n <= 40; n++) {
        struct pc_order o = {.hosts = n, .rooted = true};
        assert_int_equal(pc_host_tree_new(hosts, n, &tree), 0);
        memcpy(o.root, pc_host_tree_root(tree), 32);
        for (uint32_t i = 0; i < n; i++) {
            struct pc_place place;
            assert_int_equal(pc_host_tree_place(tree, i, &place), 0);
            assert_int_equal(pc_order_position(&o, &hosts[i], &place), i);
            assert_int_equal(pc_order_position(&o, &hosts[(i + 1) % 40], &place), -1);
            place.index = (i + 1) % n;
            assert_true(n == 1 || pc_order_position(&o, &hosts[i], &place) == -1);
        }
        pc_host_tree_free(tree);
    }
    assert_int_equal(pc_host_tree_new(hosts, 0, &tree), PC_E_LIMIT);
}

/* --- the start --------------------------------------------------------------------------------------------------- */

static enum pc_check start(struct attempt *a, struct pc_start_facts facts)
{
    struct pc_envelope e;
    struct pc_order o;
    struct pc_trust t;
    char why[200];
    size_t len;
    _free_ char *document = fleet_text(a->order, &len);
    fleet_envelope(&a->f, PC_NS_ORDER, document, len, a->signers, &e);
    assert_int_equal(pc_order_parse(document, len, &o, NULL, 0), PC_CHECK_OK);
    fleet_trust_parse(a->trust, &t);
    enum pc_check c = pc_order_may_start(&o, &e, &t, &a->revoked, &a->m, &facts, why, sizeof why);
    assert_true(c == PC_CHECK_OK || why[0]);
    pc_trust_clear(&t);
    pc_order_clear(&o);
    pc_envelope_clear(&e);
    return c;
}

static void test_start(void **state)
{
    (void)state;
    struct attempt a;
    const struct pc_start_facts good = {.now = NOW, .waited = 600, .ring_open = true};
    struct pc_start_facts f = good;
    set_up(&a);
    assert_int_equal(start(&a, good), PC_CHECK_OK);
    f.waited = 599;
    assert_int_equal(start(&a, f), PC_CHECK_DWELL);
    f = good, f.ring_open = false;
    assert_int_equal(start(&a, f), PC_CHECK_RING);
    f = good, f.halted = true;
    assert_int_equal(start(&a, f), PC_CHECK_HALTED);
    f = good, f.outside = true; /* a standing order's run that waited until its hours were over */
    assert_int_equal(start(&a, f), PC_CHECK_WINDOW);
    f = good, f.now = NOW + HOUR;
    assert_int_equal(start(&a, f), PC_CHECK_EXPIRED);
    f = good, f.now = NOW - HOUR - 1; /* accepted a little early: it waits */
    assert_int_equal(start(&a, f), PC_CHECK_FUTURE);
    a.m.checkpoint.time = NOW - 900;
    assert_int_equal(start(&a, good), PC_CHECK_OK);
    a.m.checkpoint.time = NOW - 901;
    assert_int_equal(start(&a, good), PC_CHECK_STALE);
    a.m.checkpoint.time = NOW + 901; /* a log that is ahead of this clock is as little fresh */
    assert_int_equal(start(&a, good), PC_CHECK_STALE);
    a.m.checkpoint.time = 0;
    assert_int_equal(start(&a, good), PC_CHECK_STALE);
    a.m.checkpoint.time = NOW;
    SET(a.order, "dwell", json_integer(1200));
    assert_int_equal(start(&a, good), PC_CHECK_DWELL);
    f = good, f.waited = 1200;
    assert_int_equal(start(&a, f), PC_CHECK_OK);
    a.halted = true;
    assert_int_equal(start(&a, f), PC_CHECK_HALTED);
    tear_down(&a);
}

/* Between acceptance and start an owner's key is revoked, or the trust file lists the owner no more. */
static void test_start_counts_again(void **state)
{
    (void)state;
    struct attempt a;
    const struct pc_start_facts good = {.now = NOW, .waited = 600, .ring_open = true};
    set_up(&a);
    revoke_key(&a, BOB);
    assert_int_equal(start(&a, good), PC_CHECK_QUORUM);
    sign(&a, ANN, BOB, CID);
    assert_int_equal(start(&a, good), PC_CHECK_OK);
    json_array_remove(json_object_get(a.trust, "owners"), ANN);
    assert_int_equal(start(&a, good), PC_CHECK_QUORUM);
    a.revoked.n = 0;
    assert_int_equal(start(&a, good), PC_CHECK_OK);
    tear_down(&a);
}

/* A stop waits for nothing but its window. */
static void test_stop_starts_at_once(void **state)
{
    (void)state;
    struct attempt a;
    set_up(&a);
    stop(&a);
    a.m.checkpoint = (struct pc_checkpoint){0};
    assert_int_equal(start(&a, (struct pc_start_facts){.now = NOW, .ring_open = true}), PC_CHECK_OK);
    tear_down(&a);
}

static void test_standing_hours(void **state)
{
    (void)state;
    struct attempt a;
    struct pc_order o;
    size_t len;
    set_up(&a);
    json_decref(a.order);
    a.order = fleet_recipe(&a.f);
    _free_ char *document = fleet_text(a.order, &len);
    assert_int_equal(pc_order_parse(document, len, &o, NULL, 0), PC_CHECK_OK);
    enum { MON, TUE, WED, THU };
    assert_true(pc_standing_open(&o, TUE, 60, NOW, 0));
    assert_true(pc_standing_open(&o, WED, 329, NOW, 0));
    assert_false(pc_standing_open(&o, TUE, 59, NOW, 0));
    assert_false(pc_standing_open(&o, TUE, 330, NOW, 0));
    assert_false(pc_standing_open(&o, MON, 60, NOW, 0));
    assert_false(pc_standing_open(&o, THU, 60, NOW, 0));
    assert_false(pc_standing_open(&o, 7, 60, NOW, 0));
    assert_true(pc_standing_open(&o, TUE, 60, NOW, NOW - 86400));
    assert_false(pc_standing_open(&o, TUE, 60, NOW, NOW - 86399));
    assert_false(pc_standing_open(&o, TUE, 60, NOW, NOW + 5)); /* a clock that was set back */
    pc_order_clear(&o);
    tear_down(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_word_has_a_row),
        cmocka_unit_test(test_what_is_remembered),
        cmocka_unit_test(test_null_helpers),
        cmocka_unit_test(test_large_order),
        cmocka_unit_test(test_host_trees),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_counts_again),
        cmocka_unit_test(test_stop_starts_at_once),
        cmocka_unit_test(test_standing_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
