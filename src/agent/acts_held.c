/*
 * Owns whose doing it is when the kernel finishes what a process had under way: a kernel thread completes the writes
 * that io_uring still had in flight, and closes the files, of a process that is gone or being killed. Must not judge:
 * acts.c asks it about every content event, and is handed what stopped processes changed without any event yet. stop.c
 * tells it to look before it ends them, answers.c before a rollback.
 */
#include "agent/acts_impl.h"

#include "base/clock.h"
#include "kern/procfs.h"

/* Whose children all kernel threads are; in a container it is an ordinary process, and they are nobody (pid 0). */
#define KTHREADD 2

/* Not the kernel's own work alone: a file server in the kernel acts for its clients, which nobody here sees. */
static bool by_kernel(struct pc_guard *g, pid_t pid)
{
    struct pc_procinfo p;
    pc_actor maker = pc_judge_parent(g->judge, pc_judge_actor_of(g->judge, pid));
    return pid == 0 ||
           (pc_judge_pid(g->judge, maker) == KTHREADD && pc_proc_brief(pid, &p) == 0 && p.kernel_thread);
}

static struct held_file *holder_of(struct pc_acts *a, int vol, const struct pc_fh *fh)
{
    for (uint32_t i = 0; i < HELD_FILES; i++)
        if (a->held[i].actor && a->held[i].vol == vol && pc_fh_equal(&a->held[i].fh, fh))
            return &a->held[i];
    return NULL;
}

void pc_acts_whose(struct pc_guard *g, struct deed *d, uint32_t bits)
{
    if (!by_kernel(g, d->pid))
        return;
    bool only_closes = !(bits & PC_FAN_MODIFY);
    struct held_file *h = holder_of(g->acts, d->v->id, &d->fh);
    d->late = only_closes || h;
    if (h && pc_judge_actor_of(g->judge, h->pid) == h->actor)
        d->pid = h->pid;
    else if (only_closes)
        d->pid = 0; /* closing changes nothing: whoever did is not known here */
    if (h && bits & PC_FAN_CLOSE_WRITE)
        *h = (struct held_file){0};
}

/* ---- looking at what stopped processes hold ---- */

struct holder {
    struct pc_guard *g;
    pid_t pid;
    pc_actor actor;
};

static void note(struct pc_acts *a, const struct holder *h, int vol, const struct pc_fh *fh)
{
    struct held_file *f = holder_of(a, vol, fh);
    if (!f)
        f = &a->held[a->held_next++ % HELD_FILES];
    *f = (struct held_file){vol, *fh, h->pid, h->actor};
}

/*
 * Changed since it was preserved, and nobody was seen doing it: who holds it did, through a mapping or a write in
 * flight.
 */
static void look_at(void *arg, int fd)
{
    struct holder *h = arg;
    struct pc_guard *g = h->g;
    struct stat st;
    struct pc_known known;
    struct deed d = {.pid = h->pid, .known = &known};
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || pc_fh_of_fd(fd, &d.fh) < 0)
        return;
    d.v = pc_volume_by_dev(g, st.st_dev);
    if (!d.v || pc_store_lookup(g->store, d.v->id, &d.fh, &known) < 0 || known.gone)
        return;
    note(g->acts, h, d.v->id, &d.fh);
    d.dir = pc_dirs_find(g->dirs, d.v->id, &known.parent);
    d.name = known.name;
    d.before = known.version;
    int64_t mtime_ns = pc_file_ns(st.st_mtim);
    bool same = (uint64_t)st.st_size == known.size && mtime_ns == known.mtime_ns;
    if (d.dir && !same && pc_acts_change_of(g, &d) == PC_CHANGE_UNSEEN)
        pc_acts_changed(g, &d, false);
}

void pc_acts_look_at_held(struct pc_guard *g, pid_t pid)
{
    struct holder h = {g, pid, pc_judge_actor_of(g->judge, pid)};
    if (h.actor)
        pc_proc_each_held(pid, look_at, &h);
}
