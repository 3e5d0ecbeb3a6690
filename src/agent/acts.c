/*
 * Owns the way from a kernel event to a deed: which file, what happened to it, what it was before. Must not preserve
 * (capture.c) nor stop anybody (stop.c), nor say what a deed is worth: it hands on, to acts_judge.c first. guard.c
 * hands it events, gate_decide.c whoever touched the vault.
 */
#include "agent/acts_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>

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

/* ---- what happened, by kind of event ---- */

int pc_acts_stat_live(struct pc_volume *v, const struct pc_fh *fh, struct stat *st)
{
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH);
    if (fd < 0)
        return fd;
    return fstat(fd, st) < 0 ? -errno : 0;
}

static uint64_t creator_id(struct pc_guard *g, pid_t pid)
{
    return pc_acts_process(g, pc_judge_actor_of(g->judge, pid));
}

/* First content of a file nobody knew: it may be what an original is about to be replaced by. */
static void new_content(struct pc_guard *g, struct deed *d)
{
    d->op = PC_OP_CREATE;
    struct pc_outcome o;
    pc_acts_ask(g, d, &o);
    if (o.gate)
        pc_gate_evidence(g, d->v);
    pc_gate_unhold(g);
    if (o.finding.score || (o.facts.have & PC_HAVE_AFTER && o.facts.after.opaque >= 50)) {
        /* On record as ciphertext: a rollback sets it aside however early it was made. */
        o.finding.evidence |= PC_EV_OPAQUE_TWIN;
        pc_acts_record(g, d, &o);
    } else {
        /* Ciphertext keeps its grant: the original it stands for is still to be deleted, and deletions do not wait. */
        pc_gate_judged(g, &d->fh);
    }
    if (o.convicted) {
        char path[PATH_MAX];
        pc_stop_convict(g, &o, pc_dirs_path(g->dirs, d->dir, d->name, path, sizeof path));
    }
}

bool pc_acts_new_content(struct pc_guard *g, struct deed *d)
{
    struct stat st;
    if (pc_acts_stat_live(d->v, &d->fh, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    d->size_after = (uint64_t)st.st_size;
    new_content(g, d);
    return true;
}

/* A file nobody knew was written, and perhaps closed: judged now, or, of a proven program, when it is preserved. */
static void new_file_changed(struct pc_guard *g, struct deed *d, bool closed)
{
    struct stat st;
    bool later = closed && pc_acts_may_look_later(g, d->pid);
    if (closed && !later && !pc_acts_new_content(g, d))
        return;
    if (closed && !d->late && pc_acts_is_muted(g, d->v->id, &d->fh) && pc_acts_stat_live(d->v, &d->fh, &st) == 0)
        pc_acts_muted_judged(g, d->v->id, &d->fh, pc_file_ns(st.st_ctim));
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, creator_id(g, d->pid), PC_WHEN_NEW);
    if (!later)
        return;
    if (pc_capture_look_first(g, d->v->id, &d->fh, d->pid))
        pc_gate_judged(g, &d->fh);
    else
        (void)pc_acts_new_content(g, d);
}

static uint64_t size_of_version(struct pc_guard *g, uint64_t version, uint64_t otherwise)
{
    struct stat st;
    _close_ int fd = pc_store_open_version(g->store, version);
    return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : otherwise;
}

/*
 * on-open, and no copy was made: who opens a file to write waits for one. So it was cut by path (docs/decisions/0004),
 * or written by one who opened it while no guard ran, or whom the guard kept waiting too long. (Files that are too
 * large to be copied are counted by their folder.) Its size and time may have been put back: counted is what is plain,
 * believed is nothing. Of an append nothing is lost.
 */
static void count_unkept(struct pc_guard *g, const struct deed *d, const struct pc_known *k, const struct stat *st)
{
    if (!pc_how_is_live(k->how) || k->size == 0 || (k->how == PC_HOW_LENGTH && d->size_after > k->size))
        return;
    bool same = d->closed && d->size_after == k->size && pc_file_ns(st->st_mtim) == k->mtime_ns;
    (void)pc_store_overwritten(g->store, d->v->id, &d->fh); /* a failed index shows in status */
    if (d->size_after < k->size)
        g->n.cut_unkept++;
    else if (!same && k->size <= g->settings.copy_limit_bytes && pc_acts_change_of(g, d) == PC_CHANGE_UNSEEN)
        g->n.written_unkept++;
}

/* Work on a file of its own that goes on: looked at when it is preserved. */
static bool look_at_own_later(struct pc_guard *g, const struct deed *d)
{
    if (d->looked_at_now || !pc_acts_may_look_again_later(g, d))
        return false;
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, 0, PC_WHEN_SOON);
    if (!pc_capture_look_first(g, d->v->id, &d->fh, d->pid))
        return false;
    pc_gate_judged(g, &d->fh);
    return true;
}

void pc_acts_changed(struct pc_guard *g, struct deed *d, bool closed)
{
    struct stat st;
    if (!d->known) {
        new_file_changed(g, d, closed);
        return;
    }
    if (pc_acts_stat_live(d->v, &d->fh, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    d->size_after = (uint64_t)st.st_size;
    /* In the deed, not here: one event may also tell of a deletion, which is judged next. */
    d->earlier = *d->known;
    d->known = &d->earlier;
    int64_t mtime_ns = pc_file_ns(st.st_mtim);
    /* Where clocks are coarse, what was written right after the capture has its ctime. */
    if (pc_file_ns(st.st_ctim) == d->earlier.ctime_ns && mtime_ns == d->earlier.mtime_ns &&
        d->size_after == d->earlier.size) {
        /* Preserved already, perhaps with the change that this event tells of: then look at the version before. */
        uint64_t before = pc_capture_before(g, d->earlier.version);
        if (!before && !(closed && pc_store_is_other(g->store, d->v->id, &d->fh) == 1)) {
            pc_gate_judged(g, &d->fh);
            return;
        }
        if (before) {
            d->earlier.version = d->before = before;
            d->earlier.size = size_of_version(g, d->before, d->earlier.size);
        }
    }
    d->op = PC_OP_MODIFY;
    d->closed = closed;
    if (closed && look_at_own_later(g, d))
        return;
    count_unkept(g, d, &d->earlier, &st);
    if (!d->late || pc_acts_change_of(g, d) == PC_CHANGE_UNSEEN) {
        if (!d->looked_at_now) /* what waited for a look is overwritten, or judged now; it must not become another's */
            pc_capture_looked(g, d->v->id, &d->fh);
        pc_acts_judge(g, d);
        if (closed && !d->late) /* whose last close the kernel does is not known here: the timer's look is to find it */
            pc_acts_muted_judged(g, d->v->id, &d->fh, pc_file_ns(st.st_ctim));
    }
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, 0, closed ? PC_WHEN_SOON : PC_WHEN_HOT);
}

static void created(struct pc_guard *g, struct deed *d)
{
    d->op = PC_OP_CREATE;
    if (d->known) { /* link(2): a further name of a known file */
        pc_links_note(g, d->v->id, pc_dirs_fh(g->dirs, d->dir), d->name, &d->fh);
        pc_links_note(g, d->v->id, &d->known->parent, d->known->name, &d->fh);
    }
    pc_acts_record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
    enum pc_when when = d->known ? PC_WHEN_SOON : PC_WHEN_NEW; /* of a known file something is at stake */
    pc_capture_later(g, d->v->id, &d->fh, d->dir, d->name, creator_id(g, d->pid), when);
}

/*
 * Something old is about to be judged as gone: what stands in for it may be among what its destroyer made and nobody
 * has looked at. `known`: what is gone.
 */
static void look_for_heirs(struct pc_guard *g, pid_t pid, const struct pc_known *known)
{
    pc_capture_look_now(g, pid);
    pc_acts_destroyed(g, pid, known->creator);
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
    int r = pc_acts_stat_live(d->v, &d->fh, &st);
    bool left = r == 0 && st.st_nlink > (d->known && d->known->linked ? 1 : 0);
    bool gone_for_good = r == 0 ? !left : r == -ESTALE || r == -ENOENT;
    if (!d->known) { /* made and removed before it was ever preserved: nobody's loss */
        if (gone_for_good)
            pc_capture_forget(g, d->v->id, &d->fh);
        return;
    }
    pc_links_forget(g, d->v->id, pc_dirs_fh(g->dirs, d->dir), d->name);
    look_for_heirs(g, d->pid, d->known);
    d->op = PC_OP_DELETE;
    pc_outside_show(g, d->pid);
    pc_acts_judge(g, d);
    if (left)
        return; /* another name is left: the content lives */
    gone(g, d);
}

static void metadata(struct pc_guard *g, struct deed *d)
{
    if (!d->known)
        return;
    struct stat st;
    if (pc_acts_stat_live(d->v, &d->fh, &st) < 0 || pc_file_ns(st.st_ctim) == d->known->ctime_ns)
        return;
    int64_t mtime_ns = pc_file_ns(st.st_mtim);
    bool same_mode = d->known->mode == st.st_mode;
    d->op = PC_OP_META;
    /* Link counts change the ctime too; those need no act, and a changed mtime comes with a content event. */
    if (!same_mode || mtime_ns == d->known->mtime_ns)
        pc_acts_record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
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
    look_for_heirs(g, mover->pid, &old);
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
    if (pc_acts_stat_live(mover->v, &mover->fh, &st) == 0)
        d.size_after = (uint64_t)st.st_size;
    pc_acts_judge(g, &d);
    bool alive = pc_acts_stat_live(mover->v, &old.fh, &st) == 0 && st.st_nlink > (old.linked ? 1 : 0);
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
        pc_acts_judge(g, d);
        if (d->known)
            (void)pc_store_moved(g->store, d->v->id, &d->fh, pc_dirs_fh(g->dirs, d->new_dir), d->new_name);
        else
            pc_capture_later(g, d->v->id, &d->fh, d->new_dir, d->new_name, creator_id(g, d->pid), PC_WHEN_NEW);
    } else if (d->dir && d->known) {
        look_for_heirs(g, d->pid, d->known);
        d->op = PC_OP_DELETE; /* it left the guarded folder: what was preserved stays */
        d->moved_out = true;
        d->new_name = NULL;
        pc_acts_judge(g, d);
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
        pc_acts_record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
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
        pc_acts_record(g, d, &(struct pc_outcome){.actor = pc_judge_actor_of(g->judge, d->pid)});
        gone(g, d);
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
            pc_acts_ask(g, d, &o);
        created(g, d);
    }
    if (bits & (PC_FAN_MODIFY | PC_FAN_CLOSE_WRITE)) {
        bool closed = bits & PC_FAN_CLOSE_WRITE;
        if (closed || !pc_acts_mute(g, d))
            pc_acts_changed(g, d, closed);
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
    pc_scan_everything(g);
    pc_missing_look(g);
}

/* A file written under a name outside: is it still in its guarded folder, too (a hard link), or was it moved out? */
static bool still_there(const struct pc_volume *v, const struct pc_known *k)
{
    _close_ int dir = k->gone ? -1 : pc_fh_open(v->tree_fd, &k->parent, O_PATH | O_DIRECTORY);
    _close_ int fd = dir < 0 ? -1 : openat(dir, k->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct pc_fh fh;
    return fd >= 0 && pc_fh_of_fd(fd, &fh) == 0 && pc_fh_equal(&fh, &k->fh);
}

/* Fills in what the index knows of the file: also its place, where the event's is none in a guarded folder. */
static void find_known(struct pc_guard *g, const struct pc_fan_event *e, bool outside, struct deed *d,
                       struct pc_known *known)
{
    if (pc_capture_is_new(g, d->v->id, &d->fh) || pc_store_lookup(g->store, d->v->id, &d->fh, known) != 0)
        return;
    if (outside && !still_there(d->v, known))
        return;
    d->known = known;
    d->before = known->version;
    /* Opened by handle, unlinked while open, or through a link from outside: the index knows the place. */
    if (outside || !e->has_dir || !e->name[0]) {
        d->dir = pc_dirs_find(g->dirs, d->v->id, &known->parent);
        d->name = known->name;
    }
}

static void dispatch(struct pc_guard *g, struct deed *d, uint32_t bits)
{
    if (bits & PC_FAN_RENAME) {
        if (d->dir || d->new_dir)
            moved(g, d);
    } else if (d->dir) {
        if (d->is_dir)
            folder_event(g, d, bits);
        else
            file_event(g, d, bits);
    }
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
    if (bits & (PC_FAN_MODIFY | PC_FAN_CLOSE_WRITE))
        pc_acts_whose(g, &d, bits);
    bool outside = e->has_dir && !d.dir && !d.new_dir;
    if (outside)
        bits &= PC_FAN_MODIFY | PC_FAN_CLOSE_WRITE; /* what happens to a name elsewhere is not our matter */
    if (bits)
        find_known(g, e, outside, &d, &known);
    if (outside && !d.known && bits & PC_FAN_CLOSE_WRITE && !d.is_dir)
        pc_outside_note(g, v, &e->target, e->pid);
    else if (outside && !d.known && bits & PC_FAN_MODIFY) /* a busy database beside the guarded folders */
        (void)pc_acts_mute(g, &d);
    if (g->settings.decoys && e->bits & ~(uint32_t)PC_FAN_ATTRIB && pc_decoys_is(g, v->id, &d.fh))
        decoy_touched(g, &d);
    dispatch(g, &d, bits);
}

void pc_acts_vault_touched(struct pc_guard *g, pid_t tid)
{
    pid_t pid = pc_guard_pid_of(g, tid);
    if (!pid)
        return;
    struct pc_procinfo info = {0};
    (void)pc_proc_read(pid, &info); /* it may be gone: what it did is told, and counts, all the same */
    pc_event(
        g->log, PC_LEVEL_WARNING, "vault-denied",
        &(struct pc_event_about){.category = "process", .pid = pid, .executable = info.exe, .command_line = info.argv},
        "process %d (%s) was denied access to the vault", pid, info.exe[0] ? info.exe : "gone");
    struct pc_act act = {.now_ns = pc_mono_ns(), .pid = pid, .op = PC_OP_VAULT, .file = pc_guard_random(g)};
    struct pc_outcome o = {0};
    enum pc_answer said = pc_judge_act(g->judge, &act, &o);
    pc_gate_doubt(g);
    if (said == PC_DECIDED && o.convicted)
        pc_stop_convict(g, &o, pc_vault_dir_name);
}
