/*
 * Owns the schema: all tables, the steps from one version to the next, and the statements' texts. A step that was
 * released is never edited; what changes afterwards is another step.
 */
#include "store/schema.h"

#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

#define PC_SQL_TEXT(name, text) text,
static const char *const texts[] = {PC_SQL_TABLE(PC_SQL_TEXT)};
#undef PC_SQL_TEXT

const char *pc_sql_text(enum pc_sql which)
{
    return texts[which];
}

/* {serial}, {id} and {blob} are words of the database at hand (db.h). */
static const char *const steps[] = {
    /* 1: the fleet */
    "CREATE TABLE setting(key TEXT PRIMARY KEY, value {blob} NOT NULL);"
    "CREATE TABLE token(sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, expires BIGINT NOT NULL,"
    " spent BIGINT NOT NULL);"
    "CREATE TABLE host(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, key {blob} NOT NULL,"
    " link_key {blob} NOT NULL UNIQUE, agent TEXT NOT NULL, address TEXT NOT NULL, enrolled BIGINT NOT NULL,"
    " last_seen BIGINT NOT NULL, online BIGINT NOT NULL, server TEXT NOT NULL, sequence BIGINT NOT NULL,"
    " checkpoint_size BIGINT NOT NULL, envelope {blob} NOT NULL);"
    "CREATE TABLE orders(sha256 TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, action TEXT NOT NULL, class TEXT NOT NULL,"
    " state TEXT NOT NULL, sequence BIGINT NOT NULL, log_index BIGINT NOT NULL, created BIGINT NOT NULL,"
    " expires BIGINT NOT NULL, needed BIGINT NOT NULL, hosts BIGINT NOT NULL, document {blob} NOT NULL);"
    "CREATE INDEX orders_created ON orders(created);"
    "CREATE TABLE approval(n {serial}, order_sha256 TEXT NOT NULL, signature_sha256 TEXT NOT NULL, text {blob} NOT "
    "NULL,"
    " UNIQUE(order_sha256,signature_sha256));"
    "CREATE TABLE order_host(order_sha256 TEXT NOT NULL, place BIGINT NOT NULL, host_id TEXT NOT NULL,"
    " host TEXT NOT NULL, state TEXT NOT NULL, why TEXT NOT NULL, outcome TEXT NOT NULL, ring BIGINT NOT NULL,"
    " exit BIGINT NOT NULL, changed BIGINT NOT NULL, PRIMARY KEY(order_sha256,place));"
    "CREATE UNIQUE INDEX order_host_host ON order_host(order_sha256,host_id);"
    "CREATE INDEX order_host_pending ON order_host(host_id) WHERE state IN ('queued','delivered');"
    "CREATE TABLE report(n {serial}, kind TEXT NOT NULL, key TEXT NOT NULL, host_id TEXT NOT NULL,"
    " sha256 TEXT NOT NULL, time BIGINT NOT NULL, envelope {blob} NOT NULL, UNIQUE(sha256,host_id));"
    "CREATE INDEX report_key ON report(key,kind,n);"
    "CREATE TABLE latest(host_id TEXT NOT NULL, action TEXT NOT NULL, envelope {blob} NOT NULL,"
    " PRIMARY KEY(host_id,action));"
    "CREATE TABLE event(n {serial}, host_id TEXT NOT NULL, time BIGINT NOT NULL, kind TEXT NOT NULL,"
    " text TEXT NOT NULL);"
    "CREATE INDEX event_host ON event(host_id,n);"
    "CREATE TABLE log_entry(n {id}, entry {blob} NOT NULL);"
    "CREATE TABLE log_node(level BIGINT NOT NULL, n BIGINT NOT NULL, hash {blob} NOT NULL, PRIMARY KEY(level,n));"
    "CREATE TABLE log_name(order_sha256 TEXT NOT NULL, type TEXT NOT NULL, n BIGINT NOT NULL,"
    " PRIMARY KEY(order_sha256,type));"
    "CREATE TABLE checkpoint(size {id}, text TEXT NOT NULL);",
    /* 2: orders that something may still become of, however many there were */
    "CREATE INDEX orders_open ON orders(sha256) WHERE state NOT IN ('done','halted','expired');",
};
#define VERSION (sizeof steps / sizeof steps[0])

/* Appends sql with the database's own words in it. */
static int add_words(struct pc_buf *b, const char *sql, const struct pc_db_ops *ops)
{
    for (const char *p = sql; *p;) {
        size_t plain = strcspn(p, "{");
        pc_buf_add(b, p, plain);
        p += plain;
        if (*p == 0)
            break;
        const char *word = p[1] == 'b' ? ops->words.blob : p[1] == 'i' ? ops->words.id : ops->words.serial;
        pc_buf_add(b, word, strlen(word));
        p = strchr(p, '}') + 1;
    }
    return b->failed ? -ENOMEM : 0;
}

static int read_version(void *ctx, const struct pc_row *row)
{
    *(int64_t *)ctx = row->db->ops->number(row, 0);
    return 0;
}

/* Inside a transaction that no other process can be in. */
static int run_steps(struct pc_db *db, uint32_t *version)
{
    int64_t have = -1;
    int r = db->ops->script(db, "CREATE TABLE IF NOT EXISTS schema_version(version BIGINT NOT NULL)");
    if (r == 0)
        r = db->ops->run(db, PC_SQL_SCHEMA_GET, NULL, 0, 1, read_version, &have);
    if (r >= 0 && have < 0)
        r = db->ops->script(db, "INSERT INTO schema_version(version) VALUES(0)");
    if (r < 0)
        return r;
    if (have > (int64_t)VERSION)
        return PC_E_UNSUPPORTED;
    for (size_t step = have < 0 ? 0 : (size_t)have; step < VERSION; step++) {
        _buf_free_ struct pc_buf sql;
        pc_buf_init(&sql, 1 << 16);
        r = add_words(&sql, steps[step], db->ops);
        if (r == 0)
            r = db->ops->script(db, sql.data);
        if (r < 0)
            return r;
    }
    r = db->ops->run(db, PC_SQL_SCHEMA_SET, PC_VALUES(pc_int((int64_t)VERSION)), 1, NULL, NULL);
    if (r < 0)
        return r;
    *version = VERSION;
    return 0;
}

int pc_schema_migrate(struct pc_db *db, uint32_t *version)
{
    uint32_t now = 0;
    int r = db->ops->begin(db);
    if (r < 0)
        return r;
    r = db->ops->lock(db);
    if (r == 0)
        r = run_steps(db, &now);
    if (r == 0)
        r = db->ops->commit(db);
    else
        db->ops->rollback(db);
    if (r == 0)
        *version = now;
    return r;
}
