/*
 * Owns the worker threads and what lies between them and the loop: a queue for each worker, one list of what is done.
 * Must not know what a task does. A lane always goes to the same worker, whose queue is first in, first out: that, and
 * nothing else, keeps the order of a lane.
 */
#include "server/pool.h"

#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Tasks that a worker takes at once: it wakes the loop, and locks, once for all of them. */
#define TURN 32

struct line {
    struct pc_task *first, **last;
    uint32_t n;
};

struct worker {
    struct pc_pool *pool;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* under the lock */
    struct line waiting;
    bool stop;
};

struct pc_pool {
    struct event *event;
    int wake_fd;
    void (*room)(void *ctx);
    void *ctx;
    pthread_mutex_t lock;
    struct line finished; /* under the lock */
    /* the loop's own */
    uint32_t taken;
    size_t bytes;
    bool drained;
    unsigned threads;
    struct worker worker[PC_POOL_THREADS_MAX];
};

static void empty(struct line *l)
{
    l->first = NULL;
    l->last = &l->first;
    l->n = 0;
}

static void push(struct line *l, struct pc_task *t)
{
    t->next = NULL;
    *l->last = t;
    l->last = &t->next;
    l->n++;
}

static struct pc_task *pop(struct line *l)
{
    struct pc_task *t = l->first;
    if (!t)
        return NULL;
    l->first = t->next;
    if (!l->first)
        l->last = &l->first;
    l->n--;
    return t;
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

/* Waits for tasks and moves some of them to `mine`. false: the end, and nothing is left. */
static bool take_some(struct worker *w, struct line *mine)
{
    pthread_mutex_lock(&w->lock);
    while (!w->waiting.first && !w->stop)
        pthread_cond_wait(&w->more, &w->lock);
    while (mine->n < TURN && w->waiting.first)
        push(mine, pop(&w->waiting));
    pthread_mutex_unlock(&w->lock);
    return mine->first != NULL;
}

static void hand_back(struct pc_pool *p, struct line *done)
{
    pthread_mutex_lock(&p->lock);
    bool asleep = !p->finished.first; /* else the loop was woken for those before, and takes these too */
    for (struct pc_task *t = pop(done); t; t = pop(done))
        push(&p->finished, t);
    pthread_mutex_unlock(&p->lock);
    if (asleep)
        eventfd_write(p->wake_fd, 1);
}

static void *working(void *arg)
{
    struct worker *w = arg;
    struct line mine, done;
    pthread_setname_np(pthread_self(), "check");
    empty(&mine);
    empty(&done);
    while (take_some(w, &mine)) {
        for (struct pc_task *t = pop(&mine); t; t = pop(&mine)) {
            t->run(t);
            push(&done, t);
        }
        hand_back(w->pool, &done);
    }
    return NULL;
}

/* --- the loop's side ---------------------------------------------------------------------------------------------- */

bool pc_pool_full(const struct pc_pool *p)
{
    return p->taken >= PC_POOL_TASKS || p->bytes >= PC_POOL_BYTES;
}

uint32_t pc_pool_waiting(const struct pc_pool *p)
{
    return p->taken;
}

unsigned pc_pool_threads(const struct pc_pool *p)
{
    return p->threads;
}

int pc_pool_submit(struct pc_pool *p, uint64_t lane, struct pc_task *t)
{
    if (p->drained)
        return PC_E_STATE;
    if (pc_pool_full(p))
        return PC_E_LIMIT;
    struct worker *w = &p->worker[lane % p->threads];
    p->taken++;
    p->bytes += t->bytes;
    pthread_mutex_lock(&w->lock);
    push(&w->waiting, t);
    if (w->waiting.n == 1)
        pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

static void deliver(struct pc_pool *p)
{
    struct line done;
    empty(&done);
    pthread_mutex_lock(&p->lock);
    for (struct pc_task *t = pop(&p->finished); t; t = pop(&p->finished))
        push(&done, t);
    pthread_mutex_unlock(&p->lock);
    for (struct pc_task *t = pop(&done); t; t = pop(&done)) {
        p->taken--;
        p->bytes -= t->bytes;
        t->done(t);
    }
    if (!p->drained && p->taken <= PC_POOL_TASKS / 2 && p->bytes <= PC_POOL_BYTES / 2)
        p->room(p->ctx);
}

static void on_wake(evutil_socket_t fd, short events, void *arg)
{
    eventfd_t n;
    if (eventfd_read(fd, &n) == 0)
        deliver(arg);
}

static unsigned processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > PC_POOL_THREADS_MAX ? PC_POOL_THREADS_MAX : (unsigned)n;
}

/* Signals are the loop's: a worker must not be interrupted by them. */
static int start_worker(struct pc_pool *p, struct worker *w)
{
    sigset_t all, before;
    w->pool = p;
    empty(&w->waiting);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int ret = -pthread_create(&w->thread, NULL, working, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ret;
}

static void end_workers(struct pc_pool *p)
{
    for (unsigned i = 0; i < p->threads; i++) {
        struct worker *w = &p->worker[i];
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_signal(&w->more);
        pthread_mutex_unlock(&w->lock);
    }
    for (unsigned i = 0; i < p->threads; i++)
        pthread_join(p->worker[i].thread, NULL);
}

static void free_pool(struct pc_pool *p)
{
    if (p->event)
        event_free(p->event);
    if (p->wake_fd >= 0)
        close(p->wake_fd);
    free(p);
}

int pc_pool_start(struct event_base *base, unsigned threads, void (*room)(void *ctx), void *ctx, struct pc_pool **out)
{
    struct pc_pool *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->room = room;
    p->ctx = ctx;
    empty(&p->finished);
    pthread_mutex_init(&p->lock, NULL);
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->event = p->wake_fd < 0 ? NULL : event_new(base, p->wake_fd, EV_READ | EV_PERSIST, on_wake, p);
    int ret = p->event && event_add(p->event, NULL) == 0 ? 0 : -ENOMEM;
    unsigned want = threads == 0 ? processors() : threads < PC_POOL_THREADS_MAX ? threads : PC_POOL_THREADS_MAX;
    while (ret == 0 && p->threads < want && (ret = start_worker(p, &p->worker[p->threads])) == 0)
        p->threads++;
    if (ret < 0) {
        end_workers(p);
        free_pool(p);
        return ret;
    }
    *out = p;
    return 0;
}

void pc_pool_drain(struct pc_pool *p)
{
    if (!p || p->drained)
        return;
    p->drained = true;
    end_workers(p);
    deliver(p);
}

void pc_pool_stop(struct pc_pool *p)
{
    if (!p)
        return;
    pc_pool_drain(p);
    free_pool(p);
}
