/*
 * Owns the vault's directory tree on one file system: <mount root>/.portcullis/<store id>/, its lock and its origin
 * file. Must not know files or versions. All access goes through the volume's private mount (tree_fd), so that it
 * raises no events and never blocks the user's umount.
 */
#include "preserve/internal.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "preserve/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

const char pc_vault_dir_name[] = ".portcullis";
static const char origin_head[] = "portcullis vault 1\n";

/* Opens (making it if needed) a directory that is ours: root's, a real directory, 0700. */
static int open_own_dir(int at, const char *name, bool make)
{
    if (make && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
    if (fd < 0)
        return -errno;
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : st.st_uid != geteuid() ? PC_E_REFUSED : 0;
    if (r == 0 && (st.st_mode & 0777) != 0700 && fchmod(fd, 0700) < 0)
        r = -errno;
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

/* origin: head line, the state directory (raw bytes, may hold newlines), a newline, 16 hex digits, a newline. */
static int read_origin(int dir, char *state, size_t cap, char id[17])
{
    char text[PC_PATH_CAP + 64];
    ssize_t n = pc_read_file_at(dir, "origin", text, sizeof text);
    size_t head = sizeof origin_head - 1;
    if (n < 0)
        return (int)n;
    if ((size_t)n < head + 19 || memcmp(text, origin_head, head) != 0 || text[n - 1] != '\n' || text[n - 18] != '\n')
        return PC_E_CORRUPT;
    size_t path = (size_t)n - head - 18;
    uint8_t raw[8];
    text[n - 1] = 0;
    if (path >= cap || pc_unhex(text + n - 17, raw, sizeof raw) != 8)
        return PC_E_CORRUPT;
    memcpy(state, text + head, path);
    state[path] = 0;
    memcpy(id, text + n - 17, 17);
    return 0;
}

static int write_origin(int dir, const char *state, const char *id)
{
    char text[PC_PATH_CAP + 64];
    int n = snprintf(text, sizeof text, "%s%s\n%s\n", origin_head, state, id);
    if (n < 0 || (size_t)n >= sizeof text)
        return PC_E_LIMIT;
    unlinkat(dir, "origin.new", 0);
    _close_ int fd = openat(dir, "origin.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int r = pc_write_all(fd, text, (size_t)n);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dir, "origin.new", dir, "origin") < 0)
        r = -errno;
    return r;
}

static int new_id(char id[17])
{
    uint8_t raw[8];
    if (getrandom(raw, sizeof raw, 0) != sizeof raw)
        return -EIO;
    pc_hex(raw, sizeof raw, id);
    return 0;
}

/* A store in this vault that a lost state directory left behind: same state path, nobody holds it. */
static bool adoptable(int top, const char *name, const char *state)
{
    char path[PC_PATH_CAP], id[17];
    if (strlen(name) != 16)
        return false;
    _close_ int dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 || read_origin(dir, path, sizeof path, id) < 0 || strcmp(path, state) != 0)
        return false;
    return flock(dir, LOCK_EX | LOCK_NB) == 0;
}

/* The name of the only adoptable store, if there is exactly one. */
static bool find_adoptable(int top, const char *state, char out[17])
{
    int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    _closedir_ DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return false;
    }
    int found = 0;
    struct dirent *e;
    while ((e = readdir(d)))
        if (adoptable(top, e->d_name, state) && found++ == 0)
            memcpy(out, e->d_name, 17);
    return found == 1;
}

static int make_buckets(int vault)
{
    static const char *const areas[] = {"objects", "links"};
    for (size_t a = 0; a < PC_ARRAY_SIZE(areas); a++) {
        _close_ int area = open_own_dir(vault, areas[a], true);
        if (area < 0)
            return area;
        for (unsigned i = 0; i < 256; i++) {
            char name[3];
            snprintf(name, sizeof name, "%02x", i);
            if (mkdirat(area, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        }
    }
    int aside = open_own_dir(vault, "aside", true);
    if (aside < 0)
        return aside;
    close(aside);
    return 0;
}

/* origin is written last: a vault without one is half made, and simply made again. */
static int enter(struct pc_store *s, struct pc_volume *v)
{
    char state[PC_PATH_CAP];
    if (flock(v->vault_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    int r = read_origin(v->vault_fd, state, sizeof state, v->vault_id);
    if (r == 0)
        return 0;
    if (r != -ENOENT && r != PC_E_CORRUPT)
        return r;
    r = make_buckets(v->vault_fd);
    if (r == 0)
        r = new_id(v->vault_id);
    return r == 0 ? write_origin(v->vault_fd, s->state_dir, v->vault_id) : r;
}

static bool probe_clone(const struct pc_volume *v)
{
    _close_ int a = pc_object_new(v), b = pc_object_new(v);
    return a >= 0 && b >= 0 && pc_write_all(a, "probe", 5) == 0 && pc_content_clone(a, b) == 0;
}

int pc_vault_open(struct pc_store *s, struct pc_volume *v)
{
    char name[17];
    _close_ int top = open_own_dir(v->tree_fd, pc_vault_dir_name, true);
    if (top < 0)
        return top;
    memcpy(name, s->store_id, sizeof name);
    struct stat st;
    if (fstatat(top, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        find_adoptable(top, s->state_dir, name);
    v->vault_fd = open_own_dir(top, name, true);
    if (v->vault_fd < 0)
        return v->vault_fd;
    int r = enter(s, v);
    if (r == 0) {
        _close_ int probe = pc_object_new(v);
        r = probe == -EOPNOTSUPP || probe == -EISDIR ? PC_E_UNSUPPORTED : probe < 0 ? probe : 0;
    }
    if (r == 0)
        v->can_clone = probe_clone(v);
    return r;
}

void pc_vault_close(struct pc_volume *v)
{
    if (v->vault_fd >= 0)
        close(v->vault_fd);
    if (v->tree_fd >= 0)
        close(v->tree_fd);
    v->vault_fd = v->tree_fd = -1;
}
