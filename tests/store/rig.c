/* Owns the database under test: an SQLite file in a folder of its own, or the PostgreSQL of with_postgres.sh. */
#include "rig.h"

#include "base/cleanup.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <sys/stat.h>

static bool postgres;
static char folder[64], where[512];

int rig_start(const char *kind)
{
    postgres = strcmp(kind, "postgres") == 0;
    const char *url = getenv("PC_POSTGRES");
    if (postgres && !url)
        return -1;
    snprintf(where, sizeof where, "%s", url ? url : "");
    return postgres || strcmp(kind, "sqlite") == 0 ? 0 : -1;
}

bool rig_is_postgres(void)
{
    return postgres;
}

static void sqlite_sql(const char *sql)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(rig_path("server.db"), &db) != SQLITE_OK || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void postgres_sql(const char *sql)
{
    PGconn *conn = PQconnectdb(where);
    PGresult *res = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(res);
    PQfinish(conn);
}

void rig_sql(const char *sql)
{
    postgres ? postgres_sql(sql) : sqlite_sql(sql);
}

const char *rig_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

struct pc_store *rig_again(void)
{
    struct pc_store *s = NULL;
    char why[256] = "";
    int r = pc_store_connect(where, &s, why, sizeof why);
    if (r < 0)
        fail_msg("%s: %s", pc_strerror(r), why);
    return s;
}

int rig_setup(void **state)
{
    strcpy(folder, "/tmp/pc-store-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    if (postgres)
        rig_sql("SET client_min_messages=error; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    else
        snprintf(where, sizeof where, "sqlite:%s", rig_path("server.db"));
    struct pc_store *s = rig_again();
    uint32_t version = 0;
    assert_int_equal(OP(s, migrate, &version), 0);
    assert_true(version >= 1);
    *state = s;
    return 0;
}

int rig_teardown(void **state)
{
    struct pc_store *s = *state;
    OP(s, close);
    _closedir_ DIR *dir = opendir(folder);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;)
        if (d->d_name[0] != '.')
            unlinkat(dirfd(dir), d->d_name, 0);
    return rmdir(folder);
}

void rig_hex(char *out, size_t digits, unsigned n)
{
    snprintf(out, digits + 1, "%0*x", (int)digits, n);
}

struct pc_store_host rig_host(unsigned n)
{
    struct pc_store_host h = {
        .enrolled = 1000 + n, .online = n % 2, .sequence = n, .checkpoint_size = 10 * (uint64_t)n};
    snprintf(h.name, sizeof h.name, "host-%04u", n);
    rig_hex(h.id, 32, n);
    memset(h.key, (int)n, sizeof h.key);
    memcpy(h.link_key, &n, sizeof n);
    strcpy(h.agent, "0.2.0");
    snprintf(h.address, sizeof h.address, "10.0.0.%u", n % 250);
    strcpy(h.server, n % 2 ? "server-1" : "");
    return h;
}

struct pc_store_order rig_order(unsigned n)
{
    struct pc_store_order o = {
        .sequence = n, .log_index = UINT64_MAX, .created = 1000 + n, .expires = 9000, .needed = 2};
    rig_hex(o.sha256, 64, n);
    rig_hex(o.id, 32, n);
    strcpy(o.action, "script.run");
    strcpy(o.class_, "C");
    strcpy(o.state, "waiting");
    return o;
}
