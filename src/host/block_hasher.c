/*
 * Owns reading and hashing files for the blocker, in a process of its own, and the questions to it. Must not answer the
 * kernel, nor keep what it found out: the blocker does both.
 */
#include "host/block_hasher.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/files.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define HASH_NS PC_NS_PER_S /* the same as the blocker waits: longer would be for nobody */
#define SLICE_MS 100

struct question {
    uint64_t number;
};
struct answer {
    uint64_t number;
    int verdict; /* 1 blocked, 0 not, -errno not known */
};
union control {
    struct cmsghdr head; /* for its alignment */
    char space[CMSG_SPACE(sizeof(int))];
};

/* --- in the child */

static int in_time(void *until_ns)
{
    return pc_mono_ns() > *(const uint64_t *)until_ns ? -ETIMEDOUT : 0;
}

static int judge(const struct pc_blocked *list, int fd)
{
    uint64_t until = pc_mono_ns() + HASH_NS;
    uint8_t sha256[32];
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : pc_hash_file(fd, in_time, &until, sha256);
    if (r < 0)
        return r;
    bool listed = false;
    for (uint32_t i = 0; i < list->n; i++)
        listed |= memcmp(list->sha256[i], sha256, sizeof sha256) == 0;
    return listed && !pc_blocker_spares_file(&st);
}

/* The next question and its file. False: nobody asks any more. */
static bool receive(int fd, struct question *q, int *file)
{
    union control c;
    struct iovec v = {q, sizeof *q};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof c.space};
    ssize_t n;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    const struct cmsghdr *head = n == (ssize_t)sizeof *q ? CMSG_FIRSTHDR(&m) : NULL;
    if (!head || head->cmsg_type != SCM_RIGHTS)
        return false;
    memcpy(file, CMSG_DATA(head), sizeof *file);
    return true;
}

static void __attribute__((noreturn)) serve(int fd, const struct pc_blocked *list)
{
    struct question q;
    int file;
    while (receive(fd, &q, &file)) {
        struct answer a = {q.number, judge(list, file)};
        close(file);
        if (send(fd, &a, sizeof a, MSG_NOSIGNAL) != (ssize_t)sizeof a)
            break;
    }
    _exit(0);
}

/* --- in the blocker */

int pc_hasher_start(struct pc_hasher *h, const struct pc_blocked *list, int group_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        /* First of all: while we had it open, our parent's end would not let the waiting ones go. */
        if (group_fd >= 0)
            close(group_fd);
        close(pair[0]);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
            _exit(1);
        serve(pair[1], list);
    }
    int error = pid < 0 ? -errno : 0;
    close(pair[1]);
    if (error) {
        close(pair[0]);
        return error;
    }
    *h = (struct pc_hasher){.list = list, .pid = pid, .fd = pair[0]};
    return 0;
}

static int gone(struct pc_hasher *h)
{
    close(h->fd);
    (void)kill(h->pid, SIGKILL);
    (void)waitpid(h->pid, NULL, WNOHANG); /* one that waits for a disk stays, and is init's when we end */
    *h = (struct pc_hasher){.list = h->list, .fd = -1};
    return -EPIPE;
}

static bool ask(const struct pc_hasher *h, int file_fd)
{
    union control c = {.space = {0}};
    struct question q = {h->asked};
    struct iovec v = {&q, sizeof q};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof c.space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof file_fd);
    memcpy(CMSG_DATA(head), &file_fd, sizeof file_fd);
    return sendmsg(h->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof q;
}

/* Takes an answer if there is one. 1: *a is it; 0: none yet; -EPIPE. */
static int take(struct pc_hasher *h, struct answer *a)
{
    ssize_t n = recv(h->fd, a, sizeof *a, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n != (ssize_t)sizeof *a)
        return gone(h);
    h->answered = a->number;
    return 1;
}

int pc_hasher_ask(struct pc_hasher *h, int file_fd, uint64_t until_ns, void (*alive)(void *ctx), void *ctx)
{
    struct answer a;
    if (h->fd < 0)
        return -EPIPE;
    int r = h->answered == h->asked ? 1 : take(h, &a); /* one that came too late for who asked */
    if (r <= 0)
        return r < 0 ? r : -EBUSY;
    h->asked++;
    if (!ask(h, file_fd))
        return gone(h);
    while (pc_mono_ns() < until_ns) {
        struct pollfd p = {h->fd, POLLIN, 0};
        (void)poll(&p, 1, SLICE_MS);
        alive(ctx);
        r = take(h, &a);
        if (r != 0)
            return r < 0 ? r : a.verdict;
    }
    return -ETIMEDOUT;
}
