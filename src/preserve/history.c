/* Owns the list of versions of a place (history). Read only. */
#include "preserve/plan.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdio.h>

/* The inode at the place now: it may be known by another of its names only. len 0: nothing, or no such folder. */
static struct pc_fh inode_there(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name)
{
    struct pc_fh fh;
    const struct pc_volume *v = pc_volume_get(s, vol);
    _close_ int dir = v ? pc_fh_open(v->tree_fd, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME) : -1;
    return dir >= 0 && pc_name_fh(dir, name, &fh) == 0 ? fh : (struct pc_fh){0};
}

int pc_store_history(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name, const char *path,
                     int (*fn)(void *arg, const struct pc_version_info *), void *arg)
{
    int r = 0;
    struct pc_fh there = inode_there(s, vol, parent, name);
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_LIST, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, vol);
    pc_bind_fh(st, 2, parent);
    pc_bind_bytes(st, 3, name);
    pc_bind_fh(st, 4, &there);
    while ((r = pc_index_row(&s->ix, st)) > 0) {
        struct pc_version_info i = {
            .version = pc_column_u64(st, 0),
            .time_ns = pc_column_u64(st, 1),
            .size = pc_column_u64(st, 2),
            .actor = pc_column_u64(st, 3),
            .how = (uint8_t)sqlite3_column_int(st, 4),
            .mode = (mode_t)sqlite3_column_int(st, 5),
            .mtime_ns = sqlite3_column_int64(st, 6),
            .current = sqlite3_column_int(st, 7),
        };
        snprintf(i.path, sizeof i.path, "%s", path);
        if (fn(arg, &i) != 0) {
            sqlite3_reset(st);
            return 0;
        }
    }
    return r;
}
