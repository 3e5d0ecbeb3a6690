#ifndef PC_KERN_FREEZE_H
#define PC_KERN_FREEZE_H
#include <stdint.h>
#include <sys/types.h>

/*
 * Freezing a set of processes. Two layers, because neither is enough alone (measured here, 256 processes):
 *  - SIGSTOP stops at once (3 us a process) but shows to the parent and can be undone by SIGCONT from outside;
 *  - the cgroup v2 freezer is invisible and firm, but moving a process into a cgroup takes 5 to 30 ms for the first
 * one. So: SIGSTOP first, then move into a frozen cgroup, then SIGCONT, and the cgroup holds them. Without cgroup v2
 * the SIGSTOP stays. The processes keep their memory, descriptors and locks.
 */
struct pc_freezer {
    int dir_fd;          /* our cgroup directory, or -1: signals only */
    char path[4096];     /* for messages and clean-up */
};
/* name: unique per guard. 0 (also when only signals are possible) or -errno. */
int pc_freezer_open(struct pc_freezer *f, const char *name);
void pc_freezer_close(struct pc_freezer *f);

/* Stops one process at once. 0, -ESRCH. */
int pc_freeze_stop(pid_t pid);
/* Creates (or finds) the frozen cgroup of an incident. Descriptor of its directory, or an error. */
int pc_freeze_group(struct pc_freezer *f, uint64_t incident);
/*
 * Moves a stopped process into the incident's frozen cgroup and ends the SIGSTOP. home receives its former cgroup path
 * (for pc_thaw). 0, or an error: the process then stays under SIGSTOP.
 */
int pc_freeze_hold(int group_fd, pid_t pid, char *home, size_t cap);
/* Lets it go on: back to its former cgroup ("" : only SIGCONT). 0 or -errno. */
int pc_thaw(struct pc_freezer *f, int group_fd, pid_t pid, const char *home);
/* Removes the incident's cgroup once empty. */
void pc_freeze_group_done(struct pc_freezer *f, uint64_t incident, int group_fd);
/*
 * Removes cgroups of ours that hold nobody any more: one can only go when its last process is really gone, which is
 * after pc_freeze_group_done. Cheap when there is none.
 */
void pc_freezer_sweep(struct pc_freezer *f);
/* Calls fn for each process held in the incident's cgroup (after a restart of the guard). */
int pc_freeze_each(int group_fd, int (*fn)(void *arg, pid_t pid), void *arg);
#endif
