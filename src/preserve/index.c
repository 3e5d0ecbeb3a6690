/*
 * Owns the SQLite connection: opening, damage check, schema, prepared statements, transactions, checkpoints. Must not
 * know what the rows mean. One thread only.
 */
#include "preserve/index.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 1, COMMIT_ROWS = 2048, WAL_MAX_PAGES = 16384 };
#define COMMIT_NS (50 * PC_NS_PER_MS)

static const char schema[] =
    "CREATE TABLE setting(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE volume(id INTEGER PRIMARY KEY, ident TEXT UNIQUE, mount BLOB, fs TEXT, files INT DEFAULT 0,"
    " versions INT DEFAULT 0, objects INT DEFAULT 0, bytes INT DEFAULT 0, superseded INT DEFAULT 0,"
    " evicted INT DEFAULT 0);"
    "CREATE TABLE file(id INTEGER PRIMARY KEY, vol INT, fh BLOB, parent BLOB, name BLOB, creator INT, current INT,"
    " link INT, gone INT);"
    "CREATE UNIQUE INDEX file_fh ON file(vol,fh);"
    "CREATE INDEX file_name ON file(vol,parent,name);"
    "CREATE TABLE version(id INTEGER PRIMARY KEY, file INT, vol INT, object INT, how INT, packed INT, actor INT,"
    " time INT, mode INT, size INT, alloc INT, mtime INT, ctime INT, retired INT, retired_by INT, meta BLOB);"
    "CREATE INDEX version_file ON version(file);"
    "CREATE INDEX version_object ON version(object) WHERE object<>0;"
    "CREATE INDEX version_retired ON version(vol,retired) WHERE retired>0;"
    "CREATE INDEX version_retired_by ON version(vol,retired_by) WHERE retired_by>0;"
    "CREATE TABLE prefix(version INTEGER PRIMARY KEY, seed INT, hash BLOB);"
    "CREATE TABLE act(id INTEGER PRIMARY KEY, time INT, actor INT, incident INT, op INT, dir INT, vol INT, fh BLOB,"
    " parent BLOB, name BLOB, nparent BLOB, nname BLOB, before INT, score INT, evidence INT);"
    "CREATE INDEX act_actor ON act(actor);"
    "CREATE INDEX act_incident ON act(incident) WHERE incident>0;"
    "CREATE INDEX act_before ON act(before) WHERE before>0;"
    "CREATE INDEX act_fh ON act(vol,fh);"
    "CREATE INDEX act_folder ON act(vol,parent,name);"
    "CREATE TABLE process(id INTEGER PRIMARY KEY, parent INT, pid INT, uid INT, start INT, exe BLOB, argv BLOB,"
    " cgroup BLOB, user BLOB, sha BLOB);"
    "CREATE INDEX process_parent ON process(parent);"
    "CREATE INDEX process_pid ON process(pid);"
    "CREATE TABLE incident(id INTEGER PRIMARY KEY AUTOINCREMENT, started INT, verdict INT, frozen INT, closed INT,"
    " root INT, state INT, rolled INT, damaged INT, preserved INT, inflight INT, processes INT, summary BLOB);"
    "CREATE TABLE member(incident INT, process INT, PRIMARY KEY(incident,process)) WITHOUT ROWID;"
    "CREATE INDEX member_process ON member(process,incident);"
    "CREATE TABLE note(id INTEGER PRIMARY KEY, incident INT, time INT, text BLOB);"
    "CREATE INDEX note_incident ON note(incident);"
    "CREATE TABLE rollback(id INTEGER PRIMARY KEY AUTOINCREMENT, incident INT, started INT, finished INT, undone INT);"
    "CREATE TABLE journal(id INTEGER PRIMARY KEY AUTOINCREMENT, rollback INT, kind INT, vol INT, fh BLOB, parent BLOB,"
    " name BLOB, parent2 BLOB, name2 BLOB, aside INT, version INT, a INT, m INT);"
    "CREATE INDEX journal_rollback ON journal(rollback,id);"
    "CREATE INDEX journal_fh ON journal(vol,fh);";

#define PC_SQL_TEXT(name, text) text,
static const char *const texts[] = {PC_SQL_TABLE(PC_SQL_TEXT)};
#undef PC_SQL_TEXT

static int index_err(int rc)
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
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
        return -EACCES;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PC_E_CORRUPT;
    default:
        return -EIO;
    }
}

static int exec_sql(struct pc_index *ix, const char *sql)
{
    return index_err(sqlite3_exec(ix->db, sql, NULL, NULL, NULL));
}

static int read_int(struct pc_index *ix, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(ix->db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return index_err(rc);
}

/* The exclusive lock also keeps the WAL index on the heap: no shared memory file, no lock calls per statement. */
static int set_up(struct pc_index *ix)
{
    static const char pragmas[] = "PRAGMA locking_mode=EXCLUSIVE;PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
                                  "PRAGMA wal_autocheckpoint=0;PRAGMA cache_size=-2560;PRAGMA temp_store=FILE;"
                                  "PRAGMA mmap_size=0;PRAGMA journal_size_limit=67108864;PRAGMA trusted_schema=OFF;";
    int64_t version = 0;
    int r = exec_sql(ix, pragmas);
    if (r == 0)
        r = read_int(ix, "PRAGMA user_version", &version);
    if (r < 0)
        return r;
    if (version == SCHEMA_VERSION)
        return exec_sql(
            ix, "CREATE INDEX IF NOT EXISTS process_pid ON process(pid);" /* came later; nothing depends on it */
                "CREATE TABLE IF NOT EXISTS prefix(version INTEGER PRIMARY KEY, seed INT, hash BLOB);" /* so did this */
                "SELECT count(*) FROM volume; SELECT id FROM file LIMIT 1; SELECT id FROM version LIMIT 1;"
                "SELECT id FROM act LIMIT 1; SELECT id FROM journal LIMIT 1");
    if (version != 0)
        return PC_E_UNSUPPORTED; /* written by a newer Portcullis: never guess, never overwrite */
    r = exec_sql(ix, "BEGIN IMMEDIATE");
    if (r == 0)
        r = exec_sql(ix, schema);
    if (r == 0)
        r = exec_sql(ix, "PRAGMA user_version=1; COMMIT");
    return r;
}

static int open_once(struct pc_index *ix)
{
    int fd = open(ix->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    /* Its statistics take a lock at every allocation. Refused once SQLite is in use: then they are off already. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int rc =
        sqlite3_open_v2(ix->path, &ix->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (rc != SQLITE_OK)
        return index_err(rc);
    /* Per-connection slots of 1200 bytes are allocated up front otherwise; statements here are small. */
    sqlite3_extended_result_codes(ix->db, 1);
    return set_up(ix);
}

static int move_aside(struct pc_index *ix)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    uint64_t now = pc_real_ns() / PC_NS_PER_S;
    for (size_t i = 0; i < 3; i++) {
        char from[4200], to[4300];
        snprintf(from, sizeof from, "%s%s", ix->path, tails[i]);
        snprintf(to, sizeof to, "%s.damaged-%llu%s", ix->path, (unsigned long long)now, tails[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            return -errno;
    }
    return 0;
}

int pc_index_open(struct pc_index *ix, const char *path, bool *damaged)
{
    memset(ix, 0, sizeof *ix);
    if (strlen(path) >= sizeof ix->path)
        return PC_E_LIMIT;
    strcpy(ix->path, path);
    *damaged = false;
    int r = open_once(ix);
    if (r == PC_E_CORRUPT) {
        pc_index_close(ix);
        r = move_aside(ix);
        if (r == 0)
            r = open_once(ix);
        *damaged = r == 0;
    }
    if (r < 0)
        pc_index_close(ix);
    return r;
}

void pc_index_close(struct pc_index *ix)
{
    for (int i = 0; i < PC_SQL_COUNT; i++) {
        sqlite3_finalize(ix->st[i]);
        ix->st[i] = NULL;
    }
    sqlite3_close(ix->db);
    ix->db = NULL;
}

sqlite3_stmt *pc_index_stmt(struct pc_index *ix, enum pc_sql which, int *err)
{
    if (ix->st[which]) {
        sqlite3_reset(ix->st[which]);
        sqlite3_clear_bindings(ix->st[which]);
        return ix->st[which];
    }
    int rc = sqlite3_prepare_v3(ix->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, &ix->st[which], NULL);
    if (rc != SQLITE_OK) {
        *err = index_err(rc);
        return NULL;
    }
    return ix->st[which];
}

int pc_index_row(struct pc_index *ix, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : index_err(rc);
}

int pc_index_run(struct pc_index *ix, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return index_err(rc);
}

int pc_index_write(struct pc_index *ix)
{
    ix->pending++;
    /* SQLite itself rolls back on a full disk or an I/O error: ask it, keep no flag of our own. */
    if (!sqlite3_get_autocommit(ix->db))
        return 0;
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(ix, PC_SQL_BEGIN, &r);
    if (!st)
        return r;
    ix->pending = 1;
    ix->pending_ns = pc_mono_ns();
    return pc_index_run(ix, st);
}

int pc_index_put(struct pc_index *ix, enum pc_sql which, const uint64_t *values, int n)
{
    int r = pc_index_write(ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(ix, which, &r) : NULL;
    if (!st)
        return r;
    for (int i = 0; i < n; i++)
        pc_bind_u64(st, i + 1, values[i]);
    return pc_index_run(ix, st);
}

int pc_index_find(struct pc_index *ix, enum pc_sql which, uint64_t key, sqlite3_stmt **st)
{
    int r = 0;
    sqlite3_stmt *found = pc_index_stmt(ix, which, &r);
    if (!found)
        return r;
    pc_bind_u64(found, 1, key);
    r = pc_index_row(ix, found);
    if (r <= 0)
        return r == 0 ? PC_E_NOTFOUND : r;
    *st = found;
    return 0;
}

int pc_index_commit(struct pc_index *ix)
{
    ix->pending = 0;
    if (sqlite3_get_autocommit(ix->db))
        return 0;
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(ix, PC_SQL_COMMIT, &r);
    return st ? pc_index_run(ix, st) : r;
}

int pc_index_maybe_commit(struct pc_index *ix)
{
    if (ix->pending < COMMIT_ROWS && (ix->pending == 0 || pc_mono_ns() - ix->pending_ns < COMMIT_NS))
        return 0;
    int r = pc_index_commit(ix);
    return r == 0 ? pc_index_checkpoint(ix, false) : r;
}

int pc_index_checkpoint(struct pc_index *ix, bool force)
{
    if (!force) {
        /* The log's own size tells how many pages wait; asking costs one stat every few hundred rows. */
        char wal[4200];
        struct stat st;
        snprintf(wal, sizeof wal, "%s-wal", ix->path);
        if (stat(wal, &st) < 0 || st.st_size < (off_t)WAL_MAX_PAGES * 4096)
            return 0;
    }
    if (!sqlite3_get_autocommit(ix->db))
        return 0;
    return index_err(sqlite3_wal_checkpoint_v2(ix->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
}

void pc_bind_fh(sqlite3_stmt *st, int at, const struct pc_fh *fh)
{
    uint8_t raw[4 + PC_FH_MAX];
    uint32_t type = htole32((uint32_t)fh->type);
    if (fh->len == 0) {
        sqlite3_bind_null(st, at);
        return;
    }
    memcpy(raw, &type, 4);
    memcpy(raw + 4, fh->data, fh->len);
    sqlite3_bind_blob(st, at, raw, (int)(4 + fh->len), SQLITE_TRANSIENT);
}

int pc_column_fh(sqlite3_stmt *st, int at, struct pc_fh *out)
{
    struct pc_cur c;
    int n = sqlite3_column_bytes(st, at);
    const void *raw = sqlite3_column_blob(st, at);
    memset(out, 0, sizeof *out);
    if (n == 0)
        return 0;
    if (n < 4)
        return PC_E_CORRUPT;
    pc_cur_init(&c, raw, (size_t)n);
    int32_t type = (int32_t)pc_cur_u32(&c);
    return pc_fh_set(out, type, c.p, c.left) < 0 ? PC_E_CORRUPT : 0;
}

void pc_bind_bytes(sqlite3_stmt *st, int at, const char *text)
{
    sqlite3_bind_blob(st, at, text, (int)strlen(text), SQLITE_TRANSIENT);
}

void pc_column_bytes(sqlite3_stmt *st, int at, char *out, size_t cap)
{
    size_t n = (size_t)sqlite3_column_bytes(st, at);
    const void *p = sqlite3_column_blob(st, at);
    if (n >= cap)
        n = cap - 1;
    if (n)
        memcpy(out, p, n);
    out[n] = 0;
}
