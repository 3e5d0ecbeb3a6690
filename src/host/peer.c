/*
 * Owns the runner's side of runner.sock: one link at a time, frames in by a table, frames out at the rate that the
 * protocol allows. Everything that comes in is the attacker's, whichever user the link runs as: the peer's credentials
 * only keep others from taking its place.
 */
#include "host/options.h"
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define AGAIN_NS (60 * PC_NS_PER_S) /* what the server did not confirm by then is sent again */

bool pc_bucket_take(struct pc_bucket *b, uint64_t now_ns, double amount)
{
    b->level += (double)(now_ns - b->at_ns) / 1e9 * b->per_s;
    b->at_ns = now_ns;
    if (b->level > b->burst)
        b->level = b->burst;
    if (b->level < amount)
        return false;
    b->level -= amount;
    return true;
}

int pc_peer_listen(struct pc_runner *r)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/" PC_FILE_SOCKET, r->dir.fd);
    _close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (unlinkat(r->dir.fd, PC_FILE_SOCKET, 0) < 0 && errno != ENOENT)
        return -errno;
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
        fchownat(r->dir.fd, PC_FILE_SOCKET, 0, r->link_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(r->dir.fd, PC_FILE_SOCKET, 0660, 0) < 0 || listen(fd, 4) < 0)
        return -errno;
    r->listen_fd = TAKE_FD(fd);
    return 0;
}

void pc_peer_close(struct pc_runner *r, const char *why)
{
    if (r->peer_fd < 0)
        return;
    if (r->welcomed)
        pc_event(r->log, PC_LEVEL_INFO, "offline", NULL, "no connection to the server: %s", why);
    close(TAKE_FD(r->peer_fd));
    pc_queue_free(&r->in);
    pc_queue_free(&r->out);
    r->welcomed = r->close_peer = false;
}

static bool may_be_link(const struct pc_runner *r, int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == r->link_uid || who.uid == 0);
}

/* A new link takes the place of the one before: that one is dead, or the same one trying again. */
void pc_peer_accept(struct pc_runner *r)
{
    _close_ int fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || !may_be_link(r, fd))
        return;
    pc_peer_close(r, "another connection took its place");
    r->peer_fd = TAKE_FD(fd);
    r->outbox_at = 0;
    json_t *o = json_pack("{s:i, s:s, s:s, s:I, s:I, s:s}", "protocol", 1, "host", r->ref, "agent", PC_VERSION,
                          "checkpoint_size", (json_int_t)r->memory.checkpoint.size, "sequence",
                          (json_int_t)r->memory.sequence, "boot", r->boot);
    if (o && strlen(r->boot) > 16)
        json_object_set_new(o, "boot", json_stringn(r->boot, 16));
    _free_ char *hello = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!hello || !pc_peer_send(r, PC_FRAME_HELLO, hello, strlen(hello)))
        pc_peer_close(r, "out of memory");
}

bool pc_peer_send(struct pc_runner *r, enum pc_frame_type type, const void *body, size_t len)
{
    return r->peer_fd >= 0 && pc_queue_add_frame(&r->out, type, body, len) == 0;
}

static void welcome(struct pc_runner *r, const char *json, size_t len)
{
    (void)json;
    (void)len; /* the server's clock and heartbeat mean nothing here */
    if (r->welcomed)
        return;
    r->welcomed = true;
    r->outbox_at = 0;
    r->outbox_again_ns = pc_boot_ns() + AGAIN_NS;
    pc_event(r->log, PC_LEVEL_INFO, "online", NULL, "connected to the server");
    if (r->trial)
        r->exit_status =
            PC_EXIT_UPGRADED; /* that is what the trial is about: a host that cannot be reached could not be helped */
}

static const struct {
    enum pc_frame_type type;
    void (*take)(struct pc_runner *r, const char *json, size_t len);
} inward[] = {
    {PC_FRAME_WELCOME, welcome},
    {PC_FRAME_BUNDLE, pc_intake_bundle},
    {PC_FRAME_CONTINUE, pc_intake_continue},
    {PC_FRAME_START, pc_intake_start},
    {PC_FRAME_LOOK, pc_intake_look},
    {PC_FRAME_CHECKPOINT, pc_intake_checkpoint},
    {PC_FRAME_TRUST, pc_intake_trust},
    {PC_FRAME_REVOKE, pc_intake_revoke},
    {PC_FRAME_GOT, pc_intake_got},
    {PC_FRAME_SERVER, pc_intake_server},
};

static bool dispatch(struct pc_runner *r, enum pc_frame_type type, const uint8_t *body, uint32_t len)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(inward); i++) {
        if (inward[i].type != type)
            continue;
        inward[i].take(r, (const char *)body, len);
        return true;
    }
    return false;
}

#define FRAMES_A_TURN 64

static void read_frames(struct pc_runner *r)
{
    int got = pc_queue_receive(&r->in, r->peer_fd);
    for (int i = 0; i < FRAMES_A_TURN && r->peer_fd >= 0; i++) {
        enum pc_frame_type type;
        const uint8_t *body;
        uint32_t len;
        int n = pc_queue_frame(&r->in, PC_FRAME_MAX_DOWN, &type, &body, &len);
        if (n == 0)
            break;
        /*
         * Each is a write to the disk, and so they come at a bounded rate. None may be left out: what the server sends
         * after it is proven from there.
         */
        if (n > 0 && type == PC_FRAME_CHECKPOINT && !pc_bucket_take(&r->checkpoints, pc_boot_ns(), 1))
            break;
        if (n < 0 || !dispatch(r, type, body, len)) {
            pc_event(r->log, PC_LEVEL_WARNING, "refused", NULL,
                     "check syntax: the server sent a frame that is none of its kinds");
            pc_peer_close(r, "the server broke the protocol");
            return;
        }
        if (r->peer_fd < 0)
            return;
        pc_queue_take(&r->in, PC_FRAME_HEAD + len);
    }
    if (got < 0 && r->peer_fd >= 0)
        pc_peer_close(r, got == -EPIPE ? "the link hung up" : pc_strerror(got));
}

/*
 * One envelope after the other, as fast as the server takes them from us (PROTOCOL 3.1); each again until it says
 * `got`.
 */
static void send_outbox(struct pc_runner *r, uint64_t now_ns)
{
    if (now_ns > r->outbox_again_ns) {
        r->outbox_at = 0;
        r->outbox_again_ns = now_ns + AGAIN_NS;
    }
    while (r->out.len < (256u << 10)) {
        _free_ char *json = NULL;
        size_t len;
        uint64_t number;
        int type;
        if (pc_memory_outbox_next(r->file, r->outbox_at, &number, &type, &json, &len) < 0)
            return;
        if (!pc_bucket_take(&r->sending, now_ns, (double)(len + PC_FRAME_HEAD)) ||
            !pc_peer_send(r, (enum pc_frame_type)type, json, len))
            return;
        r->outbox_at = number;
    }
}

void pc_peer_step(struct pc_runner *r, uint64_t now_ns)
{
    if (r->peer_fd >= 0)
        read_frames(r);
    if (r->peer_fd >= 0 && r->welcomed)
        send_outbox(r, now_ns);
    int n = r->peer_fd >= 0 ? pc_queue_send(&r->out, r->peer_fd) : 0;
    if (n < 0)
        pc_peer_close(r, "the link hung up");
    else if (r->close_peer && r->out.len == 0)
        pc_peer_close(r, "done");
}
