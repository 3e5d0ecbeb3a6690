#ifndef PC_PRESERVE_META_H
#define PC_PRESERVE_META_H
#include "preserve/record.h"

/*
 * Reading and putting back an inode's metadata. fd may be O_PATH (symlinks, devices): attributes are then reached
 * through /proc/self/fd, which never follows a symlink further.
 */
#define PC_RECORD_XATTR "trusted.portcullis"

/* Everything: one statx, the attribute list, the symlink target. m must be initialised. 0, -errno or PC_E_LIMIT. */
int pc_meta_read(int fd, struct pc_meta *m);
/* statx alone: no xattrs, no target. */
int pc_meta_stat(int fd, struct pc_meta *m);
/* What a sparse copy of the content can take: never more than its size, nor (holes) than is allocated. */
static inline uint64_t pc_meta_bytes(const struct pc_meta *m)
{
    return m->alloc_bytes < m->size ? m->alloc_bytes : m->size;
}
/* Clears immutable/append-only so that the inode can be changed. fd must not be O_PATH. */
int pc_meta_unlock(int fd);
/*
 * Puts owner, attributes (extra ones removed), mode, times and chattr flags back, in the order in which none undoes
 * another. Size and content are not its business. The first error is returned, after everything was tried.
 */
int pc_meta_apply(int fd, const struct pc_meta *want);
/* The same but for immutable and append-only, which stay cleared. */
int pc_meta_apply_unlocked(int fd, const struct pc_meta *want);
int pc_meta_set_attrs(int fd, uint32_t attrs); /* enum pc_attr bits; fd must not be O_PATH */
int pc_meta_apply_times(int fd, int64_t atime_ns, int64_t mtime_ns);
#define PC_DIFF_MTIME "modification time"
/* NULL when equal; else the name of the first difference, PC_DIFF_MTIME only when it is the only one. ctime, inode
 * number, allocation, link count and atime are not compared. */
const char *pc_meta_differ(const struct pc_meta *want, const struct pc_meta *have);
/* Path of an open descriptor as the kernel shows it, without " (deleted)". out is "" when there is none. */
void pc_fd_path(int fd, char *out, size_t cap);
#endif
