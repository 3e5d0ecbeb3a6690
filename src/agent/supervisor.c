/*
 * Owns the parent process of the guard: starts it, watches its heartbeat, starts it again. Holds no fanotify
 * descriptor, so that its own death or stop can keep nobody waiting: a stuck guard is killed, and the kernel lets all
 * opens through.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "proc/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/*
 * The heartbeat comes from the guard's main thread, four times a second. Its answering thread has a switch of its own
 * (kern/deadman.h) that is much faster; this one only finds a main thread that hangs, for example in a dead disk.
 */
#define SILENCE_NS (20 * PC_NS_PER_S)
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 900
/* A guard that lived this long before it died is started again at once. */
#define LIVED_NS (10 * PC_NS_PER_S)
#define EXIT_NOTHING 3
#define EXIT_CONFIG 78

struct child {
    pid_t pid;
    int pid_fd, beat_fd;
    uint64_t started_ns, beat_ns;
};

static int start_child(char **argv, uint32_t restarts, struct child *c)
{
    int beat[2];
    if (pipe2(beat, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        close(beat[0]);
        close(beat[1]);
        return -errno;
    }
    if (pid == 0) {
        char number[24], restarts_text[24];
        (void)fcntl(beat[1], F_SETFD, 0); /* goes through the exec; no other number: few may be allowed */
        snprintf(number, sizeof number, "%d", beat[1]);
        snprintf(restarts_text, sizeof restarts_text, "%u", restarts);
        char supervisor[24];
        snprintf(supervisor, sizeof supervisor, "%d", parent);
        (void)pc_signals_allow_all();
        setenv("PORTCULLIS_BEAT_FD", number, 1);
        setenv("PORTCULLIS_RESTARTS", restarts_text, 1);
        setenv("PORTCULLIS_SUPERVISOR", supervisor, 1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(beat[1]);
    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid_fd < 0) { /* a guard that nobody watches is none */
        int r = -errno;
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        close(beat[0]);
        return r;
    }
    *c = (struct child){.pid = pid, .pid_fd = pid_fd, .beat_fd = beat[0]};
    c->started_ns = c->beat_ns = pc_mono_ns();
    return 0;
}

static void read_beat(struct child *c)
{
    char buf[64];
    ssize_t n;
    while ((n = read(c->beat_fd, buf, sizeof buf)) > 0)
        c->beat_ns = pc_mono_ns();
}

static int reap(struct child *c)
{
    int status = 0;
    (void)waitpid(c->pid, &status, 0);
    close(c->pid_fd);
    close(c->beat_fd);
    return status;
}

/* Hands our own signals on, if there is a guard; returns true when it is to end. */
static bool pass_signals(int signal_fd, const struct child *c)
{
    bool end = false;
    for (int s; (s = pc_signals_take(signal_fd));) {
        if (c)
            kill(c->pid, s);
        end |= s != SIGHUP;
    }
    return end;
}

/* Waits before the next try. True when we are told to end; who is to reload will read the settings anyway. */
static bool pause_for(int ms, int signal_fd)
{
    struct pollfd p = {signal_fd, POLLIN, 0};
    return poll(&p, 1, ms) > 0 && pass_signals(signal_fd, NULL);
}

/* Until the child has ended. *end is set when we were told to end too. */
static int watch(struct child *c, int signal_fd, bool *end)
{
    for (;;) {
        struct pollfd p[] = {{c->pid_fd, POLLIN, 0}, {c->beat_fd, POLLIN, 0}, {signal_fd, POLLIN, 0}};
        (void)poll(p, 3, 1000);
        if (p[0].revents)
            return reap(c);
        if (p[1].revents)
            read_beat(c);
        if (p[2].revents)
            *end |= pass_signals(signal_fd, c);
        if (pc_mono_ns() - c->beat_ns > SILENCE_NS) {
            fprintf(stderr,
                    "portcullisd: the guard (pid %d) has not moved for %" PRIu64 " s: ending and restarting it\n",
                    c->pid, (uint64_t)(SILENCE_NS / PC_NS_PER_S));
            kill(c->pid, SIGKILL);
            c->beat_ns = pc_mono_ns();
        }
    }
}

/* Asked to end, or what the next start would meet again: the settings are bad, or name no folder any more. */
static bool is_final(int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return code == 0 || code == EXIT_NOTHING || code == EXIT_CONFIG;
}

static void say_died(const struct child *c, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "portcullisd: the guard (pid %d) was ended by signal %d: starting it again\n", c->pid,
                WTERMSIG(status));
    else
        fprintf(stderr, "portcullisd: the guard (pid %d) ended with status %d: starting it again\n", c->pid,
                WEXITSTATUS(status));
}

/* Once a minute: this may go on for long. */
static void say_not_started(int err)
{
    static uint64_t last_ns;
    uint64_t now = pc_mono_ns();
    if (last_ns && now - last_ns < 60 * PC_NS_PER_S)
        return;
    last_ns = now;
    fprintf(stderr, "portcullisd: the guard cannot be started again: %s; trying on\n", pc_strerror(err));
}

int pc_supervise(char **argv)
{
    _close_ int signal_fd = pc_signals_open(0, NULL);
    (void)prctl(PR_SET_DUMPABLE, 0);
    if (signal_fd < 0)
        return signal_fd;
    bool end = false;
    int backoff_ms = BACKOFF_FIRST_MS;
    for (uint32_t restarts = 0;; restarts++) {
        struct child c = {.pid_fd = -1, .beat_fd = -1};
        int r = start_child(argv, restarts, &c);
        if (r < 0 && restarts == 0)
            return r;
        if (r < 0) { /* the lack of processes, memory or descriptors that ended it will pass */
            say_not_started(r);
            if (pause_for(BACKOFF_MAX_MS, signal_fd))
                return 0;
            continue;
        }
        int status = watch(&c, signal_fd, &end);
        if (end || is_final(status))
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        /* One that never got going is a matter for a person, not for a loop; later ends are restarted for ever. */
        if (restarts == 0 && WIFEXITED(status) && pc_mono_ns() - c.started_ns < PC_NS_PER_S)
            return WEXITSTATUS(status);
        say_died(&c, status);
        backoff_ms = pc_mono_ns() - c.started_ns > LIVED_NS ? BACKOFF_FIRST_MS
                     : backoff_ms * 2 < BACKOFF_MAX_MS      ? backoff_ms * 2
                                                            : BACKOFF_MAX_MS;
        if (pause_for(backoff_ms, signal_fd))
            return 0;
    }
}
