/*
 * Owns the running server: opens everything in order, the loop, timers, signals, the end. Must not know documents.
 */
#include "server/command.h"
#include "server/server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "net/pki.h"
#include "net/tls.h"
#include "proc/confine.h"
#include "proc/spawn.h"
#include "server/options.h"

#include <errno.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define LINES_PER_S 20
#define CERT_SOON_S (30 * 86400)
#define LOOP_PATIENCE_MS 5000 /* that the loop waits for the database, at a time */

int64_t pc_server_now(void)
{
    return (int64_t)time(NULL);
}

void pc_server_log(const char *area, const char *fmt, ...)
{
    static int64_t second;
    static unsigned lines, dropped;
    int64_t now = pc_server_now();
    if (now != second) {
        if (dropped)
            fprintf(stderr, "portcullis-server: log: %u lines more in that second\n", dropped);
        second = now;
        lines = dropped = 0;
    }
    if (++lines > LINES_PER_S) {
        dropped++;
        return;
    }
    char when[PC_TIME_SIZE], text[1024];
    va_list ap;
    pc_time_format(now, when);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s portcullis-server: %s: %s\n", when, area, text);
}

/* --- what the owners said ----------------------------------------------------------------------------------------- */

static void tell_logview(struct pc_server *s)
{
    struct pc_witnesses w = {.log = s->log_key};
    const struct pc_trust *t = &s->policy->trust;
    if (s->policy->has_trust) {
        w.n = t->witnesses;
        w.needed = t->witnesses_needed;
        memcpy(w.witness, t->witness, t->witnesses * sizeof w.witness[0]);
    }
    pc_logview_witnesses(s->log, &w, pc_server_now());
}

static void push_policy(struct pc_link *l, void *ctx)
{
    pc_deliver_policy(l);
}

static int load_policy(struct pc_server *s)
{
    char why[256] = "";
    struct pc_server_policy *p;
    int ret = pc_server_policy_load(s->store, &p, why, sizeof why);
    if (ret < 0) {
        pc_server_log("policy", "%s: %s", why, pc_strerror(ret));
        return ret;
    }
    if (p->has_trust && strcmp(p->trust.tenant, s->state->settings.tenant) != 0)
        pc_server_log("policy", "the trust file is of tenant %s, this server of %s: no order can be valid",
                      p->trust.tenant, s->state->settings.tenant);
    if (p->has_trust && memcmp(p->trust.log.key, s->log_key.key, 32) != 0)
        pc_server_log("policy",
                      "the trust file names another log key than this server's: hosts will refuse every order");
    pc_server_policy_unref(s->policy);
    s->policy = p;
    tell_logview(s);
    return 0;
}

static int take_policy(struct pc_server *s)
{
    int ret = load_policy(s);
    if (ret == 0)
        pc_hub_each(s->hub, push_policy, NULL);
    return ret;
}

void pc_server_policy_changed(struct pc_server *s)
{
    (void)take_policy(s); /* when it fails: look_for_policy sees the new mark, every second */
}

static char *policy_mark(struct pc_server *s)
{
    void *mark;
    size_t len;
    return s->store->ops->get(s->store, PC_KEY_POLICY, &mark, &len) == 0 ? mark : NULL;
}

/* `portcullis-server trust` changes it under a running server. The mark is ours when what it stands for is. */
static void look_for_policy(struct pc_server *s)
{
    _free_ char *mark = policy_mark(s);
    if (!mark || (s->policy_mark && strcmp(mark, s->policy_mark) == 0) || take_policy(s) < 0)
        return;
    free(s->policy_mark);
    s->policy_mark = TAKE_PTR(mark);
}

/* --- timers, signals ---------------------------------------------------------------------------------------------- */

static void on_head(void *ctx, uint64_t size, const char *text)
{
    struct pc_server *s = ctx;
    pc_logview_head(s->log, size, text, pc_server_now());
}

static void on_published(void *ctx)
{
    struct pc_server *s = ctx;
    if (s->delivery && s->hub)
        pc_delivery_published(s->delivery);
}

void pc_server_second(struct pc_server *s)
{
    int64_t now = pc_server_now();
    pc_hub_tick(s->hub, now);
    pc_delivery_tick(s->delivery, now);
    pc_progress_tick(s->progress, now);
    pc_watch_tick(s->watch);
    pc_others_listen(s);
    pc_others_look(s, now);
    look_for_policy(s);
    int64_t half = (s->state->settings.heartbeat + 1) / 2;
    if (now - pc_logview_newest_time(s->log) >= half)
        pc_writer_sign_again(s->writer);
}

static void on_tick(evutil_socket_t fd, short events, void *arg)
{
    pc_server_second(arg);
}

static int contexts(struct pc_server *s, SSL_CTX **api, SSL_CTX **link, char *why, size_t why_len)
{
    _free_ char *cert = NULL, *ca = NULL;
    char *key = NULL;
    size_t len;
    int ret = pc_server_state_read(s->state, "server.pem", &cert, &len);
    if (ret == 0)
        ret = pc_server_state_read(s->state, "server.key", &key, &len);
    if (ret == 0)
        ret = pc_server_state_read(s->state, "ca.pem", &ca, &len);
    if (ret < 0) {
        snprintf(why, why_len, "the certificate cannot be read: %s", pc_strerror(ret));
        pc_pki_free_key(key);
        return ret;
    }
    if (pc_pki_left(cert, pc_server_now()) < CERT_SOON_S)
        pc_server_log("tls", "the server's certificate ends soon: portcullis-server cert --state %s, then SIGHUP",
                      s->state->path);
    ret = pc_tls_server(cert, key, 0, api, why, why_len);
    if (ret == 0) {
        ret = pc_tls_server(cert, key, 1, link, why, why_len);
        if (ret < 0)
            SSL_CTX_free(*api);
    }
    pc_pki_free_key(key);
    return ret;
}

static void on_signal(evutil_socket_t signal, short events, void *arg)
{
    struct pc_server *s = arg;
    if (signal == SIGHUP) {
        SSL_CTX *api, *link;
        char why[256];
        if (contexts(s, &api, &link, why, sizeof why) < 0) {
            pc_server_log("tls", "%s: the old certificate stays", why);
            return;
        }
        pc_hub_certificate(s->hub, link);
        pc_http_certificate(s->http, api);
        SSL_CTX_free(api);
        SSL_CTX_free(link);
        pc_server_log("tls", "the certificate was read again");
        return;
    }
    s->stopping = true;
    event_base_loopbreak(s->base);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static int open_store(struct pc_server *s, char *why, size_t why_len)
{
    char where[1100];
    struct pc_skey key;
    pc_server_state_database(s->state, where, sizeof where);
    int ret = pc_server_state_log_key(s->state, &key);
    if (ret < 0) {
        snprintf(why, why_len, "log.key: %s", pc_strerror(ret));
        return ret;
    }
    s->log_key = key.pub;
    ret = pc_writer_start(s->base, where, &key, on_head, s, &s->writer, why, why_len);
    OPENSSL_cleanse(&key, sizeof key);
    if (ret == 0)
        ret = pc_store_connect(where, &s->store, why, why_len);
    if (ret == 0)
        ret = pc_store_connect(where, &s->ears, why, why_len);
    if (ret == 0)
        ret = s->store->ops->hasten(s->store, LOOP_PATIENCE_MS);
    if (ret == 0)
        ret = s->ears->ops->hasten(s->ears, LOOP_PATIENCE_MS);
    if (ret == 0)
        ret = pc_logview_new(s->store, &s->log_key, on_published, s, &s->log);
    return ret;
}

/* What another process of ours, or one before us, has done. */
static int load(struct pc_server *s, char *why, size_t why_len)
{
    s->policy_mark = policy_mark(s);
    int ret = load_policy(s);
    if (ret == 0)
        ret = pc_logview_refresh(s->log, pc_server_now());
    if (ret < 0)
        snprintf(why, why_len, "the database cannot be read: %s: %s", pc_strerror(ret), s->store->ops->error(s->store));
    return ret;
}

static int make_parts(struct pc_server *s)
{
    int ret = pc_delivery_new(s, &s->delivery);
    if (ret == 0)
        ret = pc_looks_new(s, &s->looks);
    if (ret == 0)
        ret = pc_progress_new(s, &s->progress);
    if (ret == 0)
        ret = pc_watch_new(s, &s->watch);
    if (ret == 0)
        ret = pc_inspection_new(s, &s->inspection);
    return ret;
}

struct sockets {
    int api, link;
};

static int open_socket(const char *address, int *out, char *why, size_t why_len)
{
    char host[256];
    const char *port;
    if (pc_split_address(address, host, sizeof host, &port) < 0) {
        snprintf(why, why_len, "server.conf: %s is not HOST:PORT", address);
        return PC_E_SYNTAX;
    }
    int fd = pc_tcp_listen(host, port, 4096, why, why_len);
    if (fd >= 0)
        *out = fd;
    return fd < 0 ? fd : 0;
}

static int serve_on(struct pc_server *s, struct sockets *fd, char *why, size_t why_len)
{
    SSL_CTX *api, *link;
    int ret = contexts(s, &api, &link, why, why_len);
    if (ret < 0)
        return ret;
    const struct pc_server_settings *set = &s->state->settings;
    const struct pc_http_limits limits = {.body_max = 4u << 20,
                                          .headers_max = 16u << 10,
                                          .hello_s = set->patience,
                                          .request_s = 3 * set->patience,
                                          .connections = set->api_connections,
                                          .per_address = set->api_per_address,
                                          .streams = 64};
    ret = pc_hub_new(s, link, fd->link, &s->hub);
    if (ret == 0)
        fd->link = -1;
    if (ret == 0)
        ret = pc_http_serve(s->base, api, fd->api, &limits, pc_api_request, s, &s->http);
    if (ret == 0)
        fd->api = -1;
    else
        snprintf(why, why_len, "%s", pc_strerror(ret));
    SSL_CTX_free(api);
    SSL_CTX_free(link);
    return ret;
}

static int prepare(struct pc_server *s, struct sockets *fd, char *why, size_t why_len)
{
    snprintf(why, why_len, "out of memory");
    s->base = event_base_new();
    int ret = s->base ? open_store(s, why, why_len) : -ENOMEM;
    if (ret == 0)
        ret = load(s, why, why_len);
    if (ret == 0)
        ret = make_parts(s);
    if (ret == 0)
        pc_others_listen(s); /* before looking at what there is, so that nothing falls between */
    if (ret == 0)
        ret = pc_progress_load(s->progress);
    if (ret == 0)
        ret = serve_on(s, fd, why, why_len);
    s->tick = ret == 0 ? event_new(s->base, -1, EV_PERSIST, on_tick, s) : NULL;
    if (ret == 0 && (!s->tick || event_add(s->tick, &(struct timeval){.tv_sec = 1}) < 0))
        ret = -ENOMEM;
    return ret;
}

/* First nobody new, then what was taken is checked, committed and answered, then the links. */
static void end(struct pc_server *s)
{
    if (s->hub)
        pc_hub_stop_listening(s->hub);
    if (s->http)
        pc_http_stop_listening(s->http);
    pc_inspection_drain(s->inspection);
    pc_writer_drain(s->writer);
    if (s->base)
        event_base_loop(s->base, EVLOOP_NONBLOCK); /* answers that are ready leave */
    pc_hub_free(s->hub);
    s->hub = NULL;
    pc_inspection_free(s->inspection);
    pc_writer_stop(s->writer);
    pc_http_end(s->http);
    if (s->tick)
        event_free(s->tick);
    if (s->notify)
        event_free(s->notify);
    pc_progress_free(s->progress);
    pc_delivery_free(s->delivery);
    pc_looks_free(s->looks);
    pc_watch_free(s->watch);
    pc_logview_free(s->log);
    pc_server_policy_unref(s->policy);
    free(s->policy_mark);
    if (s->store)
        s->store->ops->close(s->store);
    if (s->ears)
        s->ears->ops->close(s->ears);
    if (s->base)
        event_base_free(s->base);
}

static void run_loop(struct pc_server *s)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct event *ev[PC_ARRAY_SIZE(signals)] = {NULL};
    for (size_t i = 0; i < PC_ARRAY_SIZE(signals); i++) {
        ev[i] = evsignal_new(s->base, signals[i], on_signal, s);
        if (ev[i])
            event_add(ev[i], NULL);
    }
    pc_others_listen(s);
    puts("portcullis-server: ready");
    fflush(stdout);
    event_base_dispatch(s->base);
    for (size_t i = 0; i < PC_ARRAY_SIZE(signals); i++)
        if (ev[i])
            event_free(ev[i]);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

/* Whom to become. Found out first: nothing is bound for a server that could not read its own keys afterwards. */
static int find_user(const struct pc_server_state *state, const char *user, struct pc_identity *out, char *why,
                     size_t why_len)
{
    const struct passwd *pw = getpwnam(user);
    if (!pw) {
        snprintf(why, why_len, "there is no user %s", user);
        return -ENOENT;
    }
    if (state->uid != pw->pw_uid) {
        snprintf(why, why_len, "%s does not belong to %s: chown -R %s: %s", state->path, user, user, state->path);
        return PC_E_REFUSED;
    }
    *out = (struct pc_identity){.uid = pw->pw_uid, .gid = pw->pw_gid};
    return 0;
}

static int become(const struct pc_identity *as, char *why, size_t why_len)
{
    if (geteuid() == as->uid)
        return 0; /* as a unit with User= starts it */
    int ret = pc_become(as);
    if (ret == 0 && setuid(0) == 0)
        ret = PC_E_REFUSED; /* it must not be possible to come back */
    if (ret < 0)
        snprintf(why, why_len, "cannot become user %u: %s", (unsigned)as->uid, pc_strerror(ret));
    return ret;
}

/* Before any thread, and before a byte of anybody is read. */
static int confine(char *why, size_t why_len)
{
    int ret = pc_confine_server();
    if (ret == PC_E_UNSUPPORTED)
        pc_server_log("confine", "no filter of system calls here: the server is held back by its user alone");
    else if (ret < 0)
        snprintf(why, why_len, "cannot give up rights: %s", pc_strerror(ret));
    return ret == PC_E_UNSUPPORTED ? 0 : ret;
}

/* Every link is a descriptor. */
static void raise_limit(const struct pc_server_settings *set)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_max != RLIM_INFINITY && r.rlim_max < (rlim_t)set->connections + set->api_connections + 64)
        pc_server_log(
            "limits",
            "%llu descriptors are allowed: fewer than connections + api_connections (%u); others wait in the backlog",
            (unsigned long long)r.rlim_max, set->connections + set->api_connections);
}

static int run_server(struct pc_server_state *state, const char *user)
{
    struct pc_server s = {.state = state, .notify_fd = -2, .started = pc_server_now()};
    struct sockets fd = {-1, -1};
    char why[512] = "";
    char host[32] = "";
    gethostname(host, sizeof host - 1);
    snprintf(s.name, sizeof s.name, "%s", state->settings.server);
    if (!*s.name)
        snprintf(s.name, sizeof s.name, "%.28s-%d", host, (int)getpid());
    struct pc_identity as;
    if (!user && geteuid() == 0 && state->uid != 0) {
        pc_server_complain("%s belongs to another user than root: say --user NAME", state->path);
        return 1;
    }
    int ret = user ? find_user(state, user, &as, why, sizeof why) : 0;
    if (ret == 0)
        ret = open_socket(state->settings.listen, &fd.api, why, sizeof why);
    if (ret == 0)
        ret = open_socket(state->settings.link, &fd.link, why, sizeof why);
    if (ret == 0 && user)
        ret = become(&as, why, sizeof why);
    if (ret == 0)
        ret = confine(why, sizeof why);
    if (ret == 0)
        ret = prepare(&s, &fd, why, sizeof why);
    if (ret == 0)
        run_loop(&s);
    else
        pc_server_complain("%s", why);
    end(&s);
    if (fd.api >= 0)
        close(fd.api);
    if (fd.link >= 0)
        close(fd.link);
    return ret < 0 ? 1 : 0;
}

int pc_server_run(int argc, char **argv)
{
    struct pc_server_options o;
    struct pc_server_state state;
    char why[512];
    if (pc_server_options_read(argc, argv, PC_OPT_STATE | PC_OPT_DATABASE | PC_OPT_USER, 0, &o) < 0)
        return pc_server_usage(argv[0]);
    if (pc_server_state_open(o.state, &state, why, sizeof why) < 0) {
        pc_server_complain("%s", why);
        return PC_EXIT_CONFIG;
    }
    if (o.database)
        snprintf(state.settings.database, sizeof state.settings.database, "%s", o.database);
    /* Several servers share a PostgreSQL, also from one folder; SQLite has one. */
    if (!*state.settings.database && pc_server_state_lock(&state) < 0) {
        pc_server_state_close(&state);
        return pc_server_complain("%s: another server runs on this folder", o.state);
    }
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 2); /* one for each thread would only hold memory back */
    raise_limit(&state.settings);
    int ret = run_server(&state, o.user);
    pc_server_state_close(&state);
    return ret;
}
