/*
 * Owns the way from a kernel event to a judged, recorded act: which file, what happened to it, what it was before, what
 * the judge says. Must not preserve (capture.c) nor stop anybody (stop.c): it hands on.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SET_SLOTS 32768 /* actors whose process row was written; a collision only writes a row again */
#define SEEN_SLOTS 4096 /* acts recorded lately, so that a busy writer does not fill the index */
#define MUTED_MAX 1024
/* A file whose writes come closer than this is muted and looked at by timer. */
#define BUSY_NS (50 * PC_NS_PER_MS)
#define LOOK_NS (500 * PC_NS_PER_MS)
/* Enough of a file to see ciphertext, and in the page cache: somebody has just written it. */
#define GLANCE_BYTES 8192
/* Files glanced at of one read of events: bounds what a calm system pays (about 10 us each). */
#define GLANCES 2

struct seen {
    uint64_t actor, file, before, mono_ns;
    uint8_t op, score;
};

struct muted {
    struct pc_fh fh;
    int vol;
    pid_t pid;
    uint64_t since_ns;
};

/* Looked at and found harmless: no second glance for a while, so that one busy file does not keep bringing the gate down. */
#define CLEARED_SLOTS 1024
#define CLEARED_NS (10 * PC_NS_PER_S)
struct cleared {
    uint64_t file, until_ns;
};

struct pc_acts {
    struct cleared cleared[CLEARED_SLOTS];
    pc_actor written[SET_SLOTS];
    struct seen seen[SEEN_SLOTS];
    struct muted muted[MUTED_MAX];
    uint32_t muted_count;
    uint8_t before[PC_CONTENT_BUDGET + PC_WINDOWS_MAX], after[PC_CONTENT_BUDGET + PC_WINDOWS_MAX];
    struct pc_content content_before, content_after;
};

int pc_acts_new(struct pc_acts **out)
{
    struct pc_acts *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    *out = a;
    return 0;
}

void pc_acts_free(struct pc_acts *a)
{
    free(a);
}

/* ---- processes ---- */

static void put_process(struct pc_guard *g, pc_actor actor, uint64_t id, uint64_t parent)
{
    struct pc_process p = {.id = id, .parent = parent, .pid = pc_judge_pid(g->judge, actor)};
    struct pc_procinfo info;
    if (pc_judge_alive(g->judge, actor) && pc_proc_read(p.pid, &info) == 0) {
        p.uid = info.uid;
        p.start_ns = info.start_real_ns;
        memcpy(p.exe, info.exe, sizeof p.exe);
        memcpy(p.argv, info.argv, sizeof p.argv);
        memcpy(p.cgroup, info.cgroup, sizeof p.cgroup);
        memcpy(p.user, info.user, sizeof p.user);
    }
    (void)pc_store_put_process(g->store, &p); /* a failed store shows in status; the act itself is kept */
}

static uint64_t process_at(struct pc_guard *g, pc_actor actor, int depth)
{
    if (!actor)
        return 0;
    uint64_t id = g->run_base + actor;
    pc_actor *slot = &g->acts->written[actor % SET_SLOTS];
    if (*slot == actor || depth > 64)
        return id;
    uint64_t parent = process_at(g, pc_judge_parent(g->judge, actor), depth + 1);
    put_process(g, actor, id, parent);
    g->acts->written[actor % SET_SLOTS] = actor;
    return id;
}

uint64_t pc_acts_process(struct pc_guard *g, pc_actor actor)
{
    return process_at(g, actor, 0);
}

void pc_acts_forget_process(struct pc_guard *g, pc_actor actor)
{
    if (g->acts->written[actor % SET_SLOTS] == actor)
        g->acts->written[actor % SET_SLOTS] = 0;
}

void pc_acts_add_to_incident(struct pc_guard *g, uint64_t incident, pc_actor root)
{
    for (uint32_t i = 0; i < SET_SLOTS; i++) {
        pc_actor actor = g->acts->written[i];
        if (actor && pc_judge_is_beneath(g->judge, actor, root))
            (void)pc_store_incident_add_process(g->store, incident, g->run_base + actor);
    }
}

/* ---- one act ---- */

struct deed {
    struct pc_volume *v;
    pid_t pid;
    uint8_t op;
    bool is_dir;
    struct pc_fh fh;
    pc_dir dir, new_dir;
    const char *name, *new_name;
    const struct pc_known *known; /* NULL: new to us */
    uint64_t before;              /* version to compare with and to restore */
    struct pc_fh after_fh;        /* PC_OP_REPLACE: what is there now */
    uint64_t size_after;
    bool closed; /* the writer has closed the file */
    bool moved_out; /* a deletion only for the guarded folder: it lives on outside */
};

static void read_windows(int fd, struct pc_content *c, uint8_t *room)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pc_window *w = &c->win[i];
        ssize_t n = fd < 0 ? -1 : pread(fd, room, w->len, (off_t)w->off);
        w->len = n > 0 ? (uint32_t)n : 0;
        w->data = room;
        room += w->len;
    }
}

/* Is the content before the act at hand? A hard link keeps it against losing its name, not against writes. */
static bool has_content(const struct pc_known *k, uint8_t op)
{
    return k && S_ISREG(k->mode) && k->version &&
           (k->how == PC_HOW_CLONE || k->how == PC_HOW_COPY || (k->how == PC_HOW_LINK && op != PC_OP_MODIFY));
}

static void read_before(struct pc_guard *g, const struct deed *d)
{
    _close_ int fd = pc_store_open_version(g->store, d->before);
    read_windows(fd, &g->acts->content_before, g->acts->before);
}

static void read_after(struct pc_guard *g, const struct deed *d)
{
    const struct pc_fh *fh = d->op == PC_OP_REPLACE ? &d->after_fh : &d->fh;
    _close_ int fd = pc_fh_open(d->v->tree_fd, fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    read_windows(fd, &g->acts->content_after, g->acts->after);
}

/*
 * New files are many (an untar, a build) and seldom ciphertext: most are told by their first bytes. What those told is
 * handed to the judge, so that they are looked at once.
 */
static bool harmless_head(struct pc_guard *g, const struct deed *d, struct pc_act *act, struct pc_facts *facts)
{
    struct pc_acts *a = g->acts;
    _close_ int fd = pc_fh_open(d->v->tree_fd, &d->fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    a->content_after = (struct pc_content){.size = d->size_after, .count = 1, .win = {{.len = GLANCE_BYTES}}};
    read_windows(fd, &a->content_after, a->after);
    act->after = &a->content_after;
    pc_judge_facts(act, facts);
    if (facts->after.opaque >= 30)
        return false;
    act->facts = facts;
    return true;
}

static void fetch(struct pc_guard *g, const struct deed *d, enum pc_answer need, struct pc_act *act, struct pc_facts *facts)
{
    struct pc_acts *a = g->acts;
    uint64_t seed = pc_guard_random(g);
    if (need == PC_NEED_AFTER && act->op == PC_OP_CREATE && harmless_head(g, d, act, facts))
        return;
    if (need == PC_NEED_BOTH)
        pc_content_plan(act->size_before, act->size_after, seed, &a->content_before, &a->content_after);
    else if (need == PC_NEED_BEFORE)
        pc_content_plan_one(act->size_before, seed, &a->content_before);
    else
        pc_content_plan_one(act->size_after, seed, &a->content_after);
    if (need != PC_NEED_AFTER) {
        read_before(g, d);
        act->before = &a->content_before;
    }
    if (need != PC_NEED_BEFORE) {
        read_after(g, d);
        act->after = &a->content_after;
    }
}

static void ask(struct pc_guard *g, const struct deed *d, struct pc_outcome *o)
{
    struct pc_act act = {
        .now_ns = pc_mono_ns(),
        .pid = d->pid,
        .op = d->op,
        .is_dir = d->is_dir,
        .file = pc_fh_hash(&d->fh),
        .folder = d->dir ? pc_fh_hash(pc_dirs_fh(g->dirs, d->dir)) : 0,
        .name_hash = pc_hash64(d->new_name ? d->new_name : d->name, strlen(d->new_name ? d->new_name : d->name)),
        .size_before = d->known ? d->known->size : 0,
        .size_after = d->size_after,
        .creator = d->known && d->known->creator > g->run_base ? d->known->creator - g->run_base : 0,
        .has_pre_image = has_content(d->known, d->op),
        .base = d->before,
        .closed = d->closed,
        .moved_out = d->moved_out,
        .successor = d->op == PC_OP_REPLACE ? pc_fh_hash(&d->after_fh) : 0,
    };
    memset(o, 0, sizeof *o);
    enum pc_answer need = pc_judge_act(g->judge, &act, o);
    struct pc_facts facts;
    if (need != PC_DECIDED) {
        fetch(g, d, need, &act, &facts);
        g->n.judged++;
        if (pc_judge_act(g->judge, &act, o) != PC_DECIDED)
            memset(o, 0, sizeof *o); /* asked twice for the same: the judge's own error, never a verdict */
    }
    if (o->finding.score)
        pc_gate_doubt(g);
    pc_tracer_act(g, &act, &o->facts);
}

/* ---- whose change it was ---- */

/* On record when it was done, and not yet preserved: a second act, by nobody, would only keep a rollback from undoing it. */
static enum pc_change change_of(struct pc_guard *g, const struct deed *d)
{
    int r = pc_store_change_of(g->store, d->v->id, &d->fh, d->before, g->run_base);
    return r < 0 ? PC_CHANGE_UNSEEN : (enum pc_change)r; /* a failed index shows in status; then rather told twice */
}

/* The same process doing the same to the same version again adds nothing to what a rollback needs. */
static bool recorded_lately(struct pc_guard *g, const struct deed *d, uint64_t process, uint8_t score)
{
    if (d->op != PC_OP_MODIFY && d->op != PC_OP_META)
        return false;
    uint64_t file = pc_fh_hash(&d->fh);
    struct seen *s = &g->acts->seen[(file ^ process) % SEEN_SLOTS];
    uint64_t now = pc_mono_ns();
    if (s->actor == process && s->file == file && s->before == d->before && s->op == d->op && s->score >= score &&
        now - s->mono_ns < 60 * PC_NS_PER_S)
        return true;
    *s = (struct seen){process, file, d->before, now, d->op, score};
    return false;
}

static void record(struct pc_guard *g, const struct deed *d, const struct pc_outcome *o)
{
    pc_actor actor = o->actor ? o->actor : pc_judge_actor_of(g->judge, d->pid);
    uint64_t process = pc_acts_process(g, actor);
    uint64_t incident = pc_stop_case_of(g, actor);
    if (incident) /* late acts of what was convicted are the incident's own */
        (void)pc_store_incident_add_process(g->store, incident, process);
    if (recorded_lately(g, d, process, o->finding.score))
        return;
    /* The last close of a process that was ended arrives when nobody knows the process any more. */
    if (!actor && d->op == PC_OP_MODIFY && change_of(g, d) != PC_CHANGE_UNSEEN)
        return;
    struct pc_act_rec rec = {.time_ns = pc_real_ns(),
                             .actor = process,
                             .op = d->op,
                             .is_dir = d->is_dir,
                             .vol = d->v->id,
                             .fh = d->fh,
                             .before = d->before,
                             .score = o->finding.score,
                             .evidence = o->finding.evidence};
    if (d->dir)
        rec.parent = *pc_dirs_fh(g->dirs, d->dir);
    snprintf(rec.name, sizeof rec.name, "%s", d->name);
    if (d->new_dir)
        rec.new_parent = *pc_dirs_fh(g->dirs, d->new_dir);
    if (d->new_name)
        snprintf(rec.new_name, sizeof rec.new_name, "%s", d->new_name);
    uint64_t id = 0;
    if (pc_store_record_act(g->store, &rec, &id) == 0)
        g->n.acts++;
    if (id && d->op == PC_OP_DELETE && !d->moved_out && !incident)
        pc_deletions_recorded(g, actor, id, d->is_dir);
    if (incident && pc_stop_incident_of(g, actor)) /* few: what was under way. The rollback needs them, whatever becomes of us */
        (void)pc_store_flush(g->store);
}

static void clear(struct pc_guard *g, const struct pc_fh *fh, const struct pc_outcome *o)
{
    uint64_t file = pc_fh_hash(fh);
    struct cleared *c = &g->acts->cleared[file % CLEARED_SLOTS];
    if (o->finding.score == 0)
        *c = (struct cleared){file, pc_mono_ns() + CLEARED_NS};
    else if (c->file == file)
        *c = (struct cleared){0};
}

static bool is_cleared(const struct pc_guard *g, const struct pc_fh *fh)
{
    uint64_t file = pc_fh_hash(fh);
    const struct cleared *c = &g->acts->cleared[file % CLEARED_SLOTS];
    return c->file == file && pc_mono_ns() < c->until_ns;
}

static void judge_and_record(struct pc_guard *g, const struct deed *d)
{
    struct pc_outcome o;
    ask(g, d, &o);
    if (o.gate)
        pc_gate_evidence(g, d->v); /* before the bookkeeping: every microsecond lets the attacker go on */
    clear(g, d->op == PC_OP_REPLACE ? &d->after_fh : &d->fh, &o);
    record(g, d, &o);
    pc_gate_judged(g, d->op == PC_OP_REPLACE ? &d->after_fh : &d->fh);
    if (!o.convicted && !o.bulk_root)
        return;
    char path[PATH_MAX];
    pc_dirs_path(g->dirs, d->dir, d->name, path, sizeof path);
    if (o.convicted) {
        pc_stop_convict(g, &o, path);
        pc_deletions_convicted(g, &o);
    } else if (!pc_stop_case_of(g, o.actor)) {
        pc_deletions_many(g, o.bulk_root, path);
    }
}

/* ---- what happened, by kind of event ---- */

static int stat_live(struct pc_volume *v, const struct pc_fh *fh, struct stat *st)
{
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH);
    if (fd < 0)
        return fd;
    return fstat(fd, st) < 0 ? -errno : 0;
}

static int64_t ctime_of(const struct stat *st)
{
    return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

static uint64_t creator_id(struct pc_guard *g, pid_t pid)
{
    return pc_acts_process(g, pc_judge_actor_of(g->judge, pid));
}

/* First content of a file nobody knew: it may be what an original is about to be replaced by. */
static void new_content(struct pc_guard *g, struct deed *d, const struct stat *st)
{
    d->op = PC_OP_CREATE;
    d->size_after = (uint64_t)st->st_size;
    struct pc_outcome o;
    ask(g, d, &o);
    if (o.gate)
        pc_gate_evidence(g, d->v);
    if (o.facts.have & PC_HAVE_AFTER && o.facts.after.opaque >= 50) {
        /* On record as ciphertext: a rollback sets it aside however early it was made. */
        o.finding.evidence |= PC_EV_OPAQUE_TWIN;
        record(g, d, &o);
    } else {
        /* Ciphertext keeps its grant: the original it stands for is still to be deleted, and deletions do not wait. */
        pc_gate_judged(g, &d->fh);
    }
    if (o.convicted) {
        char path[PATH_MAX];
        pc_stop_convict(g, &o, pc_dirs_path(g->dirs, d->dir, d->name, path, sizeof path));
    }
}

static uint64_t size_of_version(struct pc_guard *g, uint64_t version, uint64_t otherwise)
{
    struct stat st;
    _close_ int fd = pc_store_open_version(g->store, version);
    return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : otherwise;
}

static void changed(struct pc_guard *g, struct deed *d, bool closed)
{
    struct stat st;
    if (stat_live(d->v, &d->fh, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    d->size_after = (uint64_t)st.st_size;
    if (!d->known) {
        if (closed)
            new_content(g, d, &st);
        pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, creator_id(g, d->pid), PC_WHEN_NEW);
        return;
    }
    struct pc_known known = *d->known;
    if (ctime_of(&st) == known.ctime_ns) {
        /* Preserved already, perhaps with the change that this event tells of: then look at the version before. */
        d->before = pc_capture_before(g, known.version);
        if (!d->before) {
            pc_gate_judged(g, &d->fh);
            return;
        }
        known.version = d->before;
        known.size = size_of_version(g, d->before, known.size);
    }
    d->known = &known;
    /* Who opens it to write waits for a copy: so it was cut by path (docs/decisions/0004), or by one who held it long. */
    g->n.cut_unkept += known.how == PC_HOW_LINK && d->size_after < known.size;
    d->op = PC_OP_MODIFY;
    d->closed = closed;
    judge_and_record(g, d);
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, 0, closed ? PC_WHEN_SOON : PC_WHEN_HOT);
}

static void created(struct pc_guard *g, struct deed *d)
{
    d->op = PC_OP_CREATE;
    if (d->known) { /* link(2): a further name of a known file */
        pc_links_note(g, d->v->id, pc_dirs_fh(g->dirs, d->dir), d->name, &d->fh);
        pc_links_note(g, d->v->id, &d->known->parent, d->known->name, &d->fh);
    }
    record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, creator_id(g, d->pid), PC_WHEN_NEW);
}

static void gone(struct pc_guard *g, const struct deed *d)
{
    (void)pc_store_gone(g->store, d->v->id, &d->fh);
    uint32_t folder = pc_dirs_folder(g->dirs, d->dir);
    if (!d->known->gone && folder < g->folders && g->folder[folder].covered)
        g->folder[folder].covered--;
}

static void deleted(struct pc_guard *g, struct deed *d)
{
    struct stat st;
    bool left = stat_live(d->v, &d->fh, &st) == 0 && st.st_nlink > (d->known && d->known->how == PC_HOW_LINK ? 1 : 0);
    if (!d->known)
        return; /* made and removed before it was ever preserved: nobody's loss */
    pc_links_forget(g, d->v->id, pc_dirs_fh(g->dirs, d->dir), d->name);
    d->op = PC_OP_DELETE;
    pc_outside_show(g, d->pid);
    judge_and_record(g, d);
    if (left)
        return; /* another name is left: the content lives */
    gone(g, d);
}

static void metadata(struct pc_guard *g, struct deed *d)
{
    if (!d->known)
        return;
    struct stat st;
    if (stat_live(d->v, &d->fh, &st) < 0 || ctime_of(&st) == d->known->ctime_ns)
        return;
    int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    bool same_mode = d->known->mode == st.st_mode;
    d->op = PC_OP_META;
    /* Link counts change the ctime too; those need no act, and a changed mtime comes with a content event. */
    if (!same_mode || mtime_ns == d->known->mtime_ns)
        record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, 0, PC_WHEN_SOON);
}

/* Which file had this name: by the index, or, for a further name of a file with several, by the table of links. */
static bool stood_there(struct pc_guard *g, const struct pc_volume *v, const struct pc_fh *dir, const char *name,
                        struct pc_known *out)
{
    struct pc_fh fh;
    if (pc_links_find(g, v->id, dir, name, &fh)) {
        pc_links_forget(g, v->id, dir, name);
        return pc_store_lookup(g->store, v->id, &fh, out) == 0;
    }
    return pc_store_lookup_name(g->store, v->id, dir, name, out) == 0;
}

/* Whatever had this name before: replaced by a rename, or exchanged. */
static void replaced(struct pc_guard *g, const struct deed *mover, pc_dir dir, const char *name)
{
    struct pc_known old;
    if (!stood_there(g, mover->v, pc_dirs_fh(g->dirs, dir), name, &old) ||
        pc_fh_equal(&old.fh, &mover->fh) || old.gone)
        return;
    struct stat st;
    struct deed d = {.v = mover->v,
                     .pid = mover->pid,
                     .op = PC_OP_REPLACE,
                     .is_dir = S_ISDIR(old.mode),
                     .fh = old.fh,
                     .dir = dir,
                     .name = name,
                     .known = &old,
                     .before = old.version,
                     .after_fh = mover->fh};
    if (stat_live(mover->v, &mover->fh, &st) == 0)
        d.size_after = (uint64_t)st.st_size;
    judge_and_record(g, &d);
    bool alive = stat_live(mover->v, &old.fh, &st) == 0 && st.st_nlink > (old.how == PC_HOW_LINK ? 1 : 0);
    if (!alive)
        gone(g, &d);
}

static void moved_folder(struct pc_guard *g, struct deed *d)
{
    pc_dir self = pc_dirs_find(g->dirs, d->v->id, &d->fh);
    if (self && d->new_dir) {
        (void)pc_dirs_move(g->dirs, self, d->new_dir, d->new_name);
    } else if (self) {
        pc_dirs_drop(g->dirs, self, false);
    } else if (d->new_dir) {
        pc_scan_forget_outside(g);
        (void)pc_scan_resolve(g, d->v, &d->fh);
    }
}

static void move_link(struct pc_guard *g, const struct deed *d)
{
    struct pc_fh fh;
    if (!d->dir || !pc_links_find(g, d->v->id, pc_dirs_fh(g->dirs, d->dir), d->name, &fh) || !pc_fh_equal(&fh, &d->fh))
        return;
    pc_links_forget(g, d->v->id, pc_dirs_fh(g->dirs, d->dir), d->name);
    if (d->new_dir)
        pc_links_note(g, d->v->id, pc_dirs_fh(g->dirs, d->new_dir), d->new_name, &d->fh);
}

static void moved(struct pc_guard *g, struct deed *d)
{
    if (d->new_dir && !d->is_dir)
        replaced(g, d, d->new_dir, d->new_name);
    if (d->is_dir)
        moved_folder(g, d);
    move_link(g, d);
    if (d->dir && d->new_dir) {
        d->op = PC_OP_RENAME;
        judge_and_record(g, d);
        if (d->known)
            (void)pc_store_moved(g->store, d->v->id, &d->fh, pc_dirs_fh(g->dirs, d->new_dir), d->new_name);
        else
            pc_capture_later(g, d->v->id, &d->fh, d->new_dir, d->new_name, creator_id(g, d->pid), PC_WHEN_NEW);
    } else if (d->dir && d->known) {
        d->op = PC_OP_DELETE; /* it left the guarded folder: what was preserved stays */
        d->moved_out = true;
        d->new_name = NULL;
        judge_and_record(g, d);
    } else if (d->new_dir) {
        d->dir = d->new_dir;
        d->name = d->new_name;
        d->new_dir = 0;
        d->new_name = NULL;
        created(g, d);
    }
}

static void folder_event(struct pc_guard *g, struct deed *d, uint32_t bits)
{
    if (bits & PC_FAN_CREATE) {
        d->op = PC_OP_CREATE;
        record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
        (void)pc_scan_made(g, d->v, &d->fh);
    }
    if (bits & PC_FAN_ATTRIB)
        metadata(g, d);
    if (bits & PC_FAN_DELETE) {
        pc_dir self = pc_dirs_find(g->dirs, d->v->id, &d->fh);
        if (self)
            pc_dirs_drop(g->dirs, self, true);
        if (!d->known)
            return;
        d->op = PC_OP_DELETE;
        record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
        gone(g, d);
    }
}

/* ---- files written without being closed ---- */

static void mute(struct pc_guard *g, const struct deed *d)
{
    struct pc_acts *a = g->acts;
    struct seen *s = &a->seen[(pc_fh_hash(&d->fh) * 31) % SEEN_SLOTS];
    uint64_t now = pc_mono_ns(), file = pc_fh_hash(&d->fh);
    bool busy = s->file == file && s->op == UINT8_MAX && now - s->mono_ns < BUSY_NS;
    if (!busy) {
        *s = (struct seen){.file = file, .op = UINT8_MAX, .mono_ns = now};
        return;
    }
    if (a->muted_count == MUTED_MAX)
        return; /* every write is looked at: slower, not less */
    _close_ int fd = pc_fh_open(d->v->tree_fd, &d->fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    if (fd < 0 || pc_fan_mute(g->watch_fd, fd) < 0)
        return;
    a->muted[a->muted_count++] = (struct muted){d->fh, d->v->id, d->pid, now};
}

bool pc_acts_any_muted(const struct pc_guard *g)
{
    return g->acts->muted_count > 0;
}

static void look_again(struct pc_guard *g, const struct muted *m)
{
    struct pc_volume *v = pc_volume_by_id(g, m->vol);
    struct pc_known known;
    if (!v)
        return;
    _close_ int fd = pc_fh_open(v->tree_fd, &m->fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    if (fd < 0)
        return;
    (void)pc_fan_unmute(g->watch_fd, fd);
    if (pc_store_lookup(g->store, m->vol, &m->fh, &known) < 0)
        return;
    struct deed d = {.v = v,
                     .pid = m->pid,
                     .fh = m->fh,
                     .dir = pc_dirs_find(g->dirs, m->vol, &known.parent),
                     .name = known.name,
                     .known = &known,
                     .before = known.version};
    if (d.dir)
        changed(g, &d, false);
}

void pc_acts_look_at_muted(struct pc_guard *g, uint64_t now_ns)
{
    struct pc_acts *a = g->acts;
    for (uint32_t i = 0; i < a->muted_count;) {
        if (now_ns - a->muted[i].since_ns < LOOK_NS) {
            i++;
            continue;
        }
        struct muted m = a->muted[i];
        a->muted[i] = a->muted[--a->muted_count];
        look_again(g, &m);
    }
}

/* ---- a first glance ---- */

/*
 * A blank file is a loss only where there was something before: not when it is new (every file is empty at first), nor
 * when the family of its writer made it while we watched (file servers and databases lay out files of their own). The
 * lineage may be a moment old here: whoever is not yet known is no kin.
 */
static bool may_be_emptied(struct pc_guard *g, const struct pc_volume *v, const struct pc_fan_event *e)
{
    struct pc_known known;
    if (pc_store_lookup(g->store, v->id, &e->target, &known) < 0)
        return false;
    bool watched = known.creator > g->run_base;
    return known.size > 0 && !(watched && pc_judge_is_kin(g->judge, known.creator - g->run_base, e->pid));
}

/*
 * Knowing who did it, and reading the pre-image (perhaps from a disk), takes long enough for an attacker to destroy dozens
 * of files. So first a glance at what is there now: when that looks like ciphertext the gate comes down at once, and goes
 * up again soon if the judge then finds nothing.
 */
static bool glance(struct pc_guard *g, struct pc_volume *v, const struct pc_fan_event *e)
{
    _close_ int fd = pc_fh_open(v->tree_fd, &e->target, O_RDONLY | O_NONBLOCK | O_NOATIME);
    struct pc_content *c = &g->acts->content_after;
    *c = (struct pc_content){.size = GLANCE_BYTES, .count = 1, .win = {{.len = GLANCE_BYTES}}};
    read_windows(fd, c, g->acts->after);
    const struct pc_window *w = &c->win[0];
    bool blank = w->len == 0 || memcmp(w->data, w->data + 1, w->len - 1) == 0; /* emptied, or all one byte */
    struct pc_look look = {0};
    if (!blank)
        pc_content_look(c, &look);
    if (fd >= 0 && (blank ? may_be_emptied(g, v, e) : look.opaque >= 50))
        pc_gate_suspect(g, v);
    return fd >= 0;
}

void pc_acts_glance(struct pc_guard *g, const void *events, size_t len)
{
    struct pc_fan_iter it;
    struct pc_fan_event e;
    pc_fan_iter_init(&it, events, len);
    for (int looked = 0; looked < GLANCES && pc_fan_next(&it, &e);) {
        if (!(e.bits & (PC_FAN_MODIFY | PC_FAN_CLOSE_WRITE)) || e.bits & (PC_FAN_ONDIR | PC_FAN_DELETE) ||
            e.pid == g->self || !e.has_target || !e.has_dir)
            continue;
        struct pc_volume *v = pc_volume_by_fsid(g, e.fsid);
        if (v && !v->gate_down && g->settings.gate && !is_cleared(g, &e.target) && pc_dirs_find(g->dirs, v->id, &e.dir))
            looked += glance(g, v, &e);
    }
}

/* ---- decoys ---- */

static void decoy_touched(struct pc_guard *g, const struct deed *d)
{
    struct pc_act act = {.now_ns = pc_mono_ns(), .pid = d->pid, .op = PC_OP_DECOY, .file = pc_fh_hash(&d->fh)};
    struct pc_outcome o = {0};
    if (pc_judge_act(g->judge, &act, &o) != PC_DECIDED)
        return;
    pc_tracer_act(g, &act, &o.facts);
    pc_gate_evidence(g, d->v);
    if (o.convicted)
        pc_stop_convict(g, &o, d->name);
}

/* ---- entry points ---- */

static void file_event(struct pc_guard *g, struct deed *d, uint32_t bits)
{
    if (bits & PC_FAN_CREATE) {
        struct pc_outcome o;
        d->op = PC_OP_CREATE;
        if (!d->known) /* not another link to an old file: the judge must know since when it is there */
            ask(g, d, &o);
        created(g, d);
    }
    if (bits & (PC_FAN_MODIFY | PC_FAN_CLOSE_WRITE)) {
        bool closed = bits & PC_FAN_CLOSE_WRITE;
        if (!closed)
            mute(g, d);
        changed(g, d, closed);
    } else if (bits & PC_FAN_ATTRIB && !(bits & PC_FAN_DELETE)) {
        metadata(g, d);
    }
    if (bits & PC_FAN_DELETE)
        deleted(g, d);
}

static void lost_events(struct pc_guard *g)
{
    g->n.overflows++;
    pc_event(g->log, PC_LEVEL_WARNING, "overflow", NULL,
             "file events were lost: walking all guarded folders again to find what changed");
    for (uint32_t i = 0; i < g->folders; i++) {
        if (g->folder[i].vol < 0)
            continue;
        g->folder[i].covered = g->folder[i].uncovered = 0;
        g->folder[i].reasons = 0;
        (void)pc_scan_add(g, g->folder[i].dir);
    }
}

/* A file written under a name outside: is it still in its guarded folder, too (a hard link), or was it moved out? */
static bool still_there(const struct pc_volume *v, const struct pc_known *k)
{
    _close_ int dir = k->gone ? -1 : pc_fh_open(v->tree_fd, &k->parent, O_PATH | O_DIRECTORY);
    _close_ int fd = dir < 0 ? -1 : openat(dir, k->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct pc_fh fh;
    return fd >= 0 && pc_fh_of_fd(fd, &fh) == 0 && pc_fh_equal(&fh, &k->fh);
}

void pc_acts_event(struct pc_guard *g, const struct pc_fan_event *e)
{
    g->n.events++;
    if (e->bits & PC_FAN_OVERFLOW) {
        lost_events(g);
        return;
    }
    struct pc_volume *v = e->pid == g->self ? NULL : pc_volume_by_fsid(g, e->fsid);
    if (!v || !e->has_target)
        return;
    struct deed d = {.v = v,
                     .pid = e->pid,
                     .is_dir = e->bits & PC_FAN_ONDIR,
                     .fh = e->target,
                     .dir = e->has_dir ? pc_scan_resolve(g, v, &e->dir) : 0,
                     .name = e->name};
    if (e->has_new_dir) {
        d.new_dir = pc_scan_resolve(g, v, &e->new_dir);
        d.new_name = e->new_name;
    }
    struct pc_known known;
    uint32_t bits = e->bits;
    bool outside = e->has_dir && !d.dir && !d.new_dir;
    if (outside)
        bits &= PC_FAN_MODIFY | PC_FAN_CLOSE_WRITE; /* what happens to a name elsewhere is not our matter */
    if (bits && pc_store_lookup(g->store, v->id, &e->target, &known) == 0 && (!outside || still_there(v, &known))) {
        d.known = &known;
        d.before = known.version;
        /* Opened by handle, unlinked while open, or through a link from outside: the index knows the place. */
        if (outside || !e->has_dir || !e->name[0]) {
            d.dir = pc_dirs_find(g->dirs, v->id, &known.parent);
            d.name = known.name;
        }
    }
    if (outside && !d.known && bits & PC_FAN_CLOSE_WRITE && !d.is_dir)
        pc_outside_note(g, v, &e->target, e->pid);
    if (g->settings.decoys && e->bits & ~(uint32_t)PC_FAN_ATTRIB && pc_decoys_is(g, v->id, &d.fh))
        decoy_touched(g, &d);
    if (bits & PC_FAN_RENAME) {
        if (d.dir || d.new_dir)
            moved(g, &d);
    } else if (d.dir) {
        if (d.is_dir)
            folder_event(g, &d, bits);
        else
            file_event(g, &d, bits);
    }
}

struct was {
    uint64_t size;
    int64_t mtime_ns;
    bool found;
};

static int is_that_version(void *arg, const struct pc_version_info *i)
{
    struct was *w = arg;
    w->found |= i->size == w->size && i->mtime_ns == w->mtime_ns;
    return w->found;
}

/* An earlier version again, time and all: a rollback or restore that was cut short put it there. */
static bool put_back(struct pc_guard *g, const struct deed *d, const struct was *now)
{
    struct was w = *now;
    (void)pc_store_history(g->store, d->v->id, &d->known->parent, d->known->name, "", is_that_version, &w);
    return w.found;
}

/* Judged without an actor: it can convict nobody, but people must hear of it and be able to restore. */
void pc_acts_found_changed(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh, const struct pc_known *known)
{
    struct deed d = {.v = v,
                     .fh = *fh,
                     .dir = pc_dirs_find(g->dirs, v->id, &known->parent),
                     .name = known->name,
                     .known = known,
                     .before = known->version,
                     .op = PC_OP_MODIFY};
    struct stat st;
    enum pc_change change = change_of(g, &d);
    if (change == PC_CHANGE_SEEN)
        return;
    if (!d.dir || stat_live(v, fh, &st) < 0)
        return;
    struct was now = {(uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, false};
    bool same = now.size == known->size && now.mtime_ns == known->mtime_ns;
    if (!has_content(known, d.op)) {
        g->n.changed_unkept += !same && known->size > 0;
        return;
    }
    d.size_after = (uint64_t)st.st_size;
    struct pc_act act = {.size_before = known->size, .size_after = d.size_after};
    struct pc_facts facts;
    fetch(g, &d, PC_NEED_BOTH, &act, &facts);
    struct pc_outcome o = {0};
    pc_content_compare(act.before, act.after, &o.finding);
    if (same && o.finding.score == 0)
        return; /* another name of it, or other metadata: nothing was done to what it holds */
    if (!same && put_back(g, &d, &now))
        return;
    if (change == PC_CHANGE_UNSEEN)
        record(g, &d, &o);
    if (o.finding.score < 50)
        return;
    g->n.damaged_unseen++;
    char path[PATH_MAX];
    pc_dirs_path(g->dirs, d.dir, d.name, path, sizeof path);
    pc_event(g->log, PC_LEVEL_ERROR, "damaged-unseen", &(struct pc_event_about){.category = "file", .file_path = path},
             "%s was destroyed while nobody watched (the guard was down, or events were lost); portcullis history and restore "
             "bring it back",
             path);
}

void pc_acts_vault_touched(struct pc_guard *g, pid_t tid)
{
    pid_t pid = pc_proc_tgid(tid);
    if (pid <= 0)
        return;
    struct pc_procinfo info = {0};
    (void)pc_proc_read(pid, &info);
    pc_event(g->log, PC_LEVEL_WARNING, "vault-denied",
             &(struct pc_event_about){.category = "process", .pid = pid, .executable = info.exe, .command_line = info.argv},
             "process %d (%s) was denied access to the vault", pid, info.exe);
    struct pc_act act = {.now_ns = pc_mono_ns(), .pid = pid, .op = PC_OP_VAULT, .file = pc_guard_random(g)};
    struct pc_outcome o = {0};
    enum pc_answer said = pc_judge_act(g->judge, &act, &o);
    pc_gate_doubt(g);
    if (said == PC_DECIDED && o.convicted)
        pc_stop_convict(g, &o, pc_vault_dir_name);
}
