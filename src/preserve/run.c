/*
 * Owns the order of a rollback: moves and folders until nothing more can be done, then files, then what goes aside,
 * then the folders' times; and the verification. Each single step is apply.c's.
 */
#include "preserve/apply.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/acts.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct progress {
    void (*fn)(void *, const struct pc_step *, uint32_t, uint32_t);
    void *arg;
    uint32_t done;
};

int pc_forget(struct pc_store *s, int vol, const struct pc_fh *fh)
{
    struct pc_row row;
    int r = pc_row_by_fh(s, vol, fh, &row);
    if (r == 0 && !row.gone) {
        struct pc_volume *v = pc_volume_get(s, vol);
        if (v && v->n.files)
            v->n.files--;
        r = pc_row_set_gone(s, row.id);
    }
    return r;
}

static void tell(struct pc_plan *p, struct progress *g, uint32_t i)
{
    g->done++;
    if (g->fn)
        g->fn(g->arg, pc_plan_step(p, i), g->done, p->n_steps);
}

/* What a finished step must look like. */
static int verify(struct pc_plan *p, struct pc_pstep *st)
{
    const char *why = NULL;
    struct pc_fh now;
    if (st->by_handle) {
        const struct pc_volume *v = pc_volume_get(p->s, p->files[st->file].vol);
        _close_ int fd = pc_fh_open(v->tree_fd, &p->files[st->file].fh, O_PATH | O_NOFOLLOW);
        int same = fd < 0 ? fd : pc_compare_fd(p->s, fd, st->version, &st->why);
        return same < 0 ? same : same == PC_SAME ? 0 : PC_E_UNVERIFIED;
    }
    int r = pc_place_now(p, st->place, &now);
    if (r < 0)
        return r;
    if (st->kind == PC_STEP_MOVE_BACK)
        return pc_fh_equal(&now, &p->files[st->file].fh) ? 0 : PC_E_UNVERIFIED;
    if (st->kind == PC_STEP_SET_ASIDE)
        return pc_fh_equal(&now, &st->expect) ? PC_E_UNVERIFIED : 0;
    if (!st->version) {
        st->why = "its metadata had not been preserved";
        return PC_E_NOTFOUND;
    }
    _close_ int dir = pc_place_folder(p, st->place);
    r = dir < 0 ? dir : pc_compare(p->s, dir, p->places[st->place].name, st->version, &why);
    if (r == PC_SAME_CONTENT && p->files[st->file].is_dir && strcmp(why, PC_DIFF_MTIME) == 0)
        r = PC_SAME;
    if (r > 0)
        st->why = why;
    return r < 0 ? r : r == PC_SAME ? 0 : PC_E_UNVERIFIED;
}

/* Not what a disk says of one file (EIO): each step is journaled first, so what stops them all stops each. */
static bool is_fatal(int r)
{
    return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -ENOMEM;
}

/* Does and checks one step; only what stops the whole rollback is returned. */
static int do_step(struct pc_plan *p, struct progress *g, uint32_t i)
{
    struct pc_pstep *st = &p->steps[i];
    if (st->done)
        return 0;
    if (st->result == 0) {
        int r = pc_apply_step(p, st);
        if (r == -EAGAIN)
            return r;
        st->result = r;
        if (st->kind == PC_STEP_MOVE_BACK && st->from != PC_NONE)
            p->places[st->from].taken = false; /* free for whoever waits for it */
        if (is_fatal(r))
            return r;
        if (r == 0)
            st->result = verify(p, &p->steps[i]);
    }
    st->done = true;
    tell(p, g, i);
    return 0;
}

static bool is_early(const struct pc_plan *p, const struct pc_pstep *st)
{
    return st->kind == PC_STEP_MOVE_BACK || (st->kind == PC_STEP_RECREATE && p->files[st->file].is_dir);
}

/* Moves and folders depend on each other in any order: go round as long as something gets done. */
static int run_early(struct pc_plan *p, struct progress *g)
{
    for (;;) {
        uint32_t left = 0, before = g->done, stuck = PC_NONE;
        for (uint32_t i = 0; i < p->n_steps; i++) {
            struct pc_pstep *st = &p->steps[i];
            if (st->done || !is_early(p, st))
                continue;
            _close_ int dir = pc_place_folder(p, st->place);
            int r = dir == -ENOENT ? -EAGAIN : do_step(p, g, i);
            if (r < 0 && r != -EAGAIN)
                return r;
            left += r == -EAGAIN;
            if (r == -EAGAIN && st->kind == PC_STEP_MOVE_BACK && st->from != PC_NONE && stuck == PC_NONE)
                stuck = i;
        }
        if (!left)
            return 0;
        if (g->done > before)
            continue;
        if (stuck == PC_NONE)
            return 0; /* the rest reports its own reason in the last pass */
        int r = pc_apply_stage(p, &p->steps[stuck]);
        if (is_fatal(r))
            return r;
        if (r < 0) {
            p->steps[stuck].result = r;
            p->steps[stuck].done = true;
            tell(p, g, stuck);
        }
    }
}

static int run_rest(struct pc_plan *p, struct progress *g)
{
    for (uint32_t i = 0; i < p->n_steps; i++) {
        int r = do_step(p, g, i);
        if (r == -EAGAIN) {
            p->steps[i].result = -EAGAIN;
            p->steps[i].why = "its folder or its name is not free";
            p->steps[i].done = true;
            tell(p, g, i);
        } else if (r < 0) {
            return r;
        }
    }
    return 0;
}

/*
 * The times a folder had before the incident first changed its entries: of the newest version from before that, if
 * nobody else changed entries since; else of the version an act on the folder itself names.
 */
static int folder_times(struct pc_plan *p, uint32_t file, int64_t *atime_ns, int64_t *mtime_ns)
{
    const struct pc_pfile *f = &p->files[file];
    struct pc_known k;
    struct pc_ver ver = {0};
    int r = pc_store_lookup(p->s, f->vol, &f->fh, &k);
    sqlite3_stmt *st = r == 0 && f->entries_ns ? pc_index_stmt(&p->s->ix, PC_SQL_VER_BEFORE, &r) : NULL;
    if (st) {
        pc_bind_u64(st, 1, k.file);
        pc_bind_u64(st, 2, f->entries_ns);
        uint64_t id = pc_index_row(&p->s->ix, st) > 0 ? pc_column_u64(st, 0) : 0;
        sqlite3_reset(st);
        if (id && pc_ver_get(p->s, id, &ver) < 0)
            ver.id = 0;
    }
    if (ver.id && pc_acts_by_others_in(p->s, f->vol, &f->fh, p->incident, ver.time_ns) != 0)
        ver.id = 0;
    if (!ver.id && f->before && pc_ver_get(p->s, f->before, &ver) < 0)
        ver.id = 0;
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    if (!ver.id || pc_ver_meta(p->s, ver.id, &m) < 0)
        return PC_E_NOTFOUND;
    *atime_ns = m.atime_ns;
    *mtime_ns = m.mtime_ns;
    return 0;
}

/* Folders whose times the rollback must put right, or will disturb. */
static bool is_folder(const struct pc_plan *p, uint32_t f)
{
    return p->files[f].is_dir && !p->files[f].created && (p->files[f].entries_ns || p->files[f].before);
}

static int note_times(struct pc_plan *p)
{
    for (uint32_t f = 0; f < p->n_files; f++) {
        struct pc_meta m;
        if (!p->files[f].is_dir || !p->files[f].entries_ns)
            continue;
        _close_ int fd = pc_plan_folder(p, p->files[f].vol, &p->files[f].fh);
        int r = fd < 0 ? 0 : pc_meta_stat(fd, &m);
        if (fd >= 0 && r == 0)
            r = pc_apply_note_times(p, p->files[f].vol, &p->files[f].fh, &m);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_times(struct pc_plan *p, bool dry, uint32_t *wrong)
{
    for (uint32_t f = 0; f < p->n_files; f++) {
        int64_t a, m;
        struct pc_meta now;
        if (!is_folder(p, f) || folder_times(p, f, &a, &m) < 0)
            continue;
        _close_ int fd = pc_plan_folder(p, p->files[f].vol, &p->files[f].fh);
        if (fd < 0 || pc_meta_stat(fd, &now) < 0 || now.mtime_ns == m)
            continue;
        (*wrong)++;
        if (dry)
            continue;
        uint32_t locked = now.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND);
        int r = locked ? pc_meta_unlock(fd) : 0;
        if (r == 0)
            r = pc_meta_apply_times(fd, a, m);
        if (r == 0 && locked)
            r = pc_meta_set_attrs(fd, now.attrs);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool has_work(struct pc_plan *p)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind != PC_STEP_NOTHING && p->steps[i].result == 0)
            return true;
    return set_times(p, true, &wrong) == 0 && wrong > 0;
}

/* Inodes that were made but not put in place when a crash came (the plan found them). What went aside is never touched
 * here. */
static void drop_half_made(struct pc_plan *p)
{
    for (uint32_t i = 0; i < p->n_asides; i++) {
        const struct pc_aside *a = &p->asides[i];
        struct pc_volume *v = a->half_made ? pc_volume_get(p->s, a->vol) : NULL;
        struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, a->id);
        if (v && unlinkat(v->vault_fd, path.text, 0) < 0 && errno == EISDIR)
            unlinkat(v->vault_fd, path.text, AT_REMOVEDIR);
    }
}

static int run_all(struct pc_plan *p, struct progress *g)
{
    uint32_t wrong = 0;
    bool finished = false;
    int r = pc_journal_find(p->s, p->incident, &p->rollback, &finished);
    if (r < 0 && r != PC_E_NOTFOUND)
        return r;
    if (r == 0 && finished)
        p->rollback = 0; /* a new one: what the released actor did since */
    drop_half_made(p);
    r = has_work(p) ? note_times(p) : 0;
    if (r == 0)
        r = run_early(p, g);
    if (r == 0)
        r = run_rest(p, g);
    if (r == 0)
        r = set_times(p, false, &wrong);
    if (r == 0 && p->rollback)
        r = pc_journal_finished(p->s, p->rollback);
    return r;
}

int pc_apply_run(struct pc_plan *p, void (*progress)(void *, const struct pc_step *, uint32_t, uint32_t), void *arg)
{
    struct progress g = {progress, arg, 0};
    int r = run_all(p, &g);
    int flushed = pc_index_commit(&p->s->ix);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < p->n_steps; i++)
        if (p->steps[i].result < 0)
            return PC_E_UNVERIFIED;
    return flushed;
}
