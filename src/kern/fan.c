/*
 * Owns the fanotify system calls and the decoding of their events. Keeps no state: descriptors belong to the caller.
 * Hands decoded events to the guard; must not decide anything.
 */
#include "kern/fan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Newer than Debian 12's headers (Linux 6.0). */
#ifndef FAN_MARK_IGNORE
#define FAN_MARK_IGNORE 0x00000400
#endif
#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x00000200
#endif

/* Linux 6.14. */
#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000
#endif
#ifndef FAN_EVENT_INFO_TYPE_RANGE
#define FAN_EVENT_INFO_TYPE_RANGE 6
#endif
struct range_info {
    struct fanotify_event_info_header hdr;
    uint32_t pad;
    uint64_t offset, count;
};

#define WATCH_EVENTS                                                                                      \
    (FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_ONDIR)
#define IGNORE (FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY)

static int mark(int group, unsigned flags, uint64_t mask, int fd)
{
    return fanotify_mark(group, flags, mask, fd, NULL) < 0 ? -errno : 0;
}

/* A mark on a directory or mount needs a path on kernels that take no NULL path for O_PATH descriptors. */
static int mark_at(int group, unsigned flags, uint64_t mask, int dirfd)
{
    return fanotify_mark(group, flags, mask, dirfd, ".") < 0 ? -errno : 0;
}

int pc_fan_watch_open(void)
{
    int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS |
                               FAN_REPORT_DFID_NAME_TARGET,
                           O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int pc_fan_watch_add(int group, int tree_fd)
{
    int r = mark_at(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, WATCH_EVENTS, tree_fd);
    if (r < 0)
        return r;
    /* Only events that carry a mount can be ignored by mount; the others are told apart by pid. */
    return mark_at(group, FAN_MARK_ADD | FAN_MARK_MOUNT | IGNORE, FAN_MODIFY | FAN_CLOSE_WRITE, tree_fd);
}

int pc_fan_watch_remove(int group, int tree_fd)
{
    (void)mark_at(group, FAN_MARK_REMOVE | FAN_MARK_MOUNT | IGNORE, FAN_MODIFY | FAN_CLOSE_WRITE, tree_fd);
    return mark_at(group, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, WATCH_EVENTS, tree_fd);
}

int pc_fan_mute(int group, int file_fd)
{
    return mark(group, FAN_MARK_ADD | IGNORE, FAN_MODIFY, file_fd);
}

int pc_fan_unmute(int group, int file_fd)
{
    return mark(group, FAN_MARK_REMOVE | FAN_MARK_IGNORE, FAN_MODIFY, file_fd);
}

int pc_fan_ignore_dir(int group, int dir_fd)
{
    return mark_at(group, FAN_MARK_ADD | IGNORE,
                   FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_ATTRIB | FAN_ONDIR | FAN_EVENT_ON_CHILD, dir_fd);
}

int pc_fan_backlog(int group)
{
    int bytes = 0;
    return ioctl(group, FIONREAD, &bytes) < 0 ? -errno : bytes;
}

int pc_fan_fsid(int fd, uint64_t *out)
{
    struct statfs st;
    if (fstatfs(fd, &st) < 0)
        return -errno;
    memcpy(out, &st.f_fsid, sizeof *out);
    return 0;
}

ssize_t pc_fan_read(int group, void *buf, size_t cap)
{
    ssize_t n = read(group, buf, cap);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return n;
}

void pc_fan_iter_init(struct pc_fan_iter *it, const void *buf, size_t len)
{
    *it = (struct pc_fan_iter){.p = buf, .left = len};
}

static uint32_t bits_of(uint64_t mask)
{
    static const struct {
        uint64_t kernel;
        uint32_t ours;
    } map[] = {
        {FAN_CREATE, PC_FAN_CREATE},   {FAN_DELETE, PC_FAN_DELETE},           {FAN_RENAME, PC_FAN_RENAME},
        {FAN_MODIFY, PC_FAN_MODIFY},   {FAN_CLOSE_WRITE, PC_FAN_CLOSE_WRITE}, {FAN_ATTRIB, PC_FAN_ATTRIB},
        {FAN_ONDIR, PC_FAN_ONDIR},     {FAN_Q_OVERFLOW, PC_FAN_OVERFLOW},
    };
    uint32_t bits = 0;
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (mask & map[i].kernel)
            bits |= map[i].ours;
    return bits;
}

/* Decodes the handle of one info record, and the name behind it if there is one. */
static bool take_handle(const struct fanotify_event_info_fid *info, struct pc_fh *fh, char *name)
{
    const struct file_handle *h = (const void *)info->handle;
    size_t room = info->hdr.len - offsetof(struct fanotify_event_info_fid, handle);
    if (room < sizeof *h || room - sizeof *h < h->handle_bytes)
        return false;
    if (pc_fh_set(fh, h->handle_type, h->f_handle, h->handle_bytes) < 0)
        return false;
    if (name) {
        size_t left = room - sizeof *h - h->handle_bytes;
        const char *text = (const char *)h->f_handle + h->handle_bytes;
        size_t n = strnlen(text, left);
        if (n >= 256)
            return false;
        memcpy(name, text, n);
        name[n] = 0;
    }
    return true;
}

static void take_info(const struct fanotify_event_info_header *hdr, struct pc_fan_event *e)
{
    const struct fanotify_event_info_fid *fid = (const void *)hdr;
    if (hdr->len < sizeof *fid)
        return;
    switch (hdr->info_type) {
    case FAN_EVENT_INFO_TYPE_FID:
        e->has_target = take_handle(fid, &e->target, NULL);
        break;
    case FAN_EVENT_INFO_TYPE_DFID:
        e->has_dir = take_handle(fid, &e->dir, NULL);
        break;
    case FAN_EVENT_INFO_TYPE_DFID_NAME:
    case FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
        e->has_dir = take_handle(fid, &e->dir, e->name);
        break;
    case FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
        e->has_new_dir = take_handle(fid, &e->new_dir, e->new_name);
        break;
    default:
        return; /* a later kernel's record: nothing we need */
    }
    memcpy(&e->fsid, &fid->fsid, sizeof e->fsid);
}

bool pc_fan_next(struct pc_fan_iter *it, struct pc_fan_event *out)
{
    struct fanotify_event_metadata m; /* the kernel pads events to 4 bytes, and this has numbers of 8 */
    if (it->left < sizeof m)
        return false;
    memcpy(&m, it->p, sizeof m);
    if (m.event_len < sizeof m || m.event_len > it->left)
        return false;
    out->bits = bits_of(m.mask);
    out->pid = m.pid;
    out->fsid = 0;
    out->has_dir = out->has_new_dir = out->has_target = false;
    out->name[0] = out->new_name[0] = 0;
    size_t at = m.metadata_len;
    while (at + sizeof(struct fanotify_event_info_header) <= m.event_len) {
        const struct fanotify_event_info_header *hdr = (const void *)(it->p + at);
        if (hdr->len < sizeof *hdr || at + hdr->len > m.event_len)
            break;
        take_info(hdr, out);
        at += hdr->len;
    }
    it->p += m.event_len;
    it->left -= m.event_len;
    return true;
}

/*
 * Permission groups: bounded marks and queue would make the kernel let opens pass unseen, so both are unlimited; what
 * waits is bounded by the number of threads on the host, since each waits in its own open.
 */
static int open_permission_group(unsigned class)
{
    const unsigned unlimited = FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS;
    int fd = fanotify_init(class | FAN_CLOEXEC | FAN_NONBLOCK | unlimited | FAN_REPORT_TID,
                           O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NOATIME);
    return fd < 0 ? -errno : fd;
}

int pc_fan_gate_open(void)
{
    return open_permission_group(FAN_CLASS_CONTENT);
}

int pc_fan_first_gate_open(void)
{
    return open_permission_group(FAN_CLASS_PRE_CONTENT);
}

int pc_fan_ignore_mount(int group, int tree_fd)
{
    return mark_at(group, FAN_MARK_ADD | FAN_MARK_MOUNT | IGNORE, FAN_OPEN_PERM | FAN_ONDIR, tree_fd);
}

/* An ignore mark of its own: the kernel refuses it together with FAN_ONDIR. */
int pc_fan_ignore_accesses(int group, int tree_fd)
{
    return mark_at(group, FAN_MARK_ADD | FAN_MARK_MOUNT | IGNORE, FAN_PRE_ACCESS, tree_fd);
}

int pc_fan_gate_down(int group, int tree_fd)
{
    int r = pc_fan_ignore_mount(group, tree_fd);
    if (r < 0)
        return r;
    return mark_at(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, tree_fd);
}

int pc_fan_gate_up(int group, int tree_fd)
{
    int r = mark_at(group, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, tree_fd);
    (void)mark_at(group, FAN_MARK_REMOVE | FAN_MARK_MOUNT | FAN_MARK_IGNORE, FAN_OPEN_PERM | FAN_ONDIR, tree_fd);
    (void)mark_at(group, FAN_MARK_REMOVE | FAN_MARK_MOUNT | FAN_MARK_IGNORE, FAN_PRE_ACCESS, tree_fd);
    return r;
}

int pc_fan_exec_mark(int group, const char *path)
{
    return fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_EXEC_PERM, AT_FDCWD, path) < 0 ? -errno
                                                                                                            : 0;
}

int pc_fan_vault_mark(int group, int dir_fd)
{
    return mark_at(group, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_ONDIR | FAN_EVENT_ON_CHILD, dir_fd);
}

int pc_fan_ask_files_only(int group, int tree_fd)
{
    return mark_at(group, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, tree_fd);
}

int pc_fan_ask_opens_only(int group, int file_fd)
{
    return mark(group, FAN_MARK_REMOVE, FAN_PRE_ACCESS, file_fd);
}

int pc_fan_ask_cuts_again(int group, int path_fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", path_fd);
    return fanotify_mark(group, FAN_MARK_ADD, FAN_PRE_ACCESS, AT_FDCWD, path) < 0 ? -errno : 0;
}

int pc_fan_ask_file(int group, int file_fd, bool cuts)
{
    int r = pc_fan_ask_again(group, file_fd); /* a mark that ignores may be evicted; this one must not be */
    if (r < 0)
        return r;
    if (!cuts)
        (void)pc_fan_ask_opens_only(group, file_fd); /* fails when it was not asked, as nearly always */
    return mark(group, FAN_MARK_ADD, cuts ? FAN_OPEN_PERM | FAN_PRE_ACCESS : FAN_OPEN_PERM, file_fd);
}

int pc_fan_asks_cuts(int group, int dir_fd)
{
    int r = mark_at(group, FAN_MARK_ADD, FAN_PRE_ACCESS, dir_fd); /* without FAN_ONDIR it raises no event */
    return r < 0 ? r : mark_at(group, FAN_MARK_REMOVE, FAN_PRE_ACCESS, dir_fd);
}

int pc_fan_forget_file(int group, int file_fd)
{
    int r = mark(group, FAN_MARK_REMOVE, FAN_OPEN_PERM | FAN_PRE_ACCESS, file_fd);
    if (r == -EINVAL || r == -EOPNOTSUPP) /* older kernels, and some file systems, know no FAN_PRE_ACCESS */
        r = mark(group, FAN_MARK_REMOVE, FAN_OPEN_PERM, file_fd);
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

int pc_fan_forget_files(int group)
{
    return fanotify_mark(group, FAN_MARK_FLUSH, 0, AT_FDCWD, "/") < 0 ? -errno : 0; /* those of inodes; path unused */
}

int pc_fan_ask_no_more(int group, int file_fd)
{
    int r = pc_fan_forget_file(group, file_fd); /* the kernel makes no mark evictable that keeps its inode */
    return r < 0 ? r : mark(group, FAN_MARK_ADD | IGNORE | FAN_MARK_EVICTABLE, FAN_OPEN_PERM, file_fd);
}

int pc_fan_ask_again(int group, int file_fd)
{
    int r = mark(group, FAN_MARK_REMOVE | FAN_MARK_IGNORE, FAN_OPEN_PERM, file_fd);
    return r == -ENOENT || r == -EINVAL ? 0 : r; /* there was none; the kernel knows none */
}

/*
 * The kernel tells which bytes will be read or written, in whole pages; of a cut the new end with no bytes, or the page
 * that it is in. (fsnotify_truncate_perm, Linux 6.14)
 */
static uint8_t what_of(const struct fanotify_event_metadata *m)
{
    struct range_info r;
    if (!(m->mask & FAN_PRE_ACCESS))
        return PC_FAN_OPEN;
    if (m->event_len < m->metadata_len + sizeof r)
        return PC_FAN_MAY_CUT; /* not known */
    memcpy(&r, (const char *)m + m->metadata_len, sizeof r);
    bool told = r.hdr.info_type == FAN_EVENT_INFO_TYPE_RANGE && r.hdr.len >= sizeof r;
    return told && r.count > (uint64_t)sysconf(_SC_PAGESIZE) ? PC_FAN_ACCESS : PC_FAN_MAY_CUT;
}

int pc_fan_read_opens(int group, struct pc_fan_open *out, int n)
{
    /* Sized so that one read never takes more events than the caller has room for: an access takes the room of two. */
    struct fanotify_event_metadata buf[64];
    size_t cap = sizeof buf[0] * (size_t)(n < 64 ? n : 64);
    ssize_t got = read(group, buf, cap);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    int count = 0;
    for (const struct fanotify_event_metadata *m = buf; FAN_EVENT_OK(m, got); m = FAN_EVENT_NEXT(m, got)) {
        if (m->fd < 0)
            continue; /* overflow marker: cannot happen with an unlimited queue */
        out[count++] = (struct pc_fan_open){.fd = m->fd, .tid = m->pid, .what = what_of(m)};
    }
    return count;
}

int pc_fan_answer(int group, int fd, bool allow)
{
    struct fanotify_response r = {.fd = fd, .response = allow ? FAN_ALLOW : FAN_DENY};
    return write(group, &r, sizeof r) < 0 ? -errno : 0;
}
