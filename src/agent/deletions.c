/*
 * Owns telling people of mass deletions: when the judge names a program that deleted many files, an incident in state
 * "observed" is opened that holds exactly those deletions, so that one command brings them back. Nothing is stopped: it
 * may be an owner who cleans up, or an attacker whose ciphertext went where nobody sees it. Other acts of the same
 * program (an editor in the same shell) are none of its business.
 */
#include "agent/guard.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>

/* Deletions on record that an incident still to be opened may claim; the judge counts no more either (core/bulk.h). */
#define LATELY 1024
#define CASES 16
/* So long after its last deletion a program's case is closed; what it deletes later is another. */
#define QUIET_NS (60 * PC_NS_PER_S)
/* The counts in the index are brought up to date this often while a case grows. */
#define COUNT_NS PC_NS_PER_S

struct lately {
    uint64_t act, real_ns, mono_ns;
    pc_actor actor;
    bool is_dir;
};

struct bulk_case {
    struct pc_incident inc; /* id 0: free */
    pc_actor root;
    uint64_t last_ns, counted_ns; /* mono */
};

struct pc_deletions {
    struct lately ring[LATELY];
    uint32_t next;
    struct bulk_case cases[CASES];
};

int pc_deletions_new(struct pc_deletions **out)
{
    struct pc_deletions *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    *out = d;
    return 0;
}

void pc_deletions_free(struct pc_deletions *d)
{
    free(d);
}

static struct bulk_case *case_of(struct pc_guard *g, pc_actor actor)
{
    for (struct bulk_case *c = g->deletions->cases; actor && c < g->deletions->cases + CASES; c++)
        if (c->inc.id && pc_judge_is_beneath(g->judge, actor, c->root))
            return c;
    return NULL;
}

/* One program of those that are now told as one: its case grows to the whole. */
static struct bulk_case *part_of(struct pc_guard *g, pc_actor root)
{
    for (struct bulk_case *c = g->deletions->cases; c < g->deletions->cases + CASES; c++)
        if (c->inc.id && pc_judge_is_beneath(g->judge, c->root, root))
            return c;
    return NULL;
}

static void write_counts(struct pc_guard *g, struct bulk_case *c, uint64_t now_ns)
{
    c->counted_ns = now_ns;
    if (pc_store_incident_update(g->store, &c->inc) < 0)
        pc_event(g->log, PC_LEVEL_ERROR, "index", NULL, "incident %" PRIu64 " could not be written", c->inc.id);
}

static void close_case(struct pc_guard *g, struct bulk_case *c)
{
    struct pc_incident now;
    /* Rolled back meanwhile: its state is not ours any more. */
    if (pc_store_incident_get(g->store, c->inc.id, &now) == 0 && now.state == PC_INC_OBSERVED) {
        c->inc.closed_ns = pc_real_ns();
        write_counts(g, c, pc_mono_ns());
    }
    *c = (struct bulk_case){0};
}

static struct bulk_case *free_case(struct pc_guard *g)
{
    struct bulk_case *oldest = g->deletions->cases;
    for (struct bulk_case *c = oldest; c < g->deletions->cases + CASES; c++) {
        if (!c->inc.id)
            return c;
        if (c->last_ns < oldest->last_ns)
            oldest = c;
    }
    close_case(g, oldest);
    return oldest;
}

static void take(struct pc_guard *g, struct bulk_case *c, const struct lately *l)
{
    if (pc_store_incident_take_act(g->store, c->inc.id, l->act) < 0)
        return; /* the store says so in status; restore --deleted finds the file all the same */
    if (!l->is_dir) {
        c->inc.damaged++;
        c->inc.preserved++;
    }
    if (l->real_ns < c->inc.started_ns)
        c->inc.started_ns = l->real_ns;
}

/* What the program deleted before it was told of. */
static void take_lately(struct pc_guard *g, struct bulk_case *c)
{
    uint64_t now = pc_mono_ns();
    for (uint32_t k = LATELY; k > 0; k--) {
        struct lately *l = &g->deletions->ring[(g->deletions->next + LATELY - k) % LATELY];
        if (!l->act || now - l->mono_ns > QUIET_NS || !pc_judge_is_beneath(g->judge, l->actor, c->root))
            continue;
        take(g, c, l);
        l->act = 0;
    }
}

/* Most `rm` have ended by now: by what is on record of it. */
static void describe(struct pc_guard *g, struct bulk_case *c)
{
    struct pc_process p = {0};
    if (pc_store_get_process(g->store, c->inc.root, &p) < 0 || (!p.argv[0] && !p.exe[0]))
        snprintf(c->inc.summary, sizeof c->inc.summary, "process %d (gone)", pc_judge_pid(g->judge, c->root));
    else
        snprintf(c->inc.summary, sizeof c->inc.summary, "%.200s", p.argv[0] ? p.argv : p.exe);
    for (char *s = c->inc.summary; *s; s++)
        if (*s == '\n')
            *s = ' ';
}

static void open_case(struct pc_guard *g, pc_actor root, const char *path)
{
    struct bulk_case *c = free_case(g);
    uint64_t now = pc_real_ns();
    *c = (struct bulk_case){.root = root, .last_ns = pc_mono_ns()};
    c->inc = (struct pc_incident){.started_ns = now, .verdict_ns = now, .state = PC_INC_OBSERVED,
                                  .root = pc_acts_process(g, root)};
    describe(g, c);
    if (pc_store_incident_open(g->store, &c->inc) < 0) {
        pc_event(g->log, PC_LEVEL_ERROR, "index", NULL, "an incident could not be written to the index");
        *c = (struct bulk_case){0};
        return;
    }
    take_lately(g, c);
    (void)pc_store_incident_note(g->store, c->inc.id, now, "observed: many files deleted; nothing was stopped");
    write_counts(g, c, c->last_ns);
    pc_event(g->log, PC_LEVEL_WARNING, "mass-delete",
             &(struct pc_event_about){.category = "file",
                                      .pid = pc_judge_pid(g->judge, root),
                                      .command_line = c->inc.summary,
                                      .file_path = path,
                                      .incident = c->inc.id},
             "incident %" PRIu64 ": %s deleted %u files within a minute; it was not stopped. If nobody meant it: "
             "portcullis rollback %" PRIu64 " brings them back",
             c->inc.id, c->inc.summary, c->inc.damaged, c->inc.id);
}

void pc_deletions_recorded(struct pc_guard *g, pc_actor actor, uint64_t act, bool is_dir)
{
    struct lately l = {act, pc_real_ns(), pc_mono_ns(), actor, is_dir};
    struct bulk_case *c = case_of(g, actor);
    if (!c) {
        g->deletions->ring[g->deletions->next] = l;
        g->deletions->next = (g->deletions->next + 1) % LATELY;
        return;
    }
    take(g, c, &l);
    c->last_ns = l.mono_ns;
    if (l.mono_ns - c->counted_ns > COUNT_NS)
        write_counts(g, c, l.mono_ns);
}

void pc_deletions_many(struct pc_guard *g, pc_actor root, const char *path)
{
    struct bulk_case *part = part_of(g, root);
    if (case_of(g, root))
        return;
    if (!part) {
        open_case(g, root, path);
        return;
    }
    part->root = root;
    part->inc.root = pc_acts_process(g, root);
    take_lately(g, part);
    write_counts(g, part, pc_mono_ns());
}

void pc_deletions_tick(struct pc_guard *g, uint64_t now_ns)
{
    for (struct bulk_case *c = g->deletions->cases; c < g->deletions->cases + CASES; c++) {
        if (c->inc.id && now_ns - c->last_ns > QUIET_NS)
            close_case(g, c);
        else if (c->inc.id && c->last_ns > c->counted_ns && now_ns - c->counted_ns > COUNT_NS)
            write_counts(g, c, now_ns);
    }
}

void pc_deletions_convicted(struct pc_guard *g, const struct pc_outcome *o)
{
    for (struct bulk_case *c = g->deletions->cases; c < g->deletions->cases + CASES; c++)
        for (uint32_t i = 0; c->inc.id && i < o->root_count; i++) {
            if (!pc_judge_is_beneath(g->judge, c->root, o->roots[i]))
                continue;
            c->inc.damaged = c->inc.preserved = 0; /* its deletions are the other incident's now */
            (void)pc_store_incident_note(g->store, c->inc.id, pc_real_ns(), "convicted: see the next incident");
            close_case(g, c);
        }
}

void pc_deletions_settle(struct pc_guard *g, uint64_t incident)
{
    for (struct bulk_case *c = g->deletions->cases; c < g->deletions->cases + CASES; c++)
        if (c->inc.id == incident)
            close_case(g, c);
}
