/*
 * What bench/run needs in C: timing single opens, and making very many small files. Not part of Portcullis; built by
 * bench/run with the host's compiler.
 *
 *   tool latency r|w COUNT DIR     opens and closes the files of DIR in turn; prints "p50 p99 max" in nanoseconds
 *   tool make COUNT DIR            COUNT files of a few bytes in DIR, 1,000 in each folder
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(int argc, char **argv)
{
    size_t count = argc > 2 ? strtoul(argv[argc - 2], NULL, 10) : 0;
    if (count == 0 || chdir(argv[argc - 1]) < 0) {
        fprintf(stderr, "usage: tool latency r|w COUNT DIR | tool make COUNT DIR\n");
        return 2;
    }
    if (argc == 5 && strcmp(argv[1], "latency") == 0)
        return latency(argv[2][0] == 'w' ? O_WRONLY : O_RDONLY, count);
    return argc == 4 && strcmp(argv[1], "make") == 0 ? make(count) : 2;
}
