/*
 * Owns the owner's folder (owner_dir.h): its layout, its configuration, the pinned hosts, the trust file and the
 * sequence number. Must not talk to the server.
 */
#include "cli/owner_dir.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define CONF_MAX (16u << 10)

/* --- files -------------------------------------------------------------------------------------------------------- */

int pc_cli_file_read(const char *path, size_t max, char **out, size_t *len)
{
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    size_t cap = S_ISREG(st.st_mode) && (uint64_t)st.st_size < max ? (size_t)st.st_size + 1 : max + 1;
    _free_ char *data = malloc(cap + 1);
    if (!data)
        return -ENOMEM;
    ssize_t used = pc_read_full(fd, data, cap);
    if (used < 0)
        return (int)used;
    if ((size_t)used == cap)
        return PC_E_LIMIT; /* larger than allowed, or growing while we read */
    data[used] = 0;
    *len = (size_t)used;
    *out = TAKE_PTR(data);
    return 0;
}

int pc_cli_make_folder_of(const char *path)
{
    _free_ char *folder = strdup(path);
    if (!folder)
        return -ENOMEM;
    char *last = strrchr(folder, '/');
    if (!last || last == folder)
        return 0;
    *last = 0;
    for (char *p = strchr(folder + 1, '/');; p = strchr(p + 1, '/')) {
        if (p)
            *p = 0;
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            return -errno;
        if (!p)
            break;
        *p = '/';
    }
    return 0;
}

/* A rename outlasts a loss of power only when its folder is on disk. */
static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    _free_ char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    _close_ int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (!folder)
        return -ENOMEM;
    return fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? -errno : 0; /* EINVAL: a file system that has no such thing */
}

int pc_cli_file_replace(const char *path, const void *data, size_t len, unsigned mode)
{
    _free_ char *temporary = NULL;
    int r = pc_cli_make_folder_of(path);
    if (r < 0)
        return r;
    if (asprintf(&temporary, "%s.%d.new", path, (int)getpid()) < 0) {
        temporary = NULL;
        return -ENOMEM;
    }
    r = pc_create_file_at(AT_FDCWD, temporary, data, len, mode);
    if (r == -EEXIST && unlink(temporary) == 0) /* of one with our number, that was killed */
        r = pc_create_file_at(AT_FDCWD, temporary, data, len, mode);
    if (r == 0 && rename(temporary, path) < 0) {
        r = -errno;
        unlink(temporary);
    }
    return r < 0 ? r : sync_folder_of(path);
}

/* --- the folder --------------------------------------------------------------------------------------------------- */

static char *folder_path(const struct pc_cli *cli)
{
    const char *env = getenv("PORTCULLIS_OWNER"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *out = NULL;
    if (cli->fleet.owner)
        return strdup(cli->fleet.owner);
    if (env && *env)
        return strdup(env);
    if (xdg && *xdg == '/')
        return asprintf(&out, "%s/portcullis", xdg) < 0 ? NULL : out;
    return asprintf(&out, "%s/.config/portcullis", home && *home ? home : "") < 0 ? NULL : out;
}

char *pc_owner_dir_file(const struct pc_owner_dir *d, const char *name)
{
    char *out = NULL;
    if (*name == '/')
        return strdup(name);
    return asprintf(&out, "%s/%s", d->path, name) < 0 ? NULL : out;
}

struct reading {
    struct pc_owner_dir *dir;
    char unknown[128];
};

/* 1: go on, 0: stop here (inih reports the line). */
static int take_setting(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    struct pc_owner_dir *d = r->dir;
    bool url = strcmp(name, "url") == 0;
    char **to = url ? &d->url : strcmp(name, "ca") == 0 ? &d->ca : strcmp(name, "token") == 0 ? &d->token : NULL;
    if (strcmp(section, "server") != 0 || !to || *to) {
        snprintf(r->unknown, sizeof r->unknown, "[%.40s] %.60s", section, name);
        return 0;
    }
    *to = url ? strdup(value) : pc_owner_dir_file(d, value);
    return *to != NULL;
}

static int read_conf(struct pc_owner_dir *d)
{
    _free_ char *path = pc_owner_dir_file(d, "owner.conf"), *text = NULL;
    struct reading r = {.dir = d};
    size_t len;
    if (!path)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    int err = pc_cli_file_read(path, CONF_MAX, &text, &len);
    if (err == -ENOENT || err == -ENOTDIR)
        return 0;
    if (err < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(err));
    int line = ini_parse_string(text, take_setting, &r);
    if (line == 0)
        return 0;
    return pc_cli_fail(PC_EXIT_USAGE, "%s: line %d: %s%s: allowed are url, ca and token in section [server], once each",
                       path, line, r.unknown, r.unknown[0] ? " is unknown or given twice" : "not understood");
}

/* The command line wins, each value by itself. */
static bool take_given(struct pc_owner_dir *d, const struct pc_cli *cli)
{
    const struct {
        const char *given;
        char **to;
    } all[] = {{cli->fleet.server, &d->url}, {cli->fleet.ca, &d->ca}, {cli->fleet.token, &d->token}};
    for (size_t i = 0; i < PC_ARRAY_SIZE(all); i++) {
        if (!all[i].given)
            continue;
        free(*all[i].to);
        *all[i].to = strdup(all[i].given);
        if (!*all[i].to)
            return false;
    }
    return true;
}

int pc_owner_dir_open(const struct pc_cli *cli, struct pc_owner_dir *out)
{
    struct pc_owner_dir d = {.path = folder_path(cli)};
    int status = d.path ? read_conf(&d) : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (status == 0 && !take_given(&d, cli))
        status = pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (status)
        pc_owner_dir_close(&d);
    else
        *out = d;
    return status;
}

void pc_owner_dir_close(struct pc_owner_dir *d)
{
    free(d->path);
    free(d->url);
    free(d->ca);
    free(d->token);
    *d = (struct pc_owner_dir){0};
}

int pc_owner_dir_lock(const struct pc_owner_dir *d, int *out)
{
    _free_ char *path = pc_owner_dir_file(d, "lock");
    int r = path ? pc_cli_make_folder_of(path) : -ENOMEM;
    _close_ int fd = r < 0 ? -1 : open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (r == 0 && (fd < 0 || flock(fd, LOCK_EX) < 0))
        r = -errno;
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s/lock: %s", d->path, pc_strerror(r));
    *out = TAKE_FD(fd);
    return 0;
}

/* --- pinned hosts ------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pc_host_ref *)a)->name, ((const struct pc_host_ref *)b)->name);
}

static int add_pin(struct pc_pins *p, size_t *room, const char *line)
{
    if (p->n == *room) {
        size_t more = *room ? 2 * *room : 64;
        void *grown = realloc(p->host, more * sizeof *p->host);
        if (!grown)
            return -ENOMEM;
        p->host = grown;
        *room = more;
    }
    int r = pc_host_ref_parse(line, &p->host[p->n]);
    if (r == 0)
        p->n++;
    return r;
}

static void strip(char *line)
{
    size_t n = strlen(line);
    while (n && strchr(" \t\r", line[n - 1]))
        line[--n] = 0;
}

/* text is taken apart. The same line twice is one pin. */
static int parse_pins(const char *path, char *text, struct pc_pins *p)
{
    size_t room = 0, number = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        number++;
        strip(line);
        if (!*line || *line == '#')
            continue;
        int r = add_pin(p, &room, line);
        if (r < 0)
            return pc_cli_fail(PC_EXIT_FAILED,
                               "%s: line %zu: %s: one NAME#HOSTID a line is wanted, HOSTID 32 hex digits", path, number,
                               r == PC_E_SYNTAX ? "not a host" : pc_strerror(r));
    }
    if (p->n)
        qsort(p->host, p->n, sizeof *p->host, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (kept && by_name(&p->host[kept - 1], &p->host[i]) != 0)
            p->host[kept++] = p->host[i];
        else if (!kept)
            kept = 1;
        else if (strcmp(p->host[kept - 1].id, p->host[i].id) != 0)
            return pc_cli_fail(PC_EXIT_FAILED, "%s: %s is pinned with two identities: keep the line that is right",
                               path, p->host[i].name);
    }
    p->n = kept;
    return 0;
}

int pc_pins_load(const struct pc_owner_dir *d, struct pc_pins *out)
{
    _free_ char *path = pc_owner_dir_file(d, "hosts"), *text = NULL;
    struct pc_pins pins = {0};
    size_t len;
    if (!path)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    int r = pc_cli_file_read(path, PC_PINS_FILE_MAX, &text, &len);
    if (r == -ENOENT || r == -ENOTDIR) {
        *out = pins;
        return 0;
    }
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(r));
    int status = strlen(text) == len ? parse_pins(path, text, &pins)
                                     : pc_cli_fail(PC_EXIT_FAILED, "%s: not a text", path);
    if (status)
        pc_pins_clear(&pins);
    else
        *out = pins;
    return status;
}

void pc_pins_clear(struct pc_pins *p)
{
    free(p->host);
    *p = (struct pc_pins){0};
}

const struct pc_host_ref *pc_pins_find(const struct pc_pins *p, const char *name)
{
    struct pc_host_ref key = {0};
    if (p->n == 0 || !pc_name_valid(name))
        return NULL;
    memcpy(key.name, name, strlen(name) + 1);
    return bsearch(&key, p->host, p->n, sizeof *p->host, by_name);
}

int pc_pins_add(const struct pc_owner_dir *d, const struct pc_host_ref *hosts, size_t n)
{
    _free_ char *path = pc_owner_dir_file(d, "hosts"), *old = NULL;
    _buf_free_ struct pc_buf text;
    size_t len = 0;
    _close_ int lock = -1;
    pc_buf_init(&text, 2 * PC_PINS_FILE_MAX);
    int status = pc_owner_dir_lock(d, &lock);
    if (status)
        return status;
    int r = path ? pc_cli_file_read(path, PC_PINS_FILE_MAX, &old, &len) : -ENOMEM;
    if (r == 0)
        pc_buf_add(&text, old, len);
    if (len && old[len - 1] != '\n')
        pc_buf_addf(&text, "\n");
    for (size_t i = 0; i < n; i++)
        pc_buf_addf(&text, "%s#%s\n", hosts[i].name, hosts[i].id);
    if (r == 0 || r == -ENOENT)
        r = text.failed ? -ENOMEM : pc_cli_file_replace(path, text.data, text.len, 0600);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s/hosts: %s", d->path, pc_strerror(r)) : 0;
}

/* --- trust file and sequence -------------------------------------------------------------------------------------- */

int pc_owner_trust(const struct pc_owner_dir *d, struct pc_trust *out)
{
    _free_ char *path = pc_owner_dir_file(d, "trust.json"), *text = NULL;
    char why[256] = "";
    size_t len;
    int r = path ? pc_cli_file_read(path, PC_TRUST_DOCUMENT_MAX, &text, &len) : -ENOMEM;
    if (r == -ENOENT || r == -ENOTDIR)
        return pc_cli_fail(
            PC_EXIT_FAILED,
            "%s: there is no trust file: copy the one in force there (from another owner, not from the server)", path);
    if (r == 0)
        r = pc_trust_parse(text, len, out, why, sizeof why);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path ? path : "trust.json", *why ? why : pc_strerror(r)) : 0;
}

int pc_owner_sequence(const struct pc_owner_dir *d, uint64_t *out)
{
    _free_ char *path = pc_owner_dir_file(d, "sequence"), *text = NULL;
    size_t len;
    uint64_t n = 0;
    int r = path ? pc_cli_file_read(path, 64, &text, &len) : -ENOMEM;
    if (r == 0) {
        text[strcspn(text, "\n")] = 0;
        r = pc_parse_u64(text, 0, INT64_MAX, &n);
    }
    if (r < 0 && r != -ENOENT && r != -ENOTDIR)
        return pc_cli_fail(PC_EXIT_FAILED, "%s/sequence: %s", d->path, pc_strerror(r));
    *out = n;
    return 0;
}

int pc_owner_sequence_keep(const struct pc_owner_dir *d, uint64_t sequence)
{
    _free_ char *path = pc_owner_dir_file(d, "sequence");
    char text[32];
    int n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)sequence);
    int r = path ? pc_cli_file_replace(path, text, (size_t)n, 0600) : -ENOMEM;
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s/sequence: %s", d->path, pc_strerror(r)) : 0;
}
