/*
 * Owns finding out in which order the kernel asks two permission groups of one rank, which it tells nobody: it goes by
 * their addresses. Opens a file of nobody else's that both have marked, from a thread, and looks who is asked first.
 */
#include "kern/fan.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <unistd.h>

/* Far above what one open takes. */
#define PATIENCE_MS 2000

static void *open_it(void *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    free(path);
    return NULL;
}

/* Answers the one open that waits at this group. */
static int allow(int group)
{
    struct pc_fan_open o;
    int n = pc_fan_read_opens(group, &o, 1);
    if (n <= 0)
        return n < 0 ? n : -EAGAIN;
    int r = pc_fan_answer(group, o.fd, true);
    close(o.fd);
    return r;
}

/* 0: the first of the two is asked first, 1: the second. Both must answer, or the opener waits. */
static int who_is_first(const int group[2])
{
    struct pollfd p[2] = {{group[0], POLLIN, 0}, {group[1], POLLIN, 0}};
    int first = -1;
    for (int left = 2; left > 0; left--) {
        if (poll(p, 2, PATIENCE_MS) <= 0)
            return -ETIMEDOUT;
        int at = p[0].revents ? 0 : 1;
        int r = allow(group[at]);
        if (r < 0)
            return r;
        first = first < 0 ? at : first;
        p[at].fd = -1;
    }
    return first;
}

static int mark_both(const int group[2], unsigned what, int fd)
{
    for (int i = 0; i < 2; i++)
        if (fanotify_mark(group[i], what, FAN_OPEN_PERM, fd, NULL) < 0)
            return -errno;
    return 0;
}

static int ask(const int group[2])
{
    pthread_t opener;
    _close_ int fd = memfd_create("portcullis-order", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : mark_both(group, FAN_MARK_ADD, fd);
    if (r < 0)
        return r;
    char *path = NULL;
    r = asprintf(&path, "/proc/self/fd/%d", fd) < 0 ? -ENOMEM : -pthread_create(&opener, NULL, open_it, path);
    if (r < 0) {
        free(path);
        return r;
    }
    int first = who_is_first(group);
    if (first < 0) /* whatever it waits for: it is waited for no longer */
        pthread_detach(opener);
    else
        pthread_join(opener, NULL);
    r = mark_both(group, FAN_MARK_REMOVE, fd);
    return first < 0 ? first : r < 0 ? r : first;
}

int pc_fan_order(int *a, int *b)
{
    int *const group[2] = {a, b};
    int first = ask((const int[2]){*a, *b});
    if (first < 0)
        return first;
    int *met = group[first], *other = group[!first];
    if (*met > *other)
        return 0;
    int fd = fcntl(*met, F_DUPFD_CLOEXEC, *other + 1);
    if (fd < 0)
        return -errno;
    close(*met);
    *met = fd;
    return 0;
}
