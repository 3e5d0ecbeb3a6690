/*
 * Owns THE table: what a host demands of an order before it accepts it, and again before it starts it
 * (PROTOCOL.md 1.9); and what an owner can ask of it before. A rule is one small function and one word; the first that
 * is broken is the answer. What can be said of the document alone was said when it was parsed (order_parse.c).
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/parts.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* All that a rule may look at, and what rules find out for the caller. */
struct facts {
    const struct pc_order *o;
    const struct pc_envelope *e;
    const struct pc_bundle *b; /* NULL at the start */
    const struct pc_trust *t;
    const struct pc_revoked *r;
    const struct pc_memory *m;
    int64_t now;
    const struct pc_start_facts *start; /* NULL at the acceptance */
    struct pc_why why;
    struct pc_approvers who;
    struct pc_checkpoint checkpoint;
};

static int broken(const struct facts *f, const char *words)
{
    return pc_why(f->why, PC_E_REFUSED, "%s", words);
}

static bool is_stop(const struct facts *f)
{
    return f->o->class_ == PC_CLASS_S;
}

static int tenant(struct facts *f)
{
    return strcmp(f->o->tenant, f->t->tenant) == 0 ? 0 : broken(f, "it is for another tenant");
}

static int cap(struct facts *f)
{
    uint32_t most = f->t->cap[f->o->class_];
    if (f->o->hosts <= most)
        return 0;
    return pc_why(f->why, PC_E_REFUSED, "%" PRIu32 " hosts: the trust file allows %" PRIu32, f->o->hosts, most);
}

static int me(struct facts *f)
{
    return pc_bundle_position(f->b, &f->m->me) >= 0 ? 0 : broken(f, "no host of the order has this name and identity");
}

static int not_known(struct facts *f)
{
    bool known = f->m->known && f->m->known(f->m->ctx, f->o->sha256);
    return known ? broken(f, "this very order was accepted before") : 0;
}

static int signatures(struct facts *f)
{
    int r = pc_trust_approvers(f->t, f->r, f->o->class_, PC_NS_ORDER, f->e, &f->who);
    return r == PC_E_SIGNATURE
               ? broken(f, "a signature does not verify, or is by a key that the trust file does not list")
               : r;
}

static int quorum(struct facts *f)
{
    uint32_t needed = f->t->threshold[f->o->class_];
    if (f->who.n >= needed)
        return 0;
    return pc_why(f->why, PC_E_REFUSED, "%" PRIu32 " of %" PRIu32 " owners approved it%s", f->who.n, needed,
                  f->who.revoked ? "; signatures by revoked keys do not count" : "");
}

/* At the start: owners who are gone by now do not count, but do not spoil the others' approvals. */
static int still_quorum(struct facts *f)
{
    int r = pc_trust_approvers_known(f->t, f->r, f->o->class_, PC_NS_ORDER, f->e, &f->who);
    if (r == -ENOMEM)
        return r;
    return r == 0 ? quorum(f) : broken(f, "a signature does not verify");
}

static int not_expired(struct facts *f)
{
    return f->now < f->o->expires ? 0 : broken(f, "it expired, by the clock here");
}

/* It may come a little early, and then waits. */
static int not_future(struct facts *f)
{
    int64_t grace = f->start ? 0 : PC_FUTURE_GRACE;
    return f->o->not_before <= f->now + grace ? 0 : broken(f, "it is for later, by the clock here");
}

static int dwell_wanted(struct facts *f)
{
    if (f->o->dwell >= f->t->dwell) /* UINT32_MAX: the trust file's */
        return 0;
    return pc_why(f->why, PC_E_REFUSED, "dwell of %" PRIu32 " s: the trust file demands %" PRIu32 " s", f->o->dwell,
                  f->t->dwell);
}

static int dwell_over(struct facts *f)
{
    uint32_t dwell = f->o->dwell == UINT32_MAX || f->o->dwell < f->t->dwell ? f->t->dwell : f->o->dwell;
    if (f->o->class_ != PC_CLASS_C || f->start->waited >= dwell)
        return 0;
    return pc_why(f->why, PC_E_REFUSED, "waited %" PRIu64 " of %" PRIu32 " s", f->start->waited, dwell);
}

/* A stop goes through without the log: whoever can spoil the proof could as well keep the network down. */
static int logged(struct facts *f)
{
    struct pc_why why = is_stop(f) ? (struct pc_why){0} : f->why;
    int r = pc_log_included(&f->b->log, f->t, &f->checkpoint, why);
    if (r == 0)
        r = pc_entry_is_order(&f->b->log, f->o, f->e, why);
    if (r == PC_E_REFUSED && is_stop(f)) {
        f->checkpoint = (struct pc_checkpoint){0};
        return 0;
    }
    return r;
}

static int consistent(struct facts *f)
{
    if (is_stop(f) && f->checkpoint.size == 0)
        return 0;
    int r = pc_log_follows(&f->b->log.follow, f->m, &f->checkpoint, is_stop(f) ? (struct pc_why){0} : f->why);
    if (r == PC_E_REFUSED && is_stop(f)) {
        f->checkpoint = (struct pc_checkpoint){0};
        return 0;
    }
    return r;
}

static int sequence(struct facts *f)
{
    if (is_stop(f) || f->o->sequence > f->m->sequence)
        return 0;
    return pc_why(f->why, PC_E_REFUSED, "sequence %" PRIu64 ": this host has accepted %" PRIu64, f->o->sequence,
                  f->m->sequence);
}

/* A host that accepted nothing yet cannot tell what is far. */
static int sequence_near(struct facts *f)
{
    if (is_stop(f) || f->m->sequence == 0 || f->o->sequence - f->m->sequence <= PC_SEQUENCE_GAP)
        return 0;
    return pc_why(f->why, PC_E_REFUSED, "sequence %" PRIu64 " is more than %d above %" PRIu64, f->o->sequence,
                  PC_SEQUENCE_GAP, f->m->sequence);
}

static int not_halted(struct facts *f)
{
    bool halted = (f->start && f->start->halted) || (f->m->halted && f->m->halted(f->m->ctx, f->o->sha256));
    return halted ? broken(f, "an owner halted this order") : 0;
}

static int fresh(struct facts *f)
{
    if (is_stop(f) || pc_checkpoint_fresh(&f->m->checkpoint, f->t, f->now))
        return 0;
    return broken(f, "no checkpoint of the log from within the time that the trust file calls silence");
}

/* A run that was started in its hours may have waited for its ring, or for the log: until they are over, and longer. */
static int in_hours(struct facts *f)
{
    return f->start->outside ? broken(f, "not the days and hours of the standing order") : 0;
}

static int ring_open(struct facts *f)
{
    return f->start->ring_open ? 0 : broken(f, "the ring before it has not been reported good");
}

enum stage { SUBMIT, ACCEPT, START };
static const struct {
    enum stage stage;
    enum pc_check check;
    int (*rule)(struct facts *f); /* 0; PC_E_REFUSED and the reason in why; -ENOMEM */
} table[] = {
    {SUBMIT, PC_CHECK_TENANT, tenant},
    {SUBMIT, PC_CHECK_CAP, cap},
    {SUBMIT, PC_CHECK_SIGNATURE, signatures},
    {SUBMIT, PC_CHECK_EXPIRED, not_expired},
    {SUBMIT, PC_CHECK_DWELL, dwell_wanted},

    {ACCEPT, PC_CHECK_TENANT, tenant},
    {ACCEPT, PC_CHECK_CAP, cap},
    {ACCEPT, PC_CHECK_NOT_ME, me},
    {ACCEPT, PC_CHECK_REPLAYED, not_known},
    {ACCEPT, PC_CHECK_SIGNATURE, signatures},
    {ACCEPT, PC_CHECK_QUORUM, quorum},
    {ACCEPT, PC_CHECK_EXPIRED, not_expired},
    {ACCEPT, PC_CHECK_FUTURE, not_future},
    {ACCEPT, PC_CHECK_DWELL, dwell_wanted},
    {ACCEPT, PC_CHECK_LOG, logged},
    {ACCEPT, PC_CHECK_CONSISTENCY, consistent},
    {ACCEPT, PC_CHECK_SEQUENCE, sequence},
    {ACCEPT, PC_CHECK_SEQUENCE_GAP, sequence_near},
    {ACCEPT, PC_CHECK_HALTED, not_halted},

    {START, PC_CHECK_HALTED, not_halted},
    {START, PC_CHECK_EXPIRED, not_expired},
    {START, PC_CHECK_QUORUM, still_quorum},
    {START, PC_CHECK_FUTURE, not_future},
    {START, PC_CHECK_WINDOW, in_hours},
    {START, PC_CHECK_DWELL, dwell_over},
    {START, PC_CHECK_STALE, fresh},
    {START, PC_CHECK_RING, ring_open},
};

static enum pc_check run(enum stage stage, struct facts *f)
{
    pc_why_clear(f->why);
    for (size_t i = 0; i < PC_ARRAY_SIZE(table); i++) {
        int r = table[i].stage == stage ? table[i].rule(f) : 0;
        if (r < 0)
            return r == -ENOMEM ? PC_CHECK_MEMORY : table[i].check;
    }
    return PC_CHECK_OK;
}

enum pc_check pc_bundle_check(const struct pc_bundle *b, const struct pc_trust *t, const struct pc_revoked *r,
                              const struct pc_memory *m, int64_t now, struct pc_checkpoint *checkpoint,
                              struct pc_approvers *approvers, char *why, size_t why_len)
{
    struct facts f = {
        .o = &b->order, .e = &b->envelope, .b = b, .t = t, .r = r, .m = m, .now = now, .why = {why, why_len}};
    enum pc_check c = run(ACCEPT, &f);
    if (c == PC_CHECK_OK) {
        *checkpoint = f.checkpoint;
        *approvers = f.who;
    }
    return c;
}

enum pc_check pc_order_may_submit(const struct pc_order *o, const struct pc_envelope *e, const struct pc_trust *t,
                                  const struct pc_revoked *r, int64_t now, struct pc_approvers *approvers, char *why,
                                  size_t why_len)
{
    struct facts f = {.o = o, .e = e, .t = t, .r = r, .now = now, .why = {why, why_len}};
    enum pc_check c = run(SUBMIT, &f);
    if (c == PC_CHECK_OK)
        *approvers = f.who;
    return c;
}

enum pc_check pc_order_may_start(const struct pc_order *o, const struct pc_envelope *e, const struct pc_trust *t,
                                 const struct pc_revoked *r, const struct pc_memory *m,
                                 const struct pc_start_facts *start, char *why, size_t why_len)
{
    struct facts f = {.o = o, .e = e, .t = t, .r = r, .m = m, .now = start->now, .start = start, .why = {why, why_len}};
    return run(START, &f);
}
