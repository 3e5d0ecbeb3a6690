/* Connections and requests that exist only in memory: what src/net has, as far as the server calls it. */
#include "fake_net.h"

#include "server/command.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pc_conn_set the_set;

/* --- connections -------------------------------------------------------------------------------------------------- */

int pc_conn_set_new(struct event_base *base, SSL_CTX *ctx, const struct pc_conn_ops *ops, const struct pc_conn_limits *limits, void *user,
                    struct pc_conn_set **out)
{
    the_set = (struct pc_conn_set){.ops = *ops, .user = user};
    *out = &the_set;
    return 0;
}
void pc_conn_set_free(struct pc_conn_set *s)
{
    while (s && s->first)
        pc_conn_close(s->first, PC_END_LOCAL, "the end");
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
}
int pc_conn_listen(struct pc_conn_set *s, int listen_fd)
{
    return 0;
}
void pc_conn_stop_listening(struct pc_conn_set *s)
{
}
int pc_tcp_listen(const char *host, const char *port, int backlog, char *why, size_t why_len)
{
    abort();
}
void pc_conn_admit(struct pc_conn *c)
{
    c->admitted = true;
}
static void (*listener)(const struct pc_conn *c, enum pc_frame_type type, const char *body, size_t len);

void fake_listen(void (*heard)(const struct pc_conn *c, enum pc_frame_type type, const char *body, size_t len))
{
    listener = heard;
}

int pc_conn_send(struct pc_conn *c, struct pc_frame *f)
{
    enum pc_frame_type type;
    uint32_t body;
    if (c->closed)
        return PC_E_STATE;
    /* Nothing is said to a peer that was not believed yet, and everything said is a frame with JSON, or an empty one. */
    if (!c->admitted || pc_frame_peek(f->data, f->len, PC_FRAME_MAX_DOWN, &type, &body) < 0 || f->len != PC_FRAME_HEAD + body)
        abort();
    json_t *j = body ? json_loadb((const char *)f->data + PC_FRAME_HEAD, body, 0, NULL) : NULL;
    if (body && !json_is_object(j))
        abort();
    json_decref(j);
    c->sent[type]++;
    if (listener)
        listener(c, type, (const char *)f->data + PC_FRAME_HEAD, body);
    return 0;
}
int pc_conn_send_body(struct pc_conn *c, enum pc_frame_type type, const void *body, size_t len)
{
    struct pc_frame *f = pc_frame_new(type, body, len);
    int r = pc_conn_send(c, f);
    pc_frame_unref(f);
    return r;
}

static void forget(struct pc_conn *c)
{
    for (struct pc_conn **at = &c->set->first; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    for (struct waiting *w = c->waiting, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    c->waiting = NULL;
    if (c->slot)
        *c->slot = NULL;
    if (!c->busy)
        free(c);
}

void pc_conn_close(struct pc_conn *c, enum pc_conn_end end, const char *why)
{
    if (c->closed)
        return;
    if (!why)
        abort();
    c->closed = true;
    c->busy++;
    c->set->ops.down(c, end, why);
    c->busy--;
    forget(c);
}
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
    memcpy(key, c->key, 32);
    return 0;
}
void pc_conn_address(const struct pc_conn *c, char *out, size_t cap)
{
    snprintf(out, cap, "192.0.2.1:1");
}
size_t fake_queued;

size_t pc_conn_queued(const struct pc_conn *c)
{
    return fake_queued;
}
const char *pc_conn_end_name(enum pc_conn_end e)
{
    return "end";
}

void pc_conn_hold(struct pc_conn *c)
{
    c->held = true;
}

static void hand_out(struct pc_conn *c)
{
    c->busy++;
    while (c->waiting && !c->held && !c->closed) {
        struct waiting *w = c->waiting;
        c->set->ops.frame(c, w->type, w->body, w->len);
        if (c->closed || c->held)
            break;
        c->waiting = w->next;
        free(w);
    }
    c->busy--;
    if (c->closed && !c->busy)
        free(c);
}

void pc_conn_resume(struct pc_conn *c)
{
    if (!c->held)
        abort();
    c->held = false;
    hand_out(c);
}

struct pc_conn *fake_net_connect(const uint8_t key[32], unsigned host)
{
    struct pc_conn *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct pc_conn){.set = &the_set, .next = the_set.first, .host = host};
    memcpy(c->key, key, 32);
    the_set.first = c;
    return c;
}

void fake_frame(struct pc_conn *c, enum pc_frame_type type, const void *body, size_t len)
{
    struct waiting *w = malloc(sizeof *w + len), **at = &c->waiting;
    if (!w)
        abort();
    *w = (struct waiting){.type = type, .len = len};
    if (len)
        memcpy(w->body, body, len);
    while (*at)
        at = &(*at)->next;
    *at = w;
    if (!c->held)
        hand_out(c);
}

void fake_hang_up(struct pc_conn *c)
{
    pc_conn_close(c, PC_END_CLOSED, "the peer closed the connection");
}

void fake_tick(void)
{
    for (struct pc_conn *c = the_set.first, *next; c; c = next) {
        next = c->next;
        if (c->admitted)
            the_set.ops.tick(c, 0);
    }
}

unsigned fake_links(void)
{
    unsigned n = 0;
    for (const struct pc_conn *c = the_set.first; c; c = c->next)
        n++;
    return n;
}

bool fake_open(const struct pc_conn *c)
{
    for (const struct pc_conn *at = the_set.first; at; at = at->next)
        if (at == c)
            return true;
    return false;
}

unsigned fake_sent(const struct pc_conn *c, enum pc_frame_type type)
{
    return c->sent[type];
}

/* --- the command line, which nobody is at ------------------------------------------------------------------------- */

int pc_server_usage(const char *command)
{
    abort();
}
int pc_server_complain(const char *fmt, ...)
{
    abort();
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

bool pc_http_is_post(const struct pc_http_request *r)
{
    return r->post;
}
const char *pc_http_path(const struct pc_http_request *r)
{
    return r->path;
}
const char *pc_http_header(const struct pc_http_request *r, const char *name)
{
    return strcmp(name, "Authorization") == 0 && *r->authorization ? r->authorization : NULL;
}
bool pc_http_query(const struct pc_http_request *r, const char *name, char *out, size_t cap)
{
    for (const char *at = r->query; *at; at += strcspn(at, "&"), at += *at == '&') {
        size_t key = strcspn(at, "=&"), len = at[key] == '=' ? strcspn(at + key + 1, "&") : 0;
        if (key == strlen(name) && memcmp(at, name, key) == 0) {
            if (len >= cap)
                return false;
            memcpy(out, at + key + 1, len);
            out[len] = 0;
            return true;
        }
    }
    return false;
}
const void *pc_http_body(const struct pc_http_request *r, size_t *len)
{
    *len = r->len;
    return r->body;
}

static void answered(struct pc_http_request *r, int status)
{
    if (r->status || status < 200 || status > 599)
        abort();
    r->status = status;
}

void pc_http_answer(struct pc_http_request *r, int status, const char *type, const char *extra, const void *data, size_t len)
{
    if (strcmp(type, "application/json") == 0) {
        json_t *j = json_loadb(data, len, 0, NULL);
        if (!j || (status >= 400 && !json_is_string(json_object_get(j, "error"))))
            abort();
        json_decref(j);
    }
    answered(r, status);
}
void pc_http_answer_file(struct pc_http_request *r, const char *type, int fd, size_t len)
{
    answered(r, 200);
    close(fd);
}
struct pc_http_stream *pc_http_stream(struct pc_http_request *r, const char *type, void (*gone)(void *ctx), void *ctx)
{
    answered(r, 503);
    return NULL;
}
void pc_http_stream_send(struct pc_http_stream *s, const void *data, size_t len)
{
    abort();
}
const struct pc_http_counters *pc_http_counters(const struct pc_http *h)
{
    static const struct pc_http_counters none;
    return &none;
}
int pc_http_serve(struct event_base *base, SSL_CTX *ctx, int listen_fd, const struct pc_http_limits *limits, pc_http_handler *handler, void *user,
                  struct pc_http **out)
{
    abort();
}
void pc_http_certificate(struct pc_http *h, SSL_CTX *ctx)
{
}
void pc_http_stop_listening(struct pc_http *h)
{
}
void pc_http_end(struct pc_http *h)
{
}
