/*
 * Owns making what a live file is now its current version: which way (clone, copy, link, metadata alone), the object,
 * the rows. Must not judge or restore. The guard's main thread hands it open files; pc_vault_copy_now (copier threads)
 * is in copier.c.
 */
#include "preserve/capture.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define YOUNG_NS (60 * PC_NS_PER_S)
/* Compared with the copy that is there before another one is made; of a larger file a link costs less. */
#define COMPARED_MAX (1u << 20)
enum { EVICT_STEP = 1 << 20 }; /* make a little more room than asked, so that the next file need not evict again */

int pc_capture_record(struct pc_record *rec, uint8_t how, int fd, const struct pc_fh *fh, const struct pc_fh *parent,
                      const char *name, uint64_t actor)
{
    rec->how = how;
    rec->time_ns = pc_real_ns();
    rec->actor = actor;
    rec->fh = *fh;
    if (parent)
        rec->parent = *parent;
    if (name && strlen(name) < sizeof rec->name)
        strcpy(rec->name, name);
    pc_fd_path(fd, rec->path, sizeof rec->path);
    return pc_meta_read(fd, &rec->meta);
}

bool pc_capture_changed(int fd, const struct pc_meta *before)
{
    struct pc_meta now;
    return pc_meta_stat(fd, &now) < 0 || now.ctime_ns != before->ctime_ns || now.mtime_ns != before->mtime_ns ||
           now.size != before->size;
}

int pc_capture_fill(const struct pc_volume *v, int in, int out, uint64_t size, uint64_t copy_limit, bool pack,
                    struct pc_record *rec)
{
    if (v->can_clone) {
        int r = pc_content_clone(in, out);
        if (r != -EINVAL && r != -EOPNOTSUPP && r != -EXDEV && r != -ETXTBSY && r != -EPERM) {
            rec->how = PC_HOW_CLONE;
            return r;
        }
        /* Files this file system will not share (no checksums, encrypted, swap): copy them. */
    }
    if (pc_meta_bytes(&rec->meta) > copy_limit)
        return PC_E_UNSUPPORTED;
    rec->how = PC_HOW_COPY;
    rec->packed = pack;
    int flags = fcntl(in, F_GETFL);
    if (flags >= 0) /* best effort: reading must not move the live file's atime */
        (void)fcntl(in, F_SETFL, flags | O_NOATIME);
    if (pack)
        return pc_content_pack(in, out, size);
    int r = pc_content_copy(in, out, size);
    rec->has_data = r == 0 && pc_content_data(out, size, &rec->data) == 0;
    return r;
}

/* One object with this record; content from fd when fill says so. Evicts and tries again when the disk is full. */
static int make_object(struct pc_store *s, struct pc_volume *v, int fd, struct pc_record *rec, bool fill,
                       struct pc_ver *ver)
{
    uint64_t copies = v->can_clone || !fill ? 0 : pc_meta_bytes(&rec->meta);
    for (int tries = 0;; tries++) {
        bool room = pc_space_left(s, v, copies) || !copies;
        _close_ int obj = room ? pc_object_new(v) : -ENOSPC;
        int r = obj < 0 ? obj : 0;
        if (r == 0 && fill)
            r = pc_capture_fill(v, fd, obj, rec->meta.size, v->copy_limit_bytes,
                                s->opts.compress && v->mode == PC_MODE_AHEAD, rec);
        if (r == 0 && pc_capture_changed(fd, &rec->meta))
            return PC_E_CHANGED;
        if (r == 0)
            r = pc_object_seal(s, v, obj, rec, true, &ver->object);
        if (r == 0) {
            struct pc_meta m;
            ver->alloc_bytes = pc_meta_stat(obj, &m) == 0 ? m.alloc_bytes : rec->meta.size;
            ver->how = rec->how;
            ver->packed = rec->packed;
            return 0;
        }
        if ((r != -ENOSPC && r != -EDQUOT) || tries >= 16 || pc_evict_for_space(s, v, copies + EVICT_STEP) < 0)
            return r;
    }
}

/* The old LINK version shares its inode with the live file: it is still true only if the content did not change. */
static int settle_old_link(struct pc_store *s, const struct pc_row *row, const struct pc_meta *now)
{
    if (!row->version || row->how != PC_HOW_LINK || (row->size == now->size && row->mtime_ns == now->mtime_ns))
        return 0;
    return pc_ver_lost(s, row->version);
}

/* on-open: keeps the inode by a second name. Metadata is read after linking, which itself changes ctime. */
static int make_link(struct pc_store *s, struct pc_volume *v, int fd, struct pc_row *row, struct pc_record *rec,
                     struct pc_ver *ver)
{
    int r = settle_old_link(s, row, &rec->meta);
    if (r < 0)
        return r;
    if (s->on_link)
        s->on_link(s->on_link_arg, v->id, fd, rec->meta.ino, row->link || pc_how_is_live(row->how));
    if (!row->link) {
        uint64_t id;
        r = pc_link_new(s, v, &row->fh, &id);
        if (r == -EPERM || r == -EMLINK || r == -EXDEV)
            return make_object(s, v, fd, rec, true, ver);
        if (r == 0)
            r = pc_row_set_link(s, row->id, id);
        if (r < 0)
            return r;
        row->link = id;
        r = pc_meta_stat(fd, &rec->meta);
        if (r < 0)
            return r;
    }
    ver->how = PC_HOW_LINK;
    ver->object = row->link;
    return 0;
}

/*
 * on-open: a link changes the file's ctime. A program that is still at work on what it wrote a moment ago takes that
 * for somebody else's change: git then refuses to go on with a rebase. Small files get the copy at once that they would
 * get in quiet times or from their next writer anyway. Those that were there before the guard are nobody's work just
 * now.
 */
static bool is_young(struct pc_store *s, int vol, const struct pc_row *row, const struct pc_meta *now)
{
    int64_t age_ns = (int64_t)pc_real_ns() - now->ctime_ns;
    return row->creator && !row->link && now->size <= s->opts.copy_young_bytes && age_ns >= 0 &&
           age_ns < (int64_t)YOUNG_NS && pc_store_room_ahead(s, vol, now->size);
}

static int make_version(struct pc_store *s, struct pc_volume *v, int fd, struct pc_row *row, uint64_t creator,
                        uint64_t *version)
{
    _record_free_ struct pc_record rec;
    pc_record_init(&rec);
    int r = pc_capture_record(&rec, PC_HOW_META, fd, &row->fh, &row->parent, row->name, creator);
    if (r == 0)
        r = pc_length_settle(s, v, row, rec.meta.ctime_ns);
    if (r < 0)
        return r;
    struct pc_ver ver = {.vol = v->id, .actor = creator};
    bool content = S_ISREG(rec.meta.mode) && rec.meta.size > 0;
    if (content && v->mode == PC_MODE_ON_OPEN && !v->can_clone && !is_young(s, v->id, row, &rec.meta))
        r = make_link(s, v, fd, row, &rec, &ver);
    else
        r = make_object(s, v, fd, &rec, content, &ver);
    if (r == 0)
        r = pc_ver_add(s, row, &ver, &rec.meta);
    if (r == 0 && version)
        *version = ver.id;
    return r;
}

/* A further version of the same content: it shares the object of the last one. */
static int add_sharing(struct pc_store *s, struct pc_row *row, struct pc_ver *old, const struct pc_meta *now,
                       uint64_t *version)
{
    struct pc_ver ver = {.vol = old->vol,
                         .object = old->object,
                         .how = old->how,
                         .packed = old->packed,
                         .alloc_bytes = old->alloc_bytes};
    int r = pc_ver_move_alloc(s, old);
    if (r == 0)
        r = pc_ver_add(s, row, &ver, now);
    if (r == 0 && version)
        *version = ver.id;
    return r;
}

/*
 * on-open: opened for writing and closed as it was, or given other rights: the copy that there is keeps it. A new link
 * would make the next such opener wait for a new copy, and lose the link, and so on. 1: done.
 */
static int share_copy(struct pc_store *s, const struct pc_volume *v, int fd, struct pc_row *row, uint64_t *version)
{
    _meta_free_ struct pc_meta now;
    struct pc_ver old;
    pc_meta_init(&now);
    if (v->mode != PC_MODE_ON_OPEN || row->how != PC_HOW_COPY || !row->object || row->link || row->gone ||
        row->size > COMPARED_MAX)
        return 0;
    int r = pc_meta_read(fd, &now);
    if (r < 0 || now.size != row->size || now.mtime_ns != row->mtime_ns ||
        (int64_t)pc_real_ns() - now.ctime_ns < (int64_t)PC_COARSE_CLOCK_NS)
        return r;
    _close_ int kept = pc_store_open_version(s, row->version);
    /* Its times can be put back: it is the content that tells. What cannot be compared is preserved anew. */
    if (kept < 0 || pc_content_same(fd, kept, now.size) != 1 || pc_capture_changed(fd, &now))
        return 0;
    r = pc_ver_get(s, row->version, &old);
    if (r == 0)
        r = add_sharing(s, row, &old, &now, version);
    return r == 0 ? 1 : r;
}

/*
 * Size and times are those of the version; the content need not be: XFS_IOC_SWAPEXT and EXT4_IOC_MOVE_EXT, which any
 * user may call, and writes by a handle of XFS_IOC_OPEN_BY_HANDLE change nothing else. A clone tells by its blocks. Of
 * a copy, and of what cannot be told so, a sample has to do. 1: it is another; 0: it is not, or that was not found.
 */
static int is_other(struct pc_store *s, int fd, const struct pc_row *row)
{
    struct pc_ver ver;
    if ((row->how != PC_HOW_CLONE && row->how != PC_HOW_COPY) || !row->object || !row->size ||
        pc_ver_get(s, row->version, &ver) < 0 || ver.packed) /* unpacking it at each close would cost too much */
        return 0;
    _close_ int kept = pc_store_open_version(s, row->version);
    if (kept < 0)
        return 0;
    int shared = row->how == PC_HOW_CLONE ? pc_content_shared(fd, kept, row->size) : PC_E_UNSUPPORTED;
    return shared >= 0 ? !shared : pc_content_alike(fd, kept, row->size) == 0;
}

int pc_store_is_other(struct pc_store *s, int vol, const struct pc_fh *fh)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    struct pc_row row;
    int r = v ? pc_row_by_fh(s, vol, fh, &row) : PC_E_NOTFOUND;
    if (r < 0 || !row.version || row.gone)
        return r;
    _close_ int fd = pc_fh_open_file(v->tree_fd, fh);
    return fd < 0 ? fd : is_other(s, fd, &row);
}

static bool unchanged(const struct pc_row *row, const struct pc_meta *now)
{
    return row->version && row->how && row->how != PC_HOW_LENGTH && !row->gone && row->ctime_ns == now->ctime_ns &&
           row->mtime_ns == now->mtime_ns && row->size == now->size && (row->object || row->size == 0);
}

int pc_store_capture(struct pc_store *s, int vol, int fd, const struct pc_fh *fh, const struct pc_fh *parent,
                     const char *name, uint64_t creator, uint64_t *version)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    struct pc_meta now;
    struct pc_row row;
    if (!v)
        return PC_E_NOTFOUND;
    int r = pc_meta_stat(fd, &now);
    if (r == 0)
        r = pc_row_put(s, vol, fh, parent, name, creator, &row);
    if (r < 0)
        return pc_volume_note(v, r, "index");
    if (unchanged(&row, &now) && !is_other(s, fd, &row)) {
        if (version)
            *version = row.version;
        return pc_index_maybe_commit(&s->ix);
    }
    r = share_copy(s, v, fd, &row, version);
    if (r == 0)
        r = make_version(s, v, fd, &row, creator, version);
    return pc_volume_note(v, r < 0 ? r : 0, "preserving a file");
}

int pc_store_capture_meta(struct pc_store *s, int vol, int fd, const struct pc_fh *fh, uint64_t *version)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    _meta_free_ struct pc_meta now;
    struct pc_row row;
    struct pc_ver old;
    pc_meta_init(&now);
    int r = v ? pc_row_by_fh(s, vol, fh, &row) : PC_E_NOTFOUND;
    if (r == 0)
        r = pc_ver_get(s, row.version, &old);
    if (r == 0)
        r = pc_meta_read(fd, &now);
    if (r < 0)
        return r;
    /* The same content is claimed, so it must be the same content. */
    if (S_ISREG(now.mode) && (now.size != old.size || now.mtime_ns != old.mtime_ns || old.how == PC_HOW_LENGTH))
        return pc_store_capture(s, vol, fd, fh, &row.parent, row.name, row.creator, version);
    return add_sharing(s, &row, &old, &now, version);
}

/* True when the inode still has a name besides our own link. Unreachable by handle: no name is left. */
static int still_named(const struct pc_volume *v, const struct pc_row *row, struct pc_meta *m)
{
    _close_ int fd = pc_fh_open(v->tree_fd, &row->fh, O_PATH | O_NOFOLLOW);
    if (fd == -ESTALE || fd == -ENOENT)
        return 0;
    int r = fd < 0 ? fd : pc_meta_stat(fd, m);
    if (r < 0)
        return r;
    uint32_t ours = row->link ? 1 : 0;
    return S_ISDIR(m->mode) ? m->nlink > 0 : m->nlink > ours;
}

int pc_store_next_missing(struct pc_store *s, int vol, bool old, uint64_t *cursor, struct pc_fh *fh)
{
    enum { LOOKS = 16 }; /* files at a time: each may have to be read from the disk */
    struct pc_volume *v = pc_volume_get(s, vol);
    for (int i = 0; v && i < LOOKS; i++) {
        struct pc_known k;
        struct pc_meta m;
        uint64_t id = 0;
        int r = pc_row_next_there(s, vol, old ? v->versions_before : INT64_MAX, cursor, &id);
        if (r != 1)
            return r;
        if (pc_store_lookup_id(s, id, &k) < 0)
            continue;
        struct pc_row row = {.fh = k.fh, .link = k.linked};
        if (still_named(v, &row, &m) == 0) { /* what cannot be looked at is believed to be there */
            *fh = k.fh;
            return 1;
        }
    }
    return v ? 2 : PC_E_NOTFOUND;
}

/* The link is now the only name: from here on it is an object like any other, with its own record. */
static int keep_link(struct pc_store *s, struct pc_volume *v, struct pc_row *row)
{
    _record_free_ struct pc_record rec;
    pc_record_init(&rec);
    _close_ int fd = pc_object_open(v, PC_AREA_LINKS, row->link);
    int r = fd < 0 ? fd : pc_capture_record(&rec, PC_HOW_LINK, fd, &row->fh, &row->parent, row->name, row->creator);
    if (r < 0)
        return r;
    bool same = row->how == PC_HOW_LINK && row->object && row->size == rec.meta.size &&
                row->mtime_ns == rec.meta.mtime_ns;
    struct pc_ver ver = {.vol = v->id, .object = row->link, .how = PC_HOW_LINK, .alloc_bytes = rec.meta.alloc_bytes};
    r = same ? pc_ver_set_alloc(s, row->version, rec.meta.alloc_bytes) : settle_old_link(s, row, &rec.meta);
    if (r == 0 && !same)
        r = pc_ver_add(s, row, &ver, &rec.meta);
    /* Recorded with the flags the file had: freezing is our doing. */
    return r == 0 ? pc_link_finish(v, row->link, &rec) : r;
}

int pc_store_gone(struct pc_store *s, int vol, const struct pc_fh *fh)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    struct pc_row row;
    struct pc_meta m;
    int r = v ? pc_row_by_fh(s, vol, fh, &row) : PC_E_NOTFOUND;
    if (r < 0)
        return r;
    r = row.gone ? 1 : still_named(v, &row, &m);
    if (r != 0)
        return r < 0 ? pc_volume_note(v, r, "a deleted file") : 0;
    if (row.link)
        r = keep_link(s, v, &row);
    if (r == 0 && row.version)
        r = pc_ver_retire(s, row.version, pc_real_ns());
    if (r == 0)
        r = pc_row_set_gone(s, row.id);
    if (r == 0 && v->n.files)
        v->n.files--;
    if (r == 0)
        r = pc_index_maybe_commit(&s->ix);
    return pc_volume_note(v, r, "a deleted file");
}
