/*
 * Owns the role `host`: starts link and runner (and the guard, where folders are configured), watches them, starts each
 * again when it ends; and hands a newer program to its trial (trial.c). Does nothing else, so that there is nothing in
 * it to go wrong: each part recovers by starting anew.
 */
#include "host/trial.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "proc/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WAIT_FIRST_MS 200
#define WAIT_MAX_MS 30000
#define LIVED_NS (30 * PC_NS_PER_S)
#define END_WAIT_MS 8000
#define WORDS_MAX (16 + 2 * PC_SETTINGS_PATHS_MAX)

enum { RUNNER, LINK, PARTS_OF_TRIAL, GUARD = PARTS_OF_TRIAL, PARTS };

struct part {
    const char *role;
    bool wanted;
    pid_t pid; /* 0: not running */
    int pid_fd;
    uint64_t started_ns, next_ns;
    uint32_t wait_ms;
};

struct supervisor {
    const struct pc_host_options *o;
    struct part *parts; /* PARTS of them */
    int dir_fd;
    uint64_t trial_ns;
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
    if (strcmp(role, "runner") == 0)
        words[n++] = o->trial ? "--trial" : "--watched";
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
        (void)pc_signals_allow_all();
        /*
         * A part without its supervisor would not be started again: it ends too, and systemd starts all of it. The
         * guard guards on.
         */
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
    fprintf(stderr, "portcullisd: the %s %s: starting it again in %u ms\n", p->role, how, p->wait_ms);
}

enum reaped { ALIVE, ENDED, UPGRADED };

static enum reaped reap(struct part *p, bool ending)
{
    int status;
    if (p->pid == 0 || waitpid(p->pid, &status, WNOHANG) != p->pid)
        return ALIVE;
    close(TAKE_FD(p->pid_fd));
    uint64_t now = pc_mono_ns();
    if (WIFEXITED(status) && WEXITSTATUS(status) == PC_EXIT_UPGRADED)
        p->wait_ms = 1; /* it asked for this */
    else
        p->wait_ms = now - p->started_ns > LIVED_NS || !p->wait_ms ? WAIT_FIRST_MS
                     : p->wait_ms * 2 < WAIT_MAX_MS                ? p->wait_ms * 2
                                                                   : WAIT_MAX_MS;
    p->next_ns = now + p->wait_ms * PC_NS_PER_MS;
    p->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == PC_EXIT_UPGRADED)
        return UPGRADED;
    if (!ending)
        say_ended(p, status);
    return ENDED;
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
    bool end = false;
    for (int s; (s = pc_signals_take(signal_fd));) {
        if (s == SIGHUP)
            signal_parts(parts, n, SIGHUP);
        else if (s != SIGCHLD)
            end = true;
    }
    return end;
}

/* What the next runner tells the owners; without it, it says that it does not know. */
static void keep_why(int dir_fd, const char *why)
{
    fprintf(stderr, "portcullisd: the new program is not taken: %s; the old one goes on\n", why);
    int r = pc_fleet_replace(dir_fd, PC_FILE_TRIAL, why, strlen(why), (struct pc_fleet_owner){0, 0, 0600});
    if (r < 0)
        fprintf(stderr, "portcullisd: %s: %s\n", PC_FILE_TRIAL, pc_strerror(r));
}

/*
 * The runner ended for the trial of a newer program. PC_EXIT_UPGRADED: that one is in place; 0: we are to end; -1: all
 * goes on as before.
 */
static int try_newer(const struct supervisor *v, int signal_fd)
{
    char why[300] = "";
    (void)unlinkat(v->dir_fd, PC_FILE_TRIAL, 0); /* of a trial before */
    end_all(v->parts, PARTS_OF_TRIAL, signal_fd);
    fprintf(stderr, "portcullisd: trying the new program\n");
    int r = pc_trial_run(v->o, signal_fd, v->trial_ns, why, sizeof why);
    if (r == 0)
        return PC_EXIT_UPGRADED;
    keep_why(v->dir_fd, why);
    for (size_t i = 0; i < PARTS_OF_TRIAL; i++)
        v->parts[i].next_ns = 0;
    return r == -EINTR ? 0 : -1;
}

/* What the end of a part means to all of us. -1: nothing; else our exit status. */
static int part_ended(const struct supervisor *v, enum reaped how, int signal_fd)
{
    if (how == ALIVE)
        return -1;
    if (v->o->trial) /* either way the one who watches us has to know */
        return how == UPGRADED ? PC_EXIT_UPGRADED : 1;
    return how == UPGRADED ? try_newer(v, signal_fd) : -1;
}

/* Until told to end, or until a newer program is in place. */
static int watch(const struct supervisor *v, int signal_fd)
{
    struct part *parts = v->parts;
    for (;;) {
        uint64_t now = pc_mono_ns();
        for (size_t i = 0; i < PARTS; i++)
            if (parts[i].wanted && !parts[i].pid && now >= parts[i].next_ns && start_part(v->o, &parts[i]) < 0)
                parts[i].next_ns = now + WAIT_MAX_MS * PC_NS_PER_MS;
        wait_a_moment(parts, PARTS, signal_fd, 200);
        if (take_signals(parts, PARTS, signal_fd))
            return 0;
        for (size_t i = 0; i < PARTS; i++) {
            int status = part_ended(v, reap(&parts[i], false), signal_fd);
            if (status >= 0)
                return status;
        }
    }
}

int pc_role_host(const struct pc_host_options *o)
{
    struct pc_settings s = {0};
    int status = pc_host_settings(o, &s);
    if (status)
        return status;
    struct part parts[PARTS] = {
        [RUNNER] = {.role = "runner", .wanted = true, .pid_fd = -1},
        [LINK] = {.role = "link", .wanted = true, .pid_fd = -1},
        [GUARD] = {.role = "guard", .wanted = s.protect.count > 0 && !o->no_guard, .pid_fd = -1}};
    struct supervisor v = {.o = o, .parts = parts, .trial_ns = s.upgrade_wait_ns};
    pc_settings_free(&s);
    struct pc_fleet_dir dir = {.fd = -1};
    if (pc_host_folder(o, false, &dir) < 0)
        return 1;
    v.dir_fd = dir.fd;
    sigset_t blocked;
    _close_ int signal_fd = pc_signals_open(SIGCHLD, &blocked);
    if (signal_fd < 0)
        return 1;
    status = watch(&v, signal_fd);
    end_all(parts, PARTS, signal_fd);
    pc_fleet_close(&dir);
    if (status != PC_EXIT_UPGRADED || o->trial)
        return status;
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    execv(o->program, o->argv); /* the new program, with the words that we were started with */
    fprintf(stderr, "portcullisd: %s: %s\n", o->program, strerror(errno));
    return 1;
}
