/*
 * Owns finding what was deleted beneath a folder: inodes that are gone, names taken from inodes that have or had others
 * (hard links, files moved out), and what was in folders that were moved out, whatever became of it there; where they
 * were, and which version of them should come back. Read only: put_back.c puts them back.
 *
 * Rows come in pages of 64, so that the guard can do what is urgent between them however many there are.
 */
#include "preserve/sweep.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int pc_sweep_new(struct pc_store *s, int vol, const struct pc_fh *folder, const char *beneath, uint64_t since_ns,
                 struct pc_sweep **out)
{
    if (!pc_volume_get(s, vol))
        return PC_E_NOTFOUND;
    struct pc_sweep *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    *w = (struct pc_sweep){.s = s, .vol = vol, .folder = *folder, .since_ns = since_ns, .cursor = INT64_MAX};
    w->cursor_ns = INT64_MAX;
    snprintf(w->beneath, sizeof w->beneath, "%s", beneath);
    _close_ int fd = pc_fh_open(pc_volume_get(s, vol)->tree_fd, folder, O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (fd >= 0)
        pc_fd_path(fd, w->folder_path, sizeof w->folder_path);
    *out = w;
    return 0;
}

void pc_sweep_free(struct pc_sweep *w)
{
    if (w)
        free(w->branch);
    free(w);
}

/* ---- pages ---- */

static void take_row(sqlite3_stmt *st, struct pc_sweep_row *row)
{
    *row = (struct pc_sweep_row){
        .version = pc_column_u64(st, 0), .gone_ns = pc_column_u64(st, 1), .by = pc_column_u64(st, 2)};
    (void)pc_column_fh(st, 3, &row->parent); /* a damaged handle is all zero: it lies beneath no folder */
    pc_column_bytes(st, 4, row->name, sizeof row->name);
    (void)pc_column_fh(st, 5, &row->fh);
}

/* The next rows. 1, 0 when there are none, or an error. */
static int read_page(struct pc_sweep *w)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&w->s->ix, w->left ? PC_SQL_LEFT_PAGE : PC_SQL_GONE_PAGE, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, w->vol);
    pc_bind_u64(st, 2, w->since_ns);
    if (!w->left)
        sqlite3_bind_int64(st, 3, w->cursor_ns);
    sqlite3_bind_int64(st, w->left ? 3 : 4, w->cursor);
    w->rows = w->at = 0;
    while ((r = pc_index_row(&w->s->ix, st)) > 0 && w->rows < PC_SWEEP_PAGE) {
        take_row(st, &w->row[w->rows++]);
        w->cursor = sqlite3_column_int64(st, w->left ? 6 : 0);
        w->cursor_ns = sqlite3_column_int64(st, 1);
    }
    sqlite3_reset(st);
    return r < 0 ? r : w->rows > 0;
}

/* The next of what was in a folder that was moved out, then of the next such folder. As read_page. */
static int read_children(struct pc_sweep *w)
{
    for (int r = 0; w->branch_at < w->branches; w->branch_at++, w->child[0] = 0) {
        const struct pc_branch *b = &w->branch[w->branch_at];
        sqlite3_stmt *st = pc_index_stmt(&w->s->ix, PC_SQL_WITHIN_PAGE, &r);
        if (!st)
            return r;
        sqlite3_bind_int(st, 1, w->vol);
        pc_bind_fh(st, 2, &b->fh);
        pc_bind_bytes(st, 3, w->child);
        w->rows = w->at = 0;
        while ((r = pc_index_row(&w->s->ix, st)) > 0 && w->rows < PC_SWEEP_PAGE) {
            struct pc_sweep_row *row = &w->row[w->rows++];
            *row = (struct pc_sweep_row){.version = pc_column_u64(st, 0), .gone_ns = b->gone_ns, .by = b->by};
            (void)pc_column_fh(st, 1, &row->parent);
            pc_column_bytes(st, 2, row->name, sizeof row->name);
            (void)pc_column_fh(st, 3, &row->fh);
        }
        sqlite3_reset(st);
        if (r < 0)
            return r;
        if (w->rows) {
            strcpy(w->child, w->row[w->rows - 1].name);
            return 1;
        }
    }
    return 0;
}

/* ---- where it was ---- */

/* A folder that is alive, by the kernel: its path beneath ours. -ENOENT: it is gone; -EXDEV: it is elsewhere. */
static int live_path(const struct pc_sweep *w, const struct pc_fh *fh, char *out, size_t cap)
{
    char path[PC_PATH_CAP];
    size_t n = strlen(w->folder_path);
    const struct pc_volume *v = pc_volume_get(w->s, w->vol);
    _close_ int fd = v && n ? pc_fh_open(v->tree_fd, fh, O_RDONLY | O_DIRECTORY | O_NOATIME) : -ENOENT;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
        return -ENOENT;
    pc_fd_path(fd, path, sizeof path);
    if (n == 1) /* "/" */
        n = 0;
    if (strncmp(path, w->folder_path, n) != 0 || path[n] != '/')
        return -EXDEV;
    return (size_t)snprintf(out, cap, "%s", path + n + 1) < cap ? 0 : -ENAMETOOLONG;
}

/* Puts "name/" before what is there. */
static int prepend(char *path, size_t cap, const char *name)
{
    size_t n = strlen(name), have = strlen(path);
    if (n + 1 + have >= cap)
        return -ENAMETOOLONG;
    memmove(path + n + 1, path, have + 1);
    memcpy(path, name, n);
    path[n] = '/';
    return 0;
}

/*
 * Path of a folder beneath ours, with a slash at its end ("": ours itself), as far as needed by the index (folders that
 * are gone, or were moved out, are known by their last place), from there by the kernel. -ENOENT: it lies elsewhere.
 */
static int folder_place(struct pc_sweep *w, const struct pc_fh *fh, char out[PC_PATH_CAP])
{
    struct pc_fh at = *fh;
    struct pc_known k;
    char top[PC_PATH_CAP];
    out[0] = 0;
    for (w->n_gone = 0; w->n_gone < PC_SWEEP_DEPTH;) {
        if (pc_fh_equal(&at, &w->folder))
            return 0;
        int r = live_path(w, &at, top, sizeof top);
        if (r == 0)
            return prepend(out, PC_PATH_CAP, top);
        if (r == -ENOENT || r == -EXDEV) /* moved out: the index has its last place in what is guarded */
            r = pc_store_lookup(w->s, w->vol, &at, &k);
        if (r == 0)
            r = pc_name_ok(k.name) ? prepend(out, PC_PATH_CAP, k.name) : -ENOENT;
        if (r < 0)
            return r == PC_E_NOTFOUND ? -ENOENT : r;
        w->gone[w->n_gone++] = k.version;
        at = k.parent;
    }
    return -ENOENT;
}

/* The same, remembering the last answer: what is deleted with `rm -r` comes folder by folder. */
static int remembered_place(struct pc_sweep *w, const struct pc_fh *fh)
{
    if (!w->place_known || !pc_fh_equal(&w->place_fh, fh)) {
        w->place_result = folder_place(w, fh, w->place);
        w->place_fh = *fh;
        w->place_known = true;
    }
    return w->place_result;
}

/* ---- what it was ---- */

/* The version before somebody is on record as having damaged it, else 0. */
static uint64_t before_damage(struct pc_sweep *w, const struct pc_fh *fh)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&w->s->ix, PC_SQL_FIRST_DAMAGE, &r);
    if (!st)
        return 0;
    sqlite3_bind_int(st, 1, w->vol);
    pc_bind_fh(st, 2, fh);
    pc_bind_u64(st, 3, w->since_ns);
    uint64_t version = pc_index_row(&w->s->ix, st) > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    return version;
}

static int describe(struct pc_sweep *w, const struct pc_sweep_row *row, struct pc_deleted *out)
{
    struct pc_ver v = {0}, sound;
    int r = pc_ver_get(w->s, row->version, &v);
    if (r < 0 && r != PC_E_NOTFOUND)
        return r;
    uint64_t earlier = before_damage(w, &row->fh);
    if (earlier && earlier != v.id && pc_ver_get(w->s, earlier, &sound) == 0 && pc_store_is_kept(w->s, earlier) > 0)
        v = sound;
    *out = (struct pc_deleted){.version = v.id, .gone_ns = row->gone_ns, .by = row->by, .size = v.size};
    out->is_dir = S_ISDIR(v.mode);
    out->kept = v.id && pc_store_is_kept(w->s, v.id) > 0;
    int n = snprintf(out->path, sizeof out->path, "%s%s", w->place, row->name);
    return n < (int)sizeof out->path ? 0 : -ENAMETOOLONG;
}

static bool is_beneath(const char *path, const char *top)
{
    size_t n = strlen(top);
    return n == 0 || (strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == 0));
}

/* A folder that lost its name and lives on elsewhere, or is gone with what happened to it there: looked into later. */
static int note_branch(struct pc_sweep *w, const struct pc_sweep_row *row)
{
    char path[PC_PATH_CAP];
    if (live_path(w, &row->fh, path, sizeof path) == 0 || w->branches == PC_SWEEP_BRANCHES)
        return 0; /* renamed in here, or moved back */
    if (w->branches == w->branch_cap) {
        uint32_t cap = w->branch_cap ? w->branch_cap * 2 : 16;
        struct pc_branch *more = reallocarray(w->branch, cap, sizeof *more);
        if (!more)
            return -ENOMEM;
        w->branch = more;
        w->branch_cap = cap;
    }
    w->branch[w->branches++] = (struct pc_branch){row->fh, row->gone_ns, row->by};
    return 0;
}

/* The next rows, of the next part when this one is through. 1; 2: call again; 0: the end; or an error. */
static int next_rows(struct pc_sweep *w)
{
    int r = w->within ? read_children(w) : read_page(w);
    if (r != 0 || w->within)
        return r;
    w->within = w->left;
    w->left = true; /* all that are gone were told: now their further names, and those of what lives on */
    w->cursor = w->cursor_ns = INT64_MAX;
    return 2;
}

int pc_sweep_next(struct pc_sweep *w, struct pc_deleted *out)
{
    int more = w->at == w->rows ? next_rows(w) : 1;
    if (more != 1)
        return more;
    while (w->at < w->rows) {
        const struct pc_sweep_row *row = &w->row[w->at++];
        int r = pc_name_ok(row->name) ? remembered_place(w, &row->parent) : -ENOENT;
        if (r == 0)
            r = describe(w, row, out);
        if (r == 0 && out->is_dir && w->left)
            r = note_branch(w, row);
        if (r < 0 && r != -ENOENT && r != -ENAMETOOLONG)
            return r;
        if (r == 0 && is_beneath(out->path, w->beneath))
            return 1;
    }
    return 2;
}
