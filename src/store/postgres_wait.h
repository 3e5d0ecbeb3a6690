#ifndef PC_STORE_POSTGRES_WAIT_H
#define PC_STORE_POSTGRES_WAIT_H
#include <stdbool.h>
#include <stdint.h>

struct pg_conn; /* PGconn and PGresult of libpq */
struct pg_result;

/*
 * Waiting for PostgreSQL with an end: for an answer, for a connection. libpq's own functions that wait have none when
 * the other end takes what it is sent and says nothing.
 *
 * A patient connection (patience_ms 0) waits for an answer as long as the session's limits at the server allow, and a
 * little more. An impatient one is for a thread with other work: it waits patience_ms for an answer and CONNECT_MS at a
 * time for a connection, and when that was in vain it fails at once for four times as long as it waited.
 */
struct pc_postgres_wait {
    struct pg_conn *conn;
    uint32_t patience_ms;
    bool late; /* the last failure: no answer in time, and the connection was cut */
    bool connecting;
    int next;                   /* PostgresPollingStatusType, while connecting */
    uint64_t began, rest_until; /* pc_mono_ns: connecting; until when to fail at once */
};

/* Is it to fail at once? */
bool pc_postgres_rests(const struct pc_postgres_wait *w);
/*
 * The answer to what PQsend...() has sent (its value in sent), the last one when there are several: the caller's to
 * clear. NULL: none, the connection is lost. In nonblocking mode.
 */
struct pg_result *pc_postgres_answer(struct pc_postgres_wait *w, int sent);
/* Connects when there is no connection. 0: there is one; 1: a new one, its session is to be started; -EIO. Resolving a
 * host's name is not bounded. */
int pc_postgres_connect(struct pc_postgres_wait *w);
#endif
