/*
 * Owns one act: asks the judge, reads the content it asks for, writes the act into the index, and hands a verdict to
 * stop.c. Must not find out what happened (acts.c hands it the deed) nor preserve: the judge has always looked before
 * the content it compares with is replaced.
 */
#include "agent/acts_impl.h"

#include "agent/clients.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define PROBE_BYTES 4096

/* ---- what the judge says ---- */

void pc_acts_read_windows(int fd, struct pc_content *c, uint8_t *room)
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
bool pc_acts_has_content(const struct pc_known *k, uint8_t op)
{
    return k && S_ISREG(k->mode) && k->version &&
           (k->how == PC_HOW_CLONE || k->how == PC_HOW_COPY || (k->how == PC_HOW_LINK && op != PC_OP_MODIFY));
}

/*
 * A pre-image that is not in memory takes milliseconds to read: on a busy machine, long enough for hundreds of files.
 * So whoever wants to change another one meanwhile waits for the judgement. Not when a proven program goes on with what
 * it made itself: file servers and databases do nothing else, and everybody would wait for them all the time.
 */
static void hold_if_slow(struct pc_guard *g, const struct deed *d, int fd)
{
    uint8_t room[PROBE_BYTES]; /* the content of the other side may have been read already */
    struct iovec head = {room, sizeof room};
    if (!d->v->gate_down && !pc_acts_is_own_work(g, d) && preadv2(fd, &head, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN)
        pc_gate_hold(g, d->v);
}

static void read_before(struct pc_guard *g, const struct deed *d)
{
    _close_ int fd = pc_store_open_version(g->store, d->before);
    hold_if_slow(g, d, fd);
    pc_acts_read_windows(fd, &g->acts->content_before, g->acts->before);
}

static int open_live(const struct deed *d, const struct pc_fh *fh)
{
    return pc_fh_open_file(d->v->tree_fd, fh); /* a fifo may have been renamed over a file */
}

static void read_after(struct pc_guard *g, const struct deed *d)
{
    _close_ int fd = open_live(d, d->op == PC_OP_REPLACE ? &d->after_fh : &d->fh);
    hold_if_slow(g, d, fd); /* on xfs a writer keeps readers out until his write(2) returns */
    pc_acts_read_windows(fd, &g->acts->content_after, g->acts->after);
}

static struct pc_fh *made_slot(struct pc_guard *g, uint64_t file)
{
    return &g->acts->made[file % MADE_SLOTS];
}

/* A deleted file and the new one that may stand for it. False: one of them is not there (any more). */
static bool fetch_pair(struct pc_guard *g, const struct deed *d, const struct pc_outcome *asked, struct pc_act *act)
{
    struct pc_acts *a = g->acts;
    struct stat old, new;
    const struct pc_fh *heir = asked->heir ? made_slot(g, asked->heir) : &d->fh;
    _close_ int before = pc_store_open_version(g->store, asked->heir ? d->before : asked->heir_of);
    _close_ int after = asked->heir && pc_fh_hash(heir) != asked->heir ? -1 : open_live(d, heir);
    if (before < 0 || after < 0 || fstat(before, &old) < 0 || fstat(after, &new) < 0)
        return false;
    hold_if_slow(g, d, before);
    pc_content_plan((uint64_t)old.st_size, (uint64_t) new.st_size, pc_guard_random(g), &a->content_before,
                    &a->content_after);
    pc_acts_read_windows(before, &a->content_before, a->before);
    pc_acts_read_windows(after, &a->content_after, a->after);
    act->before = &a->content_before;
    act->after = &a->content_after;
    return true;
}

/*
 * New files are many (an untar, a build) and seldom ciphertext: most are told by their first bytes. What those told is
 * handed to the judge, so that they are looked at once.
 */
static bool harmless_head(struct pc_guard *g, const struct deed *d, struct pc_act *act, struct pc_facts *facts)
{
    struct pc_acts *a = g->acts;
    _close_ int fd = open_live(d, &d->fh);
    a->content_after = (struct pc_content){.size = d->size_after, .count = 1, .win = {{.len = GLANCE_BYTES}}};
    pc_acts_read_windows(fd, &a->content_after, a->after);
    act->after = &a->content_after;
    pc_judge_facts(act, facts);
    if (facts->after.opaque >= PC_ACTS_PLAIN)
        return false;
    act->facts = facts;
    return true;
}

void pc_acts_fetch(struct pc_guard *g, const struct deed *d, enum pc_answer need, struct pc_act *act,
                   struct pc_facts *facts)
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

void pc_acts_ask(struct pc_guard *g, const struct deed *d, struct pc_outcome *o)
{
    struct pc_act act = {
        .now_ns = pc_mono_ns(),
        .pid = d->pid,
        .actor = d->actor,
        .op = d->op,
        .is_dir = d->is_dir,
        .file = pc_fh_hash(&d->fh),
        .folder = d->dir ? pc_fh_hash(pc_dirs_fh(g->dirs, d->dir)) : 0,
        .name_hash = pc_hash64(d->new_name ? d->new_name : d->name, strlen(d->new_name ? d->new_name : d->name)),
        .size_before = d->known ? d->known->size : 0,
        .size_after = d->size_after,
        .creator = d->known && d->known->creator > g->run_base ? d->known->creator - g->run_base : 0,
        .has_pre_image = pc_acts_has_content(d->known, d->op),
        .base = d->before,
        .closed = d->closed,
        .moved_out = d->moved_out,
        .successor = d->op == PC_OP_REPLACE ? pc_fh_hash(&d->after_fh) : 0,
    };
    memset(o, 0, sizeof *o);
    pc_clients_know(g, d->pid); /* the evidence is to be the client's, not the file server's */
    enum pc_answer need = pc_judge_act(g->judge, &act, o);
    struct pc_facts facts;
    if (act.op == PC_OP_CREATE)
        *made_slot(g, act.file) = d->fh;
    if (need != PC_DECIDED) {
        bool pair = o->heir || o->heir_of;
        if (pair && !fetch_pair(g, d, o, &act))
            need = act.op == PC_OP_DELETE ? PC_NEED_BEFORE : PC_NEED_AFTER;
        if (!act.before)
            pc_acts_fetch(g, d, need, &act, &facts);
        g->n.judged++;
        if (pc_judge_act(g->judge, &act, o) != PC_DECIDED)
            memset(o, 0, sizeof *o); /* asked twice for the same: the judge's own error, never a verdict */
    }
    if (o->finding.score)
        pc_gate_doubt(g);
    pc_acts_looked(g, o);
    pc_tracer_act(g, &act, &o->facts);
}

/* ---- the record ---- */

/*
 * On record when it was done, and not yet preserved: a second act, by nobody, would only keep a rollback from undoing
 * it.
 */
enum pc_change pc_acts_change_of(struct pc_guard *g, const struct deed *d)
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

void pc_acts_record(struct pc_guard *g, const struct deed *d, const struct pc_outcome *o)
{
    pc_actor actor = o->actor ? o->actor : pc_judge_actor_of(g->judge, d->pid);
    uint64_t process = pc_acts_process(g, actor);
    uint64_t incident = pc_stop_case_of(g, actor);
    if (incident) /* late acts of what was convicted are the incident's own */
        (void)pc_store_incident_add_process(g->store, incident, process);
    if (recorded_lately(g, d, process, o->finding.score))
        return;
    /* The last close of a process that was ended arrives when nobody knows the process any more. */
    if (!actor && d->op == PC_OP_MODIFY && pc_acts_change_of(g, d) != PC_CHANGE_UNSEEN)
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
    /* few: what was under way. The rollback needs them, whatever becomes of us */
    if (incident && pc_stop_incident_of(g, actor))
        (void)pc_store_flush(g->store);
}

void pc_acts_judge(struct pc_guard *g, const struct deed *d)
{
    struct pc_outcome o;
    pc_acts_ask(g, d, &o);
    if (o.gate)
        pc_gate_evidence(g, d->v); /* before the bookkeeping: every microsecond lets the attacker go on */
    pc_gate_unhold(g);
    pc_acts_clear(g, d->op == PC_OP_REPLACE ? &d->after_fh : &d->fh, &o);
    pc_acts_record(g, d, &o);
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
