/* Owns orders in the store: documents, approvals, and how far each host is with them. */
#include "base/err.h"
#include "store/ops.h"

#include <stdlib.h>
#include <string.h>

/* --- orders ------------------------------------------------------------------------------------------------------- */

/* Hosts of an order that are written or read at a time. */
#define HOSTS_AT_ONCE 256
#define HOST_VALUES 10

static int add_some_hosts(struct pc_store *s, const char *sha256, const struct pc_store_order_host *hosts,
                          uint32_t first, uint32_t n)
{
    struct pc_value values[HOSTS_AT_ONCE * HOST_VALUES];
    for (uint32_t i = 0; i < n; i++) {
        const struct pc_store_order_host *h = &hosts[first + i];
        struct pc_value *v = values + i * HOST_VALUES;
        v[0] = pc_text(sha256);
        v[1] = pc_text(h->host_id);
        v[2] = pc_text(h->host);
        v[3] = pc_text(h->state);
        v[4] = pc_text(h->why);
        v[5] = pc_text(h->outcome);
        v[6] = pc_int(h->ring);
        v[7] = pc_int(h->exit);
        v[8] = pc_int(h->changed);
        v[9] = pc_int((int64_t)first + i + 1);
    }
    return pc_run_many(s, PC_SQL_ORDER_HOST_ADD, values, HOST_VALUES, n);
}

static int add_order(struct pc_store *s, const struct pc_store_order *o, struct pc_store_blob document,
                     const struct pc_store_order_host *hosts)
{
    int r =
        pc_run(s, PC_SQL_ORDER_ADD,
               PC_VALUES(pc_text(o->sha256), pc_text(o->id), pc_text(o->action), pc_text(o->class_), pc_text(o->state),
                         pc_int((int64_t)o->sequence), pc_int((int64_t)o->log_index), pc_int(o->created),
                         pc_int(o->expires), pc_int(o->needed), pc_int(o->hosts), pc_blob(document.data, document.len)),
               NULL, NULL);
    if (r <= 0)
        return r < 0 ? r : PC_E_STATE;
    r = 0;
    for (uint32_t done = 0; done < o->hosts && r == 0; done += HOSTS_AT_ONCE)
        r = add_some_hosts(s, o->sha256, hosts, done,
                           o->hosts - done < HOSTS_AT_ONCE ? o->hosts - done : HOSTS_AT_ONCE);
    return r;
}

int pc_store_order_add(struct pc_store *s, const struct pc_store_order *o, struct pc_store_blob document,
                       const struct pc_store_order_host *hosts)
{
    bool mine;
    int r = pc_scope_begin(s, &mine);
    if (r < 0)
        return r;
    return pc_scope_end(s, mine, add_order(s, o, document, hosts));
}

static int ignore_row(void *ctx, const struct pc_row *row)
{
    (void)ctx;
    (void)row;
    return 0;
}

static int order_exists(struct pc_store *s, const char *sha256)
{
    return pc_run_one(s, PC_SQL_ORDER_EXISTS, PC_VALUES(pc_text(sha256)), ignore_row, NULL);
}

int pc_store_order_approval(struct pc_store *s, const char *sha256, const char *signature_sha256,
                            struct pc_store_blob text)
{
    int r = order_exists(s, sha256);
    if (r < 0)
        return r;
    return pc_run(s, PC_SQL_APPROVAL_ADD,
                  PC_VALUES(pc_text(sha256), pc_text(signature_sha256), pc_blob(text.data, text.len)), NULL, NULL);
}

int pc_store_order_state(struct pc_store *s, const char *sha256, const char *from, const char *to, uint64_t log_index)
{
    int r = pc_run(s, PC_SQL_ORDER_STATE,
                   PC_VALUES(pc_text(sha256), pc_text(from), pc_text(to), pc_int((int64_t)log_index)), NULL, NULL);
    if (r != 0)
        return r < 0 ? r : 0;
    r = order_exists(s, sha256);
    return r < 0 ? r : PC_E_CHANGED;
}

static void take_order(const struct pc_row *row, struct pc_store_order *o)
{
    *o = (struct pc_store_order){0};
    pc_row_text(row, 0, o->sha256, sizeof o->sha256);
    pc_row_text(row, 1, o->id, sizeof o->id);
    pc_row_text(row, 2, o->action, sizeof o->action);
    pc_row_text(row, 3, o->class_, sizeof o->class_);
    pc_row_text(row, 4, o->state, sizeof o->state);
    o->sequence = (uint64_t)pc_row_number(row, 5);
    o->log_index = (uint64_t)pc_row_number(row, 6);
    o->created = pc_row_number(row, 7);
    o->expires = pc_row_number(row, 8);
    o->approvals = (uint32_t)pc_row_number(row, 9);
    o->needed = (uint32_t)pc_row_number(row, 10);
    o->hosts = (uint32_t)pc_row_number(row, 11);
}

struct one_order {
    struct pc_store_order order;
    struct pc_copy document;
    bool want_document;
};

static int take_one_order(void *ctx, const struct pc_row *row)
{
    struct one_order *one = ctx;
    take_order(row, &one->order);
    if (!one->want_document)
        return 0;
    struct pc_store_blob b = pc_row_blob(row, 12);
    return pc_copy_blob(&one->document, b);
}

int pc_store_order_get(struct pc_store *s, const char *sha256_or_id, struct pc_store_order *out, void **document,
                       size_t *len)
{
    struct one_order one = {.want_document = document != NULL};
    int r = pc_run_one(s, PC_SQL_ORDER_GET, PC_VALUES(pc_text(sha256_or_id)), take_one_order, &one);
    if (r < 0)
        return r;
    *out = one.order;
    if (document) {
        *document = one.document.data;
        *len = one.document.len;
    }
    return 0;
}

struct text_list {
    int (*each)(void *ctx, struct pc_store_blob text);
    void *ctx;
};

static int list_text(void *ctx, const struct pc_row *row)
{
    const struct text_list *l = ctx;
    return l->each(l->ctx, pc_row_blob(row, 0));
}

int pc_store_order_approvals(struct pc_store *s, const char *sha256, int (*each)(void *ctx, struct pc_store_blob text),
                             void *ctx)
{
    struct text_list l = {each, ctx};
    int r = pc_run(s, PC_SQL_APPROVALS, PC_VALUES(pc_text(sha256)), list_text, &l);
    return r < 0 ? r : 0;
}

struct order_list {
    int (*each)(void *ctx, const struct pc_store_order *o);
    void *ctx;
};

static int list_order(void *ctx, const struct pc_row *row)
{
    const struct order_list *l = ctx;
    struct pc_store_order o;
    take_order(row, &o);
    return l->each(l->ctx, &o);
}

int pc_store_orders(struct pc_store *s, int64_t before, uint32_t max,
                    int (*each)(void *ctx, const struct pc_store_order *o), void *ctx)
{
    struct order_list l = {each, ctx};
    if (max == 0)
        return 0;
    int r = pc_run(s, PC_SQL_ORDERS, PC_VALUES(pc_int(before), pc_int((int64_t)max - 1)), list_order, &l);
    return r < 0 ? r : 0;
}

int pc_store_orders_open(struct pc_store *s, const char *after_sha256, uint32_t max,
                         int (*each)(void *ctx, const struct pc_store_order *o), void *ctx)
{
    struct order_list l = {each, ctx};
    return pc_run(s, PC_SQL_ORDERS_OPEN, PC_VALUES(pc_text(after_sha256), pc_int(max)), list_order, &l);
}

int pc_store_pending(struct pc_store *s, const char *host_id, int64_t now,
                     int (*each)(void *ctx, const struct pc_store_order *o), void *ctx)
{
    struct order_list l = {each, ctx};
    int r = pc_run(s, PC_SQL_PENDING, PC_VALUES(pc_text(host_id), pc_int(now)), list_order, &l);
    return r < 0 ? r : 0;
}

/* --- an order on its hosts ---------------------------------------------------------------------------------------- */

static void take_order_host(const struct pc_row *row, struct pc_store_order_host *h)
{
    *h = (struct pc_store_order_host){0};
    pc_row_text(row, 0, h->sha256, sizeof h->sha256);
    pc_row_text(row, 1, h->host_id, sizeof h->host_id);
    pc_row_text(row, 2, h->host, sizeof h->host);
    pc_row_text(row, 3, h->state, sizeof h->state);
    pc_row_text(row, 4, h->why, sizeof h->why);
    pc_row_text(row, 5, h->outcome, sizeof h->outcome);
    h->ring = (uint32_t)pc_row_number(row, 6);
    h->exit = (int)pc_row_number(row, 7);
    h->changed = pc_row_number(row, 8);
}

struct order_host_list {
    int (*each)(void *ctx, const struct pc_store_order_host *h);
    void *ctx;
    int64_t last;
    int ended;
};

static int list_order_host(void *ctx, const struct pc_row *row)
{
    struct order_host_list *l = ctx;
    struct pc_store_order_host h;
    take_order_host(row, &h);
    l->last = pc_row_number(row, 9);
    l->ended = l->each(l->ctx, &h);
    return l->ended;
}

int pc_store_order_hosts(struct pc_store *s, const char *sha256,
                         int (*each)(void *ctx, const struct pc_store_order_host *h), void *ctx)
{
    struct order_host_list l = {.each = each, .ctx = ctx};
    int r;
    do {
        r = pc_run(s, PC_SQL_ORDER_HOSTS, PC_VALUES(pc_text(sha256), pc_int(l.last), pc_int(HOSTS_AT_ONCE)),
                   list_order_host, &l);
    } while (r == HOSTS_AT_ONCE && l.ended == 0);
    return r < 0 ? r : 0;
}

static int take_one_order_host(void *ctx, const struct pc_row *row)
{
    take_order_host(row, ctx);
    return 0;
}

int pc_store_order_host_get(struct pc_store *s, const char *sha256, const char *host_id,
                            struct pc_store_order_host *out)
{
    return pc_run_one(s, PC_SQL_ORDER_HOST_GET, PC_VALUES(pc_text(sha256), pc_text(host_id)), take_one_order_host, out);
}

int pc_store_order_host_set(struct pc_store *s, const struct pc_store_order_host *h)
{
    int r = pc_run(s, PC_SQL_ORDER_HOST_SET,
                   PC_VALUES(pc_text(h->sha256), pc_text(h->host_id), pc_text(h->state), pc_text(h->why),
                             pc_text(h->outcome), pc_int(h->exit), pc_int(h->changed)),
                   NULL, NULL);
    return r < 0 ? r : r == 0 ? PC_E_NOTFOUND : 0;
}

/* How far a host is with an order; ORDER_HOSTS_ADVANCE has the same list. */
static int64_t place_of(const char *state)
{
    static const char *const order[] = {"queued", "delivered", "accepted", "running"};
    int64_t i = 0;
    while (i < (int64_t)(sizeof order / sizeof order[0]) && strcmp(order[i], state) != 0)
        i++;
    return i;
}

#define ADVANCE_VALUES 8

static int advance_some(struct pc_store *s, const struct pc_store_order_host *h, size_t n, bool again)
{
    struct pc_value values[HOSTS_AT_ONCE * ADVANCE_VALUES];
    for (size_t i = 0; i < n; i++) {
        struct pc_value *v = values + i * ADVANCE_VALUES;
        v[0] = pc_text(h[i].sha256);
        v[1] = pc_text(h[i].host_id);
        v[2] = pc_text(h[i].state);
        v[3] = pc_text(h[i].why);
        v[4] = pc_text(h[i].outcome);
        v[5] = pc_int(h[i].exit);
        v[6] = pc_int(h[i].changed);
        v[7] = pc_int(place_of(h[i].state) + again);
    }
    return pc_run_many(s, PC_SQL_ORDER_HOSTS_ADVANCE, values, ADVANCE_VALUES, n);
}

int pc_store_order_hosts_advance(struct pc_store *s, const struct pc_store_order_host *h, size_t n, bool again)
{
    bool mine;
    int r = pc_scope_begin(s, &mine);
    if (r < 0)
        return r;
    for (size_t done = 0; done < n && r == 0; done += HOSTS_AT_ONCE)
        r = advance_some(s, h + done, n - done < HOSTS_AT_ONCE ? n - done : HOSTS_AT_ONCE, again);
    return pc_scope_end(s, mine, r);
}

struct state_list {
    int (*each)(void *ctx, const char *state, uint32_t n);
    void *ctx;
};

static int list_state(void *ctx, const struct pc_row *row)
{
    const struct state_list *l = ctx;
    char state[16];
    pc_row_text(row, 0, state, sizeof state);
    return l->each(l->ctx, state, (uint32_t)pc_row_number(row, 1));
}

int pc_store_order_states(struct pc_store *s, const char *sha256,
                          int (*each)(void *ctx, const char *state, uint32_t n), void *ctx)
{
    struct state_list l = {each, ctx};
    int r = pc_run(s, PC_SQL_ORDER_STATES, PC_VALUES(pc_text(sha256)), list_state, &l);
    return r < 0 ? r : 0;
}
