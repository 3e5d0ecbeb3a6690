#ifndef PC_PROC_SPAWN_H
#define PC_PROC_SPAWN_H
/*
 * Starting a program, or a function of our own in a process of its own: no shell, no stdin, output into one pipe, its
 * own session and cgroup, an environment that the caller spells out, optionally another user. Waiting, reading and
 * ending are the caller's (descriptors to poll).
 */
#include <stddef.h>
#include <sys/types.h>

#define PC_GROUPS_MAX 64
/* Whom a process is to be. groups are supplementary. */
struct pc_identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[PC_GROUPS_MAX];
    int group_count;
};

struct pc_spawn {
    /*
     * One of the two: a program with its words (argv[0] is a path, or a name looked for in
     * /usr/sbin:/usr/bin:/sbin:/bin:/usr/local/...), ...
     */
    char *const *argv;
    char *const *envp;      /* all of it */
    /* ... or a function; its return value (0..255) is the exit status. It runs in a fork of this (single-threaded)
     * process, with no descriptors but 0, 1, 2 and keep_fd. */
    int (*run)(void *arg);
    void *arg;
    const struct pc_identity *as; /* NULL: stay who we are; else no_new_privs too */
    int group_fd;                 /* cgroup folder; -1: none */
    /* -1: make a pipe; else standard output goes there (borrowed), and errors still go to the pipe */
    int out_fd;
    /* -1, or one descriptor that stays open in the child under its own number (a sealed memfd) */
    int keep_fd;
};
struct pc_child {
    pid_t pid;
    int pid_fd; /* polls readable when it has ended; owned */
    int out_fd; /* read end, non-blocking; owned */
};
/* 0; -errno of what failed, also of the exec itself in the child (-ENOENT: no such program). */
int pc_spawn(const struct pc_spawn *s, struct pc_child *out);
/* Takes the exit: 0 and *status as waitpid(2), -EAGAIN while it lives. Closes nothing. */
int pc_child_reap(const struct pc_child *c, int *status);

/*
 * An anonymous file with these bytes, sealed against every change. Descriptor or -errno. Executable unless the kernel
 * forbids it.
 */
int pc_sealed_file(const char *name, const void *data, size_t len);
#endif
