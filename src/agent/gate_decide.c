/*
 * Owns the main thread's decisions on opens that wait: who is a suspect, how many of its opens may be under way
 * unjudged (grants), who waits until release or end. Must not look things up with the lock held: the answering thread
 * needs it. gate_answer.c hands it opens by the table in struct pc_gate; files that have to be copied first it hands to
 * gate_copy.c, touches of the vault to acts.c.
 */
#include "agent/gate_impl.h"

#include "base/clock.h"

#include <string.h>

/* A grant whose file was never reported closed stops counting after this. */
#define GRANT_NS (30 * PC_NS_PER_MS)
/* The same of a crowd: as many processes take their time, each with a read from the disk before it writes. */
#define CROWD_GRANT_NS (100 * PC_NS_PER_MS)
/* Older files that a crowd may have open and unjudged at first; and from how many on it may have any number. */
#define CROWD_FILES 4
#define CROWD_TRUSTED 256
#define DRAIN_EVERY 4

static void note_clean(struct pc_gate *q, pid_t tid, uint64_t now)
{
    atomic_store(&q->clean[(uint32_t)tid % CLEAN_SLOTS],
                 (uint64_t)(uint32_t)tid << 32 | (uint32_t)(now / PC_NS_PER_MS));
}

/* How many files this crowd may have open and unjudged. */
static uint32_t *pass_of(struct pc_gate *q, pc_actor crowd)
{
    for (uint32_t i = 0; i < PASSES_MAX; i++)
        if (q->pass[i].group == crowd)
            return &q->pass[i].files;
    struct crowd_pass *p = &q->pass[q->passes++ % PASSES_MAX];
    *p = (struct crowd_pass){crowd, CROWD_FILES};
    return &p->files;
}

static void end_grant(struct pc_gate *q, uint32_t i)
{
    if (q->grant[i].crowd)
        ++*pass_of(q, q->grant[i].group);
    q->grant[i] = q->grant[--q->grants];
}

static void drop_old_grants(struct pc_gate *q, uint64_t now)
{
    for (uint32_t i = 0; i < q->grants;)
        if (now - q->grant[i].since_ns > (q->grant[i].crowd ? CROWD_GRANT_NS : GRANT_NS))
            end_grant(q, i);
        else
            i++;
}

void pc_gate_forget_passes(struct pc_guard *g)
{
    memset(g->gate->pass, 0, sizeof g->gate->pass);
}

void pc_gate_judged(struct pc_guard *g, const struct pc_fh *fh)
{
    struct pc_gate *q = g->gate;
    for (uint32_t i = 0; i < q->grants;)
        if (pc_fh_equal(&q->grant[i].fh, fh))
            end_grant(q, i);
        else
            i++;
}

static uint32_t grants_of(const struct pc_gate *q, pc_actor group)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->grants; i++)
        n += q->grant[i].group == group;
    return n;
}

static bool is_granted(const struct pc_gate *q, pc_actor group, const struct pc_fh *fh)
{
    for (uint32_t i = 0; i < q->grants; i++)
        if (q->grant[i].group == group && pc_fh_equal(&q->grant[i].fh, fh))
            return true;
    return false;
}

static bool has_content(struct pc_guard *g, const struct pc_volume *v, const struct pc_fh *fh)
{
    struct pc_known known;
    return pc_store_lookup(g->store, v->id, fh, &known) == 0 && known.size > 0;
}

/*
 * Nobody has evidence against it. But of a crowd all may have a file open before the first one's write is seen, and
 * what is done through an open descriptor cannot be held any more: so a crowd begins with a few files, and is trusted
 * with more by each that it leaves whole.
 */
static bool unsuspected_may_pass(struct pc_guard *g, const struct pc_volume *v, struct held *h, uint64_t now)
{
    struct pc_gate *q = g->gate;
    pc_actor crowd = pc_judge_crowd_of(g->judge, h->actor);
    if (!crowd) {
        note_clean(q, h->tid, now);
        return true;
    }
    uint32_t most = *pass_of(q, crowd);
    if (most >= CROWD_TRUSTED || is_granted(q, crowd, &h->fh) || !has_content(g, v, &h->fh))
        return true;
    if (!g->drained || q->grants == GRANTS_MAX || grants_of(q, crowd) >= most)
        return false;
    q->grant[q->grants++] = (struct grant){.group = crowd, .crowd = true, .fh = h->fh, .since_ns = now};
    return true;
}

/* A suspect's open that may change something: a bounded number per group of co-operating processes. */
static bool may_pass(struct pc_guard *g, const struct pc_volume *v, struct held *h, uint64_t now)
{
    struct pc_gate *q = g->gate;
    if (h->kind == PC_OPEN_READ)
        return true;
    if (!pc_judge_suspicion(g->judge, h->actor))
        return unsuspected_may_pass(g, v, h, now);
    pc_actor group = pc_judge_suspect_root(g->judge, h->actor);
    if (is_granted(q, group, &h->fh))
        return true; /* on-open the same open asks twice: for its copy and at the gate */
    if (!g->drained || q->grants == GRANTS_MAX || grants_of(q, group) >= g->settings.allowance)
        return false;
    q->grant[q->grants++] = (struct grant){.group = group, .fh = h->fh, .since_ns = now};
    return true;
}

enum decision { STAYS, PASSES, PARKED, NEEDS_COPY };

static void identify(struct pc_guard *g, struct held *h)
{
    h->state = HELD_WAITING;
    if (!h->tid) /* outside our pid namespace, as many others: nobody to be held for what another one did */
        return;
    h->pid = pc_guard_pid_of(g, h->tid);
    if (!pc_judge_actor_of(g->judge, h->pid)) { /* it waits, so it lives: the best moment to learn whose child it is */
        pc_guard_lineage(g);
        pc_guard_know(g, h->pid);
    }
    h->actor = pc_judge_actor_of(g->judge, h->pid);
}

/* Works on a copy of the slot: looking things up must not keep the answering thread waiting for the lock. */
static enum decision decide(struct pc_guard *g, struct held *h, uint64_t now, struct copy_job *job)
{
    struct stat st;
    if (fstat(h->fd, &st) < 0 || pc_fh_of_fd(h->fd, &h->fh) < 0)
        return PASSES;
    if (h->state == HELD_NEW)
        identify(g, h);
    if (pc_stop_incident_of(g, h->actor))
        return PARKED; /* frozen: waits until release or end */
    struct pc_volume *v = pc_volume_by_dev(g, st.st_dev);
    if (v && v->gate_down && !pc_gate_known_clean(g->gate, h->tid, now) && !may_pass(g, v, h, now))
        return STAYS;
    if (!v || v->mode != PC_MODE_ON_OPEN)
        return PASSES;
    if (h->tries >= COPY_TRIES)
        pc_gate_uncopied(g, v, h);
    if (h->tries >= COPY_TRIES || !pc_gate_needs_copy(g, v, h, &st, job))
        return PASSES;
    job->vol = v->id;
    job->durable = now < v->durable_until_ns;
    job->fd = h->fd;
    job->fh = h->fh;
    return NEEDS_COPY;
}

static bool is_undecided(const struct held *h)
{
    return h->state == HELD_NEW || h->state == HELD_WAITING || h->state == HELD_FOLLOWS;
}

/* Puts a decision into effect, unless the deadline answered meanwhile. Called with the lock held. */
static void carry_out(struct pc_gate *q, uint32_t slot, const struct held *decided, enum decision what,
                      struct copy_job *job)
{
    struct held *h = &q->held[slot];
    if (h->fd != decided->fd || h->since_ns != decided->since_ns || !is_undecided(h))
        return;
    bool followed = h->state == HELD_FOLLOWS;
    *h = *decided;
    h->state = HELD_WAITING;
    if (followed && what == STAYS) /* as after a copy of its own: it waits for its turn from now on */
        h->since_ns = pc_mono_ns();
    if (what == NEEDS_COPY && pc_gate_is_copied(q, job)) {
        h->state = HELD_FOLLOWS;
    } else if (what == NEEDS_COPY && q->job_tail - q->job_head < q->held_max) {
        job->slot = slot;
        q->job[q->job_tail++ % q->held_max] = *job;
        h->state = HELD_COPYING;
        pthread_cond_signal(&q->work);
    } else if (what == PARKED) {
        h->state = HELD_PARKED;
        q->stats.parked++;
    } else if (what != STAYS) {
        pc_gate_answer(q, h, true);
    }
}

/* follow: a copy has ended, so those who wait for somebody else's are looked at, too. */
static void decide_slot(struct pc_guard *g, uint32_t slot, uint64_t now, bool follow)
{
    struct pc_gate *q = g->gate;
    struct copy_job job = {0};
    pthread_mutex_lock(&q->lock);
    struct held h = q->held[slot];
    pthread_mutex_unlock(&q->lock);
    if (!is_undecided(&h) || (h.state == HELD_FOLLOWS && !follow))
        return;
    enum decision what = decide(g, &h, now, &job);
    pthread_mutex_lock(&q->lock);
    carry_out(q, slot, &h, what, &job);
    pthread_mutex_unlock(&q->lock);
}

static void judge_touches(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    pid_t touched[TOUCHES_MAX];
    pthread_mutex_lock(&q->lock);
    uint32_t n = q->touches;
    memcpy(touched, q->touched, n * sizeof touched[0]);
    q->touches = 0;
    pthread_mutex_unlock(&q->lock);
    for (uint32_t i = 0; i < n; i++)
        pc_acts_vault_touched(g, touched[i]);
}

void pc_gate_step(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    pc_gate_drain_event(q->main_event);
    if (g->drained)
        atomic_store(&q->unseen, 0);
    pc_gate_adopt(g);
    pc_gate_see_to_unseen(g);
    pc_gate_see_to_read(g);
    judge_touches(g);
    uint64_t now = pc_mono_ns();
    drop_old_grants(q, now);
    pthread_mutex_lock(&q->lock);
    uint32_t used = q->held_used;
    pthread_mutex_unlock(&q->lock);
    bool follow = q->finished != q->followed;
    q->followed = q->finished;
    for (uint32_t i = 0; i < used; i++) {
        decide_slot(g, i, now, follow);
        if (i % DRAIN_EVERY == DRAIN_EVERY - 1)
            pc_guard_drain(g); /* what those let through did must be seen before hundreds more are */
    }
    pthread_mutex_lock(&q->lock);
    while (q->held_used && q->held[q->held_used - 1].state == HELD_FREE)
        q->held_used--;
    g->opens_wait = false;
    for (uint32_t i = 0; i < q->held_used; i++)
        g->opens_wait |= q->held[i].state == HELD_WAITING;
    pthread_mutex_unlock(&q->lock);
}

uint32_t pc_gate_in_flight(struct pc_guard *g, pc_actor root)
{
    struct pc_gate *q = g->gate;
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->grants; i++)
        n += pc_judge_is_beneath(g->judge, q->grant[i].group, root);
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++)
        n += q->held[i].state != HELD_FREE && pc_judge_is_beneath(g->judge, q->held[i].actor, root);
    pthread_mutex_unlock(&q->lock);
    return n;
}

void pc_gate_let_go(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++) {
        struct held *h = &q->held[i];
        if (h->state != HELD_PARKED || h->since_ns > UINT64_MAX / 2 || pc_stop_incident_of(g, h->actor))
            continue;
        h->state = HELD_WAITING; /* decided like any other, copies included */
        h->since_ns = pc_mono_ns();
        q->stats.parked--;
    }
    pthread_mutex_unlock(&q->lock);
    pc_gate_wake(q->main_event);
}
