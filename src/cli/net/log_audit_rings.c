/*
 * Owns the judgement of starts, continues and halts in the log: of orders that were logged before, and a halt only when
 * reports that hosts signed, and that stand in the log before it, are worse than the order's halt rule allows.
 */
#include "cli/net/log_audit.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "trust/entry.h"
#include "trust/report.h"

#include <inttypes.h>
#include <string.h>

int pc_audit_ring(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    const char *order = pc_text_of(e->body, "order_sha256");
    const json_t *known = order ? json_object_get(a->orders, order) : NULL, *halted = json_object_get(known, "halted");
    if (!order || !pc_hex_valid(order, PC_SHA256_HEX))
        pc_audit_problem(a, index, "%s: names no order", e->type);
    else if (!known)
        pc_audit_problem(a, index, "%s: of an order that was not logged before", e->type);
    else if (halted && strcmp(e->type, "continue") == 0 && json_equal(halted, json_object_get(e->body, "run")))
        pc_audit_problem(a, index, "continue: opens a ring of order %.16s, which was halted before", order);
    return 0;
}

void pc_audit_report(struct pc_audit *a, uint64_t index, const char *sha256, const struct pc_ring_report *r)
{
    bool failed = strcmp(r->outcome, "ok") != 0;
    if (!failed && r->incidents == 0)
        return;
    if (json_object_size(a->bad) == PC_AUDIT_REPORTS_MAX)
        pc_audit_note(a,
                      "entry %" PRIu64
                      ": more than %d reports of failures and incidents: halts that name later ones are not checked",
                      index, PC_AUDIT_REPORTS_MAX);
    if (json_object_size(a->bad) <= PC_AUDIT_REPORTS_MAX)
        json_object_set_new(a->bad, sha256,
                            json_pack("{s:s,s:s,s:I,s:I,s:b,s:I}", "order", r->order_sha256, "host", r->host.id, "run",
                                      (json_int_t)r->run, "ring", (json_int_t)r->ring, "failed", failed, "incidents",
                                      (json_int_t)r->incidents));
}

/* A report of this very ring, by a host that was not counted yet. */
static bool counts(const json_t *report, const struct pc_entry_halt *h, json_t *hosts)
{
    const char *order = pc_text_of(report, "order"), *host = pc_text_of(report, "host");
    if (!order || !host || strcmp(order, h->order_sha256) != 0 || json_object_get(hosts, host))
        return false;
    json_object_set_new(hosts, host, json_true());
    return (uint64_t)pc_number_of(report, "run") == h->run && (uint32_t)pc_number_of(report, "ring") == h->ring;
}

/* Adds up the reports that it names. False: one is not there. */
static bool add_up(const struct pc_audit *a, const struct pc_entry_halt *h, uint64_t *failures, uint64_t *incidents)
{
    json_t *hosts = json_object();
    bool all = hosts != NULL;
    for (uint32_t i = 0; i < h->n && all; i++) {
        char hash[PC_SHA256_HEX + 1];
        pc_hex(h->because[i], 32, hash);
        const json_t *report = json_object_get(a->bad, hash);
        all = counts(report, h, hosts);
        *failures += all && json_is_true(json_object_get(report, "failed"));
        *incidents += all ? (uint64_t)pc_number_of(report, "incidents") : 0;
    }
    json_decref(hosts);
    return all;
}

static void judge_halt(struct pc_audit *a, uint64_t index, const struct pc_entry_halt *h, const json_t *order)
{
    uint64_t failures = 0, incidents = 0;
    bool rule_known = json_object_get(order, "rings") != NULL; /* not of a document that could not be looked at */
    bool all = add_up(a, h, &failures, &incidents), named = h->n < PC_HALT_REPORTS_MAX;
    if (!all && json_object_size(a->bad) > PC_AUDIT_REPORTS_MAX)
        return;
    if (!all)
        pc_audit_problem(a, index, "halt: of order %.16s, by a report that is not in the log before it",
                         h->order_sha256);
    else if (named && (failures != h->failures || incidents != h->incidents))
        pc_audit_problem(a, index,
                         "halt: of order %.16s: the reports that it names have %" PRIu64 " failures and %" PRIu64
                         " incidents, not %" PRIu64 " and %" PRIu64,
                         h->order_sha256, failures, incidents, h->failures, h->incidents);
    else if (rule_known && (h->ring + 1 >= (uint32_t)pc_number_of(order, "rings") ||
                            (h->failures <= (uint64_t)pc_number_of(order, "failures") &&
                             h->incidents <= (uint64_t)pc_number_of(order, "incidents"))))
        pc_audit_problem(a, index, "halt: of order %.16s, whose halt rule allows what ring %" PRIu32 " reported",
                         h->order_sha256, h->ring);
}

int pc_audit_halt(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    struct pc_entry_halt h;
    char why[200];
    if (pc_entry_halt_read(e, &h, why, sizeof why) < 0) {
        pc_audit_problem(a, index, "halt: %s", why);
        return 0;
    }
    json_t *order = json_object_get(a->orders, h.order_sha256);
    if (!order) {
        pc_audit_problem(a, index, "halt: of an order that was not logged before");
        return 0;
    }
    judge_halt(a, index, &h, order);
    json_object_set_new(order, "halted", json_integer((json_int_t)h.run));
    return 0;
}
