/*
 * Owns decoys ([judge] decoys): two ordinary-looking files in each guarded folder that nobody has a reason to change.
 * One sorts first and one last, so that a program that walks the folder in order meets one early. Made by the guard
 * only, told apart by an xattr, removed again when the setting is off; a file without that mark is never touched.
 */
#include "agent/guard.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>

static const char mark[] = "trusted.portcullis.decoy";
static const char *const names[] = {"00-accounts-2024.csv", "zz-contacts.csv"};
#define DECOYS_MAX (2 * PC_SETTINGS_PATHS_MAX)
#define ROWS 400

struct pc_decoys {
    uint32_t count;
    struct {
        int vol;
        struct pc_fh fh;
    } item[DECOYS_MAX];
};

bool pc_decoys_is(const struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    const struct pc_decoys *d = g->decoys;
    for (uint32_t i = 0; d && i < d->count; i++)
        if (d->item[i].vol == vol && pc_fh_equal(&d->item[i].fh, fh))
            return true;
    return false;
}

static int write_rows(struct pc_guard *g, int fd)
{
    static const char *const words[] = {"north", "harbour", "school", "council", "water", "road", "market", "station"};
    char text[ROWS * 64];
    size_t n = 0;
    for (int i = 0; i < ROWS; i++) {
        uint64_t r = pc_guard_random(g);
        n += (size_t)snprintf(text + n, sizeof text - n, "%d;%s;%s;%u.%02u\n", 1000 + i, words[r % 8], words[r / 8 % 8],
                              (unsigned)(r >> 8 & 0xffff), (unsigned)(r >> 24) % 100);
    }
    return pc_write_all(fd, text, n);
}

/* The decoy that is there, or a new one. Descriptor; PC_E_REFUSED: somebody's file has this name. */
static int open_or_make(struct pc_guard *g, int dirfd, const char *name)
{
    char is[2];
    _close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return fgetxattr(fd, mark, is, sizeof is) == 1 ? TAKE_FD(fd) : PC_E_REFUSED;
    fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = fsetxattr(fd, mark, "1", 1, XATTR_CREATE) < 0 ? -errno : write_rows(g, fd);
    if (r < 0) {
        (void)unlinkat(dirfd, name, 0);
        return r;
    }
    return TAKE_FD(fd);
}

static void place(struct pc_guard *g, struct pc_volume *v, const struct pc_folder *f, int dirfd, const char *name)
{
    struct pc_decoys *d = g->decoys;
    struct pc_fh fh;
    _close_ int fd = open_or_make(g, dirfd, name);
    if (fd < 0 || d->count == DECOYS_MAX || pc_fh_of_fd(fd, &fh) < 0) {
        pc_event(g->log, PC_LEVEL_WARNING, "decoy", &(struct pc_event_about){.file_path = f->path},
                 "no decoy %s in %s: %s", name, f->path, fd < 0 ? pc_strerror(fd) : "limit reached");
        return;
    }
    d->item[d->count].vol = v->id;
    d->item[d->count++].fh = fh;
    pc_capture_later(g, v->id, &fh, f->dir, name, 0, PC_WHEN_SOON);
}

static void take_away(int dirfd, const char *name)
{
    char is[2];
    _close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fgetxattr(fd, mark, is, sizeof is) == 1)
        (void)unlinkat(dirfd, name, 0);
}

int pc_decoys_set(struct pc_guard *g)
{
    if (!g->decoys)
        g->decoys = calloc(1, sizeof *g->decoys);
    if (!g->decoys)
        return -ENOMEM;
    g->decoys->count = 0;
    for (uint32_t i = 0; i < g->folders; i++) {
        const struct pc_folder *f = &g->folder[i];
        struct pc_volume *v = f->vol >= 0 ? &g->volume[f->vol] : NULL;
        _close_ int dirfd = v ? pc_fh_open(v->tree_fd, pc_dirs_fh(g->dirs, f->dir), O_RDONLY | O_DIRECTORY) : -1;
        for (size_t n = 0; dirfd >= 0 && n < PC_ARRAY_SIZE(names); n++) {
            if (g->settings.decoys)
                place(g, v, f, dirfd, names[n]);
            else
                take_away(dirfd, names[n]);
        }
    }
    return 0;
}
