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
#include <sys/uio.h>
#include <unistd.h>

/*
 * An access takes some 13 us more. In a second as many are asked about of one file, and of all together: 1.3 % of one
 * processor, and what is beyond leaves its file alone at once. While there is evidence more is worth it.
 */
#define ACCESSES_MAX 256
#define ACCESSES_ALL_MAX 1000
#define ACCESSES_EVIDENCE_MAX 10000
#define REST_NS (5 * PC_NS_PER_S)
/* Of a tick, to have files asked about again; each takes some 10 us. */
#define AGAIN_NS (2 * PC_NS_PER_MS)
#define AGAIN_EVIDENCE_NS (10 * PC_NS_PER_MS)

/* Files that meet in a slot begin anew each time: both are asked about for longer. */
static uint32_t count_of(struct pc_gate *q, const struct stat *st, uint32_t second)
{
    uint64_t hash = pc_gate_hash(st);
    uint32_t tag = (uint32_t)(hash >> 32);
    struct paced *p = &q->pace[hash % PACE_SLOTS];
    if (p->tag != tag || p->second != second)
        *p = (struct paced){.tag = tag, .second = second};
    return ++p->accesses;
}

/* Whether this access is one too many. */
static bool is_too_much(struct pc_gate *q, const struct stat *st, uint64_t now)
{
    uint32_t second = (uint32_t)(now / PC_NS_PER_S);
    if (q->pace_all.second != second)
        q->pace_all = (struct paced){.second = second};
    uint32_t all = ++q->pace_all.accesses, one = count_of(q, st, second);
    return atomic_load(&q->evidence) ? all > ACCESSES_EVIDENCE_MAX : one > ACCESSES_MAX || all > ACCESSES_ALL_MAX;
}

/* Its file is left alone for a while. When too many rest already it is not: that costs, but loses nothing. */
static void rest(struct pc_gate *q, int fd, const struct stat *st, uint64_t now)
{
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
    if (is_too_much(q, &st, now))
        rest(q, o->fd, &st, now);
    return false;
}

/*
 * Told by its content, not by its rights: it may be made executable and started in one go. What is not in memory is not
 * waited for: then its rights tell.
 */
static bool is_program(int fd)
{
    struct stat st;
    char magic[4];
    struct iovec part = {magic, sizeof magic};
    if (fstat(fd, &st) < 0)
        return true;
    ssize_t n = preadv2(fd, &part, 1, 0, RWF_NOWAIT);
    return n < 0 ? st.st_mode & 0111 : n == sizeof magic && memcmp(magic, "\177ELF", sizeof magic) == 0;
}

bool pc_gate_asks_cuts(const struct pc_volume *v, int fd)
{
    return v->no_cuts == 0 && !is_program(fd);
}

/*
 * Only of a file that still rests on a link, and only where its kind is marked at all. Opens nothing that somebody's
 * lease could refuse. False when it has to be tried again: there is no memory, or no descriptor.
 */
static bool ask_again(struct pc_guard *g, const struct told_file *f)
{
    struct pc_known known;
    const struct pc_volume *v = pc_volume_by_dev(g, f->st_dev);
    if (!v || v->mode != PC_MODE_ON_OPEN || v->no_cuts || (v->asks_all && !v->marking))
        return true;
    int r = pc_store_lookup(g->store, v->id, &f->fh, &known);
    if (r == PC_E_NOTFOUND || (r == 0 && !pc_how_is_live(known.how)))
        return true;
    _close_ int fd = pc_fh_open(v->tree_fd, &f->fh, O_PATH);
    if (fd < 0)
        return fd == -ESTALE || fd == -ENOENT;
    pthread_mutex_lock(&g->gate->lock);
    r = pc_fan_ask_cuts_again(g->gate->ask_group, fd);
    pthread_mutex_unlock(&g->gate->lock);
    return r == 0;
}

void pc_gate_end_rests(struct pc_guard *g, uint64_t now_ns)
{
    struct pc_gate *q = g->gate;
    bool evidence = atomic_load(&q->evidence);
    uint64_t end = now_ns + (evidence ? AGAIN_EVIDENCE_NS : AGAIN_NS);
    uint32_t head = atomic_load(&q->rest_head), tail = atomic_load(&q->rest_tail);
    for (; head != tail && pc_mono_ns() < end; head++) {
        const struct resting *r = &q->resting[head % RESTING_MAX];
        if (!evidence && r->until_ns > now_ns)
            return;
        struct told_file f = r->file;
        if (!ask_again(g, &f))
            return;
        atomic_store(&q->rest_head, head + 1);
    }
}
