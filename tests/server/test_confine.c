/* The server's list of system calls: what it needs works, what an attacker in it would want next does not. Each in a process of its own. */
#include "proc/confine.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWERED = 0, REFUSED = 1, NO_SECCOMP = 77 };

/* Runs act in a confined child; ANSWERED when it answered 0, REFUSED when it failed with ENOSYS. */
static int confined(int (*act)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        int r = pc_confine_server();
        if (r == PC_E_UNSUPPORTED)
            _exit(NO_SECCOMP);
        if (r < 0)
            _exit(99);
        errno = 0;
        _exit(act() == 0 ? ANSWERED : errno == ENOSYS ? REFUSED : 98);
    }
    int status = 0;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_SECCOMP) {
        print_message("no filter here (a sanitizer, or a kernel without seccomp)\n");
        skip();
    }
    return WEXITSTATUS(status);
}

static int start_program(void)
{
    return execl("/bin/true", "true", NULL);
}
static int start_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : 0;
}
static int trace_parent(void)
{
    return (int)ptrace(PTRACE_SEIZE, getppid(), NULL, NULL);
}
static int raw_packets(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 ? -1 : 0;
}
static int new_user_space(void)
{
    return unshare(CLONE_NEWUSER);
}
static int make_device(void)
{
    return mknod("/tmp/portcullis-test-device", S_IFCHR | 0600, makedev(1, 3));
}
static int change_mount(void)
{
    return chroot("/tmp");
}
static int signal_others(void)
{
    return kill(getppid(), 0);
}
static int make_memfd(void)
{
    return memfd_create("x", 0) < 0 ? -1 : 0;
}
static int be_traced_again(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void what_it_has_no_use_for(void **state)
{
    int (*const acts[])(void) = {start_program, start_process, trace_parent,  raw_packets, new_user_space,
                                 make_device,   change_mount,  signal_others, make_memfd,  be_traced_again};
    for (size_t i = 0; i < PC_ARRAY_SIZE(acts); i++)
        if (confined(acts[i]) != REFUSED)
            fail_msg("act %zu was not refused", i);
}

static int write_a_file(void)
{
    char path[] = "/tmp/portcullis-confine.XXXXXX";
    int fd = mkstemp(path);
    int bad = fd < 0 || pwrite(fd, "x", 1, 0) != 1 || ftruncate(fd, 100) < 0 || fdatasync(fd) < 0 || unlink(path) < 0;
    return bad ? -1 : 0;
}
static int open_beneath(void)
{
    int dir = open("/proc/self", O_RDONLY | O_DIRECTORY), fd = pc_open_beneath(dir, "status", O_RDONLY, 0);
    return dir >= 0 && fd >= 0 ? 0 : -1;
}
static void *nothing(void *arg)
{
    return arg;
}
static int have_threads(void)
{
    pthread_t t;
    return pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0 ? 0 : -1;
}
static int listen_and_accept(void)
{
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    return s >= 0 && listen(s, 1) == 0 && accept4(s, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EAGAIN ? 0 : -1;
}
static int know_it(void)
{
    struct pc_confined c;
    return pc_confined_get(&c) == 0 && c.no_new_privs && c.seccomp && c.no_capabilities ? 0 : -1;
}

static void what_it_needs(void **state)
{
    int (*const acts[])(void) = {write_a_file, open_beneath, have_threads, listen_and_accept, know_it};
    for (size_t i = 0; i < PC_ARRAY_SIZE(acts); i++)
        if (confined(acts[i]) != ANSWERED)
            fail_msg("act %zu failed", i);
}

static void who_is_not_confined_says_so(void **state)
{
    struct pc_confined c;
    assert_int_equal(pc_confined_get(&c), 0);
    if (getppid() != 1 && geteuid() == 0)
        assert_false(c.no_new_privs && c.seccomp && c.no_capabilities);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_has_no_use_for),
        cmocka_unit_test(what_it_needs),
        cmocka_unit_test(who_is_not_confined_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
