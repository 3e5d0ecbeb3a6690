/*
 * Owns who is connected: links from hello to the end, the table of them by host, what the store knows about being
 * online. Must not know what orders are: frames after hello go to reports.c, what a host must get is deliver.c's.
 */
#include "server/server.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 16384
#define FLUSH_S 5       /* how late the store may know that a host was seen */
#define FLUSH_MAX 256   /* hosts in one job */
#define EVENTS_BURST 30 /* events of a host at once; one a second comes back */

struct pc_hub {
    struct pc_server *server;
    struct pc_conn_set *set;
    struct pc_link *bucket[BUCKETS];
    uint32_t online;
    int64_t flush_at;
    uint64_t links; /* so far */
};

static struct pc_link **bucket_of(struct pc_hub *h, const char *host_id)
{
    return &h->bucket[pc_hash64(host_id, strlen(host_id)) % BUCKETS];
}

struct pc_link *pc_hub_find(struct pc_hub *h, const char *host_id)
{
    struct pc_link *l = *bucket_of(h, host_id);
    while (l && strcmp(l->ref.id, host_id) != 0)
        l = l->next;
    return l;
}

void pc_hub_each(struct pc_hub *h, void (*each)(struct pc_link *l, void *ctx), void *ctx)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct pc_link *l = h->bucket[i], *next; l; l = next) {
            next = l->next;
            each(l, ctx);
        }
}

uint32_t pc_hub_online(const struct pc_hub *h)
{
    return h->online;
}

uint64_t pc_hub_links(const struct pc_hub *h)
{
    return h->links;
}

const struct pc_conn_counters *pc_hub_counters(const struct pc_hub *h)
{
    return pc_conn_set_counters(h->set);
}

/* --- what the store knows ----------------------------------------------------------------------------------------- */

struct seen_job {
    struct pc_job job;
    struct pc_server *server;
    uint32_t n;
    struct pc_store_host host[];
};

static struct seen_job *new_seen(size_t hosts)
{
    struct seen_job *j;
    return calloc(1, sizeof *j + hosts * sizeof j->host[0]);
}

static int seen_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct seen_job *j = (struct seen_job *)job;
    return s->ops->hosts_seen(s, j->host, j->n);
}

static void seen_done(struct pc_job *job, int result)
{
    free(job); /* not stored: the next one tells it again */
}

static void note_host(struct seen_job *j, const struct pc_link *l, bool online)
{
    struct pc_store_host *h = &j->host[j->n++];
    *h = (struct pc_store_host){
        .last_seen = l->last_seen, .online = online, .sequence = l->sequence, .checkpoint_size = l->checkpoint_size};
    memcpy(h->name, l->ref.name, sizeof h->name);
    memcpy(h->id, l->ref.id, sizeof h->id);
    memcpy(h->agent, l->agent, sizeof h->agent);
    snprintf(h->server, sizeof h->server, "%s", l->server->name);
    pc_conn_address(l->conn, h->address, sizeof h->address);
}

static void submit_seen(struct pc_server *s, struct seen_job *j)
{
    j->server = s;
    j->job.run = seen_run;
    j->job.done = seen_done;
    if (pc_writer_submit(s->writer, &j->job) < 0)
        free(j);
}

struct flush {
    struct pc_server *server;
    struct seen_job *job;
};

static void flush_one(struct pc_link *l, void *ctx)
{
    struct flush *f = ctx;
    if (!l->dirty)
        return;
    if (!f->job && !(f->job = new_seen(FLUSH_MAX)))
        return;
    l->dirty = false;
    note_host(f->job, l, true);
    if (f->job->n == FLUSH_MAX) {
        submit_seen(f->server, f->job);
        f->job = NULL;
    }
}

static void say_offline(struct pc_link *l)
{
    struct seen_job *j = new_seen(1); /* of thousands at once, when a network goes */
    if (!j)
        return;
    note_host(j, l, false);
    submit_seen(l->server, j);
}

void pc_hub_tick(struct pc_hub *h, int64_t now)
{
    if (now < h->flush_at)
        return;
    h->flush_at = now + FLUSH_S;
    struct flush f = {.server = h->server};
    pc_hub_each(h, flush_one, &f);
    if (f.job)
        submit_seen(h->server, f.job);
}

/* --- hello -------------------------------------------------------------------------------------------------------- */

struct hello {
    uint32_t protocol;
    struct pc_host_ref host;
    char agent[32], boot[17];
    uint64_t checkpoint_size, sequence;
};
static const struct pc_field hello_fields[] = {
    {"protocol", PC_FIELD_U32, offsetof(struct hello, protocol), 1, 1, false},
    {"host", PC_FIELD_HOST, offsetof(struct hello, host), 0, 0, false},
    {"agent", PC_FIELD_TEXT, offsetof(struct hello, agent), 1, 31, false},
    {"checkpoint_size", PC_FIELD_U64, offsetof(struct hello, checkpoint_size), 0, PC_JSON_NUMBER_MAX, false},
    {"sequence", PC_FIELD_U64, offsetof(struct hello, sequence), 0, PC_JSON_NUMBER_MAX, false},
    {"boot", PC_FIELD_HEX, offsetof(struct hello, boot), 16, 16, false},
    {0},
};

static int read_hello(const uint8_t *body, size_t len, struct hello *out)
{
    struct pc_why silent = {0};
    json_t *j = NULL;
    int ret = pc_json_parse((const char *)body, len, 4096, &j, silent);
    if (ret == 0)
        ret = pc_fields_read(j, "hello", hello_fields, out, silent);
    json_decref(j);
    return ret;
}

static void put_in(struct pc_hub *h, struct pc_link *l)
{
    struct pc_link **b = bucket_of(h, l->ref.id);
    l->next = *b;
    *b = l;
    h->online++;
}

static void take_out(struct pc_hub *h, struct pc_link *l)
{
    for (struct pc_link **at = bucket_of(h, l->ref.id); *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            h->online--;
            return;
        }
}

static int welcome(struct pc_link *l)
{
    char body[128], time[PC_TIME_SIZE];
    pc_time_format(l->connected, time);
    int n = snprintf(body, sizeof body, "{\"protocol\":1,\"time\":\"%s\",\"heartbeat\":%u}", time,
                     l->server->state->settings.heartbeat);
    return pc_conn_send_body(l->conn, PC_FRAME_WELCOME, body, (size_t)n);
}

/* The key of the certificate is what makes it this host; name and identity in hello must be those that were enrolled
 * with that key. */
static const char *known(struct pc_server *s, struct pc_conn *c, const struct hello *hello)
{
    uint8_t key[32];
    struct pc_store_host row;
    if (pc_conn_peer_key(c, key) < 0)
        return "no link key";
    int ret = s->store->ops->host_by_link_key(s->store, key, &row);
    if (ret < 0)
        return ret == PC_E_NOTFOUND ? "unknown link key (not enrolled here)" : "the database cannot be read";
    return strcmp(row.name, hello->host.name) == 0 && strcmp(row.id, hello->host.id) == 0
               ? NULL
               : "hello names another host than its key";
}

static void on_hello(struct pc_hub *h, struct pc_conn *c, const uint8_t *body, size_t len)
{
    struct hello hello = {0};
    if (read_hello(body, len, &hello) < 0) {
        pc_conn_close(c, PC_END_MALFORMED, "bad hello");
        return;
    }
    const char *why = known(h->server, c, &hello);
    struct pc_link *l = why ? NULL : calloc(1, sizeof *l);
    if (!l) {
        pc_conn_close(c, PC_END_REFUSED, why ? why : "out of memory");
        return;
    }
    struct pc_link *before = pc_hub_find(h, hello.host.id);
    if (before)
        pc_conn_close(before->conn, PC_END_LOCAL, "the host has connected anew");
    *l = (struct pc_link){.conn = c,
                          .server = h->server,
                          .ref = hello.host,
                          .checkpoint_size = hello.checkpoint_size,
                          .sequence = hello.sequence,
                          .sent_size = hello.checkpoint_size,
                          .serial = ++h->links,
                          .connected = pc_server_now(),
                          .event_allowance = EVENTS_BURST,
                          .dirty = true};
    memcpy(l->agent, hello.agent, sizeof l->agent);
    l->last_seen = l->connected;
    put_in(h, l);
    pc_conn_set_user_of(c, l);
    pc_conn_admit(c);
    pc_watch_say(h->server, "host", "{\"host\":\"%s\",\"online\":true}", l->ref.name);
    if (welcome(l) == 0 && !pc_conn_closed(c) && pc_deliver_pending(l) < 0)
        pc_conn_close(c, PC_END_LOCAL, "the database cannot be read");
}

/* --- the set's calls ---------------------------------------------------------------------------------------------- */

static void on_frame(struct pc_conn *c, enum pc_frame_type type, const uint8_t *body, size_t len)
{
    struct pc_link *l = pc_conn_user(c);
    if (l) {
        l->last_seen = pc_server_now();
        if (!pc_server_report_frame(l, type, body, len) && !pc_conn_closed(c))
            pc_conn_close(c, PC_END_MALFORMED, "a frame that hosts do not send, or a malformed one");
    } else if (type == PC_FRAME_HELLO) {
        on_hello(pc_conn_set_user(pc_conn_set_of(c)), c, body, len);
    } else {
        pc_conn_close(c, PC_END_MALFORMED, "the first frame must be hello");
    }
}

static void on_down(struct pc_conn *c, enum pc_conn_end end, const char *why)
{
    struct pc_link *l = pc_conn_user(c);
    struct pc_hub *h = pc_conn_set_user(pc_conn_set_of(c));
    if (l) {
        pc_conn_set_user_of(c, NULL);
        take_out(h, l);
        pc_inspect_forget(l);
        if (end != PC_END_CLOSED && end != PC_END_LOCAL)
            pc_server_log("link", "%s: closed: %s", l->ref.name, why);
        say_offline(l);
        pc_watch_say(h->server, "host", "{\"host\":\"%s\",\"online\":false}", l->ref.name);
        free(l);
    } else if (end == PC_END_REFUSED) {
        char from[80];
        pc_conn_address(c, from, sizeof from);
        pc_server_log("link", "%s: refused: %s", from, why);
    }
}

static void on_tick(struct pc_conn *c, int64_t mono)
{
    struct pc_link *l = pc_conn_user(c);
    if (!l)
        return;
    int64_t now = pc_server_now();
    if (l->event_allowance < EVENTS_BURST)
        l->event_allowance++;
    if (now >= l->next_checkpoint) {
        l->next_checkpoint = now + l->server->state->settings.heartbeat;
        pc_deliver_checkpoint(l);
    }
}

int pc_hub_new(struct pc_server *s, SSL_CTX *ctx, int listen_fd, struct pc_hub **out)
{
    static const struct pc_conn_ops ops = {.frame = on_frame, .down = on_down, .tick = on_tick};
    const struct pc_server_settings *set = &s->state->settings;
    struct pc_conn_limits limits = {
        .frame_max = PC_FRAME_MAX,
        .handshake_s = set->patience,
        .admit_s = set->patience,
        .silence_s = 3 * set->heartbeat,
        .stall_s = 60,
        .queue_max = 16u << 20,
        .rate_per_s = 64u << 10,
        .burst = 2u << 20,
        .pending_max = set->handshakes,
        .pending_per_address = set->handshakes_per_address,
        .total_max = set->connections,
    };
    struct pc_hub *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->server = s;
    int ret = pc_conn_set_new(s->base, ctx, &ops, &limits, h, &h->set);
    if (ret == 0)
        ret = pc_conn_listen(h->set, listen_fd);
    if (ret < 0) {
        pc_conn_set_free(h->set);
        free(h);
        return ret;
    }
    *out = h;
    return 0;
}

void pc_hub_free(struct pc_hub *h)
{
    if (!h)
        return;
    pc_conn_set_free(h->set);
    free(h);
}

void pc_hub_stop_listening(struct pc_hub *h)
{
    pc_conn_stop_listening(h->set);
}

void pc_hub_certificate(struct pc_hub *h, SSL_CTX *ctx)
{
    pc_conn_set_context(h->set, ctx);
}
