/*
 * Owns the files that are opened for reading again and again (on-open): each such open is a question, since fanotify
 * cannot tell readers from writers. The answering thread, which lets the reader go, leaves the file's handle here; when
 * nothing has to be copied before a write (it has its copy, or is new), the main thread sees to it that the kernel asks
 * no more. Must not keep anybody waiting, nor a descriptor of the reader's: that would keep its mount busy, and closing
 * the last one of a deleted file takes long.
 *
 * A file with a link of ours stays a question even if it is copied: compressors refuse files with several names, and
 * their open is where the link is taken away (gate_copy.c).
 */
#include "agent/gate_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <fcntl.h>
#include <unistd.h>

/* A file that was left here is not left again so soon: it may be one that stays a question. */
#define AGAIN_S 60

void pc_gate_was_opened(struct pc_gate *q, const struct stat *st, uint64_t now)
{
    uint64_t hash = pc_gate_hash(st);
    atomic_store_explicit(&q->opened[hash % OPENED_SLOTS], hash >> 32 << 32 | (uint32_t)(now / PC_NS_PER_S),
                          memory_order_relaxed);
}

bool pc_gate_opened_lately(const struct pc_guard *g, const struct stat *st, uint64_t now_ns, uint32_t seconds)
{
    uint64_t hash = pc_gate_hash(st);
    uint64_t slot = atomic_load_explicit(&g->gate->opened[hash % OPENED_SLOTS], memory_order_relaxed);
    return slot >> 32 == hash >> 32 && (uint32_t)(now_ns / PC_NS_PER_S) - (uint32_t)slot <= seconds;
}

/*
 * Answering thread. Whether this file was left here lately; notes that it is now. Two that meet in a slot take turns.
 */
static bool left_lately(struct pc_gate *q, const struct stat *st, uint64_t now)
{
    uint64_t hash = pc_gate_hash(st);
    struct read_lately *l = &q->lately[hash % READ_SLOTS];
    uint32_t second = (uint32_t)(now / PC_NS_PER_S), tag = (uint32_t)(hash >> 32);
    if (l->tag == tag && second - l->second < AGAIN_S)
        return true;
    *l = (struct read_lately){tag, second};
    return false;
}

void pc_gate_was_read(struct pc_gate *q, int fd, const struct stat *st, uint64_t now)
{
    uint32_t tail = atomic_load(&q->read_tail), waiting = tail - atomic_load(&q->read_head);
    if (st->st_nlink != 1 || waiting >= READ_RING || left_lately(q, st, now))
        return;
    struct told_file *f = &q->read[tail % READ_RING]; /* free: the main thread is done with it when it moves the head */
    if (pc_fh_of_fd(fd, &f->fh) < 0)
        return;
    f->st_dev = st->st_dev;
    atomic_store(&q->read_tail, tail + 1);
    if (waiting + 1 == READ_RING / 2) /* fewer wait for the next turn, TICK_MS away at most */
        pc_gate_wake(q->main_event);
}

static void see_to(struct pc_guard *g, const struct told_file *f)
{
    struct stat st;
    struct pc_known known;
    const struct pc_volume *v = pc_volume_by_dev(g, f->st_dev);
    if (!v || v->mode != PC_MODE_ON_OPEN)
        return;
    int r = pc_store_lookup(g->store, v->id, &f->fh, &known);
    if (r != PC_E_NOTFOUND && (r < 0 || pc_how_is_live(known.how)))
        return;
    _close_ int fd = pc_fh_open(v->tree_fd, &f->fh, O_RDONLY | O_NONBLOCK | O_NOATIME); /* no mount of anybody else's */
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 1)
        pc_gate_ask_no_more(g->gate, fd, &st, false);
}

void pc_gate_see_to_read(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    uint32_t head = atomic_load(&q->read_head), tail = atomic_load(&q->read_tail);
    for (; head != tail; head++) {
        struct told_file f = q->read[head % READ_RING];
        atomic_store(&q->read_head, head + 1);
        see_to(g, &f);
    }
}
