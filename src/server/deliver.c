/*
 * Owns what goes to hosts: bundles, stops, checkpoints, owners' documents. Delivery is by the host's state in the
 * store: what is queued or delivered there is sent at every connection until the host's ack is in. Must not decide who
 * may order what.
 */
#include "server/owners.h"
#include "server/parcel.h"
#include "server/server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 4096
#define LAG_MAX 3 /* heartbeats that a host may be behind with `seen` */
#define CATCH_UP_NS 200000000u
#define QUEUED_MAX (8u << 20) /* bytes for one host: what is pending beyond them follows when it has taken these */
#define MARK_S 3  /* an order that was sent and has no ack after so long is called delivered */

struct mark {
    struct mark *next;
    int64_t at;
    char sha256[PC_SHA256_HEX + 1];
};
struct waiting {
    char sha256[PC_SHA256_HEX + 1];
    bool order, rings; /* what is logged, but not in a published checkpoint: the order; a continue or start of it */
};
struct pc_delivery {
    struct pc_server *server;
    struct pc_parcels parcels;
    struct pc_owners_frames owners;
    struct mark *marks; /* newest first */
    uint32_t waiting;
    bool overflow; /* too many are waiting: look at every host instead */
    struct waiting *wait;
    bool behind; /* links may be behind (pc_link) */
    bool looked; /* open orders were looked at since */
    struct pc_frame *checkpoint; /* the last one made */
    uint64_t checkpoint_generation, checkpoint_from;
    struct pc_frame *signal; /* the last continue or start that was sent, by its entry */
    uint64_t signal_generation, signal_index;
};

int pc_delivery_new(struct pc_server *s, struct pc_delivery **out)
{
    struct pc_delivery *d = calloc(1, sizeof *d);
    if (d)
        d->wait = calloc(WAITING_MAX, sizeof *d->wait);
    if (!d || !d->wait) {
        free(d);
        return -ENOMEM;
    }
    d->server = s;
    *out = d;
    return 0;
}

void pc_delivery_free(struct pc_delivery *d)
{
    if (!d)
        return;
    pc_parcels_clear(&d->parcels);
    pc_owners_frames_clear(&d->owners);
    while (d->marks) {
        struct mark *next = d->marks->next;
        free(d->marks);
        d->marks = next;
    }
    pc_frame_unref(d->checkpoint);
    pc_frame_unref(d->signal);
    free(d->wait);
    free(d);
}

struct pc_parcels *pc_delivery_parcels(struct pc_delivery *d)
{
    return &d->parcels;
}

/* --- marking as delivered ----------------------------------------------------------------------------------------- */

struct mark_job {
    struct pc_job job;
    uint32_t n, cap;
    struct pc_store_order_host *host;
};

static int mark_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct mark_job *j = (struct mark_job *)job;
    return s->ops->order_hosts_advance(s, j->host, j->n, false);
}

static void mark_done(struct pc_job *job, int result)
{
    free(((struct mark_job *)job)->host);
    free(job);
}

struct marking {
    struct pc_server *server;
    struct mark_job *job;
};

static int mark_one(void *ctx, const struct pc_store_order_host *h)
{
    struct marking *m = ctx;
    struct mark_job *j = m->job;
    const struct pc_link *l = strcmp(h->state, "queued") == 0 ? pc_hub_find(m->server->hub, h->host_id) : NULL;
    if (!l || l->behind)
        return 0;
    if (j->n == j->cap) {
        uint32_t cap = j->cap ? j->cap * 2 : 64;
        void *grown = realloc(j->host, cap * sizeof *j->host);
        if (!grown)
            return 0;
        j->host = grown;
        j->cap = cap;
    }
    j->host[j->n] = *h;
    snprintf(j->host[j->n].state, sizeof h->state, "delivered");
    j->host[j->n].changed = pc_server_now();
    j->n++;
    return 0;
}

static void mark_order(struct pc_server *s, const char *sha256)
{
    struct mark_job *j = calloc(1, sizeof *j);
    struct marking m = {.server = s, .job = j};
    if (!j)
        return;
    j->job.run = mark_run;
    j->job.done = mark_done;
    if (s->store->ops->order_hosts(s->store, sha256, mark_one, &m) < 0 || j->n == 0 ||
        pc_writer_submit(s->writer, &j->job) < 0)
        mark_done(&j->job, 0);
}

static void mark_later(struct pc_delivery *d, const char *sha256)
{
    if (d->marks && strcmp(d->marks->sha256, sha256) == 0)
        return;
    struct mark *m = malloc(sizeof *m);
    if (!m)
        return; /* only a word in a list */
    *m = (struct mark){.next = d->marks, .at = pc_server_now() + MARK_S};
    snprintf(m->sha256, sizeof m->sha256, "%s", sha256);
    d->marks = m;
}

/* --- what hosts have missed --------------------------------------------------------------------------------------- */

static void set_behind(struct pc_link *l, void *ctx)
{
    (void)ctx;
    l->behind = true;
    l->had.cut = false;
}

void pc_delivery_missed(struct pc_server *s, const char *why)
{
    struct pc_delivery *d = s->delivery;
    if (!d->behind)
        pc_server_log("deliver", "%s: hosts get what they missed as soon as the database answers", why);
    pc_hub_each(s->hub, set_behind, NULL);
    d->behind = true;
    d->looked = false;
}

bool pc_delivery_behind(const struct pc_server *s)
{
    return s->delivery->behind;
}

/* This host alone. */
static void missed_by(struct pc_link *l)
{
    set_behind(l, NULL);
    l->server->delivery->behind = true;
}

/* It has enough to take: the rest goes on behind this order. */
static void cut_off(struct pc_link *l, const struct pc_store_order *o)
{
    missed_by(l);
    l->had.cut = true;
    l->had.sequence = o->sequence;
    memcpy(l->had.sha256, o->sha256, sizeof l->had.sha256);
}

/* pending lists orders by these two. */
static bool had_it(const struct pc_link *l, const struct pc_store_order *o)
{
    return l->had.cut && (o->sequence < l->had.sequence ||
                          (o->sequence == l->had.sequence && strcmp(o->sha256, l->had.sha256) <= 0));
}

struct catching_up {
    uint64_t until; /* pc_mono_ns */
    bool away, left;
};

static void catch_up_one(struct pc_link *l, void *ctx)
{
    struct catching_up *c = ctx;
    if (!l->behind)
        return;
    if (c->away || pc_mono_ns() > c->until || pc_conn_queued(l->conn) > QUEUED_MAX / 2) {
        c->left = true;
        return;
    }
    l->behind = false;
    int ret = pc_deliver_pending(l);
    if (pc_store_away(ret)) {
        l->behind = true;
        c->away = c->left = true;
    } else if (ret < 0) {
        pc_server_log("deliver", "what %s must get cannot be read: %s", l->ref.name, pc_strerror(ret));
        pc_conn_close(l->conn, PC_END_LOCAL, "the database cannot be read");
    }
}

/* A part of every second: thousands of hosts may be behind, and the loop has other work. */
static void catch_up(struct pc_delivery *d)
{
    struct catching_up c = {.until = pc_mono_ns() + CATCH_UP_NS};
    if (!d->looked && pc_progress_load(d->server->progress) < 0)
        return;
    d->looked = true;
    d->behind = false;
    pc_hub_each(d->server->hub, catch_up_one, &c);
    if (c.left)
        d->behind = true; /* and where one of them failed */
}

void pc_delivery_tick(struct pc_delivery *d, int64_t now)
{
    for (struct mark **at = &d->marks; *at;) {
        struct mark *m = *at;
        if (m->at > now) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        mark_order(d->server, m->sha256);
        free(m);
    }
    if (d->behind)
        catch_up(d);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static int make_checkpoint(struct pc_logview *log, uint64_t from, struct pc_frame **out)
{
    struct pc_buf text _buf_free_;
    pc_buf_init(&text, PC_FRAME_MAX_DOWN - PC_FRAME_HEAD);
    pc_buf_add(&text, "{", 1);
    pc_logview_add_checkpoint(log, &text);
    pc_buf_add(&text, ",", 1);
    int ret = pc_logview_add_consistency(log, from, &text);
    pc_buf_add(&text, "}", 1);
    if (ret < 0 || text.failed)
        return ret < 0 ? ret : PC_E_LIMIT;
    *out = pc_frame_new(PC_FRAME_CHECKPOINT, text.data, text.len);
    return *out ? 0 : -ENOMEM;
}

static int send_checkpoint(struct pc_link *l)
{
    struct pc_server *s = l->server;
    struct pc_delivery *d = s->delivery;
    uint64_t generation = pc_logview_generation(s->log);
    if (!pc_logview_text(s->log))
        return 0;
    if (!d->checkpoint || d->checkpoint_generation != generation || d->checkpoint_from != l->sent_size) {
        struct pc_frame *f;
        int ret = make_checkpoint(s->log, l->sent_size, &f);
        if (ret < 0)
            return ret;
        pc_frame_unref(d->checkpoint);
        d->checkpoint = f;
        d->checkpoint_generation = generation;
        d->checkpoint_from = l->sent_size;
    }
    int ret = pc_conn_send(l->conn, d->checkpoint);
    if (ret == 0)
        l->sent_size = pc_logview_size(s->log);
    return ret;
}

/*
 * Proofs start at the tree that the host has seen, and several frames may be on their way. So no frame but a checkpoint
 * moves a host on: the host is brought to the published tree first, and what follows is proven in that very tree. On
 * failure nothing may follow: to the host it would be a log that was rewritten.
 */
static int bring_up_to_date(struct pc_link *l)
{
    return l->sent_size == pc_logview_size(l->server->log) ? 0 : send_checkpoint(l);
}

void pc_deliver_checkpoint(struct pc_link *l)
{
    /* A host that does not say that it saw what it was sent refused it, and every later proof starts in the wrong
     * place. Its next hello tells where. */
    l->lag = l->checkpoint_size < l->sent_before ? l->lag + 1 : 0;
    if (l->lag >= LAG_MAX) {
        pc_conn_close(l->conn, PC_END_LOCAL, "it does not confirm checkpoints");
        return;
    }
    if (send_checkpoint(l) < 0)
        return; /* at the next heartbeat */
    l->sent_before = l->sent_size;
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

/* position: of the host in the order. */
static int send_bundle(struct pc_delivery *d, struct pc_parcel *p, int64_t position, struct pc_link *l)
{
    struct pc_frame *f;
    int ret = pc_parcel_bundle(p, d->server->log, position, &f);
    if (ret < 0)
        return ret;
    ret = bring_up_to_date(l);
    if (ret == 0)
        ret = pc_conn_send(l->conn, f);
    pc_frame_unref(f);
    return ret;
}

/* NULL: there is no room. */
static struct waiting *wait_for_publication(struct pc_delivery *d, const char *sha256)
{
    for (uint32_t i = 0; i < d->waiting; i++)
        if (strcmp(d->wait[i].sha256, sha256) == 0)
            return &d->wait[i];
    if (d->waiting == WAITING_MAX) {
        d->overflow = true;
        return NULL;
    }
    struct waiting *w = &d->wait[d->waiting++];
    *w = (struct waiting){0};
    snprintf(w->sha256, sizeof w->sha256, "%s", sha256);
    return w;
}

static void order_waits(struct pc_delivery *d, const char *sha256)
{
    struct waiting *w = wait_for_publication(d, sha256);
    if (w)
        w->order = true;
}

void pc_delivery_rings_wait(struct pc_delivery *d, const char *order_sha256)
{
    struct waiting *w = wait_for_publication(d, order_sha256);
    if (w)
        w->rings = true;
}

void pc_deliver_order(struct pc_server *s, const char *order_sha256, uint64_t after)
{
    struct pc_delivery *d = s->delivery;
    struct pc_parcel *p;
    if (pc_hub_links(s->hub) <= after)
        return; /* nobody is new */
    int ret = pc_parcel_get(&d->parcels, s->store, order_sha256, &p);
    if (ret < 0) {
        pc_server_log("deliver", "order %.16s: %s", order_sha256, pc_strerror(ret));
        if (pc_store_away(ret))
            pc_delivery_missed(s, "an order cannot be read");
        return;
    }
    if (p->index >= pc_logview_size(s->log)) {
        order_waits(d, order_sha256);
        return;
    }
    const struct pc_host_ref *hosts = pc_parcel_hosts(p);
    for (uint32_t i = 0; i < p->order.hosts; i++) {
        struct pc_link *l = pc_hub_find(s->hub, hosts[i].id);
        /* One that is behind gets it with what it missed: hosts take orders by rising numbers only (but for stops). One
         * that cannot take it was dropped, and gets it when it is back. */
        if (l && l->serial > after && (!l->behind || p->order.class_ == PC_CLASS_S) &&
            pc_store_away(send_bundle(d, p, i, l)))
            missed_by(l);
    }
    mark_later(d, order_sha256);
}

static int pending_one(void *ctx, const struct pc_store_order *o)
{
    struct pc_link *l = ctx;
    struct pc_delivery *d = l->server->delivery;
    struct pc_parcel *p;
    if (had_it(l, o))
        return 0;
    int ret = pc_parcel_get(&d->parcels, l->server->store, o->sha256, &p);
    if (ret == 0)
        ret = send_bundle(d, p, p->tree ? pc_parcel_position(p, &l->ref) : 0, l);
    if (pc_store_away(ret))
        return ret; /* nothing may overtake it */
    if (ret == PC_E_RANGE)
        order_waits(d, o->sha256);
    else if (ret == 0)
        mark_later(d, o->sha256);
    else if (!pc_conn_closed(l->conn))
        pc_server_log("deliver", "order %.16s to %s: %s", o->sha256, l->ref.name, pc_strerror(ret));
    if (!pc_conn_closed(l->conn) && pc_conn_queued(l->conn) <= QUEUED_MAX)
        return 0;
    cut_off(l, o);
    return 1;
}

int pc_deliver_pending(struct pc_link *l)
{
    struct pc_server *s = l->server;
    if (!l->had.cut)
        pc_deliver_policy(l);
    if (pc_conn_closed(l->conn))
        return 0;
    int ret = s->store->ops->pending(s->store, l->ref.id, pc_server_now(), pending_one, l);
    if (ret < 0 || l->behind || pc_conn_closed(l->conn))
        return ret;
    l->had.cut = false;
    return pc_progress_pending(l);
}

void pc_delivery_published(struct pc_delivery *d)
{
    uint32_t n = d->waiting;
    bool all = d->overflow;
    _free_ struct waiting *list = n ? malloc(n * sizeof *list) : NULL;
    if (n && !list)
        return; /* at the next one */
    if (n)
        memcpy(list, d->wait, n * sizeof *list);
    d->waiting = 0;
    d->overflow = false;
    if (all)
        pc_delivery_missed(d->server, "more orders waited for witnesses than can be remembered");
    for (uint32_t i = 0; i < n; i++) {
        if (list[i].order)
            pc_deliver_order(d->server, list[i].sha256, 0);
        if (list[i].rings)
            pc_rings_told(d->server, list[i].sha256);
    }
}

/* --- stops -------------------------------------------------------------------------------------------------------- */

/* {"order":{...}[,"place":{...}]} */
static struct pc_frame *stop_frame(const struct pc_buf *head, const struct pc_host_tree *tree, uint32_t index)
{
    struct pc_buf text _buf_free_;
    pc_buf_init(&text, PC_FRAME_MAX_DOWN);
    pc_buf_add(&text, head->data, head->len);
    if (tree) {
        pc_buf_add(&text, ",", 1);
        pc_add_place(tree, index, &text);
    }
    pc_buf_add(&text, "}", 1);
    return text.failed ? NULL : pc_frame_new(PC_FRAME_BUNDLE, text.data, text.len);
}

uint32_t pc_deliver_stop(struct pc_server *s, const struct pc_order *o, const struct pc_envelope *e,
                         const struct pc_host_ref *hosts, uint32_t n)
{
    struct pc_host_tree *tree = NULL;
    struct pc_frame *f = NULL;
    struct pc_buf head _buf_free_;
    uint32_t sent = 0;
    pc_buf_init(&head, PC_FRAME_MAX_DOWN);
    pc_buf_add(&head, "{\"order\":", 9);
    if (pc_add_envelope(e, &head) < 0 || (o->rooted && pc_host_tree_new(hosts, n, &tree) < 0))
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        struct pc_link *l = pc_hub_find(s->hub, hosts[i].id);
        if (!l)
            continue;
        if (tree) {
            pc_frame_unref(f);
            f = NULL;
        }
        if (!f)
            f = stop_frame(&head, tree, i);
        if (f && pc_conn_send(l->conn, f) == 0)
            sent++;
    }
    pc_frame_unref(f);
    pc_host_tree_free(tree);
    return sent;
}

/* --- continues, starts -------------------------------------------------------------------------------------------- */

static int make_signal(struct pc_server *s, enum pc_frame_type type, const char *prefix, size_t len, uint64_t index,
                       struct pc_frame **out)
{
    struct pc_buf text _buf_free_;
    pc_buf_init(&text, PC_FRAME_MAX_DOWN - PC_FRAME_HEAD);
    pc_buf_add(&text, prefix, len);
    pc_buf_add(&text, ",", 1);
    int ret = pc_add_entry(s->store, index, &text);
    pc_buf_add(&text, ",", 1);
    if (ret == 0)
        ret = pc_logview_add_inclusion(s->log, index, &text);
    pc_buf_add(&text, ",", 1);
    if (ret == 0)
        ret = pc_logview_add_consistency(s->log, pc_logview_size(s->log), &text);
    pc_buf_add(&text, "}", 1);
    if (ret < 0 || text.failed)
        return ret < 0 ? ret : PC_E_LIMIT;
    *out = pc_frame_new(type, text.data, text.len);
    return *out ? 0 : -ENOMEM;
}

/* One frame for all hosts of a ring: it may hold a thousand reports. */
static int signal_frame(struct pc_server *s, enum pc_frame_type type, const char *prefix, size_t len, uint64_t index)
{
    struct pc_delivery *d = s->delivery;
    uint64_t generation = pc_logview_generation(s->log);
    struct pc_frame *f;
    if (d->signal && d->signal_index == index && d->signal_generation == generation)
        return 0;
    int ret = make_signal(s, type, prefix, len, index, &f);
    if (ret < 0)
        return ret;
    pc_frame_unref(d->signal);
    d->signal = f;
    d->signal_index = index;
    d->signal_generation = generation;
    return 0;
}

void pc_deliver_signal(struct pc_server *s, struct pc_link *l, enum pc_frame_type type, const char *prefix, size_t len,
                       uint64_t index)
{
    int ret = bring_up_to_date(l);
    if (ret == 0)
        ret = signal_frame(s, type, prefix, len, index);
    if (ret == 0)
        ret = pc_conn_send(l->conn, s->delivery->signal);
    if (pc_store_away(ret))
        missed_by(l);
}

/* --- owners' documents ------------------------------------------------------------------------------------------ */

void pc_deliver_policy(struct pc_link *l)
{
    struct pc_owners_frames *f = &l->server->delivery->owners;
    int ret = pc_owners_frames_get(f, l->server->policy);
    for (size_t i = 0; i < f->n && ret == 0; i++)
        ret = pc_conn_send(l->conn, f->frame[i]);
    if (pc_store_away(ret))
        missed_by(l);
}
