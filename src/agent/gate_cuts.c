/*
 * Owns truncate(2) by name (on-open): it opens nothing, but since Linux 6.14 the kernel asks before it cuts a file that
 * is marked (kern/fan.h: pc_fan_ask_file), as it asks before each read and write through a descriptor that was opened
 * since. Here the answering thread tells them apart; who may cut is held like one who opens to overwrite, everybody
 * else goes on. What is read and written all the time would pay for each time: it is left alone for a while.
 * gate_answer.c hands it accesses, the main thread's tick marks the files again. Must not hold anybody who reads or
 * writes.
 */
#include "agent/gate_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/*
 * Of one file in a second. An access takes some 13 us more: with both figures that is 0.07 % of the time of who reads
 * without end. Small enough, and large enough that 2 MiB are read in pieces of 8 KiB before.
 */
#define ACCESSES_MAX 256
#define REST_NS (5 * PC_NS_PER_S)

/* Files that meet in a slot begin anew each time: both are asked about for longer. */
static struct paced *pace_of(struct pc_gate *q, const struct stat *st, uint64_t now)
{
    uint64_t hash = pc_gate_hash(st);
    uint32_t tag = (uint32_t)(hash >> 32), second = (uint32_t)(now / PC_NS_PER_S);
    struct paced *p = &q->pace[hash % PACE_SLOTS];
    if (p->tag != tag || p->second != second)
        *p = (struct paced){.tag = tag, .second = second};
    return p;
}

/* While there is evidence, and when too many rest already, nothing is left alone: it costs, but loses nothing. */
static void count_access(struct pc_gate *q, int fd, const struct stat *st, uint64_t now)
{
    struct paced *p = pace_of(q, st, now);
    if (++p->accesses < ACCESSES_MAX || atomic_load(&q->alert))
        return;
    uint32_t tail = atomic_load(&q->rest_tail);
    struct resting *r = &q->resting[tail % RESTING_MAX]; /* free: who moves the head is done with it */
    if (tail - atomic_load(&q->rest_head) == RESTING_MAX || pc_fh_of_fd(fd, &r->file.fh) < 0)
        return;
    r->file.st_dev = st->st_dev;
    r->until_ns = now + REST_NS;
    if (pc_fan_ask_opens_only(q->ask_group, fd) == 0)
        atomic_store(&q->rest_tail, tail + 1);
}

bool pc_gate_may_cut(struct pc_gate *q, const struct pc_fan_open *o, uint64_t now)
{
    struct stat st;
    if (fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return false;
    if (o->what == PC_FAN_MAY_CUT && !pc_gate_is_spared(q, &st)) {
        /* 0: it is outside our pid namespace, and cannot be looked at */
        int r = o->tid ? pc_proc_may_cut(&q->asker[(uint32_t)o->tid % q->askers], o->tid) : 1;
        if (r != 0)
            return r != -ENOENT && r != -ESRCH;
    }
    count_access(q, o->fd, &st, now);
    return false;
}

/* Not known: then it is asked about by its opens alone, as before Linux 6.14. */
static bool is_program(int fd)
{
    struct stat st;
    char magic[4];
    if (fstat(fd, &st) < 0)
        return true;
    return (st.st_mode & 0111) && (pread(fd, magic, sizeof magic, 0) < (ssize_t)sizeof magic ||
                                   memcmp(magic, "\177ELF", sizeof magic) == 0);
}

bool pc_gate_asks_cuts(const struct pc_volume *v, int fd)
{
    return v->asks_cuts && !is_program(fd);
}

/* Only of a file that still rests on a link, and only where its kind is marked at all. */
static void ask_again(struct pc_guard *g, const struct told_file *f)
{
    struct pc_gate *q = g->gate;
    struct pc_known known;
    const struct pc_volume *v = pc_volume_by_dev(g, f->st_dev);
    if (!v || !v->asks_cuts || (v->asks_all && !v->marking) ||
        pc_store_lookup(g->store, v->id, &f->fh, &known) < 0 || !pc_how_is_live(known.how))
        return;
    _close_ int fd = pc_fh_open(v->tree_fd, &f->fh, O_RDONLY | O_NONBLOCK | O_NOATIME); /* no mount of anybody else's */
    if (fd < 0)
        return; /* it is gone */
    bool cuts = pc_gate_asks_cuts(v, fd);
    pthread_mutex_lock(&q->lock);
    (void)pc_fan_ask_file(q->ask_group, fd, cuts); /* of its opens nothing changes */
    pthread_mutex_unlock(&q->lock);
}

void pc_gate_end_rests(struct pc_guard *g, uint64_t now_ns)
{
    struct pc_gate *q = g->gate;
    uint32_t head = atomic_load(&q->rest_head), tail = atomic_load(&q->rest_tail);
    for (; head != tail && q->resting[head % RESTING_MAX].until_ns <= now_ns; head++) {
        struct told_file f = q->resting[head % RESTING_MAX].file;
        atomic_store(&q->rest_head, head + 1);
        ask_again(g, &f);
    }
}
