/*
 * Owns the answers to the kernel: opens that wait for us. One thread reads them and opens nothing itself on a guarded
 * file system; what it cannot answer at once it leaves for the main thread, which knows the evidence, or a copier thread,
 * which preserves a file before it is opened for writing (on-open mode).
 *
 * Nothing here may keep the host waiting: every waiting open has a deadline, a SIGKILL timer ends this process when the
 * answering thread stops (the kernel then lets all opens through), and at the bound of waiting opens the next ones are
 * let through and counted. Only opens of processes that are frozen by a verdict wait without a deadline.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "kern/deadman.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The switch fires this long after the answering thread last came round; it comes round every TURN_MS at least. */
#define DEADMAN_NS (800 * PC_NS_PER_MS)
#define TURN_MS 200
/* A gate goes up again this long after the last evidence on its file system. */
#define QUIET_NS (30 * PC_NS_PER_S)
/* The same when all there was is a file that looks like ciphertext. */
#define GLANCE_NS (500 * PC_NS_PER_MS)
/* A grant whose file was never reported closed stops counting after this. */
#define GRANT_NS (30 * PC_NS_PER_MS)
#define GRANTS_MAX 64
#define DRAIN_EVERY 4
#define TOUCHES_MAX 64
#define TELL_NS (10 * PC_NS_PER_S)
/* Threads found to have no evidence against them: their next opens are answered at once, until any evidence comes up. */
#define CLEAN_SLOTS 1024
#define CLEAN_MS 20
/* A copy may keep its own opener waiting this long; nobody else waits for it. */
#define COPY_DEADLINE_NS (10 * PC_NS_PER_S)

/* Openers let go by the copiers themselves between two looks at events: what those write is to be seen before hundreds more. */
#define UNSEEN_MAX 8
#define WAIT_BUCKETS 32
/* Threads whose /proc entry stays open, so that each further open of theirs costs one read of it. */
#define ASKED_SLOTS 64
/* on-open: files that may be written without a copy, because they have one already or are none of ours. */
#define SPARED_SLOTS 8192

enum held_state { HELD_FREE = 0, HELD_NEW, HELD_WAITING, HELD_COPYING, HELD_PARKED };

#define COPY_TRIES 3

struct held {
    int fd, group;
    pid_t tid, pid;
    uint8_t state, kind; /* enum pc_open_kind */
    bool single_link;
    uint8_t tries; /* copies that failed: the opener does not wait for another for ever */
    uint64_t since_ns;
    pc_actor actor;
    struct pc_fh fh;
};

struct grant {
    pc_actor group;
    struct pc_fh fh;
    uint64_t since_ns;
};

struct copy_job {
    uint32_t slot;
    int vol, fd;
    uint8_t how;
    bool drop_link; /* the opener needs a file with one name: our link goes before it is answered */
    struct pc_fh fh;
    bool done, adopted;
    int result;
    struct pc_vault_copy copy;
};

struct pc_gate {
    int gate_group, ask_group, vault_group, main_event, thread_event;
    pthread_t answerer, *copier;
    uint32_t copiers;
    pid_t answerer_tid;
    uint64_t deadline_ns;
    atomic_bool stop;
    atomic_bool alert;      /* some gate is down, or something is frozen */
    atomic_uint unseen;     /* openers let go by copiers since the main thread last read all events */
    _Atomic uint64_t clean[CLEAN_SLOTS]; /* thread << 32 | the millisecond (mono, modulo 2^32) it was found clean in */
    _Atomic uint64_t spared[SPARED_SLOTS]; /* device << 32 | inode; set and cleared by the main thread */
    struct pc_asker asker[ASKED_SLOTS]; /* answering thread only */
    timer_t deadman;
    bool deadman_armed;
    struct pc_store *store;

    pthread_mutex_t lock; /* guards everything down to the blank line */
    pthread_cond_t work;
    struct held *held;
    uint32_t held_max, held_used;
    pid_t own[80];
    uint32_t owns;
    pid_t touched[TOUCHES_MAX]; /* threads denied at the vault, for the main thread to judge */
    uint32_t touches;
    struct copy_job *job; /* ring of held_max jobs */
    uint32_t job_head, job_taken, job_tail;
    struct pc_gate_stats stats;
    uint64_t waited[WAIT_BUCKETS]; /* answers by log2 of their microseconds */

    /* main thread only */
    uint64_t told_ns;
    struct grant grant[GRANTS_MAX];
    uint32_t grants;
};

/* ---- shared helpers ---- */

static void wake(int event)
{
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof one);
    (void)n; /* a full counter is a wake-up already */
}

static void drain_event(int event)
{
    uint64_t v;
    ssize_t n = read(event, &v, sizeof v);
    (void)n;
}

static void count_wait(struct pc_gate *q, uint64_t since_ns)
{
    uint64_t us = (pc_mono_ns() - since_ns) / 1000;
    int bucket = us ? 64 - __builtin_clzll(us) : 0;
    q->waited[bucket < WAIT_BUCKETS ? bucket : WAIT_BUCKETS - 1]++;
    if (us > q->stats.max_us)
        q->stats.max_us = us;
}

/* Upper bound of the bucket that holds this share of all answers. */
static uint64_t percentile_us(const struct pc_gate *q, uint32_t percent)
{
    uint64_t total = 0, sum = 0;
    for (int i = 0; i < WAIT_BUCKETS; i++)
        total += q->waited[i];
    for (int i = 0; total && i < WAIT_BUCKETS; i++) {
        sum += q->waited[i];
        if (sum * 100 >= total * percent)
            return 1ULL << i;
    }
    return 0;
}

static void answer(struct pc_gate *q, struct held *h, bool allow)
{
    if (h->state != HELD_PARKED)
        count_wait(q, h->since_ns);
    (void)pc_fan_answer(h->group, h->fd, allow); /* fails only when the opener was killed meanwhile */
    close(h->fd);
    *h = (struct held){.fd = -1};
}

static bool is_own(const struct pc_gate *q, pid_t tid)
{
    for (uint32_t i = 0; i < q->owns; i++)
        if (q->own[i] == tid)
            return true;
    return false;
}

static void register_own(struct pc_gate *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->owns < sizeof q->own / sizeof q->own[0])
        q->own[q->owns++] = (pid_t)syscall(SYS_gettid);
    pthread_mutex_unlock(&q->lock);
}

static bool known_clean(struct pc_gate *q, pid_t tid, uint64_t now)
{
    uint64_t slot = atomic_load(&q->clean[(uint32_t)tid % CLEAN_SLOTS]);
    return slot >> 32 == (uint32_t)tid && (uint32_t)(now / PC_NS_PER_MS) - (uint32_t)slot < CLEAN_MS;
}

static void note_clean(struct pc_gate *q, pid_t tid, uint64_t now)
{
    atomic_store(&q->clean[(uint32_t)tid % CLEAN_SLOTS], (uint64_t)(uint32_t)tid << 32 | (uint32_t)(now / PC_NS_PER_MS));
}

/* The slot's content for a file; 0: it has none (a larger number than fits, so that no two files look the same). */
static uint64_t spared_key(uint64_t dev, uint64_t ino)
{
    return dev >> 32 || ino >> 32 ? 0 : dev << 32 | ino;
}

static _Atomic uint64_t *spared_slot(struct pc_gate *q, uint64_t key)
{
    return &q->spared[key * 0x9e3779b97f4a7c15ULL >> 51];
}

static bool is_spared(struct pc_gate *q, const struct stat *st)
{
    uint64_t key = spared_key(st->st_dev, st->st_ino);
    return key && atomic_load(spared_slot(q, key)) == key;
}

/* ---- the answering thread ---- */

/* The second open of a spared file: from now on the kernel does not ask. The lock keeps unspare from coming between. */
static void ask_no_more(struct pc_gate *q, int fd, const struct stat *st)
{
    pthread_mutex_lock(&q->lock);
    if (is_spared(q, st))
        (void)pc_fan_ask_no_more(q->ask_group, fd); /* fails on old kernels: then every open is asked about */
    pthread_mutex_unlock(&q->lock);
}

static struct held *free_slot(struct pc_gate *q)
{
    for (uint32_t i = 0; i < q->held_max; i++) {
        if (q->held[i].state != HELD_FREE)
            continue;
        if (i >= q->held_used)
            q->held_used = i + 1;
        return &q->held[i];
    }
    return NULL;
}

static void allow_now(int group, int fd)
{
    (void)pc_fan_answer(group, fd, true);
    close(fd);
}

static bool only_reads(struct pc_gate *q, const struct pc_fan_open *o, bool asks, struct pc_open_why *why)
{
    if (pc_proc_open_why(&q->asker[(uint32_t)o->tid % ASKED_SLOTS], o->tid, why) < 0)
        return true; /* gone */
    return why->kind == PC_OPEN_READ && !(asks && why->wants_single_link);
}

/* The gate: read-only, not a file, or by a thread that is not suspect. The cheapest question first, the dearest last. */
static bool harmless(struct pc_gate *q, const struct pc_fan_open *o, uint64_t now, struct pc_open_why *why)
{
    struct stat st;
    if (!atomic_load(&q->alert) || known_clean(q, o->tid, now) || is_own(q, o->tid))
        return true;
    return fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode) || only_reads(q, o, false, why);
}

/* on-open: nothing of this file has to be copied first. Whether its opener is a suspect is the gate's question. */
static bool needs_nothing(struct pc_gate *q, const struct pc_fan_open *o, struct pc_open_why *why)
{
    struct stat st;
    if (is_own(q, o->tid) || fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return true;
    if (!is_spared(q, &st))
        return only_reads(q, o, true, why);
    ask_no_more(q, o->fd, &st);
    return true;
}

/* Answered here when it cannot destroy anything; else left to the main thread. True when somebody waits for it. */
static bool take_open(struct pc_gate *q, int group, const struct pc_fan_open *o, uint64_t now)
{
    struct pc_open_why why;
    q->stats.opens++;
    if (group == q->ask_group ? needs_nothing(q, o, &why) : harmless(q, o, now, &why)) {
        allow_now(group, o->fd);
        return false;
    }
    pthread_mutex_lock(&q->lock);
    struct held *h = free_slot(q);
    if (h)
        *h = (struct held){.fd = o->fd,
                           .group = group,
                           .tid = o->tid,
                           .state = HELD_NEW,
                           .kind = (uint8_t)why.kind,
                           .single_link = why.wants_single_link,
                           .since_ns = now};
    q->stats.held++;
    if (!h)
        q->stats.late++;
    pthread_mutex_unlock(&q->lock);
    if (!h)
        allow_now(group, o->fd);
    return h != NULL;
}

static void answer_opens(struct pc_gate *q, int group)
{
    struct pc_fan_open opens[32];
    bool left = false;
    for (;;) {
        int n = pc_fan_read_opens(group, opens, 32);
        if (n <= 0)
            break;
        uint64_t now = pc_mono_ns();
        for (int i = 0; i < n; i++)
            left |= take_open(q, group, &opens[i], now);
        if (left)
            wake(q->main_event);
        if (n < 32)
            break; /* that was all: poll() tells of the next */
    }
}

static void deny_at_vault(struct pc_gate *q)
{
    struct pc_fan_open opens[32];
    int n;
    while ((n = pc_fan_read_opens(q->vault_group, opens, 32)) > 0) {
        for (int i = 0; i < n; i++) {
            bool own = is_own(q, opens[i].tid);
            (void)pc_fan_answer(q->vault_group, opens[i].fd, own);
            close(opens[i].fd);
            if (own)
                continue;
            pthread_mutex_lock(&q->lock);
            q->stats.denied_vault++;
            if (q->touches < TOUCHES_MAX)
                q->touched[q->touches++] = opens[i].tid;
            pthread_mutex_unlock(&q->lock);
            wake(q->main_event);
        }
    }
}

static void enforce_deadlines(struct pc_gate *q)
{
    uint64_t now = pc_mono_ns();
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++) {
        struct held *h = &q->held[i];
        uint64_t limit = h->state == HELD_COPYING ? COPY_DEADLINE_NS : q->deadline_ns;
        if (h->state == HELD_FREE || h->state == HELD_PARKED || now - h->since_ns < limit)
            continue;
        q->stats.late++;
        if (h->state == HELD_COPYING) {
            /* The copier still reads from this descriptor: answer, and let the copier close it. */
            (void)pc_fan_answer(h->group, h->fd, true);
            h->since_ns = UINT64_MAX - COPY_DEADLINE_NS;
            h->state = HELD_PARKED;
            continue;
        }
        answer(q, h, true);
    }
    pthread_mutex_unlock(&q->lock);
}


static void *answerer(void *arg)
{
    struct pc_gate *q = arg;
    register_own(q);
    struct sched_param urgent = {.sched_priority = 2};
    (void)sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &urgent); /* without the right: slower, not wrong */
    struct pollfd p[] = {{q->gate_group, POLLIN, 0}, {q->vault_group, POLLIN, 0}, {q->thread_event, POLLIN, 0},
                         {q->ask_group, POLLIN, 0}};
    uint64_t last_push = 0;
    while (!atomic_load(&q->stop)) {
        int n = poll(p, 4, TURN_MS);
        uint64_t now = pc_mono_ns();
        if (now - last_push > 100 * PC_NS_PER_MS) {
            pc_deadman_push(q->deadman, DEADMAN_NS);
            last_push = now;
            enforce_deadlines(q);
        }
        if (n <= 0)
            continue;
        if (p[0].revents)
            answer_opens(q, q->gate_group);
        if (p[3].revents)
            answer_opens(q, q->ask_group);
        if (p[1].revents)
            deny_at_vault(q);
        if (p[2].revents)
            drain_event(q->thread_event);
    }
    return NULL;
}

/* ---- copiers (on-open) ---- */

static bool take_job(struct pc_gate *q, uint32_t *at)
{
    pthread_mutex_lock(&q->lock);
    while (!atomic_load(&q->stop) && q->job_taken == q->job_tail)
        pthread_cond_wait(&q->work, &q->lock);
    bool got = q->job_taken != q->job_tail;
    if (got)
        *at = q->job_taken++ % q->held_max;
    pthread_mutex_unlock(&q->lock);
    return got && !atomic_load(&q->stop);
}

static void *copier(void *arg)
{
    struct pc_gate *q = arg;
    register_own(q);
    uint32_t at;
    while (take_job(q, &at)) {
        struct copy_job *j = &q->job[at];
        int r = pc_vault_copy_now(q->store, j->vol, j->fd, j->how, &j->copy);
        pthread_mutex_lock(&q->lock);
        j->result = r;
        j->done = true;
        struct held *h = &q->held[j->slot];
        if (r < 0) /* what changed under the copy may hold still the next time; a full disk stays full */
            h->tries = (uint8_t)(h->tries + (r == PC_E_CHANGED ? 1 : COPY_TRIES));
        if (h->state == HELD_PARKED) { /* answered by the deadline */
            close(h->fd);
            *h = (struct held){.fd = -1};
        } else if (j->drop_link || atomic_load(&q->alert) || atomic_fetch_add(&q->unseen, 1) >= UNSEEN_MAX) {
            /*
             * For the main thread: our link has to go first, or the gate came down meanwhile, when the opener may be a
             * suspect. Hundreds of copies may end at once, too: then it looks first at what the last openers did.
             */
            h->state = HELD_WAITING;
            h->since_ns = pc_mono_ns();
        } else {
            answer(q, h, true);
        }
        pthread_mutex_unlock(&q->lock);
        wake(q->main_event);
    }
    return NULL;
}

/* ---- main thread ---- */

/* Only while it is not kept by a link: until unspare. */
static void spare(struct pc_gate *q, const struct stat *st)
{
    uint64_t key = spared_key(st->st_dev, st->st_ino);
    if (key)
        atomic_store(spared_slot(q, key), key);
}

static void unspare(void *arg, int vol, int fd, uint64_t ino)
{
    struct pc_guard *g = arg;
    struct pc_gate *q = g->gate;
    const struct pc_volume *v = pc_volume_by_id(g, vol);
    uint64_t key = v ? spared_key(v->st_dev, ino) : 0;
    pthread_mutex_lock(&q->lock);
    if (key && atomic_load(spared_slot(q, key)) == key)
        atomic_store(spared_slot(q, key), 0);
    (void)pc_fan_ask_again(q->ask_group, fd); /* also when the slot is another's by now; fails only without the group */
    pthread_mutex_unlock(&q->lock);
}

static int start_threads(struct pc_guard *g, struct pc_gate *q)
{
    int r = pc_deadman_arm(&q->deadman, DEADMAN_NS * 4);
    if (r < 0)
        return r;
    q->deadman_armed = true;
    r = -pthread_create(&q->answerer, NULL, answerer, q);
    for (uint32_t i = 0; r == 0 && i < g->settings.copiers; i++) {
        r = -pthread_create(&q->copier[i], NULL, copier, q);
        if (r == 0)
            q->copiers++;
    }
    return r;
}

int pc_gate_start(struct pc_guard *g)
{
    struct pc_gate *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    g->gate = q;
    q->held_max = g->settings.waiting_opens;
    q->held = calloc(q->held_max, sizeof *q->held);
    q->job = calloc(q->held_max, sizeof *q->job);
    q->copier = calloc(g->settings.copiers, sizeof *q->copier);
    q->deadline_ns = g->settings.answer_deadline_ns;
    q->store = g->store;
    q->main_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->thread_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!q->held || !q->job || !q->copier || q->main_event < 0 || q->thread_event < 0)
        return -ENOMEM;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    register_own(q);
    pc_store_on_link(g->store, unspare, g);
    q->gate_group = pc_fan_gate_open();
    q->ask_group = pc_fan_first_gate_open();
    q->vault_group = pc_fan_first_gate_open();
    if (q->gate_group < 0 || q->ask_group < 0 || q->vault_group < 0)
        return q->gate_group < 0 ? q->gate_group : q->ask_group < 0 ? q->ask_group : q->vault_group;
    return start_threads(g, q);
}

void pc_gate_stop(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    if (!q)
        return;
    if (g->store)
        pc_store_on_link(g->store, NULL, NULL);
    atomic_store(&q->stop, true);
    wake(q->thread_event);
    pthread_mutex_lock(&q->lock);
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
    if (q->answerer_tid || q->deadman_armed)
        pthread_join(q->answerer, NULL);
    for (uint32_t i = 0; i < q->copiers; i++)
        pthread_join(q->copier[i], NULL);
    /* Closing the groups lets every open through that still waits. */
    close(q->gate_group);
    close(q->ask_group);
    close(q->vault_group);
    if (q->deadman_armed)
        pc_deadman_disarm(q->deadman);
    for (uint32_t i = 0; i < q->held_used; i++)
        if (q->held[i].state != HELD_FREE)
            close(q->held[i].fd);
    for (uint32_t i = 0; i < ASKED_SLOTS; i++)
        pc_asker_close(&q->asker[i]);
    close(q->main_event);
    close(q->thread_event);
    free(q->held);
    free(q->job);
    free(q->copier);
    free(q);
    g->gate = NULL;
}

static int mark_vault_dir(void *arg, int dirfd)
{
    struct pc_gate *q = arg;
    return pc_fan_vault_mark(q->vault_group, dirfd);
}

int pc_gate_add_volume(struct pc_guard *g, struct pc_volume *v)
{
    struct pc_gate *q = g->gate;
    /* Our own way in raises no event, so that preserving never waits for an answer of ours. */
    int r = pc_fan_ignore_mount(q->vault_group, v->tree_fd);
    if (r == 0)
        r = pc_store_each_vault_dir(g->store, v->id, mark_vault_dir, q);
    for (uint32_t i = 0; i < SPARED_SLOTS; i++)
        atomic_store(&q->spared[i], 0); /* the device number may have been another file system's */
    if (r == 0 && v->mode == PC_MODE_ON_OPEN)
        r = pc_fan_gate_down(q->ask_group, v->tree_fd);
    return r;
}

void pc_gate_remove_volume(struct pc_guard *g, struct pc_volume *v)
{
    /* Both fail when the file system is gone. */
    if (v->mode == PC_MODE_ON_OPEN)
        (void)pc_fan_gate_up(g->gate->ask_group, v->tree_fd);
    if (v->gate_down)
        (void)pc_fan_gate_up(g->gate->gate_group, v->tree_fd);
    v->gate_down = false;
}

static void bring_down(struct pc_guard *g, struct pc_volume *v, uint64_t for_ns)
{
    uint64_t until = pc_mono_ns() + for_ns;
    if (until > v->gate_until_ns)
        v->gate_until_ns = until;
    if (v->gate_down || !g->settings.gate)
        return;
    atomic_store(&g->gate->alert, true); /* first: what the mark brings is not to be answered as in calm times */
    if (pc_fan_gate_down(g->gate->gate_group, v->tree_fd) < 0)
        return; /* alert ends with the next tick */
    v->gate_down = true;
    g->n.gate_downs++;
}

void pc_gate_evidence(struct pc_guard *g, struct pc_volume *v)
{
    pc_gate_doubt(g);
    bring_down(g, v, QUIET_NS);
}

void pc_gate_suspect(struct pc_guard *g, struct pc_volume *v)
{
    bring_down(g, v, GLANCE_NS);
}

void pc_gate_relax(struct pc_guard *g, uint64_t now_ns)
{
    bool alert = pc_stop_any_frozen(g);
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        alert |= v->gate_down && now_ns < v->gate_until_ns;
        if (!v->id || !v->gate_down || now_ns < v->gate_until_ns)
            continue;
        (void)pc_fan_gate_up(g->gate->gate_group, v->tree_fd);
        v->gate_down = false;
    }
    atomic_store(&g->gate->alert, alert);
}

int pc_gate_fd(const struct pc_guard *g)
{
    return g->gate->main_event;
}

bool pc_gate_alert(const struct pc_guard *g)
{
    return atomic_load(&g->gate->alert);
}

void pc_gate_doubt(struct pc_guard *g)
{
    for (uint32_t i = 0; i < CLEAN_SLOTS; i++)
        atomic_store_explicit(&g->gate->clean[i], 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static void drop_old_grants(struct pc_gate *q, uint64_t now)
{
    for (uint32_t i = 0; i < q->grants;)
        if (now - q->grant[i].since_ns > GRANT_NS)
            q->grant[i] = q->grant[--q->grants];
        else
            i++;
}

void pc_gate_judged(struct pc_guard *g, const struct pc_fh *fh)
{
    struct pc_gate *q = g->gate;
    for (uint32_t i = 0; i < q->grants;)
        if (pc_fh_equal(&q->grant[i].fh, fh))
            q->grant[i] = q->grant[--q->grants];
        else
            i++;
}

static uint32_t grants_of(const struct pc_gate *q, pc_actor group)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->grants; i++)
        n += q->grant[i].group == group;
    return n;
}

static bool is_granted(const struct pc_gate *q, pc_actor group, const struct pc_fh *fh)
{
    for (uint32_t i = 0; i < q->grants; i++)
        if (q->grant[i].group == group && pc_fh_equal(&q->grant[i].fh, fh))
            return true;
    return false;
}

/* A suspect's open that may change something: a bounded number per group of co-operating processes. */
static bool may_pass(struct pc_guard *g, struct held *h, uint64_t now)
{
    struct pc_gate *q = g->gate;
    if (h->kind == PC_OPEN_READ)
        return true;
    if (!pc_judge_suspicion(g->judge, h->actor)) {
        note_clean(q, h->tid, now);
        return true;
    }
    pc_actor group = pc_judge_suspect_root(g->judge, h->actor);
    if (is_granted(q, group, &h->fh))
        return true; /* on-open the same open asks twice: for its copy and at the gate */
    if (!g->drained || q->grants == GRANTS_MAX || grants_of(q, group) >= g->settings.allowance)
        return false;
    q->grant[q->grants++] = (struct grant){group, h->fh, now};
    return true;
}

enum decision { STAYS, PASSES, PARKED, NEEDS_COPY };

/*
 * on-open: must the file be preserved first, and how? gzip and xz read with O_NOFOLLOW and refuse a file with several
 * names: for them the content is copied and our link in the vault given up.
 */
static bool needs_copy(struct pc_guard *g, const struct pc_volume *v, const struct held *h, const struct stat *st,
                       struct copy_job *job)
{
    struct pc_known known;
    int r = pc_store_lookup(g->store, v->id, &h->fh, &known);
    if (r == PC_E_NOTFOUND || (r == 0 && known.how != PC_HOW_LINK))
        spare(g->gate, st);
    if (r < 0 || known.how != PC_HOW_LINK)
        return false;
    if (st->st_size == 0)
        return false;
    job->drop_link = h->single_link && st->st_nlink == 2;
    if (h->kind == PC_OPEN_READ && !job->drop_link)
        return false;
    bool append = h->kind == PC_OPEN_APPEND && (uint64_t)st->st_size > g->settings.append_limit_bytes;
    job->how = append ? PC_HOW_LENGTH : PC_HOW_COPY;
    if (append || (uint64_t)st->st_size <= g->settings.copy_limit_bytes)
        return true;
    if (h->kind == PC_OPEN_READ)
        return false; /* too large to copy for it: it sees two names, as any program does */
    char path[PATH_MAX];
    pc_dir dir = pc_dirs_find(g->dirs, v->id, &known.parent);
    pc_folder_uncovered(g, dir ? pc_dirs_folder(g->dirs, dir) : UINT32_MAX,
                        pc_dirs_path(g->dirs, dir, known.name, path, sizeof path), -EFBIG);
    return false;
}

static void identify(struct pc_guard *g, struct held *h)
{
    pid_t known_pid = pc_judge_actor_of(g->judge, h->tid) ? h->tid : pc_proc_tgid(h->tid);
    h->pid = known_pid > 0 ? known_pid : h->tid;
    h->actor = pc_judge_actor_of(g->judge, h->pid);
    h->state = HELD_WAITING;
}

/* Works on a copy of the slot: looking things up must not keep the answering thread waiting for the lock. */
static enum decision decide(struct pc_guard *g, struct held *h, uint64_t now, struct copy_job *job)
{
    struct stat st;
    if (fstat(h->fd, &st) < 0 || pc_fh_of_fd(h->fd, &h->fh) < 0)
        return PASSES;
    if (h->state == HELD_NEW)
        identify(g, h);
    if (pc_stop_incident_of(g, h->actor))
        return PARKED; /* frozen: waits until release or end */
    struct pc_volume *v = pc_volume_by_dev(g, st.st_dev);
    if (v && v->gate_down && !known_clean(g->gate, h->tid, now) && !may_pass(g, h, now))
        return STAYS;
    if (!v || v->mode != PC_MODE_ON_OPEN || h->tries >= COPY_TRIES || !needs_copy(g, v, h, &st, job))
        return PASSES;
    job->vol = v->id;
    job->fd = h->fd;
    job->fh = h->fh;
    return NEEDS_COPY;
}

/* Puts a decision into effect, unless the deadline answered meanwhile. Called with the lock held. */
static void carry_out(struct pc_gate *q, uint32_t slot, const struct held *decided, enum decision what, struct copy_job *job)
{
    struct held *h = &q->held[slot];
    if (h->fd != decided->fd || h->since_ns != decided->since_ns || (h->state != HELD_NEW && h->state != HELD_WAITING))
        return;
    *h = *decided;
    if (what == NEEDS_COPY && q->job_tail - q->job_head < q->held_max) {
        job->slot = slot;
        q->job[q->job_tail++ % q->held_max] = *job;
        h->state = HELD_COPYING;
        pthread_cond_signal(&q->work);
    } else if (what == PARKED) {
        h->state = HELD_PARKED;
        q->stats.parked++;
    } else if (what != STAYS) {
        answer(q, h, true);
    }
}

static void decide_slot(struct pc_guard *g, uint32_t slot, uint64_t now)
{
    struct pc_gate *q = g->gate;
    struct copy_job job = {0};
    pthread_mutex_lock(&q->lock);
    struct held h = q->held[slot];
    pthread_mutex_unlock(&q->lock);
    if (h.state != HELD_NEW && h.state != HELD_WAITING)
        return;
    enum decision what = decide(g, &h, now, &job);
    pthread_mutex_lock(&q->lock);
    carry_out(q, slot, &h, what, &job);
    pthread_mutex_unlock(&q->lock);
}

/* A full disk fails every copy: each is counted, one in a while is told. */
static void say_not_copied(struct pc_guard *g, int err)
{
    struct pc_gate *q = g->gate;
    uint64_t now = pc_mono_ns();
    q->stats.copy_errors++;
    bool told = q->stats.copy_error == err && now - q->told_ns < TELL_NS;
    q->stats.copy_error = err;
    if (told)
        return;
    q->told_ns = now;
    pc_event(g->log, PC_LEVEL_ERROR, "not-preserved", NULL,
             "files are opened for writing before they can be preserved (%" PRIu64 " so far): %s", q->stats.copy_errors,
             pc_strerror(err));
}

/* The next finished copy. Small ones overtake a large one still being made; the ring's head follows in order. */
static bool take_copy(struct pc_gate *q, struct copy_job *out)
{
    bool got = false;
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = q->job_head; i != q->job_taken && !got; i++) {
        struct copy_job *j = &q->job[i % q->held_max];
        got = j->done && !j->adopted;
        if (!got)
            continue;
        j->adopted = true;
        *out = *j;
    }
    while (q->job_head != q->job_taken && q->job[q->job_head % q->held_max].adopted)
        q->job_head++;
    pthread_mutex_unlock(&q->lock);
    return got;
}

void pc_gate_adopt(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    struct copy_job j;
    while (take_copy(q, &j)) {
        struct pc_known known;
        int r = j.result;
        if (r < 0)
            pc_store_copy_failed(g->store, j.vol, r);
        if (r == 0)
            r = pc_store_lookup(g->store, j.vol, &j.fh, &known);
        if (r == 0)
            r = pc_store_adopt_object(g->store, j.vol, &j.fh, &known.parent, known.name, &j.copy, NULL);
        if (r == 0 && j.drop_link)
            r = pc_store_unlink_link(g->store, j.vol, &j.fh);
        if (r == 0) {
            q->stats.copied++;
        } else {
            say_not_copied(g, r);
        }
    }
}

static void judge_touches(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    pid_t touched[TOUCHES_MAX];
    pthread_mutex_lock(&q->lock);
    uint32_t n = q->touches;
    memcpy(touched, q->touched, n * sizeof touched[0]);
    q->touches = 0;
    pthread_mutex_unlock(&q->lock);
    for (uint32_t i = 0; i < n; i++)
        pc_acts_vault_touched(g, touched[i]);
}

void pc_gate_step(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    drain_event(q->main_event);
    if (g->drained)
        atomic_store(&q->unseen, 0);
    pc_gate_adopt(g);
    judge_touches(g);
    uint64_t now = pc_mono_ns();
    drop_old_grants(q, now);
    pthread_mutex_lock(&q->lock);
    uint32_t used = q->held_used;
    pthread_mutex_unlock(&q->lock);
    for (uint32_t i = 0; i < used; i++) {
        decide_slot(g, i, now);
        if (i % DRAIN_EVERY == DRAIN_EVERY - 1)
            pc_guard_drain(g); /* what those let through did must be seen before hundreds more are */
    }
    pthread_mutex_lock(&q->lock);
    while (q->held_used && q->held[q->held_used - 1].state == HELD_FREE)
        q->held_used--;
    g->opens_wait = false;
    for (uint32_t i = 0; i < q->held_used; i++)
        g->opens_wait |= q->held[i].state == HELD_WAITING;
    pthread_mutex_unlock(&q->lock);
}

uint32_t pc_gate_in_flight(struct pc_guard *g, pc_actor root)
{
    struct pc_gate *q = g->gate;
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->grants; i++)
        n += pc_judge_is_beneath(g->judge, q->grant[i].group, root);
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++)
        n += q->held[i].state != HELD_FREE && pc_judge_is_beneath(g->judge, q->held[i].actor, root);
    pthread_mutex_unlock(&q->lock);
    return n;
}

void pc_gate_let_go(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++) {
        struct held *h = &q->held[i];
        if (h->state != HELD_PARKED || h->since_ns > UINT64_MAX / 2 || pc_stop_incident_of(g, h->actor))
            continue;
        h->state = HELD_WAITING; /* decided like any other, copies included */
        h->since_ns = pc_mono_ns();
        q->stats.parked--;
    }
    pthread_mutex_unlock(&q->lock);
    wake(q->main_event);
}

void pc_gate_stats(const struct pc_guard *g, struct pc_gate_stats *out)
{
    struct pc_gate *q = g->gate;
    pthread_mutex_lock(&q->lock);
    *out = q->stats;
    out->waiting = 0;
    for (uint32_t i = 0; i < q->held_used; i++)
        out->waiting += q->held[i].state == HELD_NEW || q->held[i].state == HELD_WAITING;
    out->p50_us = percentile_us(q, 50);
    out->p99_us = percentile_us(q, 99);
    pthread_mutex_unlock(&q->lock);
}
