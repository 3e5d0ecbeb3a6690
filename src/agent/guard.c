/*
 * Owns the guard's life: the loop, and who is known to it. The loop does what must not wait first (file events, waiting
 * opens, commands), and in what time is left walks folders and preserves, one small step at a time. What is opened
 * before it and closed after it, and reload, are in guard_start.c.
 */
#include "agent/clients.h"
#include "agent/guard_start.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "core/trace.h"
#include "kern/cnproc.h"
#include "kern/procfs.h"
#include "proc/confine.h"
#include "proc/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

/* Between ticks only events wake the guard: four wake-ups a second when nothing happens. */
#define TICK_MS 250
#define MARKS_FIRST_NS (3 * PC_NS_PER_S)
/* Longest time spent on events before waiting opens and commands are looked at again. */
#define DRAIN_NS (50 * PC_NS_PER_MS)
/*
 * Between two reads of the events of programs that are proven to be harmless: what starts then is half a file at 704/s.
 */
#define REST_NS (PC_NS_PER_MS / 2)
#define SCAN_ENTRIES 4
/* Of the main thread while it preserves and walks: three quarters of a processor against ten busy programs. */
#define WORK_NICE (-15)
/* Preserving and walking go on this long before events and waiting opens are looked at again. */
#define WORK_NS PC_NS_PER_MS
/* While opens of suspects wait for their turn. */
#define TURN_MS 5

uint64_t pc_guard_random(struct pc_guard *g)
{
    /* xorshift64* over a secret start: unpredictable to whoever lays out a file, and cheap. */
    g->random_state ^= g->random_state >> 12;
    g->random_state ^= g->random_state << 25;
    g->random_state ^= g->random_state >> 27;
    return g->random_state * 0x2545f4914f6cdd1dULL;
}

/*
 * Urgent (a real-time priority) while looking at events, so that 256 busy attackers cannot keep the guard off the
 * processor; ordinary while preserving and walking, so that the guard does not keep others off it.
 */
static void set_urgent(struct pc_guard *g, bool urgent)
{
    if (g->urgent == urgent)
        return;
    struct sched_param p = {.sched_priority = urgent ? 1 : 0};
    if (sched_setscheduler(0, (urgent ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &p) == 0)
        g->urgent = urgent; /* without the right: slower, not wrong */
}

/* ---- lineage ---- */

static void seen(struct pc_guard *g, pid_t pid, pid_t parent)
{
    uint64_t now = pc_mono_ns();
    (void)pc_judge_seen(g->judge, pid, parent, now);
    pc_tracer_lineage(g, PC_TRACE_SEEN, parent, pid, now);
}

static void spare(struct pc_guard *g, pid_t pid)
{
    pc_judge_spare(g->judge, pid);
    pc_tracer_lineage(g, PC_TRACE_SPARE, 0, pid, pc_mono_ns());
}

static int see_process(void *arg, pid_t pid)
{
    struct pc_guard *g = arg;
    struct pc_procinfo p;
    if (pc_proc_brief(pid, &p) == 0) {
        seen(g, pid, p.ppid);
        if (p.kernel_thread)
            spare(g, pid);
        else
            pc_clients_met(g, pid);
    }
    return 0;
}

static void lineage_event(void *arg, const struct pc_proc_event *e)
{
    struct pc_guard *g = arg;
    uint64_t now = pc_mono_ns();
    switch (e->what) {
    case PC_PROC_FORK:
        (void)pc_judge_fork(g->judge, e->parent, e->pid, now);
        pc_tracer_lineage(g, PC_TRACE_FORK, e->parent, e->pid, now);
        pc_clients_forked(g, e->parent, e->pid);
        break;
    case PC_PROC_EXEC:
        pc_judge_exec(g->judge, e->pid, now);
        pc_tracer_lineage(g, PC_TRACE_EXEC, 0, e->pid, now);
        pc_acts_forget_process(g, pc_judge_actor_of(g->judge, e->pid));
        pc_clients_met(g, e->pid);
        break;
    case PC_PROC_EXIT:
        pc_judge_exit(g->judge, e->pid, now);
        pc_tracer_lineage(g, PC_TRACE_EXIT, 0, e->pid, now);
        break;
    case PC_PROC_THREAD:
        pc_judge_thread(g->judge, e->parent, e->pid, now);
        break;
    case PC_PROC_THREAD_EXIT:
        pc_judge_thread_exit(g->judge, e->pid);
        break;
    default:
        g->lineage_lost = true;
    }
}

void pc_guard_lineage(struct pc_guard *g)
{
    if (g->perfproc)
        (void)pc_perfproc_drain(g->perfproc, lineage_event, g);
    while (g->cnproc_fd >= 0 && pc_cnproc_drain(g->cnproc_fd, 4096, lineage_event, g) == 4096)
        ;
    pc_gate_crowds(g, pc_mono_ns(), false);
    if (g->lineage_lost) {
        g->lineage_lost = false;
        (void)pc_proc_each(see_process, g);
    }
}

void pc_guard_meet_all(struct pc_guard *g)
{
    (void)pc_proc_each(see_process, g);
    /* Nothing that contains the guard may ever be frozen, nor what starts everything else. */
    spare(g, 1);
    struct pc_procinfo p;
    for (pid_t pid = getpid(); pid > 0 && pc_proc_brief(pid, &p) == 0; pid = p.ppid)
        spare(g, pid);
}

/* ---- events ---- */

/* Tells the supervisor that this thread moves; called wherever time is spent. */
static void beat(struct pc_guard *g)
{
    uint64_t now = pc_mono_ns();
    if (g->supervisor_fd < 0 || now - g->beat_ns < TICK_MS * PC_NS_PER_MS)
        return;
    g->beat_ns = now;
    if (write(g->supervisor_fd, ".", 1) < 0 && errno == EPIPE) {
        close(g->supervisor_fd); /* the supervisor died: go on guarding, and say so in status */
        g->supervisor_fd = -1;
        g->supervisor_pid = 0;
    }
}

static void breathe(void *arg)
{
    beat(arg);
}

void pc_guard_know(struct pc_guard *g, pid_t pid)
{
    struct pc_procinfo p;
    if (pid <= 0 || pc_judge_actor_of(g->judge, pid) || pc_proc_brief(pid, &p) < 0)
        return;
    seen(g, pid, p.ppid);
    pc_clients_met(g, pid);
}

pid_t pc_guard_pid_of(struct pc_guard *g, pid_t tid)
{
    pid_t pid = !tid || pc_judge_actor_of(g->judge, tid) ? tid : pc_proc_tgid(tid);
    return pid >= 0 ? pid : tid;
}

static void handle_batch(struct pc_guard *g, size_t len)
{
    struct pc_fan_iter it;
    struct pc_fan_event e;
    pc_fan_iter_init(&it, g->event_buf, len);
    while (pc_fan_next(&it, &e)) {
        pc_guard_know(g, e.pid);
        pc_acts_event(g, &e);
        g->may_rest &= pc_acts_is_proven(g, e.pid);
        beat(g);
    }
}

static void shed_backlog(struct pc_guard *g)
{
    uint64_t most = g->settings.event_backlog_bytes;
    if ((uint64_t)pc_fan_backlog(g->watch_fd) < most)
        return;
    while (pc_fan_read(g->watch_fd, g->event_buf, PC_EVENT_BUF) > 0 && (uint64_t)pc_fan_backlog(g->watch_fd) > most / 4)
        ;
    pc_acts_event(g, &(struct pc_fan_event){.bits = PC_FAN_OVERFLOW});
}

void pc_guard_drain(struct pc_guard *g)
{
    if (!g->drained)
        shed_backlog(g); /* the last turn did not get to the end */
    uint64_t end = pc_mono_ns() + DRAIN_NS;
    g->drained = false;
    do {
        ssize_t n = pc_fan_read(g->watch_fd, g->event_buf, PC_EVENT_BUF);
        if (n > 0)
            pc_acts_glance(g, g->event_buf, (size_t)n);
        /* After the read, so that the fork of whoever acted is known before its act. */
        pc_guard_lineage(g);
        if (n <= 0) {
            g->drained = true;
            return;
        }
        g->may_rest |= g->was_calm; /* the first read of this turn */
        g->was_calm = false;
        pc_gate_adopt(g); /* after the read, too */
        handle_batch(g, (size_t)n);
    } while (pc_mono_ns() < end);
}

void pc_guard_pump(struct pc_guard *g)
{
    if (g->pumping)
        return; /* called from within a step of its own */
    g->pumping = true;
    beat(g);
    pc_guard_drain(g);
    pc_gate_step(g);
    g->pumping = false;
}

/* ---- the loop ---- */

static void take_signal(struct pc_guard *g, int fd)
{
    for (int s; (s = pc_signals_take(fd));) {
        if (s == SIGHUP)
            (void)pc_guard_reload(g);
        else
            g->stopping = true;
    }
}

static int watch_fd(struct pc_guard *g, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    return epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static void say_ready(struct pc_guard *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->folders; i++)
        n += g->folder[i].vol >= 0;
    if (pc_decoys_set(g) < 0)
        pc_event(g->log, PC_LEVEL_WARNING, "decoy", NULL, "no memory for decoys");
    (void)pc_store_flush(g->store);
    g->ready = true;
    /*
     * Among 20 busy programs a thread like any other is off the processor for 40 ms, and an event that arrives
     * meanwhile cannot make it urgent. The walk over everything is done by now; what is left to do is short.
     */
    (void)setpriority(PRIO_PROCESS, 0, WORK_NICE); /* without the right: slower, not wrong */
    printf("portcullis: guarding %u folders\n", n); /* one form for any number: other programs wait for this line */
    fflush(stdout);
    (void)sd_notify(0, "READY=1");
}

/* Everything that time brings. Cheap when there is nothing to do. */
#define RETENTION_KEY "retention-clock"

/*
 * The time retention goes by. A clock that was set wrong for a minute (or by an attacker) must not make everything that
 * is kept too old at once; so this one goes at most twice as fast as time does, over restarts, too.
 */
static uint64_t retention_now(struct pc_guard *g)
{
    struct pc_slow_clock *c = &g->retention;
    uint64_t mono = pc_mono_ns(), real = pc_real_ns();
    if (!c->mono_ns && pc_store_recall(g->store, RETENTION_KEY, &c->real_ns) < 0)
        c->real_ns = real; /* a new store: nothing in it is old */
    pc_slow_clock_step(c, real, mono);
    if (!g->retention_kept_ns || mono - g->retention_kept_ns > 3600 * PC_NS_PER_S) {
        g->retention_kept_ns = mono;
        (void)pc_store_remember(g->store, RETENTION_KEY, c->real_ns);
    }
    return c->real_ns;
}

static void tick(struct pc_guard *g, uint64_t now)
{
    static uint64_t last_second, last_flush, last_minute;
    pc_guard_lineage(g);
    pc_gate_see_to_read(g);
    pc_gate_nudge(g, now);
    pc_gate_end_rests(g, now);
    pc_gate_crowds(g, now, true);
    pc_acts_look_at_muted(g, now);
    beat(g);
    if (now - last_flush > PC_NS_PER_S) {
        last_flush = now;
        (void)pc_store_flush(g->store);
        pc_tracer_flush(g);
    }
    if (now - last_second < PC_NS_PER_S)
        return;
    last_second = now;
    if (now - last_minute > 60 * PC_NS_PER_S) {
        last_minute = now;
        pc_freezer_sweep(&g->freezer);
    }
    pc_gate_relax(g, now);
    pc_stop_tick(g);
    pc_deletions_tick(g, pc_mono_ns());
    pc_events_tick(g->log);
    (void)pc_store_tend(g->store, retention_now(g), 2 * PC_NS_PER_MS);
    pc_volumes_tell_trouble(g);
    pc_folders_look(g);
    if (pc_control_peers(g->control))
        (void)pc_control_step(g->control, now);
}

/* Something happened after a calm turn: perhaps the first file of many, and a millisecond is 30 of them. */
static bool events_wait(const struct pc_guard *g)
{
    struct pollfd p = {g->watch_fd, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

/*
 * Before we say that we guard, files that rest on links are marked: truncate(2) is held only then. Not for ever: on a
 * cold and slow disk each takes a while. True when there is more to do.
 */
static bool marks_first(struct pc_guard *g, uint64_t now)
{
    g->marks_since_ns = g->marks_since_ns ? g->marks_since_ns : now;
    if (now < pc_gate_files_next_ns(g) || now - g->marks_since_ns > MARKS_FIRST_NS)
        return false;
    set_urgent(g, false);
    pc_gate_files_step(g, now);
    return true;
}

/* What can wait: as much as fits into one turn. True when something was done. */
static bool work(struct pc_guard *g)
{
    uint64_t now = pc_mono_ns(), end = now + WORK_NS;
    bool captures = pc_capture_due(g, now);
    if (!captures && !pc_scan_busy(g)) {
        if (pc_scan_again(g) || pc_startup_step(g))
            return true;
        if (!g->ready && marks_first(g, now))
            return true;
        if (!g->ready)
            say_ready(g);
        if (now >= pc_missing_next_ns(g)) {
            set_urgent(g, false);
            pc_missing_step(g, now);
        }
        if (now >= pc_gate_files_next_ns(g)) {
            set_urgent(g, false);
            pc_gate_files_step(g, now);
        }
        if (now >= pc_ahead_next_ns(g)) {
            set_urgent(g, false);
            pc_ahead_step(g, now);
        }
        return false;
    }
    set_urgent(g, false);
    do {
        if (!pc_capture_step(g, now) && !pc_scan_step(g, SCAN_ENTRIES))
            break;
        beat(g);
        now = pc_mono_ns();
    } while (now < end && !(g->was_calm && events_wait(g)));
    return true;
}

static int wait_ms(const struct pc_guard *g, bool worked, uint64_t now)
{
    if (worked || pc_capture_due(g, now) || pc_scan_busy(g))
        return 0;
    uint64_t next = pc_capture_next_ns(g), ahead = pc_ahead_next_ns(g);
    next = ahead < next ? ahead : next;
    next = pc_missing_next_ns(g) < next ? pc_missing_next_ns(g) : next;
    next = pc_gate_files_next_ns(g) < next ? pc_gate_files_next_ns(g) : next;
    if (g->opens_wait)
        return TURN_MS;
    uint64_t ms = next == UINT64_MAX ? TICK_MS : next <= now ? 0 : (next - now) / PC_NS_PER_MS + 1;
    return (int)(ms < TICK_MS ? ms : TICK_MS);
}

static bool must_pump(struct pc_guard *g, const struct epoll_event *e, int n)
{
    for (int i = 0; i < n; i++)
        if (e[i].data.fd == g->watch_fd || e[i].data.fd == pc_gate_fd(g))
            return true;
    return !g->drained || g->opens_wait;
}

static void handle_ready(struct pc_guard *g, int fd, int signal_fd, uint64_t now)
{
    if (fd == signal_fd)
        take_signal(g, fd);
    else if (fd == g->mounts_fd)
        pc_volumes_check(g);
    else if (fd == pc_control_fd(g->control))
        (void)pc_control_step(g->control, now);
    if (fd == g->births_fd) { /* not with the next event only: a crowd has to be known before it acts */
        if (!g->perfproc)
            pc_cnproc_births_clear(fd);
        pc_guard_lineage(g);
    }
}

/*
 * A program that is proven to be harmless goes on doing what it did: read one by one, its events cost both a wake-up
 * each, read together the kernel has merged most of them. An open that waits for us ends it.
 */
static void rest(struct pc_guard *g)
{
    const struct timespec most = {.tv_nsec = REST_NS};
    struct pollfd p = {pc_gate_fd(g), POLLIN, 0};
    (void)ppoll(&p, 1, &most, NULL);
}

static int loop(struct pc_guard *g, int signal_fd)
{
    bool worked = false;
    uint64_t last_tick = 0;
    while (!g->stopping) {
        struct epoll_event e[8];
        if (g->may_rest && !worked)
            rest(g);
        g->may_rest = false;
        set_urgent(g, true);
        int n = epoll_wait(g->epoll_fd, e, 8, wait_ms(g, worked, pc_mono_ns()));
        if (n < 0 && errno != EINTR)
            return -errno;
        g->was_calm = true;
        if (must_pump(g, e, n))
            pc_guard_pump(g);
        uint64_t now = pc_mono_ns();
        for (int i = 0; i < n; i++)
            handle_ready(g, e[i].data.fd, signal_fd, now);
        if (now - last_tick >= TICK_MS * PC_NS_PER_MS) {
            last_tick = now;
            tick(g, now);
        }
        worked = work(g);
    }
    return 0;
}

static int prepare_loop(struct pc_guard *g, int *signal_fd)
{
    *signal_fd = pc_signals_open(0, NULL); /* blocked they are already */
    if (*signal_fd < 0)
        return *signal_fd;
    g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (g->epoll_fd < 0)
        return -errno;
    int r = watch_fd(g, *signal_fd, EPOLLIN);
    if (r == 0)
        r = watch_fd(g, g->watch_fd, EPOLLIN);
    if (r == 0)
        r = watch_fd(g, pc_gate_fd(g), EPOLLIN);
    if (r == 0)
        r = watch_fd(g, pc_control_fd(g->control), EPOLLIN);
    if (r == 0)
        r = watch_fd(g, g->mounts_fd, EPOLLPRI | EPOLLERR | EPOLLET);
    if (r == 0 && g->births_fd >= 0)
        r = watch_fd(g, g->births_fd, EPOLLIN);
    return r;
}

static int secure_self(void)
{
    /* Others must not read our memory or descriptors; we are no use to a debugger of an attacker. */
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return -errno;
    struct rlimit n;
    if (getrlimit(RLIMIT_NOFILE, &n) == 0) {
        n.rlim_cur = n.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &n);
    }
    umask(077);
    return 0;
}

int pc_guard_run(struct pc_guard *g)
{
    sigset_t set;
    sigfillset(&set); /* threads inherit it: signals come by descriptor only */
    for (int s = SIGILL; s <= SIGSEGV; s++)
        sigdelset(&set, s);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = secure_self();
    if (r == 0)
        r = pc_confine_guard();
    if (r < 0)
        return pc_guard_complain("giving up rights", r,
                                 "the kernel needs seccomp (CONFIG_SECCOMP_FILTER), the guard root's capabilities");
    g->self = getpid();
    g->drained = true;
    g->started_real_ns = pc_real_ns();
    g->watch_fd = g->cnproc_fd = g->births_fd = g->mounts_fd = g->epoll_fd = -1;
    if (getrandom(&g->random_state, sizeof g->random_state, 0) != (ssize_t)sizeof g->random_state)
        return pc_guard_complain("random numbers", -errno, "");
    g->random_state |= 1;
    for (uint32_t i = 0; r == 0 && i < g->settings.protect.count; i++)
        r = pc_guard_add_folder(g, g->settings.protect.path[i]);
    if (r == 0 && !g->folders)
        return pc_guard_complain("nothing to guard", PC_E_NOTFOUND, "name a folder with --protect or [guard] protect");
    if (r == 0)
        r = pc_control_listen(g->state_dir, pc_guard_commands, g, &g->control);
    if (r < 0)
        return pc_guard_complain(g->state_dir, r, r == -EADDRINUSE ? "another guard runs with this state folder" : "");
    pc_store_breathe(breathe, g); /* a rollback, or a new index, may take longer than the supervisor waits */
    r = pc_guard_open(g);
    int signal_fd = -1;
    if (r >= 0)
        r = prepare_loop(g, &signal_fd);
    if (r >= 0)
        r = loop(g, signal_fd);
    pc_guard_close(g);
    return r;
}
