/*
 * Owns one session of the link: connects to the runner, then to the server, and carries frames between the two until
 * either goes. Looks into no frame but its head, save `welcome` for the heartbeat. Both sides are bounded, and the one
 * that does not read stops the one that writes.
 */
#include "host/link.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "host/queue.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DOWN_QUEUE_MAX (2 * (PC_FRAME_MAX_DOWN + PC_FRAME_HEAD))
#define UP_QUEUE_MAX (2 * (PC_FRAME_MAX + PC_FRAME_HEAD))
#define HELLO_WAIT_MS 10000
#define CONNECT_S 20L
#define TLS_CHUNK (16u << 10)

struct session {
    struct pc_link *link;
    CURL *curl;
    int runner_fd, server_fd;
    struct pc_queue from_server, to_server, from_runner, to_runner;
    /* OpenSSL wants an interrupted write tried again with the same bytes at the same place. */
    char chunk[TLS_CHUNK];
    size_t chunk_len;
    uint64_t heard_ns, said_ns, heartbeat_ns;
    bool welcomed;
    const char *over; /* why it ended; NULL: goes on */
};

static int connect_runner(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = PC_FILE_SOCKET};
    _close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return -errno;
    return TAKE_FD(fd);
}

/* The runner speaks first: nothing is said to the server before that. */
static int wait_hello(struct session *s)
{
    uint64_t until = pc_mono_ns() + HELLO_WAIT_MS * PC_NS_PER_MS;
    for (;;) {
        enum pc_frame_type type;
        const uint8_t *body;
        uint32_t len;
        int r = pc_queue_frame(&s->from_runner, PC_FRAME_MAX, &type, &body, &len);
        if (r != 0)
            return r < 0 ? r : type == PC_FRAME_HELLO ? 0 : PC_E_SYNTAX;
        uint64_t now = pc_mono_ns();
        if (now >= until)
            return -ETIMEDOUT;
        struct pollfd p = {s->runner_fd, POLLIN, 0};
        (void)poll(&p, 1, (int)((until - now) / PC_NS_PER_MS) + 1);
        r = pc_queue_receive(&s->from_runner, s->runner_fd);
        if (r < 0)
            return r;
    }
}

/* TLS connection through libcurl, which knows proxies; after that it only carries bytes. */
static enum pc_link_end connect_server(struct session *s, struct curl_slist **list)
{
    struct pc_link *l = s->link;
    struct pc_web w = {.ca = PC_FILE_CA, .cert = PC_FILE_LINK_CERT, .key = PC_FILE_LINK_KEY, .proxy = l->proxy,
                       .addresses = l->addresses[0] ? l->addresses : NULL, .connect_s = CONNECT_S};
    char url[400], detail[CURL_ERROR_SIZE] = "";
    curl_socket_t fd;
    snprintf(url, sizeof url, "https://%s", l->facts.address);
    s->curl = pc_web_handle(&w, url, list);
    if (!s->curl) {
        snprintf(l->why, sizeof l->why, "out of memory");
        return PC_LINK_NO_SERVER;
    }
    pc_curl()->easy_setopt(s->curl, CURLOPT_CONNECT_ONLY, 1L);
    pc_curl()->easy_setopt(s->curl, CURLOPT_SSL_ENABLE_ALPN, 0L); /* what follows is not HTTP */
    pc_curl()->easy_setopt(s->curl, CURLOPT_ERRORBUFFER, detail);
    CURLcode rc = pc_curl()->easy_perform(s->curl);
    if (rc == CURLE_OK)
        rc = pc_curl()->easy_getinfo(s->curl, CURLINFO_ACTIVESOCKET, &fd);
    if (rc != CURLE_OK) {
        snprintf(l->why, sizeof l->why, "%s: %s", l->facts.address, detail[0] ? detail : pc_curl()->easy_strerror(rc));
        return rc == CURLE_PEER_FAILED_VERIFICATION ? PC_LINK_NOT_PINNED : PC_LINK_NO_SERVER;
    }
    s->server_fd = fd;
    return PC_LINK_ENDED;
}

static void take_heartbeat(struct session *s, const uint8_t *body, uint32_t len)
{
    json_t *o = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, NULL);
    json_int_t beat = json_integer_value(json_object_get(o, "heartbeat"));
    json_decref(o);
    if (beat >= 1 && beat <= 3600)
        s->heartbeat_ns = (uint64_t)beat * PC_NS_PER_S;
    s->welcomed = true;
}

static bool from_server_allowed(enum pc_frame_type type)
{
    return (type >= PC_FRAME_WELCOME && type <= PC_FRAME_REVOKE) || type == PC_FRAME_GOT || type == PC_FRAME_SERVER;
}

static bool from_runner_allowed(enum pc_frame_type type)
{
    return type == PC_FRAME_HELLO || (type >= PC_FRAME_ACK && type <= PC_FRAME_EVENT);
}

static int frame_down(struct session *s, enum pc_frame_type type, const uint8_t *body, uint32_t len)
{
    if (type == PC_FRAME_PONG)
        return 0;
    if (type == PC_FRAME_PING)
        return pc_queue_add_frame(&s->to_server, PC_FRAME_PONG, NULL, 0);
    if (!from_server_allowed(type))
        return PC_E_SYNTAX;
    if (type == PC_FRAME_WELCOME)
        take_heartbeat(s, body, len);
    return pc_queue_add_frame(&s->to_runner, type, body, len);
}

static int frame_up(struct session *s, enum pc_frame_type type, const uint8_t *body, uint32_t len)
{
    return from_runner_allowed(type) ? pc_queue_add_frame(&s->to_server, type, body, len) : PC_E_SYNTAX;
}

/* Moves whole frames from one queue to the other side, as long as there is room there. */
static int pass(struct session *s, struct pc_queue *from, const struct pc_queue *to, uint32_t max,
                int (*frame)(struct session *, enum pc_frame_type, const uint8_t *, uint32_t))
{
    for (;;) {
        enum pc_frame_type type;
        const uint8_t *body;
        uint32_t len;
        int r = pc_queue_frame(from, max, &type, &body, &len);
        if (r <= 0)
            return r;
        if (to->max - to->len < len + 2 * PC_FRAME_HEAD)
            return 0;
        r = frame(s, type, body, len);
        if (r < 0)
            return r;
        pc_queue_take(from, PC_FRAME_HEAD + len);
    }
}

static int receive_tls(struct session *s)
{
    char chunk[TLS_CHUNK];
    while (s->from_server.max - s->from_server.len >= sizeof chunk) {
        size_t n = 0;
        CURLcode rc = pc_curl()->easy_recv(s->curl, chunk, sizeof chunk, &n);
        if (rc == CURLE_AGAIN)
            return 0;
        if (rc != CURLE_OK || n == 0)
            return -EPIPE;
        s->heard_ns = pc_mono_ns();
        int r = pc_queue_add(&s->from_server, chunk, n);
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_tls(struct session *s)
{
    while (s->chunk_len || s->to_server.len) {
        size_t sent = 0;
        if (s->chunk_len == 0) {
            s->chunk_len = s->to_server.len < TLS_CHUNK ? s->to_server.len : TLS_CHUNK;
            memcpy(s->chunk, pc_queue_front(&s->to_server), s->chunk_len);
            pc_queue_take(&s->to_server, s->chunk_len);
        }
        CURLcode rc = pc_curl()->easy_send(s->curl, s->chunk, s->chunk_len, &sent);
        if (rc == CURLE_AGAIN)
            return 0;
        if (rc != CURLE_OK)
            return -EPIPE;
        memmove(s->chunk, s->chunk + sent, s->chunk_len - sent);
        s->chunk_len -= sent;
        s->said_ns = pc_mono_ns();
    }
    return 0;
}

static int keep_alive(struct session *s)
{
    uint64_t now = pc_mono_ns();
    if (now - s->heard_ns > 3 * s->heartbeat_ns)
        return -ETIMEDOUT;
    if (now - s->said_ns > s->heartbeat_ns && s->to_server.len == 0) {
        s->said_ns = now;
        return pc_queue_add_frame(&s->to_server, PC_FRAME_PING, NULL, 0);
    }
    return 0;
}

static void set_over(struct session *s, int r, const char *side)
{
    if (r < 0 && !s->over)
        s->over = r == -ETIMEDOUT ? "nothing heard for three heartbeats" : side;
}

static void turn(struct session *s)
{
    bool want_in = s->from_server.max - s->from_server.len >= TLS_CHUNK;
    bool want_runner = s->from_runner.len < s->from_runner.max;
    struct pollfd p[] = {
        {s->server_fd, (short)((want_in ? POLLIN : 0) | (s->chunk_len || s->to_server.len ? POLLOUT : 0)), 0},
        {s->runner_fd, (short)((want_runner ? POLLIN : 0) | (s->to_runner.len ? POLLOUT : 0)), 0}};
    (void)poll(p, 2, 250);
    set_over(s, receive_tls(s), "the server closed the connection");
    set_over(s, pass(s, &s->from_server, &s->to_runner, PC_FRAME_MAX_DOWN, frame_down),
             "the server broke the protocol");
    if (s->to_runner.len)
        set_over(s, pc_queue_send(&s->to_runner, s->runner_fd), "the runner went away");
    if (want_runner && p[1].revents)
        set_over(s, pc_queue_receive(&s->from_runner, s->runner_fd), "the runner went away");
    set_over(s, pass(s, &s->from_runner, &s->to_server, PC_FRAME_MAX, frame_up), "the runner broke the protocol");
    set_over(s, keep_alive(s), "out of memory");
    set_over(s, send_tls(s), "the server closed the connection");
}

static void start(struct session *s, struct pc_link *l)
{
    *s = (struct session){
        .link = l, .runner_fd = -1, .server_fd = -1, .heartbeat_ns = l->facts.heartbeat * PC_NS_PER_S};
    pc_queue_init(&s->from_server, DOWN_QUEUE_MAX);
    pc_queue_init(&s->to_runner, DOWN_QUEUE_MAX);
    pc_queue_init(&s->from_runner, UP_QUEUE_MAX);
    pc_queue_init(&s->to_server, UP_QUEUE_MAX);
}

static void finish(struct session *s)
{
    if (s->curl)
        pc_curl()->easy_cleanup(s->curl);
    pc_closep(&s->runner_fd);
    pc_queue_free(&s->from_server);
    pc_queue_free(&s->to_runner);
    pc_queue_free(&s->from_runner);
    pc_queue_free(&s->to_server);
}

static enum pc_link_end run(struct session *s, struct curl_slist **list, uint64_t *lived_s)
{
    struct pc_link *l = s->link;
    int r = s->runner_fd = connect_runner();
    if (r >= 0)
        r = wait_hello(s);
    if (r < 0) {
        snprintf(l->why, sizeof l->why, "the runner is not there: %s", pc_strerror(r));
        return PC_LINK_NO_RUNNER;
    }
    enum pc_link_end end = connect_server(s, list);
    if (end != PC_LINK_ENDED)
        return end;
    uint64_t began = s->heard_ns = s->said_ns = pc_mono_ns();
    bool said = false;
    while (!s->over) {
        turn(s);
        if (s->welcomed && !said) {
            said = true;
            pc_event(l->log, PC_LEVEL_INFO, "connected", NULL, "connected to %s", l->facts.address);
        }
    }
    *lived_s = s->welcomed ? (pc_mono_ns() - began) / PC_NS_PER_S : 0;
    snprintf(l->why, sizeof l->why, "%s: %s", l->facts.address, s->over);
    return s->welcomed ? PC_LINK_ENDED : PC_LINK_NO_SERVER;
}

enum pc_link_end pc_link_session(struct pc_link *l, uint64_t *lived_s)
{
    struct session *s = malloc(sizeof *s);
    struct curl_slist *list = NULL;
    *lived_s = 0;
    if (!s) {
        snprintf(l->why, sizeof l->why, "out of memory");
        return PC_LINK_NO_RUNNER;
    }
    start(s, l);
    enum pc_link_end end = run(s, &list, lived_s);
    finish(s);
    if (list)
        pc_curl()->slist_free_all(list);
    free(s);
    return end;
}

int pc_link_ask_statement(struct pc_link *l)
{
    struct pc_web w = {
        .proxy = l->proxy, .addresses = l->addresses[0] ? l->addresses : NULL, .connect_s = CONNECT_S, .total_s = 60};
    char url[600];
    long status = 0;
    _free_ char *text = NULL;
    size_t len;
    snprintf(url, sizeof url, "%s/v1/server-statement", l->facts.url);
    int r = pc_web_ask(&w, url, NULL, 256u << 10, &status, &text, &len, l->why, sizeof l->why);
    if (r < 0 || status != 200)
        return r < 0 ? r : PC_E_NOTFOUND;
    _close_ int fd = connect_runner();
    if (fd < 0)
        return fd;
    struct pc_queue q;
    pc_queue_init(&q, (512u << 10));
    r = pc_queue_add_frame(&q, PC_FRAME_SERVER, text, len);
    while (r == 0 && q.len) {
        struct pollfd p = {fd, POLLOUT, 0};
        if (poll(&p, 1, 5000) <= 0)
            r = -ETIMEDOUT;
        else if ((r = pc_queue_send(&q, fd)) > 0)
            r = 0;
    }
    pc_queue_free(&q);
    char byte;
    if (r == 0) { /* until the runner has dealt with it and hangs up: else the next try would come too early */
        (void)shutdown(fd, SHUT_WR);
        struct timeval tv = {.tv_sec = 10};
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
        while (recv(fd, &byte, 1, 0) > 0)
            ;
    }
    return r;
}
