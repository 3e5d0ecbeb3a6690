/* Owns the conversion between kernel file handles and struct pc_fh. */
#include "base/fh.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

union handle {
    struct file_handle h;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

bool pc_fh_equal(const struct pc_fh *a, const struct pc_fh *b)
{
    return a->type == b->type && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

uint64_t pc_fh_hash(const struct pc_fh *fh)
{
    return pc_hash64(fh->data, fh->len) ^ (uint64_t)(uint32_t)fh->type;
}

int pc_fh_set(struct pc_fh *fh, int32_t type, const void *data, size_t len)
{
    if (len > PC_FH_MAX)
        return PC_E_LIMIT;
    memset(fh, 0, sizeof *fh);
    fh->type = type;
    fh->len = (uint32_t)len;
    memcpy(fh->data, data, len);
    return 0;
}

int pc_fh_of_fd(int fd, struct pc_fh *out)
{
    union handle u = {.h.handle_bytes = MAX_HANDLE_SZ};
    int mount_id;
    if (name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH) < 0)
        return -errno;
    return pc_fh_set(out, u.h.handle_type, u.h.f_handle, u.h.handle_bytes);
}

int pc_fh_open(int tree_fd, const struct pc_fh *fh, int flags)
{
    union handle u = {.h.handle_bytes = fh->len, .h.handle_type = fh->type};
    memcpy(u.h.f_handle, fh->data, fh->len);
    int fd = open_by_handle_at(tree_fd, &u.h, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int pc_fh_open_file(int tree_fd, const struct pc_fh *fh)
{
    struct stat st;
    _close_ int fd = pc_fh_open(tree_fd, fh, O_PATH);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? pc_fh_open(tree_fd, fh, O_RDONLY | O_NONBLOCK | O_NOATIME) : PC_E_UNSUPPORTED;
}
