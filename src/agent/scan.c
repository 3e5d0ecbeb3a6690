/*
 * Owns walking guarded folders: at start, after lost events, and when a folder is moved in. Works in small steps so
 * that events and waiting opens are never kept waiting; what it finds goes to capture.c and acts.c.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Folders known to lie outside every guarded one: saves resolving them at each event. Direct-mapped, so bounded. */
#define OUTSIDE_SLOTS 8192
struct outside {
    int vol;
    struct pc_fh fh;
};

struct pc_scan {
    pc_dir *queue; /* a stack: depth first keeps it short */
    uint32_t count, cap;
    DIR *open;
    pc_dir dir;
    uint64_t seen;
    struct outside outside[OUTSIDE_SLOTS];
};

int pc_scan_new(struct pc_scan **out)
{
    struct pc_scan *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    *out = s;
    return 0;
}

void pc_scan_free(struct pc_scan *s)
{
    if (!s)
        return;
    if (s->open)
        closedir(s->open);
    free(s->queue);
    free(s);
}

int pc_scan_add(struct pc_guard *g, pc_dir dir)
{
    struct pc_scan *s = g->scan;
    if (s->count == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 64;
        pc_dir *more = reallocarray(s->queue, cap, sizeof *more);
        if (!more)
            return -ENOMEM;
        s->queue = more;
        s->cap = cap;
    }
    s->queue[s->count++] = dir;
    return 0;
}

bool pc_scan_busy(const struct pc_guard *g)
{
    return g->scan->open || g->scan->count;
}

uint64_t pc_scan_seen(const struct pc_guard *g)
{
    return g->scan->seen;
}

bool pc_scan_again(struct pc_guard *g)
{
    bool any = false;
    for (struct pc_folder *f = g->folder; f < g->folder + g->folders; f++) {
        if (!f->walk_again || f->vol < 0 || pc_scan_add(g, f->dir) < 0)
            continue;
        f->walk_again = false;
        f->covered = f->uncovered = 0;
        f->reasons = 0;
        any = true;
    }
    return any;
}

void pc_scan_everything(struct pc_guard *g)
{
    for (struct pc_folder *f = g->folder; f < g->folder + g->folders; f++)
        f->walk_again = f->walk_again || f->vol >= 0;
    (void)pc_scan_again(g);
}

static struct outside *outside_slot(struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    return &g->scan->outside[(pc_fh_hash(fh) + (uint64_t)vol) % OUTSIDE_SLOTS];
}

void pc_scan_forget_outside(struct pc_guard *g)
{
    memset(g->scan->outside, 0, sizeof g->scan->outside);
}

static bool is_vault(const struct pc_volume *v, const struct pc_fh *dir, const char *name)
{
    return strcmp(name, pc_vault_dir_name) == 0 && pc_fh_equal(dir, &v->root_fh);
}

/* Knows a new folder, and walks it later unless it is known to have been made empty. */
static void found_folder(struct pc_guard *g, struct pc_volume *v, int fd, const struct pc_fh *fh, pc_dir parent,
                         const char *name, bool walk)
{
    pc_dir dir;
    if (pc_dirs_add(g->dirs, v->id, fh, parent, name, pc_dirs_folder(g->dirs, parent), &dir) < 0 ||
        (walk && pc_scan_add(g, dir) < 0)) {
        g->n.dropped_dirs++;
        return;
    }
    if (!walk || pc_capture_now(g, v, fd, fh, parent, name, 0) == PC_E_CHANGED)
        pc_capture_later(g, v->id, fh, parent, name, 0, walk ? PC_WHEN_SOON : PC_WHEN_NEW);
}

/* Of which only the length is kept, it is preserved anew: nobody appends any more. */
static bool unchanged(const struct pc_known *k, const struct stat *st, const struct pc_fh *dir, const char *name)
{
    int64_t ctime_ns = pc_file_ns(st->st_ctim);
    return !k->gone && k->version && k->how != PC_HOW_LENGTH && k->ctime_ns == ctime_ns &&
           k->size == (uint64_t)st->st_size && pc_fh_equal(&k->parent, dir) && strcmp(k->name, name) == 0;
}

static void found_file(struct pc_guard *g, struct pc_volume *v, int fd, const struct stat *st, const struct pc_fh *fh,
                       pc_dir dir, const char *name)
{
    struct pc_known known;
    bool is_known = pc_store_lookup(g->store, v->id, fh, &known) == 0;
    if (st->st_nlink > (is_known && known.linked ? 2 : 1)) /* a link of the vault's own is none */
        pc_links_note(g, v->id, pc_dirs_fh(g->dirs, dir), name, fh);
    if (is_known) {
        if (unchanged(&known, st, pc_dirs_fh(g->dirs, dir), name)) {
            g->folder[pc_dirs_folder(g->dirs, dir)].covered++;
            return;
        }
        if (known.version && S_ISREG(st->st_mode) && known.size + (uint64_t)st->st_size > 0)
            pc_acts_found_changed(g, v, fh, &known);
        g->folder[pc_dirs_folder(g->dirs, dir)].covered++;
    } else if (g->ready || pc_capture_is_new(g, v->id, fh)) { /* its event, which names who made it, is on its way */
        pc_capture_later(g, v->id, fh, dir, name, 0, PC_WHEN_NEW);
        return;
    }
    (void)pc_capture_now(g, v, fd, fh, dir, name, 0);
}

static int open_entry(int dirfd, const char *name, const struct stat *st)
{
    int flags = O_CLOEXEC | O_NOFOLLOW;
    if (S_ISREG(st->st_mode))
        flags |= O_RDONLY | O_NONBLOCK | O_NOATIME;
    else if (S_ISDIR(st->st_mode))
        flags |= O_RDONLY | O_DIRECTORY | O_NOATIME;
    else
        flags |= O_PATH; /* opening a fifo or device could wake or change something */
    int fd = openat(dirfd, name, flags);
    return fd < 0 ? -errno : fd;
}

static void look_at(struct pc_guard *g, struct pc_volume *v, int dirfd, pc_dir dir, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* gone already */
    char path[PATH_MAX];
    pc_dirs_path(g->dirs, dir, name, path, sizeof path);
    if (g->settings.exclude.count && pc_excluded(g, path))
        return;
    _close_ int fd = open_entry(dirfd, name, &st);
    struct pc_fh fh;
    int r = fd < 0 ? fd : fstat(fd, &st) < 0 ? -errno : st.st_dev != v->st_dev ? -EXDEV : pc_fh_of_fd(fd, &fh);
    if (r < 0) {
        if (r != -ENOENT)
            pc_folder_uncovered(g, pc_dirs_folder(g->dirs, dir), path, r);
        return;
    }
    g->scan->seen++;
    if (S_ISDIR(st.st_mode))
        found_folder(g, v, fd, &fh, dir, name, true);
    else
        found_file(g, v, fd, &st, &fh, dir, name);
}

static void open_next(struct pc_guard *g)
{
    struct pc_scan *s = g->scan;
    while (!s->open && s->count) {
        s->dir = s->queue[--s->count];
        struct pc_volume *v = pc_volume_by_id(g, pc_dirs_vol(g->dirs, s->dir));
        if (!v)
            continue; /* dropped meanwhile */
        int fd = pc_fh_open(v->tree_fd, pc_dirs_fh(g->dirs, s->dir), O_RDONLY | O_DIRECTORY | O_NOATIME);
        s->open = fd < 0 ? NULL : fdopendir(fd);
        if (s->open || fd == -ESTALE)
            continue; /* opened, or removed meanwhile */
        char path[PATH_MAX];
        pc_folder_uncovered(g, pc_dirs_folder(g->dirs, s->dir), pc_dirs_path(g->dirs, s->dir, NULL, path, sizeof path),
                            fd < 0 ? fd : -errno);
        if (fd >= 0)
            close(fd);
    }
}

bool pc_scan_step(struct pc_guard *g, uint32_t entries)
{
    struct pc_scan *s = g->scan;
    while (entries) {
        open_next(g);
        if (!s->open)
            return false;
        struct pc_volume *v = pc_volume_by_id(g, pc_dirs_vol(g->dirs, s->dir));
        struct dirent *e = v ? readdir(s->open) : NULL;
        if (!e) {
            closedir(s->open);
            s->open = NULL;
            continue;
        }
        entries--;
        bool dots = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (!dots && !is_vault(v, pc_dirs_fh(g->dirs, s->dir), e->d_name))
            look_at(g, v, dirfd(s->open), s->dir, e->d_name);
    }
    return true;
}

/* Adds the folder `fd` and, first, those above it up to one that is known. depth bounds the recursion. */
static pc_dir adopt(struct pc_guard *g, struct pc_volume *v, int fd, const struct pc_fh *fh, const char *path,
                    bool walk, int depth)
{
    const char *name = strrchr(path, '/');
    if (depth > 256 || !name || !name[1])
        return 0;
    _close_ int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
    struct pc_fh up_fh;
    if (up < 0 || pc_fh_of_fd(up, &up_fh) < 0)
        return 0;
    pc_dir parent = pc_dirs_find(g->dirs, v->id, &up_fh);
    if (!parent) {
        char above[PATH_MAX];
        snprintf(above, sizeof above, "%.*s", (int)(name - path), path);
        parent = adopt(g, v, up, &up_fh, above, true, depth + 1);
    }
    if (!parent)
        return 0;
    found_folder(g, v, fd, fh, parent, name + 1, walk);
    return pc_dirs_find(g->dirs, v->id, fh);
}

/* In which guarded folder path lies, as seen from the file system's root. -1: in none, or excluded. */
static int guarded_path(struct pc_guard *g, struct pc_volume *v, const char *path)
{
    char full[PATH_MAX + 16];
    snprintf(full, sizeof full, "%s%s", strcmp(v->point, "/") ? v->point : "", path);
    size_t n = strlen(full);
    if (n > 1 && full[n - 1] == '/')
        full[n - 1] = 0;
    if (pc_path_beneath(full, v->vault) || pc_excluded(g, full))
        return -1;
    for (uint32_t i = 0; i < g->folders; i++) {
        char root[PATH_MAX];
        if (g->folder[i].vol == (int)(v - g->volume) &&
            pc_path_beneath(full, pc_dirs_path(g->dirs, g->folder[i].dir, NULL, root, sizeof root)))
            return (int)i;
    }
    return -1;
}

/* A subvolume is a file system of its own: nothing in it is told to us as of this one. */
static bool is_other_system(struct pc_guard *g, const struct pc_volume *v, int fd, uint32_t folder, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_dev == v->st_dev)
        return false;
    pc_folder_uncovered(g, folder, path, -EXDEV);
    return true;
}

static pc_dir resolve(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh, bool walk)
{
    pc_dir known = pc_dirs_find(g->dirs, v->id, fh);
    if (known)
        return known;
    struct outside *o = outside_slot(g, v->id, fh);
    if (o->vol == v->id && pc_fh_equal(&o->fh, fh))
        return 0;
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_RDONLY | O_DIRECTORY | O_NOATIME);
    char link[40], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = fd < 0 ? -1 : readlink(link, path, sizeof path - 1);
    if (n > 0) {
        path[n] = 0;
        int folder = path[0] == '/' ? guarded_path(g, v, path) : -1;
        if (folder >= 0 && !is_other_system(g, v, fd, (uint32_t)folder, path))
            return adopt(g, v, fd, fh, path, walk, 0);
    }
    *o = (struct outside){.vol = v->id, .fh = *fh};
    return 0;
}

pc_dir pc_scan_resolve(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh)
{
    return resolve(g, v, fh, true);
}

pc_dir pc_scan_made(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh)
{
    return resolve(g, v, fh, false);
}
