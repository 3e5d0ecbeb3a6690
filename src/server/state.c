/* Owns the server's folder: its files, its settings, its lock. Must not know what the files mean beyond server.conf and
 * the log's key. */
#include "server/state.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FILE_MAX (1u << 20)

static const struct setting {
    const char *key, *def, *words;
    size_t offset;
    bool number;
    size_t size; /* of a text, with its NUL; lowest number */
    uint64_t max;
} table[] = {
#define X_IS_TEXT false
#define X_IS_NUMBER true
#define X(key, member, kind, size, max, def, words) \
    {key, def, words, offsetof(struct pc_server_settings, member), X_IS_##kind, size, max},
    PC_SERVER_SETTINGS(X)
#undef X
};

/* --- settings --------------------------------------------------------------------------------------------------------
 */

static int set(struct pc_server_settings *s, const struct setting *t, const char *value)
{
    char *at = (char *)s + t->offset;
    if (t->number) {
        uint64_t n;
        int ret = pc_parse_u64(value, t->size, t->max, &n);
        if (ret == 0)
            *(uint32_t *)(void *)at = (uint32_t)n;
        return ret;
    }
    if (strlen(value) >= t->size)
        return PC_E_RANGE;
    memcpy(at, value, strlen(value) + 1);
    return 0;
}

void pc_server_settings_default(struct pc_server_settings *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < PC_ARRAY_SIZE(table); i++)
        set(s, &table[i], table[i].def);
}

struct reading {
    struct pc_server_settings *out;
    int error;
    char *why;
    size_t why_len;
};

static int on_line(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *r = ctx;
    for (size_t i = 0; i < PC_ARRAY_SIZE(table); i++) {
        if (strcmp(table[i].key, name) != 0)
            continue;
        r->error = set(r->out, &table[i], value);
        if (r->error < 0)
            snprintf(r->why, r->why_len, "server.conf: %s: %s", name, pc_strerror(r->error));
        return r->error == 0;
    }
    r->error = PC_E_SYNTAX;
    snprintf(r->why, r->why_len, "server.conf: unknown setting %s", name);
    return 0;
}

static int read_settings(struct pc_server_state *s, char *why, size_t why_len)
{
    _free_ char *text = NULL;
    size_t len;
    int ret = pc_server_state_read(s, "server.conf", &text, &len);
    if (ret < 0) {
        snprintf(why, why_len, "%s/server.conf: %s (is this the folder that `portcullis-server init` made?)", s->path,
                 pc_strerror(ret));
        return ret;
    }
    pc_server_settings_default(&s->settings);
    struct reading r = {.out = &s->settings, .why = why, .why_len = why_len};
    int line = ini_parse_string(text, on_line, &r);
    if (line == 0)
        return 0;
    if (r.error == 0)
        snprintf(why, why_len, "server.conf: line %d does not parse", line);
    return r.error ? r.error : PC_E_SYNTAX;
}

static int write_settings(const struct pc_server_state *s)
{
    char text[16384];
    size_t at = (size_t)snprintf(text, sizeof text,
                                 "# Settings of portcullis-server(8); it reads them when it starts.\n");
    for (size_t i = 0; i < PC_ARRAY_SIZE(table) && at < sizeof text; i++) {
        const char *from = (const char *)&s->settings + table[i].offset;
        at += (size_t)snprintf(text + at, sizeof text - at, "\n# %s\n%s = ", table[i].words, table[i].key);
        if (at < sizeof text)
            at += (size_t)(table[i].number
                               ? snprintf(text + at, sizeof text - at, "%u\n", *(const uint32_t *)(const void *)from)
                               : snprintf(text + at, sizeof text - at, "%s\n", from));
    }
    return at < sizeof text ? pc_server_state_write_new(s, "server.conf", text, at, 0600) : PC_E_LIMIT;
}

/* --- folder ----------------------------------------------------------------------------------------------------------
 */

static int open_dir(const char *path, struct pc_server_state *s, char *why, size_t why_len)
{
    *s = (struct pc_server_state){.dir_fd = -1, .lock_fd = -1};
    if (strlen(path) >= sizeof s->path) {
        snprintf(why, why_len, "the path of the state folder is too long");
        return -ENAMETOOLONG;
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (s->dir_fd < 0 || fstat(s->dir_fd, &st) < 0) {
        int err = -errno;
        snprintf(why, why_len, "%s: %s", path, strerror(-err));
        return err;
    }
    s->uid = st.st_uid;
    s->gid = st.st_gid;
    if (st.st_mode & 022) {
        snprintf(why, why_len, "%s: others may write to this folder (chmod 700): it holds the server's keys", path);
        return PC_E_REFUSED;
    }
    return 0;
}

int pc_server_state_open(const char *path, struct pc_server_state *out, char *why, size_t why_len)
{
    struct pc_server_state s;
    int ret = open_dir(path, &s, why, why_len);
    if (ret == 0)
        ret = read_settings(&s, why, why_len);
    if (ret < 0) {
        pc_server_state_close(&s);
        return ret;
    }
    *out = s;
    return 0;
}

int pc_server_state_create(const char *path, const struct pc_server_settings *settings, struct pc_server_state *out,
                           char *why, size_t why_len)
{
    struct pc_server_state s = {.dir_fd = -1, .lock_fd = -1};
    int ret = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
    if (ret < 0) {
        snprintf(why, why_len, "%s: %s", path, strerror(-ret));
        return ret;
    }
    ret = open_dir(path, &s, why, why_len);
    if (ret == 0) {
        s.settings = *settings;
        ret = write_settings(&s);
        if (ret < 0)
            snprintf(why, why_len,
                     ret == -EEXIST ? "%s: there is a server in this folder already; it was left as it is" : "%s: %s",
                     path, pc_strerror(ret));
    }
    if (ret == 0 && mkdirat(s.dir_fd, "files", 0755) < 0 && errno != EEXIST)
        ret = -errno;
    if (ret < 0) {
        pc_server_state_close(&s);
        return ret == -EEXIST ? PC_E_STATE : ret;
    }
    *out = s;
    return 0;
}

void pc_server_state_close(struct pc_server_state *s)
{
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->dir_fd = s->lock_fd = -1;
}

static int give_all(int dir_fd, uid_t uid, gid_t gid)
{
    _close_ int again = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _closedir_ DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir)
        return -errno;
    (void)TAKE_FD(again);
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        if (strcmp(d->d_name, "..") != 0 && fchownat(dir_fd, d->d_name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
    return 0;
}

int pc_server_state_give(int dir_fd, const char *user)
{
    const struct passwd *pw = getpwnam(user);
    return pw ? give_all(dir_fd, pw->pw_uid, pw->pw_gid) : -ENOENT;
}

int pc_server_state_lock(struct pc_server_state *s)
{
    _close_ int fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (geteuid() == 0 && s->uid != 0 && fchown(fd, s->uid, s->gid) < 0)
        return -errno; /* else its owner could not start it by itself */
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? PC_E_STATE : -errno;
    s->lock_fd = TAKE_FD(fd);
    return 0;
}

/* --- files -----------------------------------------------------------------------------------------------------------
 */

int pc_server_state_read(const struct pc_server_state *s, const char *name, char **out, size_t *len)
{
    _close_ int fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : pc_read_regular(fd, FILE_MAX, out, len);
}

/* What root makes in a folder that is not root's must be readable by the server that runs as its owner. */
static int write_file(const struct pc_server_state *s, const char *name, const void *data, size_t len, unsigned mode)
{
    int dir_fd = s->dir_fd, ret = pc_create_file_at(dir_fd, name, data, len, mode);
    if (ret == 0 && geteuid() == 0 && s->uid != 0 && fchownat(dir_fd, name, s->uid, s->gid, AT_SYMLINK_NOFOLLOW) < 0) {
        ret = -errno;
        unlinkat(dir_fd, name, 0);
    }
    if (ret == 0 && fsync(dir_fd) < 0) {
        ret = -errno;
        unlinkat(dir_fd, name, 0);
    }
    return ret;
}

int pc_server_state_write_new(const struct pc_server_state *s, const char *name, const void *data, size_t len,
                              unsigned mode)
{
    return write_file(s, name, data, len, mode);
}

int pc_server_state_replace(const struct pc_server_state *s, const char *name, const void *data, size_t len,
                            unsigned mode)
{
    char tmp[256];
    snprintf(tmp, sizeof tmp, "%s.new", name);
    unlinkat(s->dir_fd, tmp, 0); /* of one that was interrupted */
    int ret = write_file(s, tmp, data, len, mode);
    if (ret == 0 && (renameat(s->dir_fd, tmp, s->dir_fd, name) < 0 || fsync(s->dir_fd) < 0))
        ret = -errno;
    return ret;
}

int pc_server_state_log_key(const struct pc_server_state *s, struct pc_skey *out)
{
    char *text;
    size_t len;
    int ret = pc_server_state_read(s, "log.key", &text, &len);
    if (ret < 0)
        return ret;
    text[strcspn(text, "\n")] = 0;
    ret = pc_skey_parse(text, out);
    OPENSSL_cleanse(text, len);
    free(text);
    return ret;
}

void pc_server_state_database(const struct pc_server_state *s, char *out, size_t cap)
{
    if (*s->settings.database)
        snprintf(out, cap, "%s", s->settings.database);
    else
        snprintf(out, cap, "sqlite:%s/server.db", s->path);
}
