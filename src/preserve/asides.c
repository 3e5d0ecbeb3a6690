/*
 * Owns the end of what rollbacks set aside: damaged versions and the actor's own files stay in the vault's aside/
 * folder for the retention time after the rollback finished (or was undone), so that it can be undone; then they go.
 * Never those of a rollback that is not finished, nor of an incident that is still open.
 */
#include "preserve/journal.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { STEP_MAX = 256, DEPTH_MAX = 64 }; /* entries removed a step */

static int remove_tree(int dir, const char *name, int depth, int *left);

/* A tree deeper than this is left in aside/ and reported: nothing of ours makes one. */
static int empty_folder(int dir, const char *name, int depth, int *left)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    struct dirent *e;
    int r = 0;
    while (r == 0 && *left > 0 && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = depth ? remove_tree(dirfd(d), e->d_name, depth - 1, left) : PC_E_LIMIT;
    return r;
}

/* 0: gone, or as far as *left allowed. */
static int remove_tree(int dir, const char *name, int depth, int *left)
{
    uint32_t attrs;
    int r = pc_lift(dir, name, &attrs);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    (*left)--;
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -errno;
    r = empty_folder(dir, name, depth, left);
    if (r < 0 || *left <= 0)
        return r;
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY ? -errno : 0;
}

static int oldest(struct pc_store *s, int64_t limit, uint64_t *rollback)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_RB_OLD, &r);
    if (!st)
        return r;
    sqlite3_bind_int64(st, 1, limit);
    pc_bind_u64(st, 2, s->asides_after);
    r = pc_index_row(&s->ix, st);
    if (r > 0)
        *rollback = pc_column_u64(st, 0);
    sqlite3_reset(st);
    return r;
}

/* 1: some of it, or all, is gone; 0: its volume is not mounted, its rows wait for it. */
static int empty_one(struct pc_store *s, uint64_t rollback)
{
    struct pc_jrow row = {.id = INT64_MAX};
    int left = STEP_MAX, r = 0;
    while (left > 0 && (r = pc_journal_prev(s, rollback, row.id, &row)) == 0) {
        struct pc_volume *v = pc_volume_get(s, row.vol);
        if (!v)
            return 0;
        struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, row.aside);
        r = row.aside ? remove_tree(v->vault_fd, path.text, DEPTH_MAX, &left) : 0;
        if (r == 0 && left > 0)
            r = PC_INDEX_PUT(&s->ix, PC_SQL_J_DROP, row.id);
        left--;
        if (r < 0)
            return r;
    }
    if (r == PC_E_NOTFOUND)
        r = PC_INDEX_PUT(&s->ix, PC_SQL_RB_DROP, rollback);
    return r < 0 ? r : 1;
}

/* What cannot go (a disk that is away, a tree too deep) waits for the next round, and holds up none of the others. */
int pc_asides_tend(struct pc_store *s, int64_t limit)
{
    uint64_t rollback = 0;
    int r = oldest(s, limit, &rollback);
    if (r == 0)
        s->asides_after = 0;
    if (r <= 0)
        return r;
    r = empty_one(s, rollback);
    if (r <= 0)
        s->asides_after = rollback;
    return r < 0 ? r : 1;
}
