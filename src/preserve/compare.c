/* Owns telling whether what is at a name equals a version: SHA-256 of the content, all metadata. Read only. */
#include "preserve/plan.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/*
 * Not changed since it was captured, as its ctime says, which proves nothing by itself (capture.c:is_other): no need to
 * read it when it still rests on the same blocks.
 */
static bool is_still_shared(int live, int kept, uint64_t size)
{
    struct stat a, b;
    bool one = fstat(live, &a) == 0 && fstat(kept, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    return one || pc_content_shared(live, kept, size) == 1;
}

static int same_content(struct pc_store *s, int path_fd, uint64_t version, uint64_t size, bool untouched)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", path_fd);
    _close_ int live = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC | O_NONBLOCK);
    if (live < 0)
        return -errno;
    _close_ int kept = pc_store_open_version(s, version);
    if (kept < 0)
        return kept == PC_E_NOTFOUND && untouched ? 1 : kept;
    return untouched && is_still_shared(live, kept, size) ? 1 : pc_content_same(live, kept, size);
}

int pc_compare(struct pc_store *s, int dirfd, const char *name, uint64_t version, const char **why)
{
    _close_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : pc_compare_fd(s, fd, version, why);
}

int pc_compare_fd(struct pc_store *s, int fd, uint64_t version, const char **why)
{
    _meta_free_ struct pc_meta want, have;
    struct pc_ver ver;
    pc_content_breathe();
    pc_meta_init(&want);
    pc_meta_init(&have);
    int r = pc_ver_get(s, version, &ver);
    if (r == 0)
        r = pc_ver_meta(s, version, &want);
    if (r == 0)
        r = pc_meta_read(fd, &have);
    if (r < 0)
        return r;
    *why = pc_meta_differ(&want, &have);
    if ((want.mode & S_IFMT) != (have.mode & S_IFMT))
        return PC_DIFFERENT;
    bool content = S_ISREG(want.mode) && want.size > 0;
    if (S_ISREG(want.mode) && want.size != have.size)
        return PC_DIFFERENT;
    bool untouched = want.ctime_ns == have.ctime_ns && want.ino == have.ino && ver.how != PC_HOW_LENGTH;
    if (content) {
        r = same_content(s, fd, version, want.size, untouched);
        if (r <= 0) {
            *why = r == 0 ? "content" : *why;
            return r < 0 ? r : PC_DIFFERENT;
        }
    }
    return *why ? PC_SAME_CONTENT : PC_SAME;
}
