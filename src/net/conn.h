#ifndef PC_NET_CONN_H
#define PC_NET_CONN_H
/*
 * Framed TLS connections (PROTOCOL.md 3.1) over a libevent loop, either side. Built for very many idle ones: an idle
 * connection holds its TLS state and a few hundred bytes, no buffers. Single-threaded: everything here belongs to the
 * thread that runs the loop.
 *
 * A set is all connections of one kind with their common limits, callbacks and counters. It looks at each of its
 * connections once a second (deadlines, silence, peers that do not take what they are sent); no connection has a timer
 * of its own.
 */
#include "base/err.h"
#include "net/outbox.h"
#include "wire/frame.h"

#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct pc_conn;
struct pc_conn_set;

/* Why a connection went down; counted by the set. */
enum pc_conn_end {
    PC_END_CLOSED,    /* the peer closed, or the network did */
    PC_END_LOCAL,     /* pc_conn_close */
    PC_END_TLS,       /* handshake or record failed */
    PC_END_SLOW,      /* handshake, first frame or taking what it is sent took too long */
    PC_END_SILENT,    /* nothing heard for too long */
    PC_END_MALFORMED, /* a frame that is none, or larger than allowed */
    PC_END_FLOOD,     /* more bytes than the rate allows */
    PC_END_REFUSED,   /* the owner of the set said so */
    PC_END_MEMORY,
    PC_ENDS
};
const char *pc_conn_end_name(enum pc_conn_end e);

struct pc_conn_ops {
    void (*up)(struct pc_conn *c); /* the handshake is done; may be NULL */
    /* body belongs to the connection until the function returns. The connection may be closed in here: nothing more is
     * handed out then. */
    void (*frame)(struct pc_conn *c, enum pc_frame_type type, const uint8_t *body, size_t len);
    void (*down)(struct pc_conn *c, enum pc_conn_end end,
                 const char *why);                /* last call for c; c is freed after it. May be NULL */
    void (*tick)(struct pc_conn *c, int64_t now); /* once a second, now in monotonic seconds; may be NULL */
};
/* 0 anywhere: no such limit. */
struct pc_conn_limits {
    uint32_t frame_max;         /* largest length of a frame from the peer */
    uint32_t handshake_s;       /* TCP accept or connect to end of handshake */
    uint32_t admit_s;           /* end of handshake to pc_conn_admit */
    uint32_t silence_s;         /* longest time with no byte from the peer */
    uint32_t stall_s;           /* longest time that a peer takes nothing of what is queued */
    uint64_t queue_max;         /* bytes queued for one peer */
    uint32_t rate_per_s, burst; /* bytes from the peer */
    uint32_t pending_max;       /* connections not admitted yet: no more are accepted while there are so many */
    uint32_t pending_per_address;
    uint32_t total_max;
};
struct pc_conn_counters {
    uint64_t accepted, refused_address, handshakes, frames_in, frames_out, bytes_in, bytes_out, ends[PC_ENDS],
        accept_failed;
    uint32_t open, pending;
};

/* *out: pc_conn_set_free. ctx is the TLS context of all of them (a reference is taken). -ENOMEM. */
int pc_conn_set_new(struct event_base *base, SSL_CTX *ctx, const struct pc_conn_ops *ops,
                    const struct pc_conn_limits *limits, void *user, struct pc_conn_set **out);
void pc_conn_set_free(struct pc_conn_set *s); /* closes all that are left; their down() is called */
void *pc_conn_set_user(const struct pc_conn_set *s);
const struct pc_conn_counters *pc_conn_set_counters(const struct pc_conn_set *s);
/* Another certificate for connections from now on. */
void pc_conn_set_context(struct pc_conn_set *s, SSL_CTX *ctx);

/* Accepts connections on a listening socket (its ownership goes over). When descriptors run out, it rests a second.
 * -ENOMEM. */
int pc_conn_listen(struct pc_conn_set *s, int listen_fd);
/* No new connections from now on. */
void pc_conn_stop_listening(struct pc_conn_set *s);
/* Dials; the result comes as up() or down(). name: what the certificate must be for. user: pc_conn_user. *out lives
 * until down(). -errno. */
int pc_conn_dial(struct pc_conn_set *s, const struct sockaddr *to, socklen_t to_len, const char *name, void *user,
                 struct pc_conn **out);

/* The peer has said who it is and is believed: it counts as pending no more. */
void pc_conn_admit(struct pc_conn *c);
/* Queues a frame (takes its own reference). 0, or PC_E_LIMIT: too much is queued (down() follows from the loop,
 * PC_END_SLOW); -ENOMEM; PC_E_STATE: it is going down. Never calls back. */
int pc_conn_send(struct pc_conn *c, struct pc_frame *f);
/* Makes and queues one. */
int pc_conn_send_body(struct pc_conn *c, enum pc_frame_type type, const void *body, size_t len);
/*
 * Stops reading from the peer, whose data then waits in the kernel, on both sides. For use in frame(): the frame that
 * is being handed out is not taken, it and what follows come with pc_conn_resume. The peer is not called silent
 * meanwhile; it can still be sent to.
 */
void pc_conn_hold(struct pc_conn *c);
/* Reads again; frames that are here already are handed out before it returns, so c may be closed then, or on hold. */
void pc_conn_resume(struct pc_conn *c);
/* Ends it from within or outside of callbacks; down() follows at once, c is gone when the loop is reached again. why:
 * for the log. */
void pc_conn_close(struct pc_conn *c, enum pc_conn_end end, const char *why);
bool pc_conn_closed(const struct pc_conn *c);
void *pc_conn_user(const struct pc_conn *c);
void pc_conn_set_user_of(struct pc_conn *c, void *user);
struct pc_conn_set *pc_conn_set_of(const struct pc_conn *c);
/* Raw Ed25519 key of the peer's certificate. PC_E_NOTFOUND. */
int pc_conn_peer_key(const struct pc_conn *c, uint8_t key[32]);
/* "ADDRESS:PORT" of the peer, or "?". */
void pc_conn_address(const struct pc_conn *c, char *out, size_t cap);
size_t pc_conn_queued(const struct pc_conn *c); /* bytes */
/* A listening TCP socket, CLOEXEC, non-blocking. host: numeric or a name; "" any. Descriptor or -errno. */
int pc_tcp_listen(const char *host, const char *port, int backlog, char *why, size_t why_len);
#endif
