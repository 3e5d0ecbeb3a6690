/*
 * Owns what other server processes of this fleet say, and what becomes of it here: orders, stops, rings, owners'
 * documents, looks. Must not believe a word of it: what is named is looked up in the store, and checked as if an owner
 * or operator had sent it.
 */
#include "server/server.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <string.h>

bool pc_told_by_other(const struct pc_server *s, const char *what, char sha256[PC_SHA256_HEX + 1])
{
    if (strlen(what) <= PC_SHA256_HEX || strcmp(what + PC_SHA256_HEX + 1, s->name) == 0)
        return false;
    snprintf(sha256, PC_SHA256_HEX + 1, "%s", what);
    return true;
}

/* An order is in the log. Who logged it has delivered it. */
static void ready_told(struct pc_server *s, const char *what)
{
    char sha256[PC_SHA256_HEX + 1];
    if (!pc_told_by_other(s, what, sha256))
        return;
    pc_deliver_order(s, sha256, pc_stop_links(s, sha256));
    pc_progress_dirty(s, sha256);
}

/* The same for a continue or start. */
static void ring_told(struct pc_server *s, const char *what)
{
    char sha256[PC_SHA256_HEX + 1];
    if (pc_told_by_other(s, what, sha256))
        pc_rings_told(s, sha256);
}

static void order_told(struct pc_server *s, const char *sha256)
{
    pc_progress_dirty(s, sha256);
}

static void policy_told(struct pc_server *s, const char *what)
{
    pc_server_policy_changed(s);
}

static const struct {
    const char *word;
    void (*told)(struct pc_server *s, const char *what);
} words[] = {{"ready", ready_told},
             {"stop", pc_stop_told},
             {"order", order_told},
             {"ring", ring_told},
             {"policy", policy_told},
             {"look", pc_looks_notified}};

/* Our own come back too. "ready", "ring" and "stop" name who said it; the others change nothing when done again. */
static int on_text(void *ctx, const char *text)
{
    struct pc_server *s = ctx;
    const char *space = strchr(text, ' ');
    for (size_t i = 0; space && i < PC_ARRAY_SIZE(words); i++)
        if (strncmp(words[i].word, text, (size_t)(space - text)) == 0 &&
            strlen(words[i].word) == (size_t)(space - text))
            words[i].told(s, space + 1);
    return 0;
}

static void hear(struct pc_server *s)
{
    if (!s->notify || s->ears->ops->notify_read(s->ears, on_text, s) == 0)
        return;
    event_free(s->notify); /* at once: its descriptor is closed, and the number may soon be another's */
    s->notify = NULL;
    s->deaf = true;
    s->notify_fd = -2; /* pc_others_listen makes it anew */
}

static void on_notify(evutil_socket_t fd, short events, void *arg)
{
    struct pc_server *s = arg;
    pc_logview_refresh(s->log, pc_server_now());
    hear(s);
}

static void listen_anew(struct pc_server *s, int fd)
{
    if (s->notify)
        event_free(s->notify);
    s->notify = fd < 0 ? NULL : event_new(s->base, fd, EV_READ | EV_PERSIST, on_notify, s);
    if (s->notify)
        event_add(s->notify, NULL);
    if (s->notify && s->deaf)
        pc_delivery_missed(s, "other servers were not heard for a while");
    s->deaf = !s->notify && fd != PC_E_UNSUPPORTED;
    s->notify_fd = fd;
}

/* Asking for the descriptor may take in what others said: then it is not readable for it. */
void pc_others_listen(struct pc_server *s)
{
    int fd = s->ears->ops->notify_fd(s->ears);
    if (fd != s->notify_fd)
        listen_anew(s, fd);
    hear(s);
}

/* Whoever cannot hear that others logged something sees it in the log. */
void pc_others_look(struct pc_server *s, int64_t now)
{
    pc_logview_refresh(s->log, now); /* other processes append too: servers, and the command line */
    if (s->deaf && pc_logview_size(s->log) != s->log_size && !pc_delivery_behind(s))
        pc_delivery_missed(s, "other servers cannot be heard, and the log has grown");
    else if (s->deaf)
        return; /* hosts that are behind get what was missed first */
    s->log_size = pc_logview_size(s->log);
}
