/* Owns the rows of rollbacks and their journal. Must not touch files: apply.c and undo.c act on what is written here.
 */
#include "preserve/journal.h"

#include "base/clock.h"
#include "base/err.h"

int pc_journal_find(struct pc_store *s, uint64_t incident, uint64_t *rollback, bool *finished)
{
    sqlite3_stmt *st;
    int r = pc_index_find(&s->ix, PC_SQL_RB_OPEN, incident, &st);
    if (r < 0)
        return r;
    *rollback = pc_column_u64(st, 0);
    *finished = sqlite3_column_int64(st, 1) != 0;
    sqlite3_reset(st);
    return 0;
}

int pc_journal_begin(struct pc_store *s, uint64_t incident, uint64_t *rollback)
{
    int r = PC_INDEX_PUT(&s->ix, PC_SQL_RB_ADD, incident, pc_real_ns());
    if (r == 0)
        *rollback = (uint64_t)sqlite3_last_insert_rowid(s->ix.db);
    return r;
}

/* Commits are not synced otherwise (index.h): what is over, or undone, is so after a crash of the machine, too. */
static int sync_rows(struct pc_store *s)
{
    int r = pc_index_commit(&s->ix);
    return r == 0 ? pc_index_checkpoint(&s->ix, true) : r;
}

int pc_journal_finished(struct pc_store *s, uint64_t rollback)
{
    int r = PC_INDEX_PUT(&s->ix, PC_SQL_RB_DONE, rollback, pc_real_ns());
    return r == 0 ? sync_rows(s) : r;
}

int pc_journal_undone(struct pc_store *s, uint64_t rollback)
{
    int r = PC_INDEX_PUT(&s->ix, PC_SQL_RB_UNDONE, rollback, pc_real_ns());
    return r == 0 ? sync_rows(s) : r;
}

int pc_journal_add(struct pc_store *s, struct pc_jrow *j)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_J_ADD, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, j->rollback);
    sqlite3_bind_int(st, 2, j->kind);
    sqlite3_bind_int(st, 3, j->vol);
    pc_bind_fh(st, 4, &j->fh);
    pc_bind_fh(st, 5, &j->parent);
    pc_bind_bytes(st, 6, j->name);
    pc_bind_fh(st, 7, &j->parent2);
    pc_bind_bytes(st, 8, j->name2);
    pc_bind_u64(st, 9, j->aside);
    pc_bind_u64(st, 10, j->version);
    sqlite3_bind_int64(st, 11, j->atime_ns);
    sqlite3_bind_int64(st, 12, j->mtime_ns);
    r = pc_index_run(&s->ix, st);
    if (r == 0)
        j->id = (uint64_t)sqlite3_last_insert_rowid(s->ix.db);
    return r;
}

int pc_journal_ours(struct pc_store *s, uint64_t row, const struct pc_fh *ours)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_J_OURS, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, row);
    pc_bind_fh(st, 2, ours);
    return pc_index_run(&s->ix, st);
}

int pc_journal_prev(struct pc_store *s, uint64_t rollback, uint64_t before, struct pc_jrow *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_J_LIST, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, rollback);
    pc_bind_u64(st, 2, before);
    r = pc_index_row(&s->ix, st);
    if (r <= 0)
        return r == 0 ? PC_E_NOTFOUND : r;
    *out = (struct pc_jrow){.id = pc_column_u64(st, 0),
                            .rollback = rollback,
                            .kind = (uint8_t)sqlite3_column_int(st, 1),
                            .vol = sqlite3_column_int(st, 2),
                            .aside = pc_column_u64(st, 8),
                            .version = pc_column_u64(st, 9),
                            .atime_ns = sqlite3_column_int64(st, 10),
                            .mtime_ns = sqlite3_column_int64(st, 11)};
    int a = pc_column_fh(st, 3, &out->fh), b = pc_column_fh(st, 4, &out->parent),
        c = pc_column_fh(st, 6, &out->parent2);
    pc_column_bytes(st, 5, out->name, sizeof out->name);
    pc_column_bytes(st, 7, out->name2, sizeof out->name2);
    sqlite3_reset(st);
    return a < 0 ? a : b < 0 ? b : c;
}
