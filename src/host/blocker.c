/*
 * Owns the answers to "may this file be executed?" while a hash is blocked. A file is hashed when it is first started,
 * and again when it changed since (device, inode, size, both times: a write through a mapping moves them too). What
 * cannot be decided in time is let through: a host that cannot start programs is worse than one that started a bad one.
 * Reads no file (block_hasher.c does, in a process of its own): whatever a disk does, this one answers, and can be
 * killed.
 */
#include "host/block_hasher.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "host/files.h"
#include "kern/deadman.h"
#include "kern/fan.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define DEADMAN_NS (2 * PC_NS_PER_S)
#define HASH_DEADLINE_NS PC_NS_PER_S
#define CACHE_SLOTS 4096
#define EVENTS_A_READ 32

/* Programs without which nobody could repair the host. By path: what lies there now is spared, whatever its content. */
static const char *const spared[] = {
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/bin/sh",
    "/bin/bash",
    "/bin/dash",
    "/bin/busybox",
    "/usr/bin/sudo",
    "/bin/su",
    "/bin/login",
    "/sbin/agetty",
    "/usr/sbin/sshd",
    "/usr/lib/openssh/sshd-session",
    "/usr/bin/systemctl",
    "/usr/bin/apt-get",
    "/usr/bin/apt",
    "/usr/bin/dpkg",
    "/usr/bin/rpm",
    "/usr/bin/dnf",
    "/usr/bin/portcullis",
    "/usr/sbin/portcullisd",
    "/usr/local/bin/portcullis",
    "/usr/local/sbin/portcullisd",
    "/proc/self/exe",
};

struct entry {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
    bool known, blocked;
};

struct blocker {
    const struct pc_blocked *list;
    int group;
    timer_t deadman;
    struct pc_hasher hasher;
    struct entry cache[CACHE_SLOTS];
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int in_time(void *until_ns)
{
    return pc_mono_ns() > *(const uint64_t *)until_ns ? -ETIMEDOUT : 0;
}

bool pc_blocker_spares(const uint8_t sha256[32], char *name, size_t cap)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(spared); i++) {
        uint8_t have[32];
        _close_ int fd = open(spared[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        uint64_t until = pc_mono_ns() + 10 * PC_NS_PER_S;
        if (fd < 0 || pc_hash_file(fd, in_time, &until, have) < 0 || memcmp(have, sha256, 32) != 0)
            continue;
        snprintf(name, cap, "%s", spared[i]);
        return true;
    }
    return false;
}

bool pc_blocker_spares_file(const struct stat *st)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(spared); i++) {
        struct stat other;
        if (stat(spared[i], &other) == 0 && same_file(st, &other))
            return true;
    }
    return false;
}

static struct entry *slot_of(struct blocker *b, const struct stat *st)
{
    return &b->cache[((uint64_t)st->st_ino * 2654435761u ^ (uint64_t)st->st_dev) % CACHE_SLOTS];
}

static bool still_true(const struct entry *e, const struct stat *st)
{
    return e->known && e->dev == st->st_dev && e->ino == st->st_ino && e->size == st->st_size &&
           memcmp(&e->mtime, &st->st_mtim, sizeof e->mtime) == 0 &&
           memcmp(&e->ctime, &st->st_ctim, sizeof e->ctime) == 0;
}

/* What is known of this file; true when it is. */
static bool known(struct blocker *b, const struct stat *st, bool *blocked)
{
    const struct entry *e = slot_of(b, st);
    if (!still_true(e, st))
        return false;
    *blocked = e->blocked;
    return true;
}

static void alive(void *deadman)
{
    (void)pc_deadman_push(*(timer_t *)deadman, DEADMAN_NS);
}

/* By the hasher; what it cannot say in time is let through and asked again the next time. */
static bool find_out(struct blocker *b, int fd, const struct stat *st, uint64_t until_ns)
{
    int r = pc_hasher_ask(&b->hasher, fd, until_ns, alive, &b->deadman);
    if (r == -EPIPE && pc_hasher_start(&b->hasher, b->list, b->group) == 0)
        r = pc_hasher_ask(&b->hasher, fd, until_ns, alive, &b->deadman);
    if (r < 0)
        return false;
    *slot_of(b, st) = (struct entry){.dev = st->st_dev,
                                     .ino = st->st_ino,
                                     .size = st->st_size,
                                     .mtime = st->st_mtim,
                                     .ctime = st->st_ctim,
                                     .known = true,
                                     .blocked = r == 1};
    return r == 1;
}

static void answer(const struct blocker *b, int fd, bool blocked)
{
    (void)pc_fan_answer(b->group, fd, !blocked); /* fails only for an open that was given up */
    close(fd);
}

/*
 * What is known goes first: programs that everybody starts do not wait for one that nobody did. All of the rest
 * together have one second.
 */
static void answer_waiting(struct blocker *b)
{
    struct pc_fan_open waiting[EVENTS_A_READ];
    struct stat st[EVENTS_A_READ];
    bool blocked;
    int unknown = 0, n = pc_fan_read_opens(b->group, waiting, EVENTS_A_READ);
    for (int i = 0; i < n; i++) {
        if (fstat(waiting[i].fd, &st[unknown]) < 0 || !S_ISREG(st[unknown].st_mode))
            answer(b, waiting[i].fd, false);
        else if (known(b, &st[unknown], &blocked))
            answer(b, waiting[i].fd, blocked);
        else
            waiting[unknown++] = waiting[i];
    }
    uint64_t until = pc_mono_ns() + HASH_DEADLINE_NS;
    for (int i = 0; i < unknown; i++)
        answer(b, waiting[i].fd, known(b, &st[i], &blocked) ? blocked : find_out(b, waiting[i].fd, &st[i], until));
}

/*
 * Where programs come from: disks, and what lives in memory; not the kernel's own file systems, and not the network's,
 * which may hang.
 */
static bool local(const struct mntent *m)
{
    static const char *const types[] = {"ext2",  "ext3",  "ext4",    "xfs",   "btrfs",    "f2fs",    "vfat",
                                        "exfat", "ntfs3", "overlay", "tmpfs", "squashfs", "iso9660", "zfs"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(types); i++)
        if (strcmp(m->mnt_type, types[i]) == 0)
            return !hasmntopt(m, "noexec");
    return false;
}

static int mark_all(struct blocker *b, char *why, size_t why_len)
{
    int done = 0, r = 0;
    for (uint32_t i = 0; i < b->list->mount_count && r == 0; i++) {
        r = pc_fan_exec_mark(b->group, b->list->mounts[i]);
        if (r < 0)
            snprintf(why, why_len, "%s: %s", b->list->mounts[i], pc_strerror(r));
        done += r == 0;
    }
    FILE *f = b->list->mount_count ? NULL : setmntent("/proc/self/mounts", "re");
    struct mntent m;
    char text[8192];
    while (f && getmntent_r(f, &m, text, sizeof text))
        done += local(&m) && pc_fan_exec_mark(b->group, m.mnt_dir) == 0;
    if (f)
        endmntent(f);
    if (r == 0 && done == 0) {
        snprintf(why, why_len, "no file system could be watched (does the kernel have fanotify permission events?)");
        r = PC_E_UNSUPPORTED;
    }
    return r;
}

static int start(struct blocker *b, char *why, size_t why_len)
{
    /*
     * The runner's end ends us, and so does standing still; both before the first mark, so that nobody ever waits for
     * nobody.
     */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != b->list->parent)
        return -ESRCH;
    int r = pc_deadman_arm(&b->deadman, DEADMAN_NS);
    if (r < 0)
        return r;
    r = pc_hasher_start(&b->hasher, b->list, -1); /* before there is a group that it could hold */
    if (r < 0)
        return r;
    b->group = pc_fan_gate_open();
    if (b->group < 0)
        return b->group;
    return mark_all(b, why, why_len);
}

int pc_blocker_run(void *blocked)
{
    static struct blocker b;
    char why[300] = "";
    b.list = blocked;
    int r = start(&b, why, sizeof why);
    if (r < 0) {
        printf("%s\n", why[0] ? why : pc_strerror(r));
        return fflush(stdout) == 0 ? 1 : 2;
    }
    puts("ready");
    fflush(stdout);
    _close_ int mounts = b.list->mount_count ? -1 : open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
    for (;;) {
        struct pollfd p[] = {{b.group, POLLIN, 0}, {mounts, POLLPRI, 0}};
        (void)pc_deadman_push(b.deadman, DEADMAN_NS);
        (void)poll(p, 2, 500);
        (void)pc_deadman_push(b.deadman, DEADMAN_NS);
        if (p[0].revents)
            answer_waiting(&b);
        if (mounts >= 0 && p[1].revents)
            (void)mark_all(&b, why, sizeof why); /* what is marked already is marked once more, which changes nothing */
    }
}
