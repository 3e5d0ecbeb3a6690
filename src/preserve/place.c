/*
 * Owns finding out what is at the places of a plan now. Read only. Every folder is reached by handle and every name by
 * one *at call beneath it: no path is ever walked, no symlink ever followed.
 */
#include "preserve/plan.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 256 };

/* A removed folder can still be opened while somebody works in it: it has no links then. */
static int open_live_folder(const struct pc_volume *v, const struct pc_fh *fh)
{
    struct stat st;
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
    if (fd < 0)
        return fd == -ESTALE ? -ENOENT : fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_nlink == 0 ? -ENOENT : TAKE_FD(fd);
}

static int folder(struct pc_plan *p, int vol, const struct pc_fh *fh, int depth)
{
    struct pc_volume *v = pc_volume_get(p->s, vol);
    if (!v)
        return PC_E_STATE;
    int fd = open_live_folder(v, fh);
    if (fd != -ENOENT)
        return fd;
    uint32_t f = pc_plan_find_file(p, vol, fh);
    if (f == PC_NONE || p->files[f].home == PC_NONE || depth == 0)
        return -ENOENT;
    const struct pc_place *home = &p->places[p->files[f].home];
    _close_ int up = folder(p, vol, &home->parent, depth - 1);
    if (up < 0)
        return up;
    _close_ int there = openat(up, home->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
    if (there < 0)
        return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
    struct pc_fh now;
    int r = pc_fh_of_fd(there, &now);
    uint32_t other = r == 0 ? pc_plan_acted(p, vol, &now) : PC_NONE;
    /* A folder that belongs elsewhere, and will be moved away, does not stand for this one. */
    if (r == 0 && other != PC_NONE && p->files[other].home != PC_NONE && other != f)
        r = -ENOENT;
    return r < 0 ? r : TAKE_FD(there);
}

int pc_plan_folder(struct pc_plan *p, int vol, const struct pc_fh *fh)
{
    return folder(p, vol, fh, DEPTH_MAX);
}

int pc_place_folder(struct pc_plan *p, uint32_t place)
{
    return folder(p, p->places[place].vol, &p->places[place].parent, DEPTH_MAX);
}

int pc_name_fh(int dirfd, const char *name, struct pc_fh *out)
{
    _close_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : pc_fh_of_fd(fd, out);
}

int pc_place_now(struct pc_plan *p, uint32_t place, struct pc_fh *out)
{
    struct pc_fh fh = {0};
    pc_content_breathe(); /* asked for each of many files */
    _close_ int dir = pc_place_folder(p, place);
    int r = dir < 0 ? dir : pc_name_fh(dir, p->places[place].name, &fh);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r < 0)
        memset(&fh, 0, sizeof fh);
    *out = fh;
    return 0;
}

/* Adds a place learned elsewhere and tells whether the inode is there and free to be taken. */
static int try_place(struct pc_plan *p, uint32_t file, const struct pc_fh *parent, const char *name, uint32_t *place)
{
    struct pc_fh now;
    uint32_t at;
    if (parent->len == 0 || !pc_name_ok(name))
        return PC_E_NOTFOUND;
    int r = pc_plan_place(p, p->files[file].vol, parent, name, &at);
    if (r == 0)
        r = pc_place_now(p, at, &now);
    if (r < 0)
        return r;
    if (!pc_fh_equal(&now, &p->files[file].fh) || p->places[at].taken)
        return PC_E_NOTFOUND;
    p->places[at].live = now;
    *place = at;
    return 0;
}

/* A folder knows its parent: the one kind of inode that can be found without a hint. */
static int try_dotdot(struct pc_plan *p, uint32_t file, uint32_t *place)
{
    const struct pc_volume *v = pc_volume_get(p->s, p->files[file].vol);
    char path[PC_PATH_CAP];
    struct pc_fh up_fh;
    _close_ int fd = v ? open_live_folder(v, &p->files[file].fh) : -ENOENT;
    if (fd < 0)
        return PC_E_NOTFOUND;
    pc_fd_path(fd, path, sizeof path);
    const char *slash = strrchr(path, '/');
    _close_ int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!slash || up < 0 || pc_fh_of_fd(up, &up_fh) < 0)
        return PC_E_NOTFOUND;
    return try_place(p, file, &up_fh, slash + 1, place);
}

uint32_t pc_plan_names(struct pc_plan *p, int vol, const struct pc_fh *fh)
{
    struct pc_volume *v = pc_volume_get(p->s, vol);
    struct pc_row row;
    struct pc_meta m;
    _close_ int fd = !v ? -1 : pc_fh_open(v->tree_fd, fh, O_PATH | O_NOFOLLOW);
    if (fd < 0 || pc_meta_stat(fd, &m) < 0)
        return 0;
    bool linked = pc_row_by_fh(p->s, vol, fh, &row) == 0 && row.link;
    return m.nlink - (linked && m.nlink ? 1 : 0);
}

/* Reads aside/ of the volume once: a crash of the machine may have lost the journal row, but not the file. */
static int list_asides(struct pc_plan *p, const struct pc_volume *v)
{
    int fd = openat(v->vault_fd, "aside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    struct dirent *e;
    while ((e = readdir(d))) {
        struct pc_aside a = {.vol = v->id, .id = strtoull(e->d_name, NULL, 16)};
        if (e->d_name[0] == '.' || pc_name_fh(dirfd(d), e->d_name, &a.fh) < 0)
            continue;
        int r = pc_plan_grow((void **)&p->asides, &p->cap_asides, p->n_asides, sizeof *p->asides);
        if (r < 0)
            return r;
        p->asides[p->n_asides++] = a;
    }
    return 0;
}

static int by_aside_fh(const void *a, const void *b)
{
    const struct pc_aside *x = a, *y = b;
    int c = memcmp(&x->fh, &y->fh, sizeof x->fh);
    return c ? c : (x->vol > y->vol) - (x->vol < y->vol);
}

static int by_aside_id(const void *a, const void *b)
{
    const struct pc_aside *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->vol > y->vol) - (x->vol < y->vol);
}

/* What an interrupted rollback made and did not get to put in place: no source for anything, and in nobody's way. */
static int mark_half_made(struct pc_plan *p)
{
    struct pc_jrow row = {.id = INT64_MAX};
    uint64_t rollback;
    bool finished = true;
    int r = pc_journal_find(p->s, p->incident, &rollback, &finished);
    if (r < 0 || finished || !p->n_asides)
        return r == PC_E_NOTFOUND ? 0 : r;
    while ((r = pc_journal_prev(p->s, rollback, row.id, &row)) == 0) {
        struct pc_aside key = {.vol = row.vol, .id = row.aside};
        struct pc_aside *a =
            row.kind == PC_J_PLACED ? bsearch(&key, p->asides, p->n_asides, sizeof key, by_aside_id) : NULL;
        if (a && !pc_fh_equal(&a->fh, &row.fh) && (!row.parent2.len || pc_fh_equal(&a->fh, &row.parent2)))
            a->taken = a->half_made = true;
    }
    return r == PC_E_NOTFOUND ? 0 : r;
}

int pc_plan_list_asides(struct pc_plan *p)
{
    int r = 0;
    for (int i = 0; i < PC_MAX_VOLUMES && r == 0; i++)
        if (p->s->vols[i])
            r = list_asides(p, p->s->vols[i]);
    if (!p->n_asides)
        return r;
    qsort(p->asides, p->n_asides, sizeof *p->asides, by_aside_id);
    if (r == 0)
        r = mark_half_made(p);
    qsort(p->asides, p->n_asides, sizeof *p->asides, by_aside_fh);
    return r;
}

static int try_aside(struct pc_plan *p, uint32_t file, uint64_t *aside)
{
    struct pc_aside key = {.vol = p->files[file].vol, .fh = p->files[file].fh};
    struct pc_aside *a = p->n_asides ? bsearch(&key, p->asides, p->n_asides, sizeof key, by_aside_fh) : NULL;
    struct pc_aside *end = a ? p->asides + p->n_asides : NULL;
    /* One inode may lie here under several names: each serves one place. */
    while (a && a > p->asides && by_aside_fh(a - 1, &key) == 0)
        a--;
    for (; a && a < end && by_aside_fh(a, &key) == 0; a++) {
        if (a->taken)
            continue;
        a->taken = true;
        *aside = a->id;
        return 0;
    }
    return PC_E_NOTFOUND;
}

int pc_plan_locate(struct pc_plan *p, uint32_t file, uint32_t *place, uint64_t *aside)
{
    *place = PC_NONE;
    *aside = 0;
    for (uint32_t at = p->files[file].live; at != PC_NONE; at = p->places[at].next_live) {
        if (p->places[at].want == file || p->places[at].taken)
            continue;
        *place = at;
        return 0;
    }
    const struct pc_pfile *f = &p->files[file];
    struct pc_known k;
    /* A name outside the incident may only be taken from an inode that the incident left with one name, and somewhere.
     */
    bool movable = f->is_dir || (f->cur != PC_NONE && pc_plan_names(p, f->vol, &f->fh) == 1);
    int r = movable ? pc_store_lookup(p->s, f->vol, &f->fh, &k) : PC_E_NOTFOUND;
    if (r == 0)
        r = try_place(p, file, &k.parent, k.name, place);
    if (r == PC_E_NOTFOUND && p->files[file].is_dir)
        r = try_dotdot(p, file, place);
    if (r == 0 && p->places[*place].want == file) { /* it is where it belongs: nowhere else */
        *place = PC_NONE;
        return PC_E_NOTFOUND;
    }
    return r == PC_E_NOTFOUND ? try_aside(p, file, aside) : r;
}

/* Printable path of a folder by handle. */
static void folder_path(struct pc_plan *p, int vol, const struct pc_fh *fh, char *out, size_t cap)
{
    const struct pc_volume *v = pc_volume_get(p->s, vol);
    char raw[PC_PATH_CAP] = "", known[PC_PATH_CAP] = "";
    struct pc_known k;
    struct pc_fh at = *fh;
    _close_ int fd = -ENOENT;
    /* Removed folders: as far up by the index as needed, then by the kernel. */
    for (int depth = 0; v && depth < DEPTH_MAX; depth++) {
        fd = open_live_folder(v, &at);
        if (fd >= 0 || pc_store_lookup(p->s, vol, &at, &k) < 0)
            break;
        size_t n = strlen(k.name), have = strlen(known);
        if (n + 1 + have >= sizeof known)
            break;
        memmove(known + n + 1, known, have + 1);
        known[0] = '/';
        memcpy(known + 1, k.name, n);
        at = k.parent;
    }
    if (fd >= 0)
        pc_fd_path(fd, raw, sizeof raw);
    const char *top = v ? v->mount_point : "?";
    bool root_mount = strcmp(top, "/") == 0, at_root = strcmp(raw, "/") == 0;
    char full[3 * PC_PATH_CAP];
    int n =
        snprintf(full, sizeof full, "%s%s%s%s", root_mount ? "" : top, fd < 0 ? "/?" : "", at_root ? "" : raw, known);
    pc_escape_name(full, (size_t)n, out, cap);
}

void pc_place_path(struct pc_plan *p, uint32_t place, char *out, size_t cap)
{
    if (place == PC_NONE) {
        snprintf(out, cap, "(a file whose name is not known)");
        return;
    }
    const struct pc_place *q = &p->places[place];
    folder_path(p, q->vol, &q->parent, out, cap);
    size_t n = strlen(out);
    if (n + 2 >= cap)
        return;
    out[n] = '/';
    pc_escape_name(q->name, strlen(q->name), out + n + 1, cap - n - 1);
}
