/*
 * Owns the SQLite connection: opening, prepared statements, transactions, copies. Must not know what rows mean.
 *
 * WAL, so that readers (other connections of the server) never wait for the writer; synchronous=FULL, because what the
 * server acknowledged (an order, a report) must survive a power cut.
 */
#include "store/db.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

struct sqlite {
    struct pc_db base;
    sqlite3 *db;
    sqlite3_stmt *statement[PC_SQL_COUNT];
    bool busy[PC_SQL_COUNT]; /* in use further up the stack: a callback runs the same statement again */
};

static struct sqlite *self(struct pc_db *db)
{
    return (struct sqlite *)db;
}

/* SQLite's word as ours. Rows and the end of them are no errors. */
static int answer(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PC_E_CORRUPT;
    default:
        return -EIO;
    }
}

static const char *sqlite_error(struct pc_db *db)
{
    return sqlite3_errmsg(self(db)->db);
}

static int sqlite_script(struct pc_db *db, const char *sql)
{
    return answer(sqlite3_exec(self(db)->db, sql, NULL, NULL, NULL));
}

/* IMMEDIATE: whoever begins is going to write, and finding out at the first write could only fail. */
static int sqlite_begin(struct pc_db *db)
{
    return sqlite_script(db, "BEGIN IMMEDIATE");
}

static int sqlite_commit(struct pc_db *db)
{
    return sqlite_script(db, "COMMIT");
}

static int sqlite_rollback(struct pc_db *db)
{
    /* SQLite ends a transaction by itself after some errors. */
    return sqlite3_get_autocommit(self(db)->db) ? 0 : sqlite_script(db, "ROLLBACK");
}

/* --- statements --------------------------------------------------------------------------------------------------- */

/* SQLite numbers parameters ?1; $1 would be a name to it. */
static int prepare(struct sqlite *s, enum pc_sql which, sqlite3_stmt **out)
{
    char sql[2048];
    size_t n = strlen(pc_sql_text(which));
    if (n >= sizeof sql)
        return PC_E_LIMIT;
    for (size_t i = 0; i <= n; i++)
        sql[i] = pc_sql_text(which)[i] == '$' ? '?' : pc_sql_text(which)[i];
    return answer(sqlite3_prepare_v3(s->db, sql, (int)n, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

static int bind(sqlite3_stmt *st, const struct pc_value *values, size_t n)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        const struct pc_value *v = &values[i];
        int at = (int)i + 1;
        if (v->type == PC_VALUE_INT)
            rc = sqlite3_bind_int64(st, at, v->number);
        else if (v->type == PC_VALUE_TEXT)
            rc = sqlite3_bind_text64(st, at, v->data, v->len, SQLITE_STATIC, SQLITE_UTF8);
        else
            rc = sqlite3_bind_blob64(st, at, v->len ? v->data : "", v->len, SQLITE_STATIC);
    }
    return answer(rc);
}

/* Hands the rows to each; how many there were, or without each how many changed. */
static int step(struct sqlite *s, sqlite3_stmt *st, pc_each_row *each, void *ctx)
{
    int rows = 0, rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && each) {
        struct pc_row row = {.db = &s->base, .answer = st};
        rows++;
        int r = each(ctx, &row);
        if (r != 0)
            return r < 0 ? r : rows;
    }
    int r = answer(rc);
    return r < 0 ? r : each ? rows : sqlite3_changes(s->db);
}

static int sqlite_run(struct pc_db *db, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
                      pc_each_row *each, void *ctx)
{
    struct sqlite *s = self(db);
    bool mine = !s->busy[which];
    sqlite3_stmt *st = mine ? s->statement[which] : NULL;
    int r = st ? 0 : prepare(s, which, &st), total = 0;
    if (r < 0)
        return r;
    if (mine) {
        s->statement[which] = st;
        s->busy[which] = true;
    }
    for (size_t i = 0; i < n_rows && r >= 0; i++) {
        r = n > 0 ? bind(st, values + i * n, n) : 0;
        if (r == 0)
            r = step(s, st, each, ctx);
        if (r > 0)
            total += r;
        sqlite3_reset(st);
    }
    if (mine) {
        sqlite3_clear_bindings(st);
        s->busy[which] = false;
    } else {
        sqlite3_finalize(st);
    }
    return r < 0 ? r : total;
}

static int64_t sqlite_number(const struct pc_row *row, int column)
{
    return sqlite3_column_int64(row->answer, column);
}

static const void *sqlite_bytes(const struct pc_row *row, int column, size_t *len)
{
    /* As text, SQLite puts a NUL after a blob too. */
    const void *p = sqlite3_column_text(row->answer, column);
    *len = (size_t)sqlite3_column_bytes(row->answer, column);
    return p ? p : "";
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

/* Whoever began has the only lock there is. */
static int sqlite_lock(struct pc_db *db)
{
    (void)db;
    return 0;
}

static int sqlite_backup(struct pc_db *db, const char *path)
{
    /* VACUUM INTO accepts an empty file: this one is new, ours, and nobody else can read it. */
    _close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(self(db)->db, "VACUUM INTO ?1", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    int r = answer(rc);
    sqlite3_finalize(st);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r < 0)
        unlink(path);
    return r;
}

static int sqlite_listen_fd(struct pc_db *db)
{
    (void)db;
    return PC_E_UNSUPPORTED;
}

static int sqlite_heard(struct pc_db *db, int (*each)(void *ctx, const char *text), void *ctx)
{
    return 0;
}

static int sqlite_hasten(struct pc_db *db, uint32_t ms)
{
    return answer(sqlite3_busy_timeout(self(db)->db, (int)ms));
}

static void sqlite_close(struct pc_db *db)
{
    struct sqlite *s = self(db);
    for (int i = 0; i < PC_SQL_COUNT; i++)
        sqlite3_finalize(s->statement[i]);
    sqlite3_close(s->db);
    free(s);
}

static const struct pc_db_ops sqlite_ops = {
    .words = {.serial = "INTEGER PRIMARY KEY AUTOINCREMENT", .id = "INTEGER PRIMARY KEY", .blob = "BLOB"},
    .close = sqlite_close,
    .error = sqlite_error,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .script = sqlite_script,
    .run = sqlite_run,
    .number = sqlite_number,
    .bytes = sqlite_bytes,
    .lock = sqlite_lock,
    .backup = sqlite_backup,
    .listen_fd = sqlite_listen_fd,
    .heard = sqlite_heard,
    .hasten = sqlite_hasten,
};

static int set_up(struct sqlite *s, const char *path)
{
    /*
     * Made here and not by SQLite, so that nobody else can read it from its first moment on. Not with open: closing a
     * descriptor would drop the locks that another connection of this process has on the file.
     */
    if (mknod(path, S_IFREG | 0600, 0) < 0 && errno != EEXIST)
        return -errno;
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (rc != SQLITE_OK)
        return answer(rc);
    sqlite3_busy_timeout(s->db, 10000);
    return sqlite_script(&s->base, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF;"
                                   "PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-8192");
}

int pc_sqlite_open(const char *path, struct pc_db **out, char *why, size_t why_len)
{
    struct sqlite *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->base.ops = &sqlite_ops;
    int r = set_up(s, path);
    if (r < 0) {
        snprintf(why, why_len, "%s: %s", path, s->db ? sqlite3_errmsg(s->db) : pc_strerror(r));
        sqlite_close(&s->base);
        return r;
    }
    *out = &s->base;
    return 0;
}
