/*
 * Owns reading a version's content back, whatever way it is held. Must not write to anything but a nameless temporary
 * file in the vault.
 */
#include "preserve/internal.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Read-only view of a finished temporary file: nobody may write through what we hand out. */
static int reopen_readonly(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int ro = open(path, O_RDONLY | O_CLOEXEC);
    return ro < 0 ? -errno : ro;
}

static int unpacked(const struct pc_volume *v, int packed, uint64_t size)
{
    _close_ int tmp = pc_object_new(v);
    int r = tmp < 0 ? tmp : pc_content_unpack(packed, tmp, size);
    return r < 0 ? r : reopen_readonly(tmp);
}

/* The first `size` bytes of what the file holds now (or of the next version that has content). */
static int prefix_of(const struct pc_volume *v, int in, uint64_t size)
{
    struct pc_meta m;
    _close_ int tmp = pc_object_new(v);
    int r = tmp < 0 ? tmp : pc_meta_stat(in, &m);
    if (r == 0 && m.size < size)
        r = PC_E_CORRUPT; /* it was cut, not appended to */
    if (r == 0 && v->can_clone && pc_content_clone(in, tmp) == 0)
        r = ftruncate(tmp, (off_t)size) < 0 ? -errno : 0;
    else if (r == 0)
        r = pc_content_copy(in, tmp, size);
    return r < 0 ? r : reopen_readonly(tmp);
}

static uint64_t next_with_content(struct pc_store *s, const struct pc_ver *ver)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_NEXT, &r);
    if (!st)
        return 0;
    pc_bind_u64(st, 1, ver->file);
    pc_bind_u64(st, 2, ver->id);
    uint64_t id = pc_index_row(&s->ix, st) > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    return id;
}

enum { SOURCES = 3 };

/* Where the content of a LENGTH version may be: a copy that came later, the next version, the live file. */
static int open_source(struct pc_store *s, const struct pc_volume *v, const struct pc_ver *ver, int which)
{
    struct pc_known k;
    uint64_t next;
    int r;
    switch (which) {
    case 0:
        return ver->object ? pc_object_open(v, PC_AREA_OBJECTS, ver->object) : PC_E_NOTFOUND;
    case 1:
        next = next_with_content(s, ver);
        return next ? pc_store_open_version(s, next) : PC_E_NOTFOUND;
    default:
        r = pc_store_lookup_id(s, ver->file, &k);
        return r < 0 ? r : pc_fh_open(v->tree_fd, &k.fh, O_RDONLY | O_NOATIME | O_NONBLOCK);
    }
}

/*
 * The first of them that begins with what was there: it may have been written to by who had said to append, or while
 * nobody watched. Better none than another.
 */
static int open_length(struct pc_store *s, const struct pc_volume *v, const struct pc_ver *ver, struct pc_prefix *was)
{
    int r = pc_ver_prefix(s, ver->id, was);
    if (r <= 0)
        return r < 0 ? r : PC_E_NOTFOUND;
    for (int i = 0; i < SOURCES; i++) {
        _close_ int in = open_source(s, v, ver, i);
        if (in >= 0 && pc_prefix_holds(in, ver->size, was) == 1)
            return TAKE_FD(in);
    }
    return PC_E_NOTFOUND;
}

/* The content of a LENGTH version, apart from the file that goes on: looked at again once nobody else can write it. */
static int length_content(struct pc_store *s, const struct pc_volume *v, const struct pc_ver *ver)
{
    struct pc_prefix was;
    _close_ int in = open_length(s, v, ver, &was);
    _close_ int out = in < 0 ? in : prefix_of(v, in, ver->size);
    int r = out < 0 ? out : pc_prefix_holds(out, ver->size, &was);
    return r < 0 ? r : r == 0 ? PC_E_NOTFOUND : TAKE_FD(out);
}

/* A copy whose data had not reached the disk when the power failed: its size may be right all the same. */
static int check_whole(const struct pc_volume *v, int fd, const struct pc_ver *ver)
{
    _record_free_ struct pc_record rec;
    pc_record_init(&rec);
    uint64_t data;
    int r = pc_object_read_record(v, fd, PC_AREA_OBJECTS, ver->object, &rec);
    if (r < 0 || !rec.has_data)
        return 0; /* its record is gone: nothing to compare with */
    r = pc_content_data(fd, ver->size, &data);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0) /* whoever asked for it reads from the beginning */
        r = -errno;
    return r < 0 ? r : data < rec.data ? PC_E_CORRUPT : 0;
}

int pc_store_open_version(struct pc_store *s, uint64_t version)
{
    struct pc_ver ver;
    struct pc_meta m;
    int r = pc_ver_get(s, version, &ver);
    if (r < 0)
        return r;
    const struct pc_volume *v = pc_volume_get(s, ver.vol);
    if (!v)
        return PC_E_STATE;
    if (ver.how == PC_HOW_META)
        return PC_E_UNSUPPORTED;
    if (ver.how == PC_HOW_LENGTH)
        return length_content(s, v, &ver);
    if (!ver.object)
        return PC_E_NOTFOUND;
    _close_ int fd = pc_object_open(v, ver.how == PC_HOW_LINK ? PC_AREA_LINKS : PC_AREA_OBJECTS, ver.object);
    if (fd < 0)
        return fd;
    if (ver.packed)
        return unpacked(v, fd, ver.size);
    r = pc_meta_stat(fd, &m);
    /* A link shares its inode with the live file: written to since, it is not this version any more. */
    if (r == 0 && ver.how == PC_HOW_LINK && (m.mtime_ns != ver.mtime_ns || m.size != ver.size))
        r = PC_E_NOTFOUND;
    if (r == 0 && m.size != ver.size)
        r = PC_E_CORRUPT;
    if (r == 0 && ver.how == PC_HOW_COPY)
        r = check_whole(v, fd, &ver);
    return r < 0 ? r : TAKE_FD(fd);
}

int pc_store_is_kept(struct pc_store *s, uint64_t version)
{
    struct pc_ver ver;
    struct pc_prefix was;
    int r = pc_ver_get(s, version, &ver);
    if (r < 0)
        return r == PC_E_NOTFOUND ? 0 : r;
    if (ver.how == PC_HOW_META || !S_ISREG(ver.mode) || ver.size == 0)
        return 1;
    if (!pc_how_is_live(ver.how))
        return ver.object != 0;
    const struct pc_volume *v = pc_volume_get(s, ver.vol);
    _close_ int fd = !v                         ? PC_E_STATE
                     : ver.how == PC_HOW_LENGTH ? open_length(s, v, &ver, &was)
                                                : pc_store_open_version(s, version);
    return fd >= 0 ? 1 : fd == PC_E_NOTFOUND || fd == PC_E_CORRUPT ? 0 : fd;
}
