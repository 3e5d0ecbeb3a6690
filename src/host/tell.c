/*
 * Owns what the host says: acks, results, ring reports, each a document signed with the identity key and kept until the
 * server has it; and events, which are only for people. Decides nothing.
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void seen(const struct pc_runner *r, struct pc_seen *out)
{
    out->size = r->memory.checkpoint.size;
    memcpy(out->root, r->memory.checkpoint.root, sizeof out->root);
}

/* On a full disk what may be lost is sent at once: who asks what is wrong here should hear it. */
static int send_unkept(struct pc_runner *r, enum pc_frame_type type, const char *envelope, size_t len)
{
    if (!r->welcomed || !pc_bucket_take(&r->sending, pc_boot_ns(), (double)len) ||
        !pc_peer_send(r, type, envelope, len))
        return -ENOSPC;
    return 0;
}

/* Signs and puts it into the outbox; with an order, also beside it for a re-delivery. */
static int keep_document(struct pc_runner *r, enum pc_frame_type type, const char *kind, const char *document,
                         size_t len, const char *order, bool keep)
{
    _free_ char *envelope = NULL;
    size_t envelope_len;
    char sha256[65];
    int e = pc_host_envelope_seal(document, len, kind, r->seed, &envelope, &envelope_len);
    if (e < 0)
        return e;
    pc_sha256_text(document, len, sha256);
    e = pc_memory_outbox_add(r->file, (int)type, sha256, envelope, envelope_len, keep);
    if (e == -ENOSPC && !keep && !order)
        return send_unkept(r, type, envelope, envelope_len);
    if (e == 0 && order)
        e = pc_memory_order_answer(r->file, order, (int)type, envelope, envelope_len);
    return e;
}

int pc_tell_ack(struct pc_runner *r, const char *order_sha256, enum pc_check verdict, const char *text, bool keep)
{
    struct pc_ack a = {.verdict = verdict, .host = r->memory.me, .time = pc_now()};
    snprintf(a.tenant, sizeof a.tenant, "%s", r->trust.tenant);
    snprintf(a.order_sha256, sizeof a.order_sha256, "%s", order_sha256);
    snprintf(a.text, sizeof a.text, "%s", text);
    seen(r, &a.seen);
    _free_ char *document = NULL;
    size_t len;
    int e = pc_ack_format(&a, &document, &len);
    return e < 0 ? e
                 : keep_document(r, PC_FRAME_ACK, "ack", document, len, verdict == PC_CHECK_OK ? order_sha256 : NULL,
                                 keep);
}

void pc_result_begin(const struct pc_runner *r, struct pc_result *out)
{
    *out = (struct pc_result){
        .host = r->memory.me, .exit = -1, .signal = -1, .output = "", .started = pc_now(), .ended = pc_now()};
    snprintf(out->tenant, sizeof out->tenant, "%s", r->trust.tenant);
    pc_sha256_text("", 0, out->output_sha256);
    seen(r, &out->seen);
}

/*
 * A document that no reader takes would be refused and sent again for ever: so each is read once before it is signed.
 * What does not fit (numbers that are not integers, too many values) is left out, and the result says so.
 */
int pc_result_text(struct pc_result *result, char **document, size_t *len)
{
    static const char why[] = "the answer has values that a result cannot hold, or too many";
    struct pc_result again = {0};
    _free_ char *text = NULL;
    size_t n = 0;
    int e = pc_result_format(result, &text, &n);
    if (e == 0)
        e = pc_result_parse(text, n, &again);
    if (e == 0)
        pc_result_clear(&again);
    if ((e == PC_E_SYNTAX || e == PC_E_LIMIT) && result->data) {
        result->data = NULL;
        result->output = why;
        result->output_len = sizeof why - 1;
        result->truncated = true;
        snprintf(result->outcome, sizeof result->outcome, "failed");
        pc_sha256_text(why, sizeof why - 1, result->output_sha256);
        return pc_result_text(result, document, len);
    }
    if (e < 0)
        return e;
    *document = TAKE_PTR(text);
    *len = n;
    return 0;
}

int pc_tell_result_text(struct pc_runner *r, const char *order_sha256, const char *document, size_t len)
{
    return keep_document(r, PC_FRAME_RESULT, "result", document, len, order_sha256, true);
}

int pc_tell_result(struct pc_runner *r, struct pc_result *result, bool keep)
{
    _free_ char *document = NULL;
    size_t len;
    int e = pc_result_text(result, &document, &len);
    return e < 0 ? e
                 : keep_document(r, PC_FRAME_RESULT, "result", document, len,
                                 result->order_sha256[0] ? result->order_sha256 : NULL, keep);
}

int pc_tell_ring(struct pc_runner *r, const struct pc_kept_order *o, const char *outcome, uint32_t incidents,
                 int64_t soaked)
{
    struct pc_ring_report report = {.host = r->memory.me,
                                    .ring = o->ring,
                                    .incidents = incidents,
                                    .run = strcmp(o->class_, "B") == 0 ? o->run : 0,
                                    .started = o->started,
                                    .ended = o->ended,
                                    .soaked = soaked};
    snprintf(report.tenant, sizeof report.tenant, "%s", r->trust.tenant);
    snprintf(report.order_sha256, sizeof report.order_sha256, "%s", o->sha256);
    snprintf(report.outcome, sizeof report.outcome, "%s", outcome);
    _free_ char *document = NULL;
    size_t len;
    int e = pc_ring_report_format(&report, &document, &len);
    return e < 0 ? e : keep_document(r, PC_FRAME_RING, "ring", document, len, o->sha256, true);
}

static int again(void *ctx, int type, const char *json, size_t len)
{
    struct pc_runner *r = ctx;
    struct pc_host_envelope e;
    const char *kind = type == PC_FRAME_ACK ? "ack" : type == PC_FRAME_RESULT ? "result" : "ring";
    int x = pc_host_envelope_open(json, len, kind, &e);
    if (x < 0)
        return x;
    x = pc_memory_outbox_add(r->file, type, e.sha256, json, len, false); /* the order keeps the original */
    pc_host_envelope_clear(&e);
    return x;
}

int pc_tell_again(struct pc_runner *r, const char *order_sha256)
{
    return pc_memory_order_answers(r->file, order_sha256, again, r);
}

void pc_tell_event(struct pc_runner *r, enum pc_level level, const char *kind, const char *fmt, ...)
{
    char text[1024], time[PC_TIME_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pc_event(r->log, level, kind, NULL, "%s", text);
    if (r->peer_fd < 0 || !r->welcomed || !pc_bucket_take(&r->events, pc_boot_s() * 1000000000ULL, 1))
        return;
    pc_time_format(pc_now(), time);
    char shown[2048];
    pc_escape_name(text, strlen(text), shown, sizeof shown);
    json_t *o = json_pack("{s:s,s:s,s:s}", "time", time, "kind", kind, "text", shown);
    _free_ char *body = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (body)
        (void)pc_peer_send(r, PC_FRAME_EVENT, body, strlen(body));
}
