/*
 * Owns writing files out before they are cloned. FICLONE waits until every dirty page of a file is on the disk, and
 * nothing interrupts it: in the main thread that keeps all judging waiting, 0.3 s for 100 MiB on a fast disk, minutes
 * for what a dump leaves in memory on a slow one, for ever on one that hangs. So a file that has much to be written
 * is written out by this thread, while the main thread goes on; it clones the file when that is done. Must not clone,
 * and knows neither index nor queue: capture.c asks again.
 */
#include "agent/guard.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* So much takes a few milliseconds even on a slow disk: not worth another thread. */
#define MUCH (1u << 20)
/* A clone that took longer waited for the disk; for a while then nothing dirty is cloned here. */
#define SLOW_NS (3 * PC_NS_PER_MS)
#define SLOW_FOR_NS PC_NS_PER_S
/* Files that are written out, or were and are not cloned yet; of more, each waits for its turn. */
#define SLOTS 64
/* Nobody asked again: it is gone, or was preserved by another way. */
#define STALE_NS (10 * PC_NS_PER_S)
/* Before Linux 6.5 nobody tells what is dirty. The kernel writes out by itself what is older than 30 s. */
#define FRESH_NS (35 * PC_NS_PER_S)

enum state { FREE = 0, WAITS, WRITES, DONE };

struct slot {
    uint64_t file; /* by its handle's hash */
    uint64_t begun_ns, done_ns;
    int vol, fd;
    enum state state;
};

struct pc_flush {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool started, stop;
    struct slot slot[SLOTS];
    uint64_t slow_until_ns; /* main thread only */
};

/* ---- the thread ---- */

/* Starts all that wait, so that the disk may order them, and names the first one to be waited for. */
static struct slot *begin_all(struct pc_flush *f)
{
    struct slot *first = NULL;
    for (struct slot *s = f->slot; s < f->slot + SLOTS; s++) {
        if (s->state == WAITS) {
            s->state = WRITES;
            s->begun_ns = pc_mono_ns();
            int fd = s->fd; /* nobody else touches a slot in this state */
            pthread_mutex_unlock(&f->lock);
            (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* what fails shows when the clone does */
            pthread_mutex_lock(&f->lock);
        }
        if (s->state == WRITES && !first)
            first = s;
    }
    return first;
}

static void *flusher(void *arg)
{
    struct pc_flush *f = arg;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        struct slot *s = begin_all(f);
        if (!s) {
            if (!f->stop)
                pthread_cond_wait(&f->work, &f->lock);
            continue;
        }
        int fd = s->fd;
        pthread_mutex_unlock(&f->lock);
        (void)sync_file_range(fd, 0, 0,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        close(fd);
        pthread_mutex_lock(&f->lock);
        s->done_ns = pc_mono_ns();
        s->state = DONE;
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int pc_flush_start(struct pc_guard *g)
{
    struct pc_flush *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    g->flush = f;
    int r = -pthread_create(&f->thread, NULL, flusher, f);
    f->started = r == 0;
    return r;
}

void pc_flush_stop(struct pc_guard *g)
{
    struct pc_flush *f = g->flush;
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
    if (f->started)
        pthread_join(f->thread, NULL);
    for (struct slot *s = f->slot; s < f->slot + SLOTS; s++)
        if (s->state == WAITS || s->state == WRITES)
            close(s->fd);
    pthread_cond_destroy(&f->work);
    pthread_mutex_destroy(&f->lock);
    free(f);
    g->flush = NULL;
}

/* ---- main thread ---- */

/* Bytes that are not on the disk yet: cachestat(2), Linux 6.5 (commit cf264e1329fb); before, what it may be at most. */
static uint64_t dirty_bytes(int fd, const struct stat *st)
{
    enum { CACHESTAT = 451 }; /* the same number on all architectures but alpha; older headers do not have it */
    uint64_t range[2] = {0, 0};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } pages;
    if (syscall(CACHESTAT, fd, range, &pages, 0) == 0)
        return (pages.dirty + pages.writeback) * (uint64_t)sysconf(_SC_PAGESIZE);
    int64_t age_ns = (int64_t)pc_real_ns() - pc_file_ns(st->st_mtim);
    return age_ns < (int64_t)FRESH_NS ? (uint64_t)st->st_blocks * 512 : 0;
}

/* Somebody is inside write(2): xfs keeps all others out of the file until that returns, whatever it takes. */
static bool is_being_written(int fd, const struct stat *st)
{
    char byte;
    struct iovec one = {&byte, 1};
    int64_t age_ns = (int64_t)pc_real_ns() - pc_file_ns(st->st_mtim);
    return age_ns < (int64_t)PC_NS_PER_S && preadv2(fd, &one, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN;
}

static struct slot *find(struct pc_flush *f, int vol, uint64_t file)
{
    for (struct slot *s = f->slot; s < f->slot + SLOTS; s++)
        if (s->state != FREE && s->file == file && s->vol == vol)
            return s;
    return NULL;
}

static struct slot *free_slot(struct pc_flush *f, uint64_t now_ns)
{
    for (struct slot *s = f->slot; s < f->slot + SLOTS; s++)
        if (s->state == FREE || (s->state == DONE && now_ns - s->done_ns > STALE_NS))
            return s;
    return NULL;
}

static bool was_written_out(struct slot *s, uint64_t *took_ns)
{
    if (s->state != DONE)
        return false;
    *took_ns = s->done_ns - s->begun_ns;
    s->state = FREE;
    return true;
}

static enum pc_flushed hand_over(struct pc_flush *f, int vol, int fd, uint64_t file)
{
    struct slot *s = free_slot(f, pc_mono_ns());
    if (!s)
        return PC_FLUSH_WAITS;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return PC_FLUSH_OUT; /* there is no other way than to clone it as it is */
    *s = (struct slot){.file = file, .vol = vol, .fd = own, .state = WAITS};
    pthread_cond_signal(&f->work);
    return PC_FLUSH_WAITS;
}

enum pc_flushed pc_flush_ask(struct pc_guard *g, const struct pc_volume *v, int fd, const struct pc_fh *fh,
                             uint64_t *took_ns)
{
    struct pc_flush *f = g->flush;
    struct stat st;
    if (!pc_store_can_clone(g->store, v->id) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
        return PC_FLUSH_OUT;
    uint64_t file = pc_fh_hash(fh), much = pc_mono_ns() < f->slow_until_ns ? 1 : MUCH;
    pthread_mutex_lock(&f->lock);
    struct slot *s = find(f, v->id, file);
    bool was_out = s && was_written_out(s, took_ns);
    pthread_mutex_unlock(&f->lock);
    if (s && !was_out)
        return PC_FLUSH_WAITS;
    if ((uint64_t)st.st_size >= MUCH && is_being_written(fd, &st))
        return PC_FLUSH_AGAIN;
    if ((uint64_t)st.st_size < much || dirty_bytes(fd, &st) < (was_out ? MUCH : much))
        return PC_FLUSH_OUT;
    if (was_out)
        return PC_FLUSH_AGAIN;
    pthread_mutex_lock(&f->lock);
    enum pc_flushed r = hand_over(f, v->id, fd, file);
    pthread_mutex_unlock(&f->lock);
    return r;
}

void pc_flush_cloned(struct pc_guard *g, uint64_t took_ns)
{
    if (took_ns > SLOW_NS)
        g->flush->slow_until_ns = pc_mono_ns() + SLOW_FOR_NS;
}
