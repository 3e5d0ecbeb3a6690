/*
 * Owns framed TLS connections: handshake, reading frames, writing those that wait (outbox.c), deadlines. Must not know
 * what a frame means: that is the set's owner's, who gets whole frames and hands whole frames in. Where connections
 * come from is conn_set.c.
 */
#include "net/conn.h"

#include "base/clock.h"
#include "net/conn_impl.h"
#include "net/tls.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fairness: what one connection may move before the others have their turn. */
#define READ_TURN (256u << 10)
#define WRITE_TURN (512u << 10)

static const char *const end_names[PC_ENDS] = {"closed",    "local", "tls",     "slow",  "silent",
                                               "malformed", "flood", "refused", "memory"};

const char *pc_conn_end_name(enum pc_conn_end e)
{
    return (unsigned)e < PC_ENDS ? end_names[e] : "?";
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static void ready(evutil_socket_t fd, short events, void *arg);

static void want(struct pc_conn *c, short events)
{
    if (c->held)
        events &= ~EV_READ;
    if (c->closed || c->events == events)
        return;
    c->events = events;
    event_del(&c->ev);
    event_assign(&c->ev, c->set->base, c->fd, (short)(events | EV_PERSIST), ready, c);
    if (events)
        event_add(&c->ev, NULL);
}

static void unlink_conn(struct pc_conn *c)
{
    struct pc_conn_set *s = c->set;
    if (s->cursor == c)
        s->cursor = c->next;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->counters.open--;
}

static void not_pending(struct pc_conn *c)
{
    if (!c->pending)
        return;
    c->pending = false;
    c->set->counters.pending--;
    pc_addresses_leave(&c->set->addresses, c->address_hash);
    pc_conn_set_listen_again(c->set);
}

/* c may still be on the stack of ready: it is freed when that returns, or here when nobody is in it. */
static void release(struct pc_conn *c)
{
    if (c->busy)
        return;
    free(c->in);
    free(c);
}

void pc_conn_close(struct pc_conn *c, enum pc_conn_end end, const char *why)
{
    if (c->closed)
        return;
    c->closed = true;
    event_del(&c->ev);
    c->set->counters.ends[end]++;
    not_pending(c);
    c->busy++;
    if (c->set->ops.down)
        c->set->ops.down(c, end, why ? why : pc_conn_end_name(end));
    c->busy--;
    unlink_conn(c);
    pc_outbox_clear(&c->out);
    if (c->up && end != PC_END_TLS)
        SSL_shutdown(c->ssl); /* tells the peer if that takes no waiting */
    SSL_free(c->ssl);
    ERR_clear_error();
    close(c->fd);
    c->ssl = NULL;
    c->fd = -1;
    release(c);
}

static void link_conn(struct pc_conn_set *s, struct pc_conn *c)
{
    c->pending = true;
    s->counters.pending++;
    s->counters.open++;
    c->next = s->first;
    if (s->first)
        s->first->prev = c;
    s->first = c;
}

int pc_conn_start(struct pc_conn_set *s, int fd, const char *expect, uint64_t address_hash, void *user,
                  struct pc_conn **out)
{
    struct pc_conn *c = calloc(1, sizeof *c);
    SSL *ssl = c ? SSL_new(s->ctx) : NULL;
    if (!ssl || SSL_set_fd(ssl, fd) != 1 || (expect && pc_tls_expect(ssl, expect) < 0)) {
        SSL_free(ssl);
        free(c);
        return -ENOMEM;
    }
    if (expect)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    *c = (struct pc_conn){.set = s,
                          .ssl = ssl,
                          .fd = fd,
                          .user = user,
                          .since = s->now,
                          .heard = s->now,
                          .progress = s->now,
                          .allowance = (int64_t)s->limits.burst,
                          .address_hash = address_hash,
                          .events = expect ? EV_READ | EV_WRITE : EV_READ};
    link_conn(s, c);
    event_assign(&c->ev, s->base, fd, (short)(c->events | EV_PERSIST), ready, c);
    event_add(&c->ev, NULL);
    *out = c;
    return 0;
}

void pc_conn_admit(struct pc_conn *c)
{
    c->admitted = true;
    not_pending(c);
}

/* --- reading --------------------------------------------------------------------------------------------------------
 */

static void tls_failed(struct pc_conn *c, int result)
{
    int e = SSL_get_error(c->ssl, result);
    char why[128];
    if (e == SSL_ERROR_ZERO_RETURN) {
        pc_conn_close(c, PC_END_CLOSED, "the peer closed the connection");
    } else if (e == SSL_ERROR_SYSCALL) {
        snprintf(why, sizeof why, "connection lost: %s", errno ? strerror(errno) : "end of stream");
        pc_conn_close(c, PC_END_CLOSED, why);
    } else {
        /* A stream that ends without TLS's own goodbye is what a crashed peer looks like. */
        bool eof = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
        pc_tls_error(why, sizeof why);
        pc_conn_close(c, eof ? PC_END_CLOSED : PC_END_TLS, why);
    }
}

/*
 * What was queued during this turn of the loop is written at its end, together: no poll registration for every frame,
 * and small frames share a record. The list holds c by its busy count.
 */
static void hold_for_flush(struct pc_conn *c)
{
    if (c->flushing || c->closed)
        return;
    c->flushing = true;
    c->busy++;
    c->next_flush = c->set->flush;
    if (!c->set->flush)
        event_active(c->set->flush_event, 0, 0);
    c->set->flush = c;
}

static void flush_later(struct pc_conn *c)
{
    if (!(c->events & EV_WRITE)) /* else it is written when the peer takes more */
        hold_for_flush(c);
}

/* true: try again later (and the events are set for it); false: the connection is closed. */
static bool wait_for(struct pc_conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        want(c, c->out.first && c->up ? EV_READ | EV_WRITE : EV_READ);
        return true;
    case SSL_ERROR_WANT_WRITE:
        want(c, EV_READ | EV_WRITE);
        return true;
    default:
        tls_failed(c, result);
        return false;
    }
}

static void handshake(struct pc_conn *c)
{
    errno = 0;
    int ret = SSL_do_handshake(c->ssl);
    if (ret != 1) {
        wait_for(c, ret);
        return;
    }
    c->up = true;
    c->since = c->heard = c->progress = c->set->now;
    c->set->counters.handshakes++;
    want(c, EV_READ);
    if (c->out.first)
        flush_later(c);
    if (c->set->ops.up)
        c->set->ops.up(c);
}

/*
 * Hands out whole frames at the front of data; returns the bytes used up. Stops when the connection is closed or held.
 */
static size_t take_frames(struct pc_conn *c, const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (!c->closed && !c->held) {
        enum pc_frame_type type;
        uint32_t body;
        int ret = pc_frame_peek(data + at, len - at, c->set->limits.frame_max, &type, &body);
        if (ret == -EAGAIN)
            return at;
        if (ret < 0) {
            pc_conn_close(c, PC_END_MALFORMED, ret == PC_E_LIMIT ? "frame too long" : "not a frame");
            return at;
        }
        if (len - at < PC_FRAME_HEAD + (size_t)body)
            return at;
        c->set->ops.frame(c, type, data + at + PC_FRAME_HEAD, body);
        if (c->held)
            return at;
        c->set->counters.frames_in++;
        at += PC_FRAME_HEAD + (size_t)body;
    }
    return at;
}

/* Keeps the beginning of a frame. The buffer grows with what has come, not with what the head promises. */
static int keep(struct pc_conn *c, const uint8_t *data, size_t len)
{
    if (c->in_len + len > c->in_cap) {
        size_t cap = c->in_cap ? c->in_cap * 2 : 1024;
        while (cap < c->in_len + len)
            cap *= 2;
        uint8_t *grown = realloc(c->in, cap);
        if (!grown)
            return -ENOMEM;
        c->in = grown;
        c->in_cap = cap;
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    return 0;
}

static void took(struct pc_conn *c, size_t used)
{
    c->in_len -= used;
    if (c->in_len)
        memmove(c->in, c->in + used, c->in_len);
    if (c->in_len == 0) {
        free(c->in); /* idle connections hold no buffer */
        c->in = NULL;
        c->in_cap = 0;
    }
}

static void take_kept(struct pc_conn *c)
{
    size_t used = take_frames(c, c->in, c->in_len);
    if (!c->closed)
        took(c, used);
}

static void received(struct pc_conn *c, const uint8_t *data, size_t len)
{
    c->heard = c->set->now;
    c->set->counters.bytes_in += len;
    if (c->set->limits.rate_per_s && (c->allowance -= (int64_t)len) < 0) {
        pc_conn_close(c, PC_END_FLOOD, "more bytes than the rate allows");
        return;
    }
    size_t used = c->in_len ? 0 : take_frames(c, data, len);
    if (c->closed || used == len)
        return;
    if (keep(c, data + used, len - used) < 0) {
        pc_conn_close(c, PC_END_MEMORY, "out of memory");
        return;
    }
    take_kept(c);
}

static void read_turn(struct pc_conn *c)
{
    uint8_t scratch[PC_OUTBOX_RECORD];
    for (size_t turn = 0; turn < READ_TURN && !c->closed && !c->held;) {
        errno = 0;
        int n = SSL_read(c->ssl, scratch, sizeof scratch);
        if (n <= 0) {
            wait_for(c, n);
            return;
        }
        turn += (size_t)n;
        received(c, scratch, (size_t)n);
    }
    /* Bytes that OpenSSL has decrypted already raise no event. */
    if (!c->closed && !c->held && SSL_pending(c->ssl))
        event_active(&c->ev, EV_READ, 0);
}

void pc_conn_hold(struct pc_conn *c)
{
    if (c->closed || c->held)
        return;
    c->held = true;
    want(c, c->events);
}

void pc_conn_resume(struct pc_conn *c)
{
    if (c->closed || !c->held)
        return;
    c->held = false;
    c->heard = c->set->now;
    c->busy++;
    if (c->in_len)
        take_kept(c);
    if (!c->closed && !c->held) {
        want(c, (short)(c->events | EV_READ));
        if (SSL_pending(c->ssl))
            event_active(&c->ev, EV_READ, 0);
    }
    c->busy--;
    if (c->closed)
        release(c);
}

/* --- writing --------------------------------------------------------------------------------------------------------
 */

static void write_turn(struct pc_conn *c)
{
    uint8_t record[PC_OUTBOX_RECORD];
    for (size_t turn = 0; c->out.first && turn < WRITE_TURN;) {
        const uint8_t *from;
        size_t len = pc_outbox_next(&c->out, record, &from);
        errno = 0;
        int n = SSL_write(c->ssl, from, len > INT32_MAX ? INT32_MAX : (int)len);
        if (n <= 0) {
            wait_for(c, n);
            return;
        }
        turn += (size_t)n;
        c->progress = c->set->now;
        c->set->counters.bytes_out += (size_t)n;
        c->set->counters.frames_out += pc_outbox_wrote(&c->out, (size_t)n);
    }
    want(c, c->out.first ? EV_READ | EV_WRITE : EV_READ);
}

/* Whoever sends may be in the middle of something that needs c: it ends when the loop is reached. */
static int doom(struct pc_conn *c, enum pc_conn_end end, int err)
{
    c->doom = end;
    hold_for_flush(c);
    return err;
}

int pc_conn_send(struct pc_conn *c, struct pc_frame *f)
{
    if (c->closed || c->doom)
        return PC_E_STATE;
    uint64_t max = c->set->limits.queue_max;
    if (max && c->out.bytes + f->len > max && c->out.first)
        return doom(c, PC_END_SLOW, PC_E_LIMIT);
    bool first = !c->out.first;
    if (pc_outbox_add(&c->out, f) < 0)
        return doom(c, PC_END_MEMORY, -ENOMEM);
    if (first)
        c->progress = c->set->now;
    if (c->up)
        flush_later(c);
    return 0;
}

int pc_conn_send_body(struct pc_conn *c, enum pc_frame_type type, const void *body, size_t len)
{
    struct pc_frame *f = pc_frame_new(type, body, len);
    if (!f)
        return c->closed ? PC_E_STATE : doom(c, PC_END_MEMORY, -ENOMEM);
    int ret = pc_conn_send(c, f);
    pc_frame_unref(f);
    return ret;
}

void pc_conn_flush(evutil_socket_t fd, short events, void *arg)
{
    struct pc_conn_set *s = arg;
    struct pc_conn *next = s->flush;
    s->flush = NULL;
    while (next) {
        struct pc_conn *c = next;
        next = c->next_flush;
        c->flushing = false;
        if (!c->closed && c->doom)
            pc_conn_close(c, c->doom, c->doom == PC_END_SLOW ? "does not take what it is sent" : "out of memory");
        else if (!c->closed && c->up && c->out.first)
            write_turn(c);
        c->busy--;
        if (c->closed)
            release(c);
    }
}

/* --- the loop's calls ------------------------------------------------------------------------------------------------
 */

static void ready(evutil_socket_t fd, short events, void *arg)
{
    struct pc_conn *c = arg;
    c->busy++;
    if (!c->up) {
        handshake(c);
    } else {
        if (events & EV_WRITE && c->out.first)
            write_turn(c);
        if (!c->closed && !c->held)
            read_turn(c);
    }
    c->busy--;
    if (c->closed)
        release(c);
}

/* Which deadline has passed, or PC_ENDS. */
static enum pc_conn_end overdue(const struct pc_conn *c, int64_t now)
{
    const struct pc_conn_limits *l = &c->set->limits;
    if (!c->up)
        return l->handshake_s && now - c->since > l->handshake_s ? PC_END_SLOW : PC_ENDS;
    if (!c->admitted && l->admit_s && now - c->since > l->admit_s)
        return PC_END_SLOW;
    if (c->out.first && l->stall_s && now - c->progress > l->stall_s)
        return PC_END_SLOW;
    return l->silence_s && !c->held && now - c->heard > l->silence_s ? PC_END_SILENT : PC_ENDS;
}

void pc_conn_tick(struct pc_conn *c, int64_t now)
{
    const struct pc_conn_limits *l = &c->set->limits;
    if (l->rate_per_s && c->allowance < (int64_t)l->burst) {
        c->allowance += l->rate_per_s;
        if (c->allowance > (int64_t)l->burst)
            c->allowance = l->burst;
    }
    enum pc_conn_end end = overdue(c, now);
    if (end != PC_ENDS)
        pc_conn_close(c, end, end == PC_END_SILENT ? "nothing heard for too long" : "took too long");
    else if (c->admitted && c->set->ops.tick)
        c->set->ops.tick(c, now);
}

/* --- questions ------------------------------------------------------------------------------------------------------
 */

bool pc_conn_closed(const struct pc_conn *c)
{
    return c->closed;
}

void *pc_conn_user(const struct pc_conn *c)
{
    return c->user;
}

void pc_conn_set_user_of(struct pc_conn *c, void *user)
{
    c->user = user;
}

struct pc_conn_set *pc_conn_set_of(const struct pc_conn *c)
{
    return c->set;
}

int pc_conn_peer_key(const struct pc_conn *c, uint8_t key[32])
{
    return c->ssl ? pc_tls_peer_key(c->ssl, key) : PC_E_NOTFOUND;
}

size_t pc_conn_queued(const struct pc_conn *c)
{
    return c->out.bytes;
}

void pc_conn_address(const struct pc_conn *c, char *out, size_t cap)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (c->fd < 0 || getpeername(c->fd, (struct sockaddr *)&from, &len) < 0 ||
        getnameinfo((struct sockaddr *)&from, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        snprintf(out, cap, "?");
        return;
    }
    snprintf(out, cap, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}
