/* Capture, lookup, versions, pre-images, gone files, acts, incidents, eviction, rebuild: on xfs, btrfs and ext4. */
#include "fixture.h"

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "preserve/content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static void content_is(struct fixture *f, uint64_t version, const char *want)
{
    char got[256] = "";
    _close_ int fd = pc_store_open_version(f->s, version);
    if (fd < 0)
        fail_msg("open_version: %s", pc_strerror(fd));
    ssize_t n = read(fd, got, sizeof got - 1);
    assert_true(n >= 0);
    got[n] = 0;
    assert_string_equal(got, want);
    assert_true(write(fd, "x", 1) < 0); /* read-only */
}

static bool cloning(struct fixture *f)
{
    return pc_store_can_clone(f->s, f->vol);
}

static void keeps_content_against_writes(void **state)
{
    struct fixture *f = *state;
    put_file(f, "a", "first");
    uint64_t v1 = capture(f, "a"), pre = v1;
    assert_int_equal(capture(f, "a"), v1); /* unchanged: no new version */
    content_is(f, v1, "first");
    if (!cloning(f)) { /* on-open: the opener waits while the copier works */
        struct pc_vault_copy c;
        _close_ int fd = openat(f->root, "a", O_RDONLY | O_NOATIME);
        struct pc_fh fh = fh_of(f, "a"), dir = fh_of_dir(f, "a");
        assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
        assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "a", &c, &pre), 0);
        assert_int_equal(pre, v1); /* the same content: the same version, now with a copy of its own */
    }
    put_file(f, "a", "second, longer");
    uint64_t v2 = capture(f, "a");
    assert_int_not_equal(v2, v1);
    content_is(f, v1, "first");
    content_is(f, v2, "second, longer");
}

/* The object's size is on the disk and its data is not: what a power failure leaves of a copy. */
static int lose_data(void *arg, int dirfd)
{
    uint64_t object = *(uint64_t *)arg;
    char name[32];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)object);
    _close_ int fd = openat(dirfd, name, O_RDONLY);
    if (fd < 0)
        return 0;
    int flags = 0;
    assert_int_equal(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
    flags &= ~FS_IMMUTABLE_FL;
    assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
    _close_ int rw = openat(dirfd, name, O_RDWR);
    assert_int_equal(fallocate(rw, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
    *(uint64_t *)arg = 0;
    return 0;
}

static void a_copy_without_its_data_is_no_version(void **state)
{
    struct fixture *f = *state;
    if (cloning(f))
        skip();
    char text[9000];
    struct pc_vault_copy c;
    uint64_t v = 0;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    put_file(f, "a", text);
    capture(f, "a");
    _close_ int fd = openat(f->root, "a", O_RDONLY | O_NOATIME);
    struct pc_fh fh = fh_of(f, "a"), dir = fh_of_dir(f, "a");
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    assert_int_equal(pc_vault_sync_copy(f->s, f->vol, &c), 0);
    assert_int_equal(pc_vault_sync(f->s, f->vol), 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "a", &c, &v), 0);
    _close_ int whole = pc_store_open_version(f->s, v);
    assert_true(whole >= 0);
    uint64_t object = c.object;
    assert_int_equal(pc_store_each_vault_dir(f->s, f->vol, lose_data, &object), 0);
    assert_int_equal(object, 0); /* found */
    assert_int_equal(pc_store_open_version(f->s, v), PC_E_CORRUPT);
}

static void link_alone_is_not_trusted_after_a_write(void **state)
{
    struct fixture *f = *state;
    if (cloning(f))
        skip();
    put_file(f, "a", "first");
    uint64_t v1 = capture(f, "a");
    usleep(20000);
    put_file(f, "a", "other");
    assert_int_equal(pc_store_open_version(f->s, v1), PC_E_NOTFOUND); /* never the wrong content */
    capture(f, "a");
    assert_int_equal(pc_store_open_version(f->s, v1), PC_E_NOTFOUND);
}

static void append_needs_the_length_only(void **state)
{
    struct fixture *f = *state;
    struct pc_vault_copy c;
    uint64_t v = 0;
    put_file(f, "log", "line 1\n");
    capture(f, "log");
    _close_ int fd = openat(f->root, "log", O_RDWR | O_APPEND);
    struct pc_fh fh = fh_of(f, "log"), dir = fh_of_dir(f, "log");
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_LENGTH, &c), 0);
    assert_int_equal(c.object, 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "log", &c, &v), 0);
    assert_int_equal(write(fd, "line 2\n", 7), 7);
    content_is(f, v, "line 1\n");
    uint64_t v2 = 0;
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "log", &c, &v2), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    content_is(f, v, "line 1\n"); /* from the copy that came later */
    content_is(f, v2, "line 1\nline 2\n");
}

static uint64_t keep_length(struct fixture *f, const char *name)
{
    struct pc_vault_copy c;
    uint64_t v = 0;
    _close_ int fd = openat(f->root, name, O_RDWR | O_APPEND);
    struct pc_fh fh = fh_of(f, name), dir = fh_of_dir(f, name);
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_LENGTH, &c), 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, name, &c, &v), 0);
    return v;
}

/* Who said it would append can overwrite all the same, or the kernel for somebody. */
static void length_of_another_content_is_told(void **state)
{
    struct fixture *f = *state;
    struct pc_vault_copy c;
    static char big[3 << 20];
    static const size_t sizes[] = {7, sizeof big};
    for (int i = 0; i < 2; i++) {
        size_t size = sizes[i];
        memset(big, 'x', size);
        _close_ int fd = openat(f->root, "log", O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(pwrite(fd, big, size, 0), size);
        capture(f, "log");
        uint64_t v = keep_length(f, "log");
        assert_int_equal(pc_store_is_kept(f->s, v), 1);
        assert_int_equal(pwrite(fd, "more", 4, (off_t)size), 4);
        assert_int_equal(pc_store_is_kept(f->s, v), 1);
        assert_int_equal(pwrite(fd, "other", 5, (off_t)size - 7), 5);
        assert_int_equal(pc_store_open_version(f->s, v), PC_E_NOTFOUND);
        assert_int_equal(pc_store_is_kept(f->s, v), 0);
        struct pc_fh fh = fh_of(f, "log"), dir = fh_of_dir(f, "log");
        assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
        assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "log", &c, NULL), 0);
        assert_int_equal(pc_store_open_version(f->s, v), PC_E_NOTFOUND); /* that copy begins otherwise, too */
        assert_int_equal(ftruncate(fd, 3), 0);
        assert_int_equal(pc_store_open_version(f->s, v), PC_E_NOTFOUND);
    }
}

/* A link is the live file: what is written there is what it holds, whatever size and time say. */
static void link_that_was_overwritten_is_lost(void **state)
{
    struct fixture *f = *state;
    struct pc_known k;
    struct pc_vault_copy c;
    uint64_t cursor = 0;
    if (cloning(f))
        skip();
    put_file(f, "a", "first");
    uint64_t v1 = capture(f, "a");
    struct pc_fh fh = fh_of(f, "a"), dir = fh_of_dir(f, "a");
    assert_int_equal(pc_store_next_link(f->s, f->vol, &cursor, 100, UINT64_MAX >> 1, &k), 1);
    _close_ int fd = openat(f->root, "a", O_RDWR);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pwrite(fd, "other", 5, 0), 5);
    assert_int_equal(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
    assert_int_equal(pc_store_overwritten(f->s, f->vol, &fh), 0);
    assert_int_equal(pc_store_open_version(f->s, v1), PC_E_NOTFOUND);
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    uint64_t v2 = 0;
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "a", &c, &v2), 0);
    assert_int_equal(pc_store_open_version(f->s, v1), PC_E_NOTFOUND); /* of the same size and time, and another */
    content_is(f, v2, "other");
    put_file(f, "b", "again");
    capture(f, "b");
    struct pc_fh b = fh_of(f, "b");
    assert_int_equal(pc_store_overwritten(f->s, f->vol, &b), 0);
    assert_int_equal(unlinkat(f->root, "b", 0), 0);
    assert_int_equal(pc_store_gone(f->s, f->vol, &b), 0);
    assert_int_equal(pc_store_lookup(f->s, f->vol, &b, &k), 0);
    content_is(f, k.version, "again"); /* what it was when it went */
}

/* The link of before the append is the same live file. */
static void link_before_a_length_is_lost_with_it(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    if (cloning(f))
        skip();
    put_file(f, "log", "line 1\n");
    uint64_t link = capture(f, "log"), length = keep_length(f, "log");
    struct pc_fh fh = fh_of(f, "log");
    _close_ int fd = openat(f->root, "log", O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pwrite(fd, "cipher\n", 7, 0), 7);
    assert_int_equal(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
    assert_int_equal(pc_store_overwritten(f->s, f->vol, &fh), 0);
    assert_int_equal(pc_store_open_version(f->s, length), PC_E_NOTFOUND);
    assert_int_equal(pc_store_open_version(f->s, link), PC_E_NOTFOUND);
}

static void length_alone_is_copied_ahead(void **state)
{
    struct fixture *f = *state;
    struct pc_known k;
    uint64_t cursor = 0;
    put_file(f, "log", "line 1\n");
    capture(f, "log");
    uint64_t v = keep_length(f, "log");
    assert_int_equal(pc_store_next_link(f->s, f->vol, &cursor, 100, UINT64_MAX >> 1, &k), 1);
    assert_int_equal(k.version, v);
}

static void length_alone_is_not_trusted_unwatched(void **state)
{
    struct fixture *f = *state;
    put_file(f, "log", "line 1\n");
    capture(f, "log");
    uint64_t v = keep_length(f, "log");
    assert_true(pc_store_watched(f->s, f->vol, v));
    put_file(f, "log", "line 1\nline 2\n"); /* what an append leaves */
    capture(f, "log");
    content_is(f, v, "line 1\n");
    v = keep_length(f, "log");
    fixture_close(f);
    fixture_open(f);
    assert_false(pc_store_watched(f->s, f->vol, v));
    capture(f, "log");
    content_is(f, v, "line 1\nline 2\n"); /* not changed meanwhile */
    v = keep_length(f, "log");
    fixture_close(f);
    usleep(20000);
    put_file(f, "log", "something else that is longer\n");
    fixture_open(f);
    capture(f, "log");
    assert_int_equal(pc_store_open_version(f->s, v), PC_E_NOTFOUND); /* never the wrong content */
}

static void length_alone_is_lost_to_a_write(void **state)
{
    struct fixture *f = *state;
    put_file(f, "log", "line 1\n");
    capture(f, "log");
    uint64_t v = keep_length(f, "log");
    struct pc_fh fh = fh_of(f, "log");
    assert_int_equal(pc_store_written_unkept(f->s, f->vol, &fh), 0);
    put_file(f, "log", "something else\n");
    assert_int_equal(pc_store_open_version(f->s, v), PC_E_NOTFOUND);
    capture(f, "log");
    assert_int_equal(pc_store_open_version(f->s, v), PC_E_NOTFOUND);
}

static void deleted_file_is_kept(void **state)
{
    struct fixture *f = *state;
    struct pc_known k;
    put_file(f, "doomed", "still here");
    uint64_t v = capture(f, "doomed");
    struct pc_fh fh = fh_of(f, "doomed"), dir = fh_of_dir(f, "doomed");
    assert_int_equal(pc_store_gone(f->s, f->vol, &fh), 0);
    assert_int_equal(pc_store_lookup(f->s, f->vol, &fh, &k), 0);
    assert_false(k.gone); /* it has a name: the caller was wrong */
    assert_int_equal(unlinkat(f->root, "doomed", 0), 0);
    assert_int_equal(pc_store_gone(f->s, f->vol, &fh), 0);
    assert_int_equal(pc_store_lookup_name(f->s, f->vol, &dir, "doomed", &k), 0);
    assert_true(k.gone);
    assert_int_equal(k.version, v);
    content_is(f, v, "still here");
}

static void live_file_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct stat a, b;
    put_file(f, "x", "content");
    assert_int_equal(fstatat(f->root, "x", &a, 0), 0);
    capture(f, "x");
    assert_int_equal(fstatat(f->root, "x", &b, 0), 0);
    assert_memory_equal(&a.st_mtim, &b.st_mtim, sizeof a.st_mtim);
    assert_memory_equal(&a.st_atim, &b.st_atim, sizeof a.st_atim);
    assert_int_equal(a.st_mode, b.st_mode);
    if (cloning(f)) {
        assert_memory_equal(&a.st_ctim, &b.st_ctim, sizeof a.st_ctim);
        return;
    }
    struct pc_fh fh = fh_of(f, "x"), dir = fh_of_dir(f, "x");
    assert_int_equal(b.st_nlink, 2);
    int64_t ctime_ns = 7;
    assert_int_equal(pc_store_unlink_link(f->s, f->vol, &fh, &ctime_ns), PC_E_STATE); /* its content rests on the link */
    assert_int_equal(ctime_ns, 7);
    struct pc_vault_copy c;
    uint64_t v;
    _close_ int fd = openat(f->root, "x", O_RDONLY);
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, "x", &c, &v), 0);
    assert_int_equal(pc_store_unlink_link(f->s, f->vol, &fh, &ctime_ns), 0);
    assert_int_equal(fstatat(f->root, "x", &b, 0), 0);
    assert_int_equal(b.st_nlink, 1);
    assert_int_equal(ctime_ns, b.st_ctim.tv_sec * 1000000000L + b.st_ctim.tv_nsec);
    content_is(f, v, "content");
    capture(f, "x");
    assert_int_equal(fstatat(f->root, "x", &b, 0), 0);
    assert_int_equal(b.st_nlink, 2);
}

static int64_t ctime_of(const struct fixture *f, const char *path)
{
    struct stat st;
    assert_int_equal(fstatat(f->root, path, &st, 0), 0);
    return st.st_ctim.tv_sec * 1000000000L + st.st_ctim.tv_nsec;
}

/* Empty files, until no more than so many of a thousand inodes are free. */
static void use_up_inodes(const struct fixture *f, uint64_t permille)
{
    static uint32_t n;
    struct statvfs st;
    do {
        for (int i = 0; i < 64; i++) {
            char name[24];
            snprintf(name, sizeof name, "empty%u", n++);
            _close_ int fd = openat(f->root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            assert_true(fd >= 0);
        }
        assert_int_equal(fstatvfs(f->root, &st), 0);
    } while (st.f_favail > st.f_files * permille / 1000);
}

/* Each copy takes an inode: copies ahead stop at 10 % free, all others at 1 %, and status says so. */
static void inodes_are_left_for_others(void **state)
{
    struct fixture *f = *state;
    if (cloning(f))
        return;
    struct pc_store_stats n;
    struct pc_vault_copy c;
    put_file(f, "x", "content");
    _close_ int fd = openat(f->root, "x", O_RDONLY);
    assert_true(pc_store_room_ahead(f->s, f->vol, 100));
    use_up_inodes(f, 90);
    assert_false(pc_store_room_ahead(f->s, f->vol, 100));
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &n), 0);
    assert_false(n.degraded);
    use_up_inodes(f, 8);
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), -ENOSPC);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &n), 0);
    assert_true(n.degraded);
    assert_non_null(strstr(n.why, "inodes"));
}

/* A file with a copy and no link, and the ctime that taking the link away has left. */
static int64_t single_name(struct fixture *f, const char *path, const char *text)
{
    struct pc_vault_copy c;
    int64_t ctime_ns;
    put_file(f, path, text);
    capture(f, path);
    struct pc_fh fh = fh_of(f, path), dir = fh_of_dir(f, path);
    _close_ int fd = openat(f->root, path, O_RDONLY);
    assert_int_equal(pc_vault_copy_now(f->s, f->vol, fd, PC_HOW_COPY, &c), 0);
    assert_int_equal(pc_store_adopt_object(f->s, f->vol, &fh, &dir, path, &c, NULL), 0);
    assert_int_equal(pc_store_unlink_link(f->s, f->vol, &fh, &ctime_ns), 0);
    assert_true(ctime_ns > 0);
    return ctime_ns;
}

/* It follows our own doing only: not what somebody wrote meanwhile and then put the time back of. */
static void index_follows_its_own_change(void **state)
{
    struct fixture *f = *state;
    if (cloning(f))
        return;
    struct pc_known k;
    struct stat st;
    int64_t ours = single_name(f, "mine", "content");
    struct pc_fh fh = fh_of(f, "mine");
    assert_int_equal(pc_store_follow_ctime(f->s, f->vol, &fh, ours - 1), PC_E_CHANGED);
    assert_int_equal(pc_store_follow_ctime(f->s, f->vol, &fh, ours), 0);
    assert_int_equal(pc_store_lookup(f->s, f->vol, &fh, &k), 0);
    assert_int_equal(k.ctime_ns, ours);
    capture(f, "mine");
    assert_int_equal(fstatat(f->root, "mine", &st, 0), 0);
    assert_int_equal(st.st_nlink, 1); /* it is as it was preserved: no new link */

    ours = single_name(f, "theirs", "content");
    fh = fh_of(f, "theirs");
    assert_int_equal(fstatat(f->root, "theirs", &st, 0), 0);
    put_file(f, "theirs", "CONTENT");
    const struct timespec back[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(f->root, "theirs", back, 0), 0);
    assert_int_equal(pc_store_follow_ctime(f->s, f->vol, &fh, ours), PC_E_CHANGED);
    assert_int_equal(pc_store_follow_ctime(f->s, f->vol, &fh, ctime_of(f, "theirs")), PC_E_CHANGED);
    assert_int_equal(pc_store_lookup(f->s, f->vol, &fh, &k), 0);
    assert_true(k.ctime_ns < ours);
}

static void names_and_types(void **state)
{
    struct fixture *f = *state;
    char longest[256];
    memset(longest, 'n', 255);
    longest[255] = 0;
    const char *names[] = {"new\nline", "\xff\xfe bad", longest, "-rf", "\\x41"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(names); i++) {
        struct pc_known k;
        put_file(f, names[i], names[i]);
        capture(f, names[i]);
        struct pc_fh dir = fh_of(f, ".");
        assert_int_equal(pc_store_lookup_name(f->s, f->vol, &dir, names[i], &k), 0);
        assert_string_equal(k.name, names[i]);
    }
    put_file(f, "empty", "");
    assert_int_equal(mkdirat(f->root, "dir", 0750), 0);
    assert_int_equal(symlinkat("no such\ttarget", f->root, "link"), 0);
    assert_int_equal(mknodat(f->root, "fifo", S_IFIFO | 0600, 0), 0);
    const char *others[] = {"empty", "dir", "link", "fifo"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(others); i++)
        assert_int_equal(pc_store_open_version(f->s, capture(f, others[i])), PC_E_UNSUPPORTED);
}

static int count_act(void *arg, const struct pc_act_rec *a)
{
    int *n = arg;
    assert_string_equal(a->name, "f\xff");
    (*n)++;
    return 0;
}

static int take_incident(void *arg, const struct pc_incident *i)
{
    *(uint64_t *)arg = i->id;
    return 1;
}

static void acts_belong_to_incidents(void **state)
{
    struct fixture *f = *state;
    struct pc_act_rec a = {.time_ns = 5, .actor = 77, .op = 3, .vol = f->vol, .name = "f\xff", .before = 3, .score = 9};
    pc_fh_set(&a.fh, 1, "abcd", 4);
    pc_fh_set(&a.parent, 1, "dir", 3);
    uint64_t first = 0, id = 0;
    int n = 0;
    assert_int_equal(pc_store_record_act(f->s, &a, &first), 0);
    assert_true(first > 0);
    struct pc_process p = {.id = 77, .pid = 1234, .exe = "/bin/x", .argv = "x -y"}, q;
    assert_int_equal(pc_store_put_process(f->s, &p), 0);
    assert_int_equal(pc_store_get_process(f->s, 77, &q), 0);
    assert_string_equal(q.argv, "x -y");
    assert_int_equal(pc_store_get_process(f->s, 78, &q), PC_E_NOTFOUND);
    struct pc_incident inc = {.started_ns = 1, .state = PC_INC_FROZEN, .root = 77, .summary = "words"}, got;
    assert_int_equal(pc_store_incident_open(f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_process(f->s, inc.id, 77), 0);
    assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0); /* after the verdict */
    a.actor = 78;
    assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0); /* somebody else */
    assert_int_equal(pc_store_incident_acts(f->s, inc.id, count_act, &n), 0);
    assert_int_equal(n, 2);
    inc.state = PC_INC_RELEASED;
    inc.damaged = 4;
    assert_int_equal(pc_store_incident_update(f->s, &inc), 0);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(pc_store_incident_get(f->s, inc.id, &got), 0);
    assert_int_equal(got.state, PC_INC_RELEASED);
    assert_int_equal(got.damaged, 4);
    assert_string_equal(got.summary, "words");
    assert_int_equal(pc_store_incidents(f->s, take_incident, &id), 0);
    assert_int_equal(id, inc.id);
    assert_int_equal(pc_store_incident_get(f->s, 99, &got), PC_E_NOTFOUND);
}

/* What a walk finds changed must not be told as nobody's doing when the one who did it is on record. */
static void change_has_an_author(void **state)
{
    struct fixture *f = *state;
    const uint64_t run = 100;
    struct pc_act_rec a = {.time_ns = 5, .op = 1, .vol = f->vol, .name = "f", .score = 90};
    struct pc_fh other;
    pc_fh_set(&a.fh, 1, "abcd", 4);
    pc_fh_set(&a.parent, 1, "dir", 3);
    pc_fh_set(&other, 1, "efgh", 4);
    for (uint64_t version = 1; version <= 20000; version++) { /* none of them is forgotten, however many there are */
        a.before = version;
        a.actor = run + version % 7;
        assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
    }
    for (uint64_t version = 1; version <= 20000; version++)
        assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, version, run), PC_CHANGE_SEEN);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 20001, run), PC_CHANGE_UNSEEN);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &other, 7, run), PC_CHANGE_UNSEEN);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 0, run), PC_CHANGE_UNSEEN);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 7, run + 7), PC_CHANGE_EARLIER);
    struct pc_incident inc = {.started_ns = 1, .state = PC_INC_ENDED, .root = run, .summary = "words"};
    assert_int_equal(pc_store_incident_open(f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_process(f->s, inc.id, run), 0);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 7, run + 7), PC_CHANGE_SEEN);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 8, run + 7), PC_CHANGE_EARLIER);
    inc.rolled_back = true;
    assert_int_equal(pc_store_incident_update(f->s, &inc), 0);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 7, run + 7), PC_CHANGE_EARLIER);
    a.actor = 0;
    a.before = 20002;
    assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
    assert_int_equal(pc_store_change_of(f->s, f->vol, &a.fh, 20002, run + 7), PC_CHANGE_SEEN);
}

static void process_numbers_are_used_once(void **state)
{
    struct fixture *f = *state;
    const uint64_t second = 1000000000;
    uint64_t first = 0, again = 0;
    assert_int_equal(pc_store_new_run(f->s, 5000 * second, &first), 0);
    assert_true(first == 5000ULL << 32);
    struct pc_process p = {.id = first + 3, .pid = 1234};
    assert_int_equal(pc_store_put_process(f->s, &p), 0);
    assert_int_equal(pc_store_new_run(f->s, 5000 * second + 7, &again), 0); /* the same second */
    assert_true(again > p.id && (uint32_t)again == 0);
    assert_int_equal(pc_store_new_run(f->s, 17 * second, &again), 0); /* the clock was set back */
    assert_true(again > p.id);
    assert_int_equal(pc_store_new_run(f->s, 6000 * second, &again), 0);
    assert_true(again == 6000ULL << 32);
}

static int count_any(void *arg, const struct pc_act_rec *a)
{
    *(uint64_t *)arg += a->time_ns ? 1 : 0;
    return 0;
}

/* Known again after a restart by pid and start time, with what it had begotten; its peaceful hours before stay its own. */
static void what_a_process_did_in_an_earlier_run(void **state)
{
    struct fixture *f = *state;
    const uint64_t sec = 1000000000, run = 2000;
    const struct pc_process procs[] = {
        {.id = 1001, .pid = 50, .start_ns = 700 * sec},                  /* the shell, in the run before */
        {.id = 1002, .parent = 1001, .pid = 60, .start_ns = 800 * sec},  /* its child: gone since */
        {.id = 1003, .parent = 1002, .pid = 61, .start_ns = 801 * sec},  /* and grandchild */
        {.id = 1004, .pid = 50, .start_ns = 300 * sec},                  /* another one with the shell's pid, long ago */
        {.id = 2001, .pid = 50, .start_ns = 700 * sec + 3},              /* the shell, in this run */
        {.id = 2002, .pid = 60, .start_ns = 950 * sec}};                 /* not that child */
    for (size_t i = 0; i < PC_ARRAY_SIZE(procs); i++)
        assert_int_equal(pc_store_put_process(f->s, &procs[i]), 0);
    const struct {
        uint64_t actor, at_s;
        uint8_t score;
        bool belongs;
    } acts[] = {{1001, 750, 90, false}, /* too long ago to be of this attack */
                {1001, 810, 0, false},  {1003, 900, 0, false}, {1002, 905, 0, true}, {1003, 906, 90, true},
                {1001, 907, 0, true},   {1004, 908, 90, false}, {2002, 955, 90, false}};
    struct pc_act_rec a = {.op = 1, .vol = f->vol, .name = "f"};
    pc_fh_set(&a.fh, 1, "abcd", 4);
    pc_fh_set(&a.parent, 1, "dir", 3);
    uint64_t want = 0, got = 0, first = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(acts); i++) {
        a.actor = acts[i].actor;
        a.time_ns = acts[i].at_s * sec;
        a.score = acts[i].score;
        want += acts[i].belongs;
        assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
    }
    struct pc_incident inc = {.started_ns = 960 * sec, .state = PC_INC_FROZEN, .root = 2001};
    assert_int_equal(pc_store_incident_open(f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_earlier(f->s, inc.id, 2002, run, 800 * sec, &first), 0);
    assert_int_equal(pc_store_incident_add_earlier(f->s, inc.id, 9999, run, 800 * sec, &first), 0);
    assert_true(first == 0);
    assert_int_equal(pc_store_incident_add_earlier(f->s, inc.id, 2001, run, 800 * sec, &first), want);
    assert_true(first == 906 * sec);
    assert_int_equal(pc_store_incident_acts(f->s, inc.id, count_any, &got), 0);
    assert_int_equal(got, want);
    assert_int_equal(pc_store_incident_add_earlier(f->s, inc.id, 2001, run, 800 * sec, &first), 0); /* once is enough */
}

static void survives_restart_and_damage(void **state)
{
    struct fixture *f = *state;
    struct pc_known k;
    char path[200];
    put_file(f, "one", "content one");
    put_file(f, "two", "content two");
    capture(f, "one");
    capture(f, "two");
    struct pc_fh one = fh_of(f, "one"), two = fh_of(f, "two");
    assert_int_equal(unlinkat(f->root, "two", 0), 0);
    assert_int_equal(pc_store_gone(f->s, f->vol, &two), 0);
    int vol = f->vol;
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(f->vol, vol);
    assert_int_equal(pc_store_lookup(f->s, f->vol, &one, &k), 0);
    fixture_close(f);
    snprintf(path, sizeof path, "%s/index.db", f->state);
    _close_ int fd = open(path, O_WRONLY);
    char junk[8192];
    memset(junk, 0x5a, sizeof junk);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), (ssize_t)sizeof junk);
    fixture_open(f); /* rebuilds */
    assert_int_equal(pc_store_lookup(f->s, f->vol, &two, &k), 0);
    assert_true(k.gone);
    assert_string_equal(k.name, "two");
    content_is(f, k.version, "content two");
    if (cloning(f)) {
        assert_int_equal(pc_store_lookup(f->s, f->vol, &one, &k), 0);
        content_is(f, k.version, "content one");
    }
    assert_int_equal(pc_store_rebuild(f->s, f->vol), 0); /* nothing is found twice */
}

static void lost_state_directory_adopts_the_vault(void **state)
{
    struct fixture *f = *state;
    struct pc_known k;
    put_file(f, "kept", "kept content");
    capture(f, "kept");
    struct pc_fh fh = fh_of(f, "kept");
    assert_int_equal(unlinkat(f->root, "kept", 0), 0);
    assert_int_equal(pc_store_gone(f->s, f->vol, &fh), 0);
    fixture_close(f);
    run("rm -rf %s/*", f->state);
    fixture_open(f);
    assert_int_equal(pc_store_lookup(f->s, f->vol, &fh, &k), 0);
    content_is(f, k.version, "kept content");
}

static void second_guard_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pc_store *other = NULL;
    bool rebuild;
    assert_int_equal(pc_store_open(f->state, &f->opts, &other, &rebuild), -EBUSY);
    assert_null(other);
}

static void open_incidents_pin_their_pre_images(void **state)
{
    struct fixture *f = *state;
    if (!cloning(f))
        skip();
    put_file(f, "p", "precious");
    put_file(f, "q", "ordinary");
    uint64_t p = capture(f, "p"), q = capture(f, "q");
    struct pc_act_rec a = {.time_ns = pc_real_ns(), .actor = 5, .op = 1, .vol = f->vol, .name = "p", .before = p};
    a.fh = fh_of(f, "p");
    a.parent = fh_of(f, ".");
    struct pc_incident inc = {.state = PC_INC_FROZEN};
    assert_int_equal(pc_store_incident_open(f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_process(f->s, inc.id, 5), 0);
    assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
    put_file(f, "p", "changed!!");
    put_file(f, "q", "changed too");
    capture(f, "p");
    capture(f, "q");
    uint64_t later = pc_real_ns() + f->opts.retention_ns + 1000000000ULL;
    int r;
    while ((r = pc_store_tend(f->s, later, 1000000)) > 0)
        ;
    assert_int_equal(r, 0);
    assert_int_equal(pc_store_open_version(f->s, q), PC_E_NOTFOUND);
    content_is(f, p, "precious");
    struct pc_store_stats st;
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_int_equal(st.evicted, 1);
    assert_int_equal(st.files, 2);
    inc.state = PC_INC_ROLLED_BACK;
    assert_int_equal(pc_store_incident_update(f->s, &inc), 0);
    while ((r = pc_store_tend(f->s, later, 1000000)) > 0)
        ;
    assert_int_equal(pc_store_open_version(f->s, p), PC_E_NOTFOUND);
}

static void a_flood_evicts_its_own_first(void **state)
{
    struct fixture *f = *state;
    if (!cloning(f))
        skip();
    char text[70000];
    memset(text, 'o', sizeof text - 1);
    text[sizeof text - 1] = 0;
    put_file(f, "honest", text);
    uint64_t honest = capture(f, "honest");
    struct pc_act_rec a = {.time_ns = 1, .actor = 1, .op = 1, .vol = f->vol, .before = honest};
    a.fh = fh_of(f, "honest");
    assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
    put_file(f, "honest", "new");
    capture(f, "honest");
    put_file(f, "victim", text);
    uint64_t victim = capture(f, "victim"), before = victim;
    for (int i = 0; i < 40; i++) {
        a.actor = 2;
        a.before = before;
        a.fh = fh_of(f, "victim");
        assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
        memset(text, 'a' + i % 26, sizeof text - 1);
        put_file(f, "victim", text);
        before = capture(f, "victim");
    }
    f->opts.space_budget_bytes = 400000;
    pc_store_set_opts(f->s, &f->opts);
    int r;
    while ((r = pc_store_tend(f->s, pc_real_ns(), 1000000)) > 0)
        ;
    assert_int_equal(r, 0);
    struct pc_store_stats st;
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_true(st.superseded_bytes <= 400000 && st.evicted > 0);
    _close_ int a1 = pc_store_open_version(f->s, honest), b1 = pc_store_open_version(f->s, victim);
    assert_true(a1 >= 0); /* another's */
    assert_true(b1 >= 0); /* the true pre-image, rather than what the flood made itself */
}

/* The budget waits for the verdict: what was superseded a moment ago stays, though it alone is larger than the budget. */
static void undecided_versions_outlive_the_budget(void **state)
{
    struct fixture *f = *state;
    struct pc_store_stats st;
    static char text[60000];
    if (!cloning(f))
        skip(); /* a link is lost with the first write; tests/guard/test_host.py tries it on ext4 */
    memset(text, 'o', sizeof text - 1);
    put_file(f, "large", text);
    uint64_t old = capture(f, "large");
    memset(text, 'n', sizeof text - 1);
    put_file(f, "large", text);
    capture(f, "large");
    f->opts.space_budget_bytes = 4096;
    f->opts.reserve_bytes = 4096;
    f->opts.undecided_ns = 3600 * PC_NS_PER_S;
    pc_store_set_opts(f->s, &f->opts);
    assert_int_equal(pc_store_tend(f->s, pc_real_ns(), 1000000), 0);
    _close_ int kept = pc_store_open_version(f->s, old);
    assert_true(kept >= 0);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_true(st.undecided_bytes == st.superseded_bytes - 4096);
    f->opts.undecided_ns = 1; /* as when the window has passed */
    pc_store_set_opts(f->s, &f->opts);
    while (pc_store_tend(f->s, pc_real_ns(), 1000000) > 0)
        ;
    assert_int_equal(pc_store_open_version(f->s, old), PC_E_NOTFOUND);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_true(st.undecided_bytes == 0 && st.superseded_bytes <= 4096);
}

/* Versions that share an object (the content is the same) go one by one, and the last one takes the object with it. */
static void a_shared_object_is_evicted_at_last(void **state)
{
    struct fixture *f = *state;
    struct pc_store_stats st;
    static char text[60000];
    if (!cloning(f))
        skip(); /* a link is lost with the first write; the copy that ext4 shares is of the same rows */
    memset(text, 'o', sizeof text - 1);
    put_file(f, "shared", text);
    uint64_t first = capture(f, "shared"), last = 0;
    struct pc_fh fh = fh_of(f, "shared");
    for (int i = 0; i < 3; i++) {
        _close_ int fd = openat(f->root, "shared", O_RDONLY | O_CLOEXEC);
        assert_int_equal(pc_store_capture_meta(f->s, f->vol, fd, &fh, &last), 0);
    }
    assert_true(last > first);
    put_file(f, "shared", "new");
    capture(f, "shared");
    f->opts.space_budget_bytes = 4096;
    f->opts.reserve_bytes = 4096;
    pc_store_set_opts(f->s, &f->opts);
    while (pc_store_tend(f->s, pc_real_ns(), 1000000) > 0)
        ;
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_true(st.superseded_bytes <= 4096);
    assert_int_equal(pc_store_open_version(f->s, last), PC_E_NOTFOUND);
    assert_int_equal(pc_store_open_version(f->s, first), PC_E_NOTFOUND);
}

static int count_versions(void *arg, const struct pc_version_info *v)
{
    assert_string_equal(v->path, "/p/doc");
    (*(int *)arg)++;
    return 0;
}

static void history_lists_versions(void **state)
{
    struct fixture *f = *state;
    int n = 0;
    put_file(f, "doc", "1");
    capture(f, "doc");
    put_file(f, "doc", "22");
    capture(f, "doc");
    struct pc_fh dir = fh_of(f, ".");
    assert_int_equal(pc_store_history(f->s, f->vol, &dir, "doc", "/p/doc", count_versions, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(linkat(f->root, "doc", f->root, "second-name", 0), 0);
    n = 0;
    assert_int_equal(pc_store_history(f->s, f->vol, &dir, "second-name", "/p/doc", count_versions, &n), 0);
    assert_int_equal(n, 2); /* the same inode, which the index knows by its first name */
    n = 0;
    assert_int_equal(pc_store_history(f->s, f->vol, &dir, "nothing", "/p/doc", count_versions, &n), 0);
    assert_int_equal(n, 0);
}

static void read_only_is_said_not_fatal(void **state)
{
    struct fixture *f = *state;
    struct pc_store_stats st;
    put_file(f, "late", "too late");
    run("mount -o remount,ro %s", f->mnt);
    struct pc_fh fh = fh_of(f, "late"), dir = fh_of(f, ".");
    _close_ int fd = openat(f->root, "late", O_RDONLY);
    assert_int_equal(pc_store_capture(f->s, f->vol, fd, &fh, &dir, "late", 0, NULL), -EROFS);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_true(st.degraded);
    assert_non_null(strstr(st.why, "Read-only"));
    run("mount -o remount,rw %s", f->mnt);
    assert_int_equal(pc_store_capture(f->s, f->vol, fd, &fh, &dir, "late", 0, NULL), 0);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &st), 0);
    assert_false(st.degraded);
}

static int count_dirs(void *arg, int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    (*(int *)arg)++;
    return 0;
}

static void vault_is_closed_to_others(void **state)
{
    struct fixture *f = *state;
    int n = 0;
    assert_int_equal(pc_store_each_vault_dir(f->s, f->vol, count_dirs, &n), 0);
    assert_int_equal(n, 5 + 512);
}

static int all_tests(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(keeps_content_against_writes), T(link_alone_is_not_trusted_after_a_write), T(append_needs_the_length_only), T(length_alone_is_not_trusted_unwatched), T(length_alone_is_lost_to_a_write),
        T(length_of_another_content_is_told), T(link_that_was_overwritten_is_lost), T(length_alone_is_copied_ahead), T(link_before_a_length_is_lost_with_it),
        T(deleted_file_is_kept), T(live_file_is_left_alone), T(index_follows_its_own_change), T(inodes_are_left_for_others), T(names_and_types), T(acts_belong_to_incidents),
        T(change_has_an_author), T(process_numbers_are_used_once),
        T(what_a_process_did_in_an_earlier_run),
        T(survives_restart_and_damage), T(lost_state_directory_adopts_the_vault), T(second_guard_is_refused),
        T(open_incidents_pin_their_pre_images), T(a_flood_evicts_its_own_first), T(undecided_versions_outlive_the_budget),
        T(a_shared_object_is_evicted_at_last), T(history_lists_versions),
        T(vault_is_closed_to_others), T(a_copy_without_its_data_is_no_version), T(read_only_is_said_not_fatal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return fixture_on_each_fs(all_tests);
}
