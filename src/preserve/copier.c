/*
 * Owns the on-open pre-image: copied by a copier thread while the opener waits (pc_vault_copy_now: no index), then made
 * a version by the main thread (pc_store_adopt_object). Also the temporary removal of a vault link for programs that
 * refuse files with several names.
 */
#include "preserve/capture.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy_object(struct pc_store *s, const struct pc_volume *v, int fd, struct pc_record *rec, uint64_t *id)
{
    if (!v->can_clone && !pc_space_left(s, v, pc_meta_bytes(&rec->meta)))
        return -ENOSPC;
    _close_ int obj = pc_object_new(v);
    int r = obj < 0 ? obj : pc_capture_fill(v, fd, obj, rec->meta.size, v->copy_limit_bytes, false, rec);
    if (r == 0 && pc_capture_changed(fd, &rec->meta))
        r = PC_E_CHANGED;
    /* Not frozen yet: the name and the folder are added when it is adopted. */
    return r == 0 ? pc_object_seal(s, v, obj, rec, false, id) : r;
}

static int copy_now(struct pc_store *s, const struct pc_volume *v, int fd, uint8_t how, struct pc_vault_copy *out)
{
    struct pc_fh fh;
    _record_free_ struct pc_record rec;
    pc_record_init(&rec);
    int r = pc_fh_of_fd(fd, &fh);
    if (r == 0)
        r = pc_capture_record(&rec, how, fd, &fh, NULL, NULL, 0);
    uint64_t id = 0;
    if (r == 0 && !S_ISREG(rec.meta.mode))
        r = PC_E_UNSUPPORTED;
    struct pc_prefix prefix = {0};
    if (r == 0 && how != PC_HOW_LENGTH)
        r = copy_object(s, v, fd, &rec, &id);
    else if (r == 0)
        r = pc_prefix_take(fd, rec.meta.size, &prefix);
    if (r == 0)
        *out = (struct pc_vault_copy){.object = id,
                                      .how = rec.how,
                                      .size = rec.meta.size,
                                      .mtime_ns = rec.meta.mtime_ns,
                                      .ctime_ns = rec.meta.ctime_ns,
                                      .prefix = prefix};
    return r;
}

int pc_vault_copy_now(struct pc_store *s, int vol, int fd, uint8_t how, struct pc_vault_copy *out)
{
    if (how != PC_HOW_COPY && how != PC_HOW_LENGTH)
        return -EINVAL;
    pthread_rwlock_rdlock(&s->lock);
    const struct pc_volume *v = pc_volume_get(s, vol);
    int r = v ? copy_now(s, v, fd, how, out) : PC_E_NOTFOUND;
    pthread_rwlock_unlock(&s->lock);
    return r;
}

int pc_vault_sync_copy(struct pc_store *s, int vol, const struct pc_vault_copy *copy)
{
    if (copy->how == PC_HOW_LENGTH)
        return 0; /* no object: the content is where it was */
    pthread_rwlock_rdlock(&s->lock);
    const struct pc_volume *v = pc_volume_get(s, vol);
    _close_ int fd = v ? pc_object_open(v, PC_AREA_OBJECTS, copy->object) : PC_E_NOTFOUND;
    pthread_rwlock_unlock(&s->lock);
    int r = fd < 0 ? fd : 0;
    return r == 0 && fsync(fd) < 0 ? -errno : r;
}

int pc_vault_sync(struct pc_store *s, int vol)
{
    pthread_rwlock_rdlock(&s->lock);
    const struct pc_volume *v = pc_volume_get(s, vol);
    _close_ int fd = v ? fcntl(v->vault_fd, F_DUPFD_CLOEXEC, 0) : PC_E_NOTFOUND;
    int r = !v ? PC_E_NOTFOUND : fd < 0 ? -errno : 0;
    pthread_rwlock_unlock(&s->lock); /* not held while the disk works: a volume that goes must not wait for it */
    return r == 0 && syncfs(fd) < 0 ? -errno : r;
}

void pc_store_copy_failed(struct pc_store *s, int vol, int err)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    if (v)
        (void)pc_volume_note(v, err, "copying a file before it is changed");
}

static int length_lost(struct pc_store *s, struct pc_row *row)
{
    int r = pc_ver_length_lost(s, row->version);
    if (r == 0)
        row->how = PC_HOW_LINK;
    return r;
}

int pc_length_settle(struct pc_store *s, const struct pc_volume *v, struct pc_row *row, int64_t ctime_ns)
{
    bool is_length = row->version && row->how == PC_HOW_LENGTH && !row->object;
    return is_length && row->version <= v->versions_before && row->ctime_ns != ctime_ns ? length_lost(s, row) : 0;
}

bool pc_store_watched(struct pc_store *s, int vol, uint64_t version)
{
    const struct pc_volume *v = pc_volume_get(s, vol);
    return v && version > v->versions_before;
}

int pc_store_written_unkept(struct pc_store *s, int vol, const struct pc_fh *fh)
{
    struct pc_row row;
    int r = pc_row_by_fh(s, vol, fh, &row);
    return r == 0 && row.version && row.how == PC_HOW_LENGTH && !row.object ? length_lost(s, &row) : r;
}

int pc_store_overwritten(struct pc_store *s, int vol, const struct pc_fh *fh)
{
    struct pc_row row;
    int r = pc_row_by_fh(s, vol, fh, &row);
    if (r < 0 || !row.version || row.gone)
        return r;
    if (row.how == PC_HOW_LENGTH && !row.object)
        r = length_lost(s, &row);
    return r == 0 && row.how == PC_HOW_LINK ? pc_ver_links_lost(s, row.id) : r; /* also what came before the length */
}

/* Completes the copied object's record; rec is initialised and comes back filled. */
static int finish_copy(struct pc_volume *v, const struct pc_row *row, const struct pc_vault_copy *copy,
                       struct pc_record *rec, uint64_t *alloc)
{
    struct pc_meta m;
    _close_ int fd = pc_object_open(v, PC_AREA_OBJECTS, copy->object);
    int r = fd < 0 ? fd : pc_object_read_record(v, fd, PC_AREA_OBJECTS, copy->object, rec);
    if (r == 0)
        r = pc_meta_stat(fd, &m);
    if (r < 0)
        return r;
    rec->parent = row->parent;
    strcpy(rec->name, row->name);
    *alloc = m.alloc_bytes;
    return pc_object_finish(v, copy->object, rec);
}

/* An append: the version's metadata is that of its file now, but for what the append may have changed already. */
static int length_meta(struct pc_store *s, struct pc_volume *v, struct pc_row *row,
                       const struct pc_vault_copy *copy, struct pc_meta *meta)
{
    int r = pc_length_settle(s, v, row, copy->ctime_ns);
    if (r == 0)
        r = row->version && row->how ? pc_ver_meta(s, row->version, meta) : PC_E_NOTFOUND;
    if (r == PC_E_NOTFOUND || r == PC_E_CORRUPT) {
        _close_ int fd = pc_fh_open(v->tree_fd, &row->fh, O_PATH);
        r = fd < 0 ? fd : pc_meta_read(fd, meta);
    }
    meta->size = copy->size;
    meta->mtime_ns = copy->mtime_ns;
    meta->ctime_ns = copy->ctime_ns;
    return r;
}

static int adopt_length(struct pc_store *s, struct pc_volume *v, struct pc_row *row, const struct pc_vault_copy *copy,
                        uint64_t *version)
{
    if (row->version && row->how == PC_HOW_COPY) { /* another opener's copy came first: it keeps more than a length */
        *version = row->version;
        return 0;
    }
    _meta_free_ struct pc_meta meta;
    pc_meta_init(&meta);
    int r = length_meta(s, v, row, copy, &meta);
    struct pc_ver ver = {.vol = v->id, .how = PC_HOW_LENGTH};
    if (r == 0)
        r = pc_ver_add(s, row, &ver, &meta);
    if (r == 0)
        r = pc_ver_set_prefix(s, ver.id, &copy->prefix);
    if (r == 0)
        *version = ver.id;
    return r;
}

static int adopt_copy(struct pc_store *s, struct pc_volume *v, struct pc_row *row, const struct pc_vault_copy *copy,
                      uint64_t *version)
{
    _record_free_ struct pc_record rec;
    pc_record_init(&rec);
    struct pc_ver ver = {.vol = v->id, .object = copy->object, .how = copy->how};
    int r = finish_copy(v, row, copy, &rec, &ver.alloc_bytes);
    if (r == 0)
        r = pc_length_settle(s, v, row, copy->ctime_ns);
    if (r < 0)
        return r;
    bool same = row->version && row->size == copy->size && row->mtime_ns == copy->mtime_ns;
    if (same && row->how == PC_HOW_LINK && row->object) {
        /* The very content the current version names: give it the copy, the link goes on following the live file. */
        *version = row->version;
        return pc_ver_give_object(s, row, copy->object, copy->how, ver.alloc_bytes);
    }
    if (row->version && row->how == PC_HOW_LENGTH && copy->size >= row->size)
        r = pc_ver_share_object(s, row->version, copy->object); /* its content is the beginning of this copy */
    else if (row->version && row->how == PC_HOW_LINK)
        r = pc_ver_lost(s, row->version);
    if (r == 0)
        r = pc_ver_add(s, row, &ver, &rec.meta);
    if (r == 0)
        *version = ver.id;
    return r;
}

int pc_store_adopt_object(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent,
                          const char *name, const struct pc_vault_copy *copy, uint64_t *version)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    struct pc_row row;
    uint64_t id = 0;
    int r = v ? pc_row_put(s, vol, fh, parent, name, 0, &row) : PC_E_NOTFOUND;
    if (r == 0)
        r = copy->how == PC_HOW_LENGTH ? adopt_length(s, v, &row, copy, &id) : adopt_copy(s, v, &row, copy, &id);
    if (r == 0)
        r = pc_index_maybe_commit(&s->ix);
    if (r == 0 && version)
        *version = id;
    return v ? pc_volume_note(v, r, "keeping a pre-image") : r;
}

/* sure: on record before. An index that knows of a link that is not there takes the file for a deleted one. */
static int remove_link(struct pc_store *s, struct pc_volume *v, struct pc_row *row, bool sure)
{
    uint64_t link = row->link;
    int r = pc_row_set_link(s, row->id, 0);
    if (r == 0 && sure)
        r = pc_index_commit(&s->ix);
    if (r < 0)
        return r;
    r = pc_object_remove(v, PC_AREA_LINKS, link);
    if (r < 0)
        (void)pc_row_set_link(s, row->id, link);
    return r;
}

int pc_store_unlink_link(struct pc_store *s, int vol, const struct pc_fh *fh, int64_t *ctime_ns)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    struct pc_row row;
    int r = v ? pc_row_by_fh(s, vol, fh, &row) : PC_E_NOTFOUND;
    if (r < 0)
        return r;
    if (!row.link || row.gone) {
        if (ctime_ns)
            *ctime_ns = 0;
        return 0;
    }
    struct pc_meta before, after;
    _close_ int fd = pc_object_open(v, PC_AREA_LINKS, row.link);
    r = fd < 0 ? fd : pc_meta_stat(fd, &before);
    if (r == 0 && before.nlink < 2)
        return PC_E_REFUSED; /* ours is the last name: removing it would delete the file */
    /* A version that rests on this link would lose its content with it. */
    if (r == 0 && pc_how_is_live(row.how))
        return PC_E_STATE;
    if (r == 0)
        r = remove_link(s, v, &row, ctime_ns != NULL);
    if (r == 0 && ctime_ns)
        *ctime_ns = before.ctime_ns == row.ctime_ns && pc_meta_stat(fd, &after) == 0 ? after.ctime_ns : 0;
    return r;
}

static bool is_as_preserved(int fd, const struct pc_row *row, int64_t ctime_ns)
{
    struct pc_meta now;
    return pc_meta_stat(fd, &now) == 0 && now.ctime_ns == ctime_ns && now.size == row->size &&
           now.mtime_ns == row->mtime_ns;
}

int pc_store_follow_ctime(struct pc_store *s, int vol, const struct pc_fh *fh, int64_t ctime_ns)
{
    struct pc_volume *v = pc_volume_get(s, vol);
    struct pc_row row;
    int r = v ? pc_row_by_fh(s, vol, fh, &row) : PC_E_NOTFOUND;
    if (r < 0 || !row.version || row.gone || row.link || pc_how_is_live(row.how))
        return r < 0 ? r : PC_E_STATE;
    _close_ int live = pc_fh_open(v->tree_fd, fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    _close_ int kept = live < 0 ? live : pc_store_open_version(s, row.version);
    if (kept < 0)
        return kept;
    /* Its size and times can be put back, so it is the content that tells; and its ctime tells that it was all read. */
    if (!is_as_preserved(live, &row, ctime_ns))
        return PC_E_CHANGED;
    r = pc_content_same(live, kept, row.size);
    if (r <= 0 || !is_as_preserved(live, &row, ctime_ns))
        return r < 0 ? r : PC_E_CHANGED;
    return pc_ver_set_ctime(s, row.version, ctime_ns);
}
