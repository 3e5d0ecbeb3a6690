/* Owns the simulated actor of the rollback tests: what it does, and what a guard would record of it. */
#include "actor.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { MODIFY = 1, CREATE, DELETE, RENAME, REPLACE, META };

static uint64_t current(struct actor *a, const char *path)
{
    struct pc_known k;
    struct pc_fh fh = fh_of(a->f, path);
    return pc_store_lookup(a->f->s, a->f->vol, &fh, &k) == 0 ? k.version : 0;
}

static struct pc_act_rec begin(struct actor *a, int op, const char *path, uint64_t before)
{
    struct pc_act_rec r = {
        .time_ns = pc_real_ns(), .actor = a->id, .op = (uint8_t)op, .vol = a->f->vol, .before = before};
    struct stat st;
    r.fh = fh_of(a->f, path);
    r.parent = fh_of_dir(a->f, path);
    snprintf(r.name, sizeof r.name, "%s", base_name(path));
    assert_int_equal(fstatat(a->f->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    r.is_dir = S_ISDIR(st.st_mode);
    return r;
}

static void record(struct actor *a, const struct pc_act_rec *r)
{
    assert_int_equal(pc_store_record_act(a->f->s, r, NULL), 0);
}

static void gone(struct actor *a, const struct pc_fh *fh)
{
    int r = pc_store_gone(a->f->s, a->f->vol, fh);
    if (r < 0)
        fail_msg("pc_store_gone: %s", pc_strerror(r));
}

/* on-open: the opener for write waits while the old content is copied. */
static uint64_t pre_image(struct actor *a, const char *path)
{
    struct fixture *f = a->f;
    struct stat st;
    assert_int_equal(fstatat(f->root, path, &st, 0), 0);
    if (pc_store_can_clone(f->s, f->vol) || st.st_size == 0)
        return current(a, path);
    struct pc_fh fh = fh_of(f, path), dir = fh_of_dir(f, path);
    struct pc_vault_copy c;
    uint64_t v = 0;
    _close_ int fd = openat(f->root, path, O_RDONLY | O_NOATIME | O_CLOEXEC);
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, base_name(path), &c, &v), 0);
    return v;
}

void act_write(struct actor *a, const char *path, const void *data, size_t len, long at)
{
    struct pc_act_rec r = begin(a, MODIFY, path, pre_image(a, path));
    _close_ int fd = openat(a->f->root, path, O_WRONLY | O_CLOEXEC | (at < 0 ? O_TRUNC : 0));
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at < 0 ? 0 : at), (ssize_t)len);
    record(a, &r);
    capture(a->f, path);
}

static void meta_done(struct actor *a, const char *path, const struct pc_act_rec *r)
{
    struct stat st;
    record(a, r);
    assert_int_equal(fstatat(a->f->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    _close_ int fd =
        openat(a->f->root, path, (S_ISREG(st.st_mode) ? O_RDONLY | O_NOATIME : O_PATH) | O_NOFOLLOW | O_CLOEXEC);
    assert_int_equal(pc_store_capture_meta(a->f->s, a->f->vol, fd, &r->fh, NULL), 0);
}

void act_chmod(struct actor *a, const char *path, mode_t mode)
{
    struct pc_act_rec r = begin(a, META, path, current(a, path));
    assert_int_equal(fchmodat(a->f->root, path, mode, 0), 0);
    assert_int_equal(fchownat(a->f->root, path, mode & 7, mode & 3, AT_SYMLINK_NOFOLLOW), 0);
    meta_done(a, path, &r);
}

void act_xattr(struct actor *a, const char *path, const char *name, const char *value)
{
    char full[4300];
    snprintf(full, sizeof full, "%s/%s", a->f->mnt, path);
    struct pc_act_rec r = begin(a, META, path, current(a, path));
    assert_int_equal(lsetxattr(full, name, value, strlen(value), 0), 0);
    meta_done(a, path, &r);
}

static void made(struct actor *a, const char *path)
{
    struct pc_act_rec r = begin(a, CREATE, path, 0);
    record(a, &r);
    capture(a->f, path);
}

void act_create(struct actor *a, const char *path, const char *text)
{
    put_file(a->f, path, text);
    made(a, path);
}

void act_mkdir(struct actor *a, const char *path)
{
    assert_int_equal(mkdirat(a->f->root, path, 0755), 0);
    made(a, path);
}

void act_symlink(struct actor *a, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, a->f->root, path), 0);
    made(a, path);
}

void act_link(struct actor *a, const char *old, const char *path)
{
    assert_int_equal(linkat(a->f->root, old, a->f->root, path, 0), 0);
    made(a, path);
}

void act_delete(struct actor *a, const char *path)
{
    struct pc_act_rec r = begin(a, DELETE, path, current(a, path));
    if (unlinkat(a->f->root, path, r.is_dir ? AT_REMOVEDIR : 0) < 0)
        fail_msg("unlink %s: %s", path, strerror(errno));
    record(a, &r);
    gone(a, &r.fh);
}

static void renamed(struct actor *a, struct pc_act_rec *r, const char *to)
{
    r->new_parent = fh_of_dir(a->f, to);
    snprintf(r->new_name, sizeof r->new_name, "%s", base_name(to));
    record(a, r);
    assert_int_equal(pc_store_moved(a->f->s, a->f->vol, &r->fh, &r->new_parent, r->new_name), 0);
    capture(a->f, to); /* rename changed ctime */
}

void act_rename(struct actor *a, const char *from, const char *to)
{
    struct pc_act_rec r = begin(a, RENAME, from, current(a, from)), over = {0};
    struct stat st;
    bool replaces = fstatat(a->f->root, to, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool move_first = rand_r(&a->seed) & 1; /* the kernel promises no order between the two */
    if (replaces)
        over = begin(a, REPLACE, to, current(a, to));
    if (replaces && pc_fh_equal(&over.fh, &r.fh))
        return; /* two names of one inode: rename does nothing */
    if (renameat(a->f->root, from, a->f->root, to) < 0) {
        assert_true(errno == ENOTEMPTY || errno == EINVAL || errno == EISDIR || errno == ENOTDIR || errno == EEXIST);
        return;
    }
    if (replaces && !move_first)
        record(a, &over);
    renamed(a, &r, to);
    if (replaces && move_first)
        record(a, &over);
    if (replaces)
        gone(a, &over.fh);
}

void act_exchange(struct actor *a, const char *x, const char *y)
{
    struct pc_act_rec r = begin(a, RENAME, x, current(a, x)), q = begin(a, RENAME, y, current(a, y));
    if (renameat2(a->f->root, x, a->f->root, y, RENAME_EXCHANGE) < 0) {
        assert_true(errno == EINVAL);
        return;
    }
    if (pc_fh_equal(&r.fh, &q.fh))
        return;
    renamed(a, &r, y);
    renamed(a, &q, x);
}

struct picker {
    struct actor *a;
    unsigned n;
    mode_t type; /* 0 any */
    char path[4096];
};

static void pick_one(void *arg, const char *path)
{
    struct picker *k = arg;
    struct stat st;
    assert_int_equal(fstatat(k->a->f->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    if ((!k->type || (st.st_mode & S_IFMT) == k->type) && rand_r(&k->a->seed) % ++k->n == 0)
        strcpy(k->path, path);
}

/* A uniformly random path of a type; false when there is none. */
static bool pick(struct actor *a, mode_t type, char out[4096])
{
    struct picker k = {.a = a, .type = type};
    each_path(a->f, pick_one, &k);
    strcpy(out, k.path);
    return k.n > 0;
}

/* A name in a random folder; odd names now and then, collisions wanted. */
static void fresh(struct actor *a, char out[4096])
{
    static const char *const odd[] = {"new\nline", "\xff\xfe", "-rf", "a b", "x.locked", "README.txt"};
    char dir[4096];
    unsigned n = rand_r(&a->seed) % 24;
    bool sub = rand_r(&a->seed) % 3 && pick(a, S_IFDIR, dir) && strlen(dir) < 200;
    char name[64];
    if (n < PC_ARRAY_SIZE(odd))
        snprintf(name, sizeof name, "%s", odd[n]);
    else
        snprintf(name, sizeof name, "n%u", n);
    snprintf(out, 4096, "%s%s%.60s", sub ? dir : "", sub ? "/" : "", name);
}

static bool exists(struct actor *a, const char *path)
{
    struct stat st;
    return fstatat(a->f->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void remove_tree(struct actor *a, const char *path)
{
    struct stat st;
    assert_int_equal(fstatat(a->f->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    if (S_ISDIR(st.st_mode)) {
        char full[4300];
        snprintf(full, sizeof full, "%s/%s", a->f->mnt, path);
        struct dirent **list;
        int n = scandir(full, &list, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            char sub[4096];
            snprintf(sub, sizeof sub, "%.3000s/%s", path, list[i]->d_name);
            if (strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, ".."))
                remove_tree(a, sub);
            free(list[i]);
        }
        free(list);
    }
    act_delete(a, path);
}

static void random_bytes(struct actor *a, char *buf, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf[i] = (char)(rand_r(&a->seed) >> 7);
}

static void random_write(struct actor *a)
{
    char path[4096], data[6000];
    size_t len = 1 + rand_r(&a->seed) % sizeof data;
    random_bytes(a, data, len);
    if (pick(a, S_IFREG, path))
        act_write(a, path, data, len, rand_r(&a->seed) % 3 ? (long)(rand_r(&a->seed) % 9000) : -1);
}

static void random_make(struct actor *a)
{
    char path[4096], old[4096];
    fresh(a, path);
    if (exists(a, path))
        return;
    switch (rand_r(&a->seed) % 4) {
    case 0:
        act_mkdir(a, path);
        break;
    case 1:
        act_symlink(a, "../nowhere", path);
        break;
    case 2:
        if (pick(a, S_IFREG, old))
            act_link(a, old, path);
        break;
    default:
        act_create(a, path, "made by the actor");
    }
}

static void random_rename(struct actor *a)
{
    char from[4096], to[4096];
    if (!pick(a, rand_r(&a->seed) % 3 ? 0 : S_IFDIR, from))
        return;
    if (rand_r(&a->seed) % 2)
        fresh(a, to);
    else if (!pick(a, 0, to))
        return;
    size_t n = strlen(from);
    if (strcmp(from, to) == 0 || (strncmp(to, from, n) == 0 && to[n] == '/'))
        return;
    if (exists(a, to) && rand_r(&a->seed) % 2)
        act_exchange(a, from, to);
    else
        act_rename(a, from, to);
}

static void random_meta(struct actor *a)
{
    char path[4096];
    if (!pick(a, rand_r(&a->seed) % 2 ? S_IFREG : S_IFDIR, path))
        return;
    if (rand_r(&a->seed) % 2)
        act_chmod(a, path, 0700 | (rand_r(&a->seed) & 077));
    else
        act_xattr(a, path, "user.taken", "hostage");
}

void act_random(struct actor *a)
{
    char path[4096];
    switch (rand_r(&a->seed) % 10) {
    case 0:
    case 1:
    case 2:
        random_write(a);
        break;
    case 3:
    case 4:
        random_make(a);
        break;
    case 5:
    case 6:
    case 7:
        random_rename(a);
        break;
    case 8:
        random_meta(a);
        break;
    default:
        if (pick(a, rand_r(&a->seed) % 4 ? 0 : S_IFDIR, path))
            remove_tree(a, path);
    }
}

void random_tree(struct actor *a, unsigned files)
{
    char path[4096], old[4096], data[12000];
    for (unsigned i = 0; i < files; i++) {
        fresh(a, path);
        if (exists(a, path))
            continue;
        unsigned kind = rand_r(&a->seed) % 12;
        if (kind < 3) {
            assert_int_equal(mkdirat(a->f->root, path, 0700 | (rand_r(&a->seed) & 055)), 0);
        } else if (kind == 3) {
            assert_int_equal(symlinkat("some/target", a->f->root, path), 0);
        } else if (kind == 4) {
            assert_int_equal(mknodat(a->f->root, path, S_IFIFO | 0640, 0), 0);
        } else if (kind == 5 && pick(a, S_IFREG, old)) {
            assert_int_equal(linkat(a->f->root, old, a->f->root, path, 0), 0);
        } else {
            size_t len = rand_r(&a->seed) % 5 ? rand_r(&a->seed) % sizeof data : 0;
            random_bytes(a, data, len);
            _close_ int fd = openat(a->f->root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
            assert_true(fd >= 0);
            assert_int_equal(pwrite(fd, data, len, rand_r(&a->seed) % 3 ? 0 : 40960), (ssize_t)len);
            assert_int_equal(fsetxattr(fd, "user.kind", "original", 8, 0), 0);
            struct timespec t[2] = {{1000 + i, 7}, {1000000000 + i, 123456789}};
            assert_int_equal(futimens(fd, t), 0);
        }
    }
    capture_tree(a->f);
}

uint64_t convict(struct actor *a)
{
    struct pc_incident inc = {.started_ns = 1, .state = PC_INC_FROZEN, .root = a->id};
    assert_int_equal(pc_store_incident_open(a->f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_process(a->f->s, inc.id, a->id), 0);
    return inc.id;
}
