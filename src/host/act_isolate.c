/*
 * Owns `host.isolate` and `host.unisolate`. Before the rules are put in place the server's addresses are looked up and
 * written down for the link, because afterwards no resolver answers. The timer is on the disk before the first rule, so
 * whatever happens the isolation ends on time.
 */
#include "host/collect.h"
#include "host/options.h"
#include "host/stops.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "kern/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SERVER_ADDRESSES_MAX 16

/* Adds the addresses of a name to the list, once each. */
static int look_up(const char *host, json_t *list)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
    if (getaddrinfo(host, NULL, &hints, &all) != 0)
        return PC_E_NOTFOUND;
    for (const struct addrinfo *a = all; a && json_array_size(list) < SERVER_ADDRESSES_MAX; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN];
        size_t i;
        const json_t *have;
        bool there = false;
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0 ||
            strchr(text, '%'))
            continue;
        json_array_foreach(list, i, have)
            there |= strcmp(json_string_value(have), text) == 0;
        if (!there)
            json_array_append_new(list, json_string(text));
    }
    freeaddrinfo(all);
    return 0;
}

/* "HOST:PORT:ADDR,ADDR" of one name, as libcurl takes it. An address is found without. */
static void add_line(struct pc_buf *b, const char *host, uint16_t port)
{
    unsigned char binary[16];
    if (inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1)
        return;
    json_t *list = json_array();
    const json_t *one;
    size_t i;
    if (look_up(host, list) == 0) {
        (void)pc_buf_addf(b, "%s:%u:", host, port);
        json_array_foreach(list, i, one)
            (void)pc_buf_addf(b, "%s%s", i ? "," : "", json_string_value(one));
        (void)pc_buf_addf(b, "\n");
    }
    json_decref(list);
}

/* "SCHEME://[USER:PASSWORD@]HOST[:PORT][/...]", with libcurl's port where none is given. */
static int split_proxy(const char *url, char *host, size_t cap, uint16_t *port)
{
    char text[512];
    const char *at = strstr(url, "://") + 3, *user = strrchr(at, '@');
    at = user ? user + 1 : at;
    size_t n = strcspn(at, "/?#");
    const char *colon = memrchr(at, ':', n), *bracket = memrchr(at, ']', n);
    bool named = colon && (!bracket || colon > bracket);
    snprintf(text, sizeof text, "%.*s%s", (int)n, at, named ? "" : strncmp(url, "https:", 6) == 0 ? ":443" : ":1080");
    return pc_split_address(text, host, cap, port);
}

/*
 * Adds a place that we must still be able to connect to, and what the link needs to find it when no resolver answers.
 */
static int keep_place(const char *host, uint16_t port, json_t *list, struct pc_buf *lines)
{
    int e = look_up(host, list);
    add_line(lines, host, port);
    return e;
}

/* Only the proxy if there is one (it looks the server up); else the server, by both of its ports' names. */
static int find_server(const struct pc_runner *r, json_t *list, struct pc_buf *lines)
{
    struct pc_link_facts f;
    char host[300], link_host[300];
    uint16_t port, link_port;
    if (strcmp(r->settings.proxy, "none") != 0) {
        int p = split_proxy(r->settings.proxy, host, sizeof host, &port);
        return p < 0 ? p : keep_place(host, port, list, lines);
    }
    int e = pc_link_facts_read(r->dir.fd, &f);
    if (e == 0)
        e = pc_split_address(f.address, link_host, sizeof link_host, &link_port);
    if (e == 0)
        e = pc_split_address(strstr(f.url, "://") + 3, host, sizeof host, &port);
    if (e < 0)
        return e;
    e = keep_place(link_host, link_port, list, lines);
    int x = keep_place(host, port, list, lines);
    return e < 0 ? e : x;
}

static int apply(const struct pc_runner *r, const json_t *server, const json_t *allow, char *why, size_t why_len)
{
    const char *all[PC_NFT_ALLOW_MAX];
    size_t n = 0, i;
    const json_t *one;
    (void)r;
    json_array_foreach(server, i, one)
        if (n < PC_NFT_ALLOW_MAX)
            all[n++] = json_string_value(one);
    json_array_foreach(allow, i, one)
        if (n < PC_NFT_ALLOW_MAX)
            all[n++] = json_string_value(one);
    return pc_nft_isolate(all, n, why, why_len);
}

/* In the job: what takes time (a resolver) or may fail. Prints the server's addresses, which the timer then keeps. */
static int work(void *arg)
{
    struct pc_task *t = arg;
    char why[512] = "";
    json_t *server = json_array();
    _buf_free_ struct pc_buf lines;
    pc_buf_init(&lines, PC_ADDRESSES_MAX);
    int e = find_server(t->r, server, &lines);
    if (e < 0)
        fprintf(stderr, "the server's address is not known (%s): the host is isolated all the same\n", pc_strerror(e));
    if (lines.len)
        e = pc_fleet_replace(t->r->dir.fd, PC_FILE_ADDRESSES, lines.data, lines.len,
                             (struct pc_fleet_owner){0, 0, 0644});
    e = apply(t->r, server, json_object_get(t->params, "allow"), why, sizeof why);
    if (e < 0) {
        fprintf(stderr, "%s\n", why[0] ? why : pc_strerror(e));
        json_decref(server);
        return 1;
    }
    return pc_collect_print(json_pack("{s:o, s:O}", "server", server, "allow", json_object_get(t->params, "allow")));
}

static void after(struct pc_task *t, struct pc_outcome *how)
{
    struct pc_runner *r = t->r;
    if (strcmp(how->word, "ok") != 0)
        (void)pc_timers_end(r, "isolate", NULL, NULL);
    else if (pc_timer_keep(r, t->timer, how->data) < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL,
                 "isolated; the addresses could not be kept: after a restart they are looked up again");
}

enum pc_act pc_act_isolate(struct pc_task *t)
{
    json_t *data = json_pack("{s:O}", "allow", json_object_get(t->params, "allow"));
    /* The only one: the newest order says how long, an older timer would undo it too early. */
    if (pc_task_timer(t, "isolate", data, true) < 0)
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
        (void)find_server(r, server, &lines); /* none found: isolated all the same, until the timer ends it */
    int e = apply(r, server, json_object_get(data, "allow"), why, sizeof why);
    json_decref(server);
    return e;
}

static int undo(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    char why[512] = "";
    (void)t;
    (void)data;
    int e = pc_nft_release(why, sizeof why);
    if (e < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "isolate", NULL, "the isolation could not be lifted: %s", why);
    else
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
                      : "the timers cannot be read");
    return n < 0 ? PC_ACT_FAILED : PC_ACT_OK;
}
