/*
 * What opens a ring and what starts a run: the earlier ring's own reports, and every way to make them up or to keep
 * them back.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "fleet.h"
#include "trust/entry.h"
#include "trust/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SET(object, key, value) assert_int_equal(json_object_set_new(object, key, value), 0)

/* A continue for ring 1 of an order for web1 web2 | web3; ring 0 reports. */
struct attempt {
    struct fleet f;
    json_t *order, *frame;
    struct pc_memory m;
    struct pc_ring_report report[3];
    enum host signer[3];
    uint32_t reports, ring;
    uint64_t run;
    bool placed, forge_entry;
    uint64_t from;
};

static void set_up(struct attempt *a)
{
    memset(a, 0, sizeof *a);
    fleet_make(&a->f);
    fleet_log_more(&a->f, 5);
    a->order = fleet_order(&a->f);
    SET(a->order, "rings", json_pack("[{s:i,s:i},{s:i,s:i}]", "hosts", 2, "soak", 60, "hosts", 1, "soak", 0));
    SET(a->order, "halt", json_pack("{s:i,s:i}", "failures", 0, "incidents", 1));
    a->reports = 2;
    a->ring = 1;
    a->m.me = a->f.host[WEB3];
    fleet_checkpoint(&a->f, 5, NOW - 60, &a->m.checkpoint);
    a->from = 5;
    for (int i = 0; i < 3; i++) {
        struct pc_ring_report *r = &a->report[i];
        strcpy(r->tenant, "acme");
        strcpy(r->outcome, "ok");
        r->host = a->f.host[i];
        r->started = NOW;
        r->ended = NOW + 5;
        r->soaked = NOW + 65;
        a->signer[i] = (enum host)i;
    }
}

static void tear_down(struct attempt *a)
{
    json_decref(a->order);
    json_decref(a->frame);
    fleet_free(&a->f);
}

static json_t *report_json(struct attempt *a, uint32_t i, uint8_t hash[32])
{
    _free_ char *doc = NULL, *sealed = NULL;
    size_t len, sealed_len;
    json_t *envelope;
    struct pc_host_envelope e;
    assert_int_equal(pc_ring_report_format(&a->report[i], &doc, &len), 0);
    assert_int_equal(pc_host_envelope_seal(doc, len, "ring", a->f.seed[a->signer[i]], &sealed, &sealed_len), 0);
    assert_int_equal(pc_json_parse(sealed, sealed_len, PC_ENVELOPE_MAX, &envelope, (struct pc_why){0}), 0);
    assert_int_equal(pc_host_envelope_open(sealed, sealed_len, "ring", &e), 0);
    assert_int_equal(pc_unhex(e.sha256, hash, 32), 32);
    pc_host_envelope_clear(&e);
    return json_pack("{s:o}", "envelope", envelope);
}

/* The order, parsed, with the reports about it; and the frame. */
static void make(struct attempt *a, struct pc_order *o)
{
    size_t len, entry_len;
    uint8_t hash[3][32];
    char *entry, why[200];
    _free_ char *document = fleet_text(a->order, &len);
    if (pc_order_parse(document, len, o, why, sizeof why) != PC_CHECK_OK)
        fail_msg("%s", why);
    json_t *reports = json_array();
    for (uint32_t i = 0; i < a->reports; i++) {
        if (!a->report[i].order_sha256[0])
            strcpy(a->report[i].order_sha256, o->sha256);
        json_array_append_new(reports, report_json(a, i, hash[i]));
    }
    if (a->forge_entry)
        hash[0][0] ^= 1;
    assert_int_equal(pc_entry_continue("acme", o->sha256, a->run, a->ring, hash, a->reports, NOW, &entry, &entry_len),
                     0);
    uint64_t index = fleet_log(&a->f, entry, entry_len);
    fleet_log_more(&a->f, 2);
    a->frame = json_pack("{s:s, s:I, s:I, s:o}", "order_sha256", o->sha256, "run", (json_int_t)a->run, "ring",
                         (json_int_t)a->ring, "reports", reports);
    fleet_prove(&a->f, a->frame, entry, entry_len, index, a->from, NOW);
    free(entry);
}

static enum pc_check judge(struct attempt *a, const struct pc_order *o, uint32_t ring)
{
    struct pc_trust t;
    struct pc_checkpoint c = {.size = 4711};
    char why[300] = "";
    size_t len;
    json_t *trust = fleet_trust(&a->f);
    fleet_trust_parse(trust, &t);
    json_decref(trust);
    _free_ char *text = fleet_text(a->frame, &len);
    enum pc_check got = pc_continue_check(text, len, o, &t, &a->m, ring, a->run, &c, why, sizeof why);
    assert_true(got == PC_CHECK_OK ? c.size == a->f.size : c.size == 4711 && why[0]);
    pc_trust_clear(&t);
    return got;
}

#define ALTER(name, ...)                                                       \
    static void name(struct attempt *a)                                        \
    {                                                                          \
        __VA_ARGS__;                                                           \
    }
ALTER(nothing, (void)a)
ALTER(one_incident, a->report[1].incidents = 1)
ALTER(too_many_incidents, a->report[0].incidents = 1; a->report[1].incidents = 1)
ALTER(huge_incidents, a->report[0].incidents = UINT32_MAX; a->report[1].incidents = 1)
ALTER(one_failed, strcpy(a->report[0].outcome, "failed"))
ALTER(one_unknown, strcpy(a->report[1].outcome, "unknown"))
ALTER(one_missing, a->reports = 1)
ALTER(none, a->reports = 0)
ALTER(one_may_fail, SET(a->order, "halt", json_pack("{s:i,s:i}", "failures", 1, "incidents", 0));
      strcpy(a->report[0].outcome, "failed"))
ALTER(one_may_be_missing, SET(a->order, "halt", json_pack("{s:i,s:i}", "failures", 1, "incidents", 0)); a->reports = 1)
ALTER(failed_and_missing, SET(a->order, "halt", json_pack("{s:i,s:i}", "failures", 1, "incidents", 0)); a->reports = 1;
      strcpy(a->report[0].outcome, "failed"))
ALTER(same_host_twice, a->report[1] = a->report[0]; a->signer[1] = a->signer[0])
ALTER(same_host_twice_differently, a->report[1] = a->report[0]; a->signer[1] = a->signer[0]; a->report[1].ended++;
      a->report[1].soaked++)
ALTER(signed_by_another, a->signer[1] = DB1)
ALTER(host_of_the_next_ring, a->report[1] = a->report[2]; a->signer[1] = WEB3)
ALTER(host_of_no_ring, a->report[1].host = a->f.host[DB1]; a->signer[1] = DB1)
ALTER(name_of_another, strcpy(a->report[1].host.name, "web1"))
ALTER(another_order, memset(a->report[1].order_sha256, 'a', PC_SHA256_HEX))
ALTER(another_tenant, strcpy(a->report[1].tenant, "globex"))
ALTER(another_ring, a->report[1].ring = 1)
ALTER(another_run, a->report[1].run = 7)
ALTER(soak_not_over, a->report[1].soaked--)
ALTER(soaked_before_it_ended, a->report[1].soaked = a->report[1].ended - 1)
ALTER(one_too_many, a->reports = 3)
ALTER(other_reports_logged, a->forge_entry = true)
ALTER(other_history, a->m.checkpoint.root[0] ^= 1)

static void forged_byte(struct attempt *a)
{
    json_t *e = json_object_get(json_array_get(json_object_get(a->frame, "reports"), 0), "envelope");
    char *bytes;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(e, "document"), PC_DOCUMENT_MAX, &bytes, &len), 0);
    char *at = strstr(bytes, "\"incidents\":0");
    assert_non_null(at);
    at[12] = '1';
    SET(e, "document", pc_json_base64_new(bytes, len));
    free(bytes);
}
ALTER(cut_log, json_object_del(a->frame, "entry"))
ALTER(wrong_proof, json_array_clear(json_object_get(a->frame, "proof")))
ALTER(garbage_report, json_array_set_new(json_object_get(a->frame, "reports"), 0, json_string("hello")))
ALTER(place_garbage, SET(json_array_get(json_object_get(a->frame, "reports"), 0), "place", json_object()))
ALTER(other_ring_in_frame, SET(a->frame, "ring", json_integer(2)))
ALTER(other_order_in_frame, char hex[65]; memset(hex, 'b', 64); hex[64] = 0;
      SET(a->frame, "order_sha256", json_string(hex)))

static const struct {
    const char *what;
    enum pc_check want;
    void (*before)(struct attempt *a), (*after)(struct attempt *a);
} rows[] = {
    {"two good reports", PC_CHECK_OK, nothing, nothing},
    {"one incident, which is allowed", PC_CHECK_OK, one_incident, nothing},
    {"one failure, which is allowed", PC_CHECK_OK, one_may_fail, nothing},
    {"one missing, where one may fail", PC_CHECK_OK, one_may_be_missing, nothing},
    {"two incidents", PC_CHECK_RING, too_many_incidents, nothing},
    {"incidents that overflow", PC_CHECK_RING, huge_incidents, nothing},
    {"a failure", PC_CHECK_RING, one_failed, nothing},
    {"an unknown outcome", PC_CHECK_RING, one_unknown, nothing},
    {"a report kept back", PC_CHECK_RING, one_missing, nothing},
    {"no reports", PC_CHECK_RING, none, nothing},
    {"a failure and one kept back", PC_CHECK_RING, failed_and_missing, nothing},
    {"the same report twice", PC_CHECK_RING, same_host_twice, nothing},
    {"two reports of one host", PC_CHECK_RING, same_host_twice_differently, nothing},
    {"a report signed by another host", PC_CHECK_RING, signed_by_another, nothing},
    {"a report of the next ring's host", PC_CHECK_RING, host_of_the_next_ring, nothing},
    {"a report of a host that is not in the order", PC_CHECK_RING, host_of_no_ring, nothing},
    {"a report under another name", PC_CHECK_RING, name_of_another, nothing},
    {"a report about another order", PC_CHECK_RING, another_order, nothing},
    {"a report of another tenant", PC_CHECK_RING, another_tenant, nothing},
    {"a report about another ring", PC_CHECK_RING, another_ring, nothing},
    {"a report about another run", PC_CHECK_RING, another_run, nothing},
    {"a soak that is not over", PC_CHECK_RING, soak_not_over, nothing},
    {"a soak that ended before it began", PC_CHECK_RING, soaked_before_it_ended, nothing},
    {"one report too many", PC_CHECK_RING, one_too_many, nothing},
    {"a report altered by a byte", PC_CHECK_RING, nothing, forged_byte},
    {"garbage for a report", PC_CHECK_SYNTAX, nothing, garbage_report},
    {"garbage for a place", PC_CHECK_SYNTAX, nothing, place_garbage},
    {"no log entry", PC_CHECK_SYNTAX, nothing, cut_log},
    {"another ring than asked for", PC_CHECK_RING, nothing, other_ring_in_frame},
    {"another order than accepted", PC_CHECK_RING, nothing, other_order_in_frame},
    {"a continue that was not logged", PC_CHECK_LOG, nothing, wrong_proof},
    {"other reports than were logged", PC_CHECK_LOG, other_reports_logged, nothing},
    {"another history", PC_CHECK_CONSISTENCY, other_history, nothing},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < PC_ARRAY_SIZE(rows); i++) {
        struct attempt a;
        struct pc_order o;
        set_up(&a);
        rows[i].before(&a);
        make(&a, &o);
        rows[i].after(&a);
        enum pc_check got = judge(&a, &o, 1);
        if (got != rows[i].want)
            fail_msg("%s: \"%s\", not \"%s\"", rows[i].what, pc_check_word(got), pc_check_word(rows[i].want));
        assert_int_not_equal(judge(&a, &o, 0), PC_CHECK_OK); /* ring 0 needs none */
        assert_int_not_equal(judge(&a, &o, 2), PC_CHECK_OK); /* there is no such ring */
        pc_order_clear(&o);
        tear_down(&a);
    }
}

/* An order with a root: each report brings its place. */
static void test_places(void **state)
{
    (void)state;
    struct attempt a;
    struct pc_order o;
    struct pc_host_tree *tree;
    set_up(&a);
    assert_int_equal(pc_host_tree_new(a.f.host, 3, &tree), 0);
    json_object_del(a.order, "hosts");
    SET(a.order, "hosts_root", pc_json_base64_new(pc_host_tree_root(tree), 32));
    make(&a, &o);
    assert_int_equal(judge(&a, &o, 1), PC_CHECK_RING); /* no places */
    json_t *reports = json_object_get(a.frame, "reports");
    for (uint32_t i = 0; i < 2; i++) {
        struct pc_place place;
        assert_int_equal(pc_host_tree_place(tree, i, &place), 0);
        SET(json_array_get(reports, i), "place", fleet_place(&place));
    }
    assert_int_equal(judge(&a, &o, 1), PC_CHECK_OK);
    struct pc_place place;
    assert_int_equal(pc_host_tree_place(tree, 2, &place), 0);
    SET(json_array_get(reports, 1), "place", fleet_place(&place)); /* of the next ring's host */
    assert_int_equal(judge(&a, &o, 1), PC_CHECK_RING);
    pc_host_tree_free(tree);
    pc_order_clear(&o);
    tear_down(&a);
}

/* --- runs of a standing order ------------------------------------------------------------------------------------ */

static enum pc_check start(struct attempt *a, const struct pc_order *o, uint64_t run, uint64_t logged, uint64_t last)
{
    struct pc_trust t;
    struct pc_checkpoint c = {.size = 4711};
    struct pc_names_order names;
    char *entry, why[300] = "";
    size_t len, entry_len;
    uint64_t got_run = 4711;
    json_t *trust = fleet_trust(&a->f);
    fleet_trust_parse(trust, &t);
    json_decref(trust);
    assert_int_equal(pc_entry_start("acme", o->sha256, logged, NOW, &entry, &entry_len), 0);
    uint64_t index = fleet_log(&a->f, entry, entry_len);
    json_decref(a->frame);
    a->frame = json_pack("{s:s, s:I}", "order_sha256", o->sha256, "run", (json_int_t)run);
    fleet_prove(&a->f, a->frame, entry, entry_len, index, a->from, NOW);
    free(entry);
    _free_ char *text = fleet_text(a->frame, &len);
    enum pc_check got = pc_start_check(text, len, o, &t, &a->m, last, &got_run, &c, why, sizeof why);
    assert_true(got == PC_CHECK_OK ? got_run == run && c.size == a->f.size
                                   : got_run == 4711 && c.size == 4711 && why[0]);
    assert_int_equal(pc_start_names(text, len, &names), 0);
    assert_true(names.run == run && names.ring == 0 && strcmp(names.order_sha256, o->sha256) == 0);
    pc_trust_clear(&t);
    return got;
}

static void test_starts(void **state)
{
    (void)state;
    struct attempt a;
    struct pc_order o, once;
    size_t len;
    set_up(&a);
    json_t *recipe = fleet_recipe(&a.f);
    _free_ char *document = fleet_text(recipe, &len);
    assert_int_equal(pc_order_parse(document, len, &o, NULL, 0), PC_CHECK_OK);
    assert_int_equal(start(&a, &o, 1, 1, 0), PC_CHECK_OK);
    assert_int_equal(start(&a, &o, 9, 9, 8), PC_CHECK_OK);
    assert_int_equal(start(&a, &o, 8, 8, 8), PC_CHECK_SEQUENCE); /* replayed */
    assert_int_equal(start(&a, &o, 2, 2, 8), PC_CHECK_SEQUENCE);
    assert_int_equal(start(&a, &o, 3, 2, 1), PC_CHECK_LOG); /* another run was logged */
    a.m.checkpoint.root[0] ^= 1;
    assert_int_equal(start(&a, &o, 3, 3, 1), PC_CHECK_CONSISTENCY);
    a.m.checkpoint.root[0] ^= 1;
    _free_ char *act = fleet_text(a.order, &len);
    assert_int_equal(pc_order_parse(act, len, &once, NULL, 0), PC_CHECK_OK);
    assert_int_equal(start(&a, &once, 1, 1, 0), PC_CHECK_CLASS);
    pc_order_clear(&o);
    pc_order_clear(&once);
    json_decref(recipe);
    tear_down(&a);
}

/* --- checkpoint frames ------------------------------------------------------------------------------------------- */

static enum pc_check accept(struct attempt *a, json_t *frame)
{
    struct pc_trust t;
    struct pc_checkpoint c = {.size = 4711};
    char why[300] = "";
    size_t len;
    json_t *trust = fleet_trust(&a->f);
    fleet_trust_parse(trust, &t);
    json_decref(trust);
    _free_ char *text = fleet_text(frame, &len);
    enum pc_check got = pc_checkpoint_accept(text, len, &t, &a->m, &c, why, sizeof why);
    assert_true(got == PC_CHECK_OK ? c.size == a->f.size : c.size == 4711 && why[0]);
    if (got == PC_CHECK_OK) {
        assert_true(pc_checkpoint_fresh(&c, &t, NOW));
        assert_false(pc_checkpoint_fresh(&c, &t, NOW + 901));
    }
    pc_trust_clear(&t);
    return got;
}

static void test_checkpoints(void **state)
{
    (void)state;
    struct attempt a;
    set_up(&a);
    fleet_log_more(&a.f, 6);
    json_t *frame = json_object();
    fleet_prove(&a.f, frame, "entry 5", 7, 5, 5, NOW);
    json_object_del(frame, "entry");
    json_object_del(frame, "index");
    json_object_del(frame, "proof");
    assert_int_equal(accept(&a, frame), PC_CHECK_OK);
    struct pc_checkpoint old = a.m.checkpoint;
    a.m.checkpoint.root[9] ^= 1;
    assert_int_equal(accept(&a, frame), PC_CHECK_CONSISTENCY);
    a.m.checkpoint = old;
    a.m.checkpoint.size = 12; /* it has seen more */
    assert_int_equal(accept(&a, frame), PC_CHECK_CONSISTENCY);
    strcpy(a.m.checkpoint.origin, "old-log.example.org"); /* of a log that the quorum has replaced: nothing to follow */
    SET(frame, "from", json_integer(0));
    json_array_clear(json_object_get(frame, "consistency"));
    assert_int_equal(accept(&a, frame), PC_CHECK_OK);
    SET(frame, "checkpoint", json_string("log.example.org\n11\nAAAA\n\n"));
    assert_int_equal(accept(&a, frame), PC_CHECK_LOG);
    json_object_del(frame, "from");
    assert_int_equal(accept(&a, frame), PC_CHECK_SYNTAX);
    json_decref(frame);
    tear_down(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
