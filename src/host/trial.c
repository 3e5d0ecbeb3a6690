/*
 * Owns the trial of a fetched program: starting it beside the old one, watching it, ending it, and the one rename that
 * makes it the program. Must not know what an upgrade is or judge the file: act_upgrade.c checked it, and the runner
 * that comes after tells the result.
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

#define END_WAIT_NS (5 * PC_NS_PER_S)
#define WORDS_MAX 64

struct trial {
    pid_t pid;
    int pid_fd, status;
    bool ended;
};

void pc_trial_path(const char *program, char *out, size_t cap)
{
    snprintf(out, cap, "%s.new", program);
}

/* Our own words, and those that make it a trial. The guard is not part of it: ours goes on. */
static int make_words(const struct pc_host_options *o, const char **words)
{
    size_t n = 0;
    while (o->argv[n] && n < WORDS_MAX - 3) {
        words[n] = o->argv[n];
        n++;
    }
    if (o->argv[n])
        return PC_E_LIMIT;
    words[n++] = "--trial";
    words[n++] = "--no-guard";
    words[n] = NULL;
    return 0;
}

static int start(const struct pc_host_options *o, struct trial *t)
{
    const char *words[WORDS_MAX];
    char fresh[4200];
    int r = make_words(o, words);
    if (r < 0)
        return r;
    pc_trial_path(o->program, fresh, sizeof fresh);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        (void)pc_signals_allow_all();
        /* A group of its own, so that all of it can be ended; and it never outlives the one that watches it. */
        if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
            _exit(1);
        execv(fresh, (char **)words);
        fprintf(stderr, "portcullisd: %s: %s\n", fresh, strerror(errno));
        _exit(127);
    }
    (void)setpgid(pid, pid); /* whoever comes first */
    t->pid = pid;
    t->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return 0;
}

static void reap(struct trial *t, int flags)
{
    if (!t->ended && waitpid(t->pid, &t->status, flags) == t->pid)
        t->ended = true;
}

/* True when a signal told us to end. */
static bool take_signals(int fd)
{
    bool end = false;
    for (int s; (s = pc_signals_take(fd));)
        end |= s == SIGTERM || s == SIGINT;
    return end;
}

/* Until it ended, or the time is over, or (-EINTR) we are to end. */
static int watch(struct trial *t, int signal_fd, uint64_t until_ns)
{
    bool told = false;
    while (!t->ended && !told && pc_boot_ns() < until_ns) {
        struct pollfd p[] = {{t->pid_fd, POLLIN, 0}, {signal_fd, POLLIN, 0}};
        (void)poll(p, 2, 200);
        reap(t, WNOHANG);
        told = signal_fd >= 0 && take_signals(signal_fd);
    }
    return told && !t->ended ? -EINTR : 0;
}

/*
 * It may end by itself first: its parts close what they have open. Then whatever is left of it: a part that lived on
 * would hold the runner's lock.
 */
static void end(struct trial *t)
{
    if (!t->ended) {
        kill(t->pid, SIGTERM);
        (void)watch(t, -1, pc_boot_ns() + END_WAIT_NS);
    }
    kill(-t->pid, SIGKILL);
    reap(t, 0);
    pc_closep(&t->pid_fd);
}

static int judge(const struct trial *t, bool late, uint64_t wait_ns, char *why, size_t why_len)
{
    if (!late && WIFEXITED(t->status) && WEXITSTATUS(t->status) == PC_EXIT_UPGRADED)
        return 0;
    if (late)
        snprintf(why, why_len, "it was not connected to the server within %llu s",
                 (unsigned long long)(wait_ns / PC_NS_PER_S));
    else if (WIFSIGNALED(t->status))
        snprintf(why, why_len, "it was ended by signal %d", WTERMSIG(t->status));
    else
        snprintf(why, why_len, "it ended with status %d", WEXITSTATUS(t->status));
    return PC_E_REFUSED;
}

/* A crash before the rename changes nothing; after it the new program is in place, and its runner says so. */
static int put_in_place(const char *program, char *why, size_t why_len)
{
    char fresh[4200], previous[4200], folder[4200];
    pc_trial_path(program, fresh, sizeof fresh);
    snprintf(previous, sizeof previous, "%s.previous", program);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(program, '/') - program), program);
    int r = 0;
    if ((unlink(previous) < 0 && errno != ENOENT) || link(program, previous) < 0 || rename(fresh, program) < 0)
        r = -errno;
    _close_ int dir = r == 0 ? open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (r == 0 && (dir < 0 || fsync(dir) < 0))
        fprintf(stderr, "portcullisd: %s: %s: a power cut now may bring the program before back\n", folder,
                strerror(errno));
    if (r < 0)
        snprintf(why, why_len, "it came up and cannot be put in place of %s: %s", program, pc_strerror(r));
    return r;
}

int pc_trial_run(const struct pc_host_options *o, int signal_fd, uint64_t wait_ns, char *why, size_t why_len)
{
    struct trial t = {.pid_fd = -1};
    int r = start(o, &t);
    if (r < 0) {
        snprintf(why, why_len, "it could not be started: %s", pc_strerror(r));
        return r;
    }
    r = watch(&t, signal_fd, pc_boot_ns() + wait_ns);
    bool late = !t.ended;
    end(&t);
    if (r < 0) {
        snprintf(why, why_len, "the host was stopped during its trial");
        return r;
    }
    r = judge(&t, late, wait_ns, why, why_len);
    return r < 0 ? r : put_in_place(o->program, why, why_len);
}
