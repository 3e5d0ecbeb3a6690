/*
 * Owns the remaining tables of fleet.db: envelopes for the server, dead-man timers, halted orders, revoked keys,
 * evidence.
 */
#include "host/memory_internal.h"

#include "base/err.h"

#include <stdio.h>

#define EVIDENCE_MAX 64
#define DROPPABLE_MAX 256 /* envelopes that may be lost: refusals and answers to looks */

int pc_memory_halt(struct pc_memory_file *m, const char *order_sha256)
{
    return pc_memory_do(m, "INSERT OR IGNORE INTO halted VALUES(?)", "s", order_sha256);
}

bool pc_memory_halted(struct pc_memory_file *m, const char *order_sha256)
{
    /* An error counts as halted: when in doubt nothing starts. */
    return pc_memory_count(m, "SELECT count(*) FROM halted WHERE order_sha256=?", "s", order_sha256) != 0;
}

int pc_memory_revoke(struct pc_memory_file *m, const char *fingerprint)
{
    return pc_memory_do(m, "INSERT OR IGNORE INTO revoked VALUES(?)", "s", fingerprint);
}

int pc_memory_revoked(struct pc_memory_file *m, int (*each)(void *ctx, const char *fingerprint), void *ctx)
{
    sqlite3_stmt *s;
    int r = pc_memory_query(m, &s, "SELECT fingerprint FROM revoked", "");
    if (r < 0)
        return r;
    while ((r = pc_memory_step(m, s)) == 1 && (r = each(ctx, (const char *)sqlite3_column_text(s, 0))) == 0)
        ;
    sqlite3_finalize(s);
    return r;
}

int pc_memory_outbox_add(struct pc_memory_file *m, int type, const char *sha256, const char *json, size_t len,
                         bool keep)
{
    int64_t n = pc_memory_count(m, "SELECT count(*) FROM outbox", "");
    if (n < 0)
        return (int)n;
    if (n >= (keep ? PC_OUTBOX_KEPT_MAX : PC_OUTBOX_MAX))
        return PC_E_LIMIT;
    int r = 0;
    if (!keep) /* the oldest make room: the server asks again for what it misses */
        r = pc_memory_do(m,
                         "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox WHERE keep=0 ORDER BY number "
                         "DESC LIMIT -1 OFFSET ?)",
                         "i", (int64_t)DROPPABLE_MAX - 1);
    if (r < 0)
        return r;
    return pc_memory_do(m, "INSERT OR IGNORE INTO outbox(type,sha256,envelope,keep) VALUES(?,?,?,?)", "isbi",
                        (int64_t)type, sha256, json, len, (int64_t)keep);
}

int pc_memory_outbox_done(struct pc_memory_file *m, const char *sha256)
{
    return pc_memory_do(m, "DELETE FROM outbox WHERE sha256=?", "s", sha256);
}

int pc_memory_outbox_next(struct pc_memory_file *m, uint64_t after, uint64_t *number, int *type, char **json,
                          size_t *len)
{
    sqlite3_stmt *s;
    int r = pc_memory_query(m, &s, "SELECT number,type,envelope FROM outbox WHERE number>? ORDER BY number LIMIT 1",
                            "i", (int64_t)after);
    if (r < 0)
        return r;
    r = pc_memory_step(m, s);
    if (r == 1 && (r = pc_memory_take_blob(s, 2, json, len)) == 0) {
        *number = (uint64_t)sqlite3_column_int64(s, 0);
        *type = sqlite3_column_int(s, 1);
    } else if (r == 0) {
        r = PC_E_NOTFOUND;
    }
    sqlite3_finalize(s);
    return r;
}

uint32_t pc_memory_outbox_count(struct pc_memory_file *m)
{
    int64_t n = pc_memory_count(m, "SELECT count(*) FROM outbox", "");
    return n < 0 ? 0 : (uint32_t)n;
}

int pc_memory_timer_add(struct pc_memory_file *m, struct pc_kept_timer *t)
{
    int r = pc_memory_do(
        m, "INSERT INTO timer(kind,order_sha256,boot,until_boot,until,made,data) VALUES(?,?,?,?,?,?,?)", "sssiiis",
        t->kind, t->order_sha256, t->boot, (int64_t)t->until_boot, t->until, t->made, t->data);
    if (r == 0)
        t->number = (uint64_t)sqlite3_last_insert_rowid(m->db);
    return r;
}

int pc_memory_timer_set(struct pc_memory_file *m, const struct pc_kept_timer *t)
{
    return pc_memory_do(m, "UPDATE timer SET boot=?,until_boot=?,until=?,data=? WHERE number=?", "siisi", t->boot,
                        (int64_t)t->until_boot, t->until, t->data, (int64_t)t->number);
}

int pc_memory_timer_data(struct pc_memory_file *m, uint64_t number, const char *data)
{
    int r = pc_memory_do(m, "UPDATE timer SET data=? WHERE number=?", "si", data, (int64_t)number);
    return r == 0 && sqlite3_changes(m->db) == 0 ? PC_E_NOTFOUND : r;
}

int pc_memory_timer_restore(struct pc_memory_file *m, const struct pc_kept_timer *t)
{
    return pc_memory_do(m,
                        "INSERT OR IGNORE INTO timer(number,kind,order_sha256,boot,until_boot,until,made,data) "
                        "VALUES(?,?,?,?,?,?,?,?)",
                        "isssiiis", (int64_t)t->number, t->kind, t->order_sha256, t->boot, (int64_t)t->until_boot,
                        t->until, t->made, t->data);
}

int pc_memory_timer_only(struct pc_memory_file *m, const char *kind, uint64_t number)
{
    return pc_memory_do(m, "DELETE FROM timer WHERE kind=? AND number<>?", "si", kind, (int64_t)number);
}

int pc_memory_timer_done(struct pc_memory_file *m, uint64_t number)
{
    return pc_memory_do(m, "DELETE FROM timer WHERE number=?", "i", (int64_t)number);
}

int pc_memory_timers(struct pc_memory_file *m, int (*each)(void *ctx, const struct pc_kept_timer *t), void *ctx)
{
    sqlite3_stmt *s;
    int r = pc_memory_query(
        m, &s, "SELECT number,kind,order_sha256,boot,until_boot,until,made,data FROM timer ORDER BY number", "");
    if (r < 0)
        return r;
    while ((r = pc_memory_step(m, s)) == 1) {
        struct pc_kept_timer t = {.number = (uint64_t)sqlite3_column_int64(s, 0),
                                  .until_boot = (uint64_t)sqlite3_column_int64(s, 4),
                                  .until = sqlite3_column_int64(s, 5),
                                  .made = sqlite3_column_int64(s, 6),
                                  .data = (char *)sqlite3_column_text(s, 7)};
        snprintf(t.kind, sizeof t.kind, "%s", (const char *)sqlite3_column_text(s, 1));
        snprintf(t.order_sha256, sizeof t.order_sha256, "%s", (const char *)sqlite3_column_text(s, 2));
        snprintf(t.boot, sizeof t.boot, "%s", (const char *)sqlite3_column_text(s, 3));
        r = each(ctx, &t);
        if (r)
            break;
    }
    sqlite3_finalize(s);
    return r;
}

int pc_memory_evidence(struct pc_memory_file *m, int64_t time, const char *ours, const char *theirs, const char *why)
{
    if (pc_memory_evidence_count(m) >= EVIDENCE_MAX)
        return PC_E_LIMIT;
    return pc_memory_do(m, "INSERT INTO evidence(time,ours,theirs,why) VALUES(?,?,?,?)", "isss", time, ours, theirs,
                        why);
}

uint32_t pc_memory_evidence_count(struct pc_memory_file *m)
{
    int64_t n = pc_memory_count(m, "SELECT count(*) FROM evidence", "");
    return n < 0 ? 0 : (uint32_t)n;
}
