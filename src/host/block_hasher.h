#ifndef PC_HOST_BLOCK_HASHER_H
#define PC_HOST_BLOCK_HASHER_H
/*
 * The process that reads files for the blocker. Reading may take for ever (a dead disk), and a process that waits for a
 * disk cannot even be killed: so the one that answers the kernel reads nothing itself, and this one does not hold the
 * fanotify group. At most one question is under way.
 */
#include "host/blocker.h"

#include <sys/types.h>

struct pc_hasher {
    const struct pc_blocked *list;
    pid_t pid;       /* 0: none */
    int fd;          /* -1: none */
    uint64_t asked, answered;
};
/* Starts it. group_fd: what it must not keep open; -1. It ends with us. 0 or -errno. */
int pc_hasher_start(struct pc_hasher *h, const struct pc_blocked *list, int group_fd);
/*
 * Is this file blocked? Waits until until_ns (pc_mono_ns), calling alive at least every 100 ms. 1: blocked, 0: not;
 * -ETIMEDOUT: not known in time; -EBUSY: it is still at an earlier question; -EPIPE: it ended (pc_hasher_start makes
 * another).
 */
int pc_hasher_ask(struct pc_hasher *h, int file_fd, uint64_t until_ns, void (*alive)(void *ctx), void *ctx);
#endif
