#ifndef PC_HOST_SCOPE_H
#define PC_HOST_SCOPE_H
/*
 * Where systemd runs, the tree of control groups is its own: groups of ours belong into a unit that it delegated. This
 * is a transient scope, as `systemd-run --scope -p Delegate=yes` makes it, that lives as long as a process is in it; so
 * a keeper of ours sits in it and does nothing. Blocks for a few seconds at most, and only when systemd does not
 * answer.
 */
#include "proc/spawn.h"

struct pc_scope {
    struct pc_child keeper; /* pid 0: none */
    char unit[96];
};
/*
 * A scope with this name (without ".scope"; [a-z0-9-]), or the one that an earlier runner left behind with its jobs in
 * it. root_fd: the v2 hierarchy. Descriptor of its group's folder; PC_E_UNSUPPORTED: systemd is not the init here, or
 * has no bus; -ETIMEDOUT; -errno of the bus.
 */
int pc_scope_open(const char *name, int root_fd, struct pc_scope *out);
/* Ends the keeper: systemd removes the scope when it is empty. */
void pc_scope_close(struct pc_scope *s);
#endif
