#ifndef PC_PROC_GROUP_H
#define PC_PROC_GROUP_H
/*
 * Control groups (cgroup v2) for what we start: one group a job, so that a job ends whole, with everything it forked,
 * daemonised or re-parented. The caller names the parent group by a descriptor of its folder (kern/mounts.h finds the
 * hierarchy).
 */
#include <stdbool.h>

/* Opens the group `name` beneath parent_fd, making it when it is not there. Descriptor of its folder or -errno. */
int pc_group_open(int parent_fd, const char *name);
/* Opens a group only if it is there: -ENOENT. */
int pc_group_find(int parent_fd, const char *name);
/*
 * Kills every process in it and beneath (cgroup.kill, Linux 5.14; else SIGKILL to each). 0 or -errno; the kernel takes
 * a moment to bury them.
 */
int pc_group_kill(int group_fd);
/* True while a process lives in it or beneath. */
bool pc_group_busy(int group_fd);
/* Moves everybody in it to another group (daemons that an upgrade restarted are not the job's). 0 or -errno. */
int pc_group_move(int group_fd, int to_fd);
/* Removes it. -EBUSY while somebody is in it. */
int pc_group_remove(int parent_fd, const char *name);
/* Calls fn for each group directly beneath parent_fd. 0 or -errno. */
int pc_group_each(int parent_fd, int (*fn)(void *arg, const char *name), void *arg);
#endif
