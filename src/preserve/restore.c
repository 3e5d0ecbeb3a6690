/*
 * Owns restoring one file outside of any incident: choosing the version, making it, putting it where asked. What is
 * there already is kept as a version and goes aside, so nothing is lost.
 */
#include "preserve/apply.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct wish {
    struct pc_store *s;
    int dir; /* folder of the place; -1: it is gone */
    const char *name;
    uint64_t at_ns, version, time_ns;
    uint64_t first_ns; /* the oldest version's time, 0: there is none */
    bool unkept;       /* there was one, but its content cannot be had */
    bool other_meta;   /* there was one with the content that is there, and other rights, owner, attributes or time */
    bool is_dir;
    int err;
};

/* Newest first: the first one from that time; without a time the first that differs from what is there. */
static int choose(void *arg, const struct pc_version_info *i)
{
    struct wish *w = arg;
    const char *why;
    w->first_ns = i->time_ns;
    if (w->at_ns && i->time_ns > w->at_ns)
        return 0;
    if (!w->at_ns && w->dir >= 0) {
        int r = pc_compare(w->s, w->dir, w->name, i->version, &why);
        w->unkept = w->unkept || r == PC_E_NOTFOUND;
        w->other_meta = w->other_meta || r == PC_SAME_CONTENT;
        if (r == PC_SAME || r == PC_SAME_CONTENT || r == PC_E_NOTFOUND)
            return 0;
        if (r < 0 && r != -ENOENT) {
            w->err = r;
            return 1;
        }
    }
    w->version = i->version;
    w->time_ns = i->time_ns;
    w->is_dir = S_ISDIR(i->mode);
    return 1;
}

/* Why there is nothing to restore: "not found" says too little to somebody who has just lost a file. */
static void explain(const struct wish *w, int r, bool in_place, char *out, size_t cap)
{
    char first[40] = "";
    if (w->first_ns)
        pc_format_time(w->first_ns, first, sizeof first);
    if (r == PC_E_NOTFOUND && !w->first_ns)
        snprintf(out, cap, "no version of it was ever kept");
    else if (r == PC_E_NOTFOUND && w->at_ns && !w->version)
        snprintf(out, cap, "nothing was kept of that time: the oldest version is of %s", first);
    else if (r == PC_E_NOTFOUND && (w->version || w->unkept))
        snprintf(out, cap, "its old content was not kept");
    else if (r == PC_E_NOTFOUND && w->other_meta)
        snprintf(out, cap, "every kept version has the content that is there now: --at TIME brings back its rights, "
                           "owner, attributes and time");
    else if (r == PC_E_NOTFOUND)
        snprintf(out, cap, "no kept version differs from what is there now");
    else if (r == -EISDIR && w->is_dir)
        snprintf(out, cap, "a folder comes back with what is in it: restore --deleted");
    else if (r == -EISDIR)
        snprintf(out, cap, "a folder stands there now, and stays: restore --deleted brings back what was deleted "
                           "beneath it, --to puts this version elsewhere");
    else if (r == -ENOENT && in_place && w->dir < 0)
        snprintf(out, cap, "its folder is gone: restore --deleted brings a whole folder back, --to this file alone");
    else
        snprintf(out, cap, "%s", pc_strerror(r));
}

static int link_out(const struct pc_meta *m, int to_dir, const char *to_name)
{
    if (symlinkat(m->target.data ? m->target.data : "", to_dir, to_name) < 0)
        return -errno;
    _close_ int fd = openat(to_dir, to_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : pc_meta_apply_unlocked(fd, m);
}

int pc_copy_out(struct pc_store *s, uint64_t version, int to_dir, const char *to_name)
{
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    int r = pc_ver_meta(s, version, &m);
    if (r == 0 && S_ISLNK(m.mode))
        return link_out(&m, to_dir, to_name);
    if (r == 0 && !S_ISREG(m.mode))
        r = PC_E_UNSUPPORTED;
    if (r < 0)
        return r;
    _close_ int in = m.size ? pc_store_open_version(s, version) : -1;
    if (m.size && in < 0)
        return in;
    _close_ int out = openat(to_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    r = out < 0 ? -errno : m.size ? pc_content_copy(in, out, m.size) : 0;
    if (r == 0)
        r = pc_meta_apply_unlocked(out, &m);
    if (r == 0 && fsync(out) < 0)
        r = -errno;
    if (r == 0 && linkat(out, "", to_dir, to_name, AT_EMPTY_PATH) < 0)
        r = -errno;
    return r == 0 ? pc_drop_back(to_dir, to_name, m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND)) : r;
}

/* Handle of the one file that is to make room. -ENOENT: nothing is there; -EISDIR: a folder, with all that is in it. */
static int in_the_way(int dir, const char *name, struct pc_fh *out)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? -EISDIR : pc_name_fh(dir, name, out);
}

/* Into the volume: made in aside/, exchanged with what is there. */
static int swap_version_in(struct pc_store *s, struct pc_volume *v, uint64_t version, int dir, const char *name)
{
    struct pc_fh now = {0}, folder;
    uint64_t aside = pc_object_next_id(s), kept;
    struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, aside);
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    int r = pc_fh_of_fd(dir, &folder);
    int there = r == 0 ? in_the_way(dir, name, &now) : r;
    if (there < 0 && there != -ENOENT)
        return there;
    if (there == 0)
        r = pc_keep_now(s, v, &now, &folder, name, &kept);
    struct pc_jrow row = {.kind = PC_J_PLACED, .vol = v->id, .fh = now, .parent = folder, .aside = aside};
    snprintf(row.name, sizeof row.name, "%s", name);
    /* A rollback of no incident: what goes aside is known, and goes away with the retention. */
    if (r == 0)
        r = pc_journal_begin(s, 0, &row.rollback);
    if (r == 0)
        r = pc_journal_add(s, &row);
    if (r == 0)
        r = pc_journal_finished(s, row.rollback);
    if (r == 0)
        r = pc_prepare(s, v, version, aside);
    if (r == 0)
        r = pc_ver_meta(s, version, &m);
    if (r == 0)
        r = pc_swap_in(v->vault_fd, path.text, dir, name, there == 0);
    if (r == 0)
        r = pc_drop_back(dir, name, m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND));
    if (r == 0 && there == 0)
        (void)pc_forget(s, v->id, &now);
    return r;
}

int pc_through_vault(const struct pc_volume *v, int to_dir)
{
    struct stat a, b;
    struct pc_fh fh;
    if (fstat(to_dir, &a) < 0 || fstat(v->vault_fd, &b) < 0)
        return -errno;
    int r = a.st_dev == b.st_dev ? pc_fh_of_fd(to_dir, &fh) : -EXDEV;
    return r == 0 ? pc_fh_open(v->tree_fd, &fh, O_RDONLY | O_DIRECTORY | O_NOATIME) : r;
}

static int put_version(struct pc_store *s, struct pc_volume *v, uint64_t version, int home, const char *name,
                       int to_dir, const char *to_name)
{
    if (to_dir < 0)
        return home < 0 ? -ENOENT : swap_version_in(s, v, version, home, name);
    if (!pc_name_ok(to_name))
        return -EINVAL;
    if (faccessat(to_dir, to_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST; /* whatever it is, it was not asked to go */
    _close_ int dir = pc_through_vault(v, to_dir);
    return dir >= 0 ? swap_version_in(s, v, version, dir, to_name) : pc_copy_out(s, version, to_dir, to_name);
}

int pc_restore_path(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name, const char *path,
                    uint64_t at_ns, int to_dirfd, const char *to_name, struct pc_step *done)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    const char *why = NULL;
    if (!v)
        return PC_E_NOTFOUND;
    _close_ int home = pc_fh_open(v->tree_fd, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
    struct wish w = {.s = s, .dir = home, .name = name, .at_ns = at_ns};
    int r = pc_store_history(s, vol, parent, name, path, choose, &w);
    if (r == 0)
        r = w.err ? w.err : w.is_dir ? -EISDIR : w.version ? 0 : PC_E_NOTFOUND;
    if (r == 0)
        r = put_version(s, v, w.version, home, name, to_dirfd, to_name);
    if (r == 0) {
        r = pc_compare(s, to_dirfd >= 0 ? to_dirfd : home, to_dirfd >= 0 ? to_name : name, w.version, &why);
        r = r > 0 ? PC_E_UNVERIFIED : r;
    }
    if (done) {
        *done = (struct pc_step){.kind = PC_STEP_RESTORE, .version = w.version, .result = r, .time_ns = w.time_ns};
        snprintf(done->path, sizeof done->path, "%s", path);
        if (r < 0 && !why)
            explain(&w, r, to_dirfd < 0, done->why, sizeof done->why);
        else
            snprintf(done->why, sizeof done->why, "%s", why ? why : "");
    }
    return r < 0 ? r : pc_index_maybe_commit(&s->ix);
}
