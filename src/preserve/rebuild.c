/*
 * Owns putting objects found in the vault back into an index that does not know them, and clearing what a crash left
 * half done there. Must not trust a record: it is parsed with bounds, and an object whose record is damaged is left
 * alone, uncounted.
 */
#include "preserve/internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scan {
    struct pc_store *s;
    struct pc_volume *v;
    enum pc_area area;
    int64_t found;
};

static int is_known(struct scan *c, uint64_t id)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&c->s->ix, PC_SQL_VER_BY_OBJECT, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, id);
    sqlite3_bind_int(st, 2, c->v->id);
    r = pc_index_row(&c->s->ix, st);
    sqlite3_reset(st);
    return r;
}

/* Whether the file of this record is still there under its handle. */
static bool alive(const struct pc_volume *v, const struct pc_fh *fh, enum pc_area area)
{
    struct pc_meta m;
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH | O_NOFOLLOW);
    return fd >= 0 && pc_meta_stat(fd, &m) == 0 && m.nlink > (area == PC_AREA_LINKS ? 1u : 0u);
}

/* Records come in any order: an older one must not become current over a newer one. */
static int add_version(struct scan *c, struct pc_record *rec, struct pc_row *row, struct pc_ver *ver)
{
    struct pc_ver cur;
    int r = row->version ? pc_ver_get(c->s, row->version, &cur) : PC_E_NOTFOUND;
    if (r < 0 && r != PC_E_NOTFOUND)
        return r;
    bool older = r == 0 && cur.time_ns > rec->time_ns;
    uint64_t keep = row->version;
    r = pc_ver_add(c->s, row, ver, &rec->meta);
    if (r == 0)
        r = pc_ver_set_time(c->s, ver->id, rec->time_ns);
    if (r == 0 && older)
        r = pc_ver_make_current(c->s, row, keep, ver->id);
    return r;
}

static int put_back(struct scan *c, uint64_t id, int fd, struct pc_record *rec)
{
    struct pc_row row;
    struct pc_meta m;
    int r = pc_meta_stat(fd, &m);
    if (r == 0)
        r = pc_row_put(c->s, c->v->id, &rec->fh, &rec->parent, rec->name, rec->actor, &row);
    if (r < 0)
        return r;
    struct pc_ver ver = {.vol = c->v->id, .object = id, .how = rec->how, .packed = rec->packed, .actor = rec->actor,
                         .alloc_bytes = m.alloc_bytes};
    r = add_version(c, rec, &row, &ver);
    if (r == 0 && c->area == PC_AREA_LINKS)
        r = pc_row_set_link(c->s, row.id, id);
    if (r == 0 && !alive(c->v, &rec->fh, c->area)) {
        r = pc_ver_retire(c->s, row.version, pc_real_ns());
        if (r == 0)
            r = pc_row_set_gone(c->s, row.id);
        if (r == 0 && c->v->n.files)
            c->v->n.files--;
    }
    c->found += r == 0;
    return r;
}

/* A link whose file is alive is made again by the next capture; a deleted file's only link is its content. */
static int take_link(struct scan *c, uint64_t id, int fd, struct pc_record *rec)
{
    struct pc_meta m;
    struct pc_fh fh;
    struct pc_row row;
    int r = pc_fh_of_fd(fd, &fh);
    if (r == 0 && pc_row_by_fh(c->s, c->v->id, &fh, &row) == 0 && row.link == id)
        return 0; /* no version rests on it just now, but it still keeps its file */
    if (r == 0)
        r = pc_meta_stat(fd, &m);
    if (r == 0 && m.nlink > 1)
        return pc_object_remove(c->v, PC_AREA_LINKS, id);
    if (r == 0)
        r = pc_object_read_record(c->v, fd, PC_AREA_LINKS, id, rec);
    if (r == 0)
        return put_back(c, id, fd, rec);
    if (r != PC_E_CORRUPT && r != PC_E_SYNTAX)
        return r;
    /* Deleted while nobody was watching: kept under its own handle, its place unknown. */
    pc_record_free(rec);
    pc_record_init(rec);
    r = pc_fh_of_fd(fd, &fh);
    if (r == 0) {
        rec->how = PC_HOW_LINK;
        rec->fh = fh;
        rec->time_ns = pc_real_ns();
        r = pc_meta_read(fd, &rec->meta);
    }
    if (r == 0)
        r = pc_link_finish(c->v, id, rec);
    return r == 0 ? put_back(c, id, fd, rec) : r;
}

static int take_object(struct scan *c, uint64_t id)
{
    _close_ int fd = pc_object_open(c->v, c->area, id);
    if (fd < 0)
        return fd == PC_E_NOTFOUND ? 0 : fd;
    _record_free_ struct pc_record rec;
    pc_record_init(&rec);
    if (c->area == PC_AREA_LINKS)
        return take_link(c, id, fd, &rec);
    int r = pc_object_read_record(c->v, fd, c->area, id, &rec);
    if (r == 0 && rec.name[0])
        return put_back(c, id, fd, &rec);
    if (r == 0) /* copied for an opener, never adopted: its file was not changed by then, or is gone with the index */
        return rec.parent.len ? 0 : put_back(c, id, fd, &rec);
    return r == PC_E_SYNTAX || r == PC_E_CORRUPT || r == PC_E_TRAILING || r == PC_E_LIMIT ? 0 : r;
}

/* "0123456789abcdef" -> its number; false for sidecars and strangers. */
static bool object_name(const char *name, uint64_t *id)
{
    char *end;
    if (strlen(name) != 16 || strspn(name, "0123456789abcdef") != 16)
        return false;
    *id = strtoull(name, &end, 16);
    return *id != 0;
}

/* A sidecar whose object never got its name. */
static void drop_orphan_record(int dir, const char *name)
{
    char object[17];
    struct stat st;
    if (strlen(name) != 20 || strcmp(name + 16, ".rec") != 0)
        return;
    memcpy(object, name, 16);
    object[16] = 0;
    if (fstatat(dir, object, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        unlinkat(dir, name, 0);
}

static int scan_bucket(struct scan *c, unsigned bucket)
{
    char path[32];
    snprintf(path, sizeof path, "%s/%02x", c->area == PC_AREA_LINKS ? "links" : "objects", bucket);
    int fd = openat(c->v->vault_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    _closedir_ DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -ENOMEM;
    }
    struct dirent *e;
    int r = 0;
    while (r >= 0 && (e = readdir(d))) {
        uint64_t id;
        if (!object_name(e->d_name, &id)) {
            drop_orphan_record(dirfd(d), e->d_name);
            continue;
        }
        pc_content_breathe();
        r = is_known(c, id);
        if (r == 0)
            r = take_object(c, id);
    }
    return r < 0 ? r : 0;
}

/* The next row with a link. 1: *file and *link are it; 0: there are no more; or an error. */
static int next_link(struct scan *c, uint64_t *file, uint64_t *link)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&c->s->ix, PC_SQL_FILE_LINKS, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, c->v->id);
    pc_bind_u64(st, 2, *file);
    r = pc_index_row(&c->s->ix, st);
    if (r > 0) {
        *file = pc_column_u64(st, 0);
        *link = pc_column_u64(st, 1);
    }
    sqlite3_reset(st);
    return r;
}

/*
 * The power failed: a link that was taken away is gone from the disk, and the index still has it. Left so, its file
 * would be taken for a deleted one.
 */
static int forget_lost_links(struct scan *c)
{
    uint64_t file = 0, link = 0;
    int r;
    while ((r = next_link(c, &file, &link)) > 0) {
        struct pc_object_path p = pc_object_path(PC_AREA_LINKS, link);
        pc_content_breathe();
        if (faccessat(c->v->vault_fd, p.text, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            continue;
        r = pc_row_set_link(c->s, file, 0);
        if (r == 0)
            r = pc_ver_links_lost(c->s, file);
        if (r < 0)
            break;
    }
    return r;
}

int64_t pc_store_rebuild(struct pc_store *s, int vol)
{
    struct scan c = {.s = s, .v = pc_volume_get(s, vol)};
    static const enum pc_area areas[] = {PC_AREA_OBJECTS, PC_AREA_LINKS};
    int r = 0;
    if (!c.v)
        return PC_E_NOTFOUND;
    r = forget_lost_links(&c);
    for (size_t a = 0; a < PC_ARRAY_SIZE(areas) && r == 0; a++) {
        c.area = areas[a];
        for (unsigned b = 0; b < 256 && r == 0; b++)
            r = scan_bucket(&c, b);
    }
    if (r == 0)
        r = pc_store_flush(s);
    return r < 0 ? r : c.found;
}
