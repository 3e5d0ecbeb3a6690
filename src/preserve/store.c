/*
 * Owns struct pc_store: opening and closing it, its volumes, flushing. Must not know how files are captured or rolled
 * back. The guard's main thread calls everything here; copier threads only see volumes through the lock.
 */
#include "preserve/internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "preserve/content.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static int load_store_id(struct pc_store *s)
{
    char path[PC_PATH_CAP + 16], text[32];
    uint8_t raw[8];
    snprintf(path, sizeof path, "%s/store-id", s->state_dir);
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    if (n == 17 && text[16] == '\n') {
        text[16] = 0;
        if (pc_unhex(text, raw, sizeof raw) == 8) {
            memcpy(s->store_id, text, 17);
            return 0;
        }
    }
    if (n < 0 && n != -ENOENT)
        return (int)n;
    if (getrandom(raw, sizeof raw, 0) != sizeof raw)
        return -EIO;
    pc_hex(raw, sizeof raw, s->store_id);
    _close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    snprintf(text, sizeof text, "%s\n", s->store_id);
    return pc_write_all(fd, text, 17);
}

static int setting_get(struct pc_store *s, const char *key, int64_t *out)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_META_GET, &r);
    if (!st)
        return r;
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    r = pc_index_row(&s->ix, st);
    if (r <= 0)
        return r == 0 ? PC_E_NOTFOUND : r;
    *out = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return 0;
}

static int setting_put(struct pc_store *s, const char *key, int64_t value)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_META_PUT, &r) : NULL;
    if (!st)
        return r;
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, value);
    return pc_index_run(&s->ix, st);
}

int pc_store_remember(struct pc_store *s, const char *name, uint64_t value)
{
    return setting_put(s, name, (int64_t)value);
}

int pc_store_recall(struct pc_store *s, const char *name, uint64_t *out)
{
    int64_t value;
    int r = setting_get(s, name, &value);
    if (r == 0)
        *out = (uint64_t)value;
    return r;
}

/* `clean` is 0 while the store is open: a crash may have left objects that the index never heard of. */
static int open_index(struct pc_store *s, bool *rebuild)
{
    char path[PC_PATH_CAP + 16];
    bool damaged = false;
    int64_t clean = 1;
    snprintf(path, sizeof path, "%s/index.db", s->state_dir);
    int r = pc_index_open(&s->ix, path, &damaged);
    if (r < 0)
        return r;
    r = setting_get(s, "clean", &clean);
    if (r == PC_E_NOTFOUND) { /* a new index: the vaults may be older than it */
        clean = 0;
        r = 0;
    }
    if (r == 0)
        r = setting_put(s, "clean", 0);
    if (r == 0)
        r = pc_index_commit(&s->ix);
    *rebuild = s->recount = damaged || !clean;
    return r;
}

int pc_store_open(const char *state_dir, const struct pc_store_opts *o, struct pc_store **out, bool *rebuild)
{
    if (state_dir[0] != '/' || strlen(state_dir) >= PC_PATH_CAP - 64)
        return -EINVAL;
    struct pc_store *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    strcpy(s->state_dir, state_dir);
    s->opts = *o;
    pthread_rwlock_init(&s->lock, NULL);
    pc_buf_init(&s->scratch, PC_RECORD_MAX);
    /* Rising over restarts (unless the clock is set back, which sealing survives): neighbours in time share pages. */
    atomic_init(&s->next_object, pc_real_ns() >> 10);
    bool again = false;
    int r = load_store_id(s);
    if (r == 0)
        r = open_index(s, &again);
    if (r < 0) {
        pc_store_close(s);
        return r;
    }
    *rebuild = again;
    *out = s;
    return 0;
}

static int save_volume(struct pc_store *s, struct pc_volume *v)
{
    int r = pc_index_write(&s->ix);
    sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_VOL_SAVE, &r) : NULL;
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    pc_bind_bytes(st, 2, v->mount_point);
    const uint64_t totals[] = {v->n.files,        v->n.versions,         v->n.objects,
                               v->n.object_bytes, v->n.superseded_bytes, v->n.evicted};
    for (int i = 0; i < (int)PC_ARRAY_SIZE(totals); i++)
        pc_bind_u64(st, 3 + i, totals[i]);
    return pc_index_run(&s->ix, st);
}

void pc_store_close(struct pc_store *s)
{
    if (!s)
        return;
    for (int i = 0; i < PC_MAX_VOLUMES; i++)
        if (s->vols[i])
            pc_store_drop_volume(s, s->vols[i]->id);
    if (s->ix.db) {
        /* Failing here costs a rebuild at the next start, nothing else: nobody is left to tell. */
        if (setting_put(s, "clean", 1) == 0 && pc_index_commit(&s->ix) == 0)
            (void)pc_index_checkpoint(&s->ix, true);
        pc_index_close(&s->ix);
    }
    pthread_rwlock_destroy(&s->lock);
    pc_buf_free(&s->scratch);
    free(s);
}

void pc_store_set_opts(struct pc_store *s, const struct pc_store_opts *o)
{
    s->opts = *o;
    for (int i = 0; i < PC_MAX_VOLUMES; i++)
        if (s->vols[i])
            s->vols[i]->aged_due_ns = 0;
}

void pc_store_on_link(struct pc_store *s, pc_on_link_fn fn, void *arg)
{
    s->on_link = fn;
    s->on_link_arg = arg;
}

/* After a crash the saved totals are older than the rows. */
static int count_again(struct pc_store *s, struct pc_volume *v)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_FILE_COUNT, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    r = pc_index_row(&s->ix, st);
    v->n.files = r > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    st = r >= 0 ? pc_index_stmt(&s->ix, PC_SQL_VER_COUNTS, &r) : NULL;
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    r = pc_index_row(&s->ix, st);
    uint64_t *const totals[] = {&v->n.versions, &v->n.objects, &v->n.object_bytes, &v->n.superseded_bytes};
    for (int i = 0; i < (int)PC_ARRAY_SIZE(totals); i++)
        *totals[i] = r > 0 ? pc_column_u64(st, i) : 0;
    sqlite3_reset(st);
    return r < 0 ? r : 0;
}

/* The row of this vault; its number is the volume number, now and after every restart. */
static int volume_row(struct pc_store *s, struct pc_volume *v)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VOL_GET, &r);
    if (!st)
        return r;
    sqlite3_bind_text(st, 1, v->vault_id, -1, SQLITE_STATIC);
    r = pc_index_row(&s->ix, st);
    if (r > 0) {
        v->id = sqlite3_column_int(st, 0);
        uint64_t *const totals[] = {&v->n.files,        &v->n.versions,         &v->n.objects,
                                    &v->n.object_bytes, &v->n.superseded_bytes, &v->n.evicted};
        for (int i = 0; i < (int)PC_ARRAY_SIZE(totals); i++)
            *totals[i] = pc_column_u64(st, 1 + i);
        sqlite3_reset(st);
        return s->recount ? count_again(s, v) : 0;
    }
    r = r < 0 ? r : pc_index_write(&s->ix);
    st = r == 0 ? pc_index_stmt(&s->ix, PC_SQL_VOL_PUT, &r) : NULL;
    if (!st)
        return r;
    sqlite3_bind_text(st, 1, v->vault_id, -1, SQLITE_STATIC);
    pc_bind_bytes(st, 2, v->mount_point);
    sqlite3_bind_text(st, 3, v->fs_type, -1, SQLITE_STATIC);
    r = pc_index_run(&s->ix, st);
    v->id = (int)sqlite3_last_insert_rowid(s->ix.db);
    return r == 0 ? pc_index_commit(&s->ix) : r;
}

static int open_volume(struct pc_store *s, struct pc_volume *v, const struct pc_volume_opts *o)
{
    v->tree_fd = openat(o->tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (v->tree_fd < 0)
        return -errno;
    v->mode = o->mode;
    v->copy_limit_bytes = o->copy_limit_bytes;
    if (strlen(o->mount_point) >= sizeof v->mount_point || strlen(o->fs_type) >= sizeof v->fs_type)
        return PC_E_LIMIT;
    strcpy(v->mount_point, o->mount_point);
    strcpy(v->fs_type, o->fs_type);
    int r = pc_vault_open(s, v);
    if (r == 0)
        r = volume_row(s, v);
    if (r == 0)
        r = pc_ver_newest(s, &v->versions_before);
    /* A block-level copy of a volume that is already guarded carries the same identity. */
    return r == 0 && pc_volume_get(s, v->id) ? -EBUSY : r;
}

int pc_store_add_volume(struct pc_store *s, const struct pc_volume_opts *o)
{
    int slot = 0;
    while (slot < PC_MAX_VOLUMES && s->vols[slot])
        slot++;
    if (slot == PC_MAX_VOLUMES)
        return PC_E_LIMIT;
    struct pc_volume *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    v->tree_fd = v->vault_fd = -1;
    int r = open_volume(s, v, o);
    if (r < 0) {
        pc_vault_close(v);
        free(v);
        return r;
    }
    pthread_rwlock_wrlock(&s->lock);
    s->vols[slot] = v;
    pthread_rwlock_unlock(&s->lock);
    return v->id;
}

void pc_store_drop_volume(struct pc_store *s, int vol)
{
    for (int i = 0; i < PC_MAX_VOLUMES; i++) {
        struct pc_volume *v = s->vols[i];
        if (!v || v->id != vol)
            continue;
        (void)save_volume(s, v);         /* totals are recounted when they do not fit; nothing depends on them */
        pthread_rwlock_wrlock(&s->lock); /* waits for copies under way */
        s->vols[i] = NULL;
        pthread_rwlock_unlock(&s->lock);
        pc_vault_close(v);
        free(v);
        return;
    }
}

struct pc_volume *pc_volume_get(const struct pc_store *s, int vol)
{
    for (int i = 0; i < PC_MAX_VOLUMES; i++)
        if (s->vols[i] && s->vols[i]->id == vol)
            return s->vols[i];
    return NULL;
}

int pc_volume_note(struct pc_volume *v, int r, const char *doing)
{
    /* Only what stops preservation as a whole; a single file's trouble is the caller's to count. */
    bool broken =
        r == -ENOSPC || r == -EROFS || r == -EIO || r == -EDQUOT || r == PC_E_CORRUPT || r == -EMFILE || r == -ENFILE;
    if (r >= 0) {
        v->n.degraded = false;
        v->n.why[0] = 0;
    } else if (broken) {
        v->n.degraded = true;
        snprintf(v->n.why, sizeof v->n.why, "%s: %s", doing, pc_strerror(r));
    }
    return r;
}

bool pc_store_can_clone(const struct pc_store *s, int vol)
{
    const struct pc_volume *v = pc_volume_get(s, vol);
    return v && v->can_clone;
}

int pc_store_each_vault_dir(struct pc_store *s, int vol, int (*fn)(void *arg, int dirfd), void *arg)
{
    static const char *const names[] = {".", "objects", "links", "aside"};
    const struct pc_volume *v = pc_volume_get(s, vol);
    if (!v)
        return PC_E_NOTFOUND;
    _close_ int top = openat(v->tree_fd, pc_vault_dir_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = top < 0 ? -errno : fn(arg, top);
    for (size_t i = 0; i < PC_ARRAY_SIZE(names) && r >= 0; i++) {
        _close_ int fd = openat(v->vault_fd, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = fd < 0 ? -errno : fn(arg, fd);
        for (unsigned b = 0; (i == 1 || i == 2) && b < 256 && r >= 0; b++) {
            char name[3];
            snprintf(name, sizeof name, "%02x", b);
            _close_ int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            r = sub < 0 ? -errno : fn(arg, sub);
        }
    }
    return r < 0 ? r : 0;
}

int pc_store_flush(struct pc_store *s)
{
    int r = 0;
    for (int i = 0; i < PC_MAX_VOLUMES && r == 0; i++)
        if (s->vols[i])
            r = save_volume(s, s->vols[i]);
    if (r == 0)
        r = pc_index_commit(&s->ix);
    return r == 0 ? pc_index_checkpoint(&s->ix, false) : r;
}

int pc_store_volume_stats(struct pc_store *s, int vol, struct pc_store_stats *out)
{
    const struct pc_volume *v = pc_volume_get(s, vol);
    if (!v)
        return PC_E_NOTFOUND;
    *out = v->n;
    if (!out->degraded && !pc_space_left(s, v, 0)) {
        out->degraded = true;
        snprintf(out->why, sizeof out->why,
                 "less than the reserve is free (%llu MiB, or too few inodes): old versions are being dropped",
                 (unsigned long long)(pc_space_free(v) >> 20));
    }
    return 0;
}

void pc_store_breathe(void (*fn)(void *arg), void *arg)
{
    pc_content_breathe_by(fn, arg);
}
