/*
 * Owns fork and exec. The child between the two touches only what it was handed, and tells a failed step through a
 * close-on-exec pipe, so that "no such program" is an answer of pc_spawn and not an exit status to be guessed at. Must
 * not wait for anybody, and knows no orders.
 */
#include "proc/spawn.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "proc/confine.h"
#include "proc/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct pipes {
    int out[2], err[2]; /* output; errno of a failed step */
};

static void close_pair(int pair[2])
{
    pc_closep(&pair[0]);
    pc_closep(&pair[1]);
    pair[0] = pair[1] = -1;
}

/* A forked child is nobody's program any more: it must end without our exit handlers. */
static void __attribute__((noreturn)) end_child(int status)
{
    for (;;)
        syscall(SYS_exit_group, status);
}

static int reset_signals(void)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            (void)sigaction(s, &usual, NULL); /* fails only for the two that libc keeps for itself */
    return pc_signals_allow_all();
}

static int wire_files(const struct pc_spawn *s, const struct pipes *p)
{
    _close_ int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, 0) < 0)
        return -errno;
    if (dup2(s->out_fd >= 0 ? s->out_fd : p->out[1], 1) < 0 || dup2(p->out[1], 2) < 0)
        return -errno;
    return 0;
}

static int settle(const struct pc_spawn *s, const struct pipes *p)
{
    if (s->group_fd >= 0) {
        int r = pc_write_file_at(s->group_fd, "cgroup.procs", "0");
        if (r < 0)
            return r;
        /* Our unit's OOMScoreAdjust keeps us when memory runs out; for a program of an order others would be ended. */
        (void)pc_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "0");
    }
    int r = reset_signals();
    if (r == 0)
        r = wire_files(s, p);
    if (r < 0)
        return r;
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none); /* a crash must not leave memory with secrets on disk */
    umask(022);
    if (setsid() < 0 || chdir("/") < 0)
        return -errno;
    return s->as ? pc_become(s->as) : 0;
}

/* execve over our own list of folders: PATH of the environment is the order's business, finding the program is ours. */
static int exec_program(char *const *argv, char *const *envp)
{
    static const char *const folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                          "/usr/bin",        "/sbin",          "/bin"};
    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, envp);
        return -errno;
    }
    int error = ENOENT;
    for (size_t i = 0; i < PC_ARRAY_SIZE(folders); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folders[i], argv[0]);
        execve(path, argv, envp);
        if (errno != ENOENT)
            error = errno;
    }
    return -error;
}

/*
 * A function inherits no descriptor of its parent: not its sockets, and not the locks that live as long as any copy of
 * theirs.
 */
static void close_others(int keep)
{
    if (keep > 3)
        (void)close_range(3, (unsigned)keep - 1, 0);
    (void)close_range(keep >= 3 ? (unsigned)keep + 1 : 3, ~0u, 0); /* Linux 5.9; fails for nothing that we could mend */
}

static void __attribute__((noreturn)) be_child(const struct pc_spawn *s, const struct pipes *p)
{
    int r = settle(s, p);
    if (r == 0 && s->run) {
        close_others(s->keep_fd); /* the error pipe too, which says: we are up */
        __fpurge(stdout);         /* what our parent has not written yet is not ours to write */
        int status = s->run(s->arg);
        (void)fflush(stdout);     /* nobody reads our status of it: what the reader misses, it misses */
        end_child(status);
    }
    if (r == 0 && s->keep_fd >= 0 && fcntl(s->keep_fd, F_SETFD, 0) < 0)
        r = -errno;
    if (r == 0)
        r = exec_program(s->argv, s->envp);
    (void)pc_write_all(p->err[1], &r, sizeof r);
    end_child(127);
}

/* What went wrong before the program ran; 0 when the pipe closed silently. */
static int read_verdict(int fd)
{
    int r = 0;
    ssize_t n;
    do
        n = read(fd, &r, sizeof r);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof r && r < 0 ? r : 0;
}

static int adopt(pid_t pid, struct pipes *p, struct pc_child *out)
{
    close(TAKE_FD(p->err[1]));
    close(TAKE_FD(p->out[1]));
    int r = read_verdict(p->err[0]);
    _close_ int pid_fd = r == 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (r == 0 && pid_fd < 0)
        r = -errno;
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return r;
    }
    *out = (struct pc_child){.pid = pid, .pid_fd = TAKE_FD(pid_fd), .out_fd = TAKE_FD(p->out[0])};
    return 0;
}

int pc_spawn(const struct pc_spawn *s, struct pc_child *out)
{
    struct pipes p = {{-1, -1}, {-1, -1}};
    int r = pipe2(p.out, O_CLOEXEC) < 0 || pipe2(p.err, O_CLOEXEC) < 0 ? -errno : 0;
    if (r == 0 && fcntl(p.out[0], F_SETFL, O_NONBLOCK) < 0)
        r = -errno;
    pid_t pid = r == 0 ? fork() : -1;
    if (r == 0 && pid < 0)
        r = -errno;
    if (pid == 0)
        be_child(s, &p);
    if (r == 0)
        r = adopt(pid, &p, out);
    close_pair(p.out);
    close_pair(p.err);
    return r;
}

int pc_child_reap(const struct pc_child *c, int *status)
{
    pid_t r = waitpid(c->pid, status, WNOHANG);
    return r < 0 ? -errno : r == 0 ? -EAGAIN : 0;
}

int pc_sealed_file(const char *name, const void *data, size_t len)
{
    _close_ int fd = -1;
#ifdef MFD_EXEC
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING |
                                MFD_EXEC); /* Linux 6.3: said aloud, or vm.memfd_noexec decides */
#endif
    if (fd < 0)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = pc_write_all(fd, data, len);
    if (r < 0)
        return r;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -errno;
    return TAKE_FD(fd);
}
