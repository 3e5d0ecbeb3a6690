/*
 * Owns the judgement of what hosts signed in the log: by which host, in the right form, and whether the checkpoint that
 * the host saw is a beginning of this very log. The last finds a server that showed a host another history than us.
 */
#include "cli/net/log_audit.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/entry.h"
#include "trust/json.h"
#include "trust/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What the kinds of hosts' documents have in common. */
struct said {
    const char *tenant, *order_sha256; /* order NULL or "": none */
    const struct pc_host_ref *host;
    const struct pc_seen *seen; /* NULL: says nothing of the log */
};

/* --- the envelope ------------------------------------------------------------------------------------------------- */

struct large { /* of an entry without room for the document */
    char sha256[PC_SHA256_HEX + 1];
    const json_t *key, *signature;
};
static const struct pc_field large_fields[] = {
    {"document_sha256", PC_FIELD_HEX, offsetof(struct large, sha256), 0, PC_SHA256_HEX, false},
    {"key", PC_FIELD_STRING, offsetof(struct large, key), 44, 44, false},
    {"signature", PC_FIELD_STRING, offsetof(struct large, signature), 88, 88, false},
    {0},
};

/*
 * The envelope that the entry has no room for, from the server; it must be the one that the entry names. NULL with
 * *status 0: not shown.
 */
static json_t *fetch_large(struct pc_audit *a, uint64_t index, const json_t *body, int *status)
{
    struct large l;
    char path[PC_SHA256_HEX + 16];
    struct pc_buf text;
    bool found = false;
    json_t *envelope = NULL;
    if (pc_fields_read(body, "entry", large_fields, &l, (struct pc_why){0}) < 0) {
        pc_audit_problem(a, index, "neither an envelope nor the hash of one");
        return NULL;
    }
    if (a->log_only) {
        pc_audit_note(a, "entry %" PRIu64 ": a document too large for the log was not looked at", index);
        return NULL;
    }
    snprintf(path, sizeof path, "/v1/reports/%s", l.sha256);
    *status = pc_fleet_bytes(a->fleet, path, PC_ENVELOPE_MAX, &text, &found);
    if (*status)
        return NULL;
    if (found && pc_answer_parse(text.data ? text.data : "", text.len, &envelope) < 0)
        envelope = NULL;
    pc_buf_free(&text);
    if (envelope && json_equal(json_object_get(envelope, "key"), l.key) &&
        json_equal(json_object_get(envelope, "signature"), l.signature))
        return envelope;
    json_decref(envelope);
    pc_audit_problem(a, index, "the server does not show the document whose hash it logged");
    return NULL;
}

static int open_envelope(struct pc_audit *a, uint64_t index, const struct pc_entry *e, const char *kind,
                         struct pc_host_envelope *out, int *status)
{
    json_t *inside = json_object_get(e->body, "envelope");
    _json_ json_t *envelope = inside && json_object_size(e->body) == 1 ? json_incref(inside)
                                                                       : fetch_large(a, index, e->body, status);
    _free_ char *text = envelope ? json_dumps(envelope, JSON_COMPACT) : NULL;
    if (!text)
        return PC_E_NOTFOUND;
    int r = pc_host_envelope_open(text, strlen(text), kind, out);
    if (r < 0 && r != -ENOMEM)
        pc_audit_problem(a, index, "%s: %s", e->type,
                         r == PC_E_SIGNATURE ? "the host's signature does not verify" : "not an envelope of a host");
    if (r == -ENOMEM)
        *status = pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    return r;
}

/* --- what was said ------------------------------------------------------------------------------------------------ */

/*
 * The document came after the host saw that checkpoint, and is logged after it was made: so the checkpoint is smaller
 * than this entry's place.
 */
static void check_seen(struct pc_audit *a, uint64_t index, const struct said *s)
{
    uint8_t root[PC_HASH_LEN];
    if (!s->seen || s->seen->size == 0)
        return;
    a->seen_checked++;
    if (s->seen->size > index) {
        pc_audit_problem(a, index, "SPLIT VIEW: %s saw a log of %" PRIu64 " entries before this one had so many",
                         s->host->name, s->seen->size);
        return;
    }
    a->status = pc_log_walk_root(a->walk, s->seen->size, root);
    if (a->status == 0 && memcmp(root, s->seen->root, PC_HASH_LEN) != 0)
        pc_audit_problem(
            a, index, "SPLIT VIEW: %s was shown another log: its first %" PRIu64 " entries are not those of this one",
            s->host->name, s->seen->size);
}

static void check_said(struct pc_audit *a, uint64_t index, const char *type, const struct said *s, const char *signer)
{
    if (strcmp(s->tenant, a->fleet->trust.tenant) != 0)
        pc_audit_problem(a, index, "%s: of another tenant", type);
    if (strcmp(s->host->id, signer) != 0)
        pc_audit_problem(a, index, "%s: not signed by %s#%s, in whose name it speaks", type, s->host->name,
                         s->host->id);
    if (pc_fleet_pin(a->fleet, s->host) == PC_PIN_CHANGED)
        pc_audit_problem(a, index, "%s: %s has another identity here (%s) than you pinned", type, s->host->name,
                         s->host->id);
    if (s->order_sha256 && *s->order_sha256 && !json_object_get(a->orders, s->order_sha256))
        a->outside++;
    check_seen(a, index, s);
}

static int judge_ack(struct pc_audit *a, uint64_t index, const char *type, const struct pc_host_envelope *e)
{
    struct pc_ack ack;
    int r = pc_ack_parse(e->document, e->len, &ack);
    if (r < 0)
        return r;
    if ((ack.verdict != PC_CHECK_OK) != (strcmp(type, "refusal") == 0))
        pc_audit_problem(a, index, "%s: the host's word was the other one", type);
    check_said(a, index, type, &(struct said){ack.tenant, ack.order_sha256, &ack.host, &ack.seen}, e->id);
    return 0;
}

static int judge_result(struct pc_audit *a, uint64_t index, const char *type, const struct pc_host_envelope *e)
{
    struct pc_result result;
    int r = pc_result_parse(e->document, e->len, &result);
    if (r < 0)
        return r;
    check_said(a, index, type, &(struct said){result.tenant, result.order_sha256, &result.host, &result.seen}, e->id);
    pc_result_clear(&result);
    return 0;
}

static int judge_ring(struct pc_audit *a, uint64_t index, const char *type, const struct pc_host_envelope *e)
{
    struct pc_ring_report report;
    int r = pc_ring_report_parse(e->document, e->len, &report);
    if (r < 0)
        return r;
    check_said(a, index, type, &(struct said){report.tenant, report.order_sha256, &report.host, NULL}, e->id);
    if (strcmp(report.host.id, e->id) == 0)
        pc_audit_report(a, index, e->sha256, &report);
    return 0;
}

static int judge_enroll(struct pc_audit *a, uint64_t index, const char *type, const struct pc_host_envelope *e)
{
    struct pc_enroll enroll;
    struct pc_host_ref host;
    int r = pc_enroll_parse(e->document, e->len, &enroll);
    if (r < 0)
        return r;
    memcpy(host.name, enroll.host, sizeof host.name);
    memcpy(host.id, e->id, sizeof host.id);
    check_said(a, index, type, &(struct said){enroll.tenant, NULL, &host, NULL}, e->id);
    return 0;
}

int pc_audit_host(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    static const struct {
        const char *type, *kind;
        int (*judge)(struct pc_audit *a, uint64_t index, const char *type, const struct pc_host_envelope *e);
    } kinds[] = {{"ack", "ack", judge_ack},          {"refusal", "ack", judge_ack},
                 {"result", "result", judge_result}, {"incident", "result", judge_result},
                 {"ring", "ring", judge_ring},       {"enroll", "enroll", judge_enroll}};
    struct pc_host_envelope envelope = {0};
    size_t i = 0;
    int status = 0;
    while (i < PC_ARRAY_SIZE(kinds) - 1 && strcmp(kinds[i].type, e->type) != 0)
        i++;
    if (open_envelope(a, index, e, kinds[i].kind, &envelope, &status) < 0)
        return status;
    int r = kinds[i].judge(a, index, e->type, &envelope);
    pc_host_envelope_clear(&envelope);
    if (r < 0)
        pc_audit_problem(a, index, "%s: signed by a host, but not such a document", e->type);
    return 0;
}
