/*
 * Owns the documents that hosts sign (PROTOCOL.md 1.10, 1.11), both ways. Who signed them is the envelope's business.
 */
#include "trust/report.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/json.h"

#include <errno.h>
#include <string.h>

static const char *when(int64_t t, char out[PC_TIME_SIZE])
{
    pc_time_format(t, out);
    return out;
}

static const char *named(const struct pc_host_ref *host, char out[PC_HOST_REF_SIZE])
{
    pc_host_ref_format(host, out);
    return out;
}

/* --- {"size","root"} --------------------------------------------------------------------------------------------- */

struct raw_seen {
    const json_t *root;
    uint64_t size;
};
static const struct pc_field seen_fields[] = {
    {"size", PC_FIELD_U64, offsetof(struct raw_seen, size), 0, PC_JSON_NUMBER_MAX, false},
    {"root", PC_FIELD_STRING, offsetof(struct raw_seen, root), 44, 44, false},
    {0},
};

static json_t *seen_json(const struct pc_seen *seen)
{
    return json_pack("{s:I, s:o}", "size", (json_int_t)seen->size, "root",
                     pc_json_base64_new(seen->root, sizeof seen->root));
}

static int read_seen(const json_t *object, struct pc_seen *out)
{
    struct raw_seen raw = {0};
    int r = pc_fields_read(object, "checkpoint", seen_fields, &raw, (struct pc_why){0});
    if (r < 0)
        return r;
    out->size = raw.size;
    ssize_t n = pc_base64_decode(json_string_value(raw.root), 44, 0, out->root, sizeof out->root);
    return n == sizeof out->root ? 0 : PC_E_SYNTAX;
}

static bool one_of(const char *word, const char *const *list)
{
    while (*list && strcmp(*list, word) != 0)
        list++;
    return *list != NULL;
}

/* --- ack/1 ------------------------------------------------------------------------------------------------------- */

/*
 * The text, printable and at most as long as the document may have it: the reasons that we give quote other people's.
 */
static void printable(const char *in, char *out, size_t cap)
{
    pc_escape_name(in, strlen(in), out, cap);
}

int pc_ack_format(const struct pc_ack *a, char **json, size_t *len)
{
    char host[PC_HOST_REF_SIZE], time[PC_TIME_SIZE], text[sizeof a->text];
    printable(a->text, text, sizeof text);
    return pc_json_text(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "portcullis", "ack/1", "tenant",
                                  a->tenant, "host", named(&a->host, host), "order_sha256", a->order_sha256, "verdict",
                                  a->verdict == PC_CHECK_OK ? "accepted" : "refused", "why", pc_check_word(a->verdict),
                                  "text", text, "time", when(a->time, time), "checkpoint", seen_json(&a->seen)),
                        json, len);
}

struct raw_ack {
    struct pc_ack a;
    char verdict[9], why[32];
    const json_t *seen;
};
static const struct pc_field ack_fields[] = {
    {"tenant", PC_FIELD_NAME, offsetof(struct raw_ack, a.tenant), 0, 0, false},
    {"host", PC_FIELD_HOST, offsetof(struct raw_ack, a.host), 0, 0, false},
    {"order_sha256", PC_FIELD_HEX, offsetof(struct raw_ack, a.order_sha256), 0, PC_SHA256_HEX, false},
    {"verdict", PC_FIELD_TEXT, offsetof(struct raw_ack, verdict), 7, 8, false},
    {"why", PC_FIELD_TEXT, offsetof(struct raw_ack, why), 0, 31, false},
    {"text", PC_FIELD_TEXT, offsetof(struct raw_ack, a.text), 0, sizeof((struct pc_ack *)0)->text - 1, false},
    {"time", PC_FIELD_TIME, offsetof(struct raw_ack, a.time), 0, 0, false},
    {"checkpoint", PC_FIELD_OBJECT, offsetof(struct raw_ack, seen), 0, 0, false},
    {0},
};

int pc_ack_parse(const void *doc, size_t len, struct pc_ack *out)
{
    struct raw_ack raw = {0};
    _json_ json_t *root = NULL;
    int r = pc_document_read(doc, len, PC_DOCUMENT_SMALL_MAX, "ack/1", ack_fields, &raw, &root, (struct pc_why){0});
    if (r == 0)
        r = read_seen(raw.seen, &raw.a.seen);
    if (r < 0)
        return r;
    bool accepted = strcmp(raw.verdict, "accepted") == 0;
    int word = accepted ? PC_CHECK_OK : pc_check_find(raw.why);
    if ((!accepted && strcmp(raw.verdict, "refused") != 0) || (accepted && raw.why[0]) || word < 0)
        return PC_E_SYNTAX;
    raw.a.verdict = (enum pc_check)word;
    *out = raw.a;
    return 0;
}

/* --- result/1 ---------------------------------------------------------------------------------------------------- */

static const char *const outcomes[] = {"ok", "failed", "timeout", "unknown", "halted", "refused", NULL};

/* A number that may be absent: -1. */
static int set_number(json_t *object, const char *key, int value)
{
    return value < 0 ? 0 : json_object_set_new(object, key, json_integer(value));
}

static json_t *result_json(const struct pc_result *r)
{
    char host[PC_HOST_REF_SIZE], started[PC_TIME_SIZE], ended[PC_TIME_SIZE];
    bool look = r->look[0] != 0;
    json_t *made = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:s, s:b, s:s, s:s, s:o}", "portcullis", "result/1",
                             "tenant", r->tenant, "host", named(&r->host, host), look ? "look" : "order_sha256",
                             look ? r->look : r->order_sha256, "run", (json_int_t)r->run, "outcome", r->outcome,
                             "output", pc_json_base64_new(r->output, r->output_len), "output_sha256", r->output_sha256,
                             "truncated", (int)r->truncated, "started", when(r->started, started), "ended",
                             when(r->ended, ended), "checkpoint", seen_json(&r->seen));
    if (!made || set_number(made, "exit", r->exit) < 0 || set_number(made, "signal", r->signal) < 0 ||
        (r->data && json_object_set(made, "data", (json_t *)r->data) < 0)) {
        json_decref(made);
        return NULL;
    }
    return made;
}

int pc_result_format(const struct pc_result *r, char **json, size_t *len)
{
    char *text;
    size_t n;
    if (r->output_len > PC_OUTPUT_MAX)
        return PC_E_LIMIT;
    int s = pc_json_text(result_json(r), &text, &n);
    if (s < 0)
        return s;
    if (n > PC_RESULT_DOCUMENT_MAX) {
        free(text);
        return PC_E_LIMIT;
    }
    *json = text;
    *len = n;
    return 0;
}

struct raw_result {
    struct pc_result r;
    uint32_t exit, signal;
    const json_t *output, *data, *seen;
};
#define RESULT(member) offsetof(struct raw_result, r.member)
#define RAW(member) offsetof(struct raw_result, member)
static const struct pc_field result_fields[] = {
    {"tenant", PC_FIELD_NAME, RESULT(tenant), 0, 0, false},
    {"host", PC_FIELD_HOST, RESULT(host), 0, 0, false},
    {"order_sha256", PC_FIELD_HEX, RESULT(order_sha256), 0, PC_SHA256_HEX, true},
    {"look", PC_FIELD_HEX, RESULT(look), 0, PC_ID_LEN, true},
    {"run", PC_FIELD_U64, RESULT(run), 0, PC_JSON_NUMBER_MAX, false},
    {"outcome", PC_FIELD_TEXT, RESULT(outcome), 1, 15, false},
    {"exit", PC_FIELD_U32, RAW(exit), 0, 255, true},
    {"signal", PC_FIELD_U32, RAW(signal), 1, 127, true},
    {"output", PC_FIELD_STRING, RAW(output), 0, PC_BASE64_SIZE(PC_OUTPUT_MAX), false},
    {"output_sha256", PC_FIELD_HEX, RESULT(output_sha256), 0, PC_SHA256_HEX, false},
    {"truncated", PC_FIELD_BOOL, RESULT(truncated), 0, 0, false},
    {"data", PC_FIELD_OBJECT, RAW(data), 0, 0, true},
    {"started", PC_FIELD_TIME, RESULT(started), 0, 0, false},
    {"ended", PC_FIELD_TIME, RESULT(ended), 0, 0, false},
    {"checkpoint", PC_FIELD_OBJECT, RAW(seen), 0, 0, false},
    {0},
};

int pc_result_parse(const void *doc, size_t len, struct pc_result *out)
{
    struct raw_result raw = {.exit = UINT32_MAX, .signal = UINT32_MAX};
    char *output = NULL;
    _json_ json_t *root = NULL;
    int r =
        pc_document_read(doc, len, PC_RESULT_DOCUMENT_MAX, "result/1", result_fields, &raw, &root, (struct pc_why){0});
    if (r == 0)
        r = read_seen(raw.seen, &raw.r.seen);
    if (r == 0 && (!raw.r.order_sha256[0] == !raw.r.look[0] || !one_of(raw.r.outcome, outcomes)))
        r = PC_E_SYNTAX;
    if (r == 0)
        r = pc_json_base64(raw.output, PC_OUTPUT_MAX, &output, &raw.r.output_len);
    if (r < 0)
        return r;
    raw.r.exit = raw.exit == UINT32_MAX ? -1 : (int)raw.exit;
    raw.r.signal = raw.signal == UINT32_MAX ? -1 : (int)raw.signal;
    raw.r.output = output;
    raw.r.data = json_incref((json_t *)raw.data);
    *out = raw.r;
    return 0;
}

void pc_result_clear(struct pc_result *r)
{
    free((void *)r->output);
    json_decref((json_t *)r->data);
    *r = (struct pc_result){0};
}

/* --- ring/1 ------------------------------------------------------------------------------------------------------ */

static const char *const ring_outcomes[] = {"ok", "failed", "unknown", "refused", NULL};

int pc_ring_report_format(const struct pc_ring_report *r, char **json, size_t *len)
{
    char host[PC_HOST_REF_SIZE], started[PC_TIME_SIZE], ended[PC_TIME_SIZE], soaked[PC_TIME_SIZE];
    return pc_json_text(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:s, s:s, s:s}", "portcullis", "ring/1",
                                  "tenant", r->tenant, "host", named(&r->host, host), "order_sha256", r->order_sha256,
                                  "run", (json_int_t)r->run, "ring", (json_int_t)r->ring, "outcome", r->outcome,
                                  "incidents", (json_int_t)r->incidents, "started", when(r->started, started), "ended",
                                  when(r->ended, ended), "soaked", when(r->soaked, soaked)),
                        json, len);
}

#define RING(member) offsetof(struct pc_ring_report, member)
static const struct pc_field ring_fields[] = {
    {"tenant", PC_FIELD_NAME, RING(tenant), 0, 0, false},
    {"host", PC_FIELD_HOST, RING(host), 0, 0, false},
    {"order_sha256", PC_FIELD_HEX, RING(order_sha256), 0, PC_SHA256_HEX, false},
    {"run", PC_FIELD_U64, RING(run), 0, PC_JSON_NUMBER_MAX, false},
    {"ring", PC_FIELD_U32, RING(ring), 0, PC_RINGS_MAX - 1, false},
    {"outcome", PC_FIELD_TEXT, RING(outcome), 1, 15, false},
    {"incidents", PC_FIELD_U32, RING(incidents), 0, UINT32_MAX, false},
    {"started", PC_FIELD_TIME, RING(started), 0, 0, false},
    {"ended", PC_FIELD_TIME, RING(ended), 0, 0, false},
    {"soaked", PC_FIELD_TIME, RING(soaked), 0, 0, false},
    {0},
};

int pc_ring_report_parse(const void *doc, size_t len, struct pc_ring_report *out)
{
    struct pc_ring_report made = {0};
    _json_ json_t *root = NULL;
    int r = pc_document_read(doc, len, PC_DOCUMENT_SMALL_MAX, "ring/1", ring_fields, &made, &root, (struct pc_why){0});
    if (r < 0)
        return r;
    if (!one_of(made.outcome, ring_outcomes))
        return PC_E_SYNTAX;
    *out = made;
    return 0;
}

/* --- enroll/1 ---------------------------------------------------------------------------------------------------- */

int pc_enroll_format(const struct pc_enroll *e, char **json, size_t *len)
{
    char created[PC_TIME_SIZE];
    return pc_json_text(json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s}", "portcullis", "enroll/1", "tenant", e->tenant,
                                  "host", e->host, "link_key", pc_json_base64_new(e->link_key, sizeof e->link_key),
                                  "token_sha256", e->token_sha256, "trust_sha256", e->trust_sha256, "created",
                                  when(e->created, created)),
                        json, len);
}

struct raw_enroll {
    struct pc_enroll e;
    const json_t *link_key;
};
#define ENROLL(member) offsetof(struct raw_enroll, e.member)
static const struct pc_field enroll_fields[] = {
    {"tenant", PC_FIELD_NAME, ENROLL(tenant), 0, 0, false},
    {"host", PC_FIELD_NAME, ENROLL(host), 0, 0, false},
    {"link_key", PC_FIELD_STRING, offsetof(struct raw_enroll, link_key), 44, 44, false},
    {"token_sha256", PC_FIELD_HEX, ENROLL(token_sha256), 0, PC_SHA256_HEX, false},
    {"trust_sha256", PC_FIELD_HEX, ENROLL(trust_sha256), 0, PC_SHA256_HEX, false},
    {"created", PC_FIELD_TIME, ENROLL(created), 0, 0, false},
    {0},
};

int pc_enroll_parse(const void *doc, size_t len, struct pc_enroll *out)
{
    struct raw_enroll raw = {0};
    _json_ json_t *root = NULL;
    int r =
        pc_document_read(doc, len, PC_DOCUMENT_SMALL_MAX, "enroll/1", enroll_fields, &raw, &root, (struct pc_why){0});
    if (r < 0)
        return r;
    ssize_t n = pc_base64_decode(json_string_value(raw.link_key), 44, 0, raw.e.link_key, sizeof raw.e.link_key);
    if (n != sizeof raw.e.link_key)
        return PC_E_SYNTAX;
    *out = raw.e;
    return 0;
}
