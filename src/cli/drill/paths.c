/*
 * Owns how damaged bytes get into a file: one small function a path, chosen from a table. Every one works on the
 * descriptor that was checked, or on a name proved a moment before to be that very file. What is damaged is decided by
 * the shape, whether at all by the folder's checks; neither is repeated here.
 */
#include "cli/drill/paths.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SLACK 8192 /* room for transfers rounded up to whole blocks */
#define TRIM_ABOVE ((size_t)256 << 10)
#define RING_ENTRIES 32

typedef int (*range_fn)(struct drill_job *job, int fd, struct drill_range range);

/* ---- what has to be transferred ---- */

static bool next_range(const struct drill_job *job, struct drill_range *r)
{
    if (job->shape.new_size == job->shape.size)
        return drill_shape_next(&job->shape, r);
    if (r->len)
        return false;
    *r = (struct drill_range){0, job->shape.new_size};
    return true;
}

static int each_range(struct drill_job *job, int fd, range_fn fn)
{
    struct drill_range range = {0, 0};
    int r = 0;
    while (r == 0 && next_range(job, &range))
        r = fn(job, fd, range);
    return r;
}

static struct drill_range widen(struct drill_range r, uint64_t align)
{
    uint64_t start = r.off / align * align, end = (r.off + r.len + align - 1) / align * align;
    return (struct drill_range){start, end - start};
}

static int load_range(struct drill_job *job, struct drill_range range)
{
    ssize_t n = pc_pread_full(job->fd, job->tools->image + range.off, range.len, range.off);
    if (n < 0)
        return (int)n;
    uint64_t expected = range.off + range.len > job->shape.size ? job->shape.size - range.off : range.len;
    if ((uint64_t)n < expected)
        return PC_E_CHANGED;
    memset(job->tools->image + range.off + n, 0, range.len - (size_t)n);
    return 0;
}

int drill_job_load(struct drill_job *job, const struct drill_path *path)
{
    struct stat st;
    if (fstat(job->fd, &st) < 0)
        return -errno;
    uint64_t size = (uint64_t)st.st_size;
    if (size + SLACK > job->tools->image_cap || drill_shape_bound(size) + SLACK > job->tools->wide_cap)
        return PC_E_LIMIT;
    enum drill_pattern pattern = job->shape.pattern;
    drill_shape_of(pattern, size, &job->shape);
    int r = 0;
    if (path->whole || job->shape.new_size != size) {
        r = load_range(job, widen((struct drill_range){0, size}, path->align));
    } else {
        struct drill_range range = {0, 0};
        while (r == 0 && drill_shape_next(&job->shape, &range))
            r = load_range(job, widen(range, path->align));
    }
    if (r < 0)
        return r;
    return drill_damage_image(job->tools->cipher, job->index, &job->shape, job->tools->image, job->tools->wide,
                              &job->data);
}

int drill_job_open(const struct drill_folder *f, const struct drill_file *file, const struct drill_path *path)
{
    int fd = drill_folder_open_file(f, f->sub[file->sub], file->name, path->open_flags, 1);
    return fd == -EINVAL && path->open_flags & O_DIRECT ? PC_E_UNSUPPORTED : fd;
}

static void new_name(const struct drill_file *file, char out[DRILL_NAME_MAX + sizeof DRILL_SUFFIX])
{
    snprintf(out, DRILL_NAME_MAX + sizeof DRILL_SUFFIX, "%s%s", file->name, DRILL_SUFFIX);
}

static int dir_of(const struct drill_job *job)
{
    return job->folder->sub[job->file->sub];
}

int drill_job_rename(const struct drill_job *job)
{
    char name[DRILL_NAME_MAX + sizeof DRILL_SUFFIX];
    new_name(job->file, name);
    int r = drill_folder_is_same(dir_of(job), job->file->name, job->fd);
    if (r < 0)
        return r;
    return renameat2(dir_of(job), job->file->name, dir_of(job), name, RENAME_NOREPLACE) == 0 ? 0 : -errno;
}

/* ---- paths that change the file in place ---- */

static int write_range(struct drill_job *job, int fd, struct drill_range range)
{
    return pc_pwrite_all(fd, job->data + range.off, range.len, range.off);
}

static int by_write(struct drill_job *job)
{
    return each_range(job, job->fd, write_range);
}

static int pwritev2_range(struct drill_job *job, int fd, struct drill_range range)
{
    while (range.len) {
        size_t half = (size_t)(range.len + 1) / 2;
        uint8_t *at = job->data + range.off;
        const struct iovec iov[2] = {{at, half}, {at + half, (size_t)range.len - half}};
        ssize_t n = pwritev2(fd, iov, 2, (off_t)range.off, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        range.off += (uint64_t)n;
        range.len -= (uint64_t)n;
    }
    return 0;
}

static int by_pwritev2(struct drill_job *job)
{
    return each_range(job, job->fd, pwritev2_range);
}

static int by_mmap(struct drill_job *job)
{
    uint64_t size = job->shape.new_size;
    if (size != job->shape.size && ftruncate(job->fd, (off_t)size) < 0)
        return -errno;
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, job->fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    struct drill_range range = {0, 0};
    while (next_range(job, &range))
        memcpy(map + range.off, job->data + range.off, range.len);
    munmap(map, size);
    return 0;
}

/* A ring that can only read and write: with sockets or opens it would be a way around the sandbox. */
static int open_ring(struct drill_tools *t)
{
    struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
    };
    if (t->has_ring)
        return 0;
    int r = io_uring_queue_init(RING_ENTRIES, &t->ring, IORING_SETUP_R_DISABLED);
    if (r == -ENOSYS || r == -EPERM || r == -EINVAL)
        return PC_E_UNSUPPORTED;
    if (r < 0)
        return r;
    /* by the raw call: liburing 2.3's shared library does not export its own functions for these two */
    r = io_uring_register((unsigned)t->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, allowed, PC_ARRAY_SIZE(allowed));
    if (r == 0)
        r = io_uring_register((unsigned)t->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (r < 0)
        io_uring_queue_exit(&t->ring);
    else
        t->has_ring = true;
    return r;
}

static int uring_range(struct drill_job *job, int fd, struct drill_range range)
{
    struct io_uring *ring = &job->tools->ring;
    while (range.len) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
        struct io_uring_cqe *cqe = NULL;
        if (!sqe)
            return PC_E_LIMIT;
        io_uring_prep_write(sqe, fd, job->data + range.off, (unsigned)range.len, range.off);
        int r = io_uring_submit_and_wait(ring, 1);
        while (r == -EINTR)
            r = io_uring_submit_and_wait(ring, 1);
        if (r >= 0)
            r = io_uring_wait_cqe(ring, &cqe);
        if (r < 0)
            return r;
        int n = cqe->res;
        io_uring_cqe_seen(ring, cqe);
        if (n == -EINTR || n == -EAGAIN)
            continue;
        if (n <= 0)
            return n < 0 ? n : -EIO;
        range.off += (uint64_t)n;
        range.len -= (uint64_t)n;
    }
    return 0;
}

static int by_uring(struct drill_job *job)
{
    int r = open_ring(job->tools);
    return r < 0 ? r : each_range(job, job->fd, uring_range);
}

static int direct_range(struct drill_job *job, int fd, struct drill_range range)
{
    return write_range(job, fd, widen(range, drill_paths[DRILL_PATH_DIRECT].align));
}

static int by_direct(struct drill_job *job)
{
    memset(job->data + job->shape.new_size, 0, SLACK / 2); /* the rounded-up end must carry nothing of earlier files */
    int r = each_range(job, job->fd, direct_range);
    if (r == -EINVAL)
        return PC_E_UNSUPPORTED;
    return r < 0 ? r : ftruncate(job->fd, (off_t)job->shape.new_size) < 0 ? -errno : 0;
}

/* ---- paths that move the bytes inside the kernel ---- */

static int open_stage(struct drill_job *job)
{
    struct drill_tools *t = job->tools;
    if (t->stage >= 0)
        return 0;
    int fd = pc_open_beneath(job->folder->fd, ".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0)
        return fd;
    int r = drill_folder_mark(job->folder, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    t->stage = fd;
    return 0;
}

static int copy_range(struct drill_job *job, int fd, struct drill_range range)
{
    off_t from = (off_t)range.off, to = (off_t)range.off;
    while (range.len) {
        ssize_t n = copy_file_range(job->tools->stage, &from, fd, &to, (size_t)range.len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        range.len -= (uint64_t)n;
    }
    return 0;
}

static int sendfile_range(struct drill_job *job, int fd, struct drill_range range)
{
    off_t from = (off_t)range.off;
    if (lseek(fd, from, SEEK_SET) < 0)
        return -errno;
    while (range.len) {
        ssize_t n = sendfile(fd, job->tools->stage, &from, (size_t)range.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        range.len -= (uint64_t)n;
    }
    return 0;
}

/* Puts the new bytes into the stage and lets `move` bring them over. */
static int from_stage(struct drill_job *job, range_fn move)
{
    int r = open_stage(job);
    if (r == 0 && ftruncate(job->tools->stage, 0) < 0)
        r = -errno;
    if (r == 0)
        r = each_range(job, job->tools->stage, write_range);
    return r < 0 ? r : each_range(job, job->fd, move);
}

static int by_copy(struct drill_job *job)
{
    return from_stage(job, copy_range);
}

static int by_sendfile(struct drill_job *job)
{
    return from_stage(job, sendfile_range);
}

static int splice_range(struct drill_job *job, int fd, struct drill_range range)
{
    const int *ends = job->tools->pipe;
    off_t to = (off_t)range.off;
    while (range.len) {
        size_t piece = range.len < 65536 ? (size_t)range.len : 65536; /* what a pipe holds by default */
        ssize_t in = write(ends[1], job->data + range.off, piece);
        if (in < 0 && errno == EINTR)
            continue;
        if (in < 0)
            return -errno;
        for (ssize_t left = in; left > 0;) {
            ssize_t n = splice(ends[0], NULL, fd, &to, (size_t)left, 0);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return n < 0 ? -errno : -EIO;
            left -= n;
        }
        range.off += (uint64_t)in;
        range.len -= (uint64_t)in;
    }
    return 0;
}

static int by_splice(struct drill_job *job)
{
    if (job->tools->pipe[0] < 0 && pipe2(job->tools->pipe, O_CLOEXEC) < 0)
        return -errno;
    return each_range(job, job->fd, splice_range);
}

/* ---- paths that empty the file first ---- */

/* A new descriptor of the very inode behind the checked one, whatever its name leads to by now. */
static int reopen(int fd, int flags)
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = open(link, flags | O_CLOEXEC);
    return again < 0 ? -errno : again;
}

static int write_whole(const struct drill_job *job, int fd)
{
    return pc_pwrite_all(fd, job->data, job->shape.new_size, 0);
}

/* truncate(2) before any descriptor for writing exists. */
static int by_truncate(struct drill_job *job)
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", job->fd);
    if (truncate(link, 0) < 0)
        return -errno;
    _close_ int fd = reopen(job->fd, O_WRONLY);
    return fd < 0 ? fd : write_whole(job, fd);
}

static int by_ftruncate(struct drill_job *job)
{
    return ftruncate(job->fd, 0) < 0 ? -errno : write_whole(job, job->fd);
}

static int by_open_truncate(struct drill_job *job)
{
    _close_ int fd = reopen(job->fd, O_WRONLY | O_TRUNC);
    return fd < 0 ? fd : write_whole(job, fd);
}

/* ---- paths that put another file in its place ---- */

static int write_new(const struct drill_job *job, const char *name)
{
    _close_ int fd = drill_folder_create_file(job->folder, dir_of(job), name, 0600);
    if (fd < 0)
        return fd;
    int r = write_whole(job, fd);
    return r < 0 ? r : fchmod(fd, job->file->mode) < 0 ? -errno : 0;
}

/* Writes the new content beside the file, then proves that the old name is still the file that was checked. */
static int prepare_new(const struct drill_job *job, char name[DRILL_NAME_MAX + sizeof DRILL_SUFFIX])
{
    new_name(job->file, name);
    int r = write_new(job, name);
    return r < 0 ? r : drill_folder_is_same(dir_of(job), job->file->name, job->fd);
}

static int by_replace(struct drill_job *job)
{
    char name[DRILL_NAME_MAX + sizeof DRILL_SUFFIX];
    int r = prepare_new(job, name);
    return r < 0 ? r : unlinkat(dir_of(job), job->file->name, 0) < 0 ? -errno : 0;
}

static int by_rename_over(struct drill_job *job)
{
    char name[DRILL_NAME_MAX + sizeof DRILL_SUFFIX];
    int r = prepare_new(job, name);
    return r < 0 ? r : renameat(dir_of(job), name, dir_of(job), job->file->name) < 0 ? -errno : 0;
}

static int by_exchange(struct drill_job *job)
{
    char name[DRILL_NAME_MAX + sizeof DRILL_SUFFIX];
    int r = prepare_new(job, name);
    if (r < 0)
        return r;
    if (renameat2(dir_of(job), name, dir_of(job), job->file->name, RENAME_EXCHANGE) < 0)
        return errno == EINVAL ? PC_E_UNSUPPORTED : -errno;
    r = drill_folder_is_same(dir_of(job), name, job->fd);
    return r < 0 ? r : unlinkat(dir_of(job), name, 0) < 0 ? -errno : 0;
}

/* ---- the rest ---- */

static int punch_range(struct drill_job *job, int fd, struct drill_range range)
{
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)range.off, (off_t)range.len) < 0)
        return -errno;
    return 0;
}

static int by_punch(struct drill_job *job)
{
    int r = each_range(job, job->fd, punch_range);
    if (r < 0 || job->shape.pattern == DRILL_WIPE) /* a hole reads as the zeros that wiping would write */
        return r;
    return each_range(job, job->fd, write_range);
}

/* Writes through another name of the file, in another folder. */
static int by_hard_link(struct drill_job *job)
{
    int links = job->tools->links;
    int r = drill_folder_is_same(dir_of(job), job->file->name, job->fd);
    if (r < 0)
        return r;
    if (linkat(dir_of(job), job->file->name, links, job->file->name, 0) < 0)
        return errno == EXDEV ? PC_E_UNSUPPORTED : -errno;
    _close_ int fd = drill_folder_open_file(job->folder, links, job->file->name, O_RDWR, 2);
    if (fd < 0)
        return fd;
    r = drill_folder_is_same(links, job->file->name, job->fd);
    if (r == 0)
        r = each_range(job, fd, write_range);
    if (r == 0 && unlinkat(links, job->file->name, 0) < 0)
        r = -errno;
    return r;
}

const struct drill_path drill_paths[DRILL_PATHS] = {
#define X(id, name, fn, flags, whole, in_place, align) [DRILL_PATH_##id] = {name, flags, whole, in_place, align, fn},
    DRILL_PATH_TABLE(X)
#undef X
};
const char *const drill_path_names[DRILL_PATHS + 1] = {
#define X(id, name, fn, flags, whole, in_place, align) [DRILL_PATH_##id] = name,
    DRILL_PATH_TABLE(X)
#undef X
};

/* ---- tools ---- */

static uint8_t *reserve(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

int drill_tools_init(struct drill_tools *t, struct drill_cipher *cipher, int links, uint64_t max_size)
{
    *t = (struct drill_tools){.cipher = cipher, .links = links, .stage = -1, .pipe = {-1, -1}};
    t->image_cap = max_size + 2 * SLACK;
    t->wide_cap = drill_shape_bound(max_size) + 2 * SLACK;
    t->image = reserve(t->image_cap);
    t->wide = reserve(t->wide_cap);
    if (t->image && t->wide)
        return 0;
    drill_tools_free(t);
    return -ENOMEM;
}

void drill_tools_free(struct drill_tools *t)
{
    if (t->has_ring)
        io_uring_queue_exit(&t->ring);
    if (t->image)
        munmap(t->image, t->image_cap);
    if (t->wide)
        munmap(t->wide, t->wide_cap);
    pc_closep(&t->stage);
    pc_closep(&t->pipe[0]);
    pc_closep(&t->pipe[1]);
    *t = (struct drill_tools){.links = -1, .stage = -1, .pipe = {-1, -1}};
}

void drill_tools_trim(struct drill_tools *t)
{
    if (t->image_cap > TRIM_ABOVE)
        madvise(t->image + TRIM_ABOVE, t->image_cap - TRIM_ABOVE, MADV_DONTNEED);
    if (t->wide_cap > TRIM_ABOVE)
        madvise(t->wide + TRIM_ABOVE, t->wide_cap - TRIM_ABOVE, MADV_DONTNEED);
}
