/*
 * Owns the dead-man timers of stops: each is on the disk before its stop takes hold, is applied again when the runner
 * starts, and is undone when its time is over, by the clock that nobody can set. After a reboot the wall clock decides,
 * but never for longer than the order asked for.
 */
#include "host/runner.h"
#include "host/stops.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int timer_start(struct pc_runner *r, const char *kind, const char *order_sha256, uint64_t seconds,
                       const json_t *data, uint64_t *number)
{
    _free_ char *text = json_dumps(data, JSON_COMPACT);
    struct pc_kept_timer t = {
        .until_boot = pc_boot_s() + seconds, .made = pc_now(), .until = pc_now() + (int64_t)seconds, .data = text};
    if (!text)
        return -ENOMEM;
    snprintf(t.kind, sizeof t.kind, "%s", kind);
    snprintf(t.order_sha256, sizeof t.order_sha256, "%s", order_sha256);
    snprintf(t.boot, sizeof t.boot, "%s", r->boot);
    int e = pc_memory_timer_add(r->file, &t);
    if (e == 0)
        *number = t.number;
    return e;
}

int pc_task_timer(struct pc_task *t, const char *kind, json_t *data)
{
    uint64_t seconds = (uint64_t)json_integer_value(json_object_get(t->params, "seconds"));
    int e = data ? timer_start(t->r, kind, t->order_sha256, seconds, data, &t->timer) : -ENOMEM;
    json_decref(data);
    if (e < 0)
        snprintf(t->text, sizeof t->text, "the timer that ends it could not be written down: %s", pc_strerror(e));
    return e;
}

int pc_timer_keep(struct pc_runner *r, uint64_t number, const json_t *data)
{
    _free_ char *text = json_dumps(data, JSON_COMPACT);
    return text ? pc_memory_timer_data(r->file, number, text) : -ENOMEM;
}

int pc_timer_drop(struct pc_runner *r, uint64_t number)
{
    return pc_memory_timer_done(r->file, number);
}

/* By the wall clock for one of another boot, at most what it began with. */
uint64_t pc_timer_left(const struct pc_runner *r, const struct pc_kept_timer *t)
{
    uint64_t now = pc_boot_s();
    if (strcmp(t->boot, r->boot) == 0)
        return t->until_boot > now ? t->until_boot - now : 0;
    int64_t left = t->until - pc_now(), most = t->until - t->made;
    left = left > most ? most : left;
    return left > 0 ? (uint64_t)left : 0;
}

/* A walk's rows, copied out, because what is done with them changes the table. All of them: each has its time. */
struct list {
    uint32_t n, cap;
    struct pc_kept_timer *timer;
};

static int collect(void *ctx, const struct pc_kept_timer *t)
{
    struct list *l = ctx;
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 16;
        struct pc_kept_timer *grown = realloc(l->timer, cap * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        l->timer = grown;
        l->cap = cap;
    }
    struct pc_kept_timer *copy = &l->timer[l->n];
    *copy = *t;
    copy->data = strdup(t->data);
    l->n += copy->data != NULL;
    return copy->data ? 0 : -ENOMEM;
}

static struct list *all_timers(struct pc_runner *r)
{
    struct list *l = calloc(1, sizeof *l);
    if (l)
        (void)pc_memory_timers(r->file, collect, l); /* what cannot be read now is read at the next tick */
    return l;
}

static void free_list(struct list *l)
{
    for (uint32_t i = 0; l && i < l->n; i++)
        free(l->timer[i].data);
    if (l)
        free(l->timer);
    free(l);
}

#define TELL_AGAIN_NS (60 * PC_NS_PER_S) /* what fails at every tick would drown all else that is told */

static int undo(struct pc_runner *r, const struct pc_kept_timer *t, const char *why)
{
    const struct pc_stop *stop = pc_stop_find(t->kind);
    json_t *data = json_loads(t->data, JSON_REJECT_DUPLICATES, NULL);
    int e = stop && data ? stop->undo(r, t, data) : PC_E_CORRUPT;
    json_decref(data);
    if (e == 0)
        e = pc_memory_timer_done(r->file, t->number);
    uint64_t now = pc_boot_ns();
    if (e < 0 && now < r->next_undo_told_ns)
        return e;
    r->next_undo_told_ns = e < 0 ? now + TELL_AGAIN_NS : 0;
    pc_tell_event(r, e < 0 ? PC_LEVEL_ERROR : PC_LEVEL_NOTICE, "undone", "%s of order %.12s: %s%s%s", t->kind,
                  t->order_sha256, why, e < 0 ? ": could not be undone, will be tried again: " : "",
                  e < 0 ? pc_strerror(e) : "");
    return e;
}

/* Its time is over now, and so it is undone at every tick until that worked. */
static int end_now(struct pc_runner *r, struct pc_kept_timer *t, const char *why)
{
    t->until_boot = 0;
    t->until = t->made; /* nor does it begin again after a reboot */
    (void)pc_memory_timer_set(r->file, t); /* if not: undone once more when its time is over */
    return undo(r, t, why);
}

void pc_timer_end(struct pc_runner *r, uint64_t number, const char *why)
{
    struct list *l = all_timers(r);
    for (uint32_t i = 0; l && i < l->n; i++)
        if (l->timer[i].number == number)
            (void)end_now(r, &l->timer[i], why);
    free_list(l);
}

void pc_timer_undo_late(struct pc_task *t, const char *kind)
{
    struct pc_kept_timer gone = {.number = t->timer, .data = (char[]){"{}"}};
    snprintf(gone.kind, sizeof gone.kind, "%s", kind);
    snprintf(gone.order_sha256, sizeof gone.order_sha256, "%s", t->order_sha256);
    snprintf(gone.boot, sizeof gone.boot, "%s", t->r->boot);
    (void)pc_memory_timer_restore(t->r->file, &gone);
    (void)undo(t->r, &gone, "it held after its end");
}

void pc_timers_step(struct pc_runner *r)
{
    struct list *l = all_timers(r);
    for (uint32_t i = 0; l && i < l->n; i++)
        if (pc_timer_left(r, &l->timer[i]) == 0)
            (void)undo(r, &l->timer[i], "its time is over");
    free_list(l);
    pc_stops_step(r);
}

/*
 * A timer of another boot: what is left now, by the clock that nobody can set from here on. Where that cannot be
 * written down (a full disk), the wall clock goes on to count.
 */
static void carry_over(struct pc_runner *r, struct pc_kept_timer *t)
{
    t->until_boot = pc_boot_s() + pc_timer_left(r, t);
    snprintf(t->boot, sizeof t->boot, "%s", r->boot);
    int e = pc_memory_timer_set(r->file, t);
    if (e < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL, "%s of order %.12s: its timer cannot be written down: %s",
                 t->kind, t->order_sha256, pc_strerror(e));
}

int pc_timers_recover(struct pc_runner *r)
{
    struct list *l = all_timers(r);
    for (uint32_t i = 0; l && i < l->n; i++) {
        struct pc_kept_timer *t = &l->timer[i];
        const struct pc_stop *stop = pc_stop_find(t->kind);
        if (strcmp(t->boot, r->boot) != 0)
            carry_over(r, t);
        json_t *data = json_loads(t->data, JSON_REJECT_DUPLICATES, NULL);
        if (stop && data && pc_timer_left(r, t) > 0) {
            int x = stop->again(r, t, data);
            pc_event(r->log, x < 0 ? PC_LEVEL_ERROR : PC_LEVEL_NOTICE, "applied-again", NULL, "%s of order %.12s%s%s",
                     t->kind, t->order_sha256, x < 0 ? ": failed: " : "", x < 0 ? pc_strerror(x) : "");
        }
        json_decref(data);
    }
    int e = l ? 0 : -ENOMEM;
    free_list(l);
    return e;
}

int pc_timers_end(struct pc_runner *r, const char *kind, bool (*match)(const json_t *data, const void *arg),
                  const void *arg)
{
    struct list *l = all_timers(r);
    int n = 0, e = l ? 0 : -ENOMEM;
    for (uint32_t i = 0; l && i < l->n; i++) {
        json_t *data = json_loads(l->timer[i].data, JSON_REJECT_DUPLICATES, NULL);
        if (strcmp(l->timer[i].kind, kind) == 0 && (!match || match(data, arg))) {
            int x = end_now(r, &l->timer[i], "ended by an order");
            e = e ? e : x;
            n++;
        }
        json_decref(data);
    }
    free_list(l);
    return e < 0 ? e : n;
}
