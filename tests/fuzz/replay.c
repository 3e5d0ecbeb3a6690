/*
 * Runs a fuzzer's entry point over every file in the folders named on the command line: the corpus as a regression test,
 * for compilers without libFuzzer. Linked with one fuzz_*.c.
 */
#include "base/cleanup.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

static int replay_file(int dirfd, const char *name, uint8_t *buf)
{
    _close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(name);
        return -1;
    }
    ssize_t n = read(fd, buf, INPUT_MAX);
    if (n < 0) {
        perror(name);
        return -1;
    }
    /* An exact copy, so that ASan sees a read past the end. */
    _free_ uint8_t *exact = malloc(n ? (size_t)n : 1);
    if (!exact)
        return -1;
    memcpy(exact, buf, (size_t)n);
    LLVMFuzzerTestOneInput(exact, (size_t)n);
    return 0;
}

static int replay_folder(const char *path, uint8_t *buf)
{
    _closedir_ DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }
    int count = 0;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.')
            continue;
        if (replay_file(dirfd(dir), d->d_name, buf) < 0)
            return -1;
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    _free_ uint8_t *buf = malloc(INPUT_MAX);
    if (!buf)
        return 1;
    for (int i = 1; i < argc; i++) {
        int n = replay_folder(argv[i], buf);
        if (n <= 0) {
            fprintf(stderr, "%s: no corpus\n", argv[i]);
            return 1;
        }
        printf("%s: %d inputs replayed\n", argv[i], n);
    }
    return argc > 1 ? 0 : 1;
}
