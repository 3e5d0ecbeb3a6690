/*
 * Owns HTTPS connections and their limits, around evhttp. Must not know any path or what a token is: whole requests go
 * to the program's handler, which answers them.
 *
 * evhttp accepts and frees connections by itself and tells nobody, so each connection's record hangs on its SSL object
 * and dies with it.
 */
#include "net/http.h"

#include "base/clock.h"
#include "net/addresses.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STREAM_QUEUE_MAX (1u << 20)
#define TAKEN_MIN (16u << 10) /* of an answer, within request_s: a slow line gets all of it, one that stalls does not */

struct record {
    struct record *next, *prev;
    struct pc_http *http;
    struct bufferevent *bev;
    uint64_t address; /* 0: not counted yet */
    int64_t since;    /* of the wait for a request */
    size_t left;      /* of the answer, then */
    bool hello, busy; /* ClientHello seen; a request is being answered */
};
struct pc_http {
    struct event_base *base;
    SSL_CTX *ctx;
    struct evhttp *evhttp;
    struct evconnlistener *listener;
    struct evhttp_bound_socket *bound;
    bool listening;
    struct event *timer;
    int64_t now, rest_until;
    struct pc_http_limits limits;
    struct pc_http_counters counters;
    struct pc_addresses addresses;
    pc_http_handler *handler;
    void *user;
    struct record *first;
};
struct pc_http_request {
    struct pc_http *http;
    struct evhttp_request *req;
    const char *body;
    size_t len;
    char path[1024];
};
struct pc_http_stream {
    struct pc_http *http;
    struct evhttp_request *req;
    void (*gone)(void *ctx);
    void *ctx;
};

static int64_t mono_s(void)
{
    return (int64_t)(pc_mono_ns() / PC_NS_PER_S);
}

/* --- records of connections ------------------------------------------------------------------------------------------
 */

static void record_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    struct record *r = ptr;
    if (!r)
        return;
    struct pc_http *h = r->http;
    pc_addresses_leave(&h->addresses, r->address);
    if (r->prev)
        r->prev->next = r->next;
    else
        h->first = r->next;
    if (r->next)
        r->next->prev = r->prev;
    h->counters.open--;
    free(r);
}

static int record_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, record_gone);
    return index;
}

static struct record *record_of(struct evhttp_request *req)
{
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    struct bufferevent *bev = conn ? evhttp_connection_get_bufferevent(conn) : NULL;
    SSL *ssl = bev ? bufferevent_openssl_get_ssl(bev) : NULL;
    return ssl ? SSL_get_ex_data(ssl, record_index()) : NULL;
}

/* Counts the connection for its address, once its socket is known. false: one too many. */
static bool count_address(struct record *r)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    if (r->address)
        return true;
    if (getpeername(bufferevent_getfd(r->bev), (struct sockaddr *)&from, &len) < 0)
        return false;
    uint64_t hash = pc_address_hash(&r->http->addresses, (struct sockaddr *)&from);
    if (pc_addresses_enter(&r->http->addresses, hash, r->http->limits.per_address) < 0) {
        r->http->counters.refused_address++;
        return false;
    }
    r->address = hash;
    return true;
}

/* The earliest moment at which a connection has an address and has cost nothing yet. */
static int client_hello(SSL *ssl, int *alert, void *arg)
{
    struct record *r = SSL_get_ex_data(ssl, record_index());
    if (r && count_address(r)) {
        r->hello = true;
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

static void pause_at_limit(struct pc_http *h)
{
    if (!h->listening || !h->limits.connections || h->counters.open < h->limits.connections)
        return;
    evconnlistener_disable(h->listener);
    h->listening = false;
}

static struct bufferevent *new_connection(struct event_base *base, void *arg)
{
    struct pc_http *h = arg;
    struct record *r = calloc(1, sizeof *r);
    SSL *ssl = SSL_new(h->ctx);
    struct bufferevent *bev = r && ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                                        BEV_OPT_CLOSE_ON_FREE)
                                       : NULL;
    if (!bev) {
        /* evhttp makes one without TLS then; on_request turns away what has no record. */
        SSL_free(ssl);
        free(r);
        return NULL;
    }
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    *r = (struct record){.http = h, .bev = bev, .since = h->now, .next = h->first};
    if (h->first)
        h->first->prev = r;
    h->first = r;
    h->counters.open++;
    SSL_set_ex_data(ssl, record_index(), r);
    pause_at_limit(h);
    return bev;
}

static void accept_failed(struct evconnlistener *l, void *arg)
{
    struct pc_http *h = arg;
    h->counters.accept_failed++;
    h->rest_until = h->now + 2;
    evconnlistener_disable(l);
    h->listening = false;
}

/* evhttp notices the end of the stream and frees the connection its own way. */
static void cut(struct record *r)
{
    int fd = bufferevent_getfd(r->bev);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

/* Whoever still takes the last answer is not late with the next request. */
static void see_progress(struct record *r, int64_t now)
{
    size_t left = evbuffer_get_length(bufferevent_get_output(r->bev));
    if (left < r->left && (left == 0 || r->left - left >= TAKEN_MIN))
        r->since = now;
    else if (left <= r->left)
        return;
    r->left = left;
}

static void every_second(evutil_socket_t fd, short events, void *arg)
{
    struct pc_http *h = arg;
    h->now = mono_s();
    for (struct record *r = h->first; r; r = r->next) {
        see_progress(r, h->now);
        int64_t waited = h->now - r->since;
        if (r->busy || waited <= (r->hello ? h->limits.request_s : h->limits.hello_s))
            continue;
        h->counters.timeouts++;
        cut(r);
    }
    bool room = !h->limits.connections || h->counters.open < h->limits.connections;
    if (h->listener && !h->listening && room && h->now >= h->rest_until) {
        evconnlistener_enable(h->listener);
        h->listening = true;
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------
 */

static void on_request(struct evhttp_request *req, void *arg);

static int set_up(struct pc_http *h, int listen_fd)
{
    h->evhttp = evhttp_new(h->base);
    h->timer = event_new(h->base, -1, EV_PERSIST, every_second, h);
    h->listener = evconnlistener_new(h->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, listen_fd);
    if (!h->evhttp || !h->timer || !h->listener || pc_addresses_init(&h->addresses) < 0)
        return -ENOMEM;
    evhttp_set_allowed_methods(h->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    evhttp_set_max_body_size(h->evhttp, h->limits.body_max);
    evhttp_set_max_headers_size(h->evhttp, h->limits.headers_max);
    evhttp_set_timeout(h->evhttp, (int)h->limits.request_s);
    evhttp_set_bevcb(h->evhttp, new_connection, h);
    evhttp_set_gencb(h->evhttp, on_request, h);
    h->bound = evhttp_bind_listener(h->evhttp, h->listener);
    if (!h->bound)
        return -ENOMEM;
    evconnlistener_set_error_cb(h->listener, accept_failed);
    evconnlistener_enable(h->listener);
    h->listening = true;
    event_add(h->timer, &(struct timeval){.tv_sec = 1});
    return 0;
}

int pc_http_serve(struct event_base *base, SSL_CTX *ctx, int listen_fd, const struct pc_http_limits *limits,
                pc_http_handler *handler, void *user, struct pc_http **out)
{
    struct pc_http *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    *h = (struct pc_http){
        .base = base, .ctx = ctx, .limits = *limits, .handler = handler, .user = user, .now = mono_s()};
    SSL_CTX_up_ref(ctx);
    SSL_CTX_set_client_hello_cb(ctx, client_hello, NULL);
    int ret = set_up(h, listen_fd);
    if (ret < 0) {
        pc_http_end(h);
        return ret;
    }
    *out = h;
    return 0;
}

void pc_http_certificate(struct pc_http *h, SSL_CTX *ctx)
{
    SSL_CTX_up_ref(ctx);
    SSL_CTX_set_client_hello_cb(ctx, client_hello, NULL);
    SSL_CTX_free(h->ctx);
    h->ctx = ctx;
}

void pc_http_stop_listening(struct pc_http *h)
{
    if (h->bound)
        evhttp_del_accept_socket(h->evhttp, h->bound); /* frees the listener too */
    h->bound = NULL;
    h->listener = NULL;
}

void pc_http_end(struct pc_http *h)
{
    if (!h)
        return;
    if (h->listener && !h->bound)
        evconnlistener_free(h->listener);
    if (h->evhttp)
        evhttp_free(h->evhttp);
    if (h->timer)
        event_free(h->timer);
    SSL_CTX_free(h->ctx);
    free(h);
}

const struct pc_http_counters *pc_http_counters(const struct pc_http *h)
{
    return &h->counters;
}

/* --- requests --------------------------------------------------------------------------------------------------------
 */

static void on_request(struct evhttp_request *req, void *arg)
{
    struct pc_http *h = arg;
    struct record *rec = record_of(req);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    h->counters.requests++;
    struct pc_http_request *r = malloc(sizeof *r);
    if (!r || !rec || !path || strlen(path) >= sizeof r->path || *path != '/') {
        free(r);
        h->counters.status[4]++;
        evhttp_send_error(req, 400, "Bad Request");
        return;
    }
    rec->busy = true;
    /* evhttp's own limit is on silence, also while it writes; a request that does not come is every_second's. */
    bufferevent_set_timeouts(rec->bev, NULL, &(struct timeval){.tv_sec = h->limits.request_s});
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    *r = (struct pc_http_request){.http = h, .req = req, .len = evbuffer_get_length(in)};
    r->body = r->len ? (const char *)evbuffer_pullup(in, -1) : "";
    if (!r->body)
        r->len = 0;
    snprintf(r->path, sizeof r->path, "%s", path);
    h->handler(h->user, r);
}

bool pc_http_is_post(const struct pc_http_request *r)
{
    return evhttp_request_get_command(r->req) == EVHTTP_REQ_POST;
}

const char *pc_http_path(const struct pc_http_request *r)
{
    return r->path;
}

const char *pc_http_header(const struct pc_http_request *r, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(r->req), name);
}

bool pc_http_query(const struct pc_http_request *r, const char *name, char *out, size_t cap)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(r->req));
    struct evkeyvalq params;
    if (!query || evhttp_parse_query_str(query, &params) < 0)
        return false;
    const char *value = evhttp_find_header(&params, name);
    bool ok = value && strlen(value) < cap;
    if (ok)
        snprintf(out, cap, "%s", value);
    evhttp_clear_headers(&params);
    return ok;
}

const void *pc_http_body(const struct pc_http_request *r, size_t *len)
{
    *len = r->len;
    return r->body;
}

static void head(struct evhttp_request *req, const char *type, const char *extra)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    char name[64];
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    const char *colon = extra ? strchr(extra, ':') : NULL;
    if (colon && (size_t)(colon - extra) < sizeof name) {
        snprintf(name, sizeof name, "%.*s", (int)(colon - extra), extra);
        evhttp_add_header(headers, name, colon + 2);
    }
    if (!evhttp_find_header(headers, "Cache-Control"))
        evhttp_add_header(headers, "Cache-Control", "no-store");
}

static void answered(struct pc_http *h, struct evhttp_request *req)
{
    struct record *rec = record_of(req);
    if (rec) {
        rec->busy = false;
        rec->since = h->now;
    }
}

void pc_http_answer(struct pc_http_request *r, int status, const char *type, const char *extra, const void *data,
                    size_t len)
{
    struct pc_http *h = r->http;
    struct evhttp_request *req = r->req;
    free(r);
    if (status >= 0 && status < 600)
        h->counters.status[status / 100]++;
    head(req, type, extra);
    evbuffer_add(evhttp_request_get_output_buffer(req), data, len);
    answered(h, req);
    evhttp_send_reply(req, status, NULL, NULL);
}

void pc_http_answer_file(struct pc_http_request *r, const char *type, int fd, size_t len)
{
    struct pc_http *h = r->http;
    struct evhttp_request *req = r->req;
    if (len && evbuffer_add_file(evhttp_request_get_output_buffer(req), fd, 0, (ev_off_t)len) < 0) {
        close(fd);
        pc_http_answer(r, 500, "text/plain", NULL, "cannot read the file\n", 21);
        return;
    }
    if (!len)
        close(fd);
    free(r);
    h->counters.status[2]++;
    head(req, type, NULL);
    answered(h, req);
    evhttp_send_reply(req, 200, NULL, NULL);
}

/* --- streams ---------------------------------------------------------------------------------------------------------
 */

static void stream_gone(struct evhttp_connection *conn, void *arg)
{
    struct pc_http_stream *s = arg;
    s->http->counters.streams--;
    s->gone(s->ctx);
    free(s);
}

struct pc_http_stream *pc_http_stream(struct pc_http_request *r, const char *type, void (*gone)(void *ctx), void *ctx)
{
    struct pc_http *h = r->http;
    struct pc_http_stream *s = h->counters.streams < h->limits.streams ? malloc(sizeof *s) : NULL;
    if (!s) {
        static const char busy[] = "{\"error\":\"too many streams\"}\n";
        pc_http_answer(r, 503, "application/json", NULL, busy, sizeof busy - 1);
        return NULL;
    }
    *s = (struct pc_http_stream){.http = h, .req = r->req, .gone = gone, .ctx = ctx};
    h->counters.streams++;
    h->counters.status[2]++;
    free(r);
    head(s->req, type, NULL);
    evhttp_connection_set_closecb(evhttp_request_get_connection(s->req), stream_gone, s);
    evhttp_send_reply_start(s->req, 200, "OK");
    return s;
}

void pc_http_stream_send(struct pc_http_stream *s, const void *data, size_t len)
{
    struct record *rec = record_of(s->req);
    struct evbuffer *waiting = rec ? bufferevent_get_output(rec->bev) : NULL;
    if (!waiting || evbuffer_get_length(waiting) > STREAM_QUEUE_MAX) {
        s->http->counters.streams_dropped++;
        if (rec)
            cut(rec); /* stream_gone follows */
        return;
    }
    struct evbuffer *chunk = evbuffer_new();
    if (!chunk)
        return;
    if (evbuffer_add(chunk, data, len) == 0)
        evhttp_send_reply_chunk(s->req, chunk);
    evbuffer_free(chunk);
}
