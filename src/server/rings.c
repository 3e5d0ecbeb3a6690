/*
 * Owns rings and runs: continues made of the earlier ring's own reports, halts, starts of standing orders. What is sent
 * is rings_kept.c's: a continue is kept in the store as it was logged, so that every host gets the very reports that
 * the log entry names.
 */
#include "server/rings.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "server/api.h"
#include "server/parcel.h"
#include "trust/entry.h"
#include "trust/json.h"
#include "trust/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_MAX (PC_FRAME_MAX_DOWN - (256u << 10)) /* leaves room for entry and proofs */
#define MISSING_WAIT_S 60                             /* hosts that may be missing get so long after the last report */

/* --- a ring's reports --------------------------------------------------------------------------------------------- */

struct tally {
    struct pc_server *server;
    struct pc_parcel *parcel;
    uint32_t ring;
    uint64_t run;
    bool *seen; /* by position in the order */
    uint32_t reports, failures;
    uint64_t incidents;
    int64_t newest;
    uint8_t (*hash)[32];
    struct pc_buf frame;
    struct pc_entry_halt halt; /* what counts against the ring */
};

static int add_place_of(struct tally *t, int64_t position)
{
    if (!t->parcel->tree)
        return 0;
    pc_buf_add(&t->frame, ",", 1);
    return pc_add_place(t->parcel->tree, (uint32_t)position, &t->frame);
}

/*
 * Reports were checked when they came, and hosts check them again; here only whether they belong to this ring and run:
 * verifying a thousand at each look would hold the loop up for a quarter of a second.
 */
static int tally_one(void *ctx, const char *host_id, struct pc_store_blob envelope)
{
    struct tally *t = ctx;
    struct pc_host_envelope e = {0};
    struct pc_ring_report r;
    if (pc_host_envelope_kept(envelope.data, envelope.len, &e) < 0)
        return 0;
    bool ours = pc_ring_report_parse(e.document, e.len, &r) == 0 && r.ring == t->ring && r.run == t->run;
    int64_t position = ours ? pc_parcel_position(t->parcel, &r.host) : -1;
    if (position >= 0 && !t->seen[position] && pc_order_ring_of(&t->parcel->order, (uint32_t)position) == t->ring) {
        t->seen[position] = true;
        t->failures += strcmp(r.outcome, "ok") != 0;
        t->incidents += r.incidents;
        if (r.soaked > t->newest)
            t->newest = r.soaked;
        pc_unhex(e.sha256, t->hash[t->reports], 32);
        if ((strcmp(r.outcome, "ok") != 0 || r.incidents) && t->halt.n < PC_HALT_REPORTS_MAX)
            memcpy(t->halt.because[t->halt.n++], t->hash[t->reports], 32);
        pc_buf_addf(&t->frame, "%s{\"envelope\":", t->reports ? "," : "");
        pc_buf_add(&t->frame, envelope.data, envelope.len);
        add_place_of(t, position);
        pc_buf_add(&t->frame, "}", 1);
        t->reports++;
    }
    pc_host_envelope_clear(&e);
    return 0;
}

static int tally_ring(struct tally *t)
{
    const struct pc_order *o = &t->parcel->order;
    t->seen = calloc(o->hosts, sizeof *t->seen);
    t->hash = calloc(o->ring[t->ring].hosts, sizeof *t->hash);
    pc_buf_init(&t->frame, PREFIX_MAX);
    if (!t->seen || !t->hash)
        return -ENOMEM;
    pc_buf_addf(&t->frame, "{\"order_sha256\":\"%s\",\"run\":%" PRIu64 ",\"ring\":%u,\"reports\":[", o->sha256, t->run,
                t->ring + 1);
    struct pc_store *s = t->server->store;
    int ret = s->ops->reports(s, "ring", o->sha256, tally_one, t);
    pc_buf_add(&t->frame, "]", 1);
    return ret < 0 ? ret : t->frame.failed ? PC_E_LIMIT : 0;
}

static void free_tally(struct tally *t)
{
    free(t->seen);
    free(t->hash);
    pc_buf_free(&t->frame);
}

/* --- continues ---------------------------------------------------------------------------------------------------- */

struct signal_job {
    struct pc_job job;
    struct pc_server *server;
    struct pc_http_request *request; /* of a start; NULL: nobody waits */
    char sha256[PC_SHA256_HEX + 1], key[120];
    const char *type; /* of the entry */
    enum pc_frame_type frame;
    uint32_t ring;
    uint64_t run;
    uint32_t n;
    bool tried; /* written before, in a group whose commit got no answer: what is there may be ours */
    uint8_t (*hash)[32];
    char *prefix; /* the frame without its log part; of a start: made in run */
};

static void free_signal(struct signal_job *j)
{
    free(j->hash);
    free(j->prefix);
    free(j);
}

static int keep(struct pc_store *s, const struct signal_job *j, uint64_t index)
{
    size_t cap = strlen(j->prefix) + 32;
    _free_ char *text = malloc(cap);
    if (!text)
        return -ENOMEM;
    int len = snprintf(text, cap, "%" PRIu64 "\n%s", index, j->prefix);
    return s->ops->put(s, j->key, (struct pc_store_blob){text, (size_t)len});
}

static int tell_others(const struct signal_job *j, struct pc_log_batch *log)
{
    char what[PC_SHA256_HEX + 1 + sizeof j->server->name];
    snprintf(what, sizeof what, "%s %s", j->sha256, j->server->name);
    return pc_log_tell(log, "ring", what);
}

static int continue_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct signal_job *j = (struct signal_job *)job;
    const char *tenant = j->server->state->settings.tenant;
    _free_ void *there = NULL;
    _free_ char *entry = NULL;
    struct pc_store_order row;
    size_t len;
    uint64_t index;
    int ret = s->ops->get(s, j->key, &there, &len);
    if (ret == 0)
        return j->tried ? 0 : PC_E_STATE; /* another process was faster */
    if (ret != PC_E_NOTFOUND)
        return ret;
    ret = s->ops->order_get(s, j->sha256, &row, NULL, NULL);
    if (ret == 0 && pc_rings_order_over(row.state))
        ret = PC_E_STATE; /* halted meanwhile: no entry opens a ring after the one that says so */
    if (ret == 0)
        ret = pc_entry_continue(tenant, j->sha256, j->run, j->ring, (const uint8_t(*)[32])j->hash, j->n,
                                pc_log_time(log), &entry, &len);
    if (ret == 0)
        ret = pc_log_add(log, entry, len, j->sha256, "continue", &index);
    if (ret == 0)
        ret = keep(s, j, index);
    j->tried |= ret == 0;
    return ret < 0 ? ret : tell_others(j, log);
}

static void signal_done(struct pc_job *job, int result)
{
    struct signal_job *j = (struct signal_job *)job;
    struct pc_parcel *p;
    if (result == 0) {
        pc_server_log("rings", "order %.16s: %s %s %" PRIu64, j->sha256, j->type,
                      j->frame == PC_FRAME_START ? "run" : "ring", j->frame == PC_FRAME_START ? j->run : j->ring);
        pc_watch_say(j->server, j->type, "{\"order\":\"%s\",\"run\":%" PRIu64 ",\"ring\":%u}", j->sha256, j->run,
                     j->ring);
        int ret = pc_parcel_get(pc_delivery_parcels(j->server->delivery), j->server->store, j->sha256, &p);
        if (pc_store_away(ret))
            pc_delivery_missed(j->server, "a continue or start cannot be read");
        else if (ret == 0)
            pc_ring_send(j->server, p, j->key, j->frame, j->frame == PC_FRAME_START ? UINT32_MAX : j->ring);
    } else if (j->tried && pc_store_away(result)) {
        pc_delivery_missed(j->server, "a continue or start was written, and no answer came");
    }
    if (j->request && result == 0)
        pc_api_json(j->request, 200, json_pack("{s:s,s:I}", "order_sha256", j->sha256, "run", (json_int_t)j->run));
    else if (j->request)
        pc_api_failed(j->request, result);
    free_signal(j);
}

static void submit(struct signal_job *j)
{
    int ret = pc_writer_submit(j->server->writer, &j->job);
    if (ret == 0)
        return;
    if (j->request)
        pc_api_failed(j->request, ret);
    free_signal(j);
}

static void log_continue(struct tally *t)
{
    struct signal_job *j = calloc(1, sizeof *j);
    if (!j)
        return;
    *j = (struct signal_job){.server = t->server,
                             .type = "continue",
                             .frame = PC_FRAME_CONTINUE,
                             .ring = t->ring + 1,
                             .run = t->run,
                             .n = t->reports,
                             .hash = TAKE_PTR(t->hash),
                             .prefix = TAKE_PTR(t->frame.data),
                             .job = {.run = continue_run, .done = signal_done}};
    t->frame.len = t->frame.cap = 0;
    memcpy(j->sha256, t->parcel->sha256, sizeof j->sha256);
    pc_ring_key(j->sha256, j->run, j->ring, j->key);
    submit(j);
}

/* --- halts -------------------------------------------------------------------------------------------------------- */

struct halt_job {
    struct pc_job job;
    struct pc_server *server;
    char from[16], id[PC_ID_LEN + 1]; /* of the order */
    bool tried; /* as in signal_job */
    struct pc_entry_halt halt;
};

static bool is_halted(struct pc_store *s, const char *sha256)
{
    struct pc_store_order row;
    return s->ops->order_get(s, sha256, &row, NULL, NULL) == 0 && strcmp(row.state, "halted") == 0;
}

/* State and entry in one: it is halted once, by whichever process is first. */
static int halt_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct halt_job *j = (struct halt_job *)job;
    _free_ char *entry = NULL;
    size_t len;
    uint64_t index;
    int ret = s->ops->order_state(s, j->halt.order_sha256, j->from, "halted", UINT64_MAX);
    if (ret == PC_E_CHANGED && j->tried && is_halted(s, j->halt.order_sha256))
        return 0;
    if (ret == 0)
        ret = pc_entry_halt(j->server->state->settings.tenant, &j->halt, pc_log_time(log), &entry, &len);
    if (ret == 0)
        ret = pc_log_add(log, entry, len, j->halt.order_sha256, "halt", &index);
    j->tried |= ret == 0;
    return ret;
}

static void halt_done(struct pc_job *job, int result)
{
    struct halt_job *j = (struct halt_job *)job;
    const struct pc_entry_halt *h = &j->halt;
    if (result == 0) {
        pc_server_log("rings", "order %.16s: halted in ring %u: %" PRIu64 " failures, %" PRIu64 " incidents",
                      h->order_sha256, h->ring, h->failures, h->incidents);
        pc_watch_say(j->server, "order", "{\"order\":\"%s\",\"id\":\"%s\",\"state\":\"halted\"}", h->order_sha256,
                     j->id);
    } else if (result == PC_E_CHANGED) {
        pc_progress_dirty(j->server, h->order_sha256); /* it has another state by now */
    }
    free(j);
}

/* When it cannot be written now, the order stays as it is, and the next look at it (every order has one twice a minute)
 * comes here again. */
static void halt(const struct tally *t, const struct pc_store_order *row)
{
    struct halt_job *j = calloc(1, sizeof *j);
    if (!j)
        return;
    j->server = t->server;
    j->job.run = halt_run;
    j->job.done = halt_done;
    j->halt = t->halt;
    j->halt.run = t->run;
    j->halt.ring = t->ring;
    j->halt.failures = t->failures;
    j->halt.incidents = t->incidents;
    memcpy(j->halt.order_sha256, row->sha256, sizeof j->halt.order_sha256);
    memcpy(j->id, row->id, sizeof j->id);
    memcpy(j->from, row->state, sizeof j->from);
    if (pc_writer_submit(t->server->writer, &j->job) < 0)
        free(j);
}

/* The halt rule (1.10). Missing hosts count as failures, but are waited for a while when the ring could go on without
 * them. */
static void judge_ring(struct tally *t, const struct pc_store_order *row)
{
    const struct pc_order *o = &t->parcel->order;
    uint32_t missing = o->ring[t->ring].hosts - t->reports;
    if (t->failures > o->halt_failures || t->incidents > o->halt_incidents) {
        halt(t, row);
        return;
    }
    if (t->failures + missing > o->halt_failures)
        return; /* not enough reports yet */
    if (missing == 0 || pc_server_now() - t->newest > MISSING_WAIT_S)
        log_continue(t);
}

/* The first ring that is not open yet is the one to decide about. */
static int look_at_rings(struct tally *t, const struct pc_store_order *row)
{
    const struct pc_store_ops *ops = t->server->store->ops;
    int ret = 0;
    for (uint32_t ring = 1; ring < t->parcel->order.rings && ret == 0; ring++) {
        _free_ void *there = NULL;
        char key[120];
        size_t len;
        pc_ring_key(row->sha256, t->run, ring, key);
        ret = ops->get(t->server->store, key, &there, &len);
        t->ring = ring - 1;
    }
    if (ret != PC_E_NOTFOUND)
        return ret; /* all are open */
    ret = tally_ring(t);
    if (ret == 0)
        judge_ring(t, row);
    free_tally(t);
    return ret;
}

int pc_rings_look(struct pc_server *s, const struct pc_store_order *row)
{
    struct tally t = {.server = s};
    if (row->log_index == UINT64_MAX)
        return 0;
    int ret = pc_parcel_get(pc_delivery_parcels(s->delivery), s->store, row->sha256, &t.parcel);
    if (ret < 0)
        return ret;
    bool standing = t.parcel->order.standing;
    if (t.parcel->order.rings < 2)
        return standing;
    ret = pc_run_current(s->store, &t.parcel->order, &t.run);
    if (ret == PC_E_NOTFOUND)
        return standing; /* it never ran */
    if (ret == 0)
        ret = look_at_rings(&t, row);
    return ret < 0 ? ret : 1;
}

/* --- starts of standing orders ------------------------------------------------------------------------------------ */

static int start_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct signal_job *j = (struct signal_job *)job;
    _free_ void *memory = NULL;
    _free_ char *entry = NULL;
    const char *text;
    size_t len;
    uint64_t index, before = 0;
    int ret = pc_ring_kept(s, j->key, &memory, &text, &index);
    if (ret == 0) {
        const char *at = strstr(text, "\"run\":");
        before = at ? strtoull(at + 6, NULL, 10) : 0;
    } else if (ret != PC_E_NOTFOUND) {
        return ret;
    }
    if (j->tried && before >= j->run)
        return 0; /* it is there, and must not run twice */
    j->run = before + 1;
    free(j->prefix);
    if (asprintf(&j->prefix, "{\"order_sha256\":\"%s\",\"run\":%" PRIu64, j->sha256, j->run) < 0) {
        j->prefix = NULL;
        return -ENOMEM;
    }
    ret = pc_entry_start(j->server->state->settings.tenant, j->sha256, j->run, pc_log_time(log), &entry, &len);
    if (ret == 0)
        ret = pc_log_add(log, entry, len, j->sha256, "start", &index);
    if (ret == 0)
        ret = keep(s, j, index);
    j->tried |= ret == 0;
    return ret < 0 ? ret : tell_others(j, log);
}

void pc_server_take_start(struct pc_server *s, struct pc_http_request *r)
{
    json_t *body = pc_api_body(r, 4096);
    struct pc_store_order row;
    if (!body)
        return;
    const char *sha = json_string_value(json_object_get(body, "order_sha256"));
    int ret = sha && pc_hex_valid(sha, PC_SHA256_HEX) ? s->store->ops->order_get(s->store, sha, &row, NULL, NULL)
                                                      : PC_E_NOTFOUND;
    json_decref(body);
    if (ret < 0) {
        pc_api_failed(r, ret);
        return;
    }
    if (strcmp(row.class_, "B") != 0 || row.log_index == UINT64_MAX || pc_rings_order_over(row.state) ||
        row.expires <= pc_server_now()) {
        pc_api_error(r, 409, "state", "this is not a standing order that may run: class %s, %s", row.class_, row.state);
        return;
    }
    struct signal_job *j = calloc(1, sizeof *j);
    if (!j) {
        pc_api_failed(r, -ENOMEM);
        return;
    }
    *j = (struct signal_job){.server = s,
                             .request = r,
                             .type = "start",
                             .frame = PC_FRAME_START,
                             .job = {.run = start_run, .done = signal_done}};
    memcpy(j->sha256, row.sha256, sizeof j->sha256);
    pc_run_key(j->sha256, j->key);
    submit(j);
}
