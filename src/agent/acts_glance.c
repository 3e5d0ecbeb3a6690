/*
 * Owns the first glance at a batch of events, and which files need none. Must not convict nor record: all it may do is
 * bring a gate down for a moment. guard.c hands it events as they were read, before anything slow; acts_judge.c what
 * was harmless.
 */
#include "agent/acts_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <string.h>

/* Files glanced at of one read of events: bounds what a calm system pays (about 10 us each). */
#define GLANCES 2
#define CLEARED_NS (10 * PC_NS_PER_S)

void pc_acts_clear(struct pc_guard *g, const struct pc_fh *fh, const struct pc_outcome *o)
{
    uint64_t file = pc_fh_hash(fh);
    struct cleared *c = &g->acts->cleared[file % CLEARED_SLOTS];
    if (o->finding.score == 0)
        *c = (struct cleared){file, pc_mono_ns(), o->facts.have & (PC_HAVE_FINDING | PC_HAVE_AFTER)};
    else if (c->file == file)
        *c = (struct cleared){0};
}

/* New, and by a program that is proven: nothing is lost with it. */
static bool is_plain(struct pc_guard *g, const struct pc_volume *v, const struct pc_fan_event *e)
{
    return pc_capture_is_new(g, v->id, &e->target) && pc_acts_is_proven(g, e->pid);
}

static bool is_cleared(const struct pc_guard *g, const struct pc_fh *fh, uint64_t within_ns, bool read)
{
    uint64_t file = pc_fh_hash(fh);
    const struct cleared *c = &g->acts->cleared[file % CLEARED_SLOTS];
    return c->file == file && pc_mono_ns() - c->judged_ns < within_ns && (c->read || !read);
}

bool pc_acts_was_read(const struct pc_guard *g, const struct pc_fh *fh, uint64_t within_ns)
{
    return is_cleared(g, fh, within_ns, true);
}

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
 * Knowing who did it, and reading the pre-image (perhaps from a disk), takes long enough for an attacker to destroy
 * dozens of files. So first a glance at what is there now: when that looks like ciphertext the gate comes down at once,
 * and goes up again soon if the judge then finds nothing.
 */
static bool glance(struct pc_guard *g, struct pc_volume *v, const struct pc_fan_event *e)
{
    _close_ int fd = pc_fh_open_file(v->tree_fd, &e->target);
    struct pc_content *c = &g->acts->content_after;
    *c = (struct pc_content){.size = GLANCE_BYTES, .count = 1, .win = {{.len = GLANCE_BYTES}}};
    pc_acts_read_windows(fd, c, g->acts->after);
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
        if (v && !v->gate_down && g->settings.gate && !is_cleared(g, &e.target, CLEARED_NS, false) &&
            !is_plain(g, v, &e) && pc_dirs_find(g->dirs, v->id, &e.dir))
            looked += glance(g, v, &e);
    }
}
