#ifndef PC_STORE_OPS_H
#define PC_STORE_OPS_H
#include "store/db.h"
#include "store/store.h"

/*
 * The store over a database connection: what the files of operations share. Every operation runs its statements with
 * pc_run; one that needs several to happen together puts them between pc_scope_begin and pc_scope_end.
 */
struct pc_sql_store {
    struct pc_store base;
    struct pc_db *db;
    bool open;   /* begin .. commit */
    bool failed; /* a statement in it failed: only rollback is left */
};
static inline struct pc_sql_store *pc_sql_store(struct pc_store *s)
{
    return (struct pc_sql_store *)s;
}

/*
 * Runs a statement; values from PC_VALUES. Rows changed or handed out, or a negative error: the database's (the open
 * transaction has failed then), -EINVAL for a text that is not UTF-8, or what each returned.
 */
int pc_run(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, pc_each_row *each,
           void *ctx);
/* Runs it for n_rows sets of n values, without answers. 0, or a negative error. */
int pc_run_many(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows);
/* The same with answers: the rows of all of them go to each, in no order. */
int pc_run_rows(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
                pc_each_row *each, void *ctx);
/* A statement whose answer is one row: PC_E_NOTFOUND when there is none. 0, or a negative error. */
int pc_run_one(struct pc_store *s, enum pc_sql which, const struct pc_value *values, size_t n, pc_each_row *each,
               void *ctx);

/* The transaction an operation needs: a new one (*mine), or the one that is open. */
int pc_scope_begin(struct pc_store *s, bool *mine);
/* Ends it: commits when it is mine and r >= 0, else rolls back what is mine. r, or why the commit failed. */
int pc_scope_end(struct pc_store *s, bool mine, int r);

/* Columns. */
static inline int64_t pc_row_number(const struct pc_row *row, int column)
{
    return row->db->ops->number(row, column);
}
/* Copies a text, cut off at cap - 1 bytes. */
void pc_row_text(const struct pc_row *row, int column, char *out, size_t cap);
struct pc_store_blob pc_row_blob(const struct pc_row *row, int column);
/* A blob of exactly len bytes, or PC_E_CORRUPT. */
int pc_row_fixed(const struct pc_row *row, int column, void *out, size_t len);

/* A malloc'd copy of a row's first column, as each of pc_run_one; a NUL after the end. ctx: struct pc_copy. */
struct pc_copy {
    void *data;
    size_t len;
};
int pc_copy_first(void *ctx, const struct pc_row *row);
int pc_copy_blob(struct pc_copy *c, struct pc_store_blob b); /* 0 or -ENOMEM */

/* Inside a transaction: until its end no other process gets past here. */
int pc_lock(struct pc_store *s);

/* The operations of store.h, by the file that has them. */
int pc_store_put(struct pc_store *s, const char *key, struct pc_store_blob value); /* basics.c */
int pc_store_get(struct pc_store *s, const char *key, void **value, size_t *len);
int pc_store_drop(struct pc_store *s, const char *key);
int pc_store_token_add(struct pc_store *s, const char *sha256, const char *kind, const char *name, int64_t expires);
int pc_store_token_use(struct pc_store *s, const char *sha256, const char *kind, int64_t now);
int pc_store_token_check(struct pc_store *s, const char *sha256, int64_t now, char kind[16]);

int pc_store_host_add(struct pc_store *s, const struct pc_store_host *h, struct pc_store_blob envelope); /* hosts.c */
int pc_store_host_by_id(struct pc_store *s, const char *id, struct pc_store_host *out);
int pc_store_host_by_name(struct pc_store *s, const char *name, struct pc_store_host *out);
int pc_store_host_by_link_key(struct pc_store *s, const uint8_t key[32], struct pc_store_host *out);
int pc_store_host_seen(struct pc_store *s, const struct pc_store_host *h);
int pc_store_hosts_seen(struct pc_store *s, const struct pc_store_host *h, size_t n);
int pc_store_hosts(struct pc_store *s, const char *after_name, uint32_t max,
                   int (*each)(void *ctx, const struct pc_store_host *h), void *ctx);
int pc_store_report_add(struct pc_store *s, const char *kind, const char *key, const char *host_id, const char *sha256,
                        int64_t time, struct pc_store_blob envelope);
int pc_store_reports_add(struct pc_store *s, struct pc_store_report *r, size_t n);
int pc_store_reports(struct pc_store *s, const char *kind, const char *key,
                     int (*each)(void *ctx, const char *host_id, struct pc_store_blob envelope), void *ctx);
int pc_store_report_get(struct pc_store *s, const char *sha256, const char *host_id, void **envelope, size_t *len);
int pc_store_latest(struct pc_store *s, const char *host_id, const char *action, const struct pc_store_blob *set,
                    void **envelope, size_t *len);
int pc_store_event_add(struct pc_store *s, const char *host_id, int64_t time, const char *kind, const char *text);
int pc_store_events(struct pc_store *s, const char *host_id, uint32_t max,
                    int (*each)(void *ctx, int64_t time, const char *kind, const char *text), void *ctx);

int pc_store_order_add(struct pc_store *s, const struct pc_store_order *o, struct pc_store_blob document,
                       const struct pc_store_order_host *hosts); /* orders.c */
int pc_store_order_approval(struct pc_store *s, const char *sha256, const char *signature_sha256,
                            struct pc_store_blob text);
int pc_store_order_state(struct pc_store *s, const char *sha256, const char *from, const char *to, uint64_t log_index);
int pc_store_order_get(struct pc_store *s, const char *sha256_or_id, struct pc_store_order *out, void **document,
                       size_t *len);
int pc_store_order_approvals(struct pc_store *s, const char *sha256, int (*each)(void *ctx, struct pc_store_blob text),
                             void *ctx);
int pc_store_orders(struct pc_store *s, int64_t before, uint32_t max,
                    int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);
int pc_store_order_hosts(struct pc_store *s, const char *sha256,
                         int (*each)(void *ctx, const struct pc_store_order_host *h), void *ctx);
int pc_store_order_host_get(struct pc_store *s, const char *sha256, const char *host_id,
                            struct pc_store_order_host *out);
int pc_store_order_host_set(struct pc_store *s, const struct pc_store_order_host *h);
int pc_store_order_hosts_advance(struct pc_store *s, const struct pc_store_order_host *h, size_t n, bool again);
int pc_store_order_states(struct pc_store *s, const char *sha256,
                          int (*each)(void *ctx, const char *state, uint32_t n), void *ctx);
int pc_store_orders_open(struct pc_store *s, const char *after_sha256, uint32_t max,
                         int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);
int pc_store_pending(struct pc_store *s, const char *host_id, int64_t now,
                     int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);

int pc_store_log_size(struct pc_store *s, uint64_t *size); /* log.c */
int pc_store_log_append(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n,
                        const struct pc_store_node *nodes, size_t n_nodes, const char *checkpoint);
int pc_store_log_entries(struct pc_store *s, uint64_t from, uint32_t max,
                         int (*each)(void *ctx, uint64_t index, struct pc_store_blob entry), void *ctx);
int pc_store_log_node(struct pc_store *s, uint8_t level, uint64_t index, uint8_t out[32]);
int pc_store_log_nodes(struct pc_store *s, uint8_t level, uint64_t from, uint32_t max, uint8_t (*out)[32]);
int pc_store_log_name(struct pc_store *s, const char *order_sha256, const char *type, uint64_t index);
int pc_store_log_find(struct pc_store *s, const char *order_sha256, const char *type, uint64_t *index);
int pc_store_checkpoint(struct pc_store *s, uint64_t size, char **text);
int pc_store_cosign(struct pc_store *s, uint64_t size, const char *text);
#endif
