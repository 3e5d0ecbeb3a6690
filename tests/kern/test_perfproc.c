/*
 * Forks, execs and exits from perf events: of processes that are long gone when they are read, on whatever processor they
 * ran, in the order in which they happened.
 */
#include "kern/perfproc.h"

#include "base/err.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHAIN 40
#define SEEN_MAX 100000

static struct pc_perfproc *events;

struct seen {
    struct pc_proc_event event[SEEN_MAX];
    size_t count;
};

static void note(void *arg, const struct pc_proc_event *e)
{
    struct seen *s = arg;
    if (s->count < SEEN_MAX)
        s->event[s->count++] = *e;
}

static struct seen *drain(void)
{
    struct seen *s = calloc(1, sizeof *s);
    assert_non_null(s);
    (void)pc_perfproc_drain(events, note, s);
    return s;
}

/* Where in `s` this happened, from `from` on; SEEN_MAX: not there. parent 0: any. */
static size_t find(const struct seen *s, size_t from, uint8_t what, pid_t pid, pid_t parent)
{
    for (size_t i = from; i < s->count; i++)
        if (s->event[i].what == what && s->event[i].pid == pid && (!parent || s->event[i].parent == parent))
            return i;
    return SEEN_MAX;
}

static void tell(int fd, pid_t pid)
{
    if (write(fd, &pid, sizeof pid) != (ssize_t)sizeof pid)
        _exit(1);
}

/* A process whose parent is gone makes the next one and goes, CHAIN times; each writes down its pid. */
static void run_chain(int fd)
{
    for (int n = 0; n < CHAIN; n++) {
        pid_t pid = fork();
        if (pid != 0)
            _exit(pid < 0);
        tell(fd, getpid());
    }
    _exit(0);
}

static void an_ancestry_of_the_dead(void **state)
{
    (void)state;
    free(drain());
    int p[2];
    assert_int_equal(pipe(p), 0);
    pid_t first = fork();
    assert_true(first >= 0);
    if (first == 0) {
        close(p[0]);
        run_chain(p[1]);
    }
    close(p[1]);
    pid_t pid[CHAIN + 1] = {first};
    int n = 1;
    while (n <= CHAIN && read(p[0], &pid[n], sizeof pid[n]) == (ssize_t)sizeof pid[n])
        n++;
    char more;
    assert_int_equal(read(p[0], &more, 1), 0); /* every one of them has ended, or does */
    close(p[0]);
    assert_int_equal(n, CHAIN + 1);
    assert_int_equal(waitpid(first, NULL, 0), first);
    struct seen *s = drain();
    size_t at = find(s, 0, PC_PROC_FORK, first, getpid());
    for (n = 1; n <= CHAIN && at < SEEN_MAX; n++)
        at = find(s, at, PC_PROC_FORK, pid[n], pid[n - 1]);
    assert_int_equal(n, CHAIN + 1);
    assert_true(at < SEEN_MAX);
    assert_true(find(s, 0, PC_PROC_EXIT, first, 0) < SEEN_MAX);
    free(s);
}

static void fork_then_exec_then_exit(void **state)
{
    (void)state;
    free(drain());
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct seen *s = drain();
    size_t born = find(s, 0, PC_PROC_FORK, pid, getpid());
    assert_true(born < SEEN_MAX);
    size_t became = find(s, born, PC_PROC_EXEC, pid, 0);
    assert_true(became < SEEN_MAX);
    assert_true(find(s, became, PC_PROC_EXIT, pid, 0) < SEEN_MAX);
    free(s);
}

static bool is_readable(int timeout_ms)
{
    struct pollfd p = {pc_perfproc_births_fd(events), POLLIN, 0};
    return poll(&p, 1, timeout_ms) == 1;
}

static void births_can_be_waited_for(void **state)
{
    (void)state;
    while (is_readable(0))
        free(drain());
    pid_t pid[4 * PC_CNPROC_BIRTHS];
    const size_t n = sizeof pid / sizeof pid[0];
    for (size_t i = 0; i < n; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) {
            pause();
            _exit(0);
        }
    }
    bool told = is_readable(10000);
    struct seen *s = drain();
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        known += find(s, 0, PC_PROC_FORK, pid[i], getpid()) < SEEN_MAX;
        assert_int_equal(kill(pid[i], SIGKILL), 0);
        assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
    }
    free(s);
    assert_true(told);
    assert_int_equal(known, n);
}

static void *say_who(void *tid)
{
    *(pid_t *)tid = gettid();
    return NULL;
}

static void a_thread_is_told_from_a_process(void **state)
{
    (void)state;
    free(drain());
    pthread_t thread;
    pid_t tid = 0;
    assert_int_equal(pthread_create(&thread, NULL, say_who, &tid), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct seen *s = calloc(1, sizeof *s);
    assert_non_null(s);
    for (int waits = 0; waits < 500 && find(s, 0, PC_PROC_THREAD_EXIT, tid, getpid()) == SEEN_MAX; waits++) {
        (void)poll(NULL, 0, 20); /* whoever joins a thread may be woken before its end is on record */
        (void)pc_perfproc_drain(events, note, s);
    }
    size_t born = find(s, 0, PC_PROC_THREAD, tid, getpid());
    assert_true(born < SEEN_MAX);
    assert_true(find(s, born, PC_PROC_THREAD_EXIT, tid, getpid()) < SEEN_MAX);
    assert_true(find(s, 0, PC_PROC_FORK, tid, 0) == SEEN_MAX);
    free(s);
}

/* On one processor, so that it is one buffer that fills. */
static void stay_here(cpu_set_t *before)
{
    assert_int_equal(sched_getaffinity(0, sizeof *before, before), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
}

/* More than the buffers hold: that is said, and what comes later is heard again. */
static void an_overflow_is_told(void **state)
{
    (void)state;
    free(drain());
    cpu_set_t before;
    stay_here(&before);
    struct seen *s = NULL;
    size_t lost = SEEN_MAX;
    for (int round = 0; lost == SEEN_MAX && round < 20; round++) {
        for (int n = 0; n < 5000; n++) {
            pid_t pid = vfork();
            if (pid == 0)
                _exit(0);
            assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
        free(drain()); /* the kernel says it with the next record that finds room */
        pid_t pid = vfork();
        if (pid == 0)
            _exit(0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        free(s);
        s = drain();
        lost = find(s, 0, PC_PROC_LOST, 0, 0);
        if (lost < SEEN_MAX)
            assert_true(find(s, 0, PC_PROC_FORK, pid, getpid()) < SEEN_MAX);
    }
    free(s);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_true(lost < SEEN_MAX);
}

int main(void)
{
    int r = pc_perfproc_open(&events);
    if (r < 0) {
        printf("skipped: no perf events here: %s\n", pc_strerror(r));
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ancestry_of_the_dead),
        cmocka_unit_test(fork_then_exec_then_exit),
        cmocka_unit_test(births_can_be_waited_for),
        cmocka_unit_test(a_thread_is_told_from_a_process),
        cmocka_unit_test(an_overflow_is_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pc_perfproc_close(events);
    return failed;
}
