/*
 * Owns reading /proc: who a process is, whose child, and with which flags a blocked thread opens. No state, no policy.
 * Everything read here is under the control of the process described: it is evidence for people, never a credential.
 */
#include "kern/procfs.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define PF_KTHREAD 0x00200000
/* The first pid namespace's inode: PROC_PID_INIT_INO of Linux's include/linux/proc_ns.h, the same since 3.8. */
#define PID_INIT_INO 0xEFFFFFFCU
/* How often a thread that waits in an open is looked at until it sleeps, and the pause between the later looks. */
#define ASLEEP_TRIES 8
#define ASLEEP_PAUSE_NS 30000

static uint64_t boot_real_ns(void)
{
    static uint64_t boot; /* constant for the life of the kernel, up to clock steps: for reports only */
    if (!boot) {
        struct timespec t;
        clock_gettime(CLOCK_BOOTTIME, &t);
        boot = pc_real_ns() - ((uint64_t)t.tv_sec * PC_NS_PER_S + (uint64_t)t.tv_nsec);
    }
    return boot;
}

int pc_proc_brief(pid_t pid, struct pc_procinfo *out)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    if (n < 0)
        return (int)n;
    /* The command name may hold anything, also ") R 1": what counts starts after the last parenthesis. */
    const char *p = strrchr(text, ')');
    int ppid;
    char state;
    unsigned flags;
    unsigned long long start;
    if (!p || sscanf(p + 1, " %c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
                     &ppid, &flags, &start) != 4)
        return PC_E_SYNTAX;
    memset(out, 0, sizeof *out);
    out->pid = pid;
    out->ppid = ppid;
    out->state = state;
    out->kernel_thread = flags & PF_KTHREAD;
    out->start_ticks = start;
    out->start_real_ns = boot_real_ns() + start * (PC_NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
    return 0;
}

static void read_exe(pid_t pid, struct pc_procinfo *out)
{
    char path[40], target[256];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t n = readlink(path, target, sizeof target);
    if (n > 0)
        pc_escape_name(target, (size_t)n, out->exe, sizeof out->exe);
}

/* Each word escaped by itself, a newline between words: escaped text has none, so the words can be told apart again. */
static void read_argv(pid_t pid, struct pc_procinfo *out)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    size_t used = 0;
    for (ssize_t at = 0; at < n;) {
        size_t len = strnlen(text + at, (size_t)(n - at));
        if (used && used + 1 < sizeof out->argv)
            out->argv[used++] = '\n';
        pc_escape_name(text + at, len, out->argv + used, sizeof out->argv - used);
        used += strlen(out->argv + used);
        at += (ssize_t)len + 1;
    }
}

/* The v2 line "0::/path" if there is one, else the first line. */
static void read_cgroup(pid_t pid, struct pc_procinfo *out)
{
    char path[40], text[2048];
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    if (pc_read_file_at(AT_FDCWD, path, text, sizeof text) <= 0)
        return;
    const char *line = strstr(text, "0::");
    line = line && (line == text || line[-1] == '\n') ? line + 3 : text;
    pc_escape_name(line, strcspn(line, "\n"), out->cgroup, sizeof out->cgroup);
}

static void read_user(pid_t pid, struct pc_procinfo *out)
{
    char path[40], room[1024];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", pid);
    if (stat(path, &st) < 0)
        return;
    out->uid = st.st_uid;
    struct passwd pw, *found = NULL;
    if (getpwuid_r(st.st_uid, &pw, room, sizeof room, &found) == 0 && found)
        snprintf(out->user, sizeof out->user, "%s", pw.pw_name);
    else
        snprintf(out->user, sizeof out->user, "%u", st.st_uid);
}

int pc_proc_read(pid_t pid, struct pc_procinfo *out)
{
    struct pc_procinfo info;
    int r = pc_proc_brief(pid, &info);
    if (r < 0)
        return r;
    read_exe(pid, &info);
    read_argv(pid, &info);
    read_cgroup(pid, &info);
    read_user(pid, &info);
    *out = info;
    return 0;
}

int pc_proc_each(int (*fn)(void *arg, pid_t pid), void *arg)
{
    _closedir_ DIR *d = opendir("/proc");
    if (!d)
        return -errno;
    struct dirent *e;
    while ((e = readdir(d))) {
        uint64_t pid;
        if (pc_parse_u64(e->d_name, 1, INT32_MAX, &pid) == 0 && fn(arg, (pid_t)pid))
            break;
    }
    return 0;
}

pid_t pc_proc_tgid(pid_t tid)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    if (n < 0)
        return (pid_t)n;
    const char *line = strstr(text, "\nTgid:");
    int tgid;
    if (!line || sscanf(line, "\nTgid: %d", &tgid) != 1)
        return PC_E_SYNTAX;
    return tgid;
}

bool pc_proc_sees_all(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == PID_INIT_INO;
}

static void why_from_flags(uint64_t flags, struct pc_open_why *out)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if (flags & O_TRUNC)
        out->kind = PC_OPEN_TRUNCATE;
    else if (writes) /* O_RDWR can be mapped, and a mapping knows no O_APPEND */
        out->kind = flags & O_APPEND && (flags & O_ACCMODE) == O_WRONLY ? PC_OPEN_APPEND : PC_OPEN_WRITE;
    else
        out->kind = PC_OPEN_READ;
    out->wants_single_link = out->kind == PC_OPEN_READ && (flags & O_NOFOLLOW) && !(flags & (O_DIRECTORY | O_PATH));
}

/* openat2 hands its flags by pointer. Another thread may rewrite them after the kernel copied them, so only to look. */
static bool openat2_flags(pid_t tid, uint64_t address, uint64_t *flags)
{
    struct iovec here = {flags, sizeof *flags};
    struct iovec there = {(void *)(uintptr_t)address, sizeof *flags};
    return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)sizeof *flags;
}

/* "NR 0xA 0xB 0xC 0xD ...": the number and the first four arguments. False: "running", or of another form. */
static bool parse_syscall(const char *text, long *nr, uint64_t a[4])
{
    char *end;
    *nr = strtol(text, &end, 10);
    if (end == text)
        return false;
    for (int i = 0; i < 4; i++) {
        const char *from = end;
        if (*from != ' ')
            return false;
        a[i] = strtoull(from, &end, 16);
        if (end == from + 1)
            return false;
    }
    return true;
}

static int open_of(pid_t tid, const char *name)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/%s", tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Also grep -r and backups read with O_NOFOLLOW, whole trees of files: only who compresses minds other names. */
static bool is_compressor(struct pc_asker *a)
{
    static const char *const parts[] = {"zip", "gz", "xz", "lz", "zst"};
    char comm[32];
    if (a->comm_fd < 0)
        a->comm_fd = open_of(a->tid, "comm");
    ssize_t n = pread(a->comm_fd, comm, sizeof comm - 1, 0);
    comm[n < 0 ? 0 : n] = 0;
    bool found = n < 0; /* not known: better a copy too many */
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        found |= strstr(comm, parts[i]) != NULL;
    return found;
}

void pc_asker_close(struct pc_asker *a)
{
    if (a->tid)
        close(a->syscall_fd);
    if (a->tid && a->comm_fd >= 0)
        close(a->comm_fd);
    *a = (struct pc_asker){.syscall_fd = -1, .comm_fd = -1};
}

/*
 * The text of /proc/tid/syscall, NUL-terminated. A descriptor stays with its thread: of one that is gone it reads
 * nothing.
 */
static int read_once(struct pc_asker *a, pid_t tid, char *text, size_t cap)
{
    ssize_t n = a->tid == tid ? pread(a->syscall_fd, text, cap - 1, 0) : -1;
    if (n <= 0) {
        pc_asker_close(a);
        int fd = open_of(tid, "syscall");
        if (fd < 0)
            return fd;
        *a = (struct pc_asker){tid, fd, -1};
        n = pread(fd, text, cap - 1, 0);
    }
    if (n < 0)
        return -errno;
    text[n] = 0;
    return 0;
}

/*
 * The same when it sleeps. Its question may be here before it does: then the kernel says "running" and nothing else,
 * and a reader would count as a writer, an append as any write. A pause lets it go to sleep also on our own processor.
 */
static int read_syscall(struct pc_asker *a, pid_t tid, char *text, size_t cap)
{
    const struct timespec pause = {.tv_nsec = ASLEEP_PAUSE_NS};
    int r = read_once(a, tid, text, cap);
    for (int n = 1; r == 0 && n < ASLEEP_TRIES && strncmp(text, "running", 7) == 0; n++) {
        if (n >= ASLEEP_TRIES / 2)
            (void)nanosleep(&pause, NULL);
        r = read_once(a, tid, text, cap);
    }
    return r;
}

int pc_proc_open_why(struct pc_asker *asker, pid_t tid, struct pc_open_why *out)
{
    char text[256];
    int r = read_syscall(asker, tid, text, sizeof text);
    if (r < 0)
        return r;
    struct pc_open_why why = {.kind = PC_OPEN_WRITE};
    long nr;
    uint64_t a[4], flags;
    if (parse_syscall(text, &nr, a)) {
        if (nr == SYS_openat)
            why_from_flags(a[2], &why);
#ifdef SYS_open
        else if (nr == SYS_open)
            why_from_flags(a[1], &why);
#endif
        else if (nr == SYS_openat2 && openat2_flags(tid, a[2], &flags) && (flags & (O_WRONLY | O_RDWR | O_TRUNC)))
            why_from_flags(flags, &why); /* read-only is not believed: see openat2_flags */
        else if (nr == SYS_open_by_handle_at)
            why_from_flags(a[2], &why);
        else if (nr == SYS_execve || nr == SYS_execveat)
            why.kind = PC_OPEN_READ;
    }
    why.wants_single_link = why.wants_single_link && is_compressor(asker);
    *out = why;
    return 0;
}

/*
 * By their own numbers and by those of 32-bit programs, under which no call of the others accesses a file's content.
 * io_uring cuts, too, but only through a descriptor that was opened for writing, as ftruncate(2).
 */
static bool is_cut(long nr)
{
    enum { TRUNCATE_32 = 92, FTRUNCATE_32 = 93, TRUNCATE64_32 = 193, FTRUNCATE64_32 = 194 };
    return nr == SYS_truncate || nr == SYS_ftruncate || nr == TRUNCATE_32 || nr == FTRUNCATE_32 ||
           nr == TRUNCATE64_32 || nr == FTRUNCATE64_32;
}

int pc_proc_may_cut(struct pc_asker *asker, pid_t tid)
{
    char text[256];
    long nr;
    uint64_t a[4];
    int r = read_syscall(asker, tid, text, sizeof text);
    return r < 0 ? r : !parse_syscall(text, &nr, a) || is_cut(nr);
}

bool pc_proc_runs(pid_t pid, const char *exe)
{
    char path[40], target[PATH_MAX + 16];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t n = readlink(path, target, sizeof target - 1);
    size_t len = strlen(exe);
    if (n < (ssize_t)len || memcmp(target, exe, len) != 0)
        return false;
    target[n] = 0;
    return target[len] == 0 || strcmp(target + len, " (deleted)") == 0;
}

int pc_proc_exe_sha256(pid_t pid, char hex[65])
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        return -ENOMEM;
    unsigned char buf[65536], digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ssize_t n = 0;
    bool ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    while (ok && (n = read(fd, buf, sizeof buf)) > 0)
        ok = EVP_DigestUpdate(ctx, buf, (size_t)n) == 1;
    ok = ok && n == 0 && EVP_DigestFinal_ex(ctx, digest, &len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return n < 0 ? -errno : -EIO;
    pc_hex(digest, 32, hex);
    return 0;
}
