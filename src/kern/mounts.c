/* Owns the mount table (mountinfo) and private mount copies (open_tree). No policy: the guard decides what to guard. */
#include "kern/mounts.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(const char *in, char *out, size_t cap)
{
    size_t n = 0;
    while (*in && n + 1 < cap) {
        unsigned v;
        if (in[0] == '\\' && sscanf(in + 1, "%3o", &v) == 1) {
            out[n++] = (char)v;
            in += 4;
        } else {
            out[n++] = *in++;
        }
    }
    out[n] = 0;
}

static bool parse_line(const char *line, struct pc_mount *m)
{
    unsigned major, minor;
    char root[4096], point[4096], options[1024];
    if (sscanf(line, "%d %*d %u:%u %4095s %4095s %1023s", &m->id, &major, &minor, root, point, options) != 6)
        return false;
    const char *rest = strstr(line, " - ");
    char super[1024] = "";
    if (!rest || sscanf(rest + 3, "%31s %*s %1023s", m->type, super) < 1)
        return false;
    m->dev = makedev(major, minor);
    m->read_only = strncmp(options, "ro", 2) == 0 || strncmp(super, "ro", 2) == 0;
    unescape(root, m->root, sizeof m->root);
    unescape(point, m->point, sizeof m->point);
    return true;
}

/* Calls fn for each mount; stops when it returns true. */
static int each_mount(FILE *f, bool (*fn)(void *arg, const struct pc_mount *), void *arg)
{
    _free_ char *line = NULL;
    size_t cap = 0;
    struct pc_mount *m = malloc(sizeof *m);
    if (!m)
        return -ENOMEM;
    while (getline(&line, &cap, f) > 0)
        if (parse_line(line, m) && fn(arg, m))
            break;
    free(m);
    return 0;
}

struct search {
    const char *path;
    int id; /* mount id of the path itself */
    dev_t dev;
    struct pc_mount best;
    bool found;
};

/* First pass: which device (mountinfo's own numbering, which on btrfs is not st_dev). */
static bool by_id(void *arg, const struct pc_mount *m)
{
    struct search *s = arg;
    if (m->id != s->id)
        return false;
    s->dev = m->dev;
    s->best = *m;
    s->found = true;
    return true;
}

static bool by_root(void *arg, const struct pc_mount *m)
{
    struct search *s = arg;
    if (m->dev != s->dev || strcmp(m->root, "/") != 0 || m->read_only)
        return false;
    s->best = *m;
    return true;
}

static int mount_id_of(const char *path)
{
    struct statx stx;
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &stx) < 0)
        return -errno;
    return stx.stx_mask & STATX_MNT_ID ? (int)stx.stx_mnt_id : PC_E_UNSUPPORTED;
}

int pc_mount_of(const char *path, struct pc_mount *out)
{
    _free_ struct search *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->id = mount_id_of(path);
    if (s->id < 0)
        return s->id;
    _fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return -errno;
    int r = each_mount(f, by_id, s);
    if (r < 0)
        return r;
    if (!s->found)
        return PC_E_NOTFOUND;
    bool btrfs = strcmp(s->best.type, "btrfs") == 0; /* a subvolume is a whole file system to its users */
    if (strcmp(s->best.root, "/") != 0 && !btrfs) {
        rewind(f);
        r = each_mount(f, by_root, s);
        if (r < 0)
            return r;
        if (strcmp(s->best.root, "/") != 0)
            return PC_E_UNSUPPORTED;
    }
    *out = s->best;
    return 0;
}

int pc_mount_tree(const char *point, int *mount_fd)
{
    _close_ int mount = (int)syscall(SYS_open_tree, AT_FDCWD, point, OPEN_TREE_CLONE | O_CLOEXEC);
    if (mount < 0)
        return -errno;
    int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    *mount_fd = TAKE_FD(mount);
    return root;
}

int pc_mount_watch(void)
{
    int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

struct presence {
    dev_t dev;
    bool found, read_only;
};

static bool is_present(void *arg, const struct pc_mount *m)
{
    struct presence *p = arg;
    if (m->dev != p->dev)
        return false;
    p->found = true;
    p->read_only = m->read_only;
    return !m->read_only;
}

bool pc_mount_present(int watch_fd, dev_t dev, bool *read_only)
{
    struct presence p = {.dev = dev};
    int copy = fcntl(watch_fd, F_DUPFD_CLOEXEC, 3);
    FILE *f = copy < 0 ? NULL : fdopen(copy, "r");
    if (!f) {
        if (copy >= 0)
            close(copy);
        return true; /* cannot tell: better to go on guarding */
    }
    rewind(f);
    int r = each_mount(f, is_present, &p);
    fclose(f);
    if (r < 0)
        return true;
    *read_only = p.read_only;
    return p.found;
}

struct cgroup2 {
    char *out;
    size_t cap;
    bool found;
};

static bool is_cgroup2(void *arg, const struct pc_mount *m)
{
    struct cgroup2 *c = arg;
    if (strcmp(m->type, "cgroup2") != 0 || m->read_only || strlen(m->point) >= c->cap)
        return false;
    strcpy(c->out, m->point);
    c->found = true;
    return true;
}

int pc_mount_cgroup2(char *out, size_t cap)
{
    _fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return -errno;
    struct cgroup2 c = {.out = out, .cap = cap};
    int r = each_mount(f, is_cgroup2, &c);
    if (r < 0)
        return r;
    return c.found ? 0 : PC_E_NOTFOUND;
}
