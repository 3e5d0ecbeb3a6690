/*
 * Owns the connections of all agents: dialling with backoff as PROTOCOL.md 3.1 has it, the key that each shows, pings. Must not know what frames
 * mean (agent.c).
 */
#include "fleet.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/pki.h"
#include "net/tls.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define DIAL_TICK_MS 20
#define DIALS_A_TICK 500
#define BACKOFF_MAX_S 300
#define HANDSHAKE_S 60
#define PING_S 20 /* well below three heartbeats of any sensible server */

/* Which agent the connection being made is for. OpenSSL hands it to the connection (ex_data) when it makes one: src/net needs no word for
 * 15,000 client keys in one process, because no real client has two. */
static struct sim_agent *dialling;
static int agent_index = -1;

int64_t sim_mono_s(void)
{
    return (int64_t)(pc_mono_ns() / PC_NS_PER_S);
}

static void remember_agent(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    CRYPTO_set_ex_data(ad, idx, dialling);
}

static int show_key(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    struct sim_agent *a = SSL_get_ex_data(ssl, agent_index);
    if (!a || !X509_up_ref(a->cert) || !EVP_PKEY_up_ref(a->link_key))
        return 0;
    *cert = a->cert;
    *key = a->link_key;
    return 1;
}

/* xorshift64: spreads dials, guards nothing. */
static uint64_t draw(struct sim_fleet *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    return f->random ^= f->random << 17;
}

static void dial_again(struct sim_agent *a)
{
    uint64_t span = a->failures < 9 ? 1ULL << a->failures : BACKOFF_MAX_S;
    if (span > BACKOFF_MAX_S)
        span = BACKOFF_MAX_S;
    a->failures++;
    a->dial_ns = pc_mono_ns() + draw(a->fleet) % (span * PC_NS_PER_S);
}

static void dial(struct sim_agent *a)
{
    struct sim_fleet *f = a->fleet;
    f->dials++;
    dialling = a;
    int ret = pc_conn_dial(f->set, (const struct sockaddr *)&f->to, f->to_len, f->name, a, &a->conn);
    dialling = NULL;
    if (ret < 0) {
        a->conn = NULL;
        dial_again(a);
    }
}

static void on_dial_tick(evutil_socket_t fd, short events, void *arg)
{
    struct sim_fleet *f = arg;
    uint64_t now = pc_mono_ns();
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->agents && n < DIALS_A_TICK; i++)
        if (!f->agent[i].conn && f->agent[i].dial_ns <= now) {
            dial(&f->agent[i]);
            n++;
        }
}

static void on_up(struct pc_conn *c)
{
    struct sim_agent *a = pc_conn_user(c);
    char ref[PC_HOST_REF_SIZE], body[320];
    pc_host_ref_format(&a->id.ref, ref);
    int n = snprintf(body, sizeof body,
                     "{\"protocol\":1,\"host\":\"%s\",\"agent\":\"" PC_VERSION "\",\"checkpoint_size\":%llu,\"sequence\":%llu,\"boot\":\"%016x\"}", ref,
                     (unsigned long long)a->seen.size, (unsigned long long)a->sequence, a->index);
    pc_conn_send_body(c, PC_FRAME_HELLO, body, (size_t)n);
    a->said = sim_mono_s();
}

static void on_down(struct pc_conn *c, enum pc_conn_end end, const char *why)
{
    struct sim_agent *a = pc_conn_user(c);
    struct sim_fleet *f = a->fleet;
    a->conn = NULL;
    f->downs++;
    if (a->welcomed) {
        a->welcomed = false;
        a->failures = 0;
        if (f->welcomed-- == f->agents)
            f->first_down_ns = pc_mono_ns();
    }
    dial_again(a);
}

static void on_tick(struct pc_conn *c, int64_t now)
{
    struct sim_agent *a = pc_conn_user(c);
    if (!a->welcomed)
        return;
    sim_send_docs(a, false);
    if (now - a->said >= PING_S) {
        a->said = now;
        pc_conn_send_body(c, PC_FRAME_PING, NULL, 0);
    }
}

static int resolve(struct sim_fleet *f)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    snprintf(host, sizeof host, "%s", f->options->link);
    char *colon = strrchr(host, ':');
    if (!colon)
        return sim_complain("--link %s: must be HOST:PORT", f->options->link);
    *colon = 0;
    int ret = getaddrinfo(host, colon + 1, &hints, &list);
    if (ret)
        return sim_complain("--link %s: %s", f->options->link, gai_strerror(ret));
    memcpy(&f->to, list->ai_addr, list->ai_addrlen);
    f->to_len = list->ai_addrlen;
    freeaddrinfo(list);
    memcpy(f->name, host, sizeof f->name);
    return 0;
}

static int make_tls(struct sim_fleet *f)
{
    char why[256];
    _free_ char *ca = sim_read_file(f->options->ca, NULL);
    if (!ca)
        return 1;
    if (pc_tls_client(ca, NULL, &f->tls, why, sizeof why) < 0)
        return sim_complain("%s: %s", f->options->ca, why);
    agent_index = SSL_get_ex_new_index(0, NULL, remember_agent, NULL, NULL);
    SSL_CTX_set_client_cert_cb(f->tls, show_key);
    return agent_index < 0 ? sim_complain("OpenSSL has no room for our index") : 0;
}

static int read_trust(struct sim_fleet *f)
{
    char why[256] = "";
    uint64_t len;
    _free_ char *text = sim_read_file(f->options->trust, &len);
    if (!text)
        return 1;
    int ret = pc_trust_parse(text, len, &f->trust, why, sizeof why);
    return ret < 0 ? sim_complain("%s: %s", f->options->trust, why) : 0;
}

static int make_agents(struct sim_fleet *f)
{
    const struct sim_options *o = f->options;
    uint64_t now = pc_mono_ns(), step = o->dials_per_s ? PC_NS_PER_S / o->dials_per_s : 0;
    f->agent = calloc(o->agents, sizeof *f->agent);
    if (!f->agent)
        return sim_complain("out of memory");
    f->agents = o->agents;
    for (uint32_t i = 0; i < f->agents; i++) {
        struct sim_agent *a = &f->agent[i];
        a->fleet = f;
        a->index = i;
        a->full = o->full_every && i % o->full_every == 0;
        int ret = sim_identity_make(o->seed, o->first + i, &a->id);
        if (ret == 0)
            ret = pc_pki_link(a->id.link_seed, &a->link_key, &a->cert);
        if (ret < 0)
            return sim_complain("keys of agent %u: %s", i, pc_strerror(ret));
        a->dial_ns = now;
    }
    now = pc_mono_ns(); /* making keys takes a while */
    for (uint32_t i = 0; i < f->agents; i++)
        f->agent[i].dial_ns = now + i * step;
    return 0;
}

static void raise_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int make_loop(struct sim_fleet *f)
{
    static const struct pc_conn_ops ops = {.up = on_up, .frame = sim_agent_frame, .down = on_down, .tick = on_tick};
    const struct pc_conn_limits limits = {.frame_max = PC_FRAME_MAX_DOWN, .handshake_s = HANDSHAKE_S};
    f->base = event_base_new();
    /* Connections get the middle one; signing (answers.c) the last. */
    if (!f->base || event_base_priority_init(f->base, 3) < 0 || pc_conn_set_new(f->base, f->tls, &ops, &limits, f, &f->set) < 0)
        return sim_complain("out of memory");
    return sim_answers_start(f) < 0 || sim_words_start(f) < 0 ? sim_complain("out of memory") : 0;
}

static int dispatch(struct sim_fleet *f)
{
    const struct timeval step = {.tv_usec = DIAL_TICK_MS * 1000};
    struct event *tick = event_new(f->base, -1, EV_PERSIST, on_dial_tick, f);
    if (!tick || event_add(tick, &step) < 0)
        return sim_complain("out of memory");
    event_base_dispatch(f->base);
    event_free(tick);
    return 0;
}

/* The process ends with its input: what it holds goes with it. */
int sim_run(const struct sim_options *o)
{
    static struct sim_fleet fleet; /* a struct pc_trust is large */
    struct sim_fleet *f = &fleet;
    f->options = o;
    f->random = pc_real_ns() | 1;
    signal(SIGPIPE, SIG_IGN);
    raise_limit();
    if (resolve(f) || read_trust(f) || make_tls(f) || make_agents(f) || make_loop(f))
        return 1;
    return dispatch(f);
}
