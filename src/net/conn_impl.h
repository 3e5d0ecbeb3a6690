#ifndef PC_NET_CONN_IMPL_H
#define PC_NET_CONN_IMPL_H
/* What conn.c, conn_set.c and addresses.c share; nobody else includes it. */
#include "net/addresses.h"
#include "net/conn.h"

#include <event2/event_struct.h>
#include <event2/listener.h>

struct pc_conn {
    struct pc_conn *next, *prev;
    struct pc_conn_set *set;
    SSL *ssl;
    int fd;
    short events;
    bool up, admitted, pending, closed;
    bool held; /* not read from, until pc_conn_resume */
    enum pc_conn_end doom;          /* closed with this at the end of the turn; 0: no */
    uint8_t busy;                   /* calls on the stack that still use it */
    int64_t since, heard, progress; /* monotonic seconds */
    int64_t allowance;              /* bytes that the peer may send now */
    uint64_t address_hash;
    uint8_t *in; /* the beginning of a frame, when only that has come */
    size_t in_len, in_cap;
    struct pc_outbox out;
    void *user;
    struct pc_conn *next_flush;
    bool flushing; /* in the set's list of those to be written */
    struct event ev;
};

struct pc_conn_set {
    struct event_base *base;
    SSL_CTX *ctx;
    struct pc_conn_ops ops;
    struct pc_conn_limits limits;
    struct pc_conn_counters counters;
    struct pc_addresses addresses; /* of connections that are pending */
    void *user;
    struct evconnlistener *listener;
    bool listening;
    int64_t rest_until; /* no accepting before, monotonic seconds: descriptors ran out */
    struct event *timer, *flush_event;
    struct pc_conn *flush;
    int64_t now; /* monotonic seconds */
    struct pc_conn *first, *cursor;
};

/* Takes fd over on success. expect: whom we dial; NULL: we were dialled. -ENOMEM. */
int pc_conn_start(struct pc_conn_set *s, int fd, const char *expect, uint64_t address_hash, void *user,
                  struct pc_conn **out);
void pc_conn_flush(evutil_socket_t fd, short events, void *arg); /* writes what was queued */
void pc_conn_tick(struct pc_conn *c, int64_t now);
/* Accepting goes on when nothing forbids it. */
void pc_conn_set_listen_again(struct pc_conn_set *s);
#endif
