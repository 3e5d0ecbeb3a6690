/*
 * Owns the small files of the host's fleet folder: how they are made, so that no crash and no other user can come
 * between. Knows no orders.
 */
#include "host/files.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OF_NAMES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

/*
 * With the folder above it, which nothing has made yet on a host that is enrolled before it ever guarded anything; no
 * more than that.
 */
static int make_folder(const char *path)
{
    char above[PATH_MAX];
    if (mkdir(path, 0711) == 0 || errno == EEXIST)
        return 0;
    const char *slash = strrchr(path, '/');
    if (errno != ENOENT || !slash || slash == path ||
        snprintf(above, sizeof above, "%.*s", (int)(slash - path), path) >= (int)sizeof above)
        return -errno;
    return mkdir(above, 0711) < 0 || mkdir(path, 0711) < 0 ? -errno : 0;
}

int pc_fleet_open(const char *path, bool make, struct pc_fleet_dir *out)
{
    int r = make ? make_folder(path) : 0;
    if (r < 0)
        return r;
    _close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid() || (st.st_mode & 022))
        return PC_E_REFUSED;
    if (make && fchmod(fd, 0711) < 0)
        return -errno;
    if (!realpath(path, out->path))
        return -errno;
    out->fd = TAKE_FD(fd);
    return 0;
}

void pc_fleet_close(struct pc_fleet_dir *d)
{
    pc_closep(&d->fd);
    d->fd = -1;
}

int pc_fleet_lock(int dir_fd)
{
    _close_ int fd = openat(dir_fd, PC_FILE_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_SETLK, &whole) < 0)
        return errno == EAGAIN || errno == EACCES ? PC_E_STATE : -errno;
    (void)TAKE_FD(fd); /* never closed: that would give the lock back */
    return 0;
}

static int read_whole(int dir_fd, const char *name, int flags, size_t max, char **data, size_t *len)
{
    _close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
    return fd < 0 ? -errno : pc_read_regular(fd, max, data, len);
}

int pc_fleet_read(int dir_fd, const char *name, size_t max, char **data, size_t *len)
{
    return read_whole(dir_fd, name, O_NOFOLLOW, max, data, len);
}

int pc_fleet_read_at(int dir_fd, const char *path, size_t max, char **data, size_t *len)
{
    return read_whole(dir_fd, path, 0, max, data, len);
}

static int write_new(int dir_fd, const char *name, const void *data, size_t len, struct pc_fleet_owner owner)
{
    _close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = pc_write_all(fd, data, len);
    if (r == 0 && (fchown(fd, owner.uid, owner.gid) < 0 || fchmod(fd, owner.mode) < 0 || fsync(fd) < 0))
        r = -errno;
    return r;
}

int pc_fleet_replace(int dir_fd, const char *name, const void *data, size_t len, struct pc_fleet_owner owner)
{
    char temporary[64];
    snprintf(temporary, sizeof temporary, ".%s.new", name);
    (void)unlinkat(dir_fd, temporary, 0); /* of a crash: only we make names in here */
    int r = write_new(dir_fd, temporary, data, len, owner);
    if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dir_fd, temporary, 0);
        return r;
    }
    return fsync(dir_fd) < 0 ? -errno : 0;
}

bool pc_fleet_has(int dir_fd, const char *name)
{
    return faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int pc_hash_file(int fd, int (*step)(void *ctx), void *ctx, uint8_t out[32])
{
    static unsigned char chunk[256 << 10];
    uint8_t digest[32];
    EVP_MD_CTX *h = EVP_MD_CTX_new();
    int r = h && EVP_DigestInit_ex(h, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
    off_t at = 0;
    ssize_t n = 0;
    while (r == 0 && (n = pread(fd, chunk, sizeof chunk, at)) > 0) {
        at += n;
        r = EVP_DigestUpdate(h, chunk, (size_t)n) != 1 ? -EIO : step ? step(ctx) : 0;
    }
    if (r == 0 && (n < 0 || EVP_DigestFinal_ex(h, digest, NULL) != 1))
        r = -EIO;
    EVP_MD_CTX_free(h);
    if (r == 0)
        memcpy(out, digest, sizeof digest);
    return r;
}

int pc_split_checked(const char *text, char *host, size_t host_cap, uint16_t *port)
{
    char name[300];
    int number = pc_split_address(text, name, sizeof name, NULL);
    if (number < 0 || !*name || strlen(name) >= host_cap)
        return PC_E_SYNTAX;
    if (name[strspn(name, *text == '[' ? OF_NAMES ":%" : OF_NAMES)])
        return PC_E_SYNTAX;
    strcpy(host, name);
    *port = (uint16_t)number;
    return 0;
}

static bool copy_text(const json_t *object, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && (size_t)snprintf(out, cap, "%s", text) < cap;
}

int pc_link_facts_read(int dir_fd, struct pc_link_facts *out)
{
    _free_ char *text = NULL;
    size_t len;
    int r = pc_fleet_read(dir_fd, PC_FILE_LINK, 16 << 10, &text, &len);
    if (r < 0)
        return r;
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    struct pc_link_facts f = {.heartbeat = (uint32_t)json_integer_value(json_object_get(o, "heartbeat")),
                              .statement = (uint64_t)json_integer_value(json_object_get(o, "statement"))};
    char host[256];
    uint16_t port;
    bool good = copy_text(o, "host", f.host, sizeof f.host) && copy_text(o, "url", f.url, sizeof f.url) &&
                copy_text(o, "link", f.address, sizeof f.address) &&
                pc_split_checked(f.address, host, sizeof host, &port) == 0 && f.heartbeat >= 1 && f.heartbeat <= 3600;
    json_decref(o);
    if (!good)
        return PC_E_CORRUPT;
    *out = f;
    return 0;
}

int pc_link_facts_write(int dir_fd, const struct pc_link_facts *f, gid_t link_gid)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I}", "host", f->host, "url", f->url, "link", f->address, "heartbeat",
                          (json_int_t)f->heartbeat, "statement", (json_int_t)f->statement);
    _free_ char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    json_decref(o);
    if (!text)
        return -ENOMEM;
    return pc_fleet_replace(dir_fd, PC_FILE_LINK, text, strlen(text),
                            (struct pc_fleet_owner){geteuid(), link_gid, 0640});
}
