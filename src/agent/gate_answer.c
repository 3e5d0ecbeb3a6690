/*
 * Owns the answering thread: it reads the opens that wait and answers at once what cannot destroy anything. What it
 * cannot answer it leaves in the table for the main thread (gate_decide.c), which knows the evidence; what reached its
 * deadline it lets through. Must not open anything on a guarded file system, and must not wait for the main thread but
 * for the short lock around the table. The kernel hands it opens; gate.c starts and ends it.
 */
#include "agent/gate_impl.h"

#include "base/clock.h"
#include "kern/deadman.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#define TURN_MS 200
/* Who holds a lease may take so long to give it up; a tick later nobody else waits for him any longer. */
#define LEASE_NS (150 * PC_NS_PER_MS)
/* Batches of one group in a row: others, deadlines and the dead man's switch want their turn, however many ask. */
#define TURNS_MAX 16
/* A copy may keep its own opener waiting this long; nobody else waits for it. */
#define COPY_DEADLINE_NS (10 * PC_NS_PER_S)

static bool is_own(const struct pc_gate *q, pid_t tid)
{
    for (uint32_t i = 0; i < q->owns; i++)
        if (q->own[i] == tid)
            return true;
    return false;
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
    /* 0: it is outside our pid namespace, and cannot be looked at */
    int r = o->tid ? pc_proc_open_why(&q->asker[(uint32_t)o->tid % q->askers], o->tid, why) : -EPERM;
    if (r == -ENOENT || r == -ESRCH)
        return true; /* gone */
    if (r < 0) /* not known (no descriptor left, not allowed): then it may write */
        *why = (struct pc_open_why){.kind = PC_OPEN_WRITE};
    return why->kind == PC_OPEN_READ && !(asks && why->wants_single_link);
}

/*
 * The gate: read-only, not a file, or by a thread that is not suspect. The cheapest question first, the dearest last.
 */
static bool harmless(struct pc_gate *q, const struct pc_fan_open *o, uint64_t now, struct pc_open_why *why)
{
    struct stat st;
    if (!atomic_load(&q->alert) || pc_gate_known_clean(q, o->tid, now) || is_own(q, o->tid))
        return true;
    return fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode) || only_reads(q, o, false, why);
}

/* on-open: nothing of this file has to be copied first. Whether its opener is a suspect is the gate's question. */
static bool needs_nothing(struct pc_gate *q, const struct pc_fan_open *o, uint64_t now, struct pc_open_why *why)
{
    struct stat st;
    if (is_own(q, o->tid) || fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return true;
    pc_gate_was_opened(q, &st, now);
    if (pc_gate_is_spared(q, &st)) { /* its second open: from now on the kernel does not ask */
        pc_gate_ask_no_more(q, o->fd, &st, true);
        return true;
    }
    if (!only_reads(q, o, true, why))
        return false;
    pc_gate_was_read(q, o->fd, &st, now);
    return true;
}

/* Whether this question needs no more than a yes; if not, why it was asked. */
static bool passes(struct pc_gate *q, int group, const struct pc_fan_open *o, uint64_t now, struct pc_open_why *why)
{
    if (group != q->ask_group)
        return harmless(q, o, now, why);
    if (o->what == PC_FAN_OPEN)
        return needs_nothing(q, o, now, why);
    *why = (struct pc_open_why){.kind = PC_OPEN_TRUNCATE};
    return is_own(q, o->tid) || !pc_gate_may_cut(q, o, now);
}

/* on-open: let go without anybody having looked at it. The answering thread opens nothing: a handle will do. */
static void tell_unseen(struct pc_gate *q, int group, int fd, uint8_t kind)
{
    struct stat st;
    struct told_file *f = &q->unseen_to[q->unseen_tos];
    if (group != q->ask_group || kind == PC_OPEN_READ || kind == PC_OPEN_APPEND || q->unseen_tos == UNSEEN_TO_MAX ||
        fstat(fd, &st) < 0 || pc_fh_of_fd(fd, &f->fh) < 0)
        return;
    f->st_dev = st.st_dev;
    q->unseen_tos++;
}

/* Answered here when it cannot destroy anything; else left to the main thread. True when somebody waits for it. */
static bool take_open(struct pc_gate *q, int group, const struct pc_fan_open *o, uint64_t now)
{
    struct pc_open_why why;
    q->stats.opens++;
    if (passes(q, group, o, now, &why)) {
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
    if (!h) {
        q->stats.late++;
        tell_unseen(q, group, o->fd, (uint8_t)why.kind);
    }
    pthread_mutex_unlock(&q->lock);
    if (!h)
        allow_now(group, o->fd);
    return h != NULL;
}

/*
 * To make an event's descriptor the kernel opens the file, and waits there for whoever holds a lease on it (fcntl(2),
 * Samba's kernel oplocks): the holder may be the very one whose read waits for us. A signal ends that wait (see
 * pc_gate_nudge); the kernel then refuses that one access.
 */
static int read_opens(struct pc_gate *q, int group, struct pc_fan_open *out)
{
    atomic_store(&q->reading_ns, pc_mono_ns());
    int n = pc_fan_read_opens(group, out, (int)q->batch);
    atomic_store(&q->reading_ns, 0);
    return n;
}

void pc_gate_nudge(struct pc_guard *g, uint64_t now_ns)
{
    uint64_t since = atomic_load(&g->gate->reading_ns);
    if (since && now_ns > since && now_ns - since > LEASE_NS)
        (void)pthread_kill(g->gate->answerer, PC_GATE_NUDGE);
}

static void answer_opens(struct pc_gate *q, int group)
{
    struct pc_fan_open opens[BATCH_MAX];
    bool left = false;
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        int n = read_opens(q, group, opens);
        if (n <= 0)
            break;
        uint64_t now = pc_mono_ns();
        for (int i = 0; i < n; i++)
            left |= take_open(q, group, &opens[i], now);
        if (left)
            pc_gate_wake(q->main_event);
        if (n < (int)q->batch)
            break; /* that was all: poll() tells of the next */
    }
}

/*
 * A file that has a name of its own besides our link, opened by its handle (open_by_handle_at(2), an NFS server): the
 * kernel takes any of its names for that, ours too. Nothing is gained by it: who writes waits as at any other name.
 */
static bool has_own_name(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1;
}

static void deny_at_vault(struct pc_gate *q)
{
    struct pc_fan_open opens[BATCH_MAX];
    int n;
    for (int turn = 0; turn < TURNS_MAX && (n = read_opens(q, q->vault_group, opens)) > 0; turn++) {
        for (int i = 0; i < n; i++) {
            bool passes = is_own(q, opens[i].tid) || has_own_name(opens[i].fd);
            (void)pc_fan_answer(q->vault_group, opens[i].fd, passes);
            close(opens[i].fd);
            if (passes)
                continue;
            pthread_mutex_lock(&q->lock);
            q->stats.denied_vault++;
            if (q->touches < TOUCHES_MAX)
                q->touched[q->touches++] = opens[i].tid;
            pthread_mutex_unlock(&q->lock);
            pc_gate_wake(q->main_event);
        }
    }
}

static void enforce_deadlines(struct pc_gate *q)
{
    uint64_t now = pc_mono_ns();
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++) {
        struct held *h = &q->held[i];
        bool copied = h->state == HELD_COPYING || h->state == HELD_FOLLOWS;
        uint64_t limit = copied ? COPY_DEADLINE_NS : q->deadline_ns;
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
        tell_unseen(q, h->group, h->fd, h->kind);
        pc_gate_answer(q, h, true);
    }
    pthread_mutex_unlock(&q->lock);
}

/* All others come by descriptor, to the main thread. */
static void unblock_nudge(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, PC_GATE_NUDGE);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void *pc_gate_answerer(void *arg)
{
    struct pc_gate *q = arg;
    unblock_nudge();
    pc_gate_register_own(q);
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
            pc_gate_drain_event(q->thread_event);
    }
    return NULL;
}
