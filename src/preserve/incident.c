/*
 * Owns the rows of incidents, their members and their notes. Must not know files. An act belongs to at most one
 * incident: the newest one its process was a member of when either was recorded.
 */
#include "preserve/internal.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <limits.h>
#include <string.h>

static void bind_incident(sqlite3_stmt *st, const struct pc_incident *i)
{
    const uint64_t cols[] = {i->started_ns,  i->verdict_ns, i->frozen_ns, i->closed_ns, i->root,     i->state,
                             i->rolled_back, i->damaged,    i->preserved, i->in_flight, i->processes};
    for (int n = 0; n < (int)(sizeof cols / sizeof cols[0]); n++)
        pc_bind_u64(st, n + 1, cols[n]);
    pc_bind_bytes(st, 12, i->summary);
}

static void read_incident(sqlite3_stmt *st, struct pc_incident *i)
{
    memset(i, 0, sizeof *i);
    i->started_ns = pc_column_u64(st, 0);
    i->verdict_ns = pc_column_u64(st, 1);
    i->frozen_ns = pc_column_u64(st, 2);
    i->closed_ns = pc_column_u64(st, 3);
    i->root = pc_column_u64(st, 4);
    i->state = (uint8_t)sqlite3_column_int(st, 5);
    i->rolled_back = sqlite3_column_int(st, 6);
    i->damaged = (uint32_t)sqlite3_column_int64(st, 7);
    i->preserved = (uint32_t)sqlite3_column_int64(st, 8);
    i->in_flight = (uint32_t)sqlite3_column_int64(st, 9);
    i->processes = (uint32_t)sqlite3_column_int64(st, 10);
    pc_column_bytes(st, 11, i->summary, sizeof i->summary);
    pc_utf8_cut(i->summary); /* earlier versions cut it anywhere, and then no list of incidents could be made */
    i->id = pc_column_u64(st, 12);
}

int pc_store_incident_open(struct pc_store *s, struct pc_incident *inc)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_INC_ADD, &r) : NULL;
    if (!st)
        return r;
    bind_incident(st, inc);
    r = pc_index_run(&s->ix, st);
    if (r < 0)
        return r;
    uint64_t id = (uint64_t)sqlite3_last_insert_rowid(s->ix.db);
    r = pc_index_commit(&s->ix); /* an incident must survive the guard */
    if (r == 0)
        inc->id = id;
    return r;
}

int pc_store_incident_update(struct pc_store *s, const struct pc_incident *inc)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_INC_PUT, &r) : NULL;
    if (!st)
        return r;
    bind_incident(st, inc);
    pc_bind_u64(st, 13, inc->id);
    r = pc_index_run(&s->ix, st);
    if (r == 0 && sqlite3_changes(s->ix.db) == 0)
        r = PC_E_NOTFOUND;
    return r == 0 ? pc_index_commit(&s->ix) : r;
}

int pc_store_incident_add_process(struct pc_store *s, uint64_t incident, uint64_t process)
{
    int r = PC_INDEX_PUT(&s->ix, PC_SQL_MEMBER_ADD, incident, process);
    /* A member already: its acts are claimed, and new ones go to the incident as they are recorded. */
    if (r == 0 && sqlite3_changes(s->ix.db) > 0)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_ACT_CLAIM, incident, process);
    return r == 0 ? pc_index_maybe_commit(&s->ix) : r;
}

/* The kin of a process in earlier runs, bound; NULL: error. Start times differ by the rounding of clocks. */
static sqlite3_stmt *kin(struct pc_store *s, enum pc_sql which, const struct pc_process *p, uint64_t run, int *err)
{
    sqlite3_stmt *st = pc_index_stmt(&s->ix, which, err);
    if (!st)
        return NULL;
    sqlite3_bind_int(st, 1, p->pid);
    pc_bind_u64(st, 2, run);
    pc_bind_u64(st, 3, p->start_ns - PC_NS_PER_S);
    pc_bind_u64(st, 4, p->start_ns + PC_NS_PER_S);
    return st;
}

static int kin_first(struct pc_store *s, const struct pc_process *p, uint64_t run, uint64_t since_ns, uint64_t *out)
{
    int r = 0;
    sqlite3_stmt *st = kin(s, PC_SQL_KIN_FIRST, p, run, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 5, since_ns);
    r = pc_index_row(&s->ix, st);
    *out = r > 0 ? pc_column_u64(st, 0) : 0; /* no such act: NULL, read as 0 */
    sqlite3_reset(st);
    return r < 0 ? r : 0;
}

int pc_store_incident_add_earlier(struct pc_store *s, uint64_t incident, uint64_t process, uint64_t run,
                                  uint64_t since_ns, uint64_t *first_ns)
{
    struct pc_process p;
    uint64_t first = 0;
    int r = pc_store_get_process(s, process, &p);
    /* already gone when it was recorded: it cannot be told again */
    if (r < 0 || p.pid <= 0 || p.start_ns <= PC_NS_PER_S)
        return r == PC_E_NOTFOUND ? 0 : r;
    r = kin_first(s, &p, run, since_ns, &first);
    if (r < 0 || !first)
        return r;
    r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? kin(s, PC_SQL_KIN_MEMBER, &p, run, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 5, incident);
    r = pc_index_run(&s->ix, st);
    st = r == 0 ? kin(s, PC_SQL_KIN_CLAIM, &p, run, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 5, incident);
    pc_bind_u64(st, 6, first > PC_NS_PER_S ? first - PC_NS_PER_S : 0);
    r = pc_index_run(&s->ix, st);
    if (r < 0)
        return r;
    *first_ns = first;
    return sqlite3_changes(s->ix.db);
}

int pc_store_incident_take_act(struct pc_store *s, uint64_t incident, uint64_t act)
{
    int r = PC_INDEX_PUT(&s->ix, PC_SQL_ACT_TAKE, incident, act);
    return r == 0 ? pc_index_maybe_commit(&s->ix) : r;
}

static int one_incident(struct pc_store *s, enum pc_sql which, uint64_t key, struct pc_incident *out)
{
    sqlite3_stmt *st;
    int r = pc_index_find(&s->ix, which, key, &st);
    if (r < 0)
        return r;
    read_incident(st, out);
    sqlite3_reset(st);
    return 0;
}

int pc_store_incident_get(struct pc_store *s, uint64_t id, struct pc_incident *out)
{
    return one_incident(s, PC_SQL_INC_GET, id, out);
}

int pc_store_incidents(struct pc_store *s, int (*fn)(void *arg, const struct pc_incident *), void *arg)
{
    struct pc_incident i = {.id = INT64_MAX};
    int r;
    /* Asked for one at a time, so that fn may use the store. */
    while ((r = one_incident(s, PC_SQL_INC_LIST, i.id, &i)) == 0)
        if (fn(arg, &i) != 0)
            return 0;
    return r == PC_E_NOTFOUND ? 0 : r;
}

int pc_store_incident_note(struct pc_store *s, uint64_t incident, uint64_t time_ns, const char *text)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_NOTE_ADD, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, incident);
    pc_bind_u64(st, 2, time_ns);
    pc_bind_bytes(st, 3, text);
    r = pc_index_run(&s->ix, st);
    return r == 0 ? pc_index_maybe_commit(&s->ix) : r;
}

int pc_store_incident_notes(struct pc_store *s, uint64_t id, int (*fn)(void *arg, uint64_t time_ns, const char *text),
                            void *arg)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_NOTE_LIST, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, id);
    while ((r = pc_index_row(&s->ix, st)) > 0) {
        char text[1024];
        pc_column_bytes(st, 1, text, sizeof text);
        if (fn(arg, pc_column_u64(st, 0), text) != 0) {
            sqlite3_reset(st);
            return 0;
        }
    }
    return r;
}
