/*
 * Owns the rows of versions: reading, adding, retiring, dropping them together with their objects, and the volume's
 * running totals over them. Must not open live files.
 */
#include "preserve/internal.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

int pc_ver_get(struct pc_store *s, uint64_t id, struct pc_ver *out)
{
    sqlite3_stmt *st;
    int r = pc_index_find(&s->ix, PC_SQL_VER_GET, id, &st);
    if (r < 0)
        return r;
    *out = (struct pc_ver){
        .id = pc_column_u64(st, 0),
        .file = pc_column_u64(st, 1),
        .vol = sqlite3_column_int(st, 2),
        .object = pc_column_u64(st, 3),
        .how = (uint8_t)sqlite3_column_int(st, 4),
        .packed = sqlite3_column_int(st, 5),
        .actor = pc_column_u64(st, 6),
        .time_ns = pc_column_u64(st, 7),
        .mode = (mode_t)sqlite3_column_int(st, 8),
        .size = pc_column_u64(st, 9),
        .alloc_bytes = pc_column_u64(st, 10),
        .mtime_ns = sqlite3_column_int64(st, 11),
        .ctime_ns = sqlite3_column_int64(st, 12),
        .retired_ns = sqlite3_column_int64(st, 13),
    };
    sqlite3_reset(st);
    return 0;
}

int pc_ver_meta(struct pc_store *s, uint64_t id, struct pc_meta *out)
{
    sqlite3_stmt *st;
    int r = pc_index_find(&s->ix, PC_SQL_VER_META, id, &st);
    if (r < 0)
        return r;
    struct pc_cur c;
    pc_cur_init(&c, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
    r = pc_meta_decode(&c, out);
    if (r == 0)
        r = pc_cur_end(&c);
    sqlite3_reset(st);
    return r == 0 || r == -ENOMEM ? r : PC_E_CORRUPT;
}

static int insert_version(struct pc_store *s, struct pc_ver *v, const struct pc_meta *meta)
{
    pc_buf_reset(&s->scratch);
    int r = pc_meta_encode(meta, &s->scratch);
    if (r == 0)
        r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_VER_ADD, &r) : NULL;
    if (!st)
        return r;
    const uint64_t cols[] = {v->file,
                             (uint64_t)v->vol,
                             v->object,
                             v->how,
                             v->packed,
                             v->actor,
                             v->time_ns,
                             v->mode,
                             v->size,
                             v->alloc_bytes,
                             (uint64_t)v->mtime_ns,
                             (uint64_t)v->ctime_ns};
    for (int i = 0; i < 12; i++)
        pc_bind_u64(st, i + 1, cols[i]);
    sqlite3_bind_blob(st, 13, s->scratch.data, (int)s->scratch.len, SQLITE_STATIC);
    r = pc_index_run(&s->ix, st);
    if (r == 0)
        v->id = (uint64_t)sqlite3_last_insert_rowid(s->ix.db);
    return r;
}

int pc_ver_add(struct pc_store *s, struct pc_row *row, struct pc_ver *v, const struct pc_meta *meta)
{
    v->file = row->id;
    v->time_ns = pc_real_ns();
    v->mode = (mode_t)meta->mode;
    v->size = meta->size;
    v->mtime_ns = meta->mtime_ns;
    v->ctime_ns = meta->ctime_ns;
    int r = insert_version(s, v, meta);
    if (r == 0 && row->version)
        r = pc_ver_retire(s, row->version, v->time_ns);
    if (r == 0)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_FILE_CURRENT, row->id, v->id);
    if (r < 0)
        return r;
    struct pc_volume *vol = pc_volume_get(s, v->vol);
    if (vol) {
        vol->n.versions++;
        vol->n.objects += v->object != 0;
        vol->n.object_bytes += v->alloc_bytes;
        vol->n.files += row->gone;
    }
    row->version = v->id;
    row->gone = false;
    row->how = v->how;
    row->object = v->object;
    row->size = v->size;
    row->mtime_ns = v->mtime_ns;
    row->ctime_ns = v->ctime_ns;
    return pc_index_maybe_commit(&s->ix);
}

int pc_ver_retire(struct pc_store *s, uint64_t version, uint64_t now_ns)
{
    struct pc_ver v;
    int r = pc_ver_get(s, version, &v);
    if (r < 0)
        return r == PC_E_NOTFOUND ? 0 : r; /* evicted already */
    r = PC_INDEX_PUT(&s->ix, PC_SQL_VER_RETIRE, version, now_ns);
    struct pc_volume *vol = pc_volume_get(s, v.vol);
    if (r == 0 && vol && v.retired_ns == 0)
        vol->n.superseded_bytes += v.alloc_bytes;
    return r;
}

/* Takes a version's bytes out of the totals. */
static void uncount(struct pc_store *s, const struct pc_ver *v)
{
    struct pc_volume *vol = pc_volume_get(s, v->vol);
    if (!vol)
        return;
    uint64_t *const totals[] = {&vol->n.object_bytes, v->retired_ns ? &vol->n.superseded_bytes : NULL};
    for (int i = 0; i < 2; i++)
        if (totals[i])
            *totals[i] -= v->alloc_bytes < *totals[i] ? v->alloc_bytes : *totals[i];
    if (v->object && vol->n.objects)
        vol->n.objects--;
}

int pc_ver_lost(struct pc_store *s, uint64_t version)
{
    struct pc_ver v;
    int r = pc_ver_get(s, version, &v);
    if (r == 0)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_VER_LOST, version);
    if (r == 0)
        uncount(s, &v);
    return r;
}

int pc_ver_links_lost(struct pc_store *s, uint64_t file)
{
    for (int r = 0;;) {
        sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_LINKED, &r);
        if (!st)
            return r;
        pc_bind_u64(st, 1, file);
        uint64_t id = (r = pc_index_row(&s->ix, st)) > 0 ? pc_column_u64(st, 0) : 0;
        sqlite3_reset(st);
        if (r > 0)
            r = pc_ver_lost(s, id);
        if (r < 0 || !id)
            return r;
    }
}

int pc_ver_set_prefix(struct pc_store *s, uint64_t version, const struct pc_prefix *p)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_PREFIX_PUT, &r) : NULL;
    if (!st)
        return r;
    pc_bind_u64(st, 1, version);
    pc_bind_u64(st, 2, p->seed);
    sqlite3_bind_blob(st, 3, p->sha256, sizeof p->sha256, SQLITE_STATIC);
    return pc_index_run(&s->ix, st);
}

int pc_ver_prefix(struct pc_store *s, uint64_t version, struct pc_prefix *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_PREFIX_GET, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, version);
    r = pc_index_row(&s->ix, st);
    if (r <= 0)
        return r;
    if (sqlite3_column_bytes(st, 1) == sizeof out->sha256) {
        out->seed = pc_column_u64(st, 0);
        memcpy(out->sha256, sqlite3_column_blob(st, 1), sizeof out->sha256);
    } else {
        r = 0;
    }
    sqlite3_reset(st);
    return r;
}

int pc_ver_length_lost(struct pc_store *s, uint64_t version)
{
    return PC_INDEX_PUT(&s->ix, PC_SQL_VER_CUT, version); /* a link without an object: as one that was written to */
}

int pc_ver_newest(struct pc_store *s, uint64_t *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_MAX, &r);
    if (!st)
        return r;
    r = pc_index_row(&s->ix, st);
    if (r > 0)
        *out = pc_column_u64(st, 0);
    sqlite3_reset(st);
    return r < 0 ? r : 0;
}

int pc_ver_set_alloc(struct pc_store *s, uint64_t version, uint64_t alloc_bytes)
{
    struct pc_ver v;
    int r = pc_ver_get(s, version, &v);
    if (r == 0)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_VER_ALLOC, version, alloc_bytes);
    struct pc_volume *vol = r == 0 ? pc_volume_get(s, v.vol) : NULL;
    if (!vol)
        return r;
    uint64_t *const totals[] = {&vol->n.object_bytes, v.retired_ns ? &vol->n.superseded_bytes : NULL};
    for (int i = 0; i < 2; i++)
        if (totals[i])
            *totals[i] = *totals[i] + alloc_bytes > v.alloc_bytes ? *totals[i] + alloc_bytes - v.alloc_bytes : 0;
    return 0;
}

int pc_ver_move_alloc(struct pc_store *s, struct pc_ver *old)
{
    int r = old->object ? pc_ver_set_alloc(s, old->id, 0) : 0;
    if (r == 0)
        old->alloc_bytes = 0;
    return r;
}

int pc_ver_give_object(struct pc_store *s, const struct pc_row *row, uint64_t object, uint8_t how, uint64_t alloc_bytes)
{
    int r = PC_INDEX_PUT(&s->ix, PC_SQL_VER_TWINS, row->id, object, how, row->size, (uint64_t)row->mtime_ns);
    return r == 0 ? pc_ver_set_alloc(s, row->version, alloc_bytes) : r;
}

int pc_ver_share_object(struct pc_store *s, uint64_t version, uint64_t object)
{
    return PC_INDEX_PUT(&s->ix, PC_SQL_VER_SHARE, version, object);
}

int pc_ver_set_time(struct pc_store *s, uint64_t version, uint64_t time_ns)
{
    return PC_INDEX_PUT(&s->ix, PC_SQL_VER_TIME, version, time_ns);
}

int pc_ver_set_ctime(struct pc_store *s, uint64_t version, int64_t ctime_ns)
{
    return PC_INDEX_PUT(&s->ix, PC_SQL_VER_CTIME, version, (uint64_t)ctime_ns);
}

int pc_ver_make_current(struct pc_store *s, struct pc_row *row, uint64_t keep, uint64_t older)
{
    struct pc_ver v;
    int r = pc_ver_get(s, keep, &v);
    if (r == 0)
        r = pc_ver_retire(s, older, v.time_ns);
    if (r == 0)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_VER_UNRETIRE, keep);
    if (r == 0)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_FILE_CURRENT, row->id, keep);
    struct pc_volume *vol = r == 0 ? pc_volume_get(s, v.vol) : NULL;
    if (vol && v.retired_ns)
        vol->n.superseded_bytes -= v.alloc_bytes < vol->n.superseded_bytes ? v.alloc_bytes : vol->n.superseded_bytes;
    row->version = keep;
    return r;
}

/* The newest other version with the same object; 0: there is none. */
static int sharer_of(struct pc_store *s, const struct pc_ver *v, uint64_t *sharer)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_SHARED, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, v->object);
    sqlite3_bind_int(st, 2, v->vol);
    pc_bind_u64(st, 3, v->id);
    r = pc_index_row(&s->ix, st);
    *sharer = r > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    return r < 0 ? r : 0;
}

/*
 * The bytes of a shared object are counted with one of its versions. They go on to another one: only what counts bytes
 * is ever evicted, and an object must not stay for versions that nobody counts.
 */
static int pass_bytes_on(struct pc_store *s, const struct pc_ver *v, uint64_t sharer)
{
    struct pc_ver heir;
    int r = v->alloc_bytes ? pc_ver_get(s, sharer, &heir) : PC_E_NOTFOUND;
    if (r == 0)
        r = pc_ver_set_alloc(s, sharer, heir.alloc_bytes + v->alloc_bytes);
    return r == PC_E_NOTFOUND ? 0 : r;
}

/* A deleted file whose last version went has nothing left to say. */
static int drop_empty_file(struct pc_store *s, uint64_t file)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_FIRST_OF_FILE, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, file);
    r = pc_index_row(&s->ix, st);
    sqlite3_reset(st);
    return r == 0 ? PC_INDEX_PUT(&s->ix, PC_SQL_FILE_DROP, file) : r < 0 ? r : 0;
}

int pc_ver_drop(struct pc_store *s, const struct pc_ver *v, uint64_t *freed)
{
    struct pc_volume *vol = pc_volume_get(s, v->vol);
    struct pc_known k;
    uint64_t sharer = 0;
    int found = v->object ? sharer_of(s, v, &sharer) : 0;
    int r = pc_store_lookup_id(s, v->file, &k);
    if (found < 0 || (r < 0 && r != PC_E_NOTFOUND))
        return found < 0 ? found : r;
    bool shared = sharer || !v->object;
    bool last_link = v->how == PC_HOW_LINK && k.gone;
    if (!shared && vol && (v->how != PC_HOW_LINK || last_link)) {
        int e = pc_object_remove(vol, v->how == PC_HOW_LINK ? PC_AREA_LINKS : PC_AREA_OBJECTS, v->object);
        if (e < 0)
            return e;
    }
    if (!vol && !shared)
        return PC_E_STATE; /* its file system is not here: the object could not be removed with the row */
    int e = v->how == PC_HOW_LENGTH ? PC_INDEX_PUT(&s->ix, PC_SQL_PREFIX_DROP, v->id) : 0;
    if (e == 0)
        e = PC_INDEX_PUT(&s->ix, PC_SQL_VER_DROP, v->id);
    if (e == 0)
        uncount(s, v);
    if (e == 0 && sharer)
        e = pass_bytes_on(s, v, sharer);
    else if (e == 0)
        *freed += v->alloc_bytes;
    if (e == 0 && vol && vol->n.versions)
        vol->n.versions--;
    return e == 0 && r == 0 && k.gone ? drop_empty_file(s, v->file) : e;
}
