/*
 * Every pattern by every path: the right bytes change, no others, and an undo brings back all bytes, names, modes and
 * times. What each pattern means is written down here a second time, on purpose. DRILL_TEST_DIR: where to work (a
 * file system to try); arguments: the pc-drill program.
 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)

static struct rig rig;
static char folder[400];
static struct rig_snap before;

static const char *const patterns[] = {"head-4k",   "full",      "alternate-16", "one-mib-on-off",
                                       "percent-5", "first-mib", "base64",       "wipe"};
static const struct path {
    const char *name;
    bool same_inode; /* the old name still leads to the old inode */
    bool new_name;   /* the content is under the new name */
} paths[] = {
    {"write", true, false},     {"pwritev2", true, false},     {"mmap", true, false},      {"uring", true, false},
    {"direct", true, false},    {"copy", true, false},         {"sendfile", true, false},  {"splice", true, false},
    {"truncate", true, false},  {"ftruncate", true, false},    {"o-trunc", true, false},   {"replace", false, true},
    {"punch", true, false},     {"rename-over", false, false}, {"exchange", false, false}, {"hardlink", true, false},
    {"held", true, false},
};

static bool xors(const char *pattern, size_t off)
{
    if (strcmp(pattern, "head-4k") == 0)
        return off < 4096;
    if (strcmp(pattern, "alternate-16") == 0)
        return off / 16 % 2 == 0;
    if (strcmp(pattern, "one-mib-on-off") == 0)
        return off / MIB % 2 == 0;
    if (strcmp(pattern, "first-mib") == 0)
        return off < MIB;
    return strcmp(pattern, "full") == 0;
}

/* A keystream leaves one byte in 256 as it was: so nearly all must differ inside, and none outside. */
static void check_xor(const char *pattern, const struct rig_file *old, const struct rig_file *now)
{
    size_t inside = 0, changed = 0, outside_changed = 0;
    for (size_t block = 0; block < old->len; block += 16) { /* all patterns go by multiples of 16 */
        bool in = xors(pattern, block);
        for (size_t i = block; i < old->len && i < block + 16; i++) {
            bool differs = old->data[i] != now->data[i];
            inside += in;
            changed += in && differs;
            outside_changed += !in && differs;
        }
    }
    assert_int_equal(outside_changed, 0);
    assert_true(inside >= 128);
    assert_in_range(changed * 100 / inside, 95, 100);
}

static void check_percent(const struct rig_file *old, const struct rig_file *now)
{
    size_t changed = 0, last = 0;
    for (size_t i = 0; i < old->len; i++)
        if (old->data[i] != now->data[i]) {
            changed++;
            last = i;
        }
    assert_in_range(changed * 1000 / old->len, 25, 75);
    assert_true(last > old->len / 2); /* spread over the file, not at its head */
}

static void check_base64(const struct rig_file *old, const struct rig_file *now)
{
    assert_int_equal(now->len, (old->len + 2) / 3 * 4);
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    bool seen[256] = {0};
    for (size_t i = 0; i < now->len; i++)
        seen[now->data[i]] = true;
    for (int i = 0; i < 256; i++)
        if (seen[i])
            assert_non_null(memchr(alphabet, i, sizeof alphabet - 1));
}

static void check_damage(const char *pattern, const struct rig_file *old, const struct rig_file *now)
{
    if (strcmp(pattern, "base64") == 0) {
        check_base64(old, now);
        return;
    }
    assert_int_equal(old->len, now->len);
    if (strcmp(pattern, "wipe") == 0)
        assert_true(now->data[0] == 0 && memcmp(now->data, now->data + 1, now->len - 1) == 0);
    else if (strcmp(pattern, "percent-5") == 0)
        check_percent(old, now);
    else
        check_xor(pattern, old, now);
}

static void check_all(const char *pattern, const struct path *path, const char *suffix)
{
    struct rig_snap after;
    rig_snap(folder, &after);
    assert_int_equal(after.n, before.n); /* nothing extra was left */
    for (size_t i = 0; i < before.n; i++) {
        const struct rig_file *old = &before.file[i];
        const struct rig_file *now = rig_snap_find(&after, old->path, suffix);
        assert_non_null(now);
        assert_int_equal(old->st.st_ino == now->st.st_ino, path->same_inode);
        assert_int_equal(old->st.st_mode, now->st.st_mode);
        check_damage(pattern, old, now);
    }
    rig_snap_free(&after);
}

static void check_report(const char *text)
{
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    assert_int_equal(rig_int(o, "files"), before.n);
    assert_int_equal(rig_int(o, "touched"), before.n);
    assert_int_equal(rig_int(o, "done"), before.n);
    assert_int_equal(rig_int(o, "in_flight"), 0);
    assert_int_equal(rig_int(o, "now.damaged"), before.n);
    json_decref(o);
}

static void check_undone(const char *text, const char *pattern)
{
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    assert_int_equal(rig_int(o, strcmp(pattern, "wipe") == 0 ? "recreated" : "reversed"), before.n);
    assert_int_equal(rig_int(o, "failed"), 0);
    json_decref(o);
    struct rig_snap after;
    rig_snap(folder, &after);
    rig_snap_equal(&before, &after);
    rig_snap_free(&before);
    before = after; /* the same, but for the inode numbers of files that were replaced */
}

/* One run there and back. False, after the undo, when the file system cannot do this path. */
static bool there_and_back(const char *pattern, const struct path *path, const char *rename)
{
    static char text[1 << 20];
    char key[80];
    unlink(rig.log);
    int status = rig_drill(&rig, text, sizeof text, "--run-only", folder, "--pattern", pattern, "--path", path->name,
                           "--processes", "3", "--settle", "0", "--verify", "--json", "--state-file", rig.log,
                           "--rename", rename);
    if (status == 4) {
        assert_int_equal(rig_drill(&rig, NULL, 0, "--undo", folder), 0);
        return false;
    }
    if (status)
        print_error("%s by %s: exit status %d\n", pattern, path->name, status);
    assert_int_equal(status, 0);
    check_report(text);
    bool renamed = path->new_name || strcmp(rename, "never") != 0;
    check_all(pattern, path, renamed ? ".pcdrill" : "");
    json_t *o = json_loads(text, 0, NULL);
    snprintf(key, sizeof key, "%s", json_string_value(json_object_get(o, "key")));
    json_decref(o);
    assert_int_equal(rig_drill(&rig, text, sizeof text, "--undo", folder, "--key", key, "--json"), 0);
    check_undone(text, pattern);
    return true;
}

static void prepare(const char *files, const char *size)
{
    char text[400];
    assert_int_equal(rig_drill(&rig, text, sizeof text, "--prepare-only", "--dir", rig.dir, "--seed", "7", "--files",
                               files, "--size", size), 0);
    snprintf(folder, sizeof folder, "%.*s", (int)strcspn(text, "\n"), text);
    rig_snap(folder, &before);
    assert_int_equal(before.n, strtoul(files, NULL, 10));
}

static void finish(void)
{
    assert_int_equal(rig_drill(&rig, NULL, 0, "--remove", folder), 0);
    assert_int_not_equal(access(folder, F_OK), 0);
    rig_snap_free(&before);
}

static void every_pattern_by_every_path(void **state)
{
    prepare("16", "24k");
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++)
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
            if (!there_and_back(patterns[i], &paths[p], "never")) {
                print_message("skipped: path %s is not supported by this file system or kernel\n", paths[p].name);
                break;
            }
    finish();
}

static void files_of_several_mib(void **state)
{
    /* what small files cannot tell apart: stripes, and transfers of more than a pipe or a ring entry holds */
    static const size_t striped[] = {3, 4, 5, 6}, by[] = {0, 4, 7, 14};
    prepare("4", "3M");
    for (size_t i = 0; i < 4; i++)
        for (size_t p = 0; p < 4; p++)
            if (!there_and_back(patterns[striped[i]], &paths[by[p]], "never"))
                print_message("skipped: path %s\n", paths[by[p]].name);
    finish();
}

static void renamed_before_and_after(void **state)
{
    prepare("32", "8k");
    assert_true(there_and_back("head-4k", &paths[0], "before"));
    assert_true(there_and_back("full", &paths[2], "after"));
    assert_true(there_and_back("wipe", &paths[8], "after"));
    finish();
}

static int setup(void **state)
{
    rig_init(&rig, rig.program);
    return 0;
}

static int teardown(void **state)
{
    rig_free(&rig);
    return 0;
}

int main(int argc, char **argv)
{
    rig.program = argv[argc - 1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_pattern_by_every_path, setup, teardown),
        cmocka_unit_test_setup_teardown(files_of_several_mib, setup, teardown),
        cmocka_unit_test_setup_teardown(renamed_before_and_after, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
