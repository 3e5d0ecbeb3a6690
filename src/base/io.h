#ifndef PC_BASE_IO_H
#define PC_BASE_IO_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whole-transfer wrappers over read/write: restart on EINTR and short transfers. Return 0 / bytes read / -errno. */
int pc_write_all(int fd, const void *data, size_t len);
ssize_t pc_read_full(int fd, void *buf, size_t len);
ssize_t pc_pread_full(int fd, void *buf, size_t len, uint64_t off);
int pc_pwrite_all(int fd, const void *data, size_t len, uint64_t off);
/* Reads a small file (procfs, sysfs) beneath dirfd; NUL-terminates; truncates at cap-1. Returns length or -errno. */
ssize_t pc_read_file_at(int dirfd, const char *path, char *buf, size_t cap);
/*
 * All of a regular file that is open, at most max bytes. *out: malloc'd, NUL-terminated; *len without the NUL (less
 * than the file had when it shrinks meanwhile). PC_E_REFUSED: not a regular file; PC_E_LIMIT: longer than max; -errno.
 */
int pc_read_regular(int fd, size_t max, char **out, size_t *len);
/*
 * A new file, whole and on disk, or none: O_EXCL, links not followed, fsync of the file (not of the folder). mode as
 * open(2). 0 or -errno; -EEXIST: something is there, and stays as it is.
 */
int pc_create_file_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode);
/* Writes a string to an existing file in one write (cgroupfs, procfs). */
int pc_write_file_at(int dirfd, const char *path, const char *text);
/*
 * Opens path beneath dirfd without following symlinks or leaving dirfd or its mount (openat2 RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV). Returns a descriptor (CLOEXEC) or -errno.
 */
int pc_open_beneath(int dirfd, const char *path, uint64_t flags, mode_t mode);
#endif
