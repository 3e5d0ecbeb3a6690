/* Owns the transparency log in the store: entries, nodes of the tree, checkpoints. Must not hash or sign: callers do.
 */
#include "base/err.h"
#include "store/ops.h"

#include <stdlib.h>
#include <string.h>

static int take_number(void *ctx, const struct pc_row *row)
{
    *(uint64_t *)ctx = (uint64_t)pc_row_number(row, 0);
    return 0;
}

/* Who asks in a transaction is going to append: what it plans with must still be true then. */
int pc_store_log_size(struct pc_store *s, uint64_t *size)
{
    int r = pc_sql_store(s)->open ? pc_lock(s) : 0;
    if (r < 0)
        return r;
    return pc_run_one(s, PC_SQL_LOG_SIZE, NULL, 0, take_number, size);
}

/* --- appending ---------------------------------------------------------------------------------------------------- */

/* Rows handed to the database at a time. */
#define ROWS_AT_ONCE 256

static int add_entries(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n)
{
    struct pc_value values[ROWS_AT_ONCE * 2];
    int r = 0;
    for (size_t done = 0; done < n && r == 0; done += ROWS_AT_ONCE) {
        size_t now = n - done < ROWS_AT_ONCE ? n - done : ROWS_AT_ONCE;
        for (size_t i = 0; i < now; i++) {
            values[2 * i] = pc_int((int64_t)(at + done + i));
            values[2 * i + 1] = pc_blob(entries[done + i].data, entries[done + i].len);
        }
        r = pc_run_many(s, PC_SQL_LOG_ADD, values, 2, now);
    }
    return r;
}

static int add_nodes(struct pc_store *s, const struct pc_store_node *nodes, size_t n)
{
    struct pc_value values[ROWS_AT_ONCE * 3];
    int r = 0;
    for (size_t done = 0; done < n && r == 0; done += ROWS_AT_ONCE) {
        size_t now = n - done < ROWS_AT_ONCE ? n - done : ROWS_AT_ONCE;
        for (size_t i = 0; i < now; i++) {
            const struct pc_store_node *node = &nodes[done + i];
            values[3 * i] = pc_int(node->level);
            values[3 * i + 1] = pc_int((int64_t)node->index);
            values[3 * i + 2] = pc_blob(node->hash, sizeof node->hash);
        }
        r = pc_run_many(s, PC_SQL_LOG_NODE_ADD, values, 3, now);
    }
    return r;
}

static int append(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n,
                  const struct pc_store_node *nodes, size_t n_nodes, const char *checkpoint)
{
    uint64_t size;
    int r = pc_store_log_size(s, &size);
    if (r == 0 && size != at)
        r = PC_E_CHANGED;
    if (r == 0)
        r = add_entries(s, at, entries, n);
    if (r == 0)
        r = add_nodes(s, nodes, n_nodes);
    if (r < 0)
        return r;
    r = pc_run(s, PC_SQL_CHECKPOINT_PUT, PC_VALUES(pc_int((int64_t)(at + n)), pc_text(checkpoint)), NULL, NULL);
    if (r >= 0)
        r = pc_run(s, PC_SQL_CHECKPOINT_TRIM, PC_VALUES(pc_int(PC_STORE_CHECKPOINTS_MAX)), NULL, NULL);
    return r < 0 ? r : 0;
}

int pc_store_log_append(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n,
                        const struct pc_store_node *nodes, size_t n_nodes, const char *checkpoint)
{
    bool mine;
    int r = pc_scope_begin(s, &mine);
    if (r < 0)
        return r;
    return pc_scope_end(s, mine, append(s, at, entries, n, nodes, n_nodes, checkpoint));
}

int pc_store_log_name(struct pc_store *s, const char *order_sha256, const char *type, uint64_t index)
{
    int r =
        pc_run(s, PC_SQL_LOG_NAME, PC_VALUES(pc_text(order_sha256), pc_text(type), pc_int((int64_t)index)), NULL, NULL);
    return r < 0 ? r : 0;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct entry_list {
    int (*each)(void *ctx, uint64_t index, struct pc_store_blob entry);
    void *ctx;
};

static int list_entry(void *ctx, const struct pc_row *row)
{
    const struct entry_list *l = ctx;
    return l->each(l->ctx, (uint64_t)pc_row_number(row, 0), pc_row_blob(row, 1));
}

int pc_store_log_entries(struct pc_store *s, uint64_t from, uint32_t max,
                         int (*each)(void *ctx, uint64_t index, struct pc_store_blob entry), void *ctx)
{
    struct entry_list l = {each, ctx};
    int r = pc_run(s, PC_SQL_LOG_ENTRIES, PC_VALUES(pc_int((int64_t)from), pc_int(max)), list_entry, &l);
    return r < 0 ? r : 0;
}

struct node_list {
    uint8_t (*out)[32];
    uint64_t next;
    int n;
};

static int list_node(void *ctx, const struct pc_row *row)
{
    struct node_list *l = ctx;
    if ((uint64_t)pc_row_number(row, 0) != l->next)
        return 1;
    int r = pc_row_fixed(row, 1, l->out[l->n], 32);
    l->n++;
    l->next++;
    return r;
}

int pc_store_log_nodes(struct pc_store *s, uint8_t level, uint64_t from, uint32_t max, uint8_t (*out)[32])
{
    struct node_list l = {.out = out, .next = from};
    int r = pc_run(s, PC_SQL_LOG_NODES, PC_VALUES(pc_int(level), pc_int((int64_t)from), pc_int(max)), list_node, &l);
    return r < 0 ? r : l.n;
}

int pc_store_log_node(struct pc_store *s, uint8_t level, uint64_t index, uint8_t out[32])
{
    uint8_t hash[1][32];
    int r = pc_store_log_nodes(s, level, index, 1, hash);
    if (r != 1)
        return r < 0 ? r : PC_E_NOTFOUND;
    memcpy(out, hash[0], sizeof hash[0]);
    return 0;
}

int pc_store_log_find(struct pc_store *s, const char *order_sha256, const char *type, uint64_t *index)
{
    return pc_run_one(s, PC_SQL_LOG_FIND, PC_VALUES(pc_text(order_sha256), pc_text(type)), take_number, index);
}

int pc_store_checkpoint(struct pc_store *s, uint64_t size, char **text)
{
    struct pc_copy c = {0};
    int r = size == 0 ? pc_run_one(s, PC_SQL_CHECKPOINT_NEWEST, NULL, 0, pc_copy_first, &c)
                      : pc_run_one(s, PC_SQL_CHECKPOINT_GET, PC_VALUES(pc_int((int64_t)size)), pc_copy_first, &c);
    if (r < 0)
        return r;
    *text = c.data;
    return 0;
}

int pc_store_cosign(struct pc_store *s, uint64_t size, const char *text)
{
    int r = pc_run(s, PC_SQL_COSIGN, PC_VALUES(pc_int((int64_t)size), pc_text(text)), NULL, NULL);
    return r < 0 ? r : r == 0 ? PC_E_CHANGED : 0;
}
