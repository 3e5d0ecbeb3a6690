/*
 * Owns the log's entries (PROTOCOL.md 1.7): what the server writes and what a host demands that an entry says about an
 * order. What owners signed is made, and read whole, in entry_owners.c. That the entry is in the log is log_part.c's.
 */
#include "trust/entry.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/parts.h"
#include "trust/tile.h"

#include <errno.h>
#include <string.h>

/* --- making ------------------------------------------------------------------------------------------------------ */

int pc_entry_finish(const char *tenant, const char *type, int64_t time, json_t *body, char **out, size_t *len)
{
    char when[PC_TIME_SIZE], *text = NULL;
    size_t n = 0;
    if (!body)
        return -ENOMEM;
    pc_time_format(time, when);
    int r = pc_json_text(json_pack("{s:s, s:s, s:s, s:s, s:o}", "portcullis", "entry/1", "tenant", tenant, "type", type,
                                   "time", when, "body", body),
                         &text, &n);
    if (r < 0)
        return r;
    if (n > PC_ENTRY_MAX) {
        free(text);
        return PC_E_LIMIT;
    }
    *out = text;
    *len = n;
    return 0;
}

int pc_entry_start(const char *tenant, const char *order_sha256, uint64_t run, int64_t time, char **out, size_t *len)
{
    return pc_entry_finish(tenant, "start", time,
                           json_pack("{s:s, s:I}", "order_sha256", order_sha256, "run", (json_int_t)run), out, len);
}

/* One hash over the reports' hashes: a thousand of them would not fit an entry. */
static void hash_reports(const uint8_t (*reports)[32], uint32_t n, char out[PC_SHA256_HEX + 1])
{
    pc_sha256_text(reports, (size_t)n * 32, out);
}

int pc_entry_continue(const char *tenant, const char *order_sha256, uint64_t run, uint32_t ring,
                      const uint8_t (*reports)[32], uint32_t n, int64_t time, char **out, size_t *len)
{
    char hash[PC_SHA256_HEX + 1];
    hash_reports(reports, n, hash);
    return pc_entry_finish(tenant, "continue", time,
                           json_pack("{s:s, s:I, s:I, s:I, s:s}", "order_sha256", order_sha256, "run", (json_int_t)run,
                                     "ring", (json_int_t)ring, "count", (json_int_t)n, "reports", hash),
                           out, len);
}

int pc_entry_host(const char *tenant, const char *type, const struct pc_host_envelope *e, int64_t time, char **out,
                  size_t *len)
{
    json_t *whole = json_pack("{s:{s:o, s:o, s:o}}", "envelope", "document", pc_json_base64_new(e->document, e->len),
                              "key", pc_json_base64_new(e->key, sizeof e->key), "signature",
                              pc_json_base64_new(e->signature, sizeof e->signature));
    int r = pc_entry_finish(tenant, type, time, whole, out, len);
    if (r != PC_E_LIMIT)
        return r;
    return pc_entry_finish(tenant, type, time,
                           json_pack("{s:s, s:o, s:o}", "document_sha256", e->sha256, "key",
                                     pc_json_base64_new(e->key, sizeof e->key), "signature",
                                     pc_json_base64_new(e->signature, sizeof e->signature)),
                           out, len);
}

int pc_entry_halt(const char *tenant, const struct pc_entry_halt *h, int64_t time, char **out, size_t *len)
{
    json_t *because = json_array();
    for (uint32_t i = 0; i < h->n; i++) {
        char hash[PC_SHA256_HEX + 1];
        pc_hex(h->because[i], 32, hash);
        if (json_array_append_new(because, json_string(hash)) < 0) {
            json_decref(because);
            return -ENOMEM;
        }
    }
    return pc_entry_finish(tenant, "halt", time,
                           json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "order_sha256", h->order_sha256, "run",
                                     (json_int_t)h->run, "ring", (json_int_t)h->ring, "failures",
                                     (json_int_t)h->failures, "incidents", (json_int_t)h->incidents, "because",
                                     because),
                           out, len);
}

/* --- demanding --------------------------------------------------------------------------------------------------- */

static const struct pc_field entry_fields[] = {
    {"tenant", PC_FIELD_NAME, offsetof(struct pc_entry, tenant), 0, 0, false},
    {"type", PC_FIELD_TEXT, offsetof(struct pc_entry, type), 1, 31, false},
    {"time", PC_FIELD_TIME, offsetof(struct pc_entry, time), 0, 0, false},
    {"body", PC_FIELD_OBJECT, offsetof(struct pc_entry, body), 0, 0, false},
    {0},
};
int pc_entry_parse(const void *text, size_t len, struct pc_entry *out, void **root, char *why_text, size_t why_len)
{
    struct pc_why why = {why_text, why_len};
    struct pc_entry e = {0};
    json_t *made = NULL;
    pc_why_clear(why);
    int r = pc_document_read(text, len, PC_ENTRY_MAX, "entry/1", entry_fields, &e, &made, why);
    if (r < 0)
        return r;
    *out = e;
    *root = made;
    return 0;
}

struct body {
    char order_sha256[PC_SHA256_HEX + 1], id[PC_ID_LEN + 1], reports[PC_SHA256_HEX + 1];
    const json_t *approvals, *texts, *document;
    uint64_t run, ring, count;
};
#define BODY(member) offsetof(struct body, member)
struct halt_draft {
    struct pc_entry_halt halt;
    const json_t *because;
};
#define HALT(member) offsetof(struct halt_draft, member)
static const struct pc_field order_fields[] = {
    {"order_sha256", PC_FIELD_HEX, BODY(order_sha256), 0, PC_SHA256_HEX, false},
    {"id", PC_FIELD_HEX, BODY(id), 0, PC_ID_LEN, false},
    {"approvals", PC_FIELD_ARRAY, BODY(approvals), 1, PC_SIGNATURES_MAX, false},
    {"document", PC_FIELD_STRING, BODY(document), 4, PC_ENTRY_MAX, true},
    {"texts", PC_FIELD_ARRAY, BODY(texts), 1, PC_SIGNATURES_MAX, true}, /* an auditor's: the host has the envelope */
    {0},
};
static const struct pc_field start_fields[] = {
    {"order_sha256", PC_FIELD_HEX, BODY(order_sha256), 0, PC_SHA256_HEX, false},
    {"run", PC_FIELD_U64, BODY(run), 1, PC_JSON_NUMBER_MAX, false},
    {0},
};
static const struct pc_field continue_fields[] = {
    {"order_sha256", PC_FIELD_HEX, BODY(order_sha256), 0, PC_SHA256_HEX, false},
    {"run", PC_FIELD_U64, BODY(run), 0, PC_JSON_NUMBER_MAX, false},
    {"ring", PC_FIELD_U64, BODY(ring), 1, PC_RINGS_MAX, false},
    {"count", PC_FIELD_U64, BODY(count), 0, PC_ORDER_HOSTS_MAX, false},
    {"reports", PC_FIELD_HEX, BODY(reports), 0, PC_SHA256_HEX, false},
    {0},
};

/* An entry of this type about this order. What is borrowed lives as long as *root. */
static int open_entry(const struct pc_log_part *p, const char *type, const struct pc_order *o,
                      const struct pc_field *fields, struct body *out, json_t **root, struct pc_why why)
{
    struct pc_entry entry = {0};
    if (!p->entry)
        return pc_why(why, PC_E_REFUSED, "it came without the log's proof");
    int r = pc_document_read(p->entry, p->entry_len, PC_DOCUMENT_SMALL_MAX, "entry/1", entry_fields, &entry, root, why);
    if (r == 0)
        r = pc_fields_read(entry.body, "entry", fields, out, why);
    if (r < 0)
        return r == -ENOMEM ? r : PC_E_REFUSED;
    if (strcmp(entry.tenant, o->tenant) != 0 || strcmp(entry.type, type) != 0 ||
        strcmp(out->order_sha256, o->sha256) != 0)
        return pc_why(why, PC_E_REFUSED, "the log entry is about something else");
    return 0;
}

static bool names_approval(const json_t *list, const char *hash)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *named = json_string_value(json_array_get(list, i));
        if (named && strcmp(named, hash) == 0)
            return true;
    }
    return false;
}

static int same_document(const json_t *document, const struct pc_envelope *e, struct pc_why why)
{
    _free_ char *bytes = NULL;
    size_t n = 0;
    int r = pc_json_base64(document, PC_DOCUMENT_SMALL_MAX, &bytes, &n);
    if (r == -ENOMEM)
        return r;
    if (r < 0 || n != e->len || memcmp(bytes, e->document, n) != 0)
        return pc_why(why, PC_E_REFUSED, "the log entry holds another document");
    return 0;
}

static const struct pc_field halt_fields[] = {
    {"order_sha256", PC_FIELD_HEX, HALT(halt.order_sha256), 0, PC_SHA256_HEX, false},
    {"run", PC_FIELD_U64, HALT(halt.run), 0, PC_JSON_NUMBER_MAX, false},
    {"ring", PC_FIELD_U32, HALT(halt.ring), 0, PC_RINGS_MAX - 1, false},
    {"failures", PC_FIELD_U64, HALT(halt.failures), 0, PC_ORDER_HOSTS_MAX, false},
    {"incidents", PC_FIELD_U64, HALT(halt.incidents), 0, PC_JSON_NUMBER_MAX, false},
    {"because", PC_FIELD_ARRAY, HALT(because), 1, PC_HALT_REPORTS_MAX, false},
    {0},
};

int pc_entry_halt_read(const struct pc_entry *e, struct pc_entry_halt *out, char *why_text, size_t why_len)
{
    struct pc_why why = {why_text, why_len};
    struct halt_draft d = {0};
    pc_why_clear(why);
    int r = pc_fields_read(e->body, "entry", halt_fields, &d, why);
    for (size_t i = 0; r == 0 && i < json_array_size(d.because); i++) {
        const char *hash = json_string_value(json_array_get(d.because, i));
        if (!hash || !pc_hex_valid(hash, PC_SHA256_HEX))
            return pc_why(why, PC_E_SYNTAX, "\"because\" names something else than a SHA-256");
        pc_unhex(hash, d.halt.because[d.halt.n++], 32);
    }
    if (r < 0)
        return r;
    *out = d.halt;
    return 0;
}

int pc_entry_is_order(const struct pc_log_part *p, const struct pc_order *o, const struct pc_envelope *e,
                      struct pc_why why)
{
    struct body body = {0};
    _json_ json_t *root = NULL;
    int r = open_entry(p, o->class_ == PC_CLASS_S ? "stop" : "order", o, order_fields, &body, &root, why);
    if (r < 0)
        return r;
    if (strcmp(body.id, o->id) != 0)
        return pc_why(why, PC_E_REFUSED, "the log entry names another id");
    for (uint32_t i = 0; i < e->signatures; i++) {
        char hash[PC_SHA256_HEX + 1];
        pc_sha256_text(e->signature[i].text, e->signature[i].len, hash);
        if (!names_approval(body.approvals, hash))
            return pc_why(why, PC_E_REFUSED, "an approval is not in the log entry");
    }
    return body.document ? same_document(body.document, e, why) : 0;
}

int pc_entry_is_start(const struct pc_log_part *p, const struct pc_order *o, uint64_t run, struct pc_why why)
{
    struct body body = {0};
    _json_ json_t *root = NULL;
    int r = open_entry(p, "start", o, start_fields, &body, &root, why);
    return r < 0 || body.run == run ? r : pc_why(why, PC_E_REFUSED, "the log entry is about another run");
}

int pc_entry_is_continue(const struct pc_log_part *p, const struct pc_order *o, uint64_t run, uint32_t ring,
                         const uint8_t (*reports)[32], uint32_t n, struct pc_why why)
{
    struct body body = {0};
    char hash[PC_SHA256_HEX + 1];
    _json_ json_t *root = NULL;
    int r = open_entry(p, "continue", o, continue_fields, &body, &root, why);
    if (r < 0)
        return r;
    hash_reports(reports, n, hash);
    if (body.run != run || body.ring != ring || body.count != n || strcmp(body.reports, hash) != 0)
        return pc_why(why, PC_E_REFUSED, "the log entry is about another ring, or other reports");
    return 0;
}
