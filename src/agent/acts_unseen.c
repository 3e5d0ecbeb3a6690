/*
 * Owns what is said of files that changed while nobody watched (the guard was down, or events were lost). Must not name
 * an actor: there is none. scan.c hands it what a walk found changed; it goes on record by acts_judge.c, and people are
 * told.
 */
#include "agent/acts_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"

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
void pc_acts_found_changed(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh,
                           const struct pc_known *known)
{
    struct deed d = {.v = v,
                     .fh = *fh,
                     .dir = pc_dirs_find(g->dirs, v->id, &known->parent),
                     .name = known->name,
                     .known = known,
                     .before = known->version,
                     .op = PC_OP_MODIFY};
    struct stat st;
    enum pc_change change = pc_acts_change_of(g, &d);
    if (change == PC_CHANGE_SEEN)
        return;
    if (!d.dir || pc_acts_stat_live(v, fh, &st) < 0)
        return;
    struct was now = {(uint64_t)st.st_size, pc_file_ns(st.st_mtim), false};
    bool same = now.size == known->size && now.mtime_ns == known->mtime_ns;
    if (!pc_acts_has_content(known, d.op)) {
        /* Size and time may have been put back: what nobody saw is not trusted, and what is there now is preserved. */
        if (change == PC_CHANGE_UNSEEN && pc_how_is_live(known->how) && pc_file_ns(st.st_ctim) != known->ctime_ns)
            (void)pc_store_overwritten(g->store, v->id, fh);
        g->n.changed_unkept += !same && known->size > 0;
        return;
    }
    d.size_after = (uint64_t)st.st_size;
    struct pc_act act = {.size_before = known->size, .size_after = d.size_after};
    struct pc_facts facts;
    pc_acts_fetch(g, &d, PC_NEED_BOTH, &act, &facts);
    pc_gate_unhold(g); /* nobody was seen doing it: there is nobody to hold */
    struct pc_outcome o = {0};
    pc_content_compare(act.before, act.after, &o.finding);
    if (same && o.finding.score == 0)
        return; /* another name of it, or other metadata: nothing was done to what it holds */
    if (!same && put_back(g, &d, &now))
        return;
    if (change == PC_CHANGE_UNSEEN)
        pc_acts_record(g, &d, &o);
    if (o.finding.score < 50)
        return;
    g->n.damaged_unseen++;
    char path[PATH_MAX];
    pc_dirs_path(g->dirs, d.dir, d.name, path, sizeof path);
    pc_event(g->log, PC_LEVEL_ERROR, "damaged-unseen", &(struct pc_event_about){.category = "file", .file_path = path},
             "%s was destroyed while nobody watched (the guard was down, or events were lost); portcullis history and "
             "restore "
             "bring it back",
             path);
}
