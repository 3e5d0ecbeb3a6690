/*
 * Owns the shared progress log: creating, mapping and checking it. What the numbers mean is the report's business, and
 * who stores them is the workers'.
 */
#include "cli/drill/progress.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "cli/drill/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define VERSION 1

const char *const drill_step_names[DRILL_STEPS] = {
    [DRILL_WAITING] = "waiting", [DRILL_OPENING] = "opening", [DRILL_OPENED] = "opened",
    [DRILL_CHANGING] = "changing", [DRILL_DONE] = "done", [DRILL_BLOCKED] = "blocked",
    [DRILL_REFUSED] = "refused", [DRILL_UNSUPPORTED] = "unsupported", [DRILL_FAILED] = "failed",
};

static size_t bytes_for(uint32_t files)
{
    return sizeof(struct drill_progress) + (size_t)files * sizeof(struct drill_record);
}

static void fill(struct drill_progress *p, const struct drill_options *o, const struct drill_folder *f,
                 const struct drill_manifest *m)
{
    p->version = VERSION;
    p->record_bytes = sizeof(struct drill_record);
    p->files = m->files;
    p->processes = (uint32_t)o->processes;
    p->pattern = (uint32_t)o->pattern;
    p->path = (uint32_t)o->path;
    p->topology = (uint32_t)o->topology;
    p->rename = (uint32_t)o->rename;
    p->rate = o->rate;
    p->seed = m->seed;
    p->size = m->size;
    memcpy(p->id, f->id, sizeof f->id);
    memcpy(p->folder, f->path, sizeof p->folder);
    p->root_pid = getpid();
    for (uint32_t i = 0; i < m->files; i++)
        p->record[i].file = m->file[i];
    p->magic = DRILL_PROGRESS_MAGIC;
}

int drill_progress_create(const char *path, const struct drill_options *o, const struct drill_folder *f,
                          const struct drill_manifest *m, struct drill_progress **out)
{
    _close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    /* allocated, not sparse: a full disk must show here and not as a SIGBUS in a worker */
    int r = -posix_fallocate(fd, 0, (off_t)bytes_for(m->files));
    void *map = MAP_FAILED;
    if (r == 0) {
        map = mmap(NULL, bytes_for(m->files), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        r = map == MAP_FAILED ? -errno : 0;
    }
    if (r < 0) {
        unlink(path);
        return r;
    }
    fill(map, o, f, m);
    *out = map;
    return 0;
}

static bool is_sound(const struct drill_progress *p, uint64_t bytes)
{
    if (p->magic != DRILL_PROGRESS_MAGIC || p->version != VERSION || p->record_bytes != sizeof(struct drill_record) ||
        p->files == 0 || p->files > DRILL_FILES_MAX || bytes_for(p->files) != bytes)
        return false;
    if (p->pattern >= DRILL_PATTERNS || p->path >= DRILL_PATHS || p->topology >= DRILL_TOPOLOGIES ||
        p->rename >= DRILL_RENAMES || p->size > DRILL_SIZE_MAX)
        return false;
    if (!memchr(p->id, 0, sizeof p->id) || !memchr(p->folder, 0, sizeof p->folder))
        return false;
    for (uint32_t i = 0; i < p->files; i++) {
        const struct drill_file *f = &p->record[i].file;
        if (f->sub >= DRILL_SUBS || !memchr(f->name, 0, sizeof f->name) || strchr(f->name, '/'))
            return false;
    }
    return true;
}

int drill_progress_open(const char *path, struct drill_progress **out)
{
    _close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < sizeof(struct drill_progress))
        return PC_E_CORRUPT;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    if (!is_sound(map, (uint64_t)st.st_size)) {
        munmap(map, (size_t)st.st_size);
        return PC_E_CORRUPT;
    }
    *out = map;
    return 0;
}

void drill_progress_close(struct drill_progress *p)
{
    if (p)
        munmap(p, bytes_for(p->files));
}
