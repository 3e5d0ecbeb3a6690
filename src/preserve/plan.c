/*
 * Owns turning the replayed wishes into steps: for each place, what is there now against what should be. Read only;
 * apply.c does the steps. Also the public face of a plan.
 */
#include "preserve/plan.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/acts.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pc_plan_add_step(struct pc_plan *p, const struct pc_pstep *st)
{
    int r = pc_plan_grow((void **)&p->steps, &p->cap_steps, p->n_steps, sizeof *p->steps);
    if (r == 0)
        p->steps[p->n_steps++] = *st;
    return r;
}

/* This one file's content cannot be had: lost, or the disk does not give it back (by its own word or a checksum's). */
static bool is_unreadable(int r)
{
    return r == PC_E_NOTFOUND || r == PC_E_CORRUPT || r == -EIO || r == -EBADMSG || r == -EUCLEAN;
}

/* What is at every place now, and for each file of the incident where it is. */
static int look(struct pc_plan *p)
{
    for (uint32_t i = 0; i < p->n_places; i++) {
        struct pc_place *q = &p->places[i];
        int r = pc_place_now(p, i, &q->live);
        if (r < 0)
            return r;
        uint32_t f = q->live.len ? pc_plan_acted(p, q->vol, &q->live) : PC_NONE;
        if (f == PC_NONE)
            continue;
        q->next_live = p->files[f].live;
        p->files[f].live = i;
    }
    return 0;
}

static bool is_at(const struct pc_plan *p, uint32_t place, uint32_t file)
{
    return pc_fh_equal(&p->places[place].live, &p->files[file].fh);
}

/* Compares what is at a place now with the version its file should have. */
static int compare_at(struct pc_plan *p, uint32_t place, uint64_t version, const char **why)
{
    _close_ int dir = pc_place_folder(p, place);
    return dir < 0 ? dir : pc_compare(p->s, dir, p->places[place].name, version, why);
}

static int compare_aside(struct pc_plan *p, const struct pc_pstep *st, uint64_t version, const char **why)
{
    const struct pc_volume *v = pc_volume_get(p->s, p->files[st->file].vol);
    if (!v)
        return PC_E_STATE;
    return pc_compare(p->s, v->vault_fd, pc_object_path(PC_AREA_ASIDE, st->from_aside).text, version, why);
}

/* Something stands there that no act of the incident made or moved. */
static bool is_strange(const struct pc_plan *p, uint32_t place)
{
    const struct pc_place *q = &p->places[place];
    return q->live.len && pc_plan_acted(p, q->vol, &q->live) == PC_NONE;
}

/* Where a wanted inode will come from: itself elsewhere, another of its names, or its version. */
static int plan_return(struct pc_plan *p, uint32_t place, uint32_t file, struct pc_pstep *move)
{
    uint32_t from;
    uint64_t aside;
    int r = pc_plan_locate(p, file, &from, &aside);
    if (r < 0)
        return r;
    if (from != PC_NONE)
        p->places[from].taken = true;
    p->places[place].move = p->n_steps;
    *move = (struct pc_pstep){.kind = PC_STEP_MOVE_BACK,
                              .place = place,
                              .file = file,
                              .from = from,
                              .from_aside = aside,
                              .expect = p->places[place].live};
    return pc_plan_add_step(p, move);
}

/* Pass 1: everything that is alive but elsewhere. */
static int plan_moves(struct pc_plan *p)
{
    for (uint32_t i = 0; i < p->n_places; i++) {
        uint32_t f = p->places[i].want;
        struct pc_pstep move;
        if (f == PC_NONE || is_at(p, i, f) || is_strange(p, i))
            continue;
        int r = plan_return(p, i, f, &move);
        if (r < 0 && r != PC_E_NOTFOUND)
            return r;
    }
    return 0;
}

static const struct pc_pstep *move_to(const struct pc_plan *p, uint32_t place)
{
    return p->places[place].move == PC_NONE ? NULL : &p->steps[p->places[place].move];
}

/* One of the places where the file already is what it should be (its first name, or one restored before a crash). */
static bool other_name(struct pc_plan *p, uint32_t place, uint32_t file, struct pc_fh *out)
{
    if (p->files[file].now.len) {
        *out = p->files[file].now;
        return true;
    }
    for (uint32_t at = p->files[file].live; at != PC_NONE; at = p->places[at].next_live) {
        if (at == place || p->places[at].want != file)
            continue;
        *out = p->files[file].fh;
        return true;
    }
    return false;
}

/*
 * The actor deleted one name of an inode that has others, none of them touched: link it again. What others did to it
 * since stays theirs; the version then goes to a file of its own.
 */
static int plan_relink(struct pc_plan *p, uint32_t f, struct pc_pstep *st)
{
    const struct pc_pfile *file = &p->files[f];
    const struct pc_volume *v = pc_volume_get(p->s, file->vol);
    const char *why;
    if (!v || file->is_dir || file->cur != PC_NONE || pc_plan_names(p, file->vol, &file->fh) == 0)
        return 0;
    _close_ int fd = pc_fh_open(v->tree_fd, &file->fh, O_PATH | O_NOFOLLOW);
    int r = fd < 0 ? fd : pc_compare_fd(p->s, fd, st->version, &why);
    int others = r == PC_DIFFERENT ? pc_acts_by_others(p->s, file->vol, &file->fh, p->incident, file->last_act) : 0;
    if (r < 0 || others)
        return others < 0 ? others : 0;
    st->link = file->fh;
    st->fix = r != PC_SAME;
    return 0;
}

static struct pc_pstep step_for(const struct pc_plan *p, uint32_t place, uint32_t file)
{
    struct pc_pstep st = {.place = place, .file = file, .from = PC_NONE, .version = p->files[file].before};
    if (place != PC_NONE)
        st.expect = p->places[place].live;
    return st;
}

/* The file is at its place (or will be moved there): is it what it was? */
static int plan_present(struct pc_plan *p, uint32_t place, uint32_t f, const struct pc_pstep *move)
{
    const struct pc_pfile *file = &p->files[f];
    struct pc_pstep st = step_for(p, place, f);
    if (!file->content && !file->meta)
        return 0;
    st.expect = file->fh;
    if (file->lost) {
        st.kind = PC_STEP_RESTORE;
        st.result = PC_E_NOTFOUND;
        st.why = "it was changed before anything of it had been preserved";
        return pc_plan_add_step(p, &st);
    }
    uint32_t at = move && move->from != PC_NONE ? move->from : place;
    int r =
        move && move->from_aside ? compare_aside(p, move, st.version, &st.why) : compare_at(p, at, st.version, &st.why);
    if (r == PC_SAME_CONTENT && file->is_dir && strcmp(st.why, PC_DIFF_MTIME) == 0)
        r = PC_SAME; /* folders get their times at the very end, see run.c:folder_times */
    st.why = NULL;
    if (r < 0) {
        st.kind = PC_STEP_RESTORE;
        st.result = r;
        st.why = "its preserved content cannot be read";
        return is_unreadable(r) ? pc_plan_add_step(p, &st) : r;
    }
    int others = r == PC_DIFFERENT ? pc_acts_by_others(p->s, file->vol, &file->fh, p->incident, file->last_act) : 0;
    if (others < 0)
        return others;
    st.kind = r == PC_SAME ? PC_STEP_NOTHING : r == PC_SAME_CONTENT || file->is_dir ? PC_STEP_META : PC_STEP_RESTORE;
    st.beside = others > 0;
    return pc_plan_add_step(p, &st);
}

/* The inode is gone for good. What stands at its place, if anything, may be a restored one already, the actor's, or
 * somebody else's. */
static int plan_gone(struct pc_plan *p, uint32_t place, uint32_t f)
{
    struct pc_pfile *file = &p->files[f];
    struct pc_pstep st = step_for(p, place, f);
    st.kind = PC_STEP_RECREATE;
    bool strange = is_strange(p, place);
    if (!file->before && !(file->is_dir && !st.expect.len)) {
        st.result = strange && !file->lost ? PC_E_CHANGED : PC_E_NOTFOUND;
        st.why = strange && !file->lost ? "somebody else's file is at its place now; it was left where it is"
                                        : "it was gone before anything of it had been preserved";
        return pc_plan_add_step(p, &st);
    }
    if (p->places[place].taken)
        memset(&st.expect, 0, sizeof st.expect);
    if (!st.expect.len) {
        int r = !file->is_dir && other_name(p, place, f, &st.link) ? 0 : plan_relink(p, f, &st);
        return r < 0 ? r : pc_plan_add_step(p, &st);
    }
    const char *why;
    int r = compare_at(p, place, st.version, &why);
    if (is_unreadable(r)) {
        st.result = r;
        st.why = "its preserved content cannot be read";
        return pc_plan_add_step(p, &st);
    }
    if (r < 0)
        return r;
    if (r != PC_DIFFERENT) { /* for a folder: any folder there stands for it */
        file->now = st.expect;
        st.kind = r == PC_SAME ? PC_STEP_NOTHING : PC_STEP_META;
    }
    st.beside = r == PC_DIFFERENT && strange;
    /* The actor's own file goes aside; what stood there may live on under another name. */
    if (r == PC_DIFFERENT && !strange && !file->is_dir && !other_name(p, place, f, &st.link))
        r = plan_relink(p, f, &st);
    return r < 0 ? r : pc_plan_add_step(p, &st);
}

/* Folders first, so that files find theirs; then inodes that are there, so that further names are linked to what they
 * become. */
static int plan_content(struct pc_plan *p, bool dirs, bool present)
{
    for (uint32_t i = 0; i < p->n_places; i++) {
        uint32_t f = p->places[i].want;
        if (f == PC_NONE || p->files[f].is_dir != dirs)
            continue;
        const struct pc_pstep *move = is_at(p, i, f) ? NULL : move_to(p, i);
        if (present != (is_at(p, i, f) || move))
            continue;
        int r = present ? plan_present(p, i, f, move) : plan_gone(p, i, f);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Reached through a hard link the incident made: the link goes aside, the inode under its other names must be put
 * right. */
static int plan_hidden(struct pc_plan *p, uint32_t f)
{
    const struct pc_pfile *file = &p->files[f];
    const struct pc_volume *v = pc_volume_get(p->s, file->vol);
    const char *why;
    if (!v || !file->acted || file->created || file->is_dir || file->home != PC_NONE || !file->before ||
        !(file->content || file->meta))
        return 0;
    if (pc_plan_names(p, file->vol, &file->fh) == 0)
        return 0;
    _close_ int fd = pc_fh_open(v->tree_fd, &file->fh, O_PATH | O_NOFOLLOW);
    int r = fd < 0 ? fd : pc_compare_fd(p->s, fd, file->before, &why);
    int others = r == PC_DIFFERENT ? pc_acts_by_others(p->s, file->vol, &file->fh, p->incident, file->last_act) : 0;
    bool unkept = file->content && is_unreadable(r);
    if ((r <= 0 && !unkept) || others)
        return is_unreadable(r) ? 0 : r < 0 ? r : others < 0 ? others : 0;
    struct pc_pstep st = step_for(p, file->at, f);
    st.kind = r == PC_SAME_CONTENT ? PC_STEP_META : PC_STEP_RESTORE;
    st.by_handle = true;
    if (unkept) {
        st.result = r;
        st.why = "its preserved content cannot be read";
    }
    return pc_plan_add_step(p, &st);
}

/* Pass 4: what the incident made, out of the way. What others put there since is theirs. */
static int plan_asides(struct pc_plan *p)
{
    for (uint32_t i = p->n_places; i-- > 0;) { /* newest first: content before the folders it is in */
        const struct pc_place *q = &p->places[i];
        uint32_t f = q->live.len ? pc_plan_acted(p, q->vol, &q->live) : PC_NONE;
        if (!q->known || q->want != PC_NONE || q->taken || f == PC_NONE)
            continue;
        struct pc_pstep st = {.kind = PC_STEP_SET_ASIDE, .place = i, .file = f, .from = PC_NONE, .expect = q->live};
        int r = pc_plan_add_step(p, &st);
        if (r < 0)
            return r;
    }
    return 0;
}

static int plan_steps(struct pc_plan *p)
{
    int r = look(p);
    if (r == 0)
        r = pc_plan_list_asides(p);
    if (r == 0)
        r = plan_moves(p);
    for (int pass = 0; pass < 4 && r == 0; pass++)
        r = plan_content(p, pass < 2, pass % 2 == 0);
    for (uint32_t f = 0; f < p->n_files && r == 0; f++)
        r = plan_hidden(p, f);
    return r == 0 ? plan_asides(p) : r;
}

/*
 * A program may have made files of its own in good faith long before it did damage (a shell used all day, a drill that
 * first lays out its files): what it made earlier than this before its first damaging act stays, at what it was then.
 * What it made later, and whatever of its making looks like ciphertext, is set aside.
 */
#define OWN_WORK_NS 1000000000ULL

int pc_plan_make(struct pc_store *s, uint64_t incident, struct pc_plan **out)
{
    struct pc_incident inc;
    int r = pc_store_incident_get(s, incident, &inc);
    if (r < 0)
        return r;
    struct pc_plan *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->s = s;
    p->incident = incident;
    p->since_ns = inc.started_ns > OWN_WORK_NS ? inc.started_ns - OWN_WORK_NS : 0;
    r = pc_plan_replay(p);
    if (r == 0)
        r = plan_steps(p);
    if (r < 0) {
        pc_plan_free(p);
        return r;
    }
    *out = p;
    return 0;
}

void pc_plan_free(struct pc_plan *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < p->n_places; i++)
        free(p->places[i].name);
    free(p->places);
    free(p->files);
    free(p->steps);
    free(p->rows);
    free(p->asides);
    free(p->by_place.slot);
    free(p->by_fh.slot);
    free(p);
}

uint32_t pc_plan_count(const struct pc_plan *p)
{
    return p->n_steps;
}

/* Paths are made when asked for: keeping them would cost 8 KiB a step. */
const struct pc_step *pc_plan_step(const struct pc_plan *cp, uint32_t i)
{
    struct pc_plan *p = (struct pc_plan *)cp; /* only the scratch step in it is written */
    if (i >= p->n_steps)
        return NULL;
    const struct pc_pstep *st = &p->steps[i];
    struct pc_step *out = &p->shown;
    out->kind = st->kind;
    out->is_dir = st->file != PC_NONE && p->files[st->file].is_dir;
    out->version = st->version;
    out->result = st->result;
    out->from[0] = 0;
    pc_place_path(p, st->place, out->path, sizeof out->path);
    if (st->kind == PC_STEP_MOVE_BACK && st->from != PC_NONE)
        pc_place_path(p, st->from, out->from, sizeof out->from);
    else if (st->from_aside)
        snprintf(out->from, sizeof out->from, "%s", pc_object_path(PC_AREA_ASIDE, st->from_aside).text);
    snprintf(out->why, sizeof out->why, "%s", st->why ? st->why : st->result ? pc_strerror(st->result) : "");
    return out;
}

int pc_plan_apply(struct pc_plan *p, void (*progress)(void *arg, const struct pc_step *, uint32_t done, uint32_t total),
                  void *arg)
{
    return p->undo ? pc_undo_run(p, progress, arg) : pc_apply_run(p, progress, arg);
}
