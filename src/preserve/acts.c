/*
 * Owns the rows of acts and processes: what was done, by whom. Must not decide anything from them. The guard records
 * them as events come in; the rollback plan reads them back.
 */
#include "preserve/acts.h"

#include "base/clock.h"
#include "base/err.h"
#include "preserve/content.h"

#include <string.h>

int pc_store_record_act(struct pc_store *s, const struct pc_act_rec *a, uint64_t *act)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_ACT_ADD, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, a->time_ns);
    pc_bind_u64(st, 2, a->actor);
    sqlite3_bind_int(st, 3, a->op);
    sqlite3_bind_int(st, 4, a->is_dir);
    sqlite3_bind_int(st, 5, a->vol);
    pc_bind_fh(st, 6, &a->fh);
    pc_bind_fh(st, 7, &a->parent);
    pc_bind_bytes(st, 8, a->name);
    pc_bind_fh(st, 9, &a->new_parent);
    pc_bind_bytes(st, 10, a->new_name);
    pc_bind_u64(st, 11, a->before);
    sqlite3_bind_int(st, 12, a->score);
    pc_bind_u64(st, 13, a->evidence);
    r = pc_index_run(&s->ix, st);
    uint64_t id = (uint64_t)sqlite3_last_insert_rowid(s->ix.db);
    if (r == 0 && a->before) { /* whose flood this version belongs to, should room be needed */
        st = pc_index_stmt(&s->ix, PC_SQL_VER_RETIRED_BY, &r);
        if (!st)
            return r;
        pc_bind_u64(st, 1, a->before);
        pc_bind_u64(st, 2, a->actor);
        r = pc_index_run(&s->ix, st);
    }
    if (r == 0)
        r = pc_index_maybe_commit(&s->ix);
    if (r == 0 && act)
        *act = id;
    return r;
}

static int read_act(sqlite3_stmt *st, struct pc_act_rec *a)
{
    memset(a, 0, sizeof *a);
    a->time_ns = pc_column_u64(st, 1);
    a->actor = pc_column_u64(st, 2);
    a->op = (uint8_t)sqlite3_column_int(st, 3);
    a->is_dir = sqlite3_column_int(st, 4);
    a->vol = sqlite3_column_int(st, 5);
    int r = pc_column_fh(st, 6, &a->fh);
    if (r == 0)
        r = pc_column_fh(st, 7, &a->parent);
    pc_column_bytes(st, 8, a->name, sizeof a->name);
    if (r == 0)
        r = pc_column_fh(st, 9, &a->new_parent);
    pc_column_bytes(st, 10, a->new_name, sizeof a->new_name);
    a->before = pc_column_u64(st, 11);
    a->score = (uint8_t)sqlite3_column_int(st, 12);
    a->evidence = (uint32_t)sqlite3_column_int64(st, 13);
    return r;
}

int pc_acts_each(struct pc_store *s, uint64_t incident, int (*fn)(void *arg, uint64_t id, const struct pc_act_rec *),
                 void *arg)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_ACT_LIST, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, incident);
    pc_bind_u64(st, 2, 0);
    while ((r = pc_index_row(&s->ix, st)) > 0) {
        struct pc_act_rec a;
        uint64_t id = pc_column_u64(st, 0);
        pc_content_breathe();
        r = read_act(st, &a);
        if (r == 0)
            r = fn(arg, id, &a);
        if (r != 0) {
            sqlite3_reset(st);
            return r;
        }
    }
    return r;
}

struct plain {
    int (*fn)(void *arg, const struct pc_act_rec *);
    void *arg;
};

static int call_plain(void *arg, uint64_t id, const struct pc_act_rec *a)
{
    struct plain *p = arg;
    return p->fn(p->arg, a);
}

int pc_store_incident_acts(struct pc_store *s, uint64_t id, int (*fn)(void *arg, const struct pc_act_rec *), void *arg)
{
    int r = pc_acts_each(s, id, call_plain, &(struct plain){fn, arg});
    return r > 0 ? 0 : r;
}

static int ask(struct pc_store *s, sqlite3_stmt *st)
{
    int r = pc_index_row(&s->ix, st);
    sqlite3_reset(st);
    return r;
}

int pc_store_change_of(struct pc_store *s, int vol, const struct pc_fh *fh, uint64_t version, uint64_t run)
{
    int r = 0;
    sqlite3_stmt *st = version ? pc_index_stmt(&s->ix, PC_SQL_ACT_OF_CHANGE, &r) : NULL;
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, fh);
    pc_bind_u64(st, 3, version);
    pc_bind_u64(st, 4, run);
    r = pc_index_row(&s->ix, st);
    int change = r > 0 ? sqlite3_column_int(st, 0) : r; /* no act at all: a row with NULL, read as 0 */
    sqlite3_reset(st);
    return change;
}

int pc_acts_by_others(struct pc_store *s, int vol, const struct pc_fh *fh, uint64_t incident, uint64_t after)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_ACT_OTHERS, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, fh);
    pc_bind_u64(st, 3, incident);
    pc_bind_u64(st, 4, after);
    return ask(s, st);
}

int pc_acts_by_others_in(struct pc_store *s, int vol, const struct pc_fh *folder, uint64_t incident, uint64_t since_ns)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_ACT_IN_FOLDER, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, folder);
    pc_bind_u64(st, 3, incident);
    pc_bind_u64(st, 4, since_ns);
    return ask(s, st);
}

int pc_acts_made_by_others(struct pc_store *s, int vol, const struct pc_fh *fh, uint64_t incident)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_ACT_MADE, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, fh);
    pc_bind_u64(st, 3, incident);
    return ask(s, st);
}

int pc_store_put_process(struct pc_store *s, const struct pc_process *p)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_PROC_PUT, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, p->id);
    pc_bind_u64(st, 2, p->parent);
    sqlite3_bind_int(st, 3, p->pid);
    pc_bind_u64(st, 4, p->uid);
    pc_bind_u64(st, 5, p->start_ns);
    pc_bind_bytes(st, 6, p->exe);
    pc_bind_bytes(st, 7, p->argv);
    pc_bind_bytes(st, 8, p->cgroup);
    pc_bind_bytes(st, 9, p->user);
    pc_bind_bytes(st, 10, p->exe_sha256);
    r = pc_index_run(&s->ix, st);
    return r == 0 ? pc_index_maybe_commit(&s->ix) : r;
}

int pc_store_new_run(struct pc_store *s, uint64_t now_real_ns, uint64_t *first)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_PROC_MAX, &r);
    if (!st)
        return r;
    r = pc_index_row(&s->ix, st);
    uint64_t last = r > 0 ? pc_column_u64(st, 0) >> 32 : 0, now = now_real_ns / PC_NS_PER_S;
    sqlite3_reset(st);
    if (r < 0)
        return r;
    *first = (now > last ? now : last + 1) << 32;
    return 0;
}

static void read_process(sqlite3_stmt *st, struct pc_process *p)
{
    memset(p, 0, sizeof *p);
    p->id = pc_column_u64(st, 0);
    p->parent = pc_column_u64(st, 1);
    p->pid = sqlite3_column_int(st, 2);
    p->uid = (uint32_t)sqlite3_column_int64(st, 3);
    p->start_ns = pc_column_u64(st, 4);
    pc_column_bytes(st, 5, p->exe, sizeof p->exe);
    pc_column_bytes(st, 6, p->argv, sizeof p->argv);
    pc_column_bytes(st, 7, p->cgroup, sizeof p->cgroup);
    pc_column_bytes(st, 8, p->user, sizeof p->user);
    pc_column_bytes(st, 9, p->exe_sha256, sizeof p->exe_sha256);
}

int pc_store_get_process(struct pc_store *s, uint64_t id, struct pc_process *out)
{
    sqlite3_stmt *st;
    int r = pc_index_find(&s->ix, PC_SQL_PROC_GET, id, &st);
    if (r < 0)
        return r;
    read_process(st, out);
    sqlite3_reset(st);
    return 0;
}

int pc_store_incident_processes(struct pc_store *s, uint64_t id, int (*fn)(void *arg, const struct pc_process *),
                                void *arg)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_PROC_OF_INC, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, id);
    while ((r = pc_index_row(&s->ix, st)) > 0) {
        struct pc_process p;
        read_process(st, &p);
        if (fn(arg, &p) != 0) {
            sqlite3_reset(st);
            return 0;
        }
    }
    return r;
}
