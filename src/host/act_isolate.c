/*
 * Owns `host.isolate` and `host.unisolate`. Before the rules are put in place the server's addresses are looked up and
 * written down for the link, because afterwards no resolver answers. The timer is on the disk before the first rule, so
 * whatever happens the isolation ends on time.
 */
#include "host/collect.h"
#include "host/stops.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "kern/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SERVER_ADDRESSES_MAX 16
#define FIND_NS (10 * PC_NS_PER_S) /* for all names together; what is not known by then stays unknown */
#define NOTHING_CHANGED 2          /* the job's status when no rule was changed */

/*
 * --- in a process of its own: a name server that says nothing may take minutes, and whoever has to be cut off cannot
 * wait. Each line as soon as it is known: an address, or '=' and what the link needs.
 */

/* Says the addresses of a name, and "HOST:PORT:ADDR,ADDR", as libcurl takes it: an address is found without. */
static int say_place(const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
    _buf_free_ struct pc_buf line;
    unsigned char binary[16];
    bool named = inet_pton(AF_INET, host, binary) != 1 && inet_pton(AF_INET6, host, binary) != 1;
    pc_buf_init(&line, PC_ADDRESSES_MAX);
    if (getaddrinfo(host, NULL, &hints, &all) != 0)
        return PC_E_NOTFOUND;
    for (const struct addrinfo *a = all; a; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0 ||
            strchr(text, '%'))
            continue;
        printf("%s\n", text);
        (void)pc_buf_addf(&line, "%s%s", line.len ? "," : "", text);
    }
    freeaddrinfo(all);
    if (named && line.len)
        printf("=%s:%u:%s\n", host, port, line.data);
    return fflush(stdout) == 0 ? 0 : -EPIPE;
}

/* "SCHEME://[USER:PASSWORD@]HOST[:PORT][/...]", with libcurl's port where none is given. */
static int split_url(const char *url, uint16_t usual, char *host, size_t cap, uint16_t *port)
{
    char text[600];
    const char *at = strstr(url, "://") + 3, *user = strrchr(at, '@');
    at = user ? user + 1 : at;
    size_t n = strcspn(at, "/?#");
    const char *colon = memrchr(at, ':', n), *bracket = memrchr(at, ']', n);
    bool named = colon && (!bracket || colon > bracket);
    snprintf(text, sizeof text, named ? "%.*s" : "%.*s:%u", (int)n, at, usual);
    return pc_split_checked(text, host, cap, port);
}

/* Only the proxy if there is one (it looks the server up); else the server, by both of its ports' names. */
static int say_server(void *arg)
{
    const struct pc_runner *r = arg;
    const char *proxy = r->settings.proxy;
    struct pc_link_facts f;
    char host[300];
    uint16_t port;
    if (strcmp(proxy, "none") != 0)
        return split_url(proxy, strncmp(proxy, "https:", 6) == 0 ? 443 : 1080, host, sizeof host, &port) == 0 &&
                       say_place(host, port) == 0
                   ? 0
                   : 1;
    if (pc_link_facts_read(r->dir.fd, &f) < 0)
        return 1;
    bool link = pc_split_checked(f.address, host, sizeof host, &port) == 0 && say_place(host, port) == 0;
    bool api = split_url(f.url, 443, host, sizeof host, &port) == 0 && say_place(host, port) == 0;
    return link && api ? 0 : 1;
}

/* --- in the job, and at the start of the runner */

/* Adds an address once. */
static void add_address(json_t *list, const char *text)
{
    const json_t *have;
    size_t i;
    json_array_foreach(list, i, have)
        if (strcmp(json_string_value(have), text) == 0)
            return;
    if (json_array_size(list) < SERVER_ADDRESSES_MAX)
        json_array_append_new(list, json_string(text));
}

/* Takes whole lines from the front of text. */
static void take_lines(struct pc_buf *text, json_t *list, struct pc_buf *lines)
{
    char *eol;
    while (text->len && (eol = memchr(text->data, '\n', text->len))) {
        *eol = 0;
        if (text->data[0] == '=')
            (void)pc_buf_addf(lines, "%s\n", text->data + 1); /* one that does not fit is looked up by the link */
        else
            add_address(list, text->data);
        size_t rest = text->len - (size_t)(eol + 1 - text->data);
        memmove(text->data, eol + 1, rest);
        text->len = rest;
    }
}

/* Adds what is found in time of the server's addresses, and of the link's lines. */
static void find_server(struct pc_runner *r, json_t *list, struct pc_buf *lines)
{
    struct pc_spawn s = {.run = say_server, .arg = r, .group_fd = -1, .out_fd = -1, .keep_fd = r->dir.fd};
    struct pc_child c;
    _buf_free_ struct pc_buf text;
    uint64_t now, until = pc_mono_ns() + FIND_NS;
    ssize_t n = -1;
    pc_buf_init(&text, 2 * PC_ADDRESSES_MAX);
    if (pc_spawn(&s, &c) < 0)
        return;
    while (n != 0 && (now = pc_mono_ns()) < until) {
        char chunk[1024];
        struct pollfd p = {c.out_fd, POLLIN, 0};
        (void)poll(&p, 1, (int)((until - now) / PC_NS_PER_MS) + 1);
        n = read(c.out_fd, chunk, sizeof chunk);
        if (n > 0 && pc_buf_add(&text, chunk, (size_t)n) < 0)
            break;
        take_lines(&text, list, lines);
    }
    (void)kill(c.pid, SIGKILL);
    (void)waitpid(c.pid, NULL, 0);
    close(c.out_fd);
    close(c.pid_fd);
}

static int apply(const json_t *server, const json_t *allow, char *why, size_t why_len)
{
    const char *all[PC_NFT_ALLOW_MAX];
    size_t n = 0, i;
    const json_t *one;
    json_array_foreach(server, i, one)
        if (n < PC_NFT_ALLOW_MAX)
            all[n++] = json_string_value(one);
    json_array_foreach(allow, i, one)
        if (n < PC_NFT_ALLOW_MAX)
            all[n++] = json_string_value(one);
    return pc_nft_isolate(all, n, why, why_len);
}

/*
 * For the link, which can ask nobody either. What was written while the host was isolated already stays: it was found
 * when there was somebody to ask. Of two lines for one name libcurl takes the last.
 */
static int keep_lines(const struct pc_runner *r, bool isolated, const struct pc_buf *lines)
{
    _free_ char *old = NULL;
    size_t len = 0;
    if (isolated && pc_fleet_read(r->dir.fd, PC_FILE_ADDRESSES, PC_ADDRESSES_MAX, &old, &len) == 0 &&
        (!lines->len || strstr(old, lines->data)))
        return 0;
    _buf_free_ struct pc_buf all;
    pc_buf_init(&all, PC_ADDRESSES_MAX);
    int e = len ? pc_buf_add(&all, old, len) : 0;
    if (e < 0 || pc_buf_add(&all, lines->data, lines->len) < 0) { /* no room for both */
        pc_buf_reset(&all);
        (void)pc_buf_add(&all, lines->data, lines->len);
    }
    return all.len ? pc_fleet_replace(r->dir.fd, PC_FILE_ADDRESSES, all.data, all.len,
                                      (struct pc_fleet_owner){0, 0, 0644})
                   : 0;
}

/*
 * In the job: what takes time (a resolver) or may fail. Prints the server's addresses, which the timer then keeps, and
 * nothing else: what it prints is the result.
 */
static int work(void *arg)
{
    struct pc_task *t = arg;
    char why[512] = "";
    const json_t *allow = json_object_get(t->params, "allow"), *known = t->data;
    json_t *server = known ? json_deep_copy(known) : json_array();
    _buf_free_ struct pc_buf lines;
    pc_buf_init(&lines, PC_ADDRESSES_MAX);
    find_server(t->r, server, &lines);
    int kept = keep_lines(t->r, known != NULL, &lines), e = apply(server, allow, why, sizeof why);
    if (e < 0) {
        if (!known)
            (void)unlinkat(t->r->dir.fd, PC_FILE_ADDRESSES, 0);
        fprintf(stderr, "%s\n", why[0] ? why : pc_strerror(e));
        json_decref(server);
        return NOTHING_CHANGED;
    }
    json_t *out = json_pack("{s:O, s:O}", "server", server, "allow", allow);
    if (json_array_size(server) == 0)
        json_object_set_new(out, "note", json_string("no address of the server could be found: the host is isolated "
                                                     "all the same, from its server too"));
    else if (kept < 0)
        json_object_set_new(out, "note", json_string("the server's addresses could not be kept for the link, which "
                                                     "can ask nobody for them now"));
    json_decref(server);
    return pc_collect_print(out);
}

struct others {
    const struct pc_runner *r;
    uint64_t not_this; /* 0: all of them */
    json_t *data;      /* of the newest isolation that has time left; owned; NULL: there is none */
};

static int find_other(void *ctx, const struct pc_kept_timer *t)
{
    struct others *o = ctx;
    if (strcmp(t->kind, "isolate") != 0 || t->number == o->not_this || pc_timer_left(o->r, t) == 0)
        return 0;
    json_decref(o->data);
    o->data = json_loads(t->data, JSON_REJECT_DUPLICATES, NULL);
    return 0;
}

/* The job failed: only its own timer ends, and with it what the job may have changed. */
static void failed(struct pc_task *t, const struct pc_job_end *job)
{
    if (job->exit == NOTHING_CHANGED)
        (void)pc_timer_drop(t->r, t->timer); /* if not: it is undone when its time is over */
    else
        pc_timer_end(t->r, t->timer, "it failed");
}

static void after(struct pc_task *t, struct pc_outcome *how)
{
    struct pc_runner *r = t->r;
    if (strcmp(how->word, "ok") != 0) {
        failed(t, how->job);
        return;
    }
    int e = pc_timer_keep(r, t->timer, how->data);
    if (e == PC_E_NOTFOUND) {
        how->word = "failed";
        how->text = "it was ended, or its time was over, before it held";
        pc_timer_undo_late(t, "isolate");
        return;
    }
    /* From now on the newest order says how long: an older timer would undo it too early. */
    if (e == 0)
        e = pc_memory_timer_only(r->file, "isolate", t->timer);
    if (e < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL,
                 "isolated; the addresses could not be kept: after a restart they are looked up again");
}

/*
 * One that was isolated before has nobody to ask for its server's address: what is known of it goes along. The older
 * timer stays until this one holds: if it does not, that one does.
 */
enum pc_act pc_act_isolate(struct pc_task *t)
{
    struct others o = {.r = t->r};
    (void)pc_memory_timers(t->r->file, find_other, &o); /* not found: looked up */
    t->data = json_incref(json_object_get(o.data, "server"));
    json_decref(o.data);
    json_t *data = json_pack("{s:O}", "allow", json_object_get(t->params, "allow"));
    if (data && t->data)
        json_object_set(data, "server", t->data);
    if (pc_task_timer(t, "isolate", data) < 0)
        return PC_ACT_FAILED;
    t->spec.spawn.run = work;
    t->spec.spawn.arg = t;
    t->spec.spawn.keep_fd = t->r->dir.fd;
    t->after = after;
    return PC_ACT_RUN;
}

static int again(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    char why[512] = "";
    (void)t;
    const json_t *known = json_object_get(data, "server");
    json_t *server = known ? json_deep_copy(known) : json_array();
    _buf_free_ struct pc_buf lines;
    pc_buf_init(&lines, PC_ADDRESSES_MAX);
    if (!known)
        find_server(r, server, &lines); /* none found: isolated all the same, until the timer ends it */
    int e = apply(server, json_object_get(data, "allow"), why, sizeof why);
    json_decref(server);
    return e;
}

/* Another that has time left holds from now on. */
static int undo(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    char why[512] = "";
    struct others o = {.r = r, .not_this = t->number};
    (void)data;
    int e = pc_memory_timers(r->file, find_other, &o);
    if (e < 0)
        return e;
    if (o.data) {
        e = again(r, t, o.data);
        json_decref(o.data);
        return e;
    }
    e = pc_nft_release(why, sizeof why);
    if (e < 0 && pc_boot_ns() >= r->next_undo_told_ns)
        pc_event(r->log, PC_LEVEL_ERROR, "isolate", NULL, "the isolation could not be lifted: %s", why);
    if (e == 0)
        (void)unlinkat(r->dir.fd, PC_FILE_ADDRESSES, 0); /* an old one only means old addresses for the link */
    return e;
}

const struct pc_stop pc_stop_isolate = {"isolate", again, undo};

enum pc_act pc_act_unisolate(struct pc_task *t)
{
    int n = pc_timers_end(t->r, "isolate", NULL, NULL);
    snprintf(t->text, sizeof t->text, "%s",
             n > 0    ? "the isolation is lifted"
             : n == 0 ? "the host was not isolated"
                      : "the isolation could not be lifted; it is tried again every second: see the log");
    return n < 0 ? PC_ACT_FAILED : PC_ACT_OK;
}
