/*
 * Owns the drill's folder and the checks that every descriptor passes before anything is done to it. The only file of
 * the drill that turns names into descriptors; what is then done to them is decided elsewhere.
 */
#include "cli/drill/folder.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/drill/cipher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define FOLDER_PREFIX "portcullis-drill-"
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static const char *const xattr_names[] = {"user.portcullis.drill", "trusted.portcullis.drill"};

static void folder_init(struct drill_folder *f)
{
    *f = (struct drill_folder){.fd = -1, .uid = geteuid()};
    for (int i = 0; i < DRILL_SUBS; i++)
        f->sub[i] = -EBADF;
}

void drill_folder_close(struct drill_folder *f)
{
    for (int i = 0; i < DRILL_SUBS; i++)
        if (f->sub[i] >= 0)
            close(f->sub[i]);
    if (f->fd >= 0)
        close(f->fd);
    folder_init(f);
}

/*
 * What openat2 says when a name leads over a symlink, a mount point or out of the folder, or is a folder or a pipe with
 * no reader where a file should be, is a refusal, not a failure.
 */
static int open_error(int r)
{
    return r == -ELOOP || r == -EXDEV || r == -EISDIR || r == -ENXIO ? PC_E_REFUSED : r;
}

int drill_folder_mark(const struct drill_folder *f, int fd)
{
    return fsetxattr(fd, f->xattr, f->id, DRILL_ID_HEX, 0) == 0 ? 0 : -errno;
}

static int check_mark(const struct drill_folder *f, int fd)
{
    char id[DRILL_ID_HEX + 1];
    ssize_t n = fgetxattr(fd, f->xattr, id, sizeof id);
    if (n < 0 && errno != ENODATA)
        return -errno;
    return n == DRILL_ID_HEX && memcmp(id, f->id, DRILL_ID_HEX) == 0 ? 0 : PC_E_REFUSED;
}

/*
 * A guard in on-open mode keeps one hard link of every file in its vault (DESIGN 3.2). It is harmless: the mark proves
 * that the content is the drill's own, whatever other names it has.
 */
#define VAULT_LINKS 1

int drill_folder_check(const struct drill_folder *f, int fd, nlink_t max_links)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_dev != f->dev || st.st_uid != f->uid ||
        st.st_nlink > max_links + VAULT_LINKS)
        return PC_E_REFUSED;
    return check_mark(f, fd);
}

int drill_folder_open_file(const struct drill_folder *f, int dirfd, const char *name, uint64_t flags,
                           nlink_t max_links)
{
    if (dirfd < 0)
        return dirfd;
    if (flags & (O_CREAT | O_TRUNC))
        return -EINVAL;
    /* A planted fifo must be refused, not waited for; O_RDWR never waits, and keeps io_uring free of EAGAIN. */
    uint64_t no_wait = (flags & O_ACCMODE) == O_RDWR ? 0 : O_NONBLOCK;
    _close_ int fd = pc_open_beneath(dirfd, name, flags | no_wait, 0);
    if (fd < 0)
        return open_error(fd);
    int r = drill_folder_check(f, fd, max_links);
    return r < 0 ? r : TAKE_FD(fd);
}

int drill_folder_create_file(const struct drill_folder *f, int dirfd, const char *name, mode_t mode)
{
    if (dirfd < 0)
        return dirfd;
    _close_ int fd = pc_open_beneath(dirfd, name, O_RDWR | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return open_error(fd);
    int r = drill_folder_mark(f, fd);
    return r < 0 ? r : TAKE_FD(fd);
}

int drill_folder_is_same(int dirfd, const char *name, int fd)
{
    struct stat by_name, by_fd;
    if (fstatat(dirfd, name, &by_name, AT_SYMLINK_NOFOLLOW) < 0 || fstat(fd, &by_fd) < 0)
        return -errno;
    return by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino ? 0 : PC_E_REFUSED;
}

/* A new file that died before it was marked: ours by place (a 0700 folder of ours), by owner, and holds nothing. */
static bool is_stillborn(const struct drill_folder *f, int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == f->uid && st.st_dev == f->dev &&
           st.st_size == 0 && st.st_nlink == 1;
}

int drill_folder_remove_file(const struct drill_folder *f, int dirfd, const char *name)
{
    if (dirfd < 0)
        return dirfd;
    _close_ int fd = pc_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return open_error(fd);
    int r = drill_folder_check(f, fd, 2);
    if (r == PC_E_REFUSED && is_stillborn(f, fd))
        r = 0;
    if (r == 0)
        r = drill_folder_is_same(dirfd, name, fd);
    if (r == 0 && unlinkat(dirfd, name, 0) < 0)
        r = -errno;
    return r;
}

static int check_dir(const struct drill_folder *f, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) || st.st_uid != f->uid || (st.st_mode & 07777) != 0700 || st.st_dev != f->dev)
        return PC_E_REFUSED;
    return check_mark(f, fd);
}

static int open_sub(const struct drill_folder *f, int dirfd, const char *name)
{
    _close_ int fd = pc_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return open_error(fd);
    int r = check_dir(f, fd);
    return r < 0 ? r : TAKE_FD(fd);
}

int drill_folder_make_sub(const struct drill_folder *f, int dirfd, const char *name)
{
    if (mkdirat(dirfd, name, 0700) < 0)
        return errno == EEXIST ? open_sub(f, dirfd, name) : -errno;
    _close_ int fd = pc_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return open_error(fd);
    int r = drill_folder_mark(f, fd);
    return r < 0 ? r : TAKE_FD(fd);
}

/* Chooses the attribute this file system can hold by trying. */
static int choose_mark(struct drill_folder *f)
{
    int r = PC_E_UNSUPPORTED;
    for (size_t i = 0; i < PC_ARRAY_SIZE(xattr_names); i++) {
        f->xattr = xattr_names[i];
        r = drill_folder_mark(f, f->fd);
        if (r != -EOPNOTSUPP && r != -EPERM)
            return r;
    }
    return PC_E_UNSUPPORTED;
}

static int set_identity(struct drill_folder *f)
{
    struct stat st;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", f->fd);
    ssize_t n = readlink(link, f->path, sizeof f->path - 1);
    if (n < 0 || fstat(f->fd, &st) < 0)
        return -errno;
    f->path[n] = 0;
    f->dev = st.st_dev;
    return 0;
}

static int create_inside(int parent, struct drill_folder *f)
{
    uint8_t id[DRILL_ID_HEX / 2];
    char name[sizeof FOLDER_PREFIX + DRILL_ID_HEX];
    int r = drill_random(id, sizeof id);
    if (r < 0)
        return r;
    pc_hex(id, sizeof id, f->id);
    snprintf(name, sizeof name, FOLDER_PREFIX "%s", f->id);
    if (mkdirat(parent, name, 0700) < 0)
        return -errno;
    f->fd = openat(parent, name, DIR_FLAGS);
    if (f->fd < 0)
        return -errno;
    r = choose_mark(f);
    if (r < 0) {
        unlinkat(parent, name, AT_REMOVEDIR); /* still empty: leave nothing behind */
        return r;
    }
    r = set_identity(f);
    for (int i = 0; r == 0 && i < DRILL_SUBS; i++) {
        f->sub[i] = drill_folder_make_sub(f, f->fd, drill_subs[i]);
        r = f->sub[i] < 0 ? f->sub[i] : 0;
    }
    return r;
}

int drill_folder_create(const char *dir, struct drill_folder *out)
{
    _close_ int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return -errno;
    struct drill_folder f;
    folder_init(&f);
    int r = create_inside(parent, &f);
    if (r < 0)
        drill_folder_close(&f);
    else
        *out = f;
    return r;
}

/* The run id from the folder's own mark, under whichever attribute it is. */
static int read_identity(struct drill_folder *f)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(xattr_names); i++) {
        f->xattr = xattr_names[i];
        ssize_t n = fgetxattr(f->fd, f->xattr, f->id, DRILL_ID_HEX);
        if (n == DRILL_ID_HEX && strspn(f->id, "0123456789abcdef") == DRILL_ID_HEX)
            return 0;
        memset(f->id, 0, sizeof f->id);
    }
    return PC_E_REFUSED;
}

static int open_and_check(const char *path, struct drill_folder *f)
{
    f->fd = open(path, DIR_FLAGS);
    if (f->fd < 0)
        return errno == ELOOP ? PC_E_REFUSED : -errno;
    int r = read_identity(f);
    if (r == 0)
        r = set_identity(f);
    if (r == 0)
        r = check_dir(f, f->fd);
    if (r < 0)
        return r;
    const char *name = strrchr(f->path, '/');
    if (!name || strncmp(name + 1, FOLDER_PREFIX, strlen(FOLDER_PREFIX)) != 0 ||
        strcmp(name + 1 + strlen(FOLDER_PREFIX), f->id) != 0)
        return PC_E_REFUSED;
    /* A sub-folder that is not ours any more stays closed: its files are refused one by one, the others go on. */
    for (int i = 0; i < DRILL_SUBS; i++)
        f->sub[i] = open_sub(f, f->fd, drill_subs[i]);
    return 0;
}

int drill_folder_open(const char *path, struct drill_folder *out)
{
    struct drill_folder f;
    folder_init(&f);
    int r = open_and_check(path, &f);
    if (r < 0)
        drill_folder_close(&f);
    else
        *out = f;
    return r;
}
