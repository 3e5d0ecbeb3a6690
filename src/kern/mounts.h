#ifndef PC_KERN_MOUNTS_H
#define PC_KERN_MOUNTS_H
#include <stdbool.h>
#include <sys/types.h>

struct pc_mount {
    int id;
    dev_t dev;             /* st_dev of files on it */
    char root[4096];       /* of the mount within its file system: "/" unless a bind mount or subvolume */
    char point[4096];      /* where it is mounted */
    char type[32];
    bool read_only;
};
/*
 * The mount a directory lies on; among several mounts of one file system the one that shows its root is preferred, so
 * that the vault and every handle can be reached. PC_E_UNSUPPORTED when only a bind mount of a part is visible.
 */
int pc_mount_of(const char *path, struct pc_mount *out);
/*
 * A private, detached copy of the mount at `point`: the guard's own way to the file system. It raises no events of
 * ours, is not seen by anyone else, and does not keep the owner from unmounting. Returns a descriptor of its root
 * folder (a real one: open_by_handle_at(2) takes no O_PATH descriptor) or -errno; *mount_fd keeps the copy mounted and
 * is closed last.
 */
int pc_mount_tree(const char *point, int *mount_fd);
/* Descriptor that polls POLLPRI|POLLERR whenever the mount table of this namespace changes. */
int pc_mount_watch(void);
/* True while some mount of the file system `dev` is visible in this namespace. watch_fd: from pc_mount_watch. */
bool pc_mount_present(int watch_fd, dev_t dev, bool *read_only);
/* Mount point of the unified (v2) cgroup hierarchy. 0 or PC_E_NOTFOUND. */
int pc_mount_cgroup2(char *out, size_t cap);
#endif
