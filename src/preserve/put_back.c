/*
 * Owns putting back what a sweep found (deleted.c): the folders that are missing, then the file, made whole in the
 * vault and renamed into place, or copied when the place is on another file system. Must never replace anything: what
 * stands at a name stays.
 */
#include "preserve/sweep.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "preserve/apply.h"
#include "preserve/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char taken[] = "something else stands there now, and was left: --to FOLDER brings this out beside it";
static const char unkept[] = "its old content was not kept";

/* What a crash leaves in aside/ belongs to a rollback of no incident, and goes away with the retention. */
static int journal(struct pc_sweep *w, struct pc_jrow *row)
{
    int r = 0;
    if (!w->rollback) {
        r = pc_journal_begin(w->s, 0, &w->rollback);
        if (r == 0)
            r = pc_journal_finished(w->s, w->rollback);
    }
    row->rollback = w->rollback;
    if (r == 0)
        r = pc_journal_add(w->s, row);
    return r == 0 ? pc_index_commit(&w->s->ix) : r;
}

static int make_in_vault(struct pc_sweep *w, struct pc_volume *v, uint64_t version, uint64_t aside)
{
    if (version)
        return pc_prepare(w->s, v, version, aside);
    /* A folder of which only the name is known. */
    return mkdirat(v->vault_fd, pc_object_path(PC_AREA_ASIDE, aside).text, 0755) < 0 ? -errno : 0;
}

/* dir: on the private mount. */
static int rename_in(struct pc_sweep *w, struct pc_volume *v, uint64_t version, int dir, const char *name)
{
    struct pc_jrow row = {.kind = PC_J_PLACED, .vol = w->vol, .aside = pc_object_next_id(w->s)};
    struct pc_object_path path = pc_object_path(PC_AREA_ASIDE, row.aside);
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    snprintf(row.name, sizeof row.name, "%s", name);
    int r = pc_fh_of_fd(dir, &row.parent);
    if (r == 0)
        r = journal(w, &row);
    if (r == 0)
        r = make_in_vault(w, v, version, row.aside);
    if (r < 0)
        return r;
    r = pc_swap_in(v->vault_fd, path.text, dir, name, false);
    if (r < 0) { /* somebody was faster: nothing of it stays */
        if (unlinkat(v->vault_fd, path.text, 0) < 0 && errno == EISDIR)
            (void)unlinkat(v->vault_fd, path.text, AT_REMOVEDIR);
        return r;
    }
    if (version && pc_ver_meta(w->s, version, &m) == 0)
        r = pc_drop_back(dir, name, m.attrs & (PC_ATTR_IMMUTABLE | PC_ATTR_APPEND));
    return r;
}

static int mkdir_out(struct pc_sweep *w, uint64_t version, int dir, const char *name)
{
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    if (mkdirat(dir, name, 0700) < 0)
        return -errno;
    if (!version)
        return 0;
    _close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : pc_ver_meta(w->s, version, &m);
    return r == 0 ? pc_meta_apply_unlocked(fd, &m) : r;
}

/* Makes `version` at dir/name, where nothing stands. The folder keeps its times: this is no change its owner made. */
static int put_new(struct pc_sweep *w, uint64_t version, bool is_dir, int dir, const char *name)
{
    struct pc_volume *v = pc_volume_get(w->s, w->vol);
    struct pc_meta times;
    if (!v)
        return PC_E_STATE;
    _close_ int through = pc_through_vault(v, dir);
    if (through >= 0)
        return rename_in(w, v, version, through, name);
    if (through != -EXDEV)
        return through;
    int r = pc_meta_stat(dir, &times);
    if (r == 0)
        r = is_dir ? mkdir_out(w, version, dir, name) : pc_copy_out(w->s, version, dir, name);
    return r == 0 ? pc_meta_apply_times(dir, times.atime_ns, times.mtime_ns) : r;
}

/* ---- folders ---- */

static uint32_t count_parts(const char *path)
{
    uint32_t n = 1;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

/* The newest version of the folder that is `len` bytes of d->path, to be made again. 0: nothing is known of it. */
static uint64_t folder_version(struct pc_sweep *w, const struct pc_deleted *d, size_t len)
{
    char path[sizeof d->path];
    struct pc_known k;
    struct pc_fh fh;
    snprintf(path, sizeof path, "%.*s", (int)len, d->path);
    uint32_t inner = count_parts(d->path) - 1 - count_parts(path); /* folders further in */
    if (inner < w->n_gone)
        return w->gone[inner];
    const struct pc_volume *v = pc_volume_get(w->s, w->vol);
    _close_ int top = v ? pc_fh_open(v->tree_fd, &w->folder, O_RDONLY | O_DIRECTORY | O_NOATIME) : -1;
    _close_ int fd = top < 0 ? -1 : pc_open_beneath(top, path, O_PATH | O_DIRECTORY, 0);
    bool known = fd >= 0 && pc_fh_of_fd(fd, &fh) == 0 && pc_store_lookup(w->s, w->vol, &fh, &k) == 0;
    return known ? k.version : 0;
}

/* Opens one part of the way; makes it when it is missing. A descriptor, or -ENOENT when dry. */
static int enter(struct pc_sweep *w, const struct pc_deleted *d, size_t len, int at, const char *part, bool dry)
{
    int fd = pc_name_ok(part) ? pc_open_beneath(at, part, O_RDONLY | O_DIRECTORY, 0) : -EINVAL;
    if (fd != -ENOENT || dry)
        return fd;
    int r = put_new(w, folder_version(w, d, len), true, at, part);
    return r == 0 || r == -EEXIST ? pc_open_beneath(at, part, O_RDONLY | O_DIRECTORY, 0) : r;
}

static int open_folder(struct pc_sweep *w, const struct pc_deleted *d, int root_fd, size_t skip, bool dry)
{
    char part[PC_NAME_CAP];
    _close_ int at = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
    if (at < 0)
        return -errno;
    for (const char *p = d->path + skip, *slash; (slash = strchr(p, '/')); p = slash + 1) {
        int n = snprintf(part, sizeof part, "%.*s", (int)(slash - p), p);
        int next = n < (int)sizeof part ? enter(w, d, (size_t)(slash - d->path), at, part, dry) : -ENAMETOOLONG;
        if (next < 0)
            return next;
        close(at);
        at = next;
    }
    return TAKE_FD(at);
}

/* ---- one file ---- */

static int look_at(struct pc_sweep *w, const struct pc_deleted *d, int dir, const char *name, struct pc_step *done)
{
    struct stat st;
    const char *why;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    done->kind = PC_STEP_NOTHING;
    bool same = d->is_dir ? S_ISDIR(st.st_mode)
                          : d->kept && pc_compare(w->s, dir, name, d->version, &why) == PC_SAME;
    if (!same)
        snprintf(done->why, sizeof done->why, "%s", taken);
    return 1;
}

static int put_back(struct pc_sweep *w, const struct pc_deleted *d, int root_fd, size_t skip, bool dry,
                    struct pc_step *done)
{
    const char *slash = strrchr(d->path, '/'), *name = slash ? slash + 1 : d->path, *why = NULL;
    if (!pc_name_ok(name))
        return -EINVAL;
    _close_ int dir = open_folder(w, d, root_fd, skip, dry);
    int r = dir < 0 ? dir : look_at(w, d, dir, name, done);
    if (r > 0)
        return 0;
    if (!d->kept) {
        snprintf(done->why, sizeof done->why, "%s", unkept);
        return PC_E_NOTFOUND;
    }
    if (dry)
        return r == -ENOENT ? 0 : r;
    if (r == 0)
        r = put_new(w, d->version, d->is_dir, dir, name);
    if (r == -EEXIST) {
        done->kind = PC_STEP_NOTHING;
        snprintf(done->why, sizeof done->why, "%s", taken);
        return 0;
    }
    if (r < 0 || d->is_dir)
        return r;
    r = pc_compare(w->s, dir, name, d->version, &why);
    if (r > 0)
        snprintf(done->why, sizeof done->why, "%s", why ? why : "content");
    return r < 0 ? r : r == PC_SAME ? 0 : PC_E_UNVERIFIED;
}

int pc_sweep_restore(struct pc_sweep *w, const struct pc_deleted *d, int root_fd, size_t skip, bool dry,
                     struct pc_step *done)
{
    *done = (struct pc_step){
        .kind = d->is_dir ? PC_STEP_RECREATE : PC_STEP_RESTORE, .is_dir = d->is_dir, .version = d->version};
    pc_escape_name(d->path + skip, strlen(d->path + skip), done->path, sizeof done->path);
    done->result = put_back(w, d, root_fd, skip, dry, done);
    if (done->result < 0 && !done->why[0])
        snprintf(done->why, sizeof done->why, "%s", pc_strerror(done->result));
    int r = pc_index_maybe_commit(&w->s->ix);
    return done->result < 0 ? done->result : r;
}
