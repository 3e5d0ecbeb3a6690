/*
 * Owns continues and starts as they are kept in the store (frames that every host of a ring gets as they were logged),
 * and their delivery: to all when they are new, to a host that comes back. Must not decide on any.
 */
#include "server/rings.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "server/parcel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void pc_ring_key(const char *sha256, uint64_t run, uint32_t ring, char out[120])
{
    snprintf(out, 120, "continue/%s/%" PRIu64 "/%u", sha256, run, ring);
}

void pc_run_key(const char *sha256, char out[120])
{
    snprintf(out, 120, "run/%s", sha256);
}

int pc_ring_kept(struct pc_store *s, const char *key, void **memory, const char **text, uint64_t *index)
{
    void *value;
    size_t len;
    int ret = s->ops->get(s, key, &value, &len);
    if (ret < 0)
        return ret;
    char *end;
    *index = strtoull(value, &end, 10);
    if (*end != '\n') {
        free(value);
        return PC_E_CORRUPT;
    }
    *text = end + 1;
    *memory = value;
    return 0;
}

int pc_run_current(struct pc_store *s, const struct pc_order *o, uint64_t *run)
{
    char key[120];
    _free_ void *memory = NULL;
    const char *text;
    uint64_t index;
    *run = 0;
    if (!o->standing)
        return 0;
    pc_run_key(o->sha256, key);
    int ret = pc_ring_kept(s, key, &memory, &text, &index);
    if (ret < 0)
        return ret; /* PC_E_NOTFOUND: it never ran */
    const char *at = strstr(text, "\"run\":");
    *run = at ? strtoull(at + 6, NULL, 10) : 0;
    return 0;
}

struct send {
    struct pc_server *server;
    const struct pc_parcel *parcel;
    const char *text;
    uint64_t index;
    enum pc_frame_type frame;
    uint32_t ring; /* UINT32_MAX: every host */
};

/* To all hosts of a ring (or of the order) that are here. */
static void send_all(const struct send *w)
{
    const struct pc_host_ref *hosts = pc_parcel_hosts(w->parcel);
    for (uint32_t i = 0; i < w->parcel->order.hosts; i++) {
        struct pc_link *l = w->ring == UINT32_MAX || pc_order_ring_of(&w->parcel->order, i) == w->ring
                                ? pc_hub_find(w->server->hub, hosts[i].id)
                                : NULL;
        if (l)
            pc_deliver_signal(w->server, l, w->frame, w->text, strlen(w->text), w->index);
    }
}

void pc_ring_send(struct pc_server *s, struct pc_parcel *p, const char *key, enum pc_frame_type frame, uint32_t ring)
{
    _free_ void *memory = NULL;
    struct send w = {.server = s, .parcel = p, .frame = frame, .ring = ring};
    int ret = pc_ring_kept(s->store, key, &memory, &w.text, &w.index);
    if (pc_store_away(ret))
        pc_delivery_missed(s, "a continue or start cannot be read");
    if (ret < 0)
        return;
    if (w.index < pc_logview_size(s->log))
        send_all(&w);
    else
        pc_delivery_rings_wait(s->delivery, p->sha256);
}

/* --- hosts that come back ----------------------------------------------------------------------------------------- */

/* What is kept under a key. */
struct kept_frame {
    int ret; /* of pc_ring_kept() */
    void *memory;
    const char *text;
    uint64_t index;
};

static void load_frame(struct pc_store *s, const char *key, struct kept_frame *f)
{
    free(f->memory);
    *f = (struct kept_frame){0};
    f->ret = pc_ring_kept(s, key, &f->memory, &f->text, &f->index);
}

/* -errno: it cannot be read. */
static int give_frame(struct pc_link *l, const char *sha256, const struct kept_frame *f, enum pc_frame_type type)
{
    if (f->ret < 0)
        return pc_store_away(f->ret) ? f->ret : 0; /* none yet */
    if (f->index < pc_logview_size(l->server->log))
        pc_deliver_signal(l->server, l, type, f->text, strlen(f->text), f->index);
    else
        pc_delivery_rings_wait(l->server->delivery, sha256);
    return 0;
}

static int send_one(struct pc_link *l, const char *sha256, const char *key, enum pc_frame_type type)
{
    struct kept_frame f = {0};
    load_frame(l->server->store, key, &f);
    int ret = give_frame(l, sha256, &f, type);
    free(f.memory);
    return ret;
}

/* Has this host a part in the order that is not over? 1, 0. */
static int has_part(struct pc_link *l, const char *sha256, struct pc_parcel **p, struct pc_store_order_host *part)
{
    struct pc_server *s = l->server;
    int ret = s->store->ops->order_host_get(s->store, sha256, l->ref.id, part);
    if (ret == 0)
        ret = pc_parcel_get(pc_delivery_parcels(s->delivery), s->store, sha256, p);
    if (ret < 0)
        return pc_store_away(ret) ? ret : 0;
    return (!pc_rings_part_over(part->state) || (*p)->order.standing) && (*p)->order.expires > pc_server_now();
}

int pc_rings_pending(struct pc_link *l, const char *sha256)
{
    struct pc_server *s = l->server;
    struct pc_store_order_host part;
    struct pc_parcel *p;
    uint64_t run;
    char key[120];
    int ret = has_part(l, sha256, &p, &part);
    if (ret <= 0)
        return ret;
    ret = pc_run_current(s->store, &p->order, &run);
    if (ret < 0)
        return pc_store_away(ret) ? ret : 0;
    if (p->order.standing) {
        pc_run_key(sha256, key);
        ret = send_one(l, sha256, key, PC_FRAME_START);
    }
    if (part.ring > 0 && ret == 0) {
        pc_ring_key(sha256, run, part.ring, key);
        ret = send_one(l, sha256, key, PC_FRAME_CONTINUE);
    }
    return ret;
}

struct telling {
    struct pc_server *server;
    const struct pc_parcel *parcel;
    uint64_t run;
    uint32_t ring; /* whose continue is at hand: an order's hosts are listed ring by ring; 0: none yet */
    struct kept_frame start, next;
};

static int tell_one(void *ctx, const struct pc_store_order_host *h)
{
    struct telling *t = ctx;
    const struct pc_parcel *p = t->parcel;
    struct pc_link *l = pc_hub_find(t->server->hub, h->host_id);
    int ret = 0;
    if (!l || l->behind || (pc_rings_part_over(h->state) && !p->order.standing))
        return 0;
    if (p->order.standing)
        ret = give_frame(l, p->sha256, &t->start, PC_FRAME_START);
    if (h->ring > 0 && h->ring != t->ring) {
        char key[120];
        pc_ring_key(p->sha256, t->run, h->ring, key);
        load_frame(t->server->store, key, &t->next);
        t->ring = h->ring;
    }
    return ret < 0 || h->ring == 0 ? ret : give_frame(l, p->sha256, &t->next, PC_FRAME_CONTINUE);
}

/* Thousands of hosts: what they get is read once for all of them. */
static int tell_all(struct telling *t)
{
    const struct pc_order *o = &t->parcel->order;
    struct pc_store *s = t->server->store;
    char key[120];
    int ret = pc_run_current(s, o, &t->run);
    if (ret < 0 || o->expires <= pc_server_now())
        return ret;
    pc_run_key(o->sha256, key);
    if (o->standing)
        load_frame(s, key, &t->start);
    ret = s->ops->order_hosts(s, o->sha256, tell_one, t);
    free(t->start.memory);
    free(t->next.memory);
    return ret;
}

void pc_rings_told(struct pc_server *s, const char *order_sha256)
{
    struct telling t = {.server = s};
    struct pc_parcel *p;
    if (!pc_hex_valid(order_sha256, PC_SHA256_HEX))
        return;
    int ret = pc_parcel_get(pc_delivery_parcels(s->delivery), s->store, order_sha256, &p);
    if (ret == 0) {
        t.parcel = p;
        ret = tell_all(&t);
    }
    if (pc_store_away(ret))
        pc_delivery_missed(s, "a continue or start cannot be read");
}
