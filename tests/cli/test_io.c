/* Files read and made whole: what is there at the bound, for what is no file, and after a failure. */
#include "base/io.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static int dir = -1;

static int up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pc-io.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -1 : 0;
}

static int down(void **state)
{
    static const char *const made[] = {"new", "there", "target", "link", "pipe"};
    (void)state;
    for (size_t i = 0; i < PC_ARRAY_SIZE(made); i++)
        (void)unlinkat(dir, made[i], 0);
    close(dir);
    return rmdir(folder); /* fails when something else was left */
}

static void holds(const char *name, const char *text)
{
    char have[64] = "";
    assert_int_equal(pc_read_file_at(dir, name, have, sizeof have), strlen(text));
    assert_string_equal(have, text);
}

static void a_new_file_is_whole(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(pc_create_file_at(dir, "new", "text", 4, 0600), 0);
    holds("new", "text");
    assert_int_equal(fstatat(dir, "new", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void what_is_there_stays(void **state)
{
    (void)state;
    assert_int_equal(pc_create_file_at(dir, "there", "first", 5, 0600), 0);
    assert_int_equal(pc_create_file_at(dir, "there", "second", 6, 0600), -EEXIST);
    holds("there", "first");
    assert_int_equal(symlinkat("target", dir, "link"), 0);
    assert_int_equal(pc_create_file_at(dir, "link", "text", 4, 0600), -EEXIST);
    assert_int_equal(faccessat(dir, "target", F_OK, 0), -1);
}

/* A write that fails half way leaves no half of a file. */
static void a_failure_leaves_nothing(void **state)
{
    struct rlimit old, small;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){2, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = pc_create_file_at(dir, "new", "text", 4, 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(r, -EFBIG);
    assert_int_equal(faccessat(dir, "new", F_OK, 0), -1);
}

static void reads_up_to_the_bound(void **state)
{
    char *text = NULL;
    size_t len = 4711;
    (void)state;
    assert_int_equal(pc_create_file_at(dir, "there", "a\0b", 3, 0600), 0);
    _close_ int fd = openat(dir, "there", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pc_read_regular(fd, 2, &text, &len), PC_E_LIMIT);
    assert_null(text);
    assert_int_equal(len, 4711);
    assert_int_equal(pc_read_regular(fd, 3, &text, &len), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a\0b", 4);
    free(text);
}

static void only_files_are_read_whole(void **state)
{
    char *text = NULL;
    size_t len;
    (void)state;
    assert_int_equal(mkfifoat(dir, "pipe", 0600), 0);
    _close_ int fd = openat(dir, "pipe", O_RDWR | O_CLOEXEC);
    assert_int_equal(pc_read_regular(fd, 100, &text, &len), PC_E_REFUSED);
    assert_int_equal(pc_read_regular(dir, 100, &text, &len), PC_E_REFUSED);
    assert_int_equal(pc_read_regular(-1, 100, &text, &len), -EBADF);
    assert_null(text);
}

/* A pipe gives what it has, piece by piece; the end is where the writer closed it, or where the buffer is full. */
static void reads_in_pieces(void **state)
{
    int ends[2];
    char have[8] = "";
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) {
        for (const char *p = "12345"; *p; p++)
            if (write(ends[1], p, 1) != 1)
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(pc_read_full(ends[0], have, 2), 2);
    assert_int_equal(pc_read_full(ends[0], have + 2, 6), 3);
    assert_string_equal(have, "12345");
    assert_int_equal(pc_read_full(ends[0], have, sizeof have), 0);
    close(ends[0]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {T(a_new_file_is_whole),   T(what_is_there_stays),      T(a_failure_leaves_nothing),
                                       T(reads_up_to_the_bound), T(only_files_are_read_whole), T(reads_in_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
