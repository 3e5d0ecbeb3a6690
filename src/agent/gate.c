/*
 * Owns the answers to the kernel: opens that wait for us. Here is their life (start, stop, volumes), when a gate goes
 * down and up, and what all files of it share; the rest is in gate_answer.c (the answering thread), gate_copy.c (copies
 * made while an opener waits), gate_decide.c (the main thread's decisions), gate_files.c (which files on-open asks
 * about), gate_read.c (files that are only read), gate_cuts.c (truncate(2) by name) and gate_sync.c (copies that are to
 * reach the disk). guard.c and acts.c call it, on the main thread. Must not judge: it is told of evidence.
 *
 * Nothing here may keep the host waiting: every waiting open has a deadline, a SIGKILL timer ends this process when the
 * answering thread stops (the kernel then lets all opens through), and at the bound of waiting opens the next ones are
 * let through and counted. Only opens of processes that are frozen by a verdict wait without a deadline.
 */
#include "agent/gate_impl.h"

#include "base/clock.h"
#include "base/err.h"
#include "kern/deadman.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A gate goes up again this long after the last evidence on its file system. */
#define QUIET_NS (30 * PC_NS_PER_S)
/* The same when all there was is a file that looks like ciphertext. */
#define GLANCE_NS (500 * PC_NS_PER_MS)
/* The same when all there was is a crowd; longer than the time between two counts. */
#define CROWD_NS (2 * PC_NS_PER_S)
/* For so long a thread counts as found clean. */
#define CLEAN_MS 20
/* What the guard has open besides: two dozen of its own, clients, files being copied; and for each file system. */
#define DESCRIPTORS_OWN 44
#define DESCRIPTORS_VOLUME 4

/* ---- shared helpers ---- */

void pc_gate_wake(int event)
{
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof one);
    (void)n; /* a full counter is a wake-up already */
}

void pc_gate_drain_event(int event)
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

void pc_gate_answer(struct pc_gate *q, struct held *h, bool allow)
{
    if (h->state != HELD_PARKED)
        count_wait(q, h->since_ns);
    (void)pc_fan_answer(h->group, h->fd, allow); /* fails only when the opener was killed meanwhile */
    close(h->fd);
    *h = (struct held){.fd = -1};
}

void pc_gate_register_own(struct pc_gate *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->owns < sizeof q->own / sizeof q->own[0])
        q->own[q->owns++] = (pid_t)syscall(SYS_gettid);
    pthread_mutex_unlock(&q->lock);
}

bool pc_gate_known_clean(struct pc_gate *q, pid_t tid, uint64_t now)
{
    uint64_t slot = atomic_load(&q->clean[(uint32_t)tid % CLEAN_SLOTS]);
    return slot >> 32 == (uint32_t)tid && (uint32_t)(now / PC_NS_PER_MS) - (uint32_t)slot < CLEAN_MS;
}

/* ---- main thread ---- */

static void wake_up(int number)
{
    (void)number; /* that the wait ends is all it is for */
}

static int start_threads(struct pc_guard *g, struct pc_gate *q)
{
    const struct sigaction nudged = {.sa_handler = wake_up}; /* without SA_RESTART */
    if (sigaction(PC_GATE_NUDGE, &nudged, NULL) < 0)
        return -errno;
    int r = pc_deadman_arm(&q->deadman, DEADMAN_NS * 4);
    if (r < 0)
        return r;
    q->deadman_armed = true;
    r = -pthread_create(&q->answerer, NULL, pc_gate_answerer, q);
    if (r == 0)
        r = -pthread_create(&q->syncer, NULL, pc_gate_syncer, q);
    q->has_syncer = r == 0;
    for (uint32_t i = 0; r == 0 && i < g->settings.copiers; i++) {
        r = -pthread_create(&q->copier[i], NULL, pc_gate_copier, q);
        if (r == 0)
            q->copiers++;
    }
    return r;
}

static uint32_t at_most(uint64_t value, uint32_t most)
{
    return value < 1 ? 1 : value < most ? (uint32_t)value : most;
}

/*
 * When there is no descriptor left for an event, the kernel refuses the open that it tells of. So what is kept for
 * opens leaves room for everything else; more opens than may wait are let through, and counted. Set aside is what each
 * folder's file system needs, and some for folders named later; of a limit of a few dozen at most three quarters.
 */
static void share_descriptors(struct pc_gate *q, const struct pc_guard *g)
{
    struct rlimit limit = {.rlim_cur = DESCRIPTORS_OWN};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = limit.rlim_cur, later = most / (DESCRIPTORS_VOLUME * 16);
    uint32_t volumes = at_most(later > g->folders ? later : g->folders, PC_VOLUMES_MAX);
    uint64_t aside = DESCRIPTORS_OWN + volumes * DESCRIPTORS_VOLUME + pc_perfproc_descriptors(g->perfproc);
    uint64_t room = most - (aside < most / 4 * 3 ? aside : most / 4 * 3);
    q->held_max = at_most(room / 2, g->settings.waiting_opens);
    q->batch = at_most(room / 4, BATCH_MAX - 1) + 1; /* two at least: pc_fan_read_opens */
    q->askers = at_most(room / 16, ASKED_SLOTS); /* two descriptors each */
}

/* Whoever holds it runs before everything else while the answering thread waits for it: it may be the least of all. */
static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    (void)pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(lock, &a);
    pthread_mutexattr_destroy(&a);
}

int pc_gate_start(struct pc_guard *g)
{
    struct pc_gate *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    g->gate = q;
    share_descriptors(q, g);
    q->held = calloc(q->held_max, sizeof *q->held);
    q->job = calloc(q->held_max, sizeof *q->job);
    q->copier = calloc(g->settings.copiers, sizeof *q->copier);
    q->deadline_ns = g->settings.answer_deadline_ns;
    q->store = g->store;
    q->main_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->thread_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!q->held || !q->job || !q->copier || q->main_event < 0 || q->thread_event < 0)
        return -ENOMEM;
    init_lock(&q->lock);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->sync_work, NULL);
    pc_gate_register_own(q);
    pc_store_on_link(g->store, pc_gate_on_link, g);
    q->gate_group = pc_fan_gate_open();
    q->ask_group = pc_fan_first_gate_open();
    q->vault_group = pc_fan_first_gate_open();
    if (q->gate_group < 0 || q->ask_group < 0 || q->vault_group < 0)
        return q->gate_group < 0 ? q->gate_group : q->ask_group < 0 ? q->ask_group : q->vault_group;
    int r = pc_fan_order(&q->ask_group, &q->vault_group);
    /* as likely as not they are in order; and only an open of the vault, at the guard's very death, meets both */
    if (r < 0)
        pc_event(g->log, PC_LEVEL_WARNING, "gate-order", NULL,
                 "the kernel's order of permission groups is not known: keep programs out of %s (%s)",
                 pc_vault_dir_name, pc_strerror(r));
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
    pc_gate_wake(q->thread_event);
    pthread_mutex_lock(&q->lock);
    pthread_cond_broadcast(&q->work);
    pthread_cond_signal(&q->sync_work);
    pthread_mutex_unlock(&q->lock);
    if (q->answerer_tid || q->deadman_armed)
        pthread_join(q->answerer, NULL);
    for (uint32_t i = 0; i < q->copiers; i++)
        pthread_join(q->copier[i], NULL);
    /* Closing the groups lets every open through that still waits; the one met first goes first, see pc_fan_order. */
    close(q->ask_group > q->vault_group ? q->ask_group : q->vault_group);
    close(q->ask_group > q->vault_group ? q->vault_group : q->ask_group);
    close(q->gate_group);
    if (q->has_syncer) /* last: a slow disk may keep it, and nobody else waits for it */
        pthread_join(q->syncer, NULL);
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
    return r == 0 && v->mode == PC_MODE_ON_OPEN ? pc_gate_files_begin(g, v) : r;
}

void pc_gate_remove_volume(struct pc_guard *g, struct pc_volume *v)
{
    if (v->mode == PC_MODE_ON_OPEN)
        pc_gate_files_end(g, v);
    if (v->gate_down)
        (void)pc_fan_gate_up(g->gate->gate_group, v->tree_fd); /* fails when the file system is gone */
    v->gate_down = false;
}

static void bring_down(struct pc_guard *g, struct pc_volume *v, uint64_t for_ns)
{
    uint64_t now = pc_mono_ns(), until = now + for_ns;
    bool was_down = v->gate_down && now < v->gate_until_ns; /* not only held */
    if (until > v->gate_until_ns)
        v->gate_until_ns = until;
    if (!g->settings.gate)
        return;
    g->n.gate_downs += for_ns && !was_down;
    if (v->gate_down)
        return;
    atomic_store(&g->gate->alert, true); /* first: what the mark brings is not to be answered as in calm times */
    if (pc_fan_gate_down(g->gate->gate_group, v->tree_fd) < 0)
        return; /* alert ends with the next tick */
    v->gate_down = true;
}

void pc_gate_evidence(struct pc_guard *g, struct pc_volume *v)
{
    pc_gate_doubt(g);
    bool first = !atomic_exchange(&g->gate->evidence, true);
    bring_down(g, v, QUIET_NS);
    uint64_t now = pc_mono_ns();
    if (first)
        pc_gate_end_rests(g, now);
    if (v->mode == PC_MODE_ON_OPEN && now >= v->durable_until_ns)
        pc_gate_sync(g, v);
    v->durable_until_ns = now + QUIET_NS;
}

void pc_gate_suspect(struct pc_guard *g, struct pc_volume *v)
{
    bring_down(g, v, GLANCE_NS);
}

void pc_gate_crowds(struct pc_guard *g, uint64_t now_ns, bool count)
{
    if (!g->gate)
        return;
    if (!pc_judge_crowded(g->judge, now_ns, count)) {
        pc_gate_forget_passes(g);
        return;
    }
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id && (!v->gate_down || v->gate_until_ns < now_ns + CROWD_NS / 2))
            bring_down(g, v, CROWD_NS);
}

void pc_gate_hold(struct pc_guard *g, struct pc_volume *v)
{
    if (v->gate_down)
        return;
    bring_down(g, v, 0);
    g->gate->holds |= v->gate_down;
}

void pc_gate_unhold(struct pc_guard *g)
{
    if (!g->gate->holds)
        return;
    g->gate->holds = false;
    pc_gate_relax(g, pc_mono_ns());
}

void pc_gate_relax(struct pc_guard *g, uint64_t now_ns)
{
    bool alert = pc_stop_any_frozen(g), evidence = false;
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        evidence |= v->id && now_ns < v->durable_until_ns;
        alert |= v->gate_down && now_ns < v->gate_until_ns;
        if (!v->id || !v->gate_down || now_ns < v->gate_until_ns)
            continue;
        (void)pc_fan_gate_up(g->gate->gate_group, v->tree_fd);
        v->gate_down = false;
    }
    atomic_store(&g->gate->alert, alert);
    atomic_store(&g->gate->evidence, evidence);
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
