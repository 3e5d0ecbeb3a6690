#ifndef PC_SERVER_TAR_H
#define PC_SERVER_TAR_H
/* Backups are POSIX ustar archives of plain files in one folder, so that tar(1) can look into them. Just enough of it
 * for that. */
#include <stdint.h>

/* Appends a member of `size` bytes read from in_fd. name <= 99 bytes. PC_E_CHANGED: the file got shorter meanwhile.
 * -errno. */
int pc_tar_add(int out_fd, const char *name, unsigned mode, int in_fd, uint64_t size);
/* The two empty blocks at the end, and fsync. */
int pc_tar_end(int out_fd);
/* The next member: 1 and name, mode, size with in_fd at its first byte (the caller reads all `size` bytes, then
 * pc_tar_skip); 0: the end. PC_E_CORRUPT. */
int pc_tar_next(int in_fd, char name[100], unsigned *mode, uint64_t *size);
/* Skips the padding behind a member of that size. */
int pc_tar_skip(int in_fd, uint64_t size);
/* Copies exactly n bytes. PC_E_CHANGED: in ended early. */
int pc_copy_bytes(int in_fd, int out_fd, uint64_t n);
#endif
