/*
 * Owns the control socket: peers, their rights, their buffers, and the life of replies. Hands checked requests to the
 * guard's handlers and their answers to the peers. Must not know what any command means, and must never block: it runs
 * in the guard's main loop. What a request may look like is control_parse.c.
 */
#include "agent/control.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char sock_name[] = "control.sock", lock_name[] = "control.lock";
/* Members of the group cannot keep root out by holding every place. */
#define READERS_MAX (PC_CONTROL_PEERS_MAX * 3 / 4)
#define KEEPS_UP_BYTES (1u << 20)
#define LISTENER PC_CONTROL_PEERS_MAX

/* A peer sends one line, then waits for its answer; sent bytes at the front of out are taken away before it grows. */
struct peer {
    int fd;
    uint32_t slot;
    uid_t uid;
    bool all;          /* may use every command, else those marked read_only */
    bool refused;      /* may use none: told so whatever it asks */
    bool asked;        /* the request line is in */
    bool last;         /* the final answer is in out: close when it is sent */
    bool dead;         /* to be removed by sweep */
    uint32_t serving;  /* not yet: that many callers of ours are at work with it */
    uint64_t since_ns; /* last progress: connected, or bytes of the answer taken */
    struct pc_buf in, out;
    size_t sent;
    struct pc_reply *reply;
    struct pc_control *control;
};

struct pc_reply {
    struct peer *peer; /* NULL: gone */
    uid_t uid;
};

struct pc_control {
    int epoll_fd, listen_fd, lock_fd, dir_fd;
    int spare_fd; /* given up for a moment when descriptors run out, see turn_away */
    const struct pc_command *commands;
    void *ctx;
    gid_t group; /* (gid_t)-1: none */
    uint32_t count, readers;
    bool paused; /* full: the listener is not polled */
    uint64_t now_ns;
    struct peer *peers[PC_CONTROL_PEERS_MAX];
};

static void kill_peer(struct peer *p)
{
    if (p->dead)
        return;
    p->dead = true;
    close(p->fd); /* also leaves epoll */
    p->fd = -1;
    if (p->reply)
        p->reply->peer = NULL;
    p->reply = NULL;
}

static void free_peer(struct pc_control *c, struct peer *p)
{
    kill_peer(p);
    c->peers[p->slot] = NULL;
    c->count--;
    if (!p->all)
        c->readers--;
    pc_buf_free(&p->in);
    pc_buf_free(&p->out);
    free(p);
}

static void watch(struct pc_control *c, int op, int fd, uint32_t slot, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.u32 = slot};
    epoll_ctl(c->epoll_fd, op, fd, &ev); /* fails for nothing but a lack of memory on ADD, which adopt checks */
}

/* Removes dead peers, and polls the listener again when there is room. */
static void sweep(struct pc_control *c)
{
    for (uint32_t i = 0; i < PC_CONTROL_PEERS_MAX; i++)
        if (c->peers[i] && c->peers[i]->dead && !c->peers[i]->serving)
            free_peer(c, c->peers[i]);
    if (c->paused && c->count < PC_CONTROL_PEERS_MAX) {
        c->paused = false;
        watch(c, EPOLL_CTL_MOD, c->listen_fd, LISTENER, EPOLLIN);
    }
}

static void pause_listener(struct pc_control *c)
{
    c->paused = true;
    watch(c, EPOLL_CTL_MOD, c->listen_fd, LISTENER, 0);
}

/* Sends what the socket takes now. */
static void flush_peer(struct peer *p)
{
    while (!p->dead && p->sent < p->out.len) {
        ssize_t n = send(p->fd, p->out.data + p->sent, p->out.len - p->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            kill_peer(p);
            return;
        }
        p->sent += (size_t)n;
        p->since_ns = p->control->now_ns;
    }
    if (p->dead)
        return;
    if (p->sent == p->out.len && p->last)
        kill_peer(p);
    else if (p->asked)
        watch(p->control, EPOLL_CTL_MOD, p->fd, p->slot, p->sent < p->out.len ? EPOLLOUT : 0);
}

static int add_bytes(const char *data, size_t len, void *buf)
{
    return pc_buf_add(buf, data, len);
}

/* Appends one line to a peer's answer, or nothing. PC_E_LIMIT when too much waits already. */
static int queue_line(struct peer *p, json_t *line)
{
    if (p->sent) {
        memmove(p->out.data, p->out.data + p->sent, p->out.len - p->sent);
        p->out.len -= p->sent;
        p->sent = 0;
    }
    size_t before = p->out.len;
    if (before == 0)
        p->since_ns = p->control->now_ns; /* the reader's time starts when there is something to read */
    int r = json_dump_callback(line, add_bytes, &p->out, JSON_COMPACT) < 0 ? PC_E_LIMIT : pc_buf_add(&p->out, "\n", 1);
    if (r < 0) {
        p->out.len = before;
        p->out.failed = false;
    }
    return r;
}

static json_t *failure(enum pc_code code, const char *text)
{
    return json_pack("{s:b, s:s, s:i}", "ok", 0, "error", text, "code", (int)code);
}

/*
 * Queues the final line. An answer that is too long becomes a short failure; when even that has no room, the peer goes.
 */
static void finish(struct peer *p, json_t *line)
{
    int r = line ? queue_line(p, line) : -ENOMEM;
    json_decref(line);
    if (r < 0) {
        json_t *sorry = failure(PC_CODE_FAILED, r == PC_E_LIMIT ? "the answer is too long" : pc_strerror(r));
        r = sorry ? queue_line(p, sorry) : -ENOMEM;
        json_decref(sorry);
    }
    if (r < 0) {
        kill_peer(p);
        return;
    }
    p->last = true;
    flush_peer(p);
}

int pc_reply_progress(struct pc_reply *reply, json_t *json)
{
    if (!reply->peer) {
        json_decref(json);
        return -EPIPE;
    }
    json_t *line = json ? json_pack("{s:o}", "progress", json) : NULL;
    int r = line ? queue_line(reply->peer, line) : -ENOMEM;
    json_decref(line);
    if (r == PC_E_LIMIT)
        kill_peer(reply->peer);
    else if (r == 0)
        flush_peer(reply->peer);
    return reply->peer ? r : -EPIPE;
}

/* Ends the reply; the peer it was for, or NULL. */
static struct peer *end_reply(struct pc_reply *reply)
{
    struct peer *p = reply->peer;
    if (p)
        p->reply = NULL;
    free(reply);
    return p;
}

void pc_reply_done(struct pc_reply *reply, json_t *result)
{
    struct peer *p = end_reply(reply);
    if (p)
        finish(p, result ? json_pack("{s:b, s:o}", "ok", 1, "result", result) : NULL);
    else
        json_decref(result);
}

void pc_reply_fail(struct pc_reply *reply, enum pc_code code, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pc_utf8_cut(text);
    struct peer *p = end_reply(reply);
    if (p)
        finish(p, failure(code, text));
}

bool pc_reply_gone(const struct pc_reply *reply)
{
    return !reply->peer;
}

bool pc_reply_keeps_up(const struct pc_reply *reply)
{
    return !reply->peer || reply->peer->out.len - reply->peer->sent < KEEPS_UP_BYTES;
}

uid_t pc_reply_uid(const struct pc_reply *reply)
{
    return reply->uid;
}

/* The line is complete: check it, check the right to ask, and hand it to its handler. */
static void dispatch(struct peer *p, size_t len)
{
    struct pc_control *c = p->control;
    const struct pc_command *cmd;
    json_t *args;
    char err[256];
    p->asked = true;
    watch(c, EPOLL_CTL_MOD, p->fd, p->slot, 0);
    if (p->refused) {
        finish(p, failure(PC_CODE_REFUSED, "not allowed: only root and members of group " PC_CONTROL_GROUP));
        return;
    }
    if (pc_control_parse(c->commands, p->in.data, len, &cmd, &args, err, sizeof err) < 0) {
        finish(p, failure(PC_CODE_USAGE, err));
        return;
    }
    if (!p->all && !cmd->read_only) {
        finish(p, failure(PC_CODE_REFUSED, "not allowed: members of group " PC_CONTROL_GROUP " may only look"));
    } else if (!(p->reply = calloc(1, sizeof *p->reply))) {
        finish(p, failure(PC_CODE_FAILED, pc_strerror(-ENOMEM)));
    } else {
        *p->reply = (struct pc_reply){.peer = p, .uid = p->uid};
        cmd->handler(c->ctx, args, p->reply);
    }
    json_decref(args);
}

static void read_peer(struct peer *p)
{
    char chunk[4096];
    while (!p->dead && !p->asked) {
        ssize_t n = recv(p->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) { /* left before asking */
            kill_peer(p);
            return;
        }
        const char *eol = memchr(chunk, '\n', (size_t)n);
        size_t take = eol ? (size_t)(eol - chunk) : (size_t)n;
        if (pc_buf_add(&p->in, chunk, take) < 0) {
            p->asked = true;
            finish(p, failure(PC_CODE_USAGE, "the request is too long"));
        } else if (eol && eol + 1 != chunk + n) {
            p->asked = true;
            finish(p, failure(PC_CODE_USAGE, "bytes after the request; allowed: one line"));
        } else if (eol) {
            dispatch(p, p->in.len);
        }
    }
}

static bool has_group(int fd, gid_t primary, gid_t wanted)
{
    if (wanted == (gid_t)-1)
        return false;
    if (primary == wanted)
        return true;
    gid_t few[64];
    _free_ gid_t *many = NULL;
    gid_t *groups = few;
    socklen_t len = sizeof few;
    int r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
    if (r < 0 && errno == ERANGE && (groups = many = malloc(len)) != NULL) /* the kernel's own limit is 65,536 groups */
        r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
    for (size_t i = 0; r == 0 && groups && i < len / sizeof *groups; i++)
        if (groups[i] == wanted)
            return true;
    return false;
}

/* Finds out who is there. -errno when the kernel does not say. */
static int identify(const struct pc_control *c, struct peer *p)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(p->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    p->uid = cred.uid;
    p->all = cred.uid == 0 || cred.uid == geteuid();
    p->refused = !p->all && !has_group(p->fd, cred.gid, c->group);
    return 0;
}

static uint32_t free_slot(const struct pc_control *c)
{
    uint32_t slot = 0;
    while (slot < PC_CONTROL_PEERS_MAX && c->peers[slot])
        slot++;
    return slot;
}

int pc_control_adopt(struct pc_control *c, int fd, uint64_t now_ns)
{
    uint32_t slot = free_slot(c);
    if (slot == PC_CONTROL_PEERS_MAX)
        return PC_E_LIMIT;
    _free_ struct peer *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    *p = (struct peer){.fd = fd, .slot = slot, .since_ns = now_ns, .control = c};
    int r = identify(c, p);
    if (r < 0)
        return r;
    if (!p->all && c->readers >= READERS_MAX)
        return PC_E_LIMIT;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = slot};
    if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return -errno;
    pc_buf_init(&p->in, PC_CONTROL_REQUEST_MAX);
    pc_buf_init(&p->out, PC_CONTROL_QUEUE_MAX);
    c->count++;
    if (!p->all)
        c->readers++;
    c->peers[slot] = TAKE_PTR(p);
    return 0;
}

/*
 * Out of descriptors: a connection left in the backlog would keep the epoll descriptor ready, and the guard's loop
 * spinning. So take it on the spare descriptor, and close it.
 */
static void turn_away(struct pc_control *c)
{
    close(TAKE_FD(c->spare_fd));
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    pc_closep(&fd);
    c->spare_fd = fcntl(c->dir_fd, F_DUPFD_CLOEXEC, 0);
}

static void accept_peers(struct pc_control *c)
{
    while (c->count < PC_CONTROL_PEERS_MAX) {
        _close_ int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && c->spare_fd >= 0)
            turn_away(c);
        if (fd < 0)
            return;
        if (pc_control_adopt(c, fd, c->now_ns) == 0)
            TAKE_FD(fd);
    }
    pause_listener(c);
}

/* Lets go of peers that neither ask nor read. A peer whose handler is still at work is not idle. */
static void drop_idle(struct pc_control *c)
{
    for (uint32_t i = 0; i < PC_CONTROL_PEERS_MAX; i++) {
        struct peer *p = c->peers[i];
        bool waits_for_us = p && p->asked && p->sent == p->out.len;
        if (p && !waits_for_us && c->now_ns > p->since_ns && c->now_ns - p->since_ns > PC_CONTROL_IDLE_NS)
            kill_peer(p);
    }
}

static void serve(struct pc_control *c, const struct epoll_event *ev)
{
    if (ev->data.u32 == LISTENER) {
        accept_peers(c);
        return;
    }
    struct peer *p = c->peers[ev->data.u32];
    if (!p || p->dead)
        return;
    p->serving++; /* its handler may call pc_control_step, and the peer leave meanwhile */
    if (ev->events & EPOLLIN)
        read_peer(p);
    if (ev->events & EPOLLOUT)
        flush_peer(p);
    if ((ev->events & (EPOLLHUP | EPOLLERR)) && (p->asked || !(ev->events & EPOLLIN)))
        kill_peer(p);
    p->serving--;
}

int pc_control_step(struct pc_control *c, uint64_t now_ns)
{
    c->now_ns = now_ns;
    sweep(c);
    struct epoll_event ev[PC_CONTROL_PEERS_MAX + 1];
    int n = epoll_wait(c->epoll_fd, ev, PC_ARRAY_SIZE(ev), 0);
    if (n < 0 && errno != EINTR)
        return -errno;
    for (int i = 0; i < n; i++)
        serve(c, &ev[i]);
    drop_idle(c);
    sweep(c);
    return 0;
}

uint32_t pc_control_peers(const struct pc_control *c)
{
    return c->count;
}

void pc_control_allow_group(struct pc_control *c, gid_t gid)
{
    c->group = gid;
}

int pc_control_fd(const struct pc_control *c)
{
    return c->epoll_fd;
}

static gid_t find_group(void)
{
    const struct group *g = getgrnam(PC_CONTROL_GROUP);
    return g ? g->gr_gid : (gid_t)-1;
}

/*
 * Binds the socket through the folder's descriptor, because a state path may be longer than sun_path. It listens only
 * once owner and mode are right: until then every connect is refused.
 */
static int bind_socket(struct pc_control *c)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/%s", c->dir_fd, sock_name);
    c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listen_fd < 0)
        return -errno;
    if (unlinkat(c->dir_fd, sock_name, 0) < 0 && errno != ENOENT)
        return -errno;
    if (bind(c->listen_fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return -errno;
    bool group = c->group != (gid_t)-1 && fchownat(c->dir_fd, sock_name, (uid_t)-1, c->group, AT_SYMLINK_NOFOLLOW) == 0;
    if (fchmodat(c->dir_fd, sock_name, group ? 0660 : 0600, 0) < 0 || listen(c->listen_fd, PC_CONTROL_PEERS_MAX) < 0)
        return -errno;
    watch(c, EPOLL_CTL_ADD, c->listen_fd, LISTENER, EPOLLIN);
    return 0;
}

/*
 * The lock says that somebody lives; it goes with its holder, however that ends. But a child which a killed holder had
 * just forked keeps it until its exec, so one that is taken is asked for again for a moment before it counts as
 * somebody's.
 */
#define LOCK_TRIES 40
#define LOCK_PAUSE_MS 50
static int take_lock(int fd)
{
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK)
            return -errno;
        if (i == LOCK_TRIES)
            return -EADDRINUSE;
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return 0;
}

static int open_state(struct pc_control *c, const char *state_dir)
{
    c->dir_fd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    c->spare_fd = c->dir_fd < 0 ? -1 : fcntl(c->dir_fd, F_DUPFD_CLOEXEC, 0);
    if (c->spare_fd < 0)
        return -errno;
    c->lock_fd = openat(c->dir_fd, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (c->lock_fd < 0)
        return -errno;
    return take_lock(c->lock_fd);
}

static void release(struct pc_control *c)
{
    const int fds[] = {c->listen_fd, c->epoll_fd, c->spare_fd, c->dir_fd, c->lock_fd};
    for (size_t i = 0; i < PC_ARRAY_SIZE(fds); i++)
        pc_closep(&fds[i]);
    free(c);
}

int pc_control_listen(const char *state_dir, const struct pc_command *commands, void *ctx, struct pc_control **out)
{
    struct pc_control *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (struct pc_control){.listen_fd = -1, .lock_fd = -1, .dir_fd = -1, .spare_fd = -1, .commands = commands,
                             .ctx = ctx, .group = find_group()};
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int r = c->epoll_fd < 0 ? -errno : open_state(c, state_dir);
    if (r == 0)
        r = bind_socket(c);
    if (r < 0) {
        release(c);
        return r;
    }
    *out = c;
    return 0;
}

void pc_control_close(struct pc_control *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < PC_CONTROL_PEERS_MAX; i++)
        if (c->peers[i])
            free_peer(c, c->peers[i]);
    unlinkat(c->dir_fd, sock_name, 0);
    release(c);
}
