/*
 * Owns doing the steps of a rollback plan and checking the result. Must not decide what is wanted (plan.c) nor make
 * content (prepare.c). Each change of a folder is one rename, written to the journal before; so a crash leaves every
 * name either as it was or as it should be, and a new plan made from what is there finishes the rest.
 *
 * The journal is committed, not synced, before each rename: an fsync a step would double the time of a rollback. After
 * power loss the journal may lack its last rows; then those damaged versions stay in aside/ without an undo, and the
 * rollback itself still converges, because a plan looks at what is there (aside/ included), not at the journal.
 */
#include "preserve/apply.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/acts.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int pc_lift(int dirfd, const char *name, uint32_t *attrs)
{
    struct pc_meta m;
    _close_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : pc_meta_stat(fd, &m);
    *attrs = r == 0 ? m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND) : 0;
    if (r < 0 || !*attrs || !(S_ISREG(m.mode) || S_ISDIR(m.mode)))
        return r;
    _close_ int rd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
    return rd < 0 ? -errno : pc_meta_unlock(rd);
}

int pc_drop_back(int dirfd, const char *name, uint32_t attrs)
{
    struct pc_meta m;
    if (!attrs)
        return 0;
    _close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
    int r = fd < 0 ? -errno : pc_meta_stat(fd, &m);
    return r < 0 ? r : pc_meta_set_attrs(fd, m.attrs | attrs);
}

/*
 * Project quotas (xfs, ext4): a folder may hand its project on to what is made in it, and takes nothing of another
 * project by rename (EXDEV). So what is to come in joins it, as if it had been made there. Any owner of a folder can
 * set that, also after the damage. Symlinks and special files can be given a project from Linux 6.17 on: else -EXDEV.
 */
static int join_unopened(int from_dir, const char *from, uint32_t project)
{
    enum { FILE_GETATTR = 468, FILE_SETATTR = 469 }; /* newer than the headers */
    struct {
        uint64_t xflags;
        uint32_t extsize, nextents, project, cowextsize;
    } attr;
    if (syscall(FILE_GETATTR, from_dir, from, &attr, sizeof attr, AT_SYMLINK_NOFOLLOW) < 0)
        return -EXDEV;
    attr.project = project;
    return syscall(FILE_SETATTR, from_dir, from, &attr, sizeof attr, AT_SYMLINK_NOFOLLOW) < 0 ? -EXDEV : 0;
}

static int join_project(int from_dir, const char *from, int to_dir)
{
    struct fsxattr folder, made;
    struct stat st;
    if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (ioctl(to_dir, FS_IOC_FSGETXATTR, &folder) < 0 || !(folder.fsx_xflags & FS_XFLAG_PROJINHERIT))
        return -EXDEV;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return join_unopened(from_dir, from, folder.fsx_projid);
    _close_ int fd = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, FS_IOC_FSGETXATTR, &made) < 0)
        return -errno;
    made.fsx_projid = folder.fsx_projid;
    made.fsx_xflags |= S_ISDIR(st.st_mode) ? FS_XFLAG_PROJINHERIT : 0u;
    return ioctl(fd, FS_IOC_FSSETXATTR, &made) < 0 ? -errno : 0;
}

static int rename_one(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (renameat2(from_dir, from, to_dir, to, flags) == 0)
        return 0;
    if (errno != EXDEV)
        return -errno;
    int r = join_project(from_dir, from, to_dir);
    if (flags & RENAME_EXCHANGE) /* perhaps it is our folder that takes nothing of another project */
        r = join_project(to_dir, to, from_dir) == 0 ? 0 : r;
    return r == 0 && renameat2(from_dir, from, to_dir, to, flags) < 0 ? -errno : r;
}

/*
 * A folder the actor made immutable takes no new names: lifted for one rename. Its times are put back, too: the rename
 * is no change its owner made. (Folders whose times the incident changed get their old ones at the end, when those are
 * on record.)
 */
static int rename_in(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    struct pc_meta a, b;
    int r = pc_meta_stat(from_dir, &a);
    if (r == 0)
        r = pc_meta_stat(to_dir, &b);
    if (r < 0)
        return r; /* nothing was lifted */
    r = pc_meta_unlock(from_dir);
    if (r == 0)
        r = pc_meta_unlock(to_dir);
    if (r == 0)
        r = rename_one(from_dir, from, to_dir, to, flags);
    if (r == 0) {
        pc_meta_apply_times(from_dir, a.atime_ns, a.mtime_ns);
        pc_meta_apply_times(to_dir, b.atime_ns, b.mtime_ns);
    }
    if (a.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND))
        pc_meta_set_attrs(from_dir, a.attrs);
    if (b.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND))
        pc_meta_set_attrs(to_dir, b.attrs);
    return r;
}

int pc_swap_in(int from_dir, const char *from, int to_dir, const char *to, bool exchange)
{
    uint32_t x = 0, y = 0;
    int r = pc_lift(from_dir, from, &x);
    if (r == 0 && exchange)
        r = pc_lift(to_dir, to, &y);
    if (r == 0)
        r = rename_in(from_dir, from, to_dir, to, exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE);
    if (r < 0) {
        pc_drop_back(from_dir, from, x);
        pc_drop_back(to_dir, to, y);
        return r;
    }
    /* What goes into the vault stays liftable; what comes into place gets its flags back. */
    return pc_drop_back(to_dir, to, x);
}

static int journal(struct pc_plan *p, struct pc_jrow *row)
{
    int r = p->rollback ? 0 : pc_journal_begin(p->s, p->incident, &p->rollback);
    row->rollback = p->rollback;
    if (r == 0)
        r = pc_journal_add(p->s, row);
    return r == 0 ? pc_index_commit(&p->s->ix) : r;
}

static int base_row(struct pc_plan *p, uint32_t place, int dir, uint8_t kind, struct pc_jrow *row)
{
    *row = (struct pc_jrow){.kind = kind, .vol = p->places[place].vol};
    strcpy(row->name, p->places[place].name);
    return pc_fh_of_fd(dir, &row->parent); /* the folder as it is now, which may be one made again */
}

static uint32_t attrs_at(int dir, const char *name)
{
    struct pc_meta m = {0};
    _close_ int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && pc_meta_stat(fd, &m) == 0 ? m.attrs : 0;
}

/* Whatever is at the place goes into aside/. */
static int set_aside(struct pc_plan *p, uint32_t place, const struct pc_fh *fh)
{
    struct pc_volume *v = pc_volume_get(p->s, p->places[place].vol);
    struct pc_jrow row;
    _close_ int dir = pc_place_folder(p, place);
    int r = dir < 0 ? dir : base_row(p, place, dir, PC_J_ASIDE, &row);
    if (r < 0)
        return r;
    row.fh = *fh;
    row.aside = pc_object_next_id(p->s);
    row.atime_ns = attrs_at(dir, row.name);
    r = journal(p, &row);
    if (r == 0)
        r = pc_swap_in(dir, row.name, v->vault_fd, pc_object_path(PC_AREA_ASIDE, row.aside).text, false);
    if (r == 0)
        (void)pc_forget(p->s, row.vol, fh); /* the index follows at the next scan otherwise */
    return r;
}

/* -EAGAIN: something else has to move first. */
static int move_back(struct pc_plan *p, struct pc_pstep *st)
{
    const struct pc_place *to = &p->places[st->place];
    struct pc_pfile *f = &p->files[st->file];
    struct pc_volume *v = pc_volume_get(p->s, to->vol);
    struct pc_object_path aside = pc_object_path(PC_AREA_ASIDE, st->from_aside);
    struct pc_fh now, there;
    struct pc_jrow row;
    _close_ int dir = pc_place_folder(p, st->place);
    _close_ int src = st->from_aside ? dup(v->vault_fd) : pc_place_folder(p, st->from);
    if (dir < 0 || src < 0)
        return dir == -ENOENT || src == -ENOENT ? -EAGAIN : dir < 0 ? dir : src;
    int r = pc_place_now(p, st->place, &now);
    if (r < 0 || pc_fh_equal(&now, &f->fh))
        return r;
    r = pc_name_fh(src, st->from_aside ? aside.text : p->places[st->from].name, &there);
    if (r < 0 || !pc_fh_equal(&there, &f->fh))
        return r < 0 ? r : PC_E_CHANGED;
    if (now.len) {
        if (p->places[st->place].taken)
            return -EAGAIN;
        if (pc_plan_acted(p, to->vol, &now) == PC_NONE)
            return PC_E_CHANGED;
        r = set_aside(p, st->place, &now);
        if (r < 0)
            return r;
    }
    r = base_row(p, st->place, dir, st->from_aside ? PC_J_UNASIDE : PC_J_MOVED, &row);
    row.parent2 = row.parent;
    strcpy(row.name2, row.name);
    if (r == 0 && !st->from_aside) {
        r = pc_fh_of_fd(src, &row.parent);
        strcpy(row.name, p->places[st->from].name);
    }
    row.fh = f->fh;
    row.aside = st->from_aside;
    if (r == 0)
        r = journal(p, &row);
    if (r == 0)
        r = pc_swap_in(src, st->from_aside ? aside.text : row.name, dir, row.name2, false);
    if (r == 0)
        (void)pc_store_moved(p->s, to->vol, &f->fh, &row.parent2,
                             row.name2); /* unknown to the index: nothing to follow */
    if (r == 0 && !f->is_dir)
        f->now = f->fh; /* its further names are linked to it */
    return r == -EINVAL || r == -EEXIST ? -EAGAIN : r;
}

/* A restored inode becomes the current version of its place, like any new file. */
static int take_note(struct pc_plan *p, uint32_t place, int dir, const struct pc_fh *folder)
{
    const struct pc_place *q = &p->places[place];
    struct pc_fh fh;
    struct stat st;
    _close_ int path = openat(dir, q->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int r = path < 0 || fstat(path, &st) < 0 ? -errno : pc_fh_of_fd(path, &fh);
    if (r < 0)
        return r;
    if (!S_ISREG(st.st_mode))
        return pc_store_capture(p->s, q->vol, path, &fh, folder, q->name, 0, NULL);
    _close_ int fd = openat(dir, q->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
    return fd < 0 ? -errno : pc_store_capture(p->s, q->vol, fd, &fh, folder, q->name, 0, NULL);
}

/* "NAME.portcullis-restored", or with a number; cut so that it fits. *same: such a file is there already, and right. */
static int beside_name(struct pc_plan *p, const struct pc_pstep *st, int dir, char out[PC_NAME_CAP], bool *same)
{
    for (int i = 0; i < 100; i++) {
        char tail[40];
        const char *why;
        int t = i ? snprintf(tail, sizeof tail, ".portcullis-restored.%d", i)
                  : snprintf(tail, sizeof tail, ".portcullis-restored");
        snprintf(out, PC_NAME_CAP, "%.*s%s", PC_NAME_CAP - 1 - t, p->places[st->place].name, tail);
        int r = pc_compare(p->s, dir, out, st->version, &why);
        if (r == -ENOENT)
            return 0;
        if (r == PC_SAME || (r < 0 && r != PC_E_NOTFOUND)) {
            *same = r == PC_SAME;
            return r < 0 ? r : 0;
        }
    }
    return PC_E_LIMIT;
}

static int make(struct pc_plan *p, struct pc_volume *v, const struct pc_pstep *st, uint64_t aside)
{
    struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, aside);
    if (st->link.len)
        return pc_prepare_link(v, &st->link, aside);
    if (st->version)
        return pc_prepare(p->s, v, st->version, aside);
    return mkdirat(v->vault_fd, path.text, 0755) < 0 ? -errno : 0; /* a folder of which only the name is known */
}

/* Makes the wanted inode and puts it at the name, whatever is there going aside in the same instant. */
static int put_in_place(struct pc_plan *p, struct pc_pstep *st, int dir, const char *name, const struct pc_fh *now)
{
    struct pc_volume *v = pc_volume_get(p->s, p->places[st->place].vol);
    uint64_t aside = pc_object_next_id(p->s);
    struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, aside);
    struct pc_jrow row;
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    int r = base_row(p, st->place, dir, PC_J_PLACED, &row);
    if (r < 0)
        return r;
    strcpy(row.name, name);
    row.fh = *now;
    row.aside = aside;
    row.atime_ns = now->len ? attrs_at(dir, name) : 0;
    r = journal(p, &row); /* before the inode is made: what a crash leaves in aside/ is then known to be ours */
    if (r == 0)
        r = make(p, v, st, aside);
    if (r == 0)
        r = pc_name_fh(v->vault_fd, path.text, &row.parent2);
    if (r == 0)
        r = pc_journal_ours(p->s, row.id, &row.parent2);
    if (r == 0)
        r = pc_index_commit(&p->s->ix);
    if (r == 0)
        r = pc_swap_in(v->vault_fd, path.text, dir, name, now->len > 0);
    if (r == 0 && st->version && pc_ver_meta(p->s, st->version, &m) == 0)
        r = pc_drop_back(dir, name, m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND));
    if (r < 0)
        return r;
    p->files[st->file].now = row.parent2;
    if (now->len)
        (void)pc_forget(p->s, row.vol, now);
    /* Best effort: a full disk must not turn a finished restore into a failed one; the next scan captures it. */
    (void)take_note(p, st->place, dir, &row.parent);
    return 0;
}

static int in_place(struct pc_plan *p, struct pc_pstep *st, int dir, const struct pc_fh *now, bool meta_only)
{
    struct pc_volume *v = pc_volume_get(p->s, p->places[st->place].vol);
    struct pc_jrow row;
    int r = base_row(p, st->place, dir, meta_only ? PC_J_META : PC_J_INPLACE, &row);
    row.fh = *now;
    if (r == 0)
        r = meta_only ? pc_keep_meta(p->s, v, now, &row.parent, row.name, &row.version)
                      : pc_keep_now(p->s, v, now, &row.parent, row.name, &row.version);
    if (r == 0)
        r = journal(p, &row);
    if (r == 0)
        r = meta_only ? pc_restore_meta(p->s, v, now, st->version) : pc_restore_in_place(p->s, v, now, st->version);
    if (r == 0)
        (void)take_note(p, st->place, dir, &row.parent);
    return r;
}

/* The same without a place: undone by handle. */
static int by_handle(struct pc_plan *p, struct pc_pstep *st)
{
    const struct pc_pfile *f = &p->files[st->file];
    struct pc_volume *v = pc_volume_get(p->s, f->vol);
    bool meta_only = st->kind == PC_STEP_META;
    struct pc_jrow row = {.kind = meta_only ? PC_J_META : PC_J_INPLACE, .vol = f->vol, .fh = f->fh};
    if (st->place != PC_NONE) {
        row.parent = p->places[st->place].parent;
        strcpy(row.name, p->places[st->place].name);
    }
    int r = meta_only ? pc_keep_meta(p->s, v, &f->fh, &row.parent, row.name, &row.version)
                      : pc_keep_now(p->s, v, &f->fh, &row.parent, row.name, &row.version);
    if (r == 0)
        r = journal(p, &row);
    if (r < 0)
        return r;
    return meta_only ? pc_restore_meta(p->s, v, &f->fh, st->version)
                     : pc_restore_in_place(p->s, v, &f->fh, st->version);
}

static int put_beside(struct pc_plan *p, struct pc_pstep *st, int dir)
{
    static const struct pc_fh nothing;
    char name[PC_NAME_CAP];
    bool same = false;
    int r = beside_name(p, st, dir, name, &same);
    if (r == 0 && !same)
        r = put_in_place(p, st, dir, name, &nothing);
    if (r < 0)
        return r;
    st->why = "somebody else changed it since: theirs is kept, ours is beside it as *.portcullis-restored";
    return PC_E_CHANGED;
}

static int restore(struct pc_plan *p, struct pc_pstep *st)
{
    const struct pc_place *q = &p->places[st->place];
    struct pc_fh now;
    if (st->by_handle)
        return by_handle(p, st);
    _close_ int dir = pc_place_folder(p, st->place);
    int r = dir < 0 ? dir : pc_place_now(p, st->place, &now);
    if (r < 0)
        return r;
    if (now.len && p->places[st->place].taken)
        return -EAGAIN;
    bool expected = !now.len || pc_fh_equal(&now, &st->expect) || pc_plan_acted(p, q->vol, &now) != PC_NONE;
    if (st->beside || !expected)
        return put_beside(p, st, dir);
    if (st->kind == PC_STEP_META)
        return now.len ? in_place(p, st, dir, &now, true) : PC_E_CHANGED;
    if (pc_fh_equal(&now, &p->files[st->file].fh) && !p->files[st->file].is_dir && pc_plan_names(p, q->vol, &now) > 1)
        return in_place(p, st, dir, &now, false);
    if (!p->files[st->file].is_dir && p->files[st->file].now.len && st->kind == PC_STEP_RECREATE)
        st->link = p->files[st->file].now; /* its first name was made again a moment ago */
    r = put_in_place(p, st, dir, q->name, &now);
    return r == 0 && st->fix ? in_place(p, st, dir, &p->files[st->file].now, false) : r;
}

/* Whether somebody outside the incident has something in the folder (one level: deeper folders have their own places).
 */
static int holds_others(struct pc_plan *p, int vol, int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
    _closedir_ DIR *d = fdopendir(fd);
    struct dirent *e;
    int r = d ? 0 : -ENOMEM;
    while (r == 0 && (e = readdir(d))) {
        struct pc_fh fh;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || pc_name_fh(dirfd(d), e->d_name, &fh) < 0)
            continue;
        if (pc_plan_acted(p, vol, &fh) == PC_NONE)
            r = pc_acts_made_by_others(p->s, vol, &fh, p->incident);
    }
    return r;
}

static int aside_step(struct pc_plan *p, struct pc_pstep *st)
{
    const struct pc_place *q = &p->places[st->place];
    struct pc_fh now;
    int r = pc_place_now(p, st->place, &now);
    if (r < 0 || !pc_fh_equal(&now, &st->expect))
        return r; /* gone, or not what the incident put there: nothing to set aside */
    _close_ int dir = pc_place_folder(p, st->place);
    r = dir < 0 ? dir : holds_others(p, q->vol, dir, q->name);
    if (r > 0) {
        st->why = "the folder also holds files of others: left in place";
        return PC_E_CHANGED;
    }
    return r < 0 ? r : set_aside(p, st->place, &now);
}

int pc_apply_step(struct pc_plan *p, struct pc_pstep *st)
{
    switch (st->kind) {
    case PC_STEP_MOVE_BACK:
        return move_back(p, st);
    case PC_STEP_SET_ASIDE:
        return aside_step(p, st);
    case PC_STEP_NOTHING:
        return 0;
    default:
        return restore(p, st);
    }
}

/* Breaks a cycle of names: one of the waiting inodes goes through the vault. */
int pc_apply_stage(struct pc_plan *p, struct pc_pstep *st)
{
    struct pc_volume *v = pc_volume_get(p->s, p->places[st->place].vol);
    struct pc_jrow row;
    if (st->from == PC_NONE)
        return -EAGAIN;
    _close_ int dir = pc_place_folder(p, st->from);
    int r = dir < 0 ? -EAGAIN : base_row(p, st->from, dir, PC_J_ASIDE, &row);
    if (r < 0)
        return r;
    row.fh = p->files[st->file].fh;
    row.aside = pc_object_next_id(p->s);
    r = journal(p, &row);
    if (r == 0)
        r = pc_swap_in(dir, row.name, v->vault_fd, pc_object_path(PC_AREA_ASIDE, row.aside).text, false);
    if (r < 0)
        return r;
    p->places[st->from].taken = false;
    st->from = PC_NONE;
    st->from_aside = row.aside;
    return 0;
}

int pc_apply_note_times(struct pc_plan *p, int vol, const struct pc_fh *fh, const struct pc_meta *m)
{
    struct pc_jrow row = {.kind = PC_J_TIMES, .vol = vol, .fh = *fh, .atime_ns = m->atime_ns, .mtime_ns = m->mtime_ns};
    return journal(p, &row);
}
