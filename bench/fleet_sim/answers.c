/*
 * Owns what agents sign: acks, results. Signing waits while anything else is to be done, because here one thread signs for thousands of machines;
 * a document is sent until the server says that it has it.
 */
#include "fleet.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLICE 16    /* documents signed before the loop looks for something more urgent */
#define RESEND_S 60 /* PROTOCOL.md 3.1, `got` */

static struct pc_seen seen_of(const struct sim_agent *a)
{
    struct pc_seen s = {.size = a->seen.size};
    memcpy(s.root, a->seen.root, sizeof s.root);
    return s;
}

static int format_ack(const struct sim_agent *a, const struct sim_order *o, enum pc_check verdict, char **json, size_t *len)
{
    struct pc_ack ack = {.host = a->id.ref, .verdict = verdict, .time = (int64_t)(pc_real_ns() / PC_NS_PER_S), .seen = seen_of(a)};
    memcpy(ack.tenant, a->fleet->trust.tenant, sizeof ack.tenant);
    memcpy(ack.order_sha256, o->sha256, sizeof ack.order_sha256);
    return pc_ack_format(&ack, json, len);
}

static int format_result(const struct sim_agent *a, const struct sim_order *o, uint64_t run, char **json, size_t *len)
{
    int64_t now = (int64_t)(pc_real_ns() / PC_NS_PER_S);
    struct pc_result r = {.host = a->id.ref, .run = run, .outcome = "ok", .exit = 0, .signal = -1, .output = "", .started = now, .ended = now,
        .seen = seen_of(a)};
    memcpy(r.tenant, a->fleet->trust.tenant, sizeof r.tenant);
    memcpy(r.order_sha256, o->sha256, sizeof r.order_sha256);
    pc_sha256_text("", 0, r.output_sha256);
    return pc_result_format(&r, json, len);
}

static int keep(struct sim_agent *a, struct sim_doc doc)
{
    if (a->n_docs == a->cap_docs) {
        uint32_t cap = a->cap_docs ? a->cap_docs * 2 : 4;
        struct sim_doc *grown = realloc(a->docs, cap * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        a->docs = grown;
        a->cap_docs = cap;
    }
    a->docs[a->n_docs++] = doc;
    return 0;
}

/* Signs a document and keeps it until the server has it. */
static int sign(struct sim_agent *a, uint32_t order, enum sim_kind kind, const char *document, size_t len)
{
    _free_ char *json = NULL;
    size_t json_len;
    char hex[PC_SHA256_HEX + 1];
    struct sim_doc doc = {.order = order, .kind = kind};
    int ret = pc_host_envelope_seal(document, len, kind == SIM_ACK ? "ack" : "result", a->id.seed, &json, &json_len);
    if (ret < 0)
        return ret;
    pc_sha256_text(document, len, hex);
    pc_unhex(hex, doc.sha256, sizeof doc.sha256);
    doc.frame = pc_frame_new(kind == SIM_ACK ? PC_FRAME_ACK : PC_FRAME_RESULT, json, json_len);
    if (!doc.frame)
        return -ENOMEM;
    ret = keep(a, doc);
    if (ret < 0)
        pc_frame_unref(doc.frame);
    else if (kind == SIM_ACK)
        a->fleet->order[order].part[a->index].ack = pc_frame_ref(doc.frame);
    return ret;
}

static void answer(struct sim_fleet *f, const struct sim_work *w)
{
    struct sim_agent *a = &f->agent[w->agent];
    struct sim_order *o = &f->order[w->order];
    _free_ char *document = NULL;
    size_t len;
    int ret = w->kind == SIM_ACK ? format_ack(a, o, w->verdict, &document, &len) : format_result(a, o, 0, &document, &len);
    if (ret == 0)
        ret = sign(a, w->order, w->kind, document, len);
    if (ret < 0) {
        sim_complain("%s cannot answer: %s", a->id.ref.name, pc_strerror(ret));
        return;
    }
    sim_send_docs(a, false);
}

static struct sim_work *next_work(struct sim_fleet *f)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(f->queue); i++) {
        struct sim_queue *q = &f->queue[i];
        if (q->at < q->n)
            return &q->work[q->at++];
        q->at = q->n = 0;
    }
    return NULL;
}

static void on_work(evutil_socket_t fd, short events, void *arg)
{
    struct sim_fleet *f = arg;
    const struct sim_work *w;
    for (size_t n = 0; n < SLICE && (w = next_work(f)); n++)
        answer(f, w);
    if (f->queue[0].n || f->queue[1].n)
        event_active(f->work_event, 0, 0);
}

int sim_answers_start(struct sim_fleet *f)
{
    f->work_event = event_new(f->base, -1, EV_PERSIST, on_work, f);
    return f->work_event && event_priority_set(f->work_event, 2) == 0 ? 0 : -ENOMEM;
}

void sim_answer_later(struct sim_fleet *f, struct sim_work w)
{
    struct sim_queue *q = &f->queue[w.kind == SIM_ACK ? 0 : 1];
    if (q->n == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 4096;
        struct sim_work *grown = realloc(q->work, cap * sizeof *grown);
        if (!grown) {
            sim_complain("out of memory: an answer is lost");
            return;
        }
        q->work = grown;
        q->cap = cap;
    }
    q->work[q->n++] = w;
    event_active(f->work_event, 0, 0);
}

int sim_flood_result(struct sim_agent *a, uint32_t order, uint64_t run)
{
    _free_ char *document = NULL;
    size_t len;
    int ret = format_result(a, &a->fleet->order[order], run, &document, &len);
    return ret < 0 ? ret : sign(a, order, SIM_FLOOD, document, len);
}

void sim_send_docs(struct sim_agent *a, bool all)
{
    int64_t now = sim_mono_s();
    if (!a->welcomed)
        return;
    for (uint32_t i = 0; i < a->n_docs; i++) {
        struct sim_doc *d = &a->docs[i];
        if (d->kind == SIM_FLOOD && !a->fleet->flood.fired_ns)
            continue; /* signed beforehand, not let loose yet */
        if (!all && d->sent && now - d->sent < RESEND_S)
            continue;
        if (pc_conn_send(a->conn, d->frame) < 0)
            return; /* the connection ends; all of it goes out with the next */
        if (!d->sent)
            a->fleet->order[d->order].sent[d->kind]++;
        d->sent = a->said = now;
    }
}

void sim_got(struct sim_agent *a, const uint8_t sha256[32])
{
    struct sim_fleet *f = a->fleet;
    for (uint32_t i = 0; i < a->n_docs; i++) {
        struct sim_doc *d = &a->docs[i];
        if (memcmp(d->sha256, sha256, 32) != 0)
            continue;
        struct sim_order *o = &f->order[d->order];
        o->got[d->kind]++;
        o->part[a->index].got[d->kind] = pc_mono_ns();
        if (d->kind == SIM_FLOOD && ++f->flood.got == f->flood.total)
            f->flood.done_ns = pc_mono_ns();
        pc_frame_unref(d->frame);
        *d = a->docs[--a->n_docs];
        return;
    }
}
