#ifndef PC_CLI_DRILL_PATHS_H
#define PC_CLI_DRILL_PATHS_H
#include "cli/drill/cipher.h"
#include "cli/drill/folder.h"
#include "cli/drill/shape.h"

#include <liburing.h>
#include <stdbool.h>

/*
 * The ways by which changed bytes reach a file. Columns: constant, name, function, flags of the first open, the whole
 * new content is needed, the file stays the same inode under the same name, granularity of transfers.
 */
#define DRILL_PATH_TABLE(X)                                                    \
    X(WRITE, "write", by_write, O_RDWR, false, true, 1)                        \
    X(PWRITEV2, "pwritev2", by_pwritev2, O_RDWR, false, true, 1)               \
    X(MMAP, "mmap", by_mmap, O_RDWR, false, true, 1)                           \
    X(URING, "uring", by_uring, O_RDWR, false, true, 1)                        \
    X(DIRECT, "direct", by_direct, O_RDWR | O_DIRECT, false, true, 4096)       \
    X(COPY, "copy", by_copy, O_RDWR, false, true, 1)                           \
    X(SENDFILE, "sendfile", by_sendfile, O_RDWR, false, true, 1)               \
    X(SPLICE, "splice", by_splice, O_RDWR, false, true, 1)                     \
    X(TRUNCATE, "truncate", by_truncate, O_RDONLY, true, true, 1)              \
    X(FTRUNCATE, "ftruncate", by_ftruncate, O_RDWR, true, true, 1)             \
    X(O_TRUNCATE, "o-trunc", by_open_truncate, O_RDONLY, true, true, 1)        \
    X(REPLACE, "replace", by_replace, O_RDONLY, true, false, 1)                \
    X(RENAME_OVER, "rename-over", by_rename_over, O_RDONLY, true, false, 1)    \
    X(EXCHANGE, "exchange", by_exchange, O_RDONLY, true, false, 1)             \
    X(PUNCH, "punch", by_punch, O_RDWR, false, true, 1)                        \
    X(HARDLINK, "hardlink", by_hard_link, O_RDONLY, false, true, 1)            \
    X(HELD, "held", by_write, O_RDWR, false, true, 1)

enum drill_path_id {
#define X(id, name, fn, flags, whole, in_place, align) DRILL_PATH_##id,
    DRILL_PATH_TABLE(X)
#undef X
        DRILL_PATHS
};

/* What one process needs beside the file itself. Made before forking; the ring, pipe and stage on first use. */
struct drill_tools {
    struct drill_cipher *cipher;
    uint8_t *image, *wide; /* page-aligned, image_cap and wide_cap bytes, touched only as far as used */
    size_t image_cap, wide_cap;
    int links; /* the folder for hard links, or -1 */
    int stage; /* an unnamed file of ours to copy from, or -1 */
    int pipe[2];
    struct io_uring ring;
    bool has_ring;
};
/* max_size: of any file. Takes over neither cipher nor links. */
int drill_tools_init(struct drill_tools *t, struct drill_cipher *cipher, int links, uint64_t max_size);
void drill_tools_free(struct drill_tools *t);
/* Gives back the memory that one large file has touched. */
void drill_tools_trim(struct drill_tools *t);

/* One file about to be damaged. */
struct drill_job {
    const struct drill_folder *folder;
    const struct drill_file *file;
    struct drill_tools *tools;
    uint32_t index;
    struct drill_shape shape;
    int fd;        /* checked by drill_folder_check */
    uint8_t *data; /* the new content at its offsets; only the ranges to transfer, unless the path is whole */
};

struct drill_path {
    const char *name;
    uint64_t open_flags;
    bool whole, in_place;
    uint32_t align;
    /* 0, -errno or PC_E_*. PC_E_UNSUPPORTED, -EOPNOTSUPP and -ENOSYS: cannot be done here at all. */
    int (*damage)(struct drill_job *job);
};
extern const struct drill_path drill_paths[DRILL_PATHS];
extern const char *const drill_path_names[DRILL_PATHS + 1]; /* NULL-terminated */

/* Reads what the path needs and turns it into the damaged image (job->data). Changes nothing on disk. */
int drill_job_load(struct drill_job *job, const struct drill_path *path);
/* Opens the job's file for this path and checks it; an O_DIRECT the file system does not know is PC_E_UNSUPPORTED. */
int drill_job_open(const struct drill_folder *f, const struct drill_file *file, const struct drill_path *path);
/* Renames the file to its name with DRILL_SUFFIX. */
int drill_job_rename(const struct drill_job *job);
#endif
