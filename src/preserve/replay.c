/*
 * Owns replaying an incident's acts: what was at each place before the first of them, and what the acts left where.
 * Must not look at the file system. The index hands it the acts in order.
 */
#include "preserve/plan.h"

#include "base/err.h"
#include "base/str.h"
#include "preserve/acts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OP_MODIFY = 1, OP_CREATE, OP_DELETE, OP_RENAME, OP_REPLACE, OP_META };

int pc_plan_grow(void **items, uint32_t *cap, uint32_t used, size_t item)
{
    if (used < *cap)
        return 0;
    uint32_t n = *cap ? *cap * 2 : 64;
    void *p = reallocarray(*items, n, item);
    if (!p)
        return -ENOMEM;
    *items = p;
    *cap = n;
    return 0;
}

static uint64_t place_hash(int vol, const struct pc_fh *parent, const char *name)
{
    return pc_fh_hash(parent) * 31 + pc_hash64(name, strlen(name)) + (uint64_t)vol;
}

/* Room for one more entry; rehash tells each entry's hash. */
static int table_grow(struct pc_plan *p, struct pc_table *t, uint64_t (*hash)(const struct pc_plan *, uint32_t))
{
    if (t->used * 2 < t->cap)
        return 0;
    uint32_t cap = t->cap ? t->cap * 2 : 256;
    uint32_t *slot = malloc(cap * sizeof *slot);
    if (!slot)
        return -ENOMEM;
    memset(slot, 0xff, cap * sizeof *slot);
    for (uint32_t i = 0; i < t->used; i++) {
        uint32_t at = (uint32_t)hash(p, i) & (cap - 1);
        while (slot[at] != PC_NONE)
            at = (at + 1) & (cap - 1);
        slot[at] = i;
    }
    free(t->slot);
    t->slot = slot;
    t->cap = cap;
    return 0;
}

static void table_put(struct pc_table *t, uint64_t hash, uint32_t index)
{
    uint32_t at = (uint32_t)hash & (t->cap - 1);
    while (t->slot[at] != PC_NONE)
        at = (at + 1) & (t->cap - 1);
    t->slot[at] = index;
    t->used++;
}

static uint64_t hash_of_place(const struct pc_plan *p, uint32_t i)
{
    return place_hash(p->places[i].vol, &p->places[i].parent, p->places[i].name);
}

static uint64_t hash_of_file(const struct pc_plan *p, uint32_t i)
{
    return pc_fh_hash(&p->files[i].fh) + (uint64_t)p->files[i].vol;
}

int pc_plan_place(struct pc_plan *p, int vol, const struct pc_fh *parent, const char *name, uint32_t *out)
{
    struct pc_table *t = &p->by_place;
    uint64_t h = place_hash(vol, parent, name);
    for (uint32_t at = (uint32_t)h & (t->cap - 1); t->cap && t->slot[at] != PC_NONE; at = (at + 1) & (t->cap - 1)) {
        const struct pc_place *q = &p->places[t->slot[at]];
        if (q->vol == vol && pc_fh_equal(&q->parent, parent) && strcmp(q->name, name) == 0) {
            *out = t->slot[at];
            return 0;
        }
    }
    int r = pc_name_ok(name) && parent->len ? table_grow(p, t, hash_of_place) : PC_E_CORRUPT;
    if (r == 0)
        r = pc_plan_grow((void **)&p->places, &p->cap_places, p->n_places, sizeof *p->places);
    char *copy = r == 0 ? strdup(name) : NULL;
    if (!copy)
        return r < 0 ? r : -ENOMEM;
    p->places[p->n_places] = (struct pc_place){.vol = vol,
                                               .parent = *parent,
                                               .name = copy,
                                               .want = PC_NONE,
                                               .cur = PC_NONE,
                                               .prev = PC_NONE,
                                               .move = PC_NONE,
                                               .next_live = PC_NONE};
    *out = p->n_places++;
    table_put(t, h, *out);
    return 0;
}

uint32_t pc_plan_find_file(const struct pc_plan *p, int vol, const struct pc_fh *fh)
{
    const struct pc_table *t = &p->by_fh;
    uint64_t h = pc_fh_hash(fh) + (uint64_t)vol;
    for (uint32_t at = (uint32_t)h & (t->cap - 1); t->cap && t->slot[at] != PC_NONE; at = (at + 1) & (t->cap - 1)) {
        const struct pc_pfile *f = &p->files[t->slot[at]];
        if (f->vol == vol && pc_fh_equal(&f->fh, fh))
            return t->slot[at];
    }
    return PC_NONE;
}

uint32_t pc_plan_acted(const struct pc_plan *p, int vol, const struct pc_fh *fh)
{
    uint32_t f = pc_plan_find_file(p, vol, fh);
    return f != PC_NONE && p->files[f].acted ? f : PC_NONE;
}

static int plan_file(struct pc_plan *p, int vol, const struct pc_fh *fh, uint32_t *out)
{
    uint32_t found = pc_plan_find_file(p, vol, fh);
    if (found != PC_NONE) {
        *out = found;
        return 0;
    }
    int r = fh->len ? table_grow(p, &p->by_fh, hash_of_file) : PC_E_CORRUPT;
    if (r == 0)
        r = pc_plan_grow((void **)&p->files, &p->cap_files, p->n_files, sizeof *p->files);
    if (r < 0)
        return r;
    p->files[p->n_files] = (struct pc_pfile){.vol = vol, .fh = *fh, .cur = PC_NONE, .home = PC_NONE, .live = PC_NONE};
    *out = p->n_files++;
    table_put(&p->by_fh, hash_of_file(p, *out), *out);
    return 0;
}

/* The act says that file f was at this place until then. */
static void claim(struct pc_plan *p, uint32_t place, uint32_t f)
{
    struct pc_place *q = &p->places[place];
    struct pc_pfile *file = &p->files[f];
    uint32_t origin = file->created ? PC_NONE : f;
    if (!q->known) {
        q->known = true;
        q->want = origin;
        q->cur = f;
        file->cur = place;
    } else if (q->cur != f && q->prev != f && q->want == PC_NONE && (q->assumed || file->cur == PC_NONE)) {
        /* It was beneath what arrived (a replacing rename or an exchange, told in either order), or others put it
         * there. */
        q->want = origin;
        q->assumed = false;
    }
}

static void leave(struct pc_plan *p, uint32_t place, uint32_t f)
{
    if (p->places[place].cur == f)
        p->places[place].cur = PC_NONE;
    if (p->files[f].cur == place)
        p->files[f].cur = PC_NONE;
}

static void arrive(struct pc_plan *p, uint32_t place, uint32_t f, bool renamed)
{
    struct pc_place *q = &p->places[place];
    q->assumed = q->known ? q->assumed : renamed; /* empty until now, unless an act says otherwise */
    q->known = true;
    q->prev = q->cur;
    q->cur = f;
    p->files[f].cur = place;
}

/*
 * A create event also comes for a new hard link of a file that was there before: then it has an older version. (A
 * folder has one name; a walk may have come upon it, and kept a version, before its own event was read.)
 */
static bool existed_before(struct pc_plan *p, const struct pc_act_rec *a)
{
    struct pc_known k;
    struct pc_ver v;
    int r = 0;
    if (a->is_dir || pc_store_lookup(p->s, a->vol, &a->fh, &k) < 0)
        return false;
    sqlite3_stmt *st = pc_index_stmt(&p->s->ix, PC_SQL_VER_FIRST_OF_FILE, &r);
    if (!st)
        return false;
    pc_bind_u64(st, 1, k.file);
    uint64_t first = pc_index_row(&p->s->ix, st) > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    return first && pc_ver_get(p->s, first, &v) == 0 && v.time_ns < a->time_ns;
}

static void touch(struct pc_plan *p, uint32_t f, uint64_t id, const struct pc_act_rec *a)
{
    struct pc_pfile *file = &p->files[f];
    bool takes = a->op == OP_MODIFY || a->op == OP_DELETE || a->op == OP_REPLACE;
    file->acted = true;
    file->last_act = id;
    file->is_dir = file->is_dir || a->is_dir;
    if (!file->before && !file->lost)
        file->before = a->before;
    if (takes && !file->before && !file->created)
        file->lost = true; /* what later acts call "before" is already damaged */
    file->content = file->content || takes;
    file->meta = file->meta || a->op == OP_META;
}

/* Folders whose entries the incident changed, or the rollback will, get their times back at the end. */
static int note_folder(struct pc_plan *p, int vol, const struct pc_fh *fh, uint64_t time_ns)
{
    uint32_t f;
    int r = plan_file(p, vol, fh, &f);
    if (r == 0 && !p->files[f].entries_ns) {
        p->files[f].entries_ns = time_ns;
        p->files[f].is_dir = true;
    }
    return r;
}

/* Does the version before the act hold content still? A link to the live inode does not when that was written to. */
static bool is_kept(struct pc_plan *p, const struct pc_act_rec *a)
{
    struct pc_ver v;
    if (!a->before || pc_ver_get(p->s, a->before, &v) < 0)
        return false;
    return (v.object || v.size == 0 || v.how == PC_HOW_META) && !(v.how == PC_HOW_LINK && a->op == OP_MODIFY);
}

/*
 * Something the actor did to a file of its own making before the attack began, or a harmless change of such a file of
 * which there is nothing to go back to: a file being written, as it was preserved by no more than a link.
 */
static bool own_work(struct pc_plan *p, uint32_t f, const struct pc_act_rec *a)
{
    struct pc_pfile *file = &p->files[f];
    if (file->acted)
        return false;
    if (a->time_ns >= p->since_ns)
        return file->own && (a->op == OP_MODIFY || a->op == OP_META) && a->score == 0 && !is_kept(p, a);
    if (a->evidence)
        return false;
    if (a->op == OP_CREATE)
        file->own = !existed_before(p, a);
    return file->own;
}

/* The place of an act; where the index has the file when the guard could not tell. PC_NONE: nobody knows. */
static int place_of(struct pc_plan *p, const struct pc_act_rec *a, uint32_t *out)
{
    struct pc_known k;
    if (a->parent.len && pc_name_ok(a->name))
        return pc_plan_place(p, a->vol, &a->parent, a->name, out);
    *out = PC_NONE;
    if (pc_store_lookup(p->s, a->vol, &a->fh, &k) < 0 || !k.parent.len || !pc_name_ok(k.name))
        return 0;
    return pc_plan_place(p, a->vol, &k.parent, k.name, out);
}

/* An act of which only the file is known: its content can be put right, its name cannot. */
static void replay_nameless(struct pc_plan *p, uint32_t f, uint64_t id, const struct pc_act_rec *a)
{
    touch(p, f, id, a);
    p->files[f].at = PC_NONE;
}

static int replay_one(void *arg, uint64_t id, const struct pc_act_rec *a)
{
    struct pc_plan *p = arg;
    uint32_t f = PC_NONE, at = PC_NONE, to = PC_NONE;
    if (a->op < OP_MODIFY || a->op > OP_META || a->fh.len == 0)
        return 0; /* evidence (a decoy, a try at the vault), no change of a file */
    bool fresh = pc_plan_acted(p, a->vol, &a->fh) == PC_NONE;
    bool moves = a->op == OP_RENAME && a->new_parent.len && pc_name_ok(a->new_name); /* else: out of what is guarded */
    int r = plan_file(p, a->vol, &a->fh, &f);
    if (r == 0 && own_work(p, f, a))
        return 0;
    /*
     * An archiver's temporary file, renamed or removed in the attack: it cannot be what it was, so it counts as made
     * now.
     */
    if (r == 0 && fresh && p->files[f].own && !is_kept(p, a))
        p->files[f].created = true;
    if (r == 0)
        r = place_of(p, a, &at);
    if (r == 0 && moves)
        r = pc_plan_place(p, a->vol, &a->new_parent, a->new_name, &to);
    if (r < 0)
        return r;
    if (at == PC_NONE) {
        replay_nameless(p, f, id, a);
        return 0;
    }
    if (a->op == OP_CREATE) {
        p->files[f].created = fresh ? !existed_before(p, a) : p->files[f].created;
        arrive(p, at, f, false);
    } else {
        claim(p, at, f);
    }
    touch(p, f, id, a);
    p->files[f].at = at;
    if (a->op == OP_DELETE || a->op == OP_REPLACE || a->op == OP_RENAME)
        leave(p, at, f);
    if (moves)
        arrive(p, to, f, true);
    r = note_folder(p, a->vol, &p->places[at].parent, a->time_ns);
    if (r == 0 && a->is_dir) /* moving a folder rewrites its "..": some file systems count that as a change of it */
        r = note_folder(p, a->vol, &a->fh, a->time_ns);
    return r == 0 && moves ? note_folder(p, a->vol, &a->new_parent, a->time_ns) : r;
}

int pc_plan_replay(struct pc_plan *p)
{
    int r = pc_acts_each(p->s, p->incident, replay_one, p);
    for (uint32_t i = 0; i < p->n_places && r == 0; i++)
        if (p->places[i].want != PC_NONE)
            p->files[p->places[i].want].home = i;
    return r;
}
