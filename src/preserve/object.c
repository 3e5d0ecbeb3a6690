/*
 * Owns single objects in the vault: making, sealing, freezing, reading, removing. Must not use the index (copier
 * threads call it).
 *
 * Order of a new object: nameless temporary file, content, record, name, immutable. A crash before the name leaves
 * nothing; after it, a whole object. There is no fsync here: a journalling file system keeps the order of these
 * metadata operations, so after power loss an object is there whole, or not at all, or (copied data not yet written
 * out) is shorter than its record says (content.c sets the size last), which opening it detects. An fsync per captured
 * file would cost milliseconds where the capture costs microseconds; it is done while a gate is down
 * (agent/gate_sync.c). What a rollback writes back is fsynced.
 */
#include "preserve/internal.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static const char *const area_names[] = {[PC_AREA_OBJECTS] = "objects", [PC_AREA_LINKS] = "links"};

struct pc_object_path pc_object_path(enum pc_area area, uint64_t id)
{
    struct pc_object_path p;
    if (area == PC_AREA_ASIDE)
        snprintf(p.text, sizeof p.text, "aside/%016llx", (unsigned long long)id);
    else
        snprintf(p.text, sizeof p.text, "%s/%02x/%016llx", area_names[area], (unsigned)(id & 0xff),
                 (unsigned long long)id);
    return p;
}

static struct pc_object_path record_path(enum pc_area area, uint64_t id)
{
    struct pc_object_path p = pc_object_path(area, id);
    size_t n = strlen(p.text);
    snprintf(p.text + n, sizeof p.text - n, ".rec");
    return p;
}

uint64_t pc_object_next_id(struct pc_store *s)
{
    return atomic_fetch_add(&s->next_object, 1);
}

int pc_object_new(const struct pc_volume *v)
{
    int fd = openat(v->vault_fd, "objects", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static int set_immutable(int fd, bool on)
{
    int have = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &have) < 0)
        return errno == ENOTTY || errno == EOPNOTSUPP ? 0 : -errno;
    int want = on ? have | FS_IMMUTABLE_FL : have & ~FS_IMMUTABLE_FL;
    if (want == have || ioctl(fd, FS_IOC_SETFLAGS, &want) == 0)
        return 0;
    /* A file system without the flag: the 0700 directory still keeps others out. */
    return errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL ? 0 : -errno;
}

static int write_sidecar(const struct pc_volume *v, enum pc_area area, uint64_t id, const struct pc_buf *bytes)
{
    _close_ int fd = pc_object_new(v);
    if (fd < 0)
        return fd;
    int r = pc_write_all(fd, bytes->data, bytes->len);
    if (r < 0)
        return r;
    struct pc_object_path p = record_path(area, id);
    unlinkat(v->vault_fd, p.text, 0);
    return linkat(fd, "", v->vault_fd, p.text, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* In the attribute when it fits (ext4: one block for all attributes), else in a file beside the object. */
static int write_record(const struct pc_volume *v, enum pc_area area, int fd, uint64_t id, const struct pc_record *rec)
{
    _buf_free_ struct pc_buf bytes;
    pc_buf_init(&bytes, PC_RECORD_MAX);
    int r = pc_record_encode(rec, &bytes);
    if (r < 0)
        return r;
    if (fsetxattr(fd, PC_RECORD_XATTR, bytes.data, bytes.len, 0) == 0)
        return 0;
    if (errno != ENOSPC && errno != E2BIG && errno != ERANGE && errno != EOPNOTSUPP)
        return -errno;
    fremovexattr(fd, PC_RECORD_XATTR);
    return write_sidecar(v, area, id, &bytes);
}

int pc_object_seal(struct pc_store *s, const struct pc_volume *v, int fd, const struct pc_record *rec, bool freeze,
                   uint64_t *id)
{
    for (;;) {
        uint64_t next = pc_object_next_id(s);
        struct pc_object_path p = pc_object_path(PC_AREA_OBJECTS, next);
        int r = write_record(v, PC_AREA_OBJECTS, fd, next, rec);
        if (r < 0)
            return r;
        if (linkat(fd, "", v->vault_fd, p.text, AT_EMPTY_PATH) < 0) {
            if (errno == EEXIST) /* the clock went back over a restart: the next number will do */
                continue;
            return -errno;
        }
        r = freeze ? set_immutable(fd, true) : 0;
        if (r < 0) {
            pc_object_remove(v, PC_AREA_OBJECTS, next);
            return r;
        }
        *id = next;
        return 0;
    }
}

static int finish(const struct pc_volume *v, enum pc_area area, uint64_t id, const struct pc_record *rec)
{
    _close_ int fd = pc_object_open(v, area, id);
    if (fd < 0)
        return fd;
    int r = set_immutable(fd, false);
    if (r == 0)
        r = write_record(v, area, fd, id, rec);
    return r == 0 ? set_immutable(fd, true) : r;
}

int pc_object_finish(const struct pc_volume *v, uint64_t id, const struct pc_record *rec)
{
    return finish(v, PC_AREA_OBJECTS, id, rec);
}

int pc_link_finish(const struct pc_volume *v, uint64_t id, const struct pc_record *rec)
{
    return finish(v, PC_AREA_LINKS, id, rec);
}

int pc_object_open(const struct pc_volume *v, enum pc_area area, uint64_t id)
{
    struct pc_object_path p = pc_object_path(area, id);
    int fd = openat(v->vault_fd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME | O_NONBLOCK);
    return fd >= 0 ? fd : errno == ENOENT ? PC_E_NOTFOUND : -errno;
}

int pc_object_remove(const struct pc_volume *v, enum pc_area area, uint64_t id)
{
    struct pc_object_path p = pc_object_path(area, id), rec = record_path(area, id);
    struct stat st;
    if (fstatat(v->vault_fd, p.text, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    /* A link's inode is a user's file while it has other names: its flags are theirs, and it is only our name that
     * goes. */
    bool ours = area == PC_AREA_OBJECTS || st.st_nlink == 1;
    if (unlinkat(v->vault_fd, p.text, 0) < 0) {
        if (errno != EPERM || !ours)
            return -errno;
        _close_ int fd = pc_object_open(v, area, id);
        int r = fd < 0 ? fd : set_immutable(fd, false);
        if (r < 0)
            return r;
        if (unlinkat(v->vault_fd, p.text, 0) < 0)
            return -errno;
    }
    unlinkat(v->vault_fd, rec.text, 0); /* mostly absent */
    return 0;
}

static int read_sidecar(const struct pc_volume *v, enum pc_area area, uint64_t id, struct pc_record *rec)
{
    struct pc_object_path p = record_path(area, id);
    _close_ int fd = openat(v->vault_fd, p.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? PC_E_CORRUPT : -errno;
    _free_ char *bytes = malloc(PC_RECORD_MAX);
    if (!bytes)
        return -ENOMEM;
    ssize_t n = pc_pread_full(fd, bytes, PC_RECORD_MAX, 0);
    return n < 0 ? (int)n : pc_record_decode(bytes, (size_t)n, rec);
}

int pc_object_read_record(const struct pc_volume *v, int fd, enum pc_area area, uint64_t id, struct pc_record *rec)
{
    char small[4096];
    ssize_t n = fgetxattr(fd, PC_RECORD_XATTR, small, sizeof small);
    if (n >= 0)
        return pc_record_decode(small, (size_t)n, rec);
    if (errno == ENODATA || errno == EOPNOTSUPP)
        return read_sidecar(v, area, id, rec);
    if (errno != ERANGE)
        return -errno;
    _free_ char *big = malloc(XATTR_SIZE_MAX);
    if (!big)
        return -ENOMEM;
    n = fgetxattr(fd, PC_RECORD_XATTR, big, XATTR_SIZE_MAX);
    return n < 0 ? -errno : pc_record_decode(big, (size_t)n, rec);
}

int pc_link_new(struct pc_store *s, const struct pc_volume *v, const struct pc_fh *fh, uint64_t *id)
{
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    for (;;) {
        uint64_t next = pc_object_next_id(s);
        struct pc_object_path p = pc_object_path(PC_AREA_LINKS, next);
        if (linkat(fd, "", v->vault_fd, p.text, AT_EMPTY_PATH) == 0) {
            *id = next;
            return 0;
        }
        if (errno != EEXIST)
            return -errno;
    }
}
