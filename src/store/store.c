/*
 * Owns an open store: its database connection, transactions, running statements. The operations are in basics.c,
 * hosts.c, orders.c and log.c, written once for all databases.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "store/ops.h"
#include "store/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- statements --------------------------------------------------------------------------------------------------- */

struct pc_value pc_text(const char *s)
{
    return (struct pc_value){.type = PC_VALUE_TEXT, .data = s, .len = strlen(s)};
}

/* PostgreSQL refuses other texts, and its transaction would be lost by that; so both refuse them here. */
static bool texts_valid(const struct pc_value *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (values[i].type != PC_VALUE_TEXT)
            continue;
        const unsigned char *p = values[i].data;
        for (size_t at = 0, len; at < values[i].len; at += len)
            if ((len = pc_utf8_len(p + at, values[i].len - at)) == 0)
                return false;
    }
    return true;
}

/* The caller's callback, and whether it was the one who ended the listing. */
struct listening {
    pc_each_row *each;
    void *ctx;
    int ended;
};

static int listen_row(void *ctx, const struct pc_row *row)
{
    struct listening *l = ctx;
    l->ended = l->each(l->ctx, row);
    return l->ended;
}

static int run(struct pc_store *store, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
               pc_each_row *each, void *ctx)
{
    struct pc_sql_store *s = pc_sql_store(store);
    if (s->open && s->failed)
        return -EIO;
    if (!texts_valid(values, n * n_rows))
        return -EINVAL;
    struct listening l = {.each = each, .ctx = ctx};
    int r = s->db->ops->run(s->db, which, values, n, n_rows, each ? listen_row : NULL, &l);
    if (r < 0 && l.ended >= 0)
        s->failed = true;
    return r;
}

int pc_run(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, pc_each_row *each, void *ctx)
{
    return run(s, which, values, n, 1, each, ctx);
}

int pc_run_many(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows)
{
    int r = run(s, which, values, n, n_rows, NULL, NULL);
    return r < 0 ? r : 0;
}

int pc_run_rows(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
                pc_each_row *each, void *ctx)
{
    int r = run(s, which, values, n, n_rows, each, ctx);
    return r < 0 ? r : 0;
}

int pc_run_one(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, pc_each_row *each,
               void *ctx)
{
    int r = run(s, which, values, n, 1, each, ctx);
    return r < 0 ? r : r == 0 ? PC_E_NOTFOUND : 0;
}

void pc_row_text(const struct pc_row *row, int column, char *out, size_t cap)
{
    struct pc_store_blob b = pc_row_blob(row, column);
    size_t n = b.len < cap ? b.len : cap - 1;
    memcpy(out, b.data, n);
    out[n] = 0;
}

struct pc_store_blob pc_row_blob(const struct pc_row *row, int column)
{
    struct pc_store_blob b;
    b.data = row->db->ops->bytes(row, column, &b.len);
    return b;
}

int pc_row_fixed(const struct pc_row *row, int column, void *out, size_t len)
{
    struct pc_store_blob b = pc_row_blob(row, column);
    if (b.len != len)
        return PC_E_CORRUPT;
    memcpy(out, b.data, len);
    return 0;
}

int pc_copy_blob(struct pc_copy *c, struct pc_store_blob b)
{
    char *data = malloc(b.len + 1);
    if (!data)
        return -ENOMEM;
    memcpy(data, b.data, b.len);
    data[b.len] = 0;
    free(c->data);
    *c = (struct pc_copy){data, b.len};
    return 0;
}

int pc_copy_first(void *ctx, const struct pc_row *row)
{
    return pc_copy_blob(ctx, pc_row_blob(row, 0));
}

int pc_lock(struct pc_store *store)
{
    struct pc_sql_store *s = pc_sql_store(store);
    int r = s->failed ? -EIO : s->db->ops->lock(s->db);
    if (r < 0)
        s->failed = true;
    return r;
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

static int store_begin(struct pc_store *store)
{
    struct pc_sql_store *s = pc_sql_store(store);
    if (s->open)
        return PC_E_STATE;
    int r = s->db->ops->begin(s->db);
    if (r < 0)
        return r;
    s->open = true;
    s->failed = false;
    return 0;
}

static int store_rollback(struct pc_store *store)
{
    struct pc_sql_store *s = pc_sql_store(store);
    if (!s->open)
        return PC_E_STATE;
    s->open = false;
    return s->db->ops->rollback(s->db);
}

static int store_commit(struct pc_store *store)
{
    struct pc_sql_store *s = pc_sql_store(store);
    if (!s->open)
        return PC_E_STATE;
    int r = s->failed ? -EIO : s->db->ops->commit(s->db);
    if (r < 0)
        s->db->ops->rollback(s->db);
    s->open = false;
    return r;
}

int pc_scope_begin(struct pc_store *s, bool *mine)
{
    *mine = !pc_sql_store(s)->open;
    return *mine ? store_begin(s) : 0;
}

int pc_scope_end(struct pc_store *s, bool mine, int r)
{
    if (!mine)
        return r;
    if (r < 0) {
        store_rollback(s);
        return r;
    }
    int c = store_commit(s);
    return c < 0 ? c : r;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static void store_close(struct pc_store *store)
{
    struct pc_sql_store *s = pc_sql_store(store);
    if (s->open)
        store_rollback(store);
    s->db->ops->close(s->db);
    free(s);
}

static const char *store_error(struct pc_store *s)
{
    struct pc_db *db = pc_sql_store(s)->db;
    return db->ops->error(db);
}

static int store_migrate(struct pc_store *s, uint32_t *version)
{
    return pc_sql_store(s)->open ? PC_E_STATE : pc_schema_migrate(pc_sql_store(s)->db, version);
}

static int store_backup(struct pc_store *s, const char *path)
{
    struct pc_db *db = pc_sql_store(s)->db;
    return pc_sql_store(s)->open ? PC_E_STATE : db->ops->backup(db, path);
}

static int store_notify(struct pc_store *s, const char *text)
{
    struct pc_db *db = pc_sql_store(s)->db;
    if (strlen(text) > PC_STORE_NOTIFY_MAX)
        return PC_E_LIMIT;
    if (!db->ops->notify)
        return 0;
    int r = db->ops->notify(db, text);
    if (r < 0)
        pc_sql_store(s)->failed = true;
    return r;
}

static int store_notify_fd(struct pc_store *s)
{
    struct pc_db *db = pc_sql_store(s)->db;
    return db->ops->listen_fd(db);
}

static int store_notify_read(struct pc_store *s, int (*each)(void *ctx, const char *text), void *ctx)
{
    struct pc_db *db = pc_sql_store(s)->db;
    return db->ops->heard(db, each, ctx);
}

static int store_hasten(struct pc_store *s, uint32_t ms)
{
    struct pc_db *db = pc_sql_store(s)->db;
    return db->ops->hasten(db, ms);
}

static const struct pc_store_ops operations = {
    .close = store_close,
    .error = store_error,
    .migrate = store_migrate,
    .begin = store_begin,
    .commit = store_commit,
    .rollback = store_rollback,
    .backup = store_backup,
    .put = pc_store_put,
    .get = pc_store_get,
    .drop = pc_store_drop,
    .token_add = pc_store_token_add,
    .token_use = pc_store_token_use,
    .token_check = pc_store_token_check,
    .host_add = pc_store_host_add,
    .host_by_id = pc_store_host_by_id,
    .host_by_name = pc_store_host_by_name,
    .host_by_link_key = pc_store_host_by_link_key,
    .host_seen = pc_store_host_seen,
    .hosts_seen = pc_store_hosts_seen,
    .hosts = pc_store_hosts,
    .order_add = pc_store_order_add,
    .order_approval = pc_store_order_approval,
    .order_state = pc_store_order_state,
    .order_get = pc_store_order_get,
    .order_approvals = pc_store_order_approvals,
    .orders = pc_store_orders,
    .orders_open = pc_store_orders_open,
    .order_hosts = pc_store_order_hosts,
    .order_host_get = pc_store_order_host_get,
    .order_host_set = pc_store_order_host_set,
    .order_hosts_advance = pc_store_order_hosts_advance,
    .order_states = pc_store_order_states,
    .pending = pc_store_pending,
    .report_add = pc_store_report_add,
    .reports_add = pc_store_reports_add,
    .reports = pc_store_reports,
    .report_get = pc_store_report_get,
    .latest = pc_store_latest,
    .event_add = pc_store_event_add,
    .events = pc_store_events,
    .log_size = pc_store_log_size,
    .log_append = pc_store_log_append,
    .log_entries = pc_store_log_entries,
    .log_node = pc_store_log_node,
    .log_nodes = pc_store_log_nodes,
    .log_name = pc_store_log_name,
    .log_find = pc_store_log_find,
    .checkpoint = pc_store_checkpoint,
    .cosign = pc_store_cosign,
    .notify = store_notify,
    .notify_fd = store_notify_fd,
    .notify_read = store_notify_read,
    .hasten = store_hasten,
};

static int open_database(const char *where, struct pc_db **out, char *why, size_t why_len)
{
    static const char sqlite[] = "sqlite:";
    if (strncmp(where, sqlite, sizeof sqlite - 1) == 0)
        return pc_sqlite_open(where + sizeof sqlite - 1, out, why, why_len);
    if (strncmp(where, "postgresql://", 13) == 0 || strncmp(where, "postgres://", 11) == 0)
        return pc_postgres_open(where, out, why, why_len);
    snprintf(why, why_len, "a database is sqlite:PATH or postgresql://HOST/NAME");
    return PC_E_SYNTAX;
}

bool pc_store_away(int err)
{
    static const int passing[] = {-EIO, -ENOSPC, -EAGAIN, -EBUSY, -ENOMEM, -EROFS, -EDQUOT};
    for (size_t i = 0; i < PC_ARRAY_SIZE(passing); i++)
        if (err == passing[i])
            return true;
    return false;
}

int pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len)
{
    struct pc_sql_store *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->base.ops = &operations;
    int r = open_database(where, &s->db, why, why_len);
    if (r < 0) {
        free(s);
        return r;
    }
    *out = &s->base;
    return 0;
}
