#ifndef PC_HOST_BLOCKER_H
#define PC_HOST_BLOCKER_H
/*
 * The process that answers the kernel for hash.block: it alone holds the fanotify group, so that its end, however it
 * comes, lets every exec through. A timer in the kernel ends it when it stands still for two seconds, and it ends with
 * the runner. It reads no files itself (block_hasher.h).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PC_BLOCKED_MAX 128
struct pc_blocked {
    uint32_t n;
    uint8_t sha256[PC_BLOCKED_MAX][32];
    const char *const *mounts; /* paths on the file systems to watch; mount_count 0: every local one */
    uint32_t mount_count;
    pid_t parent;
};
/* Runs until it is ended. Prints "ready" once the marks are set, or why not. For pc_spawn. */
int pc_blocker_run(void *blocked);
/*
 * Is this the hash of a program that must never be blocked (init, the loader, shells, sshd, package managers,
 * Portcullis)? name gets its path.
 */
bool pc_blocker_spares(const uint8_t sha256[32], char *name, size_t cap);
/* Is this file one of those programs? */
bool pc_blocker_spares_file(const struct stat *st);
#endif
