/*
 * Owns `backup` and `restore`: the server's folder as one archive, with a consistent copy of the database taken while
 * it runs. What it holds can act as this server, so it is 0600. Must not restore over anything.
 */
#include "server/command.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "server/options.h"
#include "server/state.h"
#include "server/tar.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct member {
    const char *name;
    unsigned mode;
} members[] = {
    {"server.conf", 0600}, {"ca.pem", 0644},  {"ca.key", 0600},   {"server.pem", 0644},
    {"server.key", 0600},  {"log.key", 0600}, {"log.vkey", 0644}, {"server.db", 0600},
};
#define COPY "backup.db"

static int add_file(int out, const struct pc_server_state *s, const char *file, const struct member *m)
{
    _close_ int fd = openat(s->dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return pc_tar_add(out, m->name, m->mode, fd, (uint64_t)st.st_size);
}

/* A copy inside the state folder: it has to be as well kept as the original. 1: there is none to take, pg_dump does it.
 */
static int copy_database(const struct pc_server_state *s, char *why, size_t why_len)
{
    char where[1100], path[600];
    struct pc_store *store;
    pc_server_state_database(s, where, sizeof where);
    snprintf(path, sizeof path, "%s/" COPY, s->path);
    int ret = pc_store_connect(where, &store, why, why_len);
    if (ret < 0)
        return ret;
    unlinkat(s->dir_fd, COPY, 0); /* of one that was interrupted */
    ret = store->ops->backup(store, path);
    if (ret < 0 && ret != PC_E_UNSUPPORTED)
        snprintf(why, why_len, "database: %s", store->ops->error(store));
    store->ops->close(store);
    return ret == PC_E_UNSUPPORTED ? 1 : ret;
}

static int write_backup(int out, const struct pc_server_state *s, bool database)
{
    int ret = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(members) && ret == 0; i++) {
        bool is_database = strcmp(members[i].name, "server.db") == 0;
        if (!is_database)
            ret = add_file(out, s, members[i].name, &members[i]);
        else if (database)
            ret = add_file(out, s, COPY, &members[i]);
    }
    return ret < 0 ? ret : pc_tar_end(out);
}

int pc_server_backup(int argc, char **argv)
{
    struct pc_server_options o;
    struct pc_server_state s;
    char why[512] = "";
    if (pc_server_options_read(argc, argv, PC_OPT_STATE, 1, &o) < 0 || o.n_rest != 1)
        return pc_server_usage(argv[0]);
    if (pc_server_state_open(o.state, &s, why, sizeof why) < 0)
        return pc_server_complain("backup: %s", why);
    _close_ int out = open(o.rest[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int ret = out < 0 ? -errno : copy_database(&s, why, sizeof why);
    bool database = ret == 0;
    if (ret >= 0)
        ret = write_backup(out, &s, database);
    unlinkat(s.dir_fd, COPY, 0);
    pc_server_state_close(&s);
    if (ret < 0) {
        if (out >= 0)
            unlink(o.rest[0]);
        return pc_server_complain("backup: %s: %s", o.rest[0], *why ? why : pc_strerror(ret));
    }
    if (!database)
        fprintf(
            stderr,
            "portcullis-server: backup: keys and settings only: the database is PostgreSQL's, save it with pg_dump\n");
    return 0;
}

/* --- restore ------------------------------------------------------------------------------------------------------ */

static const struct member *member_of(const char *name)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static int take_member(int in, int dir, const char *name, uint64_t size)
{
    const struct member *m = member_of(name);
    if (!m)
        return PC_E_CORRUPT;
    _close_ int fd = openat(dir, m->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, m->mode);
    if (fd < 0)
        return -errno;
    int ret = pc_copy_bytes(in, fd, size);
    if (ret == 0 && fsync(fd) < 0)
        ret = -errno;
    return ret < 0 ? ret : pc_tar_skip(in, size);
}

int pc_server_restore(int argc, char **argv)
{
    struct pc_server_options o;
    char name[100];
    unsigned mode;
    uint64_t size;
    if (pc_server_options_read(argc, argv, PC_OPT_STATE | PC_OPT_USER, 1, &o) < 0 || o.n_rest != 1)
        return pc_server_usage(argv[0]);
    _close_ int in = open(o.rest[0], O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return pc_server_complain("restore: %s: %s", o.rest[0], strerror(errno));
    if (mkdir(o.state, 0700) < 0)
        return pc_server_complain("restore: %s: %s (a backup is restored into a new folder)", o.state, strerror(errno));
    _close_ int dir = open(o.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ret = dir < 0 ? -errno : 1;
    while (ret == 1) {
        ret = pc_tar_next(in, name, &mode, &size);
        if (ret == 1 && (ret = take_member(in, dir, name, size)) == 0)
            ret = 1;
    }
    if (ret == 0 && mkdirat(dir, "files", 0755) < 0)
        ret = -errno;
    if (ret == 0 && o.user)
        ret = pc_server_state_give(dir, o.user);
    if (ret == 0 && fsync(dir) < 0)
        ret = -errno;
    if (ret < 0)
        return pc_server_complain("restore: %s: %s", o.rest[0], pc_strerror(ret));
    puts("restored; hosts accept only a log that continues what they saw: restore the newest backup there is");
    return 0;
}
