/*
 * Owns fleet.db: opening, statements, transactions, single values. The tables of orders, envelopes and timers are
 * memory_orders.c and memory_lists.c. Must not know what an order means. SQLite's answers become our errors in one
 * place, because "no room" must reach the owner as that.
 */
#include "host/memory_internal.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS value(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS orders(sha256 TEXT PRIMARY KEY, id TEXT NOT NULL, action TEXT NOT NULL, class TEXT NOT "
    "NULL, outcome TEXT NOT NULL,"
    " state INTEGER NOT NULL, sequence INTEGER NOT NULL, run INTEGER NOT NULL, accepted INTEGER NOT NULL, started "
    "INTEGER NOT NULL,"
    " ended INTEGER NOT NULL, expires INTEGER NOT NULL, boot TEXT NOT NULL, since_boot INTEGER NOT NULL, ring INTEGER "
    "NOT NULL,"
    " soak INTEGER NOT NULL, incidents INTEGER NOT NULL, ring_open INTEGER NOT NULL, envelope BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS orders_state ON orders(state, sequence);"
    "CREATE TABLE IF NOT EXISTS answer(sha256 TEXT NOT NULL REFERENCES orders(sha256) ON DELETE CASCADE, type INTEGER "
    "NOT NULL, envelope BLOB NOT NULL,"
    " PRIMARY KEY(sha256, type)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS halted(order_sha256 TEXT PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS revoked(fingerprint TEXT PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS outbox(number INTEGER PRIMARY KEY AUTOINCREMENT, type INTEGER NOT NULL, sha256 TEXT "
    "NOT NULL UNIQUE,"
    " envelope BLOB NOT NULL, keep INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS timer(number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, order_sha256 TEXT "
    "NOT NULL, boot TEXT NOT NULL,"
    " until_boot INTEGER NOT NULL, until INTEGER NOT NULL, made INTEGER NOT NULL, data TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS evidence(number INTEGER PRIMARY KEY, time INTEGER NOT NULL, ours TEXT NOT NULL, theirs "
    "TEXT NOT NULL, why TEXT NOT NULL);";

/* SQLite's answer as one of ours; words go to why */
static int memory_error(struct pc_memory_file *m, int rc)
{
    snprintf(m->why, sizeof m->why, "%s: %s", PC_FILE_NAME, sqlite3_errmsg(m->db));
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CONSTRAINT:
        return PC_E_STATE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PC_E_CORRUPT;
    case SQLITE_IOERR:
        return sqlite3_system_errno(m->db) == ENOSPC || sqlite3_system_errno(m->db) == EDQUOT ? -ENOSPC : -EIO;
    default:
        return -EIO;
    }
}

static int bind_one(sqlite3_stmt *s, int at, char type, va_list *ap)
{
    if (type == 'i')
        return sqlite3_bind_int64(s, at, va_arg(*ap, int64_t));
    const char *data = va_arg(*ap, const char *);
    if (type == 's')
        return sqlite3_bind_text(s, at, data, -1, SQLITE_TRANSIENT);
    return sqlite3_bind_blob64(s, at, data, va_arg(*ap, size_t), SQLITE_TRANSIENT);
}

static int memory_prepare(struct pc_memory_file *m, sqlite3_stmt **out, const char *sql, const char *types, va_list *ap)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(m->db, sql, -1, &s, NULL);
    for (int i = 0; rc == SQLITE_OK && types[i]; i++)
        rc = bind_one(s, i + 1, types[i], ap);
    if (rc != SQLITE_OK) {
        int r = memory_error(m, rc);
        sqlite3_finalize(s);
        return r;
    }
    *out = s;
    return 0;
}

int pc_memory_query(struct pc_memory_file *m, sqlite3_stmt **out, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int r = memory_prepare(m, out, sql, types, &ap);
    va_end(ap);
    return r;
}

int pc_memory_step(struct pc_memory_file *m, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : memory_error(m, rc);
}

int pc_memory_do(struct pc_memory_file *m, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s;
    va_list ap;
    va_start(ap, types);
    int r = memory_prepare(m, &s, sql, types, &ap);
    va_end(ap);
    if (r < 0)
        return r;
    r = pc_memory_step(m, s);
    sqlite3_finalize(s);
    return r < 0 ? r : 0;
}

int64_t pc_memory_count(struct pc_memory_file *m, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s;
    va_list ap;
    va_start(ap, types);
    int64_t r = memory_prepare(m, &s, sql, types, &ap);
    va_end(ap);
    if (r < 0)
        return r;
    r = pc_memory_step(m, s);
    if (r == 1)
        r = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return r;
}

int pc_memory_take_blob(sqlite3_stmt *s, int column, char **out, size_t *len)
{
    const void *data = sqlite3_column_blob(s, column);
    size_t n = (size_t)sqlite3_column_bytes(s, column);
    char *copy = malloc(n + 1);
    if (!copy)
        return -ENOMEM;
    if (n)
        memcpy(copy, data, n);
    copy[n] = 0;
    *out = copy;
    *len = n;
    return 0;
}

int pc_memory_one_blob(struct pc_memory_file *m, const char *sql, const char *key, char **out, size_t *len)
{
    sqlite3_stmt *s;
    int r = pc_memory_query(m, &s, sql, "s", key);
    if (r < 0)
        return r;
    r = pc_memory_step(m, s);
    r = r == 1 ? pc_memory_take_blob(s, 0, out, len) : r == 0 ? PC_E_NOTFOUND : r;
    sqlite3_finalize(s);
    return r;
}

static int set_up(struct pc_memory_file *m, bool alone)
{
    /*
     * FULL: what was acknowledged is on the disk. The page limit keeps a runaway server from filling the host: 64 Ki
     * pages of 4 KiB.
     */
    static const char settings[] =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
        "PRAGMA journal_size_limit=4194304; PRAGMA max_page_count=65536; PRAGMA busy_timeout=5000;";
    int rc = alone ? sqlite3_exec(m->db, "PRAGMA locking_mode=EXCLUSIVE;", NULL, NULL, NULL) : SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(m->db, settings, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(m->db, schema, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : memory_error(m, rc);
}

static int open_file(const char *dir, bool alone, struct pc_memory_file **out, char *why, size_t why_len)
{
    struct pc_memory_file *m = calloc(1, sizeof *m);
    char path[4200];
    if (!m)
        return -ENOMEM;
    snprintf(path, sizeof path, "%s/" PC_FILE_NAME, dir);
    mode_t old = umask(077);
    int rc = sqlite3_open_v2(path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, NULL);
    int r = rc == SQLITE_OK ? set_up(m, alone) : memory_error(m, rc);
    umask(old);
    if (r < 0) {
        snprintf(why, why_len, "%s", m->why);
        pc_memory_close(m);
        return r;
    }
    *out = m;
    return 0;
}

/*
 * On a full disk SQLite cannot make the file in which it shares its index with others (fleet.db-shm). Alone it needs
 * none: a host that comes up with a full disk has to keep its stops and to be reachable.
 */
int pc_memory_open(const char *dir, struct pc_memory_file **out, char *why, size_t why_len)
{
    int r = open_file(dir, false, out, why, why_len);
    return r == -ENOSPC ? open_file(dir, true, out, why, why_len) : r;
}

void pc_memory_close(struct pc_memory_file *m)
{
    if (!m)
        return;
    sqlite3_close(m->db);
    free(m);
}

int pc_memory_begin(struct pc_memory_file *m)
{
    return pc_memory_do(m, "BEGIN IMMEDIATE", "");
}

int pc_memory_end(struct pc_memory_file *m, int r)
{
    if (r >= 0)
        r = pc_memory_do(m, "COMMIT", "");
    if (r < 0 && !sqlite3_get_autocommit(m->db)) /* SQLite takes a transaction back by itself when the disk is full */
        (void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

int pc_memory_put(struct pc_memory_file *m, const char *name, const void *value, size_t len)
{
    return pc_memory_do(m, "INSERT INTO value VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value", "sb",
                        name, value, len);
}

int pc_memory_get(struct pc_memory_file *m, const char *name, char **value, size_t *len)
{
    return pc_memory_one_blob(m, "SELECT value FROM value WHERE name=?", name, value, len);
}

int pc_memory_put_number(struct pc_memory_file *m, const char *name, uint64_t value)
{
    return pc_memory_do(m, "INSERT INTO value VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value", "si",
                        name, (int64_t)value);
}

uint64_t pc_memory_number(struct pc_memory_file *m, const char *name)
{
    int64_t v = pc_memory_count(m, "SELECT value FROM value WHERE name=?", "s", name);
    return v < 0 ? 0 : (uint64_t)v;
}

int pc_memory_forget_log(struct pc_memory_file *m)
{
    return pc_memory_do(m, "DELETE FROM value WHERE name IN ('checkpoint','checkpoint-note')", "");
}

int pc_memory_forget(struct pc_memory_file *m)
{
    static const char *const tables[] = {
        "DELETE FROM orders", "DELETE FROM halted", "DELETE FROM outbox", "DELETE FROM revoked",
        "DELETE FROM value WHERE name IN ('checkpoint','checkpoint-note','sequence','statement')"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < PC_ARRAY_SIZE(tables); i++)
        r = pc_memory_do(m, tables[i], "");
    return r;
}
