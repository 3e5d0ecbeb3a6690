/*
 * Owns which folders and file systems are guarded: opening them, losing them (unmount, read-only), finding them again.
 * Must not touch files: scan.c walks what is opened here.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "kern/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

struct pc_volume *pc_volume_by_id(struct pc_guard *g, int id)
{
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id == id && id)
            return v;
    return NULL;
}

struct pc_volume *pc_volume_by_fsid(struct pc_guard *g, uint64_t fsid)
{
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id && v->fsid == fsid)
            return v;
    return NULL;
}

struct pc_volume *pc_volume_by_dev(struct pc_guard *g, dev_t st_dev)
{
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id && v->st_dev == st_dev)
            return v;
    return NULL;
}

bool pc_excluded(const struct pc_guard *g, const char *path)
{
    for (uint32_t i = 0; i < g->settings.exclude.count; i++)
        if (pc_path_beneath(path, g->settings.exclude.path[i]))
            return true;
    return false;
}

void pc_folder_uncovered(struct pc_guard *g, uint32_t folder, const char *path, int err)
{
    if (folder >= g->folders)
        return;
    struct pc_folder *f = &g->folder[folder];
    f->uncovered++;
    const char *words = pc_strerror(err);
    for (uint32_t i = 0; i < f->reasons; i++) {
        if (strcmp(f->reason[i].text, words) == 0) {
            f->reason[i].count++;
            return;
        }
    }
    if (f->reasons == PC_REASONS_MAX)
        return; /* still counted in uncovered */
    struct pc_reason *r = &f->reason[f->reasons++];
    *r = (struct pc_reason){.count = 1};
    snprintf(r->text, sizeof r->text, "%s", words);
    pc_escape_name(path, strlen(path), r->sample, sizeof r->sample);
}

static enum pc_mode_choice wanted_mode(const struct pc_guard *g, const char *path)
{
    const struct pc_path_settings *p = pc_settings_for(&g->settings, path);
    return p && p->has_mode ? p->mode : g->settings.mode;
}

static uint64_t wanted_copy_limit(const struct pc_guard *g, const char *path)
{
    const struct pc_path_settings *p = pc_settings_for(&g->settings, path);
    return p && p->has_copy_limit ? p->copy_limit_bytes : g->settings.copy_limit_bytes;
}

/* auto: ahead where blocks can be shared, which only trying tells (xfs may be made without reflink). */
static int add_to_store(struct pc_guard *g, struct pc_volume *v, const char *path)
{
    enum pc_mode_choice choice = wanted_mode(g, path);
    bool shares = strcmp(v->type, "xfs") == 0 || strcmp(v->type, "btrfs") == 0;
    v->mode = choice == PC_CHOOSE_AHEAD || (choice == PC_CHOOSE_AUTO && shares) ? PC_MODE_AHEAD : PC_MODE_ON_OPEN;
    struct pc_volume_opts o = {.mount_point = v->point,
                               .fs_type = v->type,
                               .tree_fd = v->tree_fd,
                               .mode = v->mode,
                               .copy_limit_bytes = wanted_copy_limit(g, path)};
    int id = pc_store_add_volume(g->store, &o);
    if (id <= 0 || choice != PC_CHOOSE_AUTO || v->mode != PC_MODE_AHEAD || pc_store_can_clone(g->store, id))
        return id;
    pc_store_drop_volume(g->store, id);
    o.mode = v->mode = PC_MODE_ON_OPEN;
    return pc_store_add_volume(g->store, &o);
}

static int ignore_own_dir(void *arg, int dirfd)
{
    struct pc_guard *g = arg;
    return pc_fan_ignore_dir(g->watch_fd, dirfd);
}

static int volume_identity(struct pc_volume *v)
{
    struct stat st;
    if (fstat(v->tree_fd, &st) < 0)
        return -errno;
    v->st_dev = st.st_dev;
    int r = pc_fan_fsid(v->tree_fd, &v->fsid);
    return r < 0 ? r : pc_fh_of_fd(v->tree_fd, &v->root_fh);
}

static void close_tree(struct pc_volume *v)
{
    close(v->tree_fd);
    close(v->mount_fd);
    v->tree_fd = v->mount_fd = -1;
}

static void close_volume(struct pc_guard *g, struct pc_volume *v)
{
    if (!v->id)
        return;
    pc_gate_remove_volume(g, v);
    (void)pc_fan_watch_remove(g->watch_fd, v->tree_fd); /* fails when the file system is gone: then so is the mark */
    pc_dirs_drop_volume(g->dirs, v->id);
    pc_store_drop_volume(g->store, v->id);
    close_tree(v);
    for (uint32_t i = 0; i < g->folders; i++) {
        if (g->folder[i].vol != (int)(v - g->volume))
            continue;
        g->folder[i].vol = -1;
        g->folder[i].dir = 0;
        g->folder[i].covered = g->folder[i].uncovered = 0; /* nothing of it is protected now */
    }
    *v = (struct pc_volume){.tree_fd = -1, .mount_fd = -1};
}

static int volume_open(struct pc_guard *g, struct pc_volume *v, const struct pc_mount *m, const char *path)
{
    *v = (struct pc_volume){.dev = m->dev, .tree_fd = -1, .mount_fd = -1, .read_only = m->read_only};
    snprintf(v->point, sizeof v->point, "%s", m->point);
    snprintf(v->type, sizeof v->type, "%s", m->type);
    v->tree_fd = pc_mount_tree(m->point, &v->mount_fd);
    if (v->tree_fd < 0)
        return v->tree_fd;
    int r = volume_identity(v);
    if (r == 0)
        r = add_to_store(g, v, path);
    if (r < 0) {
        close_tree(v);
        return r;
    }
    v->id = r;
    snprintf(v->vault, sizeof v->vault, "%.*s/%s", (int)(strcmp(v->point, "/") ? strlen(v->point) : 0), v->point,
             pc_vault_dir_name);
    /* Events first, then the scan: what changes during the scan is seen. */
    r = pc_fan_watch_add(g->watch_fd, v->tree_fd);
    if (r == 0)
        r = pc_store_each_vault_dir(g->store, v->id, ignore_own_dir, g);
    if (r == 0)
        r = pc_gate_add_volume(g, v);
    if (r < 0)
        close_volume(g, v);
    return r;
}

static struct pc_volume *free_slot(struct pc_guard *g)
{
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++)
        if (!v->id)
            return v;
    return NULL;
}

static int volume_for(struct pc_guard *g, const char *path, struct pc_volume **out)
{
    _free_ struct pc_mount *m = malloc(sizeof *m);
    if (!m)
        return -ENOMEM;
    int r = pc_mount_of(path, m);
    if (r < 0)
        return r;
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        if (v->id && v->dev == m->dev && strcmp(v->point, m->point) == 0) {
            *out = v;
            return 0;
        }
    }
    struct pc_volume *v = free_slot(g);
    if (!v)
        return PC_E_LIMIT;
    r = volume_open(g, v, m, path);
    if (r == 0)
        *out = v;
    return r;
}

/* The folder as seen from its file system's root: what follows the mount point. */
static const char *beneath_mount(const struct pc_volume *v, const char *path)
{
    size_t n = strcmp(v->point, "/") == 0 ? 0 : strlen(v->point);
    const char *rest = path + n;
    while (*rest == '/')
        rest++;
    return *rest ? rest : ".";
}

int pc_folder_guard(struct pc_guard *g, uint32_t i)
{
    struct pc_folder *f = &g->folder[i];
    f->vol = -1;
    char real[PATH_MAX];
    if (!realpath(f->path, real))
        return -errno;
    struct pc_volume *v = NULL;
    int r = volume_for(g, real, &v);
    if (r < 0)
        return r;
    _close_ int fd = pc_open_beneath(v->tree_fd, beneath_mount(v, real), O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    struct pc_fh fh;
    r = pc_fh_of_fd(fd, &fh);
    if (r < 0)
        return r;
    pc_dir dir;
    r = pc_dirs_add(g->dirs, v->id, &fh, 0, real, i, &dir);
    if (r < 0)
        return r;
    struct stat st = {0};
    if (fstat(fd, &st) < 0)
        return -errno;
    f->st_dev = st.st_dev;
    f->ino = st.st_ino;
    f->astray = false;
    f->vol = (int)(v - g->volume);
    f->dir = dir;
    f->covered = f->uncovered = 0;
    f->reasons = 0;
    f->trouble[0] = 0;
    if (v->mode == PC_MODE_ON_OPEN)
        pc_startup_want(g);
    return pc_scan_add(g, dir);
}

void pc_folder_drop(struct pc_guard *g, uint32_t i)
{
    struct pc_folder *f = &g->folder[i];
    struct pc_volume *v = f->vol >= 0 ? &g->volume[f->vol] : NULL;
    f->dropped = true;
    f->vol = -1;
    if (!v)
        return;
    pc_dirs_drop(g->dirs, f->dir, false);
    f->dir = 0;
    bool others = false;
    for (uint32_t n = 0; n < g->folders; n++)
        if (g->folder[n].vol == (int)(v - g->volume))
            others |= pc_folder_guard(g, n) == 0; /* it may have lain inside the one that went */
    if (!others)
        close_volume(g, v);
}

static void trouble(struct pc_guard *g, struct pc_folder *f, int err)
{
    const char *hint = err == PC_E_UNSUPPORTED ? " (this kind of file system or mount cannot be guarded)" : "";
    snprintf(f->trouble, sizeof f->trouble, "%s%s", pc_strerror(err), hint);
    pc_event(g->log, PC_LEVEL_ERROR, "folder-not-guarded", &(struct pc_event_about){.file_path = f->path},
             "cannot guard %s: %s", f->path, f->trouble);
}

int pc_volumes_open(struct pc_guard *g)
{
    int guarded = 0, last = PC_E_NOTFOUND;
    for (uint32_t i = 0; i < g->folders; i++) {
        int r = pc_folder_guard(g, i);
        if (r < 0) {
            trouble(g, &g->folder[i], r);
            last = r;
        } else {
            guarded++;
        }
    }
    return guarded ? guarded : last;
}

static void note_read_only(struct pc_guard *g, struct pc_volume *v, bool read_only)
{
    if (v->read_only == read_only)
        return;
    v->read_only = read_only;
    pc_event(g->log, read_only ? PC_LEVEL_WARNING : PC_LEVEL_NOTICE, read_only ? "read-only" : "writable",
             &(struct pc_event_about){.file_path = v->point},
             read_only ? "%s is read-only now: nothing can change, nothing new is preserved" : "%s is writable again",
             v->point);
    if (!read_only)
        for (uint32_t i = 0; i < g->folders; i++)
            if (g->folder[i].vol == (int)(v - g->volume))
                (void)pc_scan_add(g, g->folder[i].dir);
}

void pc_volumes_check(struct pc_guard *g)
{
    /* Reading the poll event's cause is what re-arms it. */
    struct pollfd p = {.fd = g->mounts_fd, .events = POLLPRI};
    (void)poll(&p, 1, 0);
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        bool read_only = v->read_only;
        if (!v->id)
            continue;
        if (pc_mount_present(g->mounts_fd, v->dev, &read_only)) {
            note_read_only(g, v, read_only);
            continue;
        }
        pc_event(g->log, PC_LEVEL_WARNING, "unmounted", &(struct pc_event_about){.file_path = v->point},
                 "%s was unmounted: its folders are not guarded until it is mounted again", v->point);
        for (uint32_t i = 0; i < g->folders; i++)
            if (g->folder[i].vol == (int)(v - g->volume))
                snprintf(g->folder[i].trouble, sizeof g->folder[i].trouble, "unmounted");
        close_volume(g, v);
    }
    for (uint32_t i = 0; i < g->folders; i++) {
        if (g->folder[i].dropped || g->folder[i].vol >= 0 || pc_folder_guard(g, i) < 0)
            continue;
        pc_event(g->log, PC_LEVEL_NOTICE, "guarded-again", &(struct pc_event_about){.file_path = g->folder[i].path},
                 "%s is guarded again", g->folder[i].path);
    }
}

/* ---- a guarded folder that was renamed ---- */

static void note_astray(struct pc_guard *g, struct pc_folder *f, bool covered)
{
    if (f->astray)
        return;
    f->astray = true;
    snprintf(f->trouble, sizeof f->trouble, "%s: what was guarded is preserved where it is now, nothing new there is",
             covered ? "another file system is mounted over it" : "it was renamed or deleted");
    pc_event(g->log, PC_LEVEL_WARNING, "folder-astray", &(struct pc_event_about){.file_path = f->path}, "%s: %s",
             f->path, f->trouble);
}

static void note_back(struct pc_guard *g, struct pc_folder *f)
{
    f->astray = false;
    f->trouble[0] = 0;
    pc_event(g->log, PC_LEVEL_NOTICE, "folder-back", &(struct pc_event_about){.file_path = f->path},
             "%s is at its place again", f->path);
}

/* The files of the one before are known by their handles and go on being preserved; new folders in it are not met. */
static void guard_other(struct pc_guard *g, uint32_t i)
{
    struct pc_folder *f = &g->folder[i];
    int vol = f->vol;
    if (pc_folder_guard(g, i) < 0) {
        f->vol = vol;
        note_astray(g, f, false);
        return;
    }
    snprintf(f->trouble, sizeof f->trouble, "another folder stands there since the guard began, and is guarded: "
                                            "what was there before is preserved where it is now");
    pc_event(g->log, PC_LEVEL_WARNING, "folder-replaced", &(struct pc_event_about){.file_path = f->path}, "%s: %s",
             f->path, f->trouble);
}

/* By its path, which may go through folders that nobody watches: so nothing but looking tells. */
void pc_folders_look(struct pc_guard *g)
{
    for (uint32_t i = 0; i < g->folders; i++) {
        struct pc_folder *f = &g->folder[i];
        struct stat st;
        if (f->dropped || f->vol < 0)
            continue;
        bool there = stat(f->path, &st) == 0 && S_ISDIR(st.st_mode);
        bool ours = there && st.st_dev == f->st_dev;
        if (!ours)
            note_astray(g, f, there);
        else if (st.st_ino != f->ino)
            guard_other(g, i);
        else if (f->astray)
            note_back(g, f);
    }
}

/* Trouble that comes and goes every second is told once. */
#define TROUBLE_OVER_NS (30 * PC_NS_PER_S)

void pc_volumes_tell_trouble(struct pc_guard *g)
{
    uint64_t now = pc_mono_ns();
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        struct pc_store_stats s = {0};
        if (!v->id || pc_store_volume_stats(g->store, v->id, &s) < 0)
            continue;
        struct pc_event_about about = {.file_path = v->point, .outcome = s.degraded ? "failure" : "success"};
        if (s.degraded && !v->degraded_ns)
            pc_event(g->log, PC_LEVEL_ERROR, "degraded", &about,
                     "%s: what is changed or deleted there may not come back: %s", v->point, s.why);
        else if (!s.degraded && v->degraded_ns && now - v->degraded_ns > TROUBLE_OVER_NS)
            pc_event(g->log, PC_LEVEL_NOTICE, "preserving", &about, "%s: preserving again", v->point);
        if (s.degraded)
            v->degraded_ns = now;
        else if (now - v->degraded_ns > TROUBLE_OVER_NS)
            v->degraded_ns = 0;
    }
}
