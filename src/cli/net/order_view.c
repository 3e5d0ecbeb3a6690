/*
 * Owns what is believed of the server's account of an order (order_view.h): the document by its hash, approvals by the
 * owners' keys, each host's outcome by the host's own key. Prints nothing but failures.
 */
#include "cli/net/order_view.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "cli/net/proof.h"
#include "trust/json.h"

#include <errno.h>
#include <string.h>

struct weighing {
    struct pc_fleet *fleet;
    struct pc_order order; /* of the document that the server shows */
    struct pc_envelope envelope;
    bool hosts_known; /* the hosts that the server lists are those of the order's root */
    json_int_t problems;
    json_int_t reports[PC_RINGS_MAX], failures[PC_RINGS_MAX], incidents[PC_RINGS_MAX];
};

static void weighing_clear(struct weighing *w)
{
    pc_order_clear(&w->order);
    pc_envelope_clear(&w->envelope);
}
#define _weighing_ __attribute__((cleanup(weighing_clear)))

static int wrong(const struct weighing *w, const char *what)
{
    return pc_cli_fail(PC_EXIT_FAILED, "%s: the server's answer is not to be believed: %s",
                       pc_https_url(w->fleet->http), what);
}

/* --- the document and who approved it ----------------------------------------------------------------------------- */

static int take_document(struct weighing *w, const json_t *answer, const struct pc_order_question *q)
{
    _free_ char *document = NULL;
    char why[256] = "";
    size_t len;
    const json_t *text = json_object_get(answer, "document");
    if (!json_is_string(text) || pc_json_base64(text, PC_DOCUMENT_SMALL_MAX, &document, &len) < 0)
        return wrong(w, "it has no document");
    if (pc_envelope_make(document, len, &w->envelope) < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (pc_order_parse(document, len, &w->order, why, sizeof why) != PC_CHECK_OK)
        return wrong(w, "the document is not an order");
    const char *asked = strlen(q->id) == PC_SHA256_HEX ? w->order.sha256 : w->order.id;
    const char *named = pc_text_of(answer, "order_sha256");
    if (strcmp(asked, q->id) != 0 || (q->sha256 && strcmp(q->sha256, w->order.sha256) != 0) || !named ||
        strcmp(named, w->order.sha256) != 0)
        return wrong(w, "it shows another order than was asked for");
    return 0;
}

static int take_signatures(struct weighing *w, const json_t *answer)
{
    size_t i;
    const json_t *s;
    json_array_foreach(json_object_get(answer, "signatures"), i, s) {
        int r = json_is_string(s) ? pc_envelope_add(&w->envelope, json_string_value(s), json_string_length(s))
                                  : PC_E_SYNTAX;
        if (r < 0)
            return r == -ENOMEM ? pc_cli_fail(PC_EXIT_FAILED, "out of memory")
                                : wrong(w, "its signatures are no signatures");
    }
    return 0;
}

/* Names of those whose approval verifies here; null without a trust file. */
static json_t *approved_by(struct weighing *w)
{
    struct pc_fleet *f = w->fleet;
    struct pc_approvers who;
    _free_ char *path = pc_owner_dir_file(&f->dir, "trust.json");
    if (!path || access(path, R_OK) < 0 || pc_fleet_trust(f) != 0)
        return json_null();
    json_t *names = json_array();
    if (pc_trust_approvers_known(&f->trust, NULL, w->order.class_, PC_NS_ORDER, &w->envelope, &who) < 0)
        return names;
    for (uint32_t i = 0; i < who.n; i++)
        json_array_append_new(names, json_string(f->trust.owner[who.owner[i]].name));
    return names;
}

/* --- the hosts ---------------------------------------------------------------------------------------------------- */

/* An order with a root: the hosts that the server lists, in its order, must have that root. */
static bool hosts_match_root(const struct weighing *w, const json_t *hosts)
{
    struct pc_host_tree *tree = NULL;
    size_t n = json_array_size(hosts);
    if (!w->order.rooted || n != w->order.hosts)
        return false;
    _free_ struct pc_host_ref *refs = calloc(n, sizeof *refs);
    bool good = refs != NULL;
    for (size_t i = 0; i < n && good; i++) {
        const char *text = pc_text_of(json_array_get(hosts, i), "host");
        good = text && pc_host_ref_parse(text, &refs[i]) == 0;
    }
    good = good && pc_host_tree_new(refs, (uint32_t)n, &tree) == 0 &&
           memcmp(pc_host_tree_root(tree), w->order.root, sizeof w->order.root) == 0;
    pc_host_tree_free(tree);
    return good;
}

static bool belongs(const struct weighing *w, const struct pc_host_ref *host)
{
    return w->order.rooted ? w->hosts_known : pc_order_position(&w->order, host, NULL) >= 0;
}

static json_t *time_json(int64_t t)
{
    char text[PC_TIME_SIZE];
    pc_time_format(t, text);
    return json_string(text);
}

/* What the host signed replaces what the server said. */
static void put_result(json_t *row, const struct pc_result *r)
{
    const char *said = pc_text_of(row, "outcome");
    if (said && *said && strcmp(said, r->outcome) != 0)
        json_object_set_new(row, "server_says", json_string(said));
    json_object_set_new(row, "outcome", json_string(r->outcome));
    json_object_set_new(row, "exit", json_integer(r->exit));
    json_object_set_new(row, "signal", json_integer(r->signal));
    json_object_set_new(row, "output", pc_json_base64_new(r->output, r->output_len));
    json_object_set_new(row, "output_sha256", json_string(r->output_sha256));
    json_object_set_new(row, "output_truncated", json_boolean(r->truncated));
    json_object_set_new(row, "run", json_integer((json_int_t)r->run));
    json_object_set_new(row, "started", time_json(r->started));
    json_object_set_new(row, "ended", time_json(r->ended));
    if (r->data)
        json_object_set(row, "data", (json_t *)(uintptr_t)r->data);
}

static json_t *ack_json(const struct pc_ack *a)
{
    return json_pack("{s:s,s:s,s:s,s:o}", "verdict", a->verdict == PC_CHECK_OK ? "accepted" : "refused", "why",
                     pc_check_word(a->verdict), "text", a->text, "time", time_json(a->time));
}

static void problem(struct weighing *w, json_t *row, const char *what, const char *why)
{
    json_t *text = json_sprintf("%s%s%s", what, *why ? ": " : "", why);
    json_object_set_new(row, "problem", text ? text : json_string(what));
    w->problems++;
}

/* The ring's account is made of what hosts signed, and of nothing else. */
static void count_report(struct weighing *w, const struct pc_ring_report *r)
{
    if (r->ring >= PC_RINGS_MAX)
        return;
    w->reports[r->ring]++;
    w->failures[r->ring] += strcmp(r->outcome, "ok") != 0;
    w->incidents[r->ring] += r->incidents;
}

static void weigh_report(struct weighing *w, json_t *row, const struct pc_about *about)
{
    char why[128] = "";
    struct pc_ring_report r;
    enum pc_proof p = pc_proof_ring(json_object_get(row, "report"), about, &r, why, sizeof why);
    json_t *shown = p == PC_PROOF_GOOD
                        ? json_pack("{s:i,s:I,s:s,s:I,s:o}", "ring", (int)r.ring, "run", (json_int_t)r.run, "outcome",
                                    r.outcome, "incidents", (json_int_t)r.incidents, "soaked", time_json(r.soaked))
                        : json_null();
    json_object_set_new(row, "report", shown);
    if (p == PC_PROOF_FORGED)
        problem(w, row, "the server shows a forged ring report", why);
    else if (p == PC_PROOF_GOOD && belongs(w, about->host))
        count_report(w, &r);
}

static void weigh_host(struct weighing *w, json_t *row, const struct pc_host_ref *host)
{
    const struct pc_about about = {.tenant = w->order.tenant, .host = host, .order_sha256 = w->order.sha256};
    char why[128] = "";
    struct pc_result result;
    struct pc_ack ack;
    enum pc_proof p = pc_proof_result(json_object_get(row, "envelope"), &about, &result, why, sizeof why);
    bool mine = belongs(w, host);
    json_object_set_new(row, "proven", json_boolean(p == PC_PROOF_GOOD && mine));
    if (p == PC_PROOF_FORGED)
        problem(w, row, "the server shows a forged result", why);
    else if (p == PC_PROOF_GOOD && mine)
        put_result(row, &result);
    if (p == PC_PROOF_GOOD)
        pc_result_clear(&result);
    if (p == PC_PROOF_GOOD && mine && json_object_get(row, "server_says") && !w->order.standing)
        problem(w, row, "the host signed another outcome than the server says", "");
    enum pc_proof a = pc_proof_ack(json_object_get(row, "ack"), &about, &ack, why, sizeof why);
    json_object_set_new(row, "ack", a == PC_PROOF_GOOD ? ack_json(&ack) : json_null());
    if (a == PC_PROOF_FORGED)
        problem(w, row, "the server shows a forged acknowledgement", why);
    weigh_report(w, row, &about);
    if (!mine)
        problem(w, row, "this host is not in the order", "");
    if (pc_fleet_pin(w->fleet, host) == PC_PIN_CHANGED)
        problem(w, row, "the order names another identity of this host than you pinned", "");
    json_object_del(row, "envelope");
}

/* A row of the server's list as ours: text fields that are there, whatever it sent. */
static void make_harmless(json_t *row)
{
    static const char *const texts[] = {"state", "why", "outcome"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++)
        if (!json_is_string(json_object_get(row, texts[i])))
            json_object_set_new(row, texts[i], json_string(""));
    if (!json_is_integer(json_object_get(row, "exit")))
        json_object_set_new(row, "exit", json_integer(-1));
    json_object_del(row, "problem");
    json_object_del(row, "server_says");
}

/* Hosts of the order that the server does not speak of. */
static void add_missing(struct weighing *w, json_t *hosts)
{
    for (uint32_t i = 0; !w->order.rooted && i < w->order.hosts; i++) {
        char ref[PC_HOST_REF_SIZE];
        bool found = false;
        size_t k;
        const json_t *h;
        pc_host_ref_format(&w->order.host[i], ref);
        json_array_foreach(hosts, k, h)
            found = found || strcmp(pc_text_of(h, "host"), ref) == 0;
        if (found)
            continue;
        json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:i,s:b,s:n,s:i}", "host", ref, "state", "missing", "why", "",
                                "outcome", "", "exit", -1, "proven", 0, "ack", "ring",
                                (int)pc_order_ring_of(&w->order, i));
        problem(w, row, "the server does not mention this host of the order", "");
        json_array_append_new(hosts, row);
    }
}

static int weigh_hosts(struct weighing *w, json_t *hosts)
{
    size_t i;
    json_t *row;
    w->hosts_known = hosts_match_root(w, hosts);
    json_array_foreach(hosts, i, row) {
        struct pc_host_ref host;
        const char *text = pc_text_of(row, "host");
        if (!text || pc_host_ref_parse(text, &host) < 0)
            return wrong(w, "it lists a host that is none");
        make_harmless(row);
        weigh_host(w, row, &host);
    }
    add_missing(w, hosts);
    return 0;
}

/* --- together ----------------------------------------------------------------------------------------------------- */

static void put_order(json_t *view, const struct weighing *w)
{
    char text[PC_TIME_SIZE];
    const struct pc_order *o = &w->order;
    json_object_set_new(view, "id", json_string(o->id));
    json_object_set_new(view, "action", json_string(o->action));
    json_object_set_new(view, "class", json_string(pc_class_letter(o->class_)));
    json_object_set_new(view, "says", json_string(o->says));
    json_object_set_new(view, "count", json_integer(o->hosts));
    json_object_set_new(view, "rings", json_integer(o->rings));
    json_object_set_new(view, "sequence", json_integer((json_int_t)o->sequence));
    pc_time_format(o->expires, text);
    json_object_set_new(view, "expires", json_string(text));
}

static void put_rings(json_t *view, const struct weighing *w)
{
    json_t *list = json_array();
    for (int i = 0; i < PC_RINGS_MAX; i++)
        if (w->reports[i])
            json_array_append_new(list, json_pack("{s:i,s:I,s:I,s:I}", "ring", i, "reports", w->reports[i], "failures",
                                                  w->failures[i], "incidents", w->incidents[i]));
    json_object_set_new(view, "reported", list);
    json_object_set_new(
        view, "halt",
        json_pack("{s:i,s:i}", "failures", (int)w->order.halt_failures, "incidents", (int)w->order.halt_incidents));
}

static int weigh(struct weighing *w, const struct pc_order_question *q, json_t *answer)
{
    json_t *hosts = json_object_get(answer, "hosts");
    int status = take_document(w, answer, q);
    if (status == 0)
        status = take_signatures(w, answer);
    if (status)
        return status;
    if (!json_is_array(hosts) || !json_is_string(json_object_get(answer, "state")))
        return wrong(w, "it has no hosts or no state");
    put_order(answer, w);
    json_object_set_new(answer, "approved_by", approved_by(w));
    status = weigh_hosts(w, hosts);
    json_object_del(answer, "problem");
    if (json_array_size(hosts) == 0) /* of an order with a root: those of a list are in it */
        problem(w, answer, "the server does not show the hosts of the order", "");
    put_rings(answer, w);
    json_object_set_new(answer, "problems", json_integer(w->problems));
    return status;
}

int pc_order_view(struct pc_fleet *f, const struct pc_order_question *q, json_t **out)
{
    _weighing_ struct weighing w = {.fleet = f};
    json_t *answer;
    int status = pc_fleet_get(f, &answer, "/v1/orders/%s", q->id);
    if (status)
        return status;
    status = weigh(&w, q, answer);
    if (status)
        json_decref(answer);
    else
        *out = answer;
    return status;
}

json_int_t pc_order_view_problems(const json_t *view)
{
    return pc_number_of(view, "problems");
}

static bool one_of(const char *word, const char *const *list)
{
    while (word && *list && strcmp(word, *list) != 0)
        list++;
    return word && *list;
}

bool pc_order_view_over(const json_t *view)
{
    static const char *const over[] = {"done", "halted", "expired", NULL};
    static const char *const ended[] = {"ok", "failed", "timeout", "unknown", "halted", "refused", NULL};
    size_t i;
    const json_t *h;
    if (one_of(pc_text_of(view, "state"), over))
        return true;
    json_array_foreach(json_object_get(view, "hosts"), i, h)
        if (!one_of(pc_text_of(h, "state"), ended))
            return false;
    return true;
}

/* A host's own word: how it ended, or, with taken, that it took or refused it. */
static bool is_signed(const json_t *host, bool taken)
{
    return pc_truth_of(host, "proven") || (taken && json_is_object(json_object_get(host, "ack")));
}

/* As far as is known: what is proven, or else what the server says. */
static bool went_wrong(const json_t *host)
{
    static const char *const bad[] = {"failed", "timeout", "unknown", "halted", "refused", NULL};
    const char *outcome = pc_text_of(host, "outcome"), *verdict = pc_text_of(json_object_get(host, "ack"), "verdict");
    return one_of(pc_text_of(host, "state"), bad) || (outcome && *outcome && strcmp(outcome, "ok") != 0) ||
           (verdict && strcmp(verdict, "refused") == 0);
}

size_t pc_order_view_unsigned(const json_t *view, bool taken)
{
    size_t i, n = 0;
    const json_t *h;
    json_array_foreach(json_object_get(view, "hosts"), i, h)
        n += !is_signed(h, taken);
    return n;
}

size_t pc_order_view_wrong(const json_t *view)
{
    size_t i, n = 0;
    const json_t *h;
    json_array_foreach(json_object_get(view, "hosts"), i, h)
        n += went_wrong(h);
    return n;
}

bool pc_order_view_taken(const json_t *view)
{
    static const char *const early[] = {"queued", "delivered", "missing", "", NULL};
    size_t i;
    const json_t *h;
    json_array_foreach(json_object_get(view, "hosts"), i, h)
        if (one_of(pc_text_of(h, "state"), early))
            return false;
    return true;
}
