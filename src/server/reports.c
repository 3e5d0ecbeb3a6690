/*
 * Owns what hosts send: acks, results, ring reports, events, what they saw of the log. A document that inspect.c found
 * to be signed by the very host of the link is stored and logged in one job, and `got` is said after the commit. Must
 * not judge outcomes: progress.c does.
 */
#include "server/report.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/entry.h"
#include "trust/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t pc_server_reports_taken, pc_server_reports_forged, pc_server_reports_unstored;

static struct pc_report *report_of(struct pc_job *job)
{
    return (struct pc_report *)((char *)job - offsetof(struct pc_report, job));
}

/* What they change of orders: acks first, then results, of which a standing order has many: the newest counts. A host
 * that an order of another server's time, or handed over by file, names is nowhere here, and passed over. */
static int advance(struct pc_job **jobs, size_t n, struct pc_store *s, bool results)
{
    _free_ struct pc_store_order_host *rows = calloc(n, sizeof *rows);
    size_t used = 0;
    if (!rows)
        return -ENOMEM;
    for (size_t i = n; i-- > 0;) {
        const struct pc_report *r = report_of(jobs[i]);
        bool have = !r->fresh || !*r->state.sha256 || (r->type == PC_REPORT_RESULT) != results;
        for (size_t k = 0; k < used && !have; k++)
            have = strcmp(rows[k].host_id, r->state.host_id) == 0 && strcmp(rows[k].sha256, r->state.sha256) == 0;
        if (!have)
            rows[used++] = r->state;
    }
    return s->ops->order_hosts_advance(s, rows, used, results);
}

/* The newest answers to looks, entries of the log, words to other processes. */
static int note_one(struct pc_report *r, struct pc_store *s, struct pc_log_batch *log)
{
    struct pc_store_blob blob = {r->json, r->len};
    int ret = *r->action ? s->ops->latest(s, r->host.id, r->action, &blob, NULL, NULL) : 0;
    if (ret == 0 && r->entry) {
        _free_ char *entry = NULL;
        size_t len;
        uint64_t index;
        ret = pc_entry_host(r->server->state->settings.tenant, r->entry, &r->e, pc_log_time(log), &entry, &len);
        if (ret == 0)
            ret = pc_log_add(log, entry, len, NULL, NULL, &index);
    }
    if (ret == 0 && *r->state.sha256)
        ret = pc_log_tell(log, "order", r->key);
    return ret;
}

static int add_all(struct pc_job **jobs, size_t n, struct pc_store *s)
{
    _free_ struct pc_store_report *rows = calloc(n, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct pc_report *r = report_of(jobs[i]);
        rows[i] = (struct pc_store_report){.kind = r->kind,
                                           .key = r->key,
                                           .host_id = r->host.id,
                                           .sha256 = r->e.sha256,
                                           .time = r->time,
                                           .envelope = {r->json, r->len}};
    }
    int ret = s->ops->reports_add(s, rows, n);
    for (size_t i = 0; i < n; i++) {
        struct pc_report *r = report_of(jobs[i]);
        r->fresh = rows[i].added;
        r->news |= r->fresh;
    }
    return ret;
}

static int reports_run(struct pc_job **jobs, size_t n, struct pc_store *s, struct pc_log_batch *log)
{
    int ret = add_all(jobs, n, s);
    if (ret == 0)
        ret = advance(jobs, n, s, false);
    if (ret == 0)
        ret = advance(jobs, n, s, true);
    for (size_t i = 0; i < n && ret == 0; i++) {
        jobs[i]->result = 0;
        if (report_of(jobs[i])->fresh)
            ret = note_one(report_of(jobs[i]), s, log);
    }
    return ret;
}

static int report_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    return reports_run(&job, 1, s, log);
}

static void say_got(const struct pc_report *r)
{
    struct pc_link *l = pc_hub_find(r->server->hub, r->host.id);
    char body[100];
    int n = snprintf(body, sizeof body, "{\"sha256\":\"%s\"}", r->e.sha256);
    if (l)
        pc_conn_send_body(l->conn, PC_FRAME_GOT, body, (size_t)n);
}

static void tell_watchers(const struct pc_report *r)
{
    if (*r->state.sha256)
        pc_watch_say(r->server, "order-host", "{\"order\":\"%s\",\"host\":\"%s\",\"state\":\"%s\",\"why\":\"%s\"}",
                     r->state.sha256, r->state.host, r->state.state, r->state.why);
}

void pc_report_free(struct pc_report *r)
{
    pc_host_envelope_clear(&r->e);
    free(r);
}

static void report_done(struct pc_job *job, int result)
{
    struct pc_report *r = report_of(job);
    pc_inspect_stored(r);
    if (result < 0) {
        /* No `got`: the host keeps it and sends it again. */
        pc_server_reports_unstored++;
        pc_server_log("reports", "a %s of %.8s was not stored: %s", r->kind, r->host.id, pc_strerror(result));
    } else {
        pc_server_reports_taken++;
        say_got(r);
        if (r->news) {
            if (*r->state.sha256 || strcmp(r->kind, "ring") == 0)
                pc_progress_dirty(r->server, r->key);
            tell_watchers(r);
        }
    }
    pc_report_free(r);
}

void pc_report_store(struct pc_report *r)
{
    r->job = (struct pc_job){.run = report_run, .run_many = reports_run, .done = report_done};
    if (pc_writer_submit(r->server->writer, &r->job) < 0) {
        pc_server_reports_unstored++;
        pc_report_free(r); /* no `got`: it comes again */
        return;
    }
    pc_inspect_storing(r);
}

/* --- one function a frame; false: malformed ----------------------------------------------------------------------- */

static bool on_ack(struct pc_link *l, const uint8_t *body, size_t len)
{
    return pc_inspect(l, PC_REPORT_ACK, body, len);
}

static bool on_result(struct pc_link *l, const uint8_t *body, size_t len)
{
    return pc_inspect(l, PC_REPORT_RESULT, body, len);
}

static bool on_ring(struct pc_link *l, const uint8_t *body, size_t len)
{
    return pc_inspect(l, PC_REPORT_RING, body, len);
}

struct seen {
    uint64_t checkpoint_size;
};

static bool on_seen(struct pc_link *l, const uint8_t *body, size_t len)
{
    static const struct pc_field fields[] = {
        {"checkpoint_size", PC_FIELD_U64, offsetof(struct seen, checkpoint_size), 0, PC_JSON_NUMBER_MAX, false}, {0}};
    struct seen seen;
    struct pc_why silent = {0};
    json_t *j = NULL;
    bool ok = pc_json_parse((const char *)body, len, 256, &j, silent) == 0 &&
              pc_fields_read(j, "seen", fields, &seen, silent) == 0;
    json_decref(j);
    if (!ok)
        return false;
    l->checkpoint_size = seen.checkpoint_size;
    l->dirty = true;
    return true;
}

struct event_job {
    struct pc_job job;
    struct pc_server *server;
    struct pc_host_ref host;
    int64_t time;
    char kind[33], text[1025];
};

static int event_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct event_job *j = (struct event_job *)job;
    return s->ops->event_add(s, j->host.id, j->time, j->kind, j->text);
}

static void event_done(struct pc_job *job, int result)
{
    free(job); /* events are for people: one that cannot be stored is in the host's own log */
}

static bool on_event(struct pc_link *l, const uint8_t *body, size_t len)
{
    static const struct pc_field fields[] = {
        {"time", PC_FIELD_TIME, offsetof(struct event_job, time), 0, 0, false},
        {"kind", PC_FIELD_TEXT, offsetof(struct event_job, kind), 1, 32, false},
        {"text", PC_FIELD_TEXT, offsetof(struct event_job, text), 0, 1024, false},
        {0},
    };
    struct event_job *e = calloc(1, sizeof *e);
    struct pc_why silent = {0};
    json_t *j = NULL;
    bool ok = e && pc_json_parse((const char *)body, len, 8192, &j, silent) == 0 &&
              pc_fields_read(j, "event", fields, e, silent) == 0;
    json_decref(j);
    if (!ok || l->event_allowance == 0) {
        free(e);
        return ok;
    }
    l->event_allowance--;
    e->server = l->server;
    e->host = l->ref;
    e->job.run = event_run;
    e->job.done = event_done;
    pc_watch_say(l->server, "host-event", "{\"host\":\"%s\",\"kind\":\"event\"}", l->ref.name);
    if (pc_writer_submit(l->server->writer, &e->job) < 0)
        free(e);
    return true;
}

static bool on_ping(struct pc_link *l, const uint8_t *body, size_t len)
{
    if (len)
        return false;
    pc_conn_send_body(l->conn, PC_FRAME_PONG, NULL, 0);
    return true;
}

static bool on_pong(struct pc_link *l, const uint8_t *body, size_t len)
{
    return len == 0;
}

bool pc_server_report_frame(struct pc_link *l, enum pc_frame_type type, const uint8_t *body, size_t len)
{
    static bool (*const table[PC_FRAME_TYPES])(struct pc_link * l, const uint8_t *body, size_t len) = {
        [PC_FRAME_PING] = on_ping,     [PC_FRAME_PONG] = on_pong, [PC_FRAME_ACK] = on_ack,
        [PC_FRAME_RESULT] = on_result, [PC_FRAME_RING] = on_ring, [PC_FRAME_SEEN] = on_seen,
        [PC_FRAME_EVENT] = on_event,
    };
    return (unsigned)type < PC_FRAME_TYPES && table[type] && table[type](l, body, len);
}
