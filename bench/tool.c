/*
 * What bench/run needs in C: timing single opens, and making very many small files. Not part of Portcullis; built by
 * bench/run with the host's compiler.
 *
 *   tool latency r|w COUNT DIR     opens and closes the files of DIR in turn; prints "p50 p99 max" in nanoseconds
 *   tool make COUNT DIR            COUNT files of a few bytes in DIR, 1,000 in each folder
 *   tool events DIR                asks the kernel for the events that Portcullis asks for, of DIR's whole file system,
 *                                  and drops them, until it is ended: what no guard that is told of changes can avoid
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAMES_MAX = 4096, PER_FOLDER = 1000 };

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t read_names(char **name)
{
    DIR *d = opendir(".");
    size_t n = 0;
    for (struct dirent *e; d && n < NAMES_MAX && (e = readdir(d));)
        if (e->d_type == DT_REG)
            name[n++] = strdup(e->d_name);
    if (d)
        closedir(d);
    return n;
}

static int latency(int flags, size_t count)
{
    static char *name[NAMES_MAX];
    size_t names = read_names(name);
    uint64_t *took = calloc(count, sizeof *took);
    if (!names || !took)
        return fail("no files to open");
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();
        int fd = open(name[i % names], flags | O_CLOEXEC);
        if (fd < 0)
            return fail(name[i % names]);
        close(fd);
        took[i] = now_ns() - start;
    }
    qsort(took, count, sizeof *took, by_value);
    printf("%llu %llu %llu\n", (unsigned long long)took[count / 2], (unsigned long long)took[count * 99 / 100],
           (unsigned long long)took[count - 1]);
    return 0;
}

static int make(size_t count)
{
    char path[64], text[64];
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%zu", i / PER_FOLDER);
        if (i % PER_FOLDER == 0 && mkdir(path, 0755) < 0)
            return fail(path);
        snprintf(path, sizeof path, "%zu/%zu.txt", i / PER_FOLDER, i);
        int n = snprintf(text, sizeof text, "record %zu of %zu\n", i, count);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, text, (size_t)n) != n)
            return fail(path);
        close(fd);
    }
    return 0;
}

/* As pc_fan_watch_open and pc_fan_watch_add (src/kern/fan.c); as the guard, 10 ms between two looks, so they can merge. */
static int events(const char *dir)
{
    static char buf[1 << 16];
    const struct timespec rest = {.tv_nsec = 10000000};
    int group = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS |
                                  FAN_REPORT_DFID_NAME_TARGET, O_RDONLY);
    if (group < 0 || fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_DELETE | FAN_RENAME |
                                       FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_ONDIR, AT_FDCWD, dir) < 0)
        return fail(dir);
    puts("ready");
    fflush(stdout);
    for (struct pollfd p = {group, POLLIN, 0};; nanosleep(&rest, NULL)) {
        poll(&p, 1, -1);
        while (read(group, buf, sizeof buf) > 0)
            ;
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "events") == 0)
        return events(argv[2]);
    size_t count = argc > 2 ? strtoul(argv[argc - 2], NULL, 10) : 0;
    if (count == 0 || chdir(argv[argc - 1]) < 0) {
        fprintf(stderr, "usage: tool latency r|w COUNT DIR | tool make COUNT DIR | tool events DIR\n");
        return 2;
    }
    if (argc == 5 && strcmp(argv[1], "latency") == 0)
        return latency(argv[2][0] == 'w' ? O_WRONLY : O_RDONLY, count);
    return argc == 4 && strcmp(argv[1], "make") == 0 ? make(count) : 2;
}
