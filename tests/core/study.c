/*
 * Looks at every file beneath the folders named, and at what each encryption pattern would make of it: how many of each
 * kind would be missed (score below 40) and which untouched files look like ciphertext. Reads only. Not part of the
 * test suite: run it over real files when a threshold or a kind changes. `study DIR...`
 */
#include "base/cleanup.h"
#include "core/kind.h"
#include "tests_make.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SIZE_MAX_READ (24u << 20)

static uint8_t *old_bytes, *new_bytes;
static uint32_t seen[PC_KIND_COUNT], missed[PC_KIND_COUNT][MAKE_PATTERNS];
static uint64_t files, opaque_files;
static double compare_s;
static bool verbose;

static void attach(struct pc_content *c, const uint8_t *data)
{
    for (uint32_t i = 0; i < c->count; i++)
        c->win[i].data = data + c->win[i].off;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void study_pattern(const char *path, uint64_t size, int pattern)
{
    struct pc_content before, after;
    struct pc_finding f;
    size_t made = make_damage((enum make_pattern)pattern, old_bytes, size, new_bytes, 77 + size);
    pc_content_plan(size, made, 4711 + files, &before, &after);
    attach(&before, old_bytes);
    attach(&after, new_bytes);
    double t = now_s();
    pc_content_compare(&before, &after, &f);
    compare_s += now_s() - t;
    if (f.score >= 40)
        return;
    missed[f.kind_before][pattern]++;
    if (verbose)
        printf("missed %-12s score %3u  %s -> %s  %llu  %s\n", make_pattern_name((enum make_pattern)pattern), f.score,
               pc_kind_name(f.kind_before), pc_kind_name(f.kind_after), (unsigned long long)size, path);
}

static int study(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size < 64 || st->st_size > SIZE_MAX_READ)
        return 0;
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, old_bytes, SIZE_MAX_READ);
    if (n < 64)
        return 0;
    struct pc_content c;
    struct pc_look look;
    pc_content_plan_one((uint64_t)n, files, &c);
    attach(&c, old_bytes);
    pc_content_look(&c, &look);
    files++;
    seen[look.kind]++;
    if (look.opaque >= 50) {
        opaque_files++;
        printf("opaque %3u %-12s %s\n", look.opaque, pc_kind_name(look.kind), path);
        return 0;
    }
    if (verbose && look.kind == PC_KIND_UNKNOWN)
        printf("unknown %s\n", path);
    for (int p = 0; p < MAKE_PATTERNS; p++)
        study_pattern(path, (uint64_t)n, p);
    return 0;
}

int main(int argc, char **argv)
{
    old_bytes = malloc(SIZE_MAX_READ);
    new_bytes = malloc(3 * (size_t)SIZE_MAX_READ);
    for (int i = 1; old_bytes && new_bytes && i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else
            nftw(argv[i], study, 64, FTW_PHYS | FTW_MOUNT);
    }
    printf("%llu files, %llu look opaque, %.1f us a comparison\n", (unsigned long long)files,
           (unsigned long long)opaque_files, files ? compare_s * 1e6 / (double)files / MAKE_PATTERNS : 0.0);
    printf("%-24s %7s", "kind", "files");
    for (int p = 0; p < MAKE_PATTERNS; p++)
        printf(" %11s", make_pattern_name((enum make_pattern)p));
    printf("   (missed)\n");
    for (unsigned k = 0; k < PC_KIND_COUNT; k++) {
        if (!seen[k])
            continue;
        printf("%-24s %7u", pc_kind_name(k), seen[k]);
        for (int p = 0; p < MAKE_PATTERNS; p++)
            printf(" %11u", missed[k][p]);
        printf("\n");
    }
    free(old_bytes);
    free(new_bytes);
    return 0;
}
