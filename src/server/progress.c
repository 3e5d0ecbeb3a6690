/*
 * Owns how far orders are: their states, rings, runs of standing orders. Looks at an order soon after something about
 * it changed, in the store, so that it does not matter which process heard of it. Must not judge more than
 * PROTOCOL.md 1.10 does: hosts check every continue themselves.
 */
#include "server/rings.h"
#include "server/server.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIRTY_MAX 1024
#define LOOK_AGAIN_MS 300 /* changes of one order within this time are one look */
#define LIVE_MAX 256
#define EXPIRY_S 30     /* how often open orders are looked at, and held against their time */
#define OPEN_AT_ONCE 128 /* of them in a second */

struct pc_progress {
    struct pc_server *server;
    struct event *timer;
    bool armed, overflow;
    uint32_t dirty;
    char (*sha)[PC_SHA256_HEX + 1];
    int64_t expiry_at;
    char open[PC_SHA256_HEX + 1]; /* those up to this one were looked at; "": all were */
    uint32_t n_live;
    char live[LIVE_MAX][PC_SHA256_HEX + 1];
};

/* --- states ------------------------------------------------------------------------------------------------------- */

bool pc_rings_order_over(const char *state)
{
    return strcmp(state, "done") == 0 || strcmp(state, "halted") == 0 || strcmp(state, "expired") == 0;
}

bool pc_rings_part_over(const char *state)
{
    static const char *const over[] = {"refused", "ok", "failed", "timeout", "unknown", "halted"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(over); i++)
        if (strcmp(over[i], state) == 0)
            return true;
    return false;
}

struct state_job {
    struct pc_job job;
    struct pc_server *server;
    char sha256[PC_SHA256_HEX + 1], id[PC_ID_LEN + 1], from[16], to[16];
};

static int state_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct state_job *j = (struct state_job *)job;
    return s->ops->order_state(s, j->sha256, j->from, j->to, UINT64_MAX);
}

static void state_done(struct pc_job *job, int result)
{
    struct state_job *j = (struct state_job *)job;
    if (result == 0)
        pc_watch_say(j->server, "order", "{\"order\":\"%s\",\"id\":\"%s\",\"state\":\"%s\"}", j->sha256, j->id, j->to);
    else if (result == PC_E_CHANGED)
        pc_progress_dirty(j->server, j->sha256);
    free(j);
}

/* Compare-and-set in a job; lost: looks again. */
static void set_state(struct pc_server *s, const struct pc_store_order *o, const char *to)
{
    struct state_job *j = strcmp(o->state, to) == 0 ? NULL : calloc(1, sizeof *j);
    if (!j)
        return;
    j->server = s;
    j->job.run = state_run;
    j->job.done = state_done;
    memcpy(j->sha256, o->sha256, sizeof j->sha256);
    memcpy(j->id, o->id, sizeof j->id);
    memcpy(j->from, o->state, sizeof j->from);
    snprintf(j->to, sizeof j->to, "%s", to);
    if (pc_writer_submit(s->writer, &j->job) < 0)
        free(j);
}

struct count {
    uint32_t all, begun, over;
};

static int count_state(void *ctx, const char *state, uint32_t n)
{
    struct count *c = ctx;
    c->all += n;
    if (pc_rings_part_over(state))
        c->over += n;
    if (strcmp(state, "queued") != 0 && strcmp(state, "delivered") != 0)
        c->begun += n;
    return 0;
}

/* --- orders that a host which comes back may have missed something of --------------------------------------------- */

static void forget_live(struct pc_progress *p, const char *sha256)
{
    for (uint32_t i = 0; i < p->n_live; i++)
        if (strcmp(p->live[i], sha256) == 0) {
            memmove(p->live[i], p->live[i + 1], (p->n_live - i - 1) * sizeof p->live[0]);
            p->n_live--;
            return;
        }
}

/* At the bound the oldest goes: its hosts get what they missed when the next ring or run of it is sent to all. */
static void note_live(struct pc_progress *p, const char *sha256)
{
    forget_live(p, sha256);
    if (p->n_live == LIVE_MAX)
        forget_live(p, p->live[0]);
    snprintf(p->live[p->n_live++], sizeof p->live[0], "%s", sha256);
}

int pc_progress_pending(struct pc_link *l)
{
    struct pc_progress *p = l->server->progress;
    int ret = 0;
    for (uint32_t i = 0; i < p->n_live && ret == 0; i++)
        ret = pc_rings_pending(l, p->live[i]);
    return ret;
}

/* A standing order goes on until its time is over, however its last run ended. */
static int look_at(struct pc_server *s, const char *sha256)
{
    struct pc_store_order row;
    struct count c = {0};
    int ret = s->store->ops->order_get(s->store, sha256, &row, NULL, NULL);
    if (ret < 0 || strcmp(row.state, "waiting") == 0)
        return pc_store_away(ret) ? ret : 0;
    if (pc_rings_order_over(row.state)) {
        forget_live(s->progress, sha256);
        return 0;
    }
    ret = s->store->ops->order_states(s->store, sha256, count_state, &c);
    if (ret < 0)
        return pc_store_away(ret) ? ret : 0;
    bool standing = strcmp(row.class_, "B") == 0;
    if (c.over == c.all && !standing)
        set_state(s, &row, "done");
    else if (c.begun)
        set_state(s, &row, "running");
    ret = pc_rings_look(s, &row);
    if (ret > 0)
        note_live(s->progress, sha256);
    return pc_store_away(ret) ? ret : 0;
}

/* --- when --------------------------------------------------------------------------------------------------------- */

static void arm(struct pc_progress *p)
{
    if (!p->armed)
        event_add(p->timer, &(struct timeval){.tv_usec = LOOK_AGAIN_MS * 1000});
    p->armed = true;
}

/* What cannot be looked at now is looked at again. */
static int look_at_dirty(struct pc_progress *p)
{
    uint32_t n = p->dirty;
    int ret = 0;
    _free_ char(*list)[PC_SHA256_HEX + 1] = n ? malloc(n * sizeof *list) : NULL;
    if (n && !list) {
        arm(p);
        return -ENOMEM;
    }
    if (n)
        memcpy(list, p->sha, n * sizeof *list);
    p->dirty = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (ret == 0)
            ret = look_at(p->server, list[i]);
        if (ret < 0)
            pc_progress_dirty(p->server, list[i]);
    }
    return ret;
}

static void on_timer(evutil_socket_t fd, short events, void *arg)
{
    struct pc_progress *p = arg;
    p->armed = false;
    look_at_dirty(p);
}

void pc_progress_dirty(struct pc_server *s, const char *order_sha256)
{
    struct pc_progress *p = s->progress;
    for (uint32_t i = 0; i < p->dirty; i++)
        if (strcmp(p->sha[i], order_sha256) == 0)
            return;
    if (p->dirty == DIRTY_MAX) {
        p->overflow = true; /* the look at all open orders will find it */
        return;
    }
    snprintf(p->sha[p->dirty++], sizeof p->sha[0], "%s", order_sha256);
    arm(p);
}

static int open_order(void *ctx, const struct pc_store_order *o)
{
    struct pc_progress *p = ctx;
    memcpy(p->open, o->sha256, sizeof p->open);
    if (o->expires <= pc_server_now())
        set_state(p->server, o, "expired");
    else
        pc_progress_dirty(p->server, o->sha256);
    return 0;
}

/* Some of the open orders, from where it left off. 0; 1: there may be more. */
static int find_open(struct pc_progress *p, int64_t now)
{
    char from[PC_SHA256_HEX + 1];
    memcpy(from, p->open, sizeof from);
    if (!*from)
        p->overflow = false;
    int ret = p->server->store->ops->orders_open(p->server->store, from, OPEN_AT_ONCE, open_order, p);
    if (ret < 0)
        return ret;
    if (ret == OPEN_AT_ONCE)
        return 1;
    *p->open = 0;
    p->expiry_at = now + EXPIRY_S;
    return 0;
}

void pc_progress_tick(struct pc_progress *p, int64_t now)
{
    if (now >= p->expiry_at || p->overflow || *p->open)
        (void)find_open(p, now); /* when it fails: at the next tick */
}

int pc_progress_load(struct pc_progress *p)
{
    int more = 1, ret = 0;
    *p->open = 0;
    while (more > 0 && ret == 0) {
        more = find_open(p, pc_server_now());
        ret = more < 0 ? more : look_at_dirty(p);
    }
    return ret;
}

int pc_progress_new(struct pc_server *s, struct pc_progress **out)
{
    struct pc_progress *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->server = s;
    p->timer = evtimer_new(s->base, on_timer, p);
    p->sha = calloc(DIRTY_MAX, sizeof *p->sha);
    if (!p->timer || !p->sha) {
        pc_progress_free(p);
        return -ENOMEM;
    }
    *out = p;
    return 0;
}

void pc_progress_free(struct pc_progress *p)
{
    if (!p)
        return;
    if (p->timer)
        event_free(p->timer);
    free(p->sha);
    free(p);
}
