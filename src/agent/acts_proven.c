/*
 * Owns which programs have shown that they do no harm, and what that saves: most of the new files of such a program are
 * looked at when they are preserved instead of at once, so are files it made and goes on writing, and the guard rests a
 * moment between two reads of its events.
 * Must not let anything go unseen: a deletion or replacement by its family brings the looks forward, and any evidence,
 * whoever's it is, ends all proofs. acts_judge.c tells it what a look told, acts.c and acts_glance.c ask it, guard.c
 * asks whether it may rest.
 *
 * Unpacking, checking out and copying are nothing but new files. Looked at one by one, in the moment they are closed,
 * they cost the guard more than the program that makes them; in the files of an attacker there is nothing to lose yet:
 * what counts is what he then deletes or replaces.
 */
#include "agent/acts_impl.h"

#include "base/clock.h"

/* Contents of this many files, looked at without a doubt, are a proof ... */
#define PROOF 16
/* ... and afterwards one in this many, by chance, is looked at as soon as it is closed. */
#define SAMPLE 16
/* Of a family that destroyed so many files of others within so long everything is looked at at once. */
#define DESTROYED 3
#define DESTROYED_NS (60 * PC_NS_PER_S)
/* A file that is closed again so soon after a look is not looked at again at once. */
#define AGAIN_NS PC_NS_PER_S

static struct proven *slot_of(struct pc_guard *g, pc_actor actor)
{
    return &g->acts->proven[actor % PROVEN_SLOTS];
}

static bool holds(const struct pc_guard *g, const struct proven *p, pc_actor actor)
{
    return actor && p->actor == actor && p->doubts == g->acts->doubts;
}

void pc_acts_looked(struct pc_guard *g, const struct pc_outcome *o)
{
    struct proven *p = slot_of(g, o->actor);
    if (o->finding.score)
        g->acts->doubts++;
    if (!o->actor || !(o->facts.have & PC_HAVE_AFTER))
        return;
    if (o->finding.score || o->facts.after.opaque >= PC_ACTS_PLAIN)
        *p = (struct proven){0};
    else if (!holds(g, p, o->actor))
        *p = (struct proven){.actor = o->actor, .doubts = g->acts->doubts, .looks = 1};
    else
        p->looks++;
}

bool pc_acts_is_proven(struct pc_guard *g, pid_t pid)
{
    pc_actor actor = pc_judge_actor_of(g->judge, pid);
    const struct proven *p = slot_of(g, actor);
    return holds(g, p, actor) && p->looks >= PROOF && !pc_gate_alert(g);
}

static struct destroyer *destroyer_of(struct pc_guard *g, pc_actor group)
{
    return &g->acts->destroyer[group % DESTROYER_SLOTS];
}

static bool is_recent(const struct destroyer *d, pc_actor group)
{
    return group && d->group == group && pc_mono_ns() - d->since_ns < DESTROYED_NS;
}

void pc_acts_destroyed(struct pc_guard *g, pid_t pid, uint64_t creator)
{
    pc_actor group = pc_judge_group_of_pid(g->judge, pid);
    if (!group || (creator > g->run_base && pc_judge_group_of(g->judge, creator - g->run_base) == group))
        return;
    struct destroyer *d = destroyer_of(g, group);
    if (!is_recent(d, group))
        *d = (struct destroyer){.group = group, .since_ns = pc_mono_ns()};
    d->files++;
}

static bool destroys(struct pc_guard *g, pid_t pid)
{
    pc_actor group = pc_judge_group_of_pid(g->judge, pid);
    const struct destroyer *d = destroyer_of(g, group);
    return is_recent(d, group) && d->files >= DESTROYED;
}

bool pc_acts_may_look_later(struct pc_guard *g, pid_t pid)
{
    return pc_acts_is_proven(g, pid) && pc_guard_random(g) % SAMPLE != 0 && !destroys(g, pid);
}

bool pc_acts_is_own_work(struct pc_guard *g, const struct deed *d)
{
    if (!d->known || d->known->creator <= g->run_base || !pc_acts_is_proven(g, d->pid))
        return false;
    pc_actor maker = d->known->creator - g->run_base, actor = pc_judge_actor_of(g->judge, d->pid);
    /* Itself or what it started: what those above it made, or others of a login, may be somebody's work. */
    return pc_judge_is_beneath(g->judge, maker, actor);
}

bool pc_acts_may_look_again_later(struct pc_guard *g, const struct deed *d)
{
    return pc_acts_was_read(g, &d->fh, AGAIN_NS) && pc_acts_is_own_work(g, d) && pc_acts_may_look_later(g, d->pid);
}

void pc_acts_look_at_waiting(struct pc_guard *g, const struct pc_unlooked *u)
{
    struct pc_known known;
    struct deed d = {.v = pc_volume_by_id(g, u->vol),
                     .pid = u->pid,
                     .fh = u->fh,
                     .dir = u->dir,
                     .name = u->name,
                     .looked_at_now = true};
    if (!d.v || pc_dirs_vol(g->dirs, u->dir) != u->vol)
        return; /* meanwhile it left the guarded folders */
    if (pc_judge_actor_of(g->judge, u->pid) != u->actor)
        d.actor = u->actor; /* the number is another program's by now */
    if (pc_store_lookup(g->store, u->vol, &u->fh, &known) < 0) {
        pc_acts_new_content(g, &d);
        return;
    }
    d.known = &known;
    d.before = known.version;
    pc_acts_changed(g, &d, true);
}
