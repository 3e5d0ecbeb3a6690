#ifndef PC_KERN_CNPROC_H
#define PC_KERN_CNPROC_H
#include <stdint.h>
#include <sys/types.h>

/* The process connector: every fork, exec and exit on the host, so that ancestry is known even of orphans. */
enum pc_proc_what { PC_PROC_FORK = 1, PC_PROC_EXEC, PC_PROC_EXIT, PC_PROC_THREAD, PC_PROC_THREAD_EXIT, PC_PROC_LOST };
struct pc_proc_event {
    uint8_t what; /* PC_PROC_LOST: messages were dropped; scan /proc */
    pid_t pid;    /* FORK: the child; THREAD, THREAD_EXIT: the thread, never a process's first */
    pid_t parent; /* FORK: who forked (thread group); THREAD, THREAD_EXIT: whose thread it is */
};
/* Descriptor or -errno (-EPERM without CAP_NET_ADMIN; -ECONNREFUSED when the kernel has no connector). */
int pc_cnproc_open(void);
/*
 * Another descriptor, to wait on: it becomes readable at about every PC_CNPROC_BIRTHS-th new process or thread, by
 * chance, and at nothing else. Waiting on that of pc_cnproc_open would cost a wake-up for each fork, exec and exit of
 * the host. -errno.
 */
#define PC_CNPROC_BIRTHS 8u /* a power of two */
int pc_cnproc_births_open(void);
/* Takes what made it readable. */
void pc_cnproc_births_clear(int fd);
/*
 * Calls fn for each message waiting. Returns how many, or -errno.
 * At most max messages are taken.
 */
int pc_cnproc_drain(int fd, int max, void (*fn)(void *arg, const struct pc_proc_event *), void *arg);
#endif
