#ifndef PC_NET_HTTP_H
#define PC_NET_HTTP_H
/*
 * HTTPS for the server's API: evhttp over bufferevent_openssl, with the limits that evhttp does not have (connections
 * per address, deadline for a whole request, rest when descriptors run out). One thread: the loop's. A request may be
 * answered at once or later; it must be answered.
 */
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_http;
struct pc_http_request;
struct pc_http_stream;

struct pc_http_limits {
    uint32_t body_max, headers_max;    /* bytes */
    uint32_t hello_s;                  /* from accept to the TLS ClientHello */
    /* From accept, or from the last answer, until the next whole request is in; a peer that takes 16 KiB of a long
     * answer within it has as long again. */
    uint32_t request_s;
    uint32_t connections, per_address; /* at a time; 0: no limit */
    uint32_t streams;                  /* at a time */
};
struct pc_http_counters {
    uint64_t requests, refused_address, timeouts, accept_failed, streams_dropped;
    uint64_t status[6]; /* [2]: answers 200..299, ... */
    uint32_t open, streams;
};
typedef void pc_http_handler(void *user, struct pc_http_request *r);

/* Takes over listen_fd (non-blocking). *out: pc_http_end. -ENOMEM. */
int pc_http_serve(struct event_base *base, SSL_CTX *ctx, int listen_fd, const struct pc_http_limits *limits,
                pc_http_handler *handler, void *user, struct pc_http **out);
/* Another certificate for connections from now on. */
void pc_http_certificate(struct pc_http *h, SSL_CTX *ctx);
void pc_http_stop_listening(struct pc_http *h);
void pc_http_end(struct pc_http *h); /* closes everything; requests not answered yet are gone */
const struct pc_http_counters *pc_http_counters(const struct pc_http *h);

/* All texts live until the request is answered. */
bool pc_http_is_post(const struct pc_http_request *r);
const char *pc_http_path(
    const struct pc_http_request *r); /* decoded nothing: as it came, without the query; starts with '/' */
const char *pc_http_header(const struct pc_http_request *r, const char *name); /* NULL: none */
/* A query parameter, decoded; false: none, or longer than cap - 1. */
bool pc_http_query(const struct pc_http_request *r, const char *name, char *out, size_t cap);
const void *pc_http_body(const struct pc_http_request *r, size_t *len);

/* Answers (the data is copied) and ends r. extra: "Name: value" of one more header, or NULL. */
void pc_http_answer(struct pc_http_request *r, int status, const char *type, const char *extra, const void *data,
                    size_t len);
/* Answers 200 with len bytes of an open file, which goes over. */
void pc_http_answer_file(struct pc_http_request *r, const char *type, int fd, size_t len);
/*
 * Answers with a stream (server-sent events), which lasts until the client goes; ends r. gone is called once, when the
 * client is gone or too slow. NULL: too many streams; 503 was answered.
 */
struct pc_http_stream *pc_http_stream(struct pc_http_request *r, const char *type, void (*gone)(void *ctx), void *ctx);
void pc_http_stream_send(struct pc_http_stream *s, const void *data, size_t len);
#endif
