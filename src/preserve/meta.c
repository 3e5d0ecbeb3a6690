/*
 * Owns reading and restoring inode metadata: statx, xattrs (ACLs are xattrs), chattr flags, times. Must not touch
 * content, the vault or the index. The capture and the rollback hand it open descriptors.
 */
#include "preserve/meta.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

struct proc_path {
    char text[32];
};

static struct proc_path proc_path(int fd)
{
    struct proc_path p;
    snprintf(p.text, sizeof p.text, "/proc/self/fd/%d", fd);
    return p;
}

static int64_t stamp(struct statx_timestamp t)
{
    return t.tv_sec * (int64_t)PC_NS_PER_S + t.tv_nsec;
}

static uint32_t attrs_of(const struct statx *x)
{
    uint64_t a = x->stx_attributes & x->stx_attributes_mask;
    return (a & STATX_ATTR_IMMUTABLE ? PC_ATTR_IMMUTABLE : 0u) | (a & STATX_ATTR_APPEND ? PC_ATTR_APPEND : 0u) |
           (a & STATX_ATTR_NODUMP ? PC_ATTR_NODUMP : 0u);
}

int pc_meta_stat(int fd, struct pc_meta *m)
{
    struct statx x;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS, &x) < 0)
        return -errno;
    m->mode = x.stx_mode;
    m->uid = x.stx_uid;
    m->gid = x.stx_gid;
    m->nlink = x.stx_nlink;
    m->rdev_major = x.stx_rdev_major;
    m->rdev_minor = x.stx_rdev_minor;
    m->attrs = attrs_of(&x);
    m->size = x.stx_size;
    m->alloc_bytes = x.stx_blocks * 512;
    m->ino = x.stx_ino;
    m->mtime_ns = stamp(x.stx_mtime);
    m->ctime_ns = stamp(x.stx_ctime);
    m->atime_ns = stamp(x.stx_atime);
    return 0;
}

/* A descriptor opened O_PATH refuses f*xattr; the magic link works for both, but costs a path walk. */
static ssize_t list_xattrs(int fd, char *buf, size_t cap)
{
    ssize_t n = flistxattr(fd, buf, cap);
    return n < 0 && errno == EBADF ? listxattr(proc_path(fd).text, buf, cap) : n;
}

static ssize_t get_xattr(int fd, const char *name, void *buf, size_t cap)
{
    ssize_t n = fgetxattr(fd, name, buf, cap);
    return n < 0 && errno == EBADF ? getxattr(proc_path(fd).text, name, buf, cap) : n;
}

static int add_one_xattr(int fd, const char *name, struct pc_buf *list)
{
    char small[1024];
    ssize_t n = get_xattr(fd, name, small, sizeof small);
    if (n >= 0)
        return pc_xattrs_add(list, name, small, (size_t)n);
    if (errno == ENODATA || errno == EOPNOTSUPP) /* removed meanwhile, or listed but not readable as a value */
        return 0;
    if (errno != ERANGE)
        return -errno;
    _free_ char *big = malloc(XATTR_SIZE_MAX);
    if (!big)
        return -ENOMEM;
    n = get_xattr(fd, name, big, XATTR_SIZE_MAX);
    if (n < 0)
        return errno == ENODATA ? 0 : -errno;
    return pc_xattrs_add(list, name, big, (size_t)n);
}

static int each_xattr_name(int fd, int (*fn)(void *arg, const char *name), void *arg)
{
    char small[2048];
    _free_ char *big = NULL;
    char *names = small;
    ssize_t n = list_xattrs(fd, small, sizeof small);
    if (n < 0 && errno == ERANGE) {
        big = malloc(XATTR_LIST_MAX);
        if (!big)
            return -ENOMEM;
        names = big;
        n = list_xattrs(fd, big, XATTR_LIST_MAX);
    }
    if (n < 0)
        return errno == EOPNOTSUPP ? 0 : -errno;
    for (const char *p = names; p < names + n; p += strlen(p) + 1) {
        int r = strcmp(p, PC_RECORD_XATTR) == 0 ? 0 : fn(arg, p);
        if (r < 0)
            return r;
    }
    return 0;
}

struct reader {
    int fd;
    struct pc_buf *list;
};

static int read_one(void *arg, const char *name)
{
    struct reader *r = arg;
    return add_one_xattr(r->fd, name, r->list);
}

static int read_target(int fd, struct pc_buf *out)
{
    char text[PC_PATH_CAP];
    ssize_t n = readlinkat(fd, "", text, sizeof text);
    if (n < 0)
        return -errno;
    return pc_buf_add(out, text, (size_t)n);
}

int pc_meta_read(int fd, struct pc_meta *m)
{
    int r = pc_meta_stat(fd, m);
    if (r < 0)
        return r;
    pc_buf_reset(&m->xattrs);
    pc_buf_reset(&m->target);
    r = each_xattr_name(fd, read_one, &(struct reader){fd, &m->xattrs});
    if (r == 0 && S_ISLNK(m->mode))
        r = read_target(fd, &m->target);
    return r;
}

static int set_flags(int fd, uint32_t attrs)
{
    static const struct {
        uint32_t ours, theirs;
    } map[] = {{PC_ATTR_IMMUTABLE, FS_IMMUTABLE_FL}, {PC_ATTR_APPEND, FS_APPEND_FL}, {PC_ATTR_NODUMP, FS_NODUMP_FL}};
    int have = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &have) < 0)
        return errno == ENOTTY || errno == EOPNOTSUPP || errno == EBADF ? (attrs ? PC_E_UNSUPPORTED : 0) : -errno;
    uint32_t want = (uint32_t)have;
    for (size_t i = 0; i < PC_ARRAY_SIZE(map); i++)
        want = attrs & map[i].ours ? want | map[i].theirs : want & ~map[i].theirs;
    if (want == (uint32_t)have)
        return 0;
    int set = (int)want;
    return ioctl(fd, FS_IOC_SETFLAGS, &set) < 0 ? -errno : 0;
}

int pc_meta_unlock(int fd)
{
    struct pc_meta m;
    int r = pc_meta_stat(fd, &m);
    if (r < 0)
        return r;
    return m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND) ? set_flags(fd, m.attrs & PC_ATTR_NODUMP) : 0;
}

struct pruner {
    int fd;
    const struct pc_buf *want;
    int err;
};

static int prune_one(void *arg, const char *name)
{
    struct pruner *p = arg;
    struct pc_xattr x;
    if (!pc_xattrs_find(p->want, name, &x) && removexattr(proc_path(p->fd).text, name) < 0 && errno != ENODATA &&
        !p->err)
        p->err = -errno;
    return 0;
}

static int apply_xattrs(int fd, const struct pc_buf *want)
{
    struct pruner p = {fd, want, 0};
    int r = each_xattr_name(fd, prune_one, &p);
    if (r == 0)
        r = p.err;
    struct pc_cur c;
    struct pc_xattr x;
    pc_cur_init(&c, want->data, want->len);
    while (pc_xattrs_next(&c, &x) > 0)
        if (setxattr(proc_path(fd).text, x.name, x.value, x.len, 0) < 0 && r == 0)
            r = -errno;
    return r;
}

int pc_meta_apply_times(int fd, int64_t atime_ns, int64_t mtime_ns)
{
    int64_t ns[2] = {atime_ns, mtime_ns};
    struct timespec t[2];
    for (int i = 0; i < 2; i++) {
        t[i].tv_sec = ns[i] / (int64_t)PC_NS_PER_S;
        t[i].tv_nsec = ns[i] % (int64_t)PC_NS_PER_S;
        if (t[i].tv_nsec < 0) { /* before 1970 */
            t[i].tv_sec--;
            t[i].tv_nsec += (long)PC_NS_PER_S;
        }
    }
    return utimensat(fd, "", t, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int pc_meta_set_attrs(int fd, uint32_t attrs)
{
    return set_flags(fd, attrs);
}

int pc_meta_apply(int fd, const struct pc_meta *want)
{
    int first = pc_meta_apply_unlocked(fd, want);
    if (!S_ISREG(want->mode) && !S_ISDIR(want->mode))
        return first;
    int r = set_flags(fd, want->attrs); /* last: an immutable file takes no times */
    return first ? first : r;
}

int pc_meta_apply_unlocked(int fd, const struct pc_meta *want)
{
    bool plain = S_ISREG(want->mode) || S_ISDIR(want->mode);
    int first = plain ? pc_meta_unlock(fd) : 0, r;
    r = fchownat(fd, "", want->uid, want->gid, AT_EMPTY_PATH) < 0 ? -errno
                                                                  : 0; /* clears setuid and capabilities: first */
    first = first ? first : r;
    r = apply_xattrs(fd, &want->xattrs); /* setting an ACL rewrites the group bits: before the mode */
    first = first ? first : r;
    if (!S_ISLNK(want->mode)) {
        r = chmod(proc_path(fd).text, want->mode & 07777) < 0 ? -errno : 0;
        first = first ? first : r;
    }
    r = pc_meta_apply_times(fd, want->atime_ns, want->mtime_ns);
    return first ? first : r;
}

static const char *differ_xattrs(const struct pc_buf *want, const struct pc_buf *have)
{
    struct pc_cur c;
    struct pc_xattr x, y;
    pc_cur_init(&c, want->data, want->len);
    while (pc_xattrs_next(&c, &x) > 0)
        if (!pc_xattrs_find(have, x.name, &y) || x.len != y.len || (x.len && memcmp(x.value, y.value, x.len) != 0))
            return "extended attributes or ACL";
    return want->len == have->len ? NULL : "extended attributes or ACL";
}

const char *pc_meta_differ(const struct pc_meta *want, const struct pc_meta *have)
{
    if ((want->mode & S_IFMT) != (have->mode & S_IFMT))
        return "type";
    if (want->mode != have->mode)
        return "mode";
    if (want->uid != have->uid || want->gid != have->gid)
        return "owner";
    if (want->attrs != have->attrs)
        return "attributes (chattr)";
    if ((S_ISCHR(want->mode) || S_ISBLK(want->mode)) &&
        (want->rdev_major != have->rdev_major || want->rdev_minor != have->rdev_minor))
        return "device number";
    if (S_ISREG(want->mode) && want->size != have->size)
        return "size";
    if (want->target.len != have->target.len ||
        (want->target.len && memcmp(want->target.data, have->target.data, want->target.len) != 0))
        return "link target";
    const char *x = differ_xattrs(&want->xattrs, &have->xattrs);
    return x ? x : want->mtime_ns != have->mtime_ns ? PC_DIFF_MTIME : NULL;
}

void pc_fd_path(int fd, char *out, size_t cap)
{
    static const char gone[] = " (deleted)";
    ssize_t n = readlink(proc_path(fd).text, out, cap - 1);
    if (n < 0)
        n = 0;
    size_t tail = sizeof gone - 1;
    if ((size_t)n > tail && memcmp(out + n - tail, gone, tail) == 0)
        n -= (ssize_t)tail;
    out[n] = 0;
}
