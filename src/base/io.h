#ifndef PC_BASE_IO_H
#define PC_BASE_IO_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whole-transfer wrappers over read/write: restart on EINTR and short transfers. Return 0 / bytes read / -errno. */
int pc_write_all(int fd, const void *data, size_t len);
ssize_t pc_pread_full(int fd, void *buf, size_t len, uint64_t off);
int pc_pwrite_all(int fd, const void *data, size_t len, uint64_t off);
/* Reads a small file (procfs, sysfs) beneath dirfd; NUL-terminates; truncates at cap-1. Returns length or -errno. */
ssize_t pc_read_file_at(int dirfd, const char *path, char *buf, size_t cap);
/* Writes a string to an existing file in one write (cgroupfs, procfs). */
int pc_write_file_at(int dirfd, const char *path, const char *text);
/*
 * Opens path beneath dirfd without following symlinks or leaving dirfd or its mount (openat2 RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV). Returns a descriptor (CLOEXEC) or -errno.
 */
int pc_open_beneath(int dirfd, const char *path, uint64_t flags, mode_t mode);
#endif
