#ifndef PC_KERN_PERFPROC_H
#define PC_KERN_PERFPROC_H
#include "kern/cnproc.h"

/*
 * Every fork, exec and exit, from perf_event_open(2) instead of the process connector, which the kernel gives to nobody
 * outside the first network namespace: in containers. Pids are those of the caller's pid namespace; what happens
 * outside of it is left out. Processors that come online later are not heard.
 */
struct pc_perfproc;
/*
 * 0 and *out, to be closed; or -errno (-EACCES without CAP_PERFMON or CAP_SYS_ADMIN, -ENOSYS without
 * CONFIG_PERF_EVENTS).
 */
int pc_perfproc_open(struct pc_perfproc **out);
void pc_perfproc_close(struct pc_perfproc *p); /* NULL is fine */
/*
 * To wait on, p's own: it becomes readable once for about every PC_CNPROC_BIRTHS births, ends or execs on a processor,
 * and reading it by epoll or poll is what makes it unreadable again.
 */
int pc_perfproc_births_fd(const struct pc_perfproc *p);
/* How many descriptors it holds; of NULL none. */
uint32_t pc_perfproc_descriptors(const struct pc_perfproc *p);
/*
 * Calls fn for everything that happened before this call, in the order in which it
 * happened, on whatever processor. PC_PROC_LOST: a buffer was full; scan /proc. Returns how many.
 */
int pc_perfproc_drain(struct pc_perfproc *p, void (*fn)(void *arg, const struct pc_proc_event *), void *arg);
#endif
