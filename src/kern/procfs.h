#ifndef PC_KERN_PROCFS_H
#define PC_KERN_PROCFS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What /proc tells about a process. Text is printable (escaped); argv's words are separated by newlines. Fields that
 * could not be read are empty or 0.
 */
struct pc_procinfo {
    pid_t pid, ppid;
    uint32_t uid;
    char state;          /* R S D T Z ... */
    bool kernel_thread;
    uint64_t start_ticks; /* since boot, USER_HZ: tells a reused pid */
    uint64_t start_real_ns;
    char exe[256], argv[1024], cgroup[256], user[64];
};
/* parent, start time, state: one read of stat. 0 or -errno (-ENOENT, -ESRCH: gone). */
int pc_proc_brief(pid_t pid, struct pc_procinfo *out);
/* Everything. Best effort: 0 when at least brief worked. */
int pc_proc_read(pid_t pid, struct pc_procinfo *out);
/* Calls fn for every process; fn returning non-zero stops. 0 or -errno. */
int pc_proc_each(int (*fn)(void *arg, pid_t pid), void *arg);
/*
 * Calls fn with an O_PATH descriptor (closed afterwards; opening it has no effect and raises no event) of every file
 * that the process holds open for writing, and of every one it has mapped shared: a mapping that is read-only now may
 * be made writable without an open. The same file may come more than once. Best effort: nothing when the process is
 * gone.
 */
void pc_proc_each_held(pid_t pid, void (*fn)(void *arg, int fd), void *arg);
/* The same of every file behind a writable loop device: the kernel holds it open, and no process does. */
void pc_loops_each_held(void (*fn)(void *arg, int fd), void *arg);
/* Whether we see every process of this kernel: not from within a pid namespace. False also when that is not known. */
bool pc_proc_sees_all(void);
/* Thread group of a thread; -errno. */
pid_t pc_proc_tgid(pid_t tid);

/* Why a thread waits in an open, from /proc/<tid>/syscall. */
enum pc_open_kind {
    PC_OPEN_READ = 1,  /* cannot change the file through this descriptor */
    PC_OPEN_APPEND,    /* O_WRONLY and O_APPEND without O_TRUNC */
    PC_OPEN_WRITE,     /* may change it, or not known (io_uring, openat2, other): treated the same */
    PC_OPEN_TRUNCATE,  /* O_TRUNC: the content goes as soon as we answer */
};
struct pc_open_why {
    enum pc_open_kind kind;
    bool wants_single_link; /* an O_NOFOLLOW read by a compressor: gzip and xz refuse files with several links */
};
/* What tells of one thread's opens, kept open so that each further question is one read. */
struct pc_asker {
    pid_t tid; /* 0: empty */
    int syscall_fd, comm_fd;
};
/*
 * Why tid waits in an open. a: empty or used before, for any thread; it is turned to tid when it is another's, or of a
 * thread that is gone and whose number is in use again. -errno when the thread is gone (its open was aborted).
 */
int pc_proc_open_why(struct pc_asker *a, pid_t tid, struct pc_open_why *out);
/*
 * Whether tid, which waits in an access to a file, is about to cut it (truncate(2), ftruncate(2)): 1, also when that is
 * not known, or 0. Of the kernel's own threads 0: they show no call. -errno when the thread is gone.
 */
int pc_proc_may_cut(struct pc_asker *a, pid_t tid);
void pc_asker_close(struct pc_asker *a);
/* Does the process run this program (an absolute path), or one that was there before an upgrade replaced it? */
bool pc_proc_runs(pid_t pid, const char *exe);
/* SHA-256 (hex, 65 bytes) of the program a process runs. Reads the file: never on the answering thread. */
int pc_proc_exe_sha256(pid_t pid, char hex[65]);
#endif
