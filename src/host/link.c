/*
 * Owns the role `link`: becomes nobody, then holds one connection to the server for ever, with patience. Everything
 * that it could do wrong is silence; what it carries is checked by the runner.
 */
#include "host/link.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "host/backoff.h"
#include "host/options.h"
#include "proc/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#define STEADY_S 10          /* a connection that lasted so long starts the next waits from the shortest */
#define RUNNER_WAIT_MS 500
#define STATEMENT_EVERY_NS (60 * PC_NS_PER_S)
#define SAY_EVERY_NS (3600 * PC_NS_PER_S) /* a host without a server says so once an hour, not once a try */

static uint32_t random_bits(void)
{
    uint32_t r;
    if (getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r)
        r = (uint32_t)pc_mono_ns();
    return r;
}

/* Nobody can be asked for names while the host is isolated: the runner wrote down what it found before. */
static void read_addresses(struct pc_link *l, int dir_fd)
{
    _free_ char *text = NULL;
    size_t len;
    l->addresses[0] = 0;
    if (pc_fleet_read(dir_fd, PC_FILE_ADDRESSES, sizeof l->addresses - 1, &text, &len) == 0)
        snprintf(l->addresses, sizeof l->addresses, "%s", text);
}

struct loop {
    struct pc_link *link;
    int dir_fd;
    uint32_t failed, wait_max_ms;
    uint64_t said_ns, asked_ns;
};

static void say(struct loop *p, const char *what)
{
    uint64_t now = pc_mono_ns();
    if (p->failed > 1 && now - p->said_ns < SAY_EVERY_NS)
        return;
    p->said_ns = now;
    pc_event(p->link->log, PC_LEVEL_NOTICE, "disconnected", NULL, "%s: %s", what, p->link->why);
}

static void follow_statement(struct loop *p)
{
    struct pc_link *l = p->link;
    uint64_t now = pc_mono_ns();
    if (p->asked_ns && now - p->asked_ns < STATEMENT_EVERY_NS)
        return;
    p->asked_ns = now;
    pc_event(l->log, PC_LEVEL_WARNING, "not-pinned", NULL,
             "the server at %s does not show a certificate of the pinned CA; asking it for an owners' statement",
             l->facts.address);
    int r = pc_link_ask_statement(l);
    if (r < 0)
        pc_event(l->log, PC_LEVEL_WARNING, "not-pinned", NULL, "no statement: %s",
                 r == PC_E_NOTFOUND ? "the server has none" : l->why);
}

/* One try. Returns how long to wait before the next, in milliseconds. */
static uint32_t once(struct loop *p)
{
    struct pc_link *l = p->link;
    uint64_t lived_s = 0;
    int r = pc_link_facts_read(p->dir_fd, &l->facts); /* each time: the runner may have followed a statement */
    if (r < 0) {
        snprintf(l->why, sizeof l->why, "%s: %s", PC_FILE_LINK, pc_strerror(r));
        say(p, "not enrolled");
        p->failed++;
        return 5000;
    }
    read_addresses(l, p->dir_fd);
    switch (pc_link_session(l, &lived_s)) {
    case PC_LINK_NO_RUNNER:
        return RUNNER_WAIT_MS;
    case PC_LINK_NOT_PINNED:
        follow_statement(p);
        break;
    case PC_LINK_NO_SERVER:
    case PC_LINK_ENDED:
        break;
    }
    p->failed = lived_s >= STEADY_S ? 0 : p->failed;
    say(p, lived_s ? "disconnected" : "no connection");
    return pc_backoff_ms(p->failed++, p->wait_max_ms, random_bits());
}

/*
 * The link's user may be another than the one that the host was enrolled with: portcullis-link, which was made later,
 * instead of nobody.
 */
static void hand_over_files(const struct pc_settings *s, int dir_fd, struct pc_events *log)
{
    struct pc_identity who;
    bool fallback;
    if (pc_identity_link(s, &who, &fallback) < 0)
        return;
    if ((fchownat(dir_fd, PC_FILE_LINK_KEY, who.uid, who.gid, AT_SYMLINK_NOFOLLOW) < 0 ||
         fchownat(dir_fd, PC_FILE_LINK, (uid_t)-1, who.gid, AT_SYMLINK_NOFOLLOW) < 0) &&
        errno != ENOENT)
        pc_event(log, PC_LEVEL_WARNING, "link-user", NULL, "the link's files cannot be handed over to its user: %s",
                 strerror(errno));
}

static int give_up_rights(const struct pc_settings *s, struct pc_events *log)
{
    struct pc_identity who;
    bool fallback;
    int r = pc_identity_link(s, &who, &fallback);
    if (r < 0) {
        fprintf(stderr, "portcullisd: user %s does not exist: make it, or set link-user in section [fleet]\n",
                s->link_user);
        return r;
    }
    if (fallback)
        pc_event(log, PC_LEVEL_NOTICE, "link-user", NULL,
                 "user %s does not exist: the link runs as nobody, which other services may share", s->link_user);
    r = pc_become(&who);
    if (r == 0)
        r = pc_confine_link();
    if (r == PC_E_UNSUPPORTED) {
        pc_event(log, PC_LEVEL_WARNING, "unconfined", NULL,
                 "this kernel has no seccomp: the link is held back by its user alone");
        r = 0;
    }
    if (r < 0)
        fprintf(stderr, "portcullisd: cannot give up rights: %s\n", pc_strerror(r));
    return r;
}

/* Loaded before rights are given up. */
static bool have_curl(void)
{
    if (pc_curl())
        return true;
    fputs("portcullisd: libcurl (libcurl.so.4) cannot be loaded: install it\n", stderr);
    return false;
}

int pc_role_link(const struct pc_host_options *o)
{
    struct pc_settings s = {0};
    struct pc_fleet_dir dir = {.fd = -1};
    struct pc_events *log;
    int status = pc_host_settings(o, &s);
    if (status)
        return status;
    struct pc_events_opts opts = {.text = true, .journal = s.journal, .rate = s.rate, .least = PC_LEVEL_INFO};
    signal(SIGPIPE, SIG_IGN);
    if (!have_curl() || pc_events_open(&opts, &log) < 0)
        return 1;
    /* By name beneath the current folder from here on: /proc/self is closed to a process that is not dumpable. */
    if (pc_host_folder(o, false, &dir) < 0 || fchdir(dir.fd) < 0)
        return 1;
    hand_over_files(&s, dir.fd, log);
    if (give_up_rights(&s, log) < 0)
        return 1;
    struct pc_link link = {.log = log, .proxy = strcmp(s.proxy, "none") == 0 ? NULL : s.proxy};
    struct loop loop = {.link = &link, .dir_fd = dir.fd, .wait_max_ms = (uint32_t)(s.reconnect_max_ns / PC_NS_PER_MS)};
    for (;;) {
        uint32_t wait_ms = once(&loop);
        pc_events_tick(log);
        (void)poll(NULL, 0, (int)wait_ms);
    }
}

int pc_role_fetch(const struct pc_host_options *o)
{
    struct pc_settings s = {0};
    struct pc_fleet_dir dir = {.fd = -1};
    struct pc_link_facts facts;
    char url[1200], why[256] = "";
    int status = pc_host_settings(o, &s);
    if (status)
        return status;
    if (!o->path || o->path[0] != '/' || strlen(o->path) > 512 || strspn(o->path, PC_URL_PATH) != strlen(o->path) ||
        strstr(o->path, "..")) {
        fputs("portcullisd: fetch needs --path with a plain absolute path of the server\n", stderr);
        return PC_EXIT_USAGE;
    }
    if (!have_curl() || pc_host_folder(o, false, &dir) < 0 || fchdir(dir.fd) < 0 ||
        pc_link_facts_read(dir.fd, &facts) < 0)
        return 1;
    struct pc_link link = {0};
    read_addresses(&link, dir.fd);
    if (give_up_rights(&s, NULL) < 0)
        return 1;
    struct pc_web w = {.ca = PC_FILE_CA,
                       .cert = PC_FILE_LINK_CERT,
                       .key = PC_FILE_LINK_KEY,
                       .proxy = strcmp(s.proxy, "none") == 0 ? NULL : s.proxy,
                       .addresses = link.addresses[0] ? link.addresses : NULL,
                       .connect_s = 20,
                       .total_s = 900};
    snprintf(url, sizeof url, "%s%s", facts.url, o->path);
    int r = pc_web_fetch(&w, url, STDOUT_FILENO, PC_FETCH_MAX, why, sizeof why);
    if (r < 0)
        fprintf(stderr, "fetch %s: %s\n", url, why[0] ? why : pc_strerror(r));
    return r < 0 ? 1 : 0;
}
