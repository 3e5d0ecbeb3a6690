#ifndef PC_BASE_FH_H
#define PC_BASE_FH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A kernel file handle (name_to_handle_at(2), fanotify FID events): the identity of an inode that survives renames and,
 * unlike an inode number alone, is not reused (it carries the generation). Bytes past len are zero, so that handles
 * compare and hash as whole structs. 40 bytes hold every handle of ext4, xfs (8 or 12) and btrfs (20 to 40).
 */
#define PC_FH_MAX 40
struct pc_fh {
    int32_t type;
    uint32_t len;
    uint8_t data[PC_FH_MAX];
};
bool pc_fh_equal(const struct pc_fh *a, const struct pc_fh *b);
uint64_t pc_fh_hash(const struct pc_fh *fh);
/* From raw handle bytes. PC_E_LIMIT when longer than PC_FH_MAX. */
int pc_fh_set(struct pc_fh *fh, int32_t type, const void *data, size_t len);
/* Handle of an open descriptor (O_PATH is enough). 0 or -errno. */
int pc_fh_of_fd(int fd, struct pc_fh *out);
/*
 * Opens the inode. tree_fd is any descriptor on a mount of its file system; flags as open(2). Descriptor or -errno
 * (-ESTALE: gone).
 */
int pc_fh_open(int tree_fd, const struct pc_fh *fh, int flags);
/*
 * Opens a regular file for reading, without moving its atime. Anything else is not opened but refused: opening has
 * effects there (who waits for a fifo's reader goes on and dies of SIGPIPE, a tape rewinds, a watchdog starts).
 * Descriptor, PC_E_UNSUPPORTED, or -errno (-ESTALE: gone).
 */
int pc_fh_open_file(int tree_fd, const struct pc_fh *fh);
#endif
