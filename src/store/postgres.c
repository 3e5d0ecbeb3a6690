/*
 * Owns the connection to PostgreSQL: connecting, prepared statements, transactions, notifications. Must not know what
 * rows mean. Several server processes share one database; what keeps them apart is in the statements and in
 * postgres_lock.
 *
 * Numbers and bytes travel in PostgreSQL's binary format: int8 big endian, text and bytea as they are.
 */
#include "store/db.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <string.h>

enum { OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25, PARAMS_MAX = 16 };
/* The one advisory lock of ours: appending to the log, and migrating. */
#define LOCK_KEY "7310583135"

struct postgres {
    struct pc_db base;
    PGconn *conn;
    bool prepared[PC_SQL_COUNT];
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
    keep_words(p, res ? PQresultErrorMessage(res) : PQerrorMessage(p->conn));
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

/* What every session of ours has: no statement and no lock may keep the server waiting for ever. */
static const char session[] = "SET client_encoding='UTF8'; SET statement_timeout='60s'; SET lock_timeout='30s';"
                              "SET idle_in_transaction_session_timeout='120s'; SET client_min_messages='warning';"
                              "SET default_transaction_isolation='read committed'";

static int script(struct postgres *p, const char *sql)
{
    _result_ PGresult *res = PQexec(p->conn, sql);
    return check(p, res);
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
    bool listening = p->listening;
    p->listening = false;
    int r = script(p, session);
    if (r == 0 && listening) {
        r = script(p, "LISTEN portcullis");
        p->listening = r == 0;
    }
    return r;
}

/* Connects anew when the connection is lost; only where no transaction can be open. */
static int ensure_connected(struct postgres *p)
{
    if (PQstatus(p->conn) == CONNECTION_OK)
        return 0;
    PQreset(p->conn);
    if (PQstatus(p->conn) != CONNECTION_OK)
        return failure(p, NULL);
    return start_session(p);
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
    _result_ PGresult *res = PQexec(p->conn, "COMMIT");
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

/* A set of parameters as libpq wants them. */
struct params {
    Oid type[PARAMS_MAX];
    const char *value[PARAMS_MAX];
    int length[PARAMS_MAX], format[PARAMS_MAX];
    uint64_t number[PARAMS_MAX];
};

static int set_params(struct params *to, const struct pc_value *values, size_t n)
{
    static const Oid types[] = {[PC_VALUE_INT] = OID_INT8, [PC_VALUE_TEXT] = OID_TEXT, [PC_VALUE_BLOB] = OID_BYTEA};
    if (n > PARAMS_MAX)
        return PC_E_LIMIT;
    for (size_t i = 0; i < n; i++) {
        const struct pc_value *v = &values[i];
        if (v->len > INT32_MAX)
            return PC_E_LIMIT;
        to->type[i] = types[v->type];
        to->format[i] = 1;
        to->number[i] = htobe64((uint64_t)v->number);
        to->value[i] = v->type == PC_VALUE_INT ? (const char *)&to->number[i] : v->len ? v->data : "";
        to->length[i] = v->type == PC_VALUE_INT ? 8 : (int)v->len;
    }
    return 0;
}

static int prepare(struct postgres *p, enum pc_sql which, const char *name, const struct params *params, size_t n)
{
    if (p->prepared[which])
        return 0;
    _result_ PGresult *res = PQprepare(p->conn, name, pc_sql_text(which), (int)n, params->type);
    int r = check(p, res);
    p->prepared[which] = r == 0;
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
    _result_ PGresult *res = PQexecPrepared(p->conn, name, (int)n, params->value, params->length, params->format, 1);
    int r = check(p, res);
    if (r < 0)
        return r;
    return each ? hand_out(p, res, each, ctx) : atoi(PQcmdTuples(res));
}

/*
 * Takes one answer out of the pipeline; changed rows are added to *total. After the first failure (r) the others only
 * say that they were skipped.
 */
static int pipeline_answer(struct postgres *p, int r, int *total)
{
    _result_ PGresult *res = PQgetResult(p->conn);
    if (r == 0)
        r = check(p, res);
    if (r == 0)
        *total += atoi(PQcmdTuples(res));
    /* Each answer is followed by a NULL. */
    if (res)
        PQclear(PQgetResult(p->conn));
    return r;
}

/* The pipeline's end: everything was answered, the connection is as before. */
static int pipeline_end(struct postgres *p)
{
    _result_ PGresult *res = PQgetResult(p->conn);
    return PQresultStatus(res) == PGRES_PIPELINE_SYNC && PQexitPipelineMode(p->conn) == 1 ? 0 : -EIO;
}

/* Rows that one pipeline carries: their answers must fit the sockets' buffers, or both sides would wait for each other.
 */
enum { PIPELINE_ROWS = 256 };

/*
 * Many rows for one statement without waiting for each answer: a log append is thousands of rows, and a round trip each
 * would be most of its cost.
 */
static int run_pipeline(struct postgres *p, const char *name, const struct pc_value *values, size_t n, size_t n_rows,
                        int *total)
{
    struct params params;
    if (PQenterPipelineMode(p->conn) != 1)
        return failure(p, NULL);
    size_t sent = 0;
    int r = 0;
    while (sent < n_rows && r == 0) {
        r = set_params(&params, values + sent * n, n);
        if (r == 0 && PQsendQueryPrepared(p->conn, name, (int)n, params.value, params.length, params.format, 1) != 1)
            r = failure(p, NULL);
        if (r == 0)
            sent++;
    }
    if (PQpipelineSync(p->conn) != 1)
        return failure(p, NULL);
    for (size_t i = 0; i < sent; i++)
        r = pipeline_answer(p, r, total);
    int e = pipeline_end(p);
    return r < 0 ? r : e;
}

static int run_many(struct postgres *p, const char *name, const struct pc_value *values, size_t n, size_t n_rows)
{
    int total = 0;
    for (size_t done = 0; done < n_rows;) {
        size_t now = n_rows - done < PIPELINE_ROWS ? n_rows - done : PIPELINE_ROWS;
        int r = run_pipeline(p, name, values + done * n, n, now, &total);
        if (r < 0)
            return r;
        done += now;
    }
    return total;
}

static int postgres_run(struct pc_db *db, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
                        pc_each_row *each, void *ctx)
{
    struct postgres *p = self(db);
    struct params params;
    char name[16];
    if (n_rows == 0)
        return 0;
    snprintf(name, sizeof name, "s%d", which);
    int r = in_transaction(p) ? 0 : ensure_connected(p);
    if (r == 0)
        r = set_params(&params, values, n);
    if (r == 0)
        r = prepare(p, which, name, &params, n);
    if (r < 0)
        return r;
    return n_rows == 1 ? run_once(p, name, &params, n, each, ctx) : run_many(p, name, values, n, n_rows);
}

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
    _result_ PGresult *res = PQexecParams(p->conn, "SELECT pg_notify('portcullis',$1)", 1, NULL, &text, NULL, NULL, 0);
    return check(p, res);
}

static int postgres_listen_fd(struct pc_db *db)
{
    struct postgres *p = self(db);
    if (!p->listening) {
        int r = in_transaction(p) ? PC_E_STATE : ensure_connected(p);
        if (r == 0)
            r = script(p, "LISTEN portcullis");
        if (r < 0)
            return r;
        p->listening = true;
    }
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
};

int pc_postgres_open(const char *url, struct pc_db **out, char *why, size_t why_len)
{
    /* The last ones cut a connection whose other end has vanished. The URL comes first and may say otherwise. */
    static const char *const keys[] = {"dbname",          "application_name", "connect_timeout",
                                       "keepalives_idle", "tcp_user_timeout", NULL};
    const char *const words[] = {url, "portcullis-server", "10", "30", "30000", NULL};
    struct postgres *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->base.ops = &postgres_ops;
    p->conn = PQconnectdbParams(keys, words, 1);
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
