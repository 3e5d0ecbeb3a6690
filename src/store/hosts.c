/* Owns hosts in the store, and what they send: reports, latest looks, events. */
#include "base/err.h"
#include "store/ops.h"

#include <stdlib.h>
#include <string.h>

/* --- hosts -------------------------------------------------------------------------------------------------------- */

int pc_store_host_add(struct pc_store *s, const struct pc_store_host *h, struct pc_store_blob envelope)
{
    int r = pc_run(s, PC_SQL_HOST_ADD,
                   PC_VALUES(pc_text(h->name), pc_text(h->id), pc_blob(h->key, sizeof h->key),
                             pc_blob(h->link_key, sizeof h->link_key), pc_text(h->agent), pc_text(h->address),
                             pc_int(h->enrolled), pc_int(h->last_seen), pc_int(h->online), pc_text(h->server),
                             pc_int((int64_t)h->sequence), pc_int((int64_t)h->checkpoint_size),
                             pc_blob(envelope.data, envelope.len)),
                   NULL, NULL);
    return r < 0 ? r : r == 0 ? PC_E_STATE : 0;
}

static int take_host(void *ctx, const struct pc_row *row)
{
    struct pc_store_host h = {0};
    pc_row_text(row, 0, h.name, sizeof h.name);
    pc_row_text(row, 1, h.id, sizeof h.id);
    int r = pc_row_fixed(row, 2, h.key, sizeof h.key);
    if (r == 0)
        r = pc_row_fixed(row, 3, h.link_key, sizeof h.link_key);
    if (r < 0)
        return r;
    pc_row_text(row, 4, h.agent, sizeof h.agent);
    pc_row_text(row, 5, h.address, sizeof h.address);
    h.enrolled = pc_row_number(row, 6);
    h.last_seen = pc_row_number(row, 7);
    h.online = pc_row_number(row, 8) != 0;
    pc_row_text(row, 9, h.server, sizeof h.server);
    h.sequence = (uint64_t)pc_row_number(row, 10);
    h.checkpoint_size = (uint64_t)pc_row_number(row, 11);
    *(struct pc_store_host *)ctx = h;
    return 0;
}

int pc_store_host_by_id(struct pc_store *s, const char *id, struct pc_store_host *out)
{
    return pc_run_one(s, PC_SQL_HOST_BY_ID, PC_VALUES(pc_text(id)), take_host, out);
}

int pc_store_host_by_name(struct pc_store *s, const char *name, struct pc_store_host *out)
{
    return pc_run_one(s, PC_SQL_HOST_BY_NAME, PC_VALUES(pc_text(name)), take_host, out);
}

int pc_store_host_by_link_key(struct pc_store *s, const uint8_t key[32], struct pc_store_host *out)
{
    return pc_run_one(s, PC_SQL_HOST_BY_LINK_KEY, PC_VALUES(pc_blob(key, 32)), take_host, out);
}

int pc_store_host_seen(struct pc_store *s, const struct pc_store_host *h)
{
    int r = pc_run(s, PC_SQL_HOST_SEEN,
                   PC_VALUES(pc_text(h->id), pc_text(h->agent), pc_text(h->address), pc_int(h->last_seen),
                             pc_int(h->online), pc_text(h->server), pc_int((int64_t)h->sequence),
                             pc_int((int64_t)h->checkpoint_size)),
                   NULL, NULL);
    return r < 0 ? r : r == 0 ? PC_E_NOTFOUND : 0;
}

/* Rows that one statement is given: what is on the stack for them. */
#define ROWS_AT_ONCE 256
#define SEEN_VALUES 8

static int some_seen(struct pc_store *s, const struct pc_store_host *h, size_t n)
{
    struct pc_value values[ROWS_AT_ONCE * SEEN_VALUES];
    for (size_t i = 0; i < n; i++) {
        struct pc_value *v = values + i * SEEN_VALUES;
        v[0] = pc_text(h[i].id);
        v[1] = pc_text(h[i].agent);
        v[2] = pc_text(h[i].address);
        v[3] = pc_int(h[i].last_seen);
        v[4] = pc_int(h[i].online);
        v[5] = pc_text(h[i].server);
        v[6] = pc_int((int64_t)h[i].sequence);
        v[7] = pc_int((int64_t)h[i].checkpoint_size);
    }
    return pc_run_many(s, PC_SQL_HOSTS_SEEN, values, SEEN_VALUES, n);
}

int pc_store_hosts_seen(struct pc_store *s, const struct pc_store_host *h, size_t n)
{
    bool mine;
    int r = pc_scope_begin(s, &mine);
    if (r < 0)
        return r;
    for (size_t done = 0; done < n && r == 0; done += ROWS_AT_ONCE)
        r = some_seen(s, h + done, n - done < ROWS_AT_ONCE ? n - done : ROWS_AT_ONCE);
    return pc_scope_end(s, mine, r);
}

struct host_list {
    int (*each)(void *ctx, const struct pc_store_host *h);
    void *ctx;
};

static int list_host(void *ctx, const struct pc_row *row)
{
    const struct host_list *l = ctx;
    struct pc_store_host h;
    int r = take_host(&h, row);
    return r < 0 ? r : l->each(l->ctx, &h);
}

int pc_store_hosts(struct pc_store *s, const char *after_name, uint32_t max,
                   int (*each)(void *ctx, const struct pc_store_host *h), void *ctx)
{
    struct host_list l = {each, ctx};
    int r = pc_run(s, PC_SQL_HOSTS, PC_VALUES(pc_text(after_name), pc_int(max)), list_host, &l);
    return r < 0 ? r : 0;
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

int pc_store_report_add(struct pc_store *s, const char *kind, const char *key, const char *host_id, const char *sha256,
                        int64_t time, struct pc_store_blob envelope)
{
    return pc_run(s, PC_SQL_REPORT_ADD,
                  PC_VALUES(pc_text(kind), pc_text(key), pc_text(host_id), pc_text(sha256), pc_int(time),
                            pc_blob(envelope.data, envelope.len)),
                  NULL, NULL);
}

/* Envelopes that one statement carries at most, unless one alone is larger. */
#define REPORTS_BYTES (8u << 20)
#define REPORT_VALUES 6

struct adding {
    struct pc_store_report *r;
    size_t n;
};

/* A row that is new: which of those that were given. */
static int note_added(void *ctx, const struct pc_row *row)
{
    const struct adding *a = ctx;
    char host_id[33], sha256[65];
    pc_row_text(row, 0, host_id, sizeof host_id);
    pc_row_text(row, 1, sha256, sizeof sha256);
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->r[i].sha256, sha256) == 0 && strcmp(a->r[i].host_id, host_id) == 0) {
            a->r[i].added = true;
            break;
        }
    return 0;
}

static int add_some(struct pc_store *s, struct pc_store_report *r, size_t n)
{
    struct pc_value values[ROWS_AT_ONCE * REPORT_VALUES];
    struct adding a = {r, n};
    for (size_t i = 0; i < n; i++) {
        struct pc_value *v = values + i * REPORT_VALUES;
        v[0] = pc_text(r[i].kind);
        v[1] = pc_text(r[i].key);
        v[2] = pc_text(r[i].host_id);
        v[3] = pc_text(r[i].sha256);
        v[4] = pc_int(r[i].time);
        v[5] = pc_blob(r[i].envelope.data, r[i].envelope.len);
        r[i].added = false;
    }
    return pc_run_rows(s, PC_SQL_REPORTS_ADD, values, REPORT_VALUES, n, note_added, &a);
}

int pc_store_reports_add(struct pc_store *s, struct pc_store_report *r, size_t n)
{
    bool mine;
    int ret = pc_scope_begin(s, &mine);
    if (ret < 0)
        return ret;
    for (size_t done = 0, now; done < n && ret == 0; done += now) {
        size_t bytes = r[done].envelope.len;
        for (now = 1; now < ROWS_AT_ONCE && done + now < n; now++)
            if ((bytes += r[done + now].envelope.len) > REPORTS_BYTES)
                break;
        ret = add_some(s, r + done, now);
    }
    return pc_scope_end(s, mine, ret);
}

/* Reports may be half a megabyte each, of thousands of hosts: so many are in memory at a time. */
#define REPORTS_AT_ONCE 32

struct report_list {
    int (*each)(void *ctx, const char *host_id, struct pc_store_blob envelope);
    void *ctx;
    int64_t last;
    int ended;
};

static int list_report(void *ctx, const struct pc_row *row)
{
    struct report_list *l = ctx;
    char host_id[33];
    l->last = pc_row_number(row, 0);
    pc_row_text(row, 1, host_id, sizeof host_id);
    l->ended = l->each(l->ctx, host_id, pc_row_blob(row, 2));
    return l->ended;
}

int pc_store_reports(struct pc_store *s, const char *kind, const char *key,
                     int (*each)(void *ctx, const char *host_id, struct pc_store_blob envelope), void *ctx)
{
    struct report_list l = {.each = each, .ctx = ctx};
    int r;
    do {
        r = pc_run(s, PC_SQL_REPORTS, PC_VALUES(pc_text(kind), pc_text(key), pc_int(l.last), pc_int(REPORTS_AT_ONCE)),
                   list_report, &l);
    } while (r == REPORTS_AT_ONCE && l.ended == 0);
    return r < 0 ? r : 0;
}

int pc_store_report_get(struct pc_store *s, const char *sha256, const char *host_id, void **envelope, size_t *len)
{
    struct pc_copy c = {0};
    int r = pc_run_one(s, PC_SQL_REPORT_GET, PC_VALUES(pc_text(sha256), pc_text(host_id ? host_id : "")), pc_copy_first,
                       &c);
    if (r < 0)
        return r;
    *envelope = c.data;
    *len = c.len;
    return 0;
}

/* --- latest looks and events -------------------------------------------------------------------------------------- */

int pc_store_latest(struct pc_store *s, const char *host_id, const char *action, const struct pc_store_blob *set,
                    void **envelope, size_t *len)
{
    struct pc_copy c = {0};
    int r;
    if (set) {
        r = pc_run(s, PC_SQL_LATEST_SET, PC_VALUES(pc_text(host_id), pc_text(action), pc_blob(set->data, set->len)),
                   NULL, NULL);
        return r < 0 ? r : 0;
    }
    r = pc_run_one(s, PC_SQL_LATEST_GET, PC_VALUES(pc_text(host_id), pc_text(action)), pc_copy_first, &c);
    if (r < 0)
        return r;
    *envelope = c.data;
    *len = c.len;
    return 0;
}

int pc_store_event_add(struct pc_store *s, const char *host_id, int64_t time, const char *kind, const char *text)
{
    bool mine;
    int r = pc_scope_begin(s, &mine);
    if (r < 0)
        return r;
    r = pc_run(s, PC_SQL_EVENT_ADD, PC_VALUES(pc_text(host_id), pc_int(time), pc_text(kind), pc_text(text)), NULL,
               NULL);
    if (r >= 0)
        r = pc_run(s, PC_SQL_EVENT_TRIM, PC_VALUES(pc_text(host_id), pc_int(PC_STORE_EVENTS_MAX)), NULL, NULL);
    return pc_scope_end(s, mine, r < 0 ? r : 0);
}

struct event_list {
    int (*each)(void *ctx, int64_t time, const char *kind, const char *text);
    void *ctx;
};

static int list_event(void *ctx, const struct pc_row *row)
{
    const struct event_list *l = ctx;
    char kind[64];
    pc_row_text(row, 1, kind, sizeof kind);
    return l->each(l->ctx, pc_row_number(row, 0), kind, pc_row_blob(row, 2).data);
}

int pc_store_events(struct pc_store *s, const char *host_id, uint32_t max,
                    int (*each)(void *ctx, int64_t time, const char *kind, const char *text), void *ctx)
{
    struct event_list l = {each, ctx};
    int r = pc_run(s, PC_SQL_EVENTS, PC_VALUES(pc_text(host_id), pc_int(max)), list_event, &l);
    return r < 0 ? r : 0;
}
