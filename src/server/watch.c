/* Owns who watches (server-sent events) and what they are told. Must not hold anything up: a watcher that does not keep
 * up is dropped by http.c. */
#include "server/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#define WATCHERS_MAX 64
#define KEEPALIVE_S 20

struct watcher {
    struct pc_watch *watch;
    struct pc_http_stream *stream; /* NULL: free */
};
struct pc_watch {
    struct pc_server *server;
    struct watcher watcher[WATCHERS_MAX];
    int64_t said;
};

int pc_watch_new(struct pc_server *s, struct pc_watch **out)
{
    struct pc_watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->server = s;
    *out = w;
    return 0;
}

/* pc_http_end has closed the streams by then. */
void pc_watch_free(struct pc_watch *w)
{
    free(w);
}

static void gone(void *ctx)
{
    ((struct watcher *)ctx)->stream = NULL;
}

void pc_watch_add(struct pc_server *s, struct pc_http_request *r)
{
    struct watcher *free_one = NULL;
    for (size_t i = 0; i < WATCHERS_MAX && !free_one; i++)
        if (!s->watch->watcher[i].stream)
            free_one = &s->watch->watcher[i];
    if (!free_one) {
        static const char full[] = "{\"error\":\"busy\",\"text\":\"too many are watching\"}";
        pc_http_answer(r, 503, "application/json", NULL, full, sizeof full - 1);
        return;
    }
    free_one->watch = s->watch;
    free_one->stream = pc_http_stream(r, "text/event-stream", gone, free_one);
    if (free_one->stream)
        pc_http_stream_send(free_one->stream, ": portcullis\n\n", 14);
}

static void to_all(struct pc_watch *w, const char *text, size_t len)
{
    for (size_t i = 0; i < WATCHERS_MAX; i++)
        if (w->watcher[i].stream)
            pc_http_stream_send(w->watcher[i].stream, text, len);
}

void pc_watch_say(struct pc_server *s, const char *event, const char *fmt, ...)
{
    char data[1024], text[1200];
    va_list ap;
    if (!s->watch)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(data, sizeof data, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof data)
        return; /* none of ours is that long */
    n = snprintf(text, sizeof text, "event: %s\ndata: %s\n\n", event, data);
    to_all(s->watch, text, (size_t)n);
}

/* So that both sides notice when the other is gone. */
void pc_watch_tick(struct pc_watch *w)
{
    int64_t now = pc_server_now();
    if (now - w->said < KEEPALIVE_S)
        return;
    w->said = now;
    to_all(w, ": still here\n\n", 14);
}
