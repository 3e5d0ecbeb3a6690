/*
 * restore --deleted: what was deleted beneath a folder comes back, with its folders, to its place or to another one;
 * nothing that stands there is touched; doing it again changes nothing. On xfs, ext4 and btrfs.
 */
#include "actor.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "preserve/deleted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tally {
    int restored, already, occupied, failed;
};

/* Through everything deleted beneath `folder` (and `beneath` in it) since then, to root. */
static struct tally sweep(struct fixture *f, const char *folder, const char *beneath, uint64_t since_ns, int root,
                          size_t skip, bool dry)
{
    struct pc_fh fh = fh_of(f, folder);
    struct pc_sweep *w;
    struct pc_deleted d;
    struct tally t = {0};
    int r = pc_sweep_new(f->s, f->vol, &fh, beneath, since_ns, &w);
    assert_int_equal(r, 0);
    while ((r = pc_sweep_next(w, &d)) > 0) {
        struct pc_step step;
        if (r == 2 || strlen(d.path) <= skip)
            continue;
        (void)pc_sweep_restore(w, &d, root, skip, dry, &step);
        t.failed += step.result < 0;
        t.already += step.kind == PC_STEP_NOTHING && !step.why[0];
        t.occupied += step.kind == PC_STEP_NOTHING && step.why[0];
        t.restored += step.kind != PC_STEP_NOTHING && step.result == 0;
        if (step.result < 0 || getenv("PC_TRACE"))
            printf("  %s kind %d: %s %s\n", d.path, step.kind, pc_strerror(step.result), step.why);
    }
    assert_int_equal(r, 0);
    pc_sweep_free(w);
    return t;
}

static void is(struct tally t, int restored, int already, int occupied, int failed)
{
    if (t.restored != restored || t.already != already || t.occupied != occupied || t.failed != failed)
        fail_msg("restored %d, already %d, occupied %d, failed %d", t.restored, t.already, t.occupied, t.failed);
}

static void holds(int root, const char *path, const char *text)
{
    char have[64] = "";
    _close_ int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, have, sizeof have - 1) < 0 || strcmp(have, text) != 0)
        fail_msg("%s holds \"%s\", not \"%s\"", path, have, text);
}

/* top/{a,sub/{b,empty/,deep/{c,link -> c}}}, beside top/kept: 3 files, 1 link, 3 folders to be deleted. */
static void make_tree(struct actor *a)
{
    act_mkdir(a, "top");
    act_mkdir(a, "top/sub");
    act_mkdir(a, "top/sub/deep");
    act_mkdir(a, "top/sub/empty");
    act_create(a, "top/kept", "kept");
    act_create(a, "top/a", "text of a");
    act_create(a, "top/sub/b", "text of b");
    act_create(a, "top/sub/deep/c", "text of c");
    act_symlink(a, "c", "top/sub/deep/link");
    act_chmod(a, "top/sub", 0751);
    act_chmod(a, "top/sub/b", 0640);
}

static void delete_tree(struct actor *a)
{
    static const char *const paths[] = {"top/sub/deep/link", "top/sub/deep/c", "top/sub/deep", "top/sub/empty",
                                        "top/sub/b",         "top/sub",        "top/a"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(paths); i++)
        act_delete(a, paths[i]);
}

static void tree_comes_back(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    struct stat st;
    make_tree(&a);
    delete_tree(&a);
    _close_ int top = openat(f->root, "top", O_RDONLY | O_DIRECTORY);
    is(sweep(f, "top", "", 0, top, 0, true), 7, 0, 0, 0);
    assert_int_equal(fstatat(top, "sub", &st, 0), -1); /* a dry run does nothing */
    is(sweep(f, "top", "", 0, top, 0, false), 7, 0, 0, 0);
    holds(top, "a", "text of a");
    holds(top, "sub/b", "text of b");
    holds(top, "sub/deep/c", "text of c");
    holds(top, "sub/deep/link", "text of c");
    assert_int_equal(fstatat(top, "sub", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0751);
    assert_int_equal(st.st_uid, 1);
    assert_int_equal(fstatat(top, "sub/b", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(fstatat(top, "sub/empty", &st, 0), 0);
    capture_tree(f);
    is(sweep(f, "top", "", 0, top, 0, false), 0, 7, 0, 0);
}

static void to_another_place(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    make_tree(&a);
    delete_tree(&a);
    act_mkdir(&a, "out");
    _close_ int out = openat(f->root, "out", O_RDONLY | O_DIRECTORY);
    _close_ int elsewhere = open(f->dir, O_RDONLY | O_DIRECTORY); /* another file system */
    /* The folder sub itself is gone: beneath "sub", without that part of each path. */
    is(sweep(f, "top", "sub", 0, out, 4, false), 5, 0, 0, 0);
    holds(out, "b", "text of b");
    holds(out, "deep/c", "text of c");
    is(sweep(f, "top", "sub", 0, elsewhere, 4, false), 5, 0, 0, 0);
    holds(elsewhere, "deep/c", "text of c");
    holds(elsewhere, "deep/link", "text of c");
    is(sweep(f, "top", "sub", 0, elsewhere, 4, false), 0, 5, 0, 0);
}

static void nothing_is_overwritten(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    act_mkdir(&a, "top");
    act_create(&a, "top/saved", "first text");
    act_create(&a, "top/saved.new", "second text");
    act_rename(&a, "top/saved.new", "top/saved"); /* as editors save */
    act_create(&a, "top/x", "deleted");
    act_delete(&a, "top/x");
    act_create(&a, "top/x", "made anew");
    _close_ int top = openat(f->root, "top", O_RDONLY | O_DIRECTORY);
    is(sweep(f, "top", "", 0, top, 0, false), 0, 0, 2, 0);
    holds(top, "saved", "second text");
    holds(top, "x", "made anew");
    act_mkdir(&a, "out");
    _close_ int out = openat(f->root, "out", O_RDONLY | O_DIRECTORY);
    is(sweep(f, "top", "", 0, out, 0, false), 2, 0, 0, 0);
    holds(out, "saved", "first text");
    holds(out, "x", "deleted");
}

static void newest_and_since(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    act_mkdir(&a, "top");
    act_mkdir(&a, "other");
    act_create(&a, "top/early", "early");
    act_create(&a, "other/not-asked", "elsewhere");
    act_delete(&a, "top/early");
    act_delete(&a, "other/not-asked");
    usleep(2000);
    uint64_t since = pc_real_ns();
    for (int i = 0; i < 3; i++) { /* three inodes at one place: the newest comes back */
        char text[16];
        snprintf(text, sizeof text, "text %d", i);
        act_create(&a, "top/same", text);
        act_delete(&a, "top/same");
    }
    act_create(&a, "top/moved", "moved out");
    act_rename(&a, "top/moved", "other/moved");
    _close_ int top = openat(f->root, "top", O_RDONLY | O_DIRECTORY);
    is(sweep(f, "top", "", since, top, 0, false), 1, 0, 0, 0);
    holds(top, "same", "text 2");
    is(sweep(f, "top", "", 0, top, 0, false), 1, 1, 0, 0);
    holds(top, "early", "early");
}

static int good_version(void *arg, const struct pc_version_info *i)
{
    struct pc_version_info *out = arg;
    if (i->size == strlen("good text"))
        *out = *i;
    return 0;
}

/* Overwritten, which is on record as damage, then deleted: what comes back is from before. */
static void damage_does_not_come_back(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    act_mkdir(&a, "top");
    act_create(&a, "top/doc", "good text");
    struct pc_fh fh = fh_of(f, "top/doc"), dir = fh_of(f, "top");
    act_write(&a, "top/doc", "ciphertext", 10, -1);
    struct pc_version_info first = {0};
    assert_int_equal(pc_store_history(f->s, f->vol, &dir, "doc", "top/doc", good_version, &first), 0);
    struct pc_act_rec damage = {.time_ns = pc_real_ns(), .actor = a.id, .op = 1, .vol = f->vol, .fh = fh, .parent = dir,
                                .name = "doc", .before = first.version, .score = 95};
    assert_int_equal(pc_store_record_act(f->s, &damage, NULL), 0); /* act_write recorded the same without a score */
    act_delete(&a, "top/doc");
    _close_ int top = openat(f->root, "top", O_RDONLY | O_DIRECTORY);
    is(sweep(f, "top", "", 0, top, 0, false), 1, 0, 0, 0);
    holds(top, "doc", "good text");
}

/* Nothing to bring back is said in words that tell why. */
static void restore_says_why(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    struct pc_step done;
    struct pc_fh dir = fh_of(f, ".");
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "no", "/no", 0, -1, NULL, &done), PC_E_NOTFOUND);
    assert_string_equal(done.why, "no version of it was ever kept");
    act_create(&a, "doc", "only text");
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "doc", "/doc", 1, -1, NULL, &done), PC_E_NOTFOUND);
    assert_non_null(strstr(done.why, "nothing was kept of that time: the oldest version is of 20"));
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "doc", "/doc", 0, -1, NULL, &done), PC_E_NOTFOUND);
    assert_string_equal(done.why, "no kept version differs from what is there now");
    if (strcmp(f->fs, "ext4") != 0)
        return;
    /* A link alone keeps nothing against truncate(2). */
    usleep(20000);
    run("truncate -s 3 %s/doc", f->mnt);
    capture(f, "doc");
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "doc", "/doc", 0, -1, NULL, &done), PC_E_NOTFOUND);
    assert_string_equal(done.why, "its old content was not kept");
}

static int all_tests(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(tree_comes_back),  T(to_another_place),          T(nothing_is_overwritten),
                                       T(newest_and_since), T(damage_does_not_come_back), T(restore_says_why)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return fixture_on_each_fs(all_tests);
}
