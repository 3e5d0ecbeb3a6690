/*
 * Owns waiting for PostgreSQL: how long for an answer, how long for a connection, and what happens then. Must not know
 * what is asked.
 */
#include "store/postgres_wait.h"

#include "base/clock.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#define ANSWER_MS 100000  /* patiently: the session's statement_timeout and lock_timeout end before */
#define CONNECT_MS 200    /* impatiently, at a time */
#define ATTEMPT_MS 10000  /* after that an attempt to connect begins anew */
#define REST 4            /* times as long as was waited in vain */
#define SHORT_MS 50       /* a wait that needs no rest */

static uint64_t in_ms(uint64_t now, uint64_t ms)
{
    return now + ms * PC_NS_PER_MS;
}

/* Until the socket can do what is wanted (poll's events), or the time is over: false. */
static bool wait_for(const PGconn *conn, short events, uint64_t until)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = events};
    for (uint64_t now = pc_mono_ns(); now < until; now = pc_mono_ns()) {
        int n = poll(&p, 1, (int)((until - now) / PC_NS_PER_MS) + 1);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true;
    }
    return false;
}

bool pc_postgres_rests(const struct pc_postgres_wait *w)
{
    return w->patience_ms && pc_mono_ns() < w->rest_until;
}

static void rest_since(struct pc_postgres_wait *w, uint64_t from)
{
    uint64_t now = pc_mono_ns();
    if (w->patience_ms && now - from > SHORT_MS * PC_NS_PER_MS)
        w->rest_until = now + REST * (now - from);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* What is still to be sent goes, or the connection's failure shows with the answer. */
static bool flush(PGconn *conn, uint64_t until)
{
    while (PQflush(conn) == 1) {
        if (!wait_for(conn, POLLIN | POLLOUT, until))
            return false;
        if (PQconsumeInput(conn) != 1)
            break;
    }
    return true;
}

/* Until PQgetResult need not wait. */
static bool until_there(PGconn *conn, uint64_t until)
{
    while (PQisBusy(conn)) {
        if (!wait_for(conn, POLLIN, until))
            return false;
        if (PQconsumeInput(conn) != 1)
            break;
    }
    return true;
}

static bool failed(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
}

PGresult *pc_postgres_answer(struct pc_postgres_wait *w, int sent)
{
    uint64_t from = pc_mono_ns(), until = in_ms(from, w->patience_ms ? w->patience_ms : ANSWER_MS);
    PGresult *last = NULL;
    w->late = false;
    if (!sent)
        return NULL;
    for (;;) {
        if (!w->late && !(flush(w->conn, until) && until_there(w->conn, until))) {
            /* The answer to this must never be taken for the next one's. */
            w->late = true;
            shutdown(PQsocket(w->conn), SHUT_RDWR);
        }
        PGresult *res = PQgetResult(w->conn);
        if (!res)
            break;
        PQclear(last);
        last = res;
    }
    if (!last || failed(last))
        rest_since(w, from);
    return last;
}

/* --- connections -------------------------------------------------------------------------------------------------- */

/* A part of connecting: what can be done in CONNECT_MS. */
static int go_on_connecting(struct pc_postgres_wait *w)
{
    uint64_t from = pc_mono_ns(), until = in_ms(from, CONNECT_MS);
    if (w->connecting && from > in_ms(w->began, ATTEMPT_MS))
        w->connecting = false;
    if (!w->connecting) {
        w->began = from;
        w->next = PQresetStart(w->conn) ? PGRES_POLLING_WRITING : PGRES_POLLING_FAILED;
        w->connecting = true;
    }
    while (w->next == PGRES_POLLING_READING || w->next == PGRES_POLLING_WRITING) {
        if (!wait_for(w->conn, w->next == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
            rest_since(w, from);
            return -EIO;
        }
        w->next = (int)PQresetPoll(w->conn);
    }
    w->connecting = false;
    if (w->next == PGRES_POLLING_OK)
        return 1;
    rest_since(w, from);
    return -EIO;
}

int pc_postgres_connect(struct pc_postgres_wait *w)
{
    if (!w->connecting && PQstatus(w->conn) == CONNECTION_OK)
        return 0;
    if (w->patience_ms)
        return go_on_connecting(w);
    PQreset(w->conn);
    return PQstatus(w->conn) == CONNECTION_OK ? 1 : -EIO;
}
