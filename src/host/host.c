/*
 * Owns the role `host`: starts link and runner (and the guard, where folders are configured), watches them, starts each again when it ends. Does nothing else,
 * so that there is nothing in it to go wrong: each part recovers by starting anew.
 */
#include "host/options.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WAIT_FIRST_MS 200
#define WAIT_MAX_MS 30000
#define LIVED_NS (30 * PC_NS_PER_S)
#define END_WAIT_MS 8000
#define WORDS_MAX (16 + 2 * PC_SETTINGS_PATHS_MAX)

struct part {
    const char *role;
    bool wanted;
    pid_t pid; /* 0: not running */
    int pid_fd;
    uint64_t started_ns, next_ns;
    uint32_t wait_ms;
};

/* The words of a part: its role and the options that it shares with us. */
static void make_words(const struct pc_host_options *o, const char *role, const char **words)
{
    bool guard = strcmp(role, "guard") == 0;
    size_t n = 0;
    words[n++] = "portcullisd";
    words[n++] = role;
    if (o->config) {
        words[n++] = "--config";
        words[n++] = o->config;
    }
    if (o->state) {
        words[n++] = "--state";
        words[n++] = o->state;
    }
    if (!guard) {
        words[n++] = "--fleet-state";
        words[n++] = o->fleet;
    }
    for (uint32_t i = 0; guard && i < o->protects; i++) {
        words[n++] = "--protect";
        words[n++] = o->protect[i];
    }
    words[n] = NULL;
}

static int start_part(const struct pc_host_options *o, struct part *p)
{
    static const char *words[WORDS_MAX];
    make_words(o, p->role, words);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        /* A part without its supervisor would not be started again: it ends too, and systemd starts all of it. The guard guards on. */
        if (strcmp(p->role, "guard") != 0 && (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent))
            _exit(1);
        execv(o->program, (char **)words);
        fprintf(stderr, "portcullisd: %s: %s\n", o->program, strerror(errno));
        _exit(127);
    }
    p->pid = pid;
    p->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    p->started_ns = pc_mono_ns();
    return p->pid_fd < 0 ? -errno : 0;
}

static void say_ended(const struct part *p, int status)
{
    char how[64];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "ended with status %d", WEXITSTATUS(status));
    fprintf(stderr, "portcullisd: the %s (pid %d) %s: starting it again in %u ms\n", p->role, p->pid, how, p->wait_ms);
}

static bool reap(struct part *p, bool ending)
{
    int status;
    if (p->pid == 0 || waitpid(p->pid, &status, WNOHANG) != p->pid)
        return false;
    close(TAKE_FD(p->pid_fd));
    uint64_t now = pc_mono_ns();
    if (WIFEXITED(status) && WEXITSTATUS(status) == PC_EXIT_UPGRADED)
        p->wait_ms = 1; /* it asked for this */
    else
        p->wait_ms = now - p->started_ns > LIVED_NS || !p->wait_ms ? WAIT_FIRST_MS : p->wait_ms * 2 < WAIT_MAX_MS ? p->wait_ms * 2 : WAIT_MAX_MS;
    p->next_ns = now + p->wait_ms * PC_NS_PER_MS;
    if (!ending)
        say_ended(p, status);
    p->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == PC_EXIT_UPGRADED;
}

static void signal_parts(struct part *parts, size_t n, int signo)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i].pid)
            kill(parts[i].pid, signo);
}

static bool any_alive(const struct part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i].pid)
            return true;
    return false;
}

static void wait_a_moment(const struct part *parts, size_t n, int signal_fd, int ms)
{
    struct pollfd p[8] = {{signal_fd, POLLIN, 0}};
    uint32_t count = 1;
    for (size_t i = 0; i < n; i++)
        if (parts[i].pid)
            p[count++] = (struct pollfd){parts[i].pid_fd, POLLIN, 0};
    (void)poll(p, count, ms);
}

static void end_all(struct part *parts, size_t n, int signal_fd)
{
    signal_parts(parts, n, SIGTERM);
    uint64_t until = pc_mono_ns() + END_WAIT_MS * PC_NS_PER_MS;
    while (any_alive(parts, n) && pc_mono_ns() < until) {
        wait_a_moment(parts, n, signal_fd, 100);
        for (size_t i = 0; i < n; i++)
            (void)reap(&parts[i], true);
    }
    signal_parts(parts, n, SIGKILL);
    for (size_t i = 0; i < n; i++)
        if (parts[i].pid)
            (void)waitpid(parts[i].pid, NULL, 0);
}

static bool take_signals(struct part *parts, size_t n, int signal_fd)
{
    struct signalfd_siginfo s;
    bool end = false;
    while (read(signal_fd, &s, sizeof s) == (ssize_t)sizeof s) {
        if (s.ssi_signo == SIGHUP)
            signal_parts(parts, n, SIGHUP);
        else if (s.ssi_signo != SIGCHLD)
            end = true;
    }
    return end;
}

/* Until told to end, or until a part was replaced by a newer program: then the whole of us is. */
static int watch(const struct pc_host_options *o, struct part *parts, size_t n, int signal_fd)
{
    for (;;) {
        uint64_t now = pc_mono_ns();
        for (size_t i = 0; i < n; i++)
            if (parts[i].wanted && !parts[i].pid && now >= parts[i].next_ns && start_part(o, &parts[i]) < 0)
                parts[i].next_ns = now + WAIT_MAX_MS * PC_NS_PER_MS;
        wait_a_moment(parts, n, signal_fd, 200);
        if (take_signals(parts, n, signal_fd))
            return 0;
        bool upgraded = false;
        for (size_t i = 0; i < n; i++)
            upgraded |= reap(&parts[i], false);
        if (upgraded)
            return PC_EXIT_UPGRADED;
    }
}

int pc_role_host(const struct pc_host_options *o)
{
    struct pc_settings s = {0};
    int status = pc_host_settings(o, &s);
    if (status)
        return status;
    struct part parts[] = {{.role = "runner", .wanted = true, .pid_fd = -1}, {.role = "link", .wanted = true, .pid_fd = -1},
                           {.role = "guard", .wanted = s.protect.count > 0 && !o->no_guard, .pid_fd = -1}};
    pc_settings_free(&s);
    struct pc_fleet_dir dir = {.fd = -1};
    if (pc_host_folder(o, false, &dir) < 0)
        return 1;
    pc_fleet_close(&dir);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    _close_ int signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0)
        return 1;
    status = watch(o, parts, PC_ARRAY_SIZE(parts), signal_fd);
    end_all(parts, PC_ARRAY_SIZE(parts), signal_fd);
    if (status != PC_EXIT_UPGRADED)
        return status;
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    execv(o->program, o->argv); /* the new program, with the words that we were started with */
    fprintf(stderr, "portcullisd: %s: %s\n", o->program, strerror(errno));
    return 1;
}
