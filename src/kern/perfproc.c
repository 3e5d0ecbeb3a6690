/*
 * Owns one perf event a processor that counts nothing and records forks, execs and exits into a buffer shared with the
 * kernel. Hands them to the caller in the order of their times. Must not keep any state of processes.
 *
 * The kernel writes a fork's record before the child runs, so at any moment all is in the buffers that what happened up
 * to then rests on.
 */
#include "kern/perfproc.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Pages of one buffer, a power of two. 64 hold what some 2,000 processes do from their birth to their end, and two
 * guards fit in what anybody may lock; with more than 16 processors it is 4 MiB in all, since each then hears less.
 */
#define PAGES_MAX 64
#define PAGES_MIN 8
#define PAGES_ALL 1024
/* Ours have 40 bytes, or 56 with the longest name; a longer one is none of them. */
#define RECORD_MAX 128
/* A fork's: its header, struct task_record's four words, its own time, and the time of sample_id_all. */
#define FORK_BYTES 40u

struct ring {
    int fd;
    struct perf_event_mmap_page *page;
    uint64_t tail, head; /* what is read, and what may be read in this drain */
    uint64_t time;       /* of the record at tail; 0: not looked at */
    unsigned char record[RECORD_MAX];
};

struct pc_perfproc {
    size_t page_size, pages;
    int births; /* readable when any ring has wakened its waiters */
    int rings;
    struct ring ring[];
};

/* PERF_RECORD_FORK, PERF_RECORD_EXIT. All records end with their time (sample_id_all). */
struct task_record {
    struct perf_event_header h;
    uint32_t pid, ppid, tid, ptid;
};

struct comm_record {
    struct perf_event_header h;
    uint32_t pid, tid;
};

static int open_event(int cpu)
{
    struct perf_event_attr a;
    memset(&a, 0, sizeof a);
    a.size = sizeof a;
    a.type = PERF_TYPE_SOFTWARE;
    a.config = PERF_COUNT_SW_DUMMY;
    a.sample_type = PERF_SAMPLE_TIME;
    a.sample_id_all = 1;
    a.task = 1;
    a.comm = 1;
    a.comm_exec = 1;
    a.use_clockid = 1;
    a.clockid = CLOCK_MONOTONIC;
    a.watermark = 1;
    a.wakeup_watermark = PC_CNPROC_BIRTHS * FORK_BYTES;
    int fd = (int)syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int open_ring(struct pc_perfproc *p, int cpu)
{
    _close_ int fd = open_event(cpu);
    if (fd == -ENODEV)
        return 0; /* not online */
    if (fd < 0)
        return fd;
    void *page = mmap(NULL, (p->pages + 1) * p->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    p->ring[p->rings++] = (struct ring){.fd = TAKE_FD(fd), .page = page};
    int waited = p->ring[p->rings - 1].fd;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = waited};
    return epoll_ctl(p->births, EPOLL_CTL_ADD, waited, &e) < 0 ? -errno : 0;
}

int pc_perfproc_open(struct pc_perfproc **out)
{
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    if (cpus < 1)
        return -ENOSYS;
    struct pc_perfproc *p = calloc(1, sizeof *p + (size_t)cpus * sizeof p->ring[0]);
    if (!p)
        return -ENOMEM;
    p->page_size = (size_t)sysconf(_SC_PAGESIZE);
    for (p->pages = PAGES_MAX; p->pages > PAGES_MIN && p->pages * (size_t)cpus > PAGES_ALL;)
        p->pages /= 2;
    p->births = epoll_create1(EPOLL_CLOEXEC);
    int r = p->births < 0 ? -errno : 0;
    for (int cpu = 0; r == 0 && cpu < cpus; cpu++)
        r = open_ring(p, cpu);
    if (r < 0) {
        pc_perfproc_close(p);
        return r;
    }
    *out = p;
    return 0;
}

void pc_perfproc_close(struct pc_perfproc *p)
{
    for (int i = 0; p && i < p->rings; i++) {
        munmap(p->ring[i].page, (p->pages + 1) * p->page_size);
        close(p->ring[i].fd);
    }
    if (p && p->births >= 0)
        close(p->births);
    free(p);
}

int pc_perfproc_births_fd(const struct pc_perfproc *p)
{
    return p->births;
}

uint32_t pc_perfproc_descriptors(const struct pc_perfproc *p)
{
    return p ? (uint32_t)p->rings + 1 : 0;
}

/* ---- one buffer ---- */

static void copy_out(const struct pc_perfproc *p, const struct ring *r, uint64_t at, void *to, size_t len)
{
    const unsigned char *data = (const unsigned char *)r->page + p->page_size;
    size_t cap = p->pages * p->page_size, from = (size_t)(at % cap), first = cap - from < len ? cap - from : len;
    memcpy(to, data + from, first);
    memcpy((unsigned char *)to + first, data, len - first);
}

static void step_over(struct ring *r, uint16_t size)
{
    r->tail += size;
    r->time = 0;
}

/* Loads the record at tail; false when there is none. */
static bool look(const struct pc_perfproc *p, struct ring *r)
{
    while (r->time == 0 && r->tail < r->head) {
        struct perf_event_header h;
        copy_out(p, r, r->tail, &h, sizeof h);
        if (h.size < sizeof h) { /* the kernel writes none of these: rather all over again than for ever */
            r->tail = r->head;
        } else if (h.size > RECORD_MAX || h.size < sizeof h + sizeof r->time) {
            step_over(r, h.size);
        } else {
            copy_out(p, r, r->tail, r->record, h.size);
            memcpy(&r->time, r->record + h.size - sizeof r->time, sizeof r->time);
            r->time |= r->time == 0;
        }
    }
    return r->time != 0;
}

/* record: RECORD_MAX bytes, of which the kernel wrote as many as its type has. */
static bool decode(const unsigned char *record, struct pc_proc_event *out)
{
    struct task_record t;
    struct comm_record c;
    memcpy(&t, record, sizeof t);
    memcpy(&c, record, sizeof c);
    switch (t.h.type) {
    case PERF_RECORD_FORK:
        *out = t.pid == t.tid ? (struct pc_proc_event){PC_PROC_FORK, (pid_t)t.pid, (pid_t)t.ppid}
                              : (struct pc_proc_event){PC_PROC_THREAD, (pid_t)t.tid, (pid_t)t.pid};
        return out->pid > 0 && out->parent > 0;
    case PERF_RECORD_EXIT:
        *out = t.pid == t.tid ? (struct pc_proc_event){PC_PROC_EXIT, (pid_t)t.pid, 0}
                              : (struct pc_proc_event){PC_PROC_THREAD_EXIT, (pid_t)t.tid, (pid_t)t.pid};
        return out->pid > 0;
    case PERF_RECORD_COMM:
        *out = (struct pc_proc_event){PC_PROC_EXEC, (pid_t)c.pid, 0};
        return (t.h.misc & PERF_RECORD_MISC_COMM_EXEC) && (pid_t)c.pid > 0;
    case PERF_RECORD_LOST:
        *out = (struct pc_proc_event){.what = PC_PROC_LOST};
        return true;
    default:
        return false;
    }
}

/* ---- all of them ---- */

static struct ring *earliest(struct pc_perfproc *p, uint64_t until)
{
    struct ring *first = NULL;
    for (struct ring *r = p->ring; r < p->ring + p->rings; r++)
        if (look(p, r) && r->time <= until && (!first || r->time < first->time))
            first = r;
    return first;
}

int pc_perfproc_drain(struct pc_perfproc *p, void (*fn)(void *arg, const struct pc_proc_event *), void *arg)
{
    /*
     * What happens from now on waits: another processor's part of it, which came before, may not be in what is read
     * here.
     */
    uint64_t until = pc_mono_ns();
    for (struct ring *r = p->ring; r < p->ring + p->rings; r++)
        r->head = __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE);
    int count = 0;
    struct pc_proc_event e;
    for (struct ring *r; (r = earliest(p, until)); count++) {
        struct perf_event_header h;
        memcpy(&h, r->record, sizeof h);
        if (decode(r->record, &e))
            fn(arg, &e);
        step_over(r, h.size);
    }
    for (struct ring *r = p->ring; r < p->ring + p->rings; r++)
        __atomic_store_n(&r->page->data_tail, r->tail, __ATOMIC_RELEASE);
    return count;
}
