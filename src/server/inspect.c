/*
 * Owns the checking of hosts' documents: a signature costs more than all the rest of a document together, so workers
 * verify and read them, the loop only hands over and takes back. The documents of one host are a lane of the pool:
 * they are stored in the order they came.
 *
 * Bounds: what the pool takes (pool.h), STORING_MAX documents and STORING_BYTES that are checked and wait for the
 * database, and LINK_MAX documents of one link, so that one host cannot fill the pool for all. A link beyond them is
 * held: not read until there is room, in the order of the holding. TCP tells the host; nothing is dropped, nobody is
 * called silent for it.
 */
#include "server/report.h"

#include "base/err.h"
#include "base/str.h"
#include "trust/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINK_MAX 64
#define STORING_MAX 8192
#define STORING_BYTES (64u << 20)

struct pc_inspection {
    struct pc_server *server;
    struct pc_pool *pool;
    struct pc_link *first, *last; /* held, the longest first */
    uint32_t storing;             /* documents that are with the writer */
    size_t storing_bytes;
    bool drained;
};

/* --- on a worker -------------------------------------------------------------------------------------------------- */

static bool same_host(const struct pc_report *r, const char *tenant, const struct pc_host_ref *host)
{
    return strcmp(tenant, r->server->state->settings.tenant) == 0 && strcmp(host->name, r->host.name) == 0 &&
           strcmp(host->id, r->host.id) == 0;
}

static void set_part(struct pc_report *r, const char *state, const char *why, const char *outcome, int code)
{
    struct pc_store_order_host *h = &r->state;
    *h = (struct pc_store_order_host){.exit = code, .changed = r->time};
    memcpy(h->sha256, r->key, sizeof h->sha256);
    memcpy(h->host_id, r->host.id, sizeof h->host_id);
    memcpy(h->host, r->host.name, sizeof h->host);
    snprintf(h->state, sizeof h->state, "%s", state);
    snprintf(h->why, sizeof h->why, "%s", why);
    snprintf(h->outcome, sizeof h->outcome, "%s", outcome);
}

static int read_ack(struct pc_report *r)
{
    struct pc_ack a;
    int ret = pc_ack_parse(r->e.document, r->e.len, &a);
    if (ret < 0)
        return ret;
    if (!same_host(r, a.tenant, &a.host))
        return PC_E_SIGNATURE;
    bool accepted = a.verdict == PC_CHECK_OK;
    const char *word = pc_check_word(a.verdict);
    memcpy(r->key, a.order_sha256, sizeof r->key);
    r->time = a.time;
    r->entry = accepted ? "ack" : "refusal";
    /* A host without room keeps nothing: for it the order is still to be delivered. */
    if (strcmp(word, "space") != 0)
        set_part(r, accepted ? "accepted" : "refused", word, "", -1);
    return 0;
}

/* Results of orders change the host's part; results of looks are the newest answer. */
static int read_result(struct pc_report *r)
{
    struct pc_result res;
    int ret = pc_result_parse(r->e.document, r->e.len, &res);
    if (ret < 0)
        return ret;
    r->time = res.ended;
    r->look = *res.look;
    r->good = strcmp(res.outcome, "ok") == 0;
    if (r->look) {
        snprintf(r->key, sizeof r->key, "%s", res.look);
    } else {
        memcpy(r->key, res.order_sha256, sizeof r->key);
        r->entry = "result";
        set_part(r, res.outcome, "", res.outcome, res.exit);
    }
    ret = same_host(r, res.tenant, &res.host) ? 0 : PC_E_SIGNATURE;
    pc_result_clear(&res);
    return ret;
}

static int read_ring(struct pc_report *r)
{
    struct pc_ring_report ring;
    int ret = pc_ring_report_parse(r->e.document, r->e.len, &ring);
    if (ret < 0)
        return ret;
    memcpy(r->key, ring.order_sha256, sizeof r->key);
    r->time = ring.soaked;
    r->entry = "ring";
    return same_host(r, ring.tenant, &ring.host) ? 0 : PC_E_SIGNATURE;
}

static const struct {
    const char *kind;
    int (*read)(struct pc_report *r);
} kinds[] = {
    [PC_REPORT_ACK] = {"ack", read_ack},
    [PC_REPORT_RESULT] = {"result", read_result},
    [PC_REPORT_RING] = {"ring", read_ring},
};

/* The envelope, whose signature it is, what the document says. */
static void check(struct pc_task *t)
{
    struct pc_report *r = (struct pc_report *)t;
    int ret = pc_host_envelope_open(r->json, r->len, r->kind, &r->e);
    if (ret == 0)
        ret = strcmp(r->e.id, r->host.id) == 0 ? kinds[r->type].read(r) : PC_E_SIGNATURE;
    r->verdict = ret;
}

/* --- links that are held ------------------------------------------------------------------------------------------ */

static void hold(struct pc_inspection *in, struct pc_link *l)
{
    pc_conn_hold(l->conn);
    l->held = true;
    l->held_next = NULL;
    l->held_prev = in->last;
    if (in->last)
        in->last->held_next = l;
    else
        in->first = l;
    in->last = l;
}

void pc_inspect_forget(struct pc_link *l)
{
    struct pc_inspection *in = l->server->inspection;
    if (!l->held)
        return;
    l->held = false;
    if (l->held_prev)
        l->held_prev->held_next = l->held_next;
    else
        in->first = l->held_next;
    if (l->held_next)
        l->held_next->held_prev = l->held_prev;
    else
        in->last = l->held_prev;
}

/* share: 1: of what may be taken; 2: of half of it. */
static bool full(const struct pc_inspection *in, unsigned share)
{
    return pc_pool_full(in->pool) || in->storing >= STORING_MAX / share || in->storing_bytes >= STORING_BYTES / share;
}

/*
 * Reads held links again, each once, until the pool is full. A link may be held anew by what it has (at the end of the
 * list), or closed; only those that were held when this began are looked at, and `next` is one that nobody has touched.
 */
static void on_room(void *ctx)
{
    struct pc_inspection *in = ctx;
    struct pc_link *last = in->last, *next;
    for (struct pc_link *l = in->first; l && !full(in, 1); l = next) {
        bool end = l == last;
        next = end ? NULL : l->held_next;
        if (l->checking > LINK_MAX / 2)
            continue;
        pc_inspect_forget(l);
        pc_conn_resume(l->conn);
    }
}

/* --- on the loop -------------------------------------------------------------------------------------------------- */

void pc_inspect_storing(struct pc_report *r)
{
    struct pc_inspection *in = r->server->inspection;
    in->storing++;
    in->storing_bytes += r->task.bytes;
}

void pc_inspect_stored(struct pc_report *r)
{
    struct pc_inspection *in = r->server->inspection;
    bool before = full(in, 2);
    in->storing--;
    in->storing_bytes -= r->task.bytes;
    if (before && !full(in, 2) && !in->drained)
        on_room(in);
}

/* NULL: that link is gone. */
static struct pc_link *link_of(const struct pc_report *r)
{
    struct pc_link *l = r->server->hub ? pc_hub_find(r->server->hub, r->host.id) : NULL;
    return l && l->serial == r->link ? l : NULL;
}

/* Which question a look's answer belongs to, only the loop knows. */
static void name_action(struct pc_report *r)
{
    const char *action = pc_looks_action(r->server, r->key);
    if (!action)
        return;
    if (r->good)
        snprintf(r->action, sizeof r->action, "%s", action);
    if (strcmp(action, "guard.incidents") == 0)
        r->entry = "incident";
}

static void checked(struct pc_task *t)
{
    struct pc_report *r = (struct pc_report *)t;
    struct pc_link *l = link_of(r);
    if (l)
        l->checking--;
    if (r->verdict == 0) {
        if (r->look)
            name_action(r);
        pc_report_store(r);
        return;
    }
    if (r->verdict == -ENOMEM) {
        pc_server_reports_unstored++; /* no `got`: it comes again */
    } else {
        if (r->verdict == PC_E_SIGNATURE)
            pc_server_reports_forged++;
        if (l)
            pc_conn_close(l->conn, PC_END_MALFORMED, "a document that is malformed, or not this host's");
    }
    pc_report_free(r);
}

bool pc_inspect(struct pc_link *l, enum pc_report_kind type, const uint8_t *body, size_t len)
{
    struct pc_inspection *in = l->server->inspection;
    if (l->checking >= LINK_MAX || full(in, 1)) {
        hold(in, l);
        return true;
    }
    struct pc_report *r = calloc(1, sizeof *r + len);
    if (!r)
        return false;
    r->task = (struct pc_task){.run = check, .done = checked, .bytes = sizeof *r + len};
    r->server = l->server;
    r->host = l->ref;
    r->link = l->serial;
    r->type = type;
    r->kind = kinds[type].kind;
    r->len = len;
    memcpy(r->json, body, len);
    if (pc_pool_submit(in->pool, pc_hash64(l->ref.id, strlen(l->ref.id)), &r->task) < 0) {
        pc_report_free(r); /* the server ends: no `got`, it comes again */
        return true;
    }
    l->checking++;
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

int pc_inspection_new(struct pc_server *s, struct pc_inspection **out)
{
    struct pc_inspection *in = calloc(1, sizeof *in);
    if (!in)
        return -ENOMEM;
    in->server = s;
    int ret = pc_pool_start(s->base, 0, on_room, in, &in->pool);
    if (ret < 0) {
        free(in);
        return ret;
    }
    *out = in;
    return 0;
}

void pc_inspection_drain(struct pc_inspection *in)
{
    if (!in)
        return;
    in->drained = true;
    pc_pool_drain(in->pool);
}

void pc_inspection_free(struct pc_inspection *in)
{
    if (!in)
        return;
    pc_pool_stop(in->pool);
    free(in);
}

void pc_inspection_facts(const struct pc_inspection *in, uint32_t *checking, uint32_t *held, unsigned *threads)
{
    *checking = pc_pool_waiting(in->pool);
    *threads = pc_pool_threads(in->pool);
    *held = 0;
    for (const struct pc_link *l = in->first; l; l = l->held_next)
        ++*held;
}
