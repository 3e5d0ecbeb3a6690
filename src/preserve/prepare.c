/*
 * Owns making restored inodes: whole, with metadata and fsync, in the vault's aside/ folder (invisible to everybody),
 * to be renamed into place by the caller; and restoring an inode in place when it has several names. Must not touch any
 * place itself.
 */
#include "preserve/capture.h"
#include "preserve/plan.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static int fill(const struct pc_volume *v, int in, int out, uint64_t size)
{
    int r = v->can_clone ? pc_content_clone(in, out) : -EOPNOTSUPP;
    return r == 0 ? 0 : pc_content_copy(in, out, size);
}

static int make_regular(struct pc_store *s, struct pc_volume *v, const struct pc_ver *ver, const struct pc_meta *m,
                        const char *path)
{
    _close_ int in = m->size ? pc_store_open_version(s, ver->id) : -1;
    if (m->size && in < 0)
        return in;
    _close_ int out = openat(v->vault_fd, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    return m->size ? fill(v, in, out, m->size) : 0;
}

/* The preserved inode itself, when the vault holds its last name: nothing to copy, and works on a full disk. */
static int make_from_link(struct pc_store *s, struct pc_volume *v, const struct pc_ver *ver, const char *path)
{
    struct pc_meta m;
    _close_ int fd = pc_object_open(v, PC_AREA_LINKS, ver->object);
    int r = fd < 0 ? fd : pc_meta_stat(fd, &m);
    if (r == 0 && (m.nlink != 1 || m.size != ver->size || m.mtime_ns != ver->mtime_ns))
        r = PC_E_UNSUPPORTED;
    if (r == 0)
        r = pc_meta_unlock(fd);
    if (r == 0 && fremovexattr(fd, PC_RECORD_XATTR) < 0 && errno != ENODATA)
        r = -errno;
    if (r == 0 && s->on_link)
        s->on_link(s->on_link_arg, v->id, fd, m.ino, false);
    if (r == 0 && linkat(v->vault_fd, pc_object_path(PC_AREA_LINKS, ver->object).text, v->vault_fd, path, 0) < 0)
        r = -errno;
    return r;
}

static int make_inode(struct pc_store *s, struct pc_volume *v, const struct pc_ver *ver, const struct pc_meta *m,
                      const char *path)
{
    int r = 0;
    switch (m->mode & S_IFMT) {
    case S_IFREG:
        r = ver->how == PC_HOW_LINK ? make_from_link(s, v, ver, path) : PC_E_UNSUPPORTED;
        return r == PC_E_UNSUPPORTED ? make_regular(s, v, ver, m, path) : r;
    case S_IFDIR:
        r = mkdirat(v->vault_fd, path, 0700);
        break;
    case S_IFLNK:
        r = symlinkat(m->target.data ? m->target.data : "", v->vault_fd, path);
        break;
    default:
        r = mknodat(v->vault_fd, path, (m->mode & S_IFMT) | 0600, makedev(m->rdev_major, m->rdev_minor));
    }
    return r < 0 ? -errno : 0;
}

/* Opens for metadata work: symlinks and special files only as O_PATH. */
static int open_made(const struct pc_volume *v, const char *path, uint32_t mode)
{
    int flags = S_ISREG(mode) || S_ISDIR(mode) ? O_RDONLY | O_NOATIME : O_PATH;
    int fd = openat(v->vault_fd, path, flags | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int dress(const struct pc_volume *v, const char *path, const struct pc_meta *m)
{
    _close_ int fd = open_made(v, path, m->mode);
    if (fd < 0)
        return fd;
    /* chattr flags come after the rename: an immutable inode cannot be renamed. */
    int r = pc_meta_apply_unlocked(fd, m);
    if (r == 0 && (S_ISREG(m->mode) || S_ISDIR(m->mode)) && fsync(fd) < 0)
        r = -errno;
    return r;
}

static void discard(const struct pc_volume *v, const char *path)
{
    if (unlinkat(v->vault_fd, path, 0) < 0 && errno == EISDIR)
        unlinkat(v->vault_fd, path, AT_REMOVEDIR);
}

int pc_prepare(struct pc_store *s, struct pc_volume *v, uint64_t version, uint64_t aside)
{
    struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, aside);
    _meta_free_ struct pc_meta m;
    struct pc_ver ver;
    pc_meta_init(&m);
    int r = pc_ver_get(s, version, &ver);
    if (r == 0)
        r = pc_ver_meta(s, version, &m);
    if (r < 0)
        return r;
    for (int tries = 0;; tries++) {
        r = make_inode(s, v, &ver, &m, path.text);
        if (r == 0)
            r = dress(v, path.text, &m);
        if (r == 0)
            return 0;
        discard(v, path.text);
        if ((r != -ENOSPC && r != -EDQUOT) || tries >= 16 || pc_evict_for_space(s, v, m.size) < 0)
            return r;
    }
}

int pc_prepare_link(struct pc_volume *v, const struct pc_fh *fh, uint64_t aside)
{
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    return linkat(fd, "", v->vault_fd, pc_object_path(PC_AREA_ASIDE, aside).text, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int overwrite(const struct pc_volume *v, int in, int out, uint64_t size)
{
    struct pc_meta from = {.size = 0}, m;
    if (v->can_clone && in >= 0 && pc_content_clone(in, out) == 0)
        return ftruncate(out, (off_t)size) < 0 ? -errno : 0;
    int r = pc_meta_stat(out, &m);
    if (r == 0 && in >= 0)
        r = pc_meta_stat(in, &from);
    if (r < 0)
        return r;
    /* Half an overwrite would be visible: look for room first, then begin. */
    uint64_t need = pc_meta_bytes(&from);
    if (need > m.alloc_bytes && pc_space_free(v) < need - m.alloc_bytes)
        return -ENOSPC;
    if (ftruncate(out, 0) < 0)
        return -errno;
    return in < 0 ? 0 : pc_content_copy(in, out, size);
}

int pc_restore_in_place(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, uint64_t version)
{
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    int r = pc_ver_meta(s, version, &m);
    if (r < 0)
        return r;
    _close_ int in = m.size ? pc_store_open_version(s, version) : -1;
    if (m.size && in < 0)
        return in;
    _close_ int ro = pc_fh_open(v->tree_fd, fh, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME);
    if (ro < 0)
        return ro;
    r = pc_meta_unlock(ro);
    _close_ int out = r == 0 ? pc_fh_open(v->tree_fd, fh, O_RDWR | O_NOFOLLOW | O_NONBLOCK) : r;
    r = out < 0 ? out : overwrite(v, in, out, m.size);
    if (r == 0)
        r = pc_meta_apply(out, &m);
    if (r == 0 && fsync(out) < 0)
        r = -errno;
    return r;
}

int pc_restore_meta(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, uint64_t version)
{
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    int r = pc_ver_meta(s, version, &m);
    if (r < 0)
        return r;
    int flags = S_ISREG(m.mode) || S_ISDIR(m.mode) ? O_RDONLY | O_NONBLOCK | O_NOATIME : O_PATH;
    _close_ int fd = pc_fh_open(v->tree_fd, fh, flags | O_NOFOLLOW);
    return fd < 0 ? fd : pc_meta_apply(fd, &m);
}

int pc_keep_meta(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, const struct pc_fh *parent,
                 const char *name, uint64_t *version)
{
    struct stat st;
    _close_ int path = pc_fh_open(v->tree_fd, fh, O_PATH | O_NOFOLLOW);
    if (path < 0)
        return path;
    if (fstat(path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return pc_store_capture(s, v->id, path, fh, parent, name, 0, version);
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME);
    int r = fd < 0 ? fd : pc_store_capture_meta(s, v->id, fd, fh, version);
    return r == PC_E_NOTFOUND ? pc_store_capture(s, v->id, fd, fh, parent, name, 0, version) : r;
}

int pc_keep_now(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, const struct pc_fh *parent,
                const char *name, uint64_t *version)
{
    struct pc_vault_copy copy;
    struct stat st;
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return pc_store_capture(s, v->id, fd, fh, parent, name, 0, version);
    _close_ int rd = pc_fh_open(v->tree_fd, fh, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME);
    if (rd < 0)
        return rd;
    uint64_t limit = v->copy_limit_bytes;
    v->copy_limit_bytes = UINT64_MAX; /* nobody waits for this copy, and the rollback must not lose what it replaces */
    int r = pc_vault_copy_now(s, v->id, rd, PC_HOW_COPY, &copy);
    v->copy_limit_bytes = limit;
    return r < 0 ? r : pc_store_adopt_object(s, v->id, fh, parent, name, &copy, version);
}
