/*
 * Owns the orders' rows of fleet.db. What a state means and when it changes is the runner's business (orders.c,
 * schedule.c).
 */
#include "host/memory_internal.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

#define COLUMNS                                                                                                        \
    "sha256,id,action,class,outcome,state,sequence,run,accepted,started,ended,expires,boot,since_boot,ring,soak,"      \
    "incidents,ring_open"

int pc_memory_order_add(struct pc_memory_file *m, const struct pc_kept_order *o, const void *envelope, size_t len)
{
    return pc_memory_do(m, "INSERT INTO orders(" COLUMNS ",envelope) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                        "sssssiiiiiiisiiiiib", o->sha256, o->id, o->action, o->class_, o->outcome, (int64_t)o->state,
                        (int64_t)o->sequence, (int64_t)o->run, o->accepted, o->started, o->ended, o->expires, o->boot,
                        (int64_t)o->since_boot, (int64_t)o->ring, (int64_t)o->soak, (int64_t)o->incidents,
                        (int64_t)o->ring_open, envelope, len);
}

int pc_memory_order_set(struct pc_memory_file *m, const struct pc_kept_order *o)
{
    return pc_memory_do(
        m,
        "UPDATE orders SET "
        "outcome=?,state=?,run=?,started=?,ended=?,boot=?,since_boot=?,ring=?,soak=?,incidents=?,ring_open=?"
        " WHERE sha256=?",
        "siiiisiiiiis", o->outcome, (int64_t)o->state, (int64_t)o->run, o->started, o->ended, o->boot,
        (int64_t)o->since_boot, (int64_t)o->ring, (int64_t)o->soak, (int64_t)o->incidents, (int64_t)o->ring_open,
        o->sha256);
}

static void take_text(sqlite3_stmt *s, int column, char *out, size_t cap)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    snprintf(out, cap, "%s", text ? text : "");
}

static void take_order(sqlite3_stmt *s, struct pc_kept_order *o)
{
    *o = (struct pc_kept_order){.state = (enum pc_order_state)sqlite3_column_int(s, 5),
                                .sequence = (uint64_t)sqlite3_column_int64(s, 6),
                                .run = (uint64_t)sqlite3_column_int64(s, 7),
                                .accepted = sqlite3_column_int64(s, 8),
                                .started = sqlite3_column_int64(s, 9),
                                .ended = sqlite3_column_int64(s, 10),
                                .expires = sqlite3_column_int64(s, 11),
                                .since_boot = (uint64_t)sqlite3_column_int64(s, 13),
                                .ring = (uint32_t)sqlite3_column_int64(s, 14),
                                .soak = (uint32_t)sqlite3_column_int64(s, 15),
                                .incidents = (uint32_t)sqlite3_column_int64(s, 16),
                                .ring_open = sqlite3_column_int(s, 17) != 0};
    take_text(s, 0, o->sha256, sizeof o->sha256);
    take_text(s, 1, o->id, sizeof o->id);
    take_text(s, 2, o->action, sizeof o->action);
    take_text(s, 3, o->class_, sizeof o->class_);
    take_text(s, 4, o->outcome, sizeof o->outcome);
    take_text(s, 12, o->boot, sizeof o->boot);
}

int pc_memory_order_get(struct pc_memory_file *m, const char *sha256, struct pc_kept_order *out)
{
    sqlite3_stmt *s;
    int r = pc_memory_query(m, &s, "SELECT " COLUMNS " FROM orders WHERE sha256=?", "s", sha256);
    if (r < 0)
        return r;
    r = pc_memory_step(m, s);
    if (r == 1)
        take_order(s, out);
    sqlite3_finalize(s);
    return r == 1 ? 0 : r == 0 ? PC_E_NOTFOUND : r;
}

int pc_memory_order_envelope(struct pc_memory_file *m, const char *sha256, char **json, size_t *len)
{
    return pc_memory_one_blob(m, "SELECT envelope FROM orders WHERE sha256=?", sha256, json, len);
}

int pc_memory_order_answer(struct pc_memory_file *m, const char *sha256, int type, const char *json, size_t len)
{
    return pc_memory_do(
        m, "INSERT INTO answer VALUES(?,?,?) ON CONFLICT(sha256,type) DO UPDATE SET envelope=excluded.envelope", "sib",
        sha256, (int64_t)type, json, len);
}

int pc_memory_order_answers(struct pc_memory_file *m, const char *sha256,
                            int (*each)(void *ctx, int type, const char *json, size_t len), void *ctx)
{
    sqlite3_stmt *s;
    int r = pc_memory_query(m, &s, "SELECT type,envelope FROM answer WHERE sha256=? ORDER BY type", "s", sha256);
    if (r < 0)
        return r;
    while ((r = pc_memory_step(m, s)) == 1) {
        r = each(ctx, sqlite3_column_int(s, 0), sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1));
        if (r)
            break;
    }
    sqlite3_finalize(s);
    return r;
}

/* Collected before the first call, because `each` changes rows of the index that the walk goes along. */
int pc_memory_orders(struct pc_memory_file *m, enum pc_order_state state,
                     int (*each)(void *ctx, const struct pc_kept_order *o), void *ctx)
{
    sqlite3_stmt *s;
    _free_ struct pc_kept_order *all = NULL;
    size_t n = 0, cap = 0;
    int r = pc_memory_query(m, &s, "SELECT " COLUMNS " FROM orders WHERE state=? ORDER BY sequence, accepted", "i",
                            (int64_t)state);
    if (r < 0)
        return r;
    while ((r = pc_memory_step(m, s)) == 1) {
        if (n == cap) {
            cap = cap ? cap * 2 : 16;
            struct pc_kept_order *grown = realloc(all, cap * sizeof *grown);
            if (!grown) {
                r = -ENOMEM;
                break;
            }
            all = grown;
        }
        take_order(s, &all[n++]);
    }
    sqlite3_finalize(s);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = each(ctx, &all[i]);
    return r;
}

uint32_t pc_memory_order_count(struct pc_memory_file *m, enum pc_order_state state)
{
    int64_t n = pc_memory_count(m, "SELECT count(*) FROM orders WHERE state=?", "i", (int64_t)state);
    return n < 0 ? 0 : (uint32_t)n;
}

int pc_memory_orders_forget(struct pc_memory_file *m, int64_t before)
{
    return pc_memory_do(m, "DELETE FROM orders WHERE state=? AND expires<? AND ended<?", "iii", (int64_t)PC_ORDER_DONE,
                        before, before);
}

/* Oldest first, so many at a time: one call is one short transaction. */
#define TRIM_ORDERS "(SELECT sha256 FROM orders WHERE state=? AND length(envelope)>0 ORDER BY ended LIMIT 1024)"

int pc_memory_orders_trim(struct pc_memory_file *m, uint64_t pages)
{
    int64_t all = pc_memory_count(m, "PRAGMA page_count", "");
    int64_t free_ones = pc_memory_count(m, "PRAGMA freelist_count", "");
    if (all < 0 || free_ones < 0)
        return (int)(all < 0 ? all : free_ones);
    if ((uint64_t)(all - free_ones) <= pages)
        return 0;
    int r = pc_memory_begin(m);
    if (r < 0)
        return r;
    r = pc_memory_do(m, "DELETE FROM answer WHERE length(envelope)>4096 AND sha256 IN " TRIM_ORDERS, "i",
                     (int64_t)PC_ORDER_DONE);
    if (r == 0)
        r = pc_memory_do(m, "UPDATE orders SET envelope=x'' WHERE sha256 IN " TRIM_ORDERS, "i", (int64_t)PC_ORDER_DONE);
    return pc_memory_end(m, r);
}
