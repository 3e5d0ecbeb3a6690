/*
 * Owns moving file content: clone, sparse copy, zstd, comparing. Must not know about objects, names or metadata. May be
 * called from any thread; allocates one bounded work buffer a call.
 */
#include "preserve/content.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <zstd.h>

enum { CHUNK = 128 * 1024, ZERO_UNIT = 4096 };
enum { PLACES = 8, PLACE = 16 * 1024 };
enum { EXTENTS = 64, EXTENT_ROUNDS = 128 }; /* asked for at a time, and how often: then it is read, or not compared */
#define STRETCH ((uint64_t)64 << 20) /* copied at a time, where somebody waits for a sign of life */

static _Thread_local struct {
    void (*fn)(void *arg);
    void *arg;
} breath;

void pc_content_breathe_by(void (*fn)(void *arg), void *arg)
{
    breath.fn = fn;
    breath.arg = arg;
}

void pc_content_breathe(void)
{
    if (breath.fn)
        breath.fn(breath.arg);
}

/*
 * What is copied goes to the disk at the same time, the stretch before it is there: else the fsync at the end of a
 * large file would take as long as the disk takes for all of it, without a sign of life.
 */
static void breathe_out(int out, uint64_t from, uint64_t len)
{
    if (!breath.fn)
        return;
    if (from >= STRETCH) /* a failed write shows in the fsync */
        (void)sync_file_range(out, (off_t)(from - STRETCH), (off_t)STRETCH,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    if (len >= STRETCH)
        (void)sync_file_range(out, (off_t)from, (off_t)len, SYNC_FILE_RANGE_WRITE);
    pc_content_breathe();
}

int pc_content_clone(int in, int out)
{
    return ioctl(out, FICLONE, in) < 0 ? -errno : 0;
}

/* Next stretch of data at or after *from, clipped to size: 1 and [*from, *to), or 0 when only a hole is left. */
static int next_data(int fd, uint64_t size, uint64_t *from, uint64_t *to)
{
    off_t data = lseek(fd, (off_t)*from, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return 0;
    if (data < 0 && errno != EINVAL)
        return -errno;
    off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    *from = data < 0 ? *from : (uint64_t)data;
    *to = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
    return *from < size && *to > *from;
}

static int copy_by_hand(int in, int out, uint64_t from, uint64_t to)
{
    _free_ char *buf = malloc(CHUNK);
    if (!buf)
        return -ENOMEM;
    while (from < to) {
        size_t want = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        ssize_t n = pc_pread_full(in, buf, want, from);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return PC_E_CHANGED;
        int r = pc_pwrite_all(out, buf, (size_t)n, from);
        if (r < 0)
            return r;
        from += (uint64_t)n;
        if (from % STRETCH < CHUNK)
            breathe_out(out, from, 0);
        pc_content_breathe();
    }
    return 0;
}

static int copy_stretch(int in, int out, uint64_t from, uint64_t to)
{
    while (from < to) {
        loff_t a = (loff_t)from, b = (loff_t)from;
        uint64_t most = breath.fn && to - from > STRETCH ? STRETCH : to - from;
        ssize_t n = copy_file_range(in, &a, out, &b, most, 0);
        if (n < 0 && errno == EINTR)
            continue;
        /* Some file systems refuse it or give up early: the plain way answers every case, ENOSPC included. */
        if (n <= 0)
            return copy_by_hand(in, out, from, to);
        breathe_out(out, from, (uint64_t)n);
        from += (uint64_t)n;
    }
    return 0;
}

/*
 * The size comes last, by what is written: so after a power failure a copy whose data had not reached the disk is too
 * short (ext4 and xfs set the size on the disk when the data are there), and told from a whole one. Only behind a hole
 * at the end it has to be set, after the data.
 */
int pc_content_copy(int in, int out, uint64_t size)
{
    uint64_t from = 0, to = 0, end = 0;
    int r;
    while (from < size && (r = next_data(in, size, &from, &to)) != 0) {
        if (r > 0)
            r = copy_stretch(in, out, from, to);
        if (r < 0)
            return r;
        from = end = to;
    }
    if (end < size && ((end && fdatasync(out) < 0) || ftruncate(out, (off_t)size) < 0))
        return -errno;
    return 0;
}

int pc_content_data(int fd, uint64_t size, uint64_t *out)
{
    uint64_t from = 0, to = 0, sum = 0;
    int r;
    while (from < size && (r = next_data(fd, size, &from, &to)) != 0) {
        if (r < 0)
            return r;
        sum += to - from;
        from = to;
    }
    *out = sum;
    return 0;
}

struct packer {
    ZSTD_CCtx *z;
    char *in, *out;
    int fd;
};

static int pack_chunk(struct packer *p, size_t len, ZSTD_EndDirective end)
{
    ZSTD_inBuffer src = {p->in, len, 0};
    for (;;) {
        ZSTD_outBuffer dst = {p->out, CHUNK, 0};
        size_t left = ZSTD_compressStream2(p->z, &dst, &src, end);
        if (ZSTD_isError(left))
            return -ENOMEM;
        int r = pc_write_all(p->fd, p->out, dst.pos);
        if (r < 0)
            return r;
        if (end == ZSTD_e_end ? left == 0 : src.pos == src.size)
            return 0;
    }
}

static int pack_all(struct packer *p, int in, uint64_t size)
{
    uint64_t at = 0;
    do {
        size_t want = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        ssize_t n = pc_pread_full(in, p->in, want, at);
        if (n < 0)
            return (int)n;
        if ((size_t)n != want)
            return PC_E_CHANGED;
        at += (uint64_t)n;
        pc_content_breathe();
        int r = pack_chunk(p, (size_t)n, at == size ? ZSTD_e_end : ZSTD_e_continue);
        if (r < 0)
            return r;
    } while (at < size);
    return 0;
}

int pc_content_pack(int in, int out, uint64_t size)
{
    _free_ char *a = malloc(CHUNK), *b = malloc(CHUNK);
    ZSTD_CCtx *z = ZSTD_createCCtx();
    int r = -ENOMEM;
    if (a && b && z) {
        ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 1); /* the writer must not outrun the guard */
        ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
        r = pack_all(&(struct packer){z, a, b, out}, in, size);
    }
    ZSTD_freeCCtx(z);
    return r;
}

static bool all_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int write_with_holes(int fd, const char *p, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i += ZERO_UNIT) {
        size_t len = n - i < ZERO_UNIT ? n - i : ZERO_UNIT;
        int r = all_zero(p + i, len) ? 0 : pc_pwrite_all(fd, p + i, len, at + i);
        if (r < 0)
            return r;
    }
    return 0;
}

struct unpacker {
    ZSTD_DCtx *z;
    char *in, *out;
    int fd;
    uint64_t at, size;
    size_t expect; /* 0: the frame is complete */
};

static int unpack_chunk(struct unpacker *u, size_t len)
{
    ZSTD_inBuffer src = {u->in, len, 0};
    ZSTD_outBuffer dst;
    do {
        dst = (ZSTD_outBuffer){u->out, CHUNK, 0};
        u->expect = ZSTD_decompressStream(u->z, &dst, &src);
        if (ZSTD_isError(u->expect) || dst.pos > u->size - u->at)
            return PC_E_CORRUPT;
        int r = write_with_holes(u->fd, u->out, dst.pos, u->at);
        if (r < 0)
            return r;
        u->at += dst.pos;
    } while (src.pos < src.size || dst.pos == dst.size);
    return 0;
}

static int unpack_all(struct unpacker *u, int in)
{
    uint64_t at = 0;
    for (;;) {
        ssize_t n = pc_pread_full(in, u->in, CHUNK, at);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        int r = unpack_chunk(u, (size_t)n);
        if (r < 0)
            return r;
        at += (uint64_t)n;
        pc_content_breathe();
    }
    return u->expect == 0 && u->at == u->size ? 0 : PC_E_CORRUPT;
}

int pc_content_unpack(int in, int out, uint64_t size)
{
    if (ftruncate(out, (off_t)size) < 0)
        return -errno;
    _free_ char *a = malloc(CHUNK), *b = malloc(CHUNK);
    ZSTD_DCtx *z = ZSTD_createDCtx();
    int r = -ENOMEM;
    if (a && b && z) {
        struct unpacker u = {z, a, b, out, 0, size, 1};
        r = unpack_all(&u, in);
    }
    ZSTD_freeDCtx(z);
    return r;
}

static int read_exactly(int fd, char *buf, size_t want, uint64_t at)
{
    ssize_t n = pc_pread_full(fd, buf, want, at);
    return n < 0 ? (int)n : (size_t)n == want ? 0 : PC_E_CORRUPT;
}

int pc_content_same(int a, int b, uint64_t size)
{
    _free_ char *x = malloc(CHUNK), *y = malloc(CHUNK);
    if (!x || !y)
        return -ENOMEM;
    for (uint64_t at = 0; at < size;) {
        size_t want = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        int r = read_exactly(a, x, want, at);
        if (r == 0)
            r = read_exactly(b, y, want, at);
        pc_content_breathe();
        if (r < 0 || memcmp(x, y, want) != 0)
            return r;
        at += want;
    }
    return 1;
}

int pc_content_alike(int a, int b, uint64_t size)
{
    char x[PLACE], y[PLACE];
    if (size <= PLACES * PLACE)
        return pc_content_same(a, b, size);
    for (uint64_t i = 0; i < PLACES; i++) {
        uint64_t at = (size - PLACE) / (PLACES - 1) * i;
        int r = read_exactly(a, x, sizeof x, at);
        if (r == 0)
            r = read_exactly(b, y, sizeof y, at);
        if (r < 0 || memcmp(x, y, sizeof x) != 0)
            return r;
    }
    return 1;
}

struct extents {
    struct fiemap map;
    struct fiemap_extent room[EXTENTS];
};

static int read_extents(int fd, uint64_t from, uint64_t size, uint32_t flags, struct extents *e)
{
    e->map = (struct fiemap){
        .fm_start = from, .fm_length = size - from, .fm_flags = flags, .fm_extent_count = EXTENTS};
    return ioctl(fd, FS_IOC_FIEMAP, &e->map) < 0 ? (errno == EOPNOTSUPP ? PC_E_UNSUPPORTED : -errno) : 0;
}

/* What lies behind the end (room taken in advance) is nobody's content. */
static bool same_extent(const struct fiemap_extent *a, const struct fiemap_extent *b, uint64_t size)
{
    uint64_t a_end = a->fe_logical + a->fe_length, b_end = b->fe_logical + b->fe_length;
    return a->fe_logical == b->fe_logical && a->fe_physical == b->fe_physical &&
           (a_end == b_end || (a_end >= size && b_end >= size)) &&
           ((a->fe_flags ^ b->fe_flags) & FIEMAP_EXTENT_UNWRITTEN) == 0;
}

/* 1, 0, or PC_E_UNSUPPORTED; *from: how far they were compared. */
static int same_extents(const struct extents *a, const struct extents *b, uint64_t size, uint64_t *from)
{
    const uint32_t vague = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |
                           FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE;
    const struct fiemap_extent *x = a->room, *y = b->room;
    uint32_t n = a->map.fm_mapped_extents, m = b->map.fm_mapped_extents;
    for (uint32_t i = 0; i < n && i < m; i++) {
        if ((x[i].fe_flags | y[i].fe_flags) & vague)
            return PC_E_UNSUPPORTED;
        if (!same_extent(&x[i], &y[i], size))
            return 0;
        *from = x[i].fe_logical + x[i].fe_length;
        if (*from >= size)
            return 1;
    }
    if (n < EXTENTS || m < EXTENTS)
        *from = n == m ? size : *from;
    return n == m;
}

int pc_content_shared(int a, int b, uint64_t size)
{
    struct extents x, y;
    int r = 1;
    for (uint64_t from = 0, rounds = 0; r == 1 && from < size; rounds++) {
        if (rounds == EXTENT_ROUNDS)
            return PC_E_UNSUPPORTED;
        r = read_extents(a, from, size, FIEMAP_FLAG_SYNC, &x);
        if (r == 0)
            r = read_extents(b, from, size, 0, &y);
        if (r == 0)
            r = same_extents(&x, &y, size, &from);
    }
    return r;
}
