/*
 * Owns the files that are written without being closed: the kernel is told to be silent about them, and they are looked
 * at by timer instead. Must not judge: it hands each to acts.c as if it had just changed. acts.c tells it of every such
 * write, guard.c when to look.
 */
#include "agent/acts_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <fcntl.h>

/* A file whose writes come closer than this is muted and looked at by timer. */
#define BUSY_NS (50 * PC_NS_PER_MS)
#define LOOK_NS (500 * PC_NS_PER_MS)

void pc_acts_mute(struct pc_guard *g, const struct deed *d)
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
        pc_acts_changed(g, &d, false);
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
