/*
 * Owns the rows of files and versions: lookups, places, retiring, dropping. Must not open live files. The capture and
 * the rollback hand it what to record.
 */
#include "preserve/internal.h"

#include "base/clock.h"
#include "base/err.h"

#include <string.h>

static int read_row(sqlite3_stmt *st, struct pc_row *r, mode_t *mode)
{
    *r = (struct pc_row){
        .id = pc_column_u64(st, 0),
        .version = pc_column_u64(st, 1),
        .link = pc_column_u64(st, 2),
        .creator = pc_column_u64(st, 3),
        .gone = sqlite3_column_int(st, 4),
        .how = (uint8_t)sqlite3_column_int(st, 5),
        .object = pc_column_u64(st, 6),
        .size = pc_column_u64(st, 7),
        .mtime_ns = sqlite3_column_int64(st, 8),
        .ctime_ns = sqlite3_column_int64(st, 9),
    };
    int a = pc_column_fh(st, 10, &r->fh), b = pc_column_fh(st, 11, &r->parent);
    pc_column_bytes(st, 12, r->name, sizeof r->name);
    *mode = (mode_t)sqlite3_column_int(st, 13);
    return a < 0 ? a : b;
}

/* Steps a bound FILE_BY_* statement. */
static int one_row(struct pc_store *s, sqlite3_stmt *st, struct pc_row *out, mode_t *mode)
{
    int r = pc_index_row(&s->ix, st);
    if (r <= 0)
        return r == 0 ? PC_E_NOTFOUND : r;
    r = read_row(st, out, mode);
    sqlite3_reset(st);
    return r;
}

static sqlite3_stmt *by_fh(struct pc_store *s, int vol, const struct pc_fh *fh, int *err)
{
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_BY_FH, err);
    if (st) {
        sqlite3_bind_int(st, 1, vol);
        pc_bind_fh(st, 2, fh);
    }
    return st;
}

int pc_row_by_fh(struct pc_store *s, int vol, const struct pc_fh *fh, struct pc_row *out)
{
    int r = 0;
    mode_t mode;
    sqlite3_stmt *st = by_fh(s, vol, fh, &r);
    return st ? one_row(s, st, out, &mode) : r;
}

static int known_from(struct pc_store *s, sqlite3_stmt *st, struct pc_known *out)
{
    struct pc_row row;
    mode_t mode = 0;
    int r = one_row(s, st, &row, &mode);
    if (r < 0)
        return r;
    *out = (struct pc_known){.file = row.id,
                             .version = row.version,
                             .how = row.how,
                             .mode = mode,
                             .size = row.size,
                             .mtime_ns = row.mtime_ns,
                             .ctime_ns = row.ctime_ns,
                             .creator = row.creator,
                             .gone = row.gone,
                             .linked = row.link != 0,
                             .fh = row.fh,
                             .parent = row.parent};
    memcpy(out->name, row.name, sizeof out->name);
    return 0;
}

int pc_store_lookup(struct pc_store *s, int vol, const struct pc_fh *fh, struct pc_known *out)
{
    int r = 0;
    sqlite3_stmt *st = by_fh(s, vol, fh, &r);
    return st ? known_from(s, st, out) : r;
}

int pc_store_lookup_name(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name,
                         struct pc_known *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_BY_NAME, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, parent);
    pc_bind_bytes(st, 3, name);
    return known_from(s, st, out);
}

int pc_store_lookup_id(struct pc_store *s, uint64_t file, struct pc_known *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_BY_ID, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, file);
    return known_from(s, st, out);
}

static int set_place(struct pc_store *s, uint64_t file, const struct pc_fh *parent, const char *name)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_FILE_PLACE, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, file);
    pc_bind_fh(st, 2, parent);
    pc_bind_bytes(st, 3, name);
    return pc_index_run(&s->ix, st);
}

static int add_row(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent, const char *name,
                   uint64_t creator, struct pc_row *row)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_FILE_ADD, &r) : NULL;
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, fh);
    pc_bind_fh(st, 3, parent);
    pc_bind_bytes(st, 4, name);
    pc_bind_u64(st, 5, creator);
    r = pc_index_run(&s->ix, st);
    if (r < 0)
        return r;
    *row = (struct pc_row){
        .id = (uint64_t)sqlite3_last_insert_rowid(s->ix.db), .creator = creator, .fh = *fh, .parent = *parent};
    strcpy(row->name, name);
    struct pc_volume *v = pc_volume_get(s, vol);
    if (v)
        v->n.files++;
    return 0;
}

int pc_row_put(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent, const char *name,
               uint64_t creator, struct pc_row *row)
{
    if (strlen(name) >= PC_NAME_CAP)
        return PC_E_LIMIT;
    int r = pc_row_by_fh(s, vol, fh, row);
    if (r == PC_E_NOTFOUND)
        return add_row(s, vol, fh, parent, name, creator, row);
    if (r < 0 || parent->len == 0 || (pc_fh_equal(&row->parent, parent) && strcmp(row->name, name) == 0))
        return r;
    r = set_place(s, row->id, parent, name);
    if (r == 0) {
        row->parent = *parent;
        strcpy(row->name, name);
    }
    return r;
}

int pc_row_set_link(struct pc_store *s, uint64_t file, uint64_t link)
{
    return PC_INDEX_PUT(&s->ix, PC_SQL_FILE_LINK, file, link);
}

int pc_row_set_gone(struct pc_store *s, uint64_t file)
{
    return PC_INDEX_PUT(&s->ix, PC_SQL_FILE_GONE, file);
}

int pc_store_moved(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent, const char *name)
{
    struct pc_row row;
    if (strlen(name) >= PC_NAME_CAP)
        return PC_E_LIMIT;
    int r = pc_row_by_fh(s, vol, fh, &row);
    if (r == 0)
        r = set_place(s, row.id, parent, name);
    return r == 0 ? pc_index_maybe_commit(&s->ix) : r;
}

static int newest_row(struct pc_store *s, uint64_t *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_MAX, &r);
    if (!st)
        return r;
    r = pc_index_row(&s->ix, st);
    *out = r > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    return r < 0 ? r : 0;
}

int pc_row_next_there(struct pc_store *s, int vol, uint64_t newest_version, uint64_t *cursor, uint64_t *id)
{
    uint64_t last = 0;
    int r = newest_row(s, &last);
    if (r < 0 || *cursor >= last)
        return r;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_THERE, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_u64(st, 2, *cursor);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)newest_version);
    r = pc_index_row(&s->ix, st);
    if (r > 0)
        *id = pc_column_u64(st, 0);
    sqlite3_reset(st);
    if (r < 0)
        return r;
    *cursor = r > 0 ? *id : *cursor + 256;
    return r > 0 ? 1 : 2;
}

int pc_store_next_link(struct pc_store *s, int vol, uint64_t *cursor, uint64_t max_size, uint64_t before_ns,
                       struct pc_known *out)
{
    uint64_t last = 0, found = 0;
    int r = newest_row(s, &last);
    if (r < 0 || *cursor >= last)
        return r;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_LINKED, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_u64(st, 2, *cursor);
    pc_bind_u64(st, 3, max_size);
    pc_bind_u64(st, 4, before_ns);
    r = pc_index_row(&s->ix, st);
    if (r > 0)
        found = pc_column_u64(st, 0);
    sqlite3_reset(st);
    if (r < 0)
        return r;
    if (found && (r = pc_store_lookup_id(s, found, out)) < 0)
        return r;
    *cursor = found ? found : *cursor + 256;
    return found ? 1 : 2;
}
