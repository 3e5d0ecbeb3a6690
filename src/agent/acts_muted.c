/*
 * Owns the files that are written without being closed: the kernel is told to be silent about them, and they are looked
 * at by timer instead. Must not judge: it hands each to acts.c as if it had just changed. acts.c tells it of every such
 * write, guard.c when to look.
 */
#include "agent/acts_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>

/* A file whose writes come closer than this is muted and looked at by timer. */
#define BUSY_NS (50 * PC_NS_PER_MS)
#define LOOK_NS (500 * PC_NS_PER_MS)
#define LOOKS 4

static struct muted *muted_of(struct pc_acts *a, int vol, const struct pc_fh *fh)
{
    for (uint32_t i = 0; i < a->muted_count; i++)
        if (a->muted[i].vol == vol && pc_fh_equal(&a->muted[i].fh, fh))
            return &a->muted[i];
    return NULL;
}

bool pc_acts_mute(struct pc_guard *g, const struct deed *d)
{
    struct pc_acts *a = g->acts;
    struct seen *s = &a->seen[(pc_fh_hash(&d->fh) * 31) % SEEN_SLOTS];
    uint64_t now = pc_mono_ns(), file = pc_fh_hash(&d->fh);
    bool busy = s->file == file && s->op == UINT8_MAX && now - s->mono_ns < BUSY_NS;
    bool later = pc_acts_may_look_again_later(g, d);
    if (!busy && !later) {
        *s = (struct seen){.file = file, .op = UINT8_MAX, .mono_ns = now};
        return false;
    }
    if (muted_of(a, d->v->id, &d->fh)) /* this event was there before the mark */
        return later;
    if (a->muted_count == MUTED_MAX)
        return false; /* every write is looked at: slower, not less */
    _close_ int fd = pc_fh_open_file(d->v->tree_fd, &d->fh);
    if (fd < 0 || pc_fan_mute(g->watch_fd, fd) < 0)
        return false;
    a->muted[a->muted_count++] = (struct muted){.fh = d->fh,
                                                .vol = d->v->id,
                                                .pid = d->pid,
                                                .actor = pc_judge_actor_of(g->judge, d->pid),
                                                .since_ns = now};
    return later;
}

bool pc_acts_is_muted(const struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    return muted_of(g->acts, vol, fh) != NULL;
}

void pc_acts_muted_judged(struct pc_guard *g, int vol, const struct pc_fh *fh, int64_t ctime_ns)
{
    struct muted *m = muted_of(g->acts, vol, fh);
    if (m)
        m->changed_ns = ctime_ns;
}

/* Written since it was last judged. */
static bool goes_on(struct muted *m, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return true;
    int64_t changed = pc_file_ns(st.st_ctim), age = (int64_t)pc_real_ns() - changed;
    bool written = changed != m->changed_ns;
    /* Where clocks are coarse, what is written a moment later has the same ctime: then the next look is to be one. */
    m->changed_ns = written && age >= 0 && age < (int64_t)PC_COARSE_CLOCK_NS ? 0 : changed;
    return written;
}

static void look_again(struct pc_guard *g, const struct muted *m)
{
    struct pc_volume *v = pc_volume_by_id(g, m->vol);
    struct pc_known known;
    if (!v || pc_store_lookup(g->store, m->vol, &m->fh, &known) < 0)
        return;
    struct deed d = {.v = v,
                     .pid = m->pid,
                     .actor = m->actor,
                     .fh = m->fh,
                     .dir = pc_dirs_find(g->dirs, m->vol, &known.parent),
                     .name = known.name,
                     .known = &known,
                     .before = known.version,
                     .looked_at_now = true};
    if (d.dir)
        pc_acts_changed(g, &d, false);
}

static void look_at(struct pc_guard *g, struct muted *m, int fd, uint64_t now_ns)
{
    struct pc_acts *a = g->acts;
    bool written = goes_on(m, fd);
    /* Muted for a few looks. Then the next write is an event again, which tells whose it is by now. */
    bool stays = written && ++m->looks < LOOKS && m->actor && pc_judge_alive(g->judge, m->actor);
    if (!stays) {
        (void)pc_fan_unmute(g->watch_fd, fd);
        written |= goes_on(m, fd); /* of what was written before the mark went, nobody was told */
    }
    if (written)
        look_again(g, m);
    else
        pc_capture_written(g, m->vol, &m->fh);
    m->since_ns = now_ns;
    if (stays && a->muted_count < MUTED_MAX)
        a->muted[a->muted_count++] = *m;
    else if (stays)
        (void)pc_fan_unmute(g->watch_fd, fd);
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
        const struct pc_volume *v = pc_volume_by_id(g, m.vol);
        _close_ int fd = v ? pc_fh_open_file(v->tree_fd, &m.fh) : -ENODEV;
        if (fd >= 0) {
            look_at(g, &m, fd, now_ns);
        } else if (v && fd != -ESTALE && fd != -ENOENT) { /* not gone: the mark is still there */
            m.since_ns = now_ns;
            a->muted[a->muted_count++] = m;
        }
    }
}
