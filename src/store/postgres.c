/*
 * Owns the connection to PostgreSQL: connecting, prepared statements, transactions, notifications. Must not know what
 * rows mean. Several server processes share one database; what keeps them apart is in the statements and in
 * postgres_lock.
 *
 * Numbers and bytes travel in PostgreSQL's binary format: int8 big endian, text and bytea as they are, many rows as an
 * array for each column.
 */
#include "store/db.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "store/postgres_wait.h"

#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <string.h>
#include <sys/socket.h>

enum { OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25, PARAMS_MAX = 16 };
enum { OID_BYTEA_ARRAY = 1001, OID_TEXT_ARRAY = 1009, OID_INT8_ARRAY = 1016 };
/* The one advisory lock of ours: appending to the log, and migrating. */
#define LOCK_KEY "7310583135"
#define ALIVE_S 30 /* how often a connection that only listens is asked whether it is alive */

struct postgres {
    struct pc_db base;
    PGconn *conn;
    struct pc_postgres_wait wait;
    uint64_t heard_at; /* pc_mono_ns: when the listening connection answered last */
    bool prepared[PC_SQL_COUNT];
    bool prepared_many[PC_SQL_COUNT]; /* in the form for many rows */
    bool listening;
    char why[256]; /* of the last failure; a PGconn forgets it at the next command */
};

static struct postgres *self(struct pc_db *db)
{
    return (struct postgres *)db;
}

static const char *postgres_error(struct pc_db *db)
{
    return self(db)->why;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void keep_words(struct postgres *p, const char *message)
{
    snprintf(p->why, sizeof p->why, "%s", message);
    size_t n = strcspn(p->why, "\n");
    p->why[n] = 0;
}

/* A failed answer as one of ours, by its SQLSTATE (PostgreSQL manual, appendix A). */
static int failure(struct postgres *p, const PGresult *res)
{
    static const struct {
        const char *state;
        int error;
    } table[] = {
        {"40", -EAGAIN},         /* serialization failure, deadlock */
        {"55P03", -EBUSY},       /* lock not available in time */
        {"57014", -EBUSY},       /* statement took too long */
        {"53100", -ENOSPC},      /* disk full */
        {"53200", -ENOMEM},      /* out of memory */
        {"XX001", PC_E_CORRUPT}, /* data corrupted */
        {"XX002", PC_E_CORRUPT}, /* index corrupted */
        {"22021", -EINVAL},      /* not UTF-8 */
    };
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    keep_words(p, p->wait.late ? "no answer in time" : res ? PQresultErrorMessage(res) : PQerrorMessage(p->conn));
    for (size_t i = 0; state && i < PC_ARRAY_SIZE(table); i++)
        if (strncmp(state, table[i].state, strlen(table[i].state)) == 0)
            return table[i].error;
    return -EIO;
}

static int check(struct postgres *p, const PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        return 0;
    default:
        return failure(p, res);
    }
}

static void clear_result(PGresult **res)
{
    PQclear(*res);
}
#define _result_ __attribute__((cleanup(clear_result)))

/* --- connection --------------------------------------------------------------------------------------------------- */

/*
 * What every session of ours has: no statement and no lock may keep the server waiting for ever. A process that stands
 * still inside a transaction holds the lock that all others append under: its session is ended by PostgreSQL.
 */
static const char session[] = "SET client_encoding='UTF8'; SET client_min_messages='warning';"
                              "SET idle_in_transaction_session_timeout='20s';"
                              "SET default_transaction_isolation='read committed'";

static int script(struct postgres *p, const char *sql)
{
    _result_ PGresult *res = pc_postgres_answer(&p->wait, PQsendQuery(p->conn, sql));
    return check(p, res);
}

/* An impatient connection's statement is to be ended there, before it is cut here. */
static int set_limits(struct postgres *p)
{
    char sql[128];
    uint32_t patience = p->wait.patience_ms;
    snprintf(sql, sizeof sql, "SET statement_timeout=%u; SET lock_timeout=%u", patience ? patience * 4 / 5 : 60000,
             patience ? patience * 4 / 5 : 30000);
    return script(p, sql);
}

/* Libraries do not print: notices are dropped (errors come with the result). */
static void drop_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

static int start_session(struct postgres *p)
{
    memset(p->prepared, 0, sizeof p->prepared);
    memset(p->prepared_many, 0, sizeof p->prepared_many);
    bool listening = p->listening;
    p->listening = false;
    if (PQsetnonblocking(p->conn, 1) != 0)
        return failure(p, NULL);
    int r = script(p, session);
    if (r == 0)
        r = set_limits(p);
    if (r == 0 && listening) {
        r = script(p, "LISTEN portcullis");
        p->listening = r == 0;
    }
    return r;
}

/* Connects anew when the connection is lost; only where no transaction can be open. */
static int ensure_connected(struct postgres *p)
{
    if (pc_postgres_rests(&p->wait))
        return -EBUSY; /* why keeps the words of what failed */
    p->wait.late = false;
    int r = pc_postgres_connect(&p->wait);
    if (r <= 0)
        return r < 0 ? failure(p, NULL) : 0;
    r = start_session(p);
    if (r < 0)
        shutdown(PQsocket(p->conn), SHUT_RDWR); /* half a session is none */
    return r;
}

static bool in_transaction(const struct postgres *p)
{
    PGTransactionStatusType t = PQtransactionStatus(p->conn);
    return t == PQTRANS_INTRANS || t == PQTRANS_INERROR;
}

static int postgres_begin(struct pc_db *db)
{
    struct postgres *p = self(db);
    int r = ensure_connected(p);
    return r < 0 ? r : script(p, "BEGIN");
}

static int postgres_commit(struct pc_db *db)
{
    struct postgres *p = self(db);
    _result_ PGresult *res = pc_postgres_answer(&p->wait, PQsendQuery(p->conn, "COMMIT"));
    int r = check(p, res);
    if (r < 0)
        return r;
    /* COMMIT of a transaction in which a statement failed succeeds, and is a rollback. */
    if (strcmp(PQcmdStatus(res), "COMMIT") != 0) {
        keep_words(p, "the transaction had failed before its end");
        return -EIO;
    }
    return 0;
}

static int postgres_rollback(struct pc_db *db)
{
    struct postgres *p = self(db);
    /* A lost connection rolled back by itself. */
    return in_transaction(p) ? script(p, "ROLLBACK") : 0;
}

static int postgres_script(struct pc_db *db, const char *sql)
{
    return script(self(db), sql);
}

/* --- statements --------------------------------------------------------------------------------------------------- */

/* What PostgreSQL calls the kinds of values, and arrays of them (its pg_type.dat). */
static const struct {
    const char *name;
    Oid element, array;
} kinds[] = {
    [PC_VALUE_INT] = {"int8", OID_INT8, OID_INT8_ARRAY},
    [PC_VALUE_TEXT] = {"text", OID_TEXT, OID_TEXT_ARRAY},
    [PC_VALUE_BLOB] = {"bytea", OID_BYTEA, OID_BYTEA_ARRAY},
};

/* A set of parameters as libpq wants them. */
struct params {
    Oid type[PARAMS_MAX];
    const char *value[PARAMS_MAX];
    int length[PARAMS_MAX], format[PARAMS_MAX];
    uint64_t number[PARAMS_MAX];
};

static int set_params(struct params *to, const struct pc_value *values, size_t n)
{
    if (n > PARAMS_MAX)
        return PC_E_LIMIT;
    for (size_t i = 0; i < n; i++) {
        const struct pc_value *v = &values[i];
        if (v->len > INT32_MAX)
            return PC_E_LIMIT;
        to->type[i] = kinds[v->type].element;
        to->format[i] = 1;
        to->number[i] = htobe64((uint64_t)v->number);
        to->value[i] = v->type == PC_VALUE_INT ? (const char *)&to->number[i] : v->len ? v->data : "";
        to->length[i] = v->type == PC_VALUE_INT ? 8 : (int)v->len;
    }
    return 0;
}

static int prepare(struct postgres *p, bool *prepared, const char *name, const char *sql, const struct params *params,
                   size_t n)
{
    if (*prepared)
        return 0;
    _result_ PGresult *res = pc_postgres_answer(&p->wait, PQsendPrepare(p->conn, name, sql, (int)n, params->type));
    int r = check(p, res);
    *prepared = r == 0;
    return r;
}

static int hand_out(struct postgres *p, PGresult *res, pc_each_row *each, void *ctx)
{
    int rows = PQntuples(res);
    for (int i = 0; i < rows; i++) {
        struct pc_row row = {.db = &p->base, .answer = res, .number = i};
        int r = each(ctx, &row);
        if (r != 0)
            return r < 0 ? r : i + 1;
    }
    return rows;
}

static int run_once(struct postgres *p, const char *name, const struct params *params, size_t n, pc_each_row *each,
                    void *ctx)
{
    _result_ PGresult *res = pc_postgres_answer(
        &p->wait, PQsendQueryPrepared(p->conn, name, (int)n, params->value, params->length, params->format, 1));
    int r = check(p, res);
    if (r < 0)
        return r;
    return each ? hand_out(p, res, each, ctx) : atoi(PQcmdTuples(res));
}

/* --- many rows in one statement ----------------------------------------------------------------------------------- */

/*
 * Rows that one statement carries, and bytes that one column of them may have: what is built here and in the server is
 * bounded by that. Our largest value is a log entry, of 64 KiB.
 */
enum { MANY_ROWS = 512, COLUMN_MAX = 64 << 20 };

/* unnest($1::int8[],$2::text[],...): the rows. */
static void add_rows(struct pc_buf *out, const struct pc_value *values, size_t n)
{
    pc_buf_addf(out, "unnest(");
    for (size_t i = 0; i < n; i++)
        pc_buf_addf(out, "$%zu::%s[]%c", i + 1, kinds[values[i].type].name, i + 1 < n ? ',' : ')');
}

/* "INSERT ... VALUES($1,$2) ..." as "INSERT ... SELECT * FROM unnest($1::int8[],$2::text[]) ...". */
static bool many_inserts(const char *sql, const struct pc_value *values, size_t n, struct pc_buf *out)
{
    char part[16 + PARAMS_MAX * 4] = "";
    size_t len = (size_t)snprintf(part, sizeof part, " VALUES(");
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(part + len, sizeof part - len, "$%zu%c", i + 1, i + 1 < n ? ',' : ')');
    const char *at = strstr(sql, part);
    if (!at || strstr(at, " DO UPDATE ")) /* which may not change a row twice */
        return false;
    pc_buf_add(out, sql, (size_t)(at - sql));
    pc_buf_addf(out, " SELECT * FROM ");
    add_rows(out, values, n);
    pc_buf_add(out, at + len, strlen(at + len));
    return true;
}

/* The SQL with v.p1 for $1. */
static void add_columns(struct pc_buf *out, const char *sql, size_t len)
{
    for (size_t i = 0; i < len; i++)
        pc_buf_add(out, sql[i] == '$' ? "v.p" : sql + i, sql[i] == '$' ? 3 : 1);
}

/*
 * "UPDATE t SET a=$2 WHERE b=$1" as "UPDATE t SET a=v.p2 FROM unnest($1::text[],$2::int8[]) AS v(p1,p2) WHERE b=v.p1".
 */
static bool many_updates(const char *sql, const struct pc_value *values, size_t n, struct pc_buf *out)
{
    const char *at = strstr(sql, " WHERE ");
    if (!at)
        return false;
    add_columns(out, sql, (size_t)(at - sql));
    pc_buf_addf(out, " FROM ");
    add_rows(out, values, n);
    pc_buf_addf(out, " AS v(");
    for (size_t i = 0; i < n; i++)
        pc_buf_addf(out, "p%zu%c", i + 1, i + 1 < n ? ',' : ')');
    add_columns(out, at, strlen(at));
    return true;
}

/* The statement's form for many rows, which come as one array a column. false: it has none. */
static bool many_text(const char *sql, const struct pc_value *values, size_t n, struct pc_buf *out)
{
    bool has = strncmp(sql, "INSERT ", 7) == 0   ? many_inserts(sql, values, n, out)
               : strncmp(sql, "UPDATE ", 7) == 0 ? many_updates(sql, values, n, out)
                                                 : false;
    return has && !out->failed;
}

static int put_u32(struct pc_buf *b, uint32_t v)
{
    v = htobe32(v);
    return pc_buf_add(b, &v, sizeof v);
}

static int put_element(struct pc_buf *b, const struct pc_value *v)
{
    if (v->len > COLUMN_MAX)
        return PC_E_LIMIT;
    uint64_t number = htobe64((uint64_t)v->number);
    bool is_int = v->type == PC_VALUE_INT;
    size_t len = is_int ? sizeof number : v->len;
    int r = put_u32(b, (uint32_t)len);
    return r < 0 ? r : pc_buf_add(b, is_int ? (const void *)&number : v->data, len);
}

/*
 * One column of the rows as an array in PostgreSQL's binary format (its arrayfuncs.c, array_recv). n: values in a row.
 * -EINVAL: the column has values of several kinds.
 */
static int column_array(const struct pc_value *values, size_t n, size_t n_rows, struct pc_buf *out)
{
    const uint32_t dimensions = 1, nulls = 0, lower_bound = 1;
    const uint32_t head[] = {dimensions, nulls, kinds[values->type].element, (uint32_t)n_rows, lower_bound};
    int r = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(head) && r == 0; i++)
        r = put_u32(out, head[i]);
    for (size_t i = 0; i < n_rows && r == 0; i++)
        r = values[i * n].type == values->type ? put_element(out, &values[i * n]) : -EINVAL;
    return r;
}

static int set_arrays(struct params *to, struct pc_buf *columns, const struct pc_value *values, size_t n, size_t n_rows)
{
    for (size_t i = 0; i < n; i++) {
        int r = column_array(values + i, n, n_rows, &columns[i]);
        if (r < 0)
            return r;
        to->type[i] = kinds[values[i].type].array;
        to->format[i] = 1;
        to->value[i] = columns[i].data;
        to->length[i] = (int)columns[i].len;
    }
    return 0;
}

static int run_arrays(struct postgres *p, enum pc_sql which, const char *sql, const struct pc_value *values, size_t n,
                      size_t n_rows, pc_each_row *each, void *ctx)
{
    struct params params;
    struct pc_buf columns[PARAMS_MAX];
    char name[16];
    snprintf(name, sizeof name, "m%d", which);
    for (size_t i = 0; i < n; i++)
        pc_buf_init(&columns[i], COLUMN_MAX);
    int r = set_arrays(&params, columns, values, n, n_rows);
    if (r == 0)
        r = prepare(p, &p->prepared_many[which], name, sql, &params, n);
    if (r == 0)
        r = run_once(p, name, &params, n, each, ctx);
    for (size_t i = 0; i < n; i++)
        pc_buf_free(&columns[i]);
    return r;
}

static int run_one(struct postgres *p, enum pc_sql which, const struct pc_value *values, size_t n, pc_each_row *each,
                   void *ctx)
{
    struct params params;
    char name[16];
    snprintf(name, sizeof name, "s%d", which);
    int r = set_params(&params, values, n);
    if (r == 0)
        r = prepare(p, &p->prepared[which], name, pc_sql_text(which), &params, n);
    return r < 0 ? r : run_once(p, name, &params, n, each, ctx);
}

/*
 * An order has a row for each of its hosts, a log append thousands; a statement for each would be most of their cost.
 * Statements without a form for many rows run once a row.
 */
static int run_many(struct postgres *p, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
                    pc_each_row *each, void *ctx)
{
    _buf_free_ struct pc_buf sql;
    pc_buf_init(&sql, 4096);
    bool arrays = n > 0 && n <= PARAMS_MAX && many_text(pc_sql_text(which), values, n, &sql);
    size_t step = arrays ? MANY_ROWS : 1;
    int total = 0;
    for (size_t done = 0; done < n_rows; done += step) {
        size_t now = n_rows - done < step ? n_rows - done : step;
        int r = arrays ? run_arrays(p, which, sql.data, values + done * n, n, now, each, ctx)
                       : run_one(p, which, values + done * n, n, each, ctx);
        if (r < 0)
            return r;
        total += r;
    }
    return total;
}

static int postgres_run(struct pc_db *db, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
                        pc_each_row *each, void *ctx)
{
    struct postgres *p = self(db);
    if (n_rows == 0)
        return 0;
    int r = in_transaction(p) ? 0 : ensure_connected(p);
    if (r < 0)
        return r;
    return n_rows == 1 ? run_one(p, which, values, n, each, ctx) : run_many(p, which, values, n, n_rows, each, ctx);
}

/* --- answers' columns --------------------------------------------------------------------------------------------- */

static int64_t postgres_number(const struct pc_row *row, int column)
{
    const char *value = PQgetvalue(row->answer, row->number, column);
    if (PQgetlength(row->answer, row->number, column) == 8) {
        uint64_t v;
        memcpy(&v, value, sizeof v);
        return (int64_t)be64toh(v);
    }
    uint32_t v = 0;
    if (PQgetlength(row->answer, row->number, column) == 4)
        memcpy(&v, value, sizeof v);
    return (int32_t)be32toh(v);
}

static const void *postgres_bytes(const struct pc_row *row, int column, size_t *len)
{
    *len = (size_t)PQgetlength(row->answer, row->number, column);
    return PQgetvalue(row->answer, row->number, column);
}

/* --- several processes -------------------------------------------------------------------------------------------- */

static int postgres_lock(struct pc_db *db)
{
    return script(self(db), "SELECT pg_advisory_xact_lock(" LOCK_KEY ")");
}

static int postgres_backup(struct pc_db *db, const char *path)
{
    (void)path;
    keep_words(self(db), "a PostgreSQL database is copied with pg_dump");
    return PC_E_UNSUPPORTED;
}

static int postgres_notify(struct pc_db *db, const char *text)
{
    struct postgres *p = self(db);
    int r = in_transaction(p) ? 0 : ensure_connected(p);
    if (r < 0)
        return r;
    _result_ PGresult *res = pc_postgres_answer(
        &p->wait, PQsendQueryParams(p->conn, "SELECT pg_notify('portcullis',$1)", 1, NULL, &text, NULL, NULL, 0));
    return check(p, res);
}

static int postgres_listen_fd(struct pc_db *db)
{
    struct postgres *p = self(db);
    int r = in_transaction(p) ? PC_E_STATE : ensure_connected(p); /* which listens again, if it did */
    /* Whoever only listens would not notice that the other end has gone. */
    if (r == 0 && (!p->listening || pc_mono_ns() - p->heard_at > ALIVE_S * PC_NS_PER_S)) {
        r = script(p, "LISTEN portcullis");
        p->heard_at = pc_mono_ns();
    }
    if (r < 0)
        return r;
    p->listening = true;
    return PQsocket(p->conn);
}

static int postgres_heard(struct pc_db *db, int (*each)(void *ctx, const char *text), void *ctx)
{
    struct postgres *p = self(db);
    int r = 0;
    if (PQconsumeInput(p->conn) != 1)
        return failure(p, NULL);
    for (PGnotify *n; r == 0 && (n = PQnotifies(p->conn)) != NULL; PQfreemem(n))
        r = each(ctx, n->extra);
    return r < 0 ? r : 0;
}

static int postgres_hasten(struct pc_db *db, uint32_t ms)
{
    struct postgres *p = self(db);
    p->wait.patience_ms = ms;
    return set_limits(p);
}

static void postgres_close(struct pc_db *db)
{
    PQfinish(self(db)->conn);
    free(db);
}

static const struct pc_db_ops postgres_ops = {
    .words = {.serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", .id = "BIGINT PRIMARY KEY", .blob = "BYTEA"},
    .close = postgres_close,
    .error = postgres_error,
    .begin = postgres_begin,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .script = postgres_script,
    .run = postgres_run,
    .number = postgres_number,
    .bytes = postgres_bytes,
    .lock = postgres_lock,
    .backup = postgres_backup,
    .notify = postgres_notify,
    .listen_fd = postgres_listen_fd,
    .heard = postgres_heard,
    .hasten = postgres_hasten,
};

int pc_postgres_open(const char *url, struct pc_db **out, char *why, size_t why_len)
{
    /* Most of them cut a connection whose other end has vanished. The URL comes last and may say otherwise. */
    static const char *const keys[] = {"application_name",    "connect_timeout",  "keepalives_idle",
                                       "keepalives_interval", "keepalives_count", "tcp_user_timeout",
                                       "dbname",              NULL};
    const char *const words[] = {"portcullis-server", "10", "30", "10", "3", "30000", url, NULL};
    struct postgres *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->base.ops = &postgres_ops;
    p->conn = p->wait.conn = PQconnectdbParams(keys, words, 1);
    int r = -EIO;
    if (PQstatus(p->conn) == CONNECTION_OK) {
        PQsetNoticeReceiver(p->conn, drop_notice, NULL);
        r = start_session(p);
    } else {
        r = failure(p, NULL);
    }
    if (r < 0) {
        /* Not the URL: it may hold a password. */
        snprintf(why, why_len, "PostgreSQL: %s", p->why);
        postgres_close(&p->base);
        return r;
    }
    *out = &p->base;
    return 0;
}
