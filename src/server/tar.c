/* Owns the archive format of backups. Must not know which files a server has. */
#include "server/tar.h"

#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 512

/* POSIX.1-1988 ustar header; numbers are octal text. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2],
        owner[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a ustar header is one block");

static unsigned sum_of(const struct header *h)
{
    const uint8_t *p = (const uint8_t *)h;
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++) /* the field itself counts as blanks */
        sum += i >= offsetof(struct header, sum) && i < offsetof(struct header, sum) + 8 ? ' ' : p[i];
    return sum;
}

int pc_copy_bytes(int in_fd, int out_fd, uint64_t n)
{
    char buf[65536];
    while (n) {
        ssize_t got = read(in_fd, buf, n < sizeof buf ? (size_t)n : sizeof buf);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : PC_E_CHANGED;
        int ret = pc_write_all(out_fd, buf, (size_t)got);
        if (ret < 0)
            return ret;
        n -= (uint64_t)got;
    }
    return 0;
}

static size_t padding(uint64_t size)
{
    return (size_t)((BLOCK - size % BLOCK) % BLOCK);
}

int pc_tar_add(int out_fd, const char *name, unsigned mode, int in_fd, uint64_t size)
{
    struct header h = {.type = '0'};
    static const char zero[BLOCK];
    if (strlen(name) >= sizeof h.name || size >> 33)
        return PC_E_LIMIT;
    memcpy(h.name, name, strlen(name));
    snprintf(h.mode, sizeof h.mode, "%07o", mode & 0777);
    snprintf(h.uid, sizeof h.uid, "%07o", 0);
    snprintf(h.gid, sizeof h.gid, "%07o", 0);
    snprintf(h.size, sizeof h.size, "%011llo", (unsigned long long)size);
    snprintf(h.mtime, sizeof h.mtime, "%011o", 0);
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    snprintf(h.sum, sizeof h.sum, "%06o", sum_of(&h));
    h.sum[7] = ' ';
    int ret = pc_write_all(out_fd, &h, sizeof h);
    if (ret == 0)
        ret = pc_copy_bytes(in_fd, out_fd, size);
    return ret < 0 ? ret : pc_write_all(out_fd, zero, padding(size));
}

int pc_tar_end(int out_fd)
{
    static const char zero[2 * BLOCK];
    int ret = pc_write_all(out_fd, zero, sizeof zero);
    return ret < 0 ? ret : fsync(out_fd) < 0 ? -errno : 0;
}

static int read_block(int fd, void *block)
{
    size_t at = 0;
    while (at < BLOCK) {
        ssize_t n = read(fd, (char *)block + at, BLOCK - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : PC_E_CORRUPT;
        at += (size_t)n;
    }
    return 0;
}

int pc_tar_next(int in_fd, char name[100], unsigned *mode, uint64_t *size)
{
    struct header h;
    static const char zero[BLOCK];
    int ret = read_block(in_fd, &h);
    if (ret < 0)
        return ret;
    if (memcmp(&h, zero, BLOCK) == 0)
        return 0;
    if (memcmp(h.magic, "ustar", 5) != 0 || h.type != '0' || h.name[99] || strtoul(h.sum, NULL, 8) != sum_of(&h))
        return PC_E_CORRUPT;
    memcpy(name, h.name, sizeof h.name);
    *mode = (unsigned)strtoul(h.mode, NULL, 8) & 0777;
    *size = strtoull(h.size, NULL, 8);
    return 1;
}

int pc_tar_skip(int in_fd, uint64_t size)
{
    char pad[BLOCK];
    size_t left = padding(size);
    while (left) {
        ssize_t n = read(in_fd, pad, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : PC_E_CORRUPT;
        left -= (size_t)n;
    }
    return 0;
}
