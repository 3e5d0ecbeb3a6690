/*
 * Owns reversing a rollback: its journal rows, newest first. A row is reversed only when the inode it names is where
 * the row put it; so rows that never happened, or were reversed before a crash, do nothing. What somebody put in place
 * since stays.
 */
#include "preserve/apply.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct spot {
    int dir; /* not owned */
    const char *name;
    struct pc_fh now; /* len 0: nothing there */
};

static int look_at(int dir, const char *name, struct spot *out)
{
    *out = (struct spot){.dir = dir, .name = name};
    int r = pc_name_fh(dir, name, &out->now);
    if (r == -ENOENT)
        memset(&out->now, 0, sizeof out->now);
    return r == -ENOENT ? 0 : r;
}

static bool holds(const struct spot *s, const struct pc_fh *fh)
{
    return fh->len && pc_fh_equal(&s->now, fh);
}

static int open_folder(const struct pc_volume *v, const struct pc_fh *fh)
{
    return pc_fh_open(v->tree_fd, fh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
}

/* fh back from `from` to `to`, if it is at `from`. */
static int back(struct pc_store *s, int vol, const struct spot *from, const struct spot *to, const struct pc_fh *fh,
                uint32_t attrs)
{
    if (!holds(from, fh))
        return 0;
    if (to->now.len)
        return PC_E_CHANGED;
    int r = pc_swap_in(from->dir, from->name, to->dir, to->name, false);
    if (r == 0)
        r = pc_drop_back(to->dir, to->name, attrs);
    struct pc_fh folder;
    if (r == 0 && pc_fh_of_fd(to->dir, &folder) == 0 && !strchr(to->name, '/')) /* not into aside/ */
        (void)pc_store_moved(s, vol, fh, &folder, to->name);
    return r;
}

/* Whether something is still in the folder that we made: it is not ours then, all of ours has left it before. */
static int is_in_use(const struct spot *place)
{
    _close_ int fd = openat(place->dir, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
    _closedir_ DIR *d = fdopendir(fd);
    if (!d)
        return -errno;
    TAKE_FD(fd);
    struct dirent *e;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return 1;
    return 0;
}

static int undo_placed(const struct pc_jrow *j, const struct spot *place, const struct spot *aside)
{
    if (j->fh.len && !holds(aside, &j->fh))
        return 0;
    if (!holds(place, &j->parent2) && (!j->fh.len || place->now.len))
        return j->fh.len ? PC_E_CHANGED : 0;
    int used = place->now.len ? is_in_use(place) : 0;
    if (used)
        return used < 0 ? used : PC_E_CHANGED;
    if (!j->fh.len) /* nothing was there: ours goes aside */
        return pc_swap_in(place->dir, place->name, aside->dir, aside->name, false);
    int r = pc_swap_in(aside->dir, aside->name, place->dir, place->name, place->now.len > 0);
    return r == 0 ? pc_drop_back(place->dir, place->name, (uint32_t)j->atime_ns & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND))
                  : r;
}

static int undo_in_place(struct pc_store *s, struct pc_volume *v, const struct pc_jrow *j)
{
    uint64_t now;
    _close_ int there = pc_fh_open(v->tree_fd, &j->fh, O_PATH | O_NOFOLLOW);
    if (there < 0)
        return there == -ESTALE ? PC_E_CHANGED : there;
    int r = j->kind == PC_J_META
                ? 0
                : pc_keep_now(s, v, &j->fh, &j->parent, j->name, &now); /* whatever was done to it since */
    if (r < 0)
        return r;
    return j->kind == PC_J_META ? pc_restore_meta(s, v, &j->fh, j->version)
                                : pc_restore_in_place(s, v, &j->fh, j->version);
}

static int undo_times(const struct pc_volume *v, const struct pc_jrow *j)
{
    struct pc_meta m;
    _close_ int fd = open_folder(v, &j->fh);
    if (fd < 0)
        return fd == -ESTALE ? 0 : fd;
    int r = pc_meta_stat(fd, &m);
    uint32_t locked = r == 0 ? m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND) : 0;
    if (r == 0 && locked)
        r = pc_meta_unlock(fd);
    if (r == 0)
        r = pc_meta_apply_times(fd, j->atime_ns, j->mtime_ns);
    if (locked)
        pc_meta_set_attrs(fd, m.attrs);
    return r;
}

static int undo_row(struct pc_store *s, const struct pc_jrow *j)
{
    struct pc_volume *v = pc_volume_get(s, j->vol);
    if (!v)
        return PC_E_STATE;
    if (j->kind == PC_J_TIMES)
        return undo_times(v, j);
    if (j->kind == PC_J_INPLACE || j->kind == PC_J_META)
        return undo_in_place(s, v, j);
    struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, j->aside);
    struct spot a, b, aside;
    _close_ int dir = j->kind == PC_J_UNASIDE ? dup(v->vault_fd) : open_folder(v, &j->parent);
    _close_ int dir2 = j->kind == PC_J_MOVED || j->kind == PC_J_UNASIDE ? open_folder(v, &j->parent2) : -1;
    if (dir < 0)
        return dir == -ESTALE ? PC_E_CHANGED : dir;
    int r = look_at(v->vault_fd, path.text, &aside);
    if (r == 0)
        r = look_at(dir, j->name, &a);
    if (r == 0 && dir2 >= 0)
        r = look_at(dir2, j->name2, &b);
    if (r < 0)
        return r;
    switch (j->kind) {
    case PC_J_MOVED:
        return dir2 < 0 ? PC_E_CHANGED : back(s, j->vol, &b, &a, &j->fh, 0);
    case PC_J_UNASIDE:
        return dir2 < 0 ? PC_E_CHANGED : back(s, j->vol, &b, &aside, &j->fh, 0);
    case PC_J_ASIDE:
        return back(s, j->vol, &aside, &a, &j->fh, (uint32_t)j->atime_ns & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND));
    default:
        return undo_placed(j, &a, &aside);
    }
}

/* What a row looks like from outside. */
static uint8_t shown_as(const struct pc_jrow *j)
{
    switch (j->kind) {
    case PC_J_MOVED:
    case PC_J_UNASIDE:
        return PC_STEP_MOVE_BACK;
    case PC_J_ASIDE:
        return PC_STEP_RECREATE;
    case PC_J_PLACED:
        return j->fh.len ? PC_STEP_RESTORE : PC_STEP_SET_ASIDE;
    case PC_J_INPLACE:
        return PC_STEP_RESTORE;
    default:
        return PC_STEP_META;
    }
}

static int add_row(struct pc_plan *p, const struct pc_jrow *j)
{
    int r = pc_plan_grow((void **)&p->rows, &p->cap_rows, p->n_rows, sizeof *p->rows);
    if (r < 0)
        return r;
    p->rows[p->n_rows++] = *j;
    struct pc_pstep st = {.kind = shown_as(j), .file = PC_NONE, .from = PC_NONE, .version = j->version};
    if (j->kind == PC_J_TIMES)
        return 0;
    st.place = PC_NONE;
    if (!j->parent.len && j->kind != PC_J_UNASIDE)
        return pc_plan_add_step(p, &st);
    r = j->kind == PC_J_UNASIDE ? pc_plan_place(p, j->vol, &j->parent2, j->name2, &st.place)
                                : pc_plan_place(p, j->vol, &j->parent, j->name, &st.place);
    if (r == 0 && j->kind == PC_J_MOVED)
        r = pc_plan_place(p, j->vol, &j->parent2, j->name2, &st.from);
    return r == 0 ? pc_plan_add_step(p, &st) : r;
}

static int load(struct pc_plan *p)
{
    struct pc_jrow j = {.id = INT64_MAX};
    bool finished;
    int r = pc_journal_find(p->s, p->incident, &p->rollback, &finished);
    if (r < 0)
        return r;
    while ((r = pc_journal_prev(p->s, p->rollback, j.id, &j)) == 0) {
        r = add_row(p, &j);
        if (r < 0)
            return r;
    }
    return r == PC_E_NOTFOUND ? 0 : r;
}

int pc_rollback_undo(struct pc_store *s, uint64_t incident, struct pc_plan **out)
{
    struct pc_plan *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->s = s;
    p->incident = incident;
    p->undo = true;
    int r = load(p);
    if (r < 0) {
        pc_plan_free(p);
        return r;
    }
    *out = p;
    return 0;
}

int pc_undo_run(struct pc_plan *p, void (*progress)(void *, const struct pc_step *, uint32_t, uint32_t), void *arg)
{
    int worst = 0;
    for (uint32_t i = 0, step = 0; i < p->n_rows; i++) {
        int r = undo_row(p->s, &p->rows[i]);
        if (r == -ENOSPC || r == -EROFS || r == -EIO || r == -ENOMEM)
            return r;
        worst = r < 0 ? PC_E_UNVERIFIED : worst;
        if (p->rows[i].kind == PC_J_TIMES)
            continue;
        p->steps[step].result = r;
        p->steps[step].why = r == PC_E_CHANGED ? "somebody else's file is there now: it was left alone" : NULL;
        step++;
        if (progress)
            progress(arg, pc_plan_step(p, step - 1), step, p->n_steps);
    }
    int r = worst == 0 ? pc_journal_undone(p->s, p->rollback) : pc_index_commit(&p->s->ix);
    return worst ? worst : r;
}
