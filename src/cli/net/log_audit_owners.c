/*
 * Owns the judgement of what owners signed in the log. The log names approvals by their hashes only: the signatures themselves are fetched from
 * the server, which must be able to show every one, and are then counted against the trust file that was in force.
 */
#include "cli/net/log_audit.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/entry.h"
#include "trust/json.h"
#include "trust/tile.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- orders ------------------------------------------------------------------------------------------------------- */

struct order_body {
    char sha256[PC_SHA256_HEX + 1], id[PC_ID_LEN + 1];
    const json_t *approvals, *document;
};
static const struct pc_field order_fields[] = {
    {"order_sha256", PC_FIELD_HEX, offsetof(struct order_body, sha256), 0, PC_SHA256_HEX, false},
    {"id", PC_FIELD_HEX, offsetof(struct order_body, id), 0, PC_ID_LEN, false},
    {"approvals", PC_FIELD_ARRAY, offsetof(struct order_body, approvals), 1, PC_SIGNATURES_MAX, false},
    {"document", PC_FIELD_STRING, offsetof(struct order_body, document), 4, PC_ENTRY_MAX, true},
    {0},
};

static bool is_named(const json_t *approvals, const char *text, size_t len)
{
    char hash[PC_SHA256_HEX + 1];
    size_t i;
    const json_t *a;
    pc_sha256_text(text, len, hash);
    json_array_foreach(approvals, i, a)
        if (json_is_string(a) && strcmp(json_string_value(a), hash) == 0)
            return true;
    return false;
}

/* The document, out of the entry or the server's answer; it must have the hash that the entry names. */
static bool take_document(const struct order_body *b, const json_t *answer, struct pc_envelope *out)
{
    const json_t *texts[] = {b->document, json_object_get(answer, "document")};
    for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++) {
        _free_ char *document = NULL;
        size_t len;
        if (!json_is_string(texts[i]) || pc_json_base64(texts[i], PC_DOCUMENT_SMALL_MAX, &document, &len) < 0)
            continue;
        if (pc_envelope_make(document, len, out) < 0)
            return false;
        if (strcmp(out->sha256, b->sha256) == 0)
            return true;
        pc_envelope_clear(out);
    }
    return false;
}

/* Adds those signatures of the answer that the entry names. False: not all that it names are there. */
static bool take_approvals(const struct order_body *b, const json_t *answer, struct pc_envelope *out)
{
    size_t i;
    const json_t *s;
    json_array_foreach(json_object_get(answer, "signatures"), i, s)
        if (json_is_string(s) && is_named(b->approvals, json_string_value(s), json_string_length(s)) &&
            pc_envelope_add(out, json_string_value(s), json_string_length(s)) < 0)
            return false;
    return out->signatures == json_array_size(b->approvals);
}

static void check_quorum(struct pc_audit *a, uint64_t index, const struct pc_order *o, const struct pc_envelope *e)
{
    struct pc_approvers who;
    const struct pc_trust *t = a->trust;
    if (a->unknown_trust) {
        pc_audit_problem(a, index, "order %s: approved under a trust file that you do not have", o->id);
        return;
    }
    a->orders_checked++;
    if (pc_trust_approvers_known(t, &a->revoked, o->class_, PC_NS_ORDER, e, &who) < 0)
        pc_audit_problem(a, index, "order %s: an approval does not verify", o->id);
    else if (who.n < t->threshold[o->class_])
        pc_audit_problem(a, index, "order %s: NO QUORUM: %" PRIu32 " of %" PRIu32 " owners approved it%s", o->id, who.n, t->threshold[o->class_],
                         who.revoked ? " (signatures by keys that the log says are revoked do not count)" : "");
}

static void judge_order(struct pc_audit *a, uint64_t index, const struct pc_entry *entry, const struct order_body *b, const struct pc_envelope *e)
{
    struct pc_order o;
    char why[256] = "";
    if (pc_order_parse(e->document, e->len, &o, why, sizeof why) != PC_CHECK_OK) {
        pc_audit_problem(a, index, "order %s: not an order: %s", b->id, why);
        return;
    }
    bool stop = o.class_ == PC_CLASS_S;
    if (strcmp(o.id, b->id) != 0 || strcmp(o.tenant, a->fleet->trust.tenant) != 0 || stop != (strcmp(entry->type, "stop") == 0))
        pc_audit_problem(a, index, "order %s: the entry says other things of it than the document", b->id);
    json_object_set_new(a->orders, b->sha256, json_string(pc_class_letter(o.class_)));
    if (!a->log_only)
        check_quorum(a, index, &o, e);
    pc_order_clear(&o);
}

/* What the server shows of an order beside the log. *answer stays NULL when it shows nothing. */
static int ask_order(struct pc_audit *a, const char *sha256, json_t **answer)
{
    char path[PC_SHA256_HEX + 16];
    struct pc_buf text;
    bool found = false;
    snprintf(path, sizeof path, "/v1/orders/%s", sha256);
    int status = pc_fleet_bytes(a->fleet, path, PC_ANSWER_MAX, &text, &found);
    if (status)
        return status;
    if (found && pc_answer_parse(text.data ? text.data : "", text.len, answer) < 0)
        *answer = NULL;
    pc_buf_free(&text);
    return 0;
}

int pc_audit_order(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    struct order_body b = {0};
    _json_ json_t *answer = NULL;
    struct pc_envelope envelope = {0};
    if (pc_fields_read(e->body, "entry", order_fields, &b, (struct pc_why){0}) < 0) {
        pc_audit_problem(a, index, "%s: not the body of an order", e->type);
        return 0;
    }
    int status = a->log_only ? 0 : ask_order(a, b.sha256, &answer);
    if (status)
        return status;
    a->orders_unchecked += a->log_only;
    if (!take_document(&b, answer, &envelope))
        pc_audit_problem(a, index, "order %s: the server does not show the document that it logged", b.id);
    else if (!a->log_only && !take_approvals(&b, answer, &envelope))
        pc_audit_problem(a, index, "order %s: the server does not show the approvals that it logged", b.id);
    else
        judge_order(a, index, e, &b, &envelope);
    pc_envelope_clear(&envelope);
    return 0;
}

/* --- starts and continues ----------------------------------------------------------------------------------------- */

int pc_audit_ring(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    const char *order = pc_text_of(e->body, "order_sha256");
    if (!order || !pc_hex_valid(order, PC_SHA256_HEX))
        pc_audit_problem(a, index, "%s: names no order", e->type);
    else if (!json_object_get(a->orders, order))
        pc_audit_problem(a, index, "%s: of an order that was not logged before", e->type);
    return 0;
}

/* --- trust files, revocations, statements ------------------------------------------------------------------------- */

struct owners_body {
    char sha256[PC_SHA256_HEX + 1];
    const json_t *signatures, *document;
};
static const struct pc_field owners_fields[] = {
    {"sha256", PC_FIELD_HEX, offsetof(struct owners_body, sha256), 0, PC_SHA256_HEX, false},
    {"signatures", PC_FIELD_ARRAY, offsetof(struct owners_body, signatures), 0, PC_SIGNATURES_MAX, false},
    {"document", PC_FIELD_STRING, offsetof(struct owners_body, document), 4, PC_ENTRY_MAX, true},
    {0},
};

/* The owner's own copy of a former version, trust.N.json, when it is that very file. */
static bool is_own_copy(const struct pc_audit *a, const struct pc_trust *t)
{
    char name[40], why[8];
    _free_ char *text = NULL;
    size_t len;
    struct pc_trust own;
    snprintf(name, sizeof name, "trust.%" PRIu64 ".json", t->version);
    _free_ char *path = pc_owner_dir_file(&a->fleet->dir, name);
    if (!path || pc_cli_file_read(path, PC_TRUST_DOCUMENT_MAX, &text, &len) < 0 || pc_trust_parse(text, len, &own, why, sizeof why) < 0)
        return false;
    bool same = strcmp(own.sha256, t->sha256) == 0;
    pc_trust_clear(&own);
    return same;
}

/* From here on that trust file is in force. A former version than ours is taken from the log when the owner has no copy: with a note. */
static void take_trust(struct pc_audit *a, uint64_t index, const struct owners_body *b, const char *text, size_t len)
{
    const struct pc_trust *mine = &a->fleet->trust;
    struct pc_trust t;
    a->unknown_trust = false;
    if (strcmp(b->sha256, mine->sha256) == 0) {
        a->trust = &a->fleet->trust;
        return;
    }
    if (!text || pc_trust_parse(text, len, &t, NULL, 0) < 0) {
        a->unknown_trust = true;
        pc_audit_problem(a, index, "trust: not a trust file, and not yours");
        return;
    }
    if (t.version >= mine->version) {
        a->unknown_trust = true;
        pc_audit_problem(a, index, "trust: version %" PRIu64 " came into force, yours is version %" PRIu64 ": get it from another owner, not from the server",
                         t.version, mine->version);
        pc_trust_clear(&t);
        return;
    }
    if (!is_own_copy(a, &t))
        pc_audit_note(a, "entry %" PRIu64 ": trust file version %" PRIu64 " is not in your folder (trust.%" PRIu64 ".json): taken from the log", index, t.version, t.version);
    if (a->has_former)
        pc_trust_clear(&a->former);
    a->former = t;
    a->has_former = true;
    a->trust = &a->former;
}

static void take_revocation(struct pc_audit *a, uint64_t index, const char *text, size_t len)
{
    struct pc_revocation v;
    if (!text || pc_revocation_parse(text, len, &v, NULL, 0) < 0) {
        pc_audit_problem(a, index, "revoke: not a revocation");
        return;
    }
    if (!pc_revoked_has(&a->revoked, v.key) && a->revoked.n < PC_REVOKED_MAX)
        memcpy(a->revoked.fingerprint[a->revoked.n++], v.key, sizeof v.key);
}

int pc_audit_owners(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    struct owners_body b = {0};
    struct pc_server_statement statement;
    _free_ char *text = NULL;
    size_t len = 0;
    char hash[PC_SHA256_HEX + 1];
    bool bad = pc_fields_read(e->body, "entry", owners_fields, &b, (struct pc_why){0}) < 0;
    if (!bad && b.document)
        bad = pc_json_base64(b.document, PC_ENTRY_MAX, &text, &len) < 0;
    if (!bad && text) {
        pc_sha256_text(text, len, hash);
        bad = strcmp(hash, b.sha256) != 0;
    }
    if (bad) {
        pc_audit_problem(a, index, "%s: the entry does not hold the document that it names", e->type);
        return 0;
    }
    if (strcmp(e->type, "trust") == 0) {
        take_trust(a, index, &b, text, len);
    } else if (strcmp(e->type, "revoke") == 0) {
        take_revocation(a, index, text, len);
    } else if (!text || pc_server_statement_parse(text, len, &statement, NULL, 0) < 0) {
        pc_audit_problem(a, index, "server: not a server statement");
    } else {
        pc_server_statement_clear(&statement);
    }
    return 0;
}
