/*
 * Owns sets of connections: accepting and dialling, limits on those that have not said who they are, the look at
 * everybody once a second. Must not know what a frame means. Connections live in conn.c.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "net/conn_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REST_S 1

static int64_t mono_s(void)
{
    return (int64_t)(pc_mono_ns() / PC_NS_PER_S);
}

/* The callback may close c, and through it others: the cursor is moved on by unlink_conn then. */
static void walk(struct pc_conn_set *s, void (*each)(struct pc_conn *c, void *ctx), void *ctx)
{
    struct pc_conn *outer = s->cursor;
    for (struct pc_conn *c = s->first; c; c = s->cursor) {
        s->cursor = c->next;
        each(c, ctx);
    }
    s->cursor = outer;
}

static void tick_one(struct pc_conn *c, void *ctx)
{
    pc_conn_tick(c, *(const int64_t *)ctx);
}

static void every_second(evutil_socket_t fd, short events, void *arg)
{
    struct pc_conn_set *s = arg;
    s->now = mono_s();
    walk(s, tick_one, &s->now);
    pc_conn_set_listen_again(s);
}

static void free_events(struct pc_conn_set *s)
{
    if (s->timer)
        event_free(s->timer);
    if (s->flush_event)
        event_free(s->flush_event);
}

int pc_conn_set_new(struct event_base *base, SSL_CTX *ctx, const struct pc_conn_ops *ops,
                    const struct pc_conn_limits *limits, void *user, struct pc_conn_set **out)
{
    struct pc_conn_set *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    *s = (struct pc_conn_set){.base = base, .ctx = ctx, .ops = *ops, .limits = *limits, .user = user, .now = mono_s()};
    s->timer = event_new(base, -1, EV_PERSIST, every_second, s);
    s->flush_event = event_new(base, -1, 0, pc_conn_flush, s);
    if (!s->timer || !s->flush_event || pc_addresses_init(&s->addresses) < 0) {
        free_events(s);
        free(s);
        return -ENOMEM;
    }
    SSL_CTX_up_ref(ctx);
    event_add(s->timer, &(struct timeval){.tv_sec = 1});
    *out = s;
    return 0;
}

static void close_one(struct pc_conn *c, void *ctx)
{
    pc_conn_close(c, PC_END_LOCAL, "shutting down");
}

void pc_conn_set_free(struct pc_conn_set *s)
{
    if (!s)
        return;
    pc_conn_stop_listening(s);
    walk(s, close_one, NULL);
    pc_conn_flush(-1, 0, s); /* lets go of those in its list */
    free_events(s);
    SSL_CTX_free(s->ctx);
    free(s);
}

void *pc_conn_set_user(const struct pc_conn_set *s)
{
    return s->user;
}

const struct pc_conn_counters *pc_conn_set_counters(const struct pc_conn_set *s)
{
    return &s->counters;
}

void pc_conn_set_context(struct pc_conn_set *s, SSL_CTX *ctx)
{
    SSL_CTX_up_ref(ctx);
    SSL_CTX_free(s->ctx);
    s->ctx = ctx;
}

/* --- accepting ------------------------------------------------------------------------------------------------------
 */

static bool full(const struct pc_conn_set *s)
{
    return (s->limits.pending_max && s->counters.pending >= s->limits.pending_max) ||
           (s->limits.total_max && s->counters.open >= s->limits.total_max);
}

static void pause_listening(struct pc_conn_set *s)
{
    if (s->listener && s->listening)
        evconnlistener_disable(s->listener);
    s->listening = false;
}

void pc_conn_set_listen_again(struct pc_conn_set *s)
{
    if (!s->listener || s->listening || s->now < s->rest_until || full(s))
        return;
    evconnlistener_enable(s->listener);
    s->listening = true;
}

static void options(int fd)
{
    int on = 1, idle = 120;
    /* Best effort: without them a stop is later by a few milliseconds, a dead peer is noticed by silence. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
}

static void accepted(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int from_len, void *arg)
{
    struct pc_conn_set *s = arg;
    struct pc_conn *c;
    s->counters.accepted++;
    uint64_t hash = pc_address_hash(&s->addresses, from);
    if (pc_addresses_enter(&s->addresses, hash, s->limits.pending_per_address) < 0) {
        s->counters.refused_address++;
        close(fd);
        return;
    }
    options(fd);
    if (pc_conn_start(s, fd, NULL, hash, NULL, &c) < 0) {
        pc_addresses_leave(&s->addresses, hash);
        s->counters.accept_failed++;
        close(fd);
    }
    if (full(s))
        pause_listening(s); /* the kernel's backlog waits in our place */
}

/* Out of descriptors or memory: the listener stays readable, so without a rest the loop would spin on it. */
static void accept_failed(struct evconnlistener *l, void *arg)
{
    struct pc_conn_set *s = arg;
    s->counters.accept_failed++;
    s->rest_until = s->now + REST_S + 1;
    pause_listening(s);
}

int pc_conn_listen(struct pc_conn_set *s, int listen_fd)
{
    s->listener = evconnlistener_new(s->base, accepted, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, listen_fd);
    if (!s->listener)
        return -ENOMEM;
    s->listening = true;
    evconnlistener_set_error_cb(s->listener, accept_failed);
    return 0;
}

void pc_conn_stop_listening(struct pc_conn_set *s)
{
    if (s->listener)
        evconnlistener_free(s->listener);
    s->listener = NULL;
}

int pc_tcp_listen(const char *host, const char *port, int backlog, char *why, size_t why_len)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    int ret = getaddrinfo(*host ? host : NULL, port, &hints, &list), on = 1, err = EADDRNOTAVAIL;
    if (ret) {
        snprintf(why, why_len, "%s:%s: %s", host, port, gai_strerror(ret));
        return -EINVAL;
    }
    _close_ int fd = -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, backlog) == 0)
            break;
        err = errno;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0)
        snprintf(why, why_len, "%s:%s: %s", host, port, strerror(err));
    return fd < 0 ? -err : TAKE_FD(fd);
}

/* --- dialling -------------------------------------------------------------------------------------------------------
 */

int pc_conn_dial(struct pc_conn_set *s, const struct sockaddr *to, socklen_t to_len, const char *name, void *user,
                 struct pc_conn **out)
{
    _close_ int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    options(fd);
    if (connect(fd, to, to_len) < 0 && errno != EINPROGRESS)
        return -errno;
    s->now = mono_s();
    int ret = pc_conn_start(s, fd, name, 0, user, out);
    if (ret == 0)
        (void)TAKE_FD(fd); /* the connection's now */
    return ret;
}
