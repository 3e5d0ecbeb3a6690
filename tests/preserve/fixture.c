/* Owns the scratch file systems of the preservation tests: loop images in a private mount namespace. */
#include "fixture.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/content.h"
#include "preserve/meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void run(const char *fmt, ...)
{
    char cmd[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    int r = system(cmd);
    if (r != 0)
        fail_msg("command failed (%d): %s", r, cmd);
}

static void leave(const char *why)
{
    printf("skipped: %s\n", why);
    exit(77);
}

void fixture_enter(void)
{
    if (geteuid() != 0)
        leave("needs root to mount loop images");
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        leave("cannot make a private mount namespace");
    if (access("/dev/loop-control", F_OK) < 0)
        leave("no loop devices");
}

static const char *fs_in_turn;

int fixture_on_each_fs(int (*tests)(void))
{
    static const char *const all[] = {"xfs", "btrfs", "ext4"};
    const char *only = getenv("PC_FS"), *filter = getenv("PC_TEST");
    int failed = 0;
    fixture_enter();
    if (filter)
        cmocka_set_test_filter(filter);
    for (size_t i = 0; i < PC_ARRAY_SIZE(all); i++) {
        if (only && strcmp(only, all[i]) != 0)
            continue;
        fs_in_turn = all[i];
        printf("# %s\n", fs_in_turn);
        failed += tests();
    }
    return failed ? 1 : 0;
}

int fixture_setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    fixture_up(f, fs_in_turn, 320);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_down(*state);
    test_free(*state);
    return 0;
}

static void make_image(struct fixture *f, unsigned mib)
{
    const char *mkfs = strcmp(f->fs, "xfs") == 0     ? "mkfs.xfs -q -f"
                       : strcmp(f->fs, "btrfs") == 0 ? "mkfs.btrfs -q -f"
                                                     : "mkfs.ext4 -q -F";
    run("truncate -s %uM %s/image && %s %s/image >/dev/null 2>&1", mib, f->dir, mkfs, f->dir);
    run("mount -o loop %s/image %s", f->dir, f->mnt);
    run("rm %s/image", f->dir); /* the mount keeps it; a crash of the test leaves no file behind */
}

void fixture_up(struct fixture *f, const char *fs, unsigned mib)
{
    f->fs = fs;
    strcpy(f->dir, "/tmp/pc-preserve.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->mnt, sizeof f->mnt, "%s/mnt", f->dir);
    snprintf(f->state, sizeof f->state, "%s/state", f->dir);
    assert_int_equal(mkdir(f->mnt, 0755), 0);
    assert_int_equal(mkdir(f->state, 0700), 0);
    make_image(f, mib);
    f->root = open(f->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->tree = (int)syscall(SYS_open_tree, AT_FDCWD, f->mnt, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
    assert_true(f->root >= 0 && f->tree >= 0);
    if (f->opts.retention_ns == 0)
        f->opts.retention_ns = 7ULL * 86400 * 1000000000ULL;
    if (f->copy_limit == 0)
        f->copy_limit = 1ULL << 30;
    if (f->mode == 0)
        f->mode = strcmp(fs, "ext4") == 0 ? PC_MODE_ON_OPEN : PC_MODE_AHEAD;
    fixture_open(f);
}

void fixture_open(struct fixture *f)
{
    bool rebuild = false;
    int r = pc_store_open(f->state, &f->opts, &f->s, &rebuild);
    if (r < 0)
        fail_msg("pc_store_open: %s", pc_strerror(r));
    struct pc_volume_opts o = {f->mnt, f->fs, f->tree, f->mode, f->copy_limit};
    f->vol = pc_store_add_volume(f->s, &o);
    if (f->vol < 0)
        fail_msg("pc_store_add_volume: %s", pc_strerror(f->vol));
    if (rebuild)
        assert_true(pc_store_rebuild(f->s, f->vol) >= 0);
}

void fixture_close(struct fixture *f)
{
    pc_store_close(f->s);
    f->s = NULL;
}

void fixture_down(struct fixture *f)
{
    fixture_close(f);
    close(f->tree);
    close(f->root);
    run("umount -l %s && rm -rf %s", f->mnt, f->dir);
}

static int open_path(const struct fixture *f, const char *path)
{
    int fd = openat(f->root, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fail_msg("open %s: %s", path, strerror(errno));
    return fd;
}

struct pc_fh fh_of(const struct fixture *f, const char *path)
{
    struct pc_fh fh;
    _close_ int fd = open_path(f, path);
    assert_int_equal(pc_fh_of_fd(fd, &fh), 0);
    return fh;
}

struct pc_fh fh_of_dir(const struct fixture *f, const char *path)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    return fh_of(f, slash ? dir : ".");
}

const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* As the guard opens files: by handle through the private mount, without touching atime. */
uint64_t capture(struct fixture *f, const char *path)
{
    struct pc_fh fh = fh_of(f, path), parent = fh_of_dir(f, path);
    struct stat st;
    assert_int_equal(fstatat(f->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    int flags = S_ISREG(st.st_mode) ? O_RDONLY | O_NOATIME : O_PATH;
    _close_ int fd = openat(f->root, path, flags | O_NOFOLLOW | O_CLOEXEC);
    uint64_t version = 0;
    int r = pc_store_capture(f->s, f->vol, fd, &fh, &parent, base_name(path), 0, &version);
    if (r < 0)
        fail_msg("capture %s: %s", path, pc_strerror(r));
    return version;
}

static void each_path_beneath(const struct fixture *f, const char *dir, void (*fn)(void *arg, const char *path), void *arg)
{
    struct dirent **list;
    char full[4200];
    snprintf(full, sizeof full, "%s/%s", f->mnt, dir);
    int n = scandir(full, &list, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        char path[4096];
        struct stat st;
        bool skip_it = strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, pc_vault_dir_name) == 0 ||
                       strcmp(name, "lost+found") == 0;
        snprintf(path, sizeof path, "%s%s%s", strcmp(dir, ".") ? dir : "", strcmp(dir, ".") ? "/" : "", name);
        free(list[i]);
        if (skip_it)
            continue;
        assert_int_equal(fstatat(f->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
        if (S_ISDIR(st.st_mode))
            each_path_beneath(f, path, fn, arg);
        fn(arg, path);
    }
    free(list);
}

void each_path(const struct fixture *f, void (*fn)(void *arg, const char *path), void *arg)
{
    each_path_beneath(f, ".", fn, arg);
}

static void capture_one(void *arg, const char *path)
{
    capture(arg, path);
}

void capture_tree(struct fixture *f)
{
    each_path(f, capture_one, f);
}

void put_file(const struct fixture *f, const char *path, const char *text)
{
    _close_ int fd = openat(f->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

struct printer {
    const struct fixture *f;
    struct pc_buf out;
    struct {
        uint64_t ino;
        char path[256];
    } seen[4096];
    unsigned n_seen;
};

/* Which of the paths are names of one inode: each names the first of its group. */
static void print_group(struct printer *p, uint64_t ino, const char *path)
{
    for (unsigned i = 0; i < p->n_seen; i++) {
        if (p->seen[i].ino != ino)
            continue;
        pc_buf_addf(&p->out, " linked to %s", p->seen[i].path);
        return;
    }
    assert_true(p->n_seen < 4096);
    p->seen[p->n_seen].ino = ino;
    snprintf(p->seen[p->n_seen++].path, 256, "%s", path);
}

static void print_hash(struct printer *p, int fd, uint64_t size)
{
    static uint8_t part[1 << 16];
    uint8_t sum[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *h = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(h, EVP_sha256(), NULL), 1);
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, part, size - at < sizeof part ? (size_t)(size - at) : sizeof part, (off_t)at);
        assert_true(n > 0);
        assert_int_equal(EVP_DigestUpdate(h, part, (size_t)n), 1);
        at += (uint64_t)n;
    }
    assert_int_equal(EVP_DigestFinal_ex(h, sum, NULL), 1);
    EVP_MD_CTX_free(h);
    for (int i = 0; i < 8; i++)
        pc_buf_addf(&p->out, "%02x", sum[i]);
}

static void print_xattrs(struct printer *p, const struct pc_meta *m)
{
    struct pc_cur c;
    struct pc_xattr x;
    pc_cur_init(&c, m->xattrs.data, m->xattrs.len);
    while (pc_xattrs_next(&c, &x) > 0) {
        pc_buf_addf(&p->out, " %s=", x.name);
        for (size_t i = 0; i < x.len; i++)
            pc_buf_addf(&p->out, "%02x", ((const uint8_t *)x.value)[i]);
    }
}

static void print_one(void *arg, const char *path)
{
    struct printer *p = arg;
    _meta_free_ struct pc_meta m;
    pc_meta_init(&m);
    _close_ int fd = open_path(p->f, path);
    assert_int_equal(pc_meta_read(fd, &m), 0);
    /* Folders' sizes are the file system's own business; a vault link adds one to nlink of a regular file on ext4. */
    pc_buf_addf(&p->out, "%s: %o %u:%u %u,%u attrs %u mtime %lld", path, m.mode, m.uid, m.gid, m.rdev_major,
                m.rdev_minor, m.attrs, (long long)m.mtime_ns);
    if (m.target.len)
        pc_buf_addf(&p->out, " -> %s", m.target.data);
    print_xattrs(p, &m);
    if (S_ISREG(m.mode)) {
        _close_ int rd = openat(p->f->root, path, O_RDONLY | O_NOATIME | O_CLOEXEC);
        pc_buf_addf(&p->out, " size %llu sha ", (unsigned long long)m.size);
        print_hash(p, rd, m.size);
        print_group(p, m.ino, path);
    }
    pc_buf_addf(&p->out, "\n");
}

char *fingerprint(const struct fixture *f)
{
    struct printer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->f = f;
    pc_buf_init(&p->out, 64u << 20);
    pc_buf_add(&p->out, "", 0);
    each_path(f, print_one, p);
    char *text = p->out.data;
    free(p);
    return text;
}

void same_fingerprint(const char *want, const char *have, const char *what)
{
    if (strcmp(want, have) == 0)
        return;
    FILE *a = fopen("/tmp/pc-preserve.want", "w"), *b = fopen("/tmp/pc-preserve.have", "w");
    if (a && b) {
        fputs(want, a);
        fputs(have, b);
    }
    if (a)
        fclose(a);
    if (b)
        fclose(b);
    if (system("diff /tmp/pc-preserve.want /tmp/pc-preserve.have | head -40; rm -f /tmp/pc-preserve.want "
               "/tmp/pc-preserve.have"))
        printf("(diff did not run)\n");
    fail_msg("%s: the tree is not what it was", what);
}
