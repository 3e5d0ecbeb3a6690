/*
 * Owns taking a drill back: reversing the damage, removing what was added, removing the folder. Under the same checks
 * as the damage: what is not the drill's own is left alone and reported.
 */
#include "cli/drill/undo.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* All that is needed to find one file's old content again. */
struct undo {
    const struct drill_folder *f;
    const struct drill_manifest *m;
    struct drill_cipher *cipher; /* NULL: no key */
    enum drill_pattern pattern;
    uint8_t *image, *out; /* cap + 4 bytes each */
    size_t cap;
    struct pc_buf made;
};

enum found { FOUND_UNTOUCHED, FOUND_REVERSED, FOUND_RECREATED, FOUND_NOTHING };

static bool is_original(const struct drill_file *file, const void *data, size_t len)
{
    uint8_t sum[32];
    return len == file->size && drill_sha256(data, len, sum) == 0 && memcmp(sum, file->sha256, sizeof sum) == 0;
}

/* Looks for the old content in what fd holds. *data is inside u->image or u->out. */
static enum found search_file(struct undo *u, uint32_t index, int fd, const uint8_t **data)
{
    const struct drill_file *file = &u->m->file[index];
    if (fd < 0)
        return FOUND_NOTHING;
    ssize_t n = pc_pread_full(fd, u->image, u->cap, 0);
    if (n < 0)
        return FOUND_NOTHING;
    *data = u->image;
    if (is_original(file, u->image, (size_t)n))
        return FOUND_UNTOUCHED;
    struct drill_shape shape;
    drill_shape_of(u->pattern, file->size, &shape);
    uint8_t *back;
    if (!u->cipher || (uint64_t)n != shape.new_size ||
        drill_restore_image(u->cipher, index, &shape, u->image, u->out, &back) < 0 ||
        !is_original(file, back, file->size))
        return FOUND_NOTHING;
    *data = back;
    return FOUND_REVERSED;
}

static enum found make_again(struct undo *u, uint32_t index, const uint8_t **data)
{
    if (drill_document_make(u->m->seed, index, u->m->size, &u->made) < 0 ||
        !is_original(&u->m->file[index], u->made.data, u->made.len))
        return FOUND_NOTHING;
    *data = (const uint8_t *)u->made.data;
    return FOUND_RECREATED;
}

/* The descriptor of the file under its old name: the one that is there, the renamed one renamed back, or a new one. */
static int take_old_name(const struct undo *u, const struct drill_file *file, int *fd, int *renamed_fd,
                         const char *renamed)
{
    int dir = u->f->sub[file->sub];
    if (*fd >= 0)
        return 0;
    if (*renamed_fd < 0) {
        *fd = drill_folder_create_file(u->f, dir, file->name, 0600);
        return *fd < 0 ? *fd : 0;
    }
    int r = drill_folder_is_same(dir, renamed, *renamed_fd);
    if (r == 0 && renameat2(dir, renamed, dir, file->name, RENAME_NOREPLACE) < 0)
        r = -errno;
    if (r == 0)
        *fd = TAKE_FD(*renamed_fd);
    return r;
}

static int put_back(const struct drill_file *file, int fd, const uint8_t *data, bool in_place)
{
    int r = 0;
    if (!in_place) {
        r = ftruncate(fd, 0) < 0 ? -errno : 0;
        if (r == 0)
            r = pc_pwrite_all(fd, data, file->size, 0);
    }
    if (r < 0)
        return r;
    const struct timespec times[2] = {{file->mtime_s, file->mtime_ns}, {file->mtime_s, file->mtime_ns}};
    return fchmod(fd, file->mode) == 0 && futimens(fd, times) == 0 ? 0 : -errno;
}

/* Opens a name of ours; what is absent, or a new file that died unmarked, is -ENOENT. */
static int open_own(const struct drill_folder *f, int dir, const char *name)
{
    int fd = drill_folder_open_file(f, dir, name, O_RDWR, 2);
    if (fd != PC_E_REFUSED)
        return fd;
    int r = drill_folder_remove_file(f, dir, name);
    return r == 0 ? -ENOENT : PC_E_REFUSED;
}

static int undo_file(struct undo *u, uint32_t index, enum found *how)
{
    const struct drill_file *file = &u->m->file[index];
    int dir = u->f->sub[file->sub];
    if (dir < 0)
        return dir;
    char renamed[DRILL_NAME_MAX + sizeof DRILL_SUFFIX];
    snprintf(renamed, sizeof renamed, "%s%s", file->name, DRILL_SUFFIX);
    _close_ int fd = open_own(u->f, dir, file->name);
    _close_ int other = open_own(u->f, dir, renamed);
    if ((fd < 0 && fd != -ENOENT) || (other < 0 && other != -ENOENT))
        return fd < 0 && fd != -ENOENT ? fd : other;
    const uint8_t *data = NULL;
    enum found found = search_file(u, index, fd, &data);
    bool in_place = found == FOUND_UNTOUCHED;
    if (found == FOUND_NOTHING)
        found = search_file(u, index, other, &data);
    if (found == FOUND_UNTOUCHED && fd < 0)
        in_place = true; /* only renamed */
    if (found == FOUND_NOTHING)
        found = make_again(u, index, &data);
    if (found == FOUND_NOTHING)
        return PC_E_CORRUPT;
    int r = take_old_name(u, file, &fd, &other, renamed);
    if (r == 0)
        r = put_back(file, fd, data, in_place);
    if (r == 0 && other >= 0)
        r = drill_folder_remove_file(u->f, dir, renamed);
    if (r == 0)
        *how = found;
    return r;
}

static void count(struct drill_undone *n, enum found how)
{
    uint32_t *const counters[] = {&n->untouched, &n->reversed, &n->recreated};
    ++*counters[how];
}

static int remove_extras(const struct drill_folder *f, const char *link_dir)
{
    int r = 0;
    for (int i = 0; r == 0 && i < DRILL_SUBS; i++)
        if (f->sub[i] >= 0)
            r = drill_folder_remove_file(f, f->sub[i], DRILL_NOTE);
    if (r == 0 || r == -ENOENT)
        r = drill_links_remove(f, link_dir);
    return r == -ENOENT ? 0 : r;
}

static int undo_all(struct undo *u, const char *link_dir, struct drill_undone *out, int *first_err)
{
    struct drill_undone n = {0};
    int first = 0;
    for (uint32_t i = 0; i < u->m->files; i++) {
        enum found how = FOUND_NOTHING;
        int r = undo_file(u, i, &how);
        if (r == 0)
            count(&n, how);
        else
            n.failed++;
        if (r < 0 && first == 0)
            first = r;
    }
    int r = remove_extras(u->f, link_dir);
    if (r == 0 && n.failed == 0)
        r = drill_folder_remove_file(u->f, u->f->fd, DRILL_RUN); /* the folder may be run in again */
    if (r == -ENOENT)
        r = 0;
    if (r == 0 && syncfs(u->f->fd) < 0)
        r = -errno;
    *out = n;
    *first_err = first;
    return r;
}

/* Pattern and cipher from the deed; a folder that was never run in needs neither. */
static int load_deed(struct undo *u, const uint8_t *key)
{
    struct drill_deed deed;
    uint8_t check[DRILL_KEY_CHECK_BYTES];
    int r = drill_deed_read(u->f, &deed);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    u->pattern = deed.pattern;
    if (!key)
        return 0;
    r = drill_key_check(key, check);
    if (r < 0)
        return r;
    return memcmp(check, deed.key_check, sizeof check) == 0 ? drill_cipher_new(key, &u->cipher) : PC_E_REFUSED;
}

int drill_undo(const struct drill_folder *f, const uint8_t *key, const char *link_dir, struct drill_undone *out,
               int *first_err)
{
    struct drill_manifest m = {0};
    struct undo u = {.f = f, .m = &m};
    int r = drill_manifest_read(f, &m);
    if (r < 0)
        return r;
    u.cap = drill_shape_bound(drill_document_bound(m.size));
    _free_ uint8_t *image = malloc(u.cap + 4), *room = malloc(u.cap + 4);
    u.image = image;
    u.out = room;
    pc_buf_init(&u.made, 0);
    r = image && room ? load_deed(&u, key) : -ENOMEM;
    if (r == 0)
        r = undo_all(&u, link_dir, out, first_err);
    pc_buf_free(&u.made);
    drill_cipher_free(u.cipher);
    drill_manifest_free(&m);
    return r;
}

/* ---- removing ---- */

/* Removes all marked files of a folder. PC_E_REFUSED when others stayed. */
static int empty_dir(const struct drill_folder *f, int dirfd)
{
    if (dirfd < 0)
        return dirfd == -ENOENT ? 0 : dirfd;
    int again = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _closedir_ DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d) {
        int r = -errno;
        pc_closep(&again);
        return r;
    }
    int result = 0;
    const struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_type == DT_DIR) /* ".", "..", and sub-folders, which are removed by their own names */
            continue;
        int r = drill_folder_remove_file(f, dirfd, e->d_name);
        if (r < 0 && result == 0)
            result = r;
    }
    return result;
}

static int links_parent(const struct drill_folder *f, const char *link_dir, char *name, size_t cap)
{
    snprintf(name, cap, "%s%s%s", DRILL_LINKS, link_dir ? "-" : "", link_dir ? f->id : "");
    int fd = link_dir ? open(link_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int drill_links_open(const struct drill_folder *f, const char *link_dir)
{
    char name[sizeof DRILL_LINKS + DRILL_ID_HEX + 2];
    _close_ int parent = links_parent(f, link_dir, name, sizeof name);
    return parent < 0 ? parent : drill_folder_make_sub(f, parent, name);
}

int drill_links_remove(const struct drill_folder *f, const char *link_dir)
{
    char name[sizeof DRILL_LINKS + DRILL_ID_HEX + 2];
    _close_ int parent = links_parent(f, link_dir, name, sizeof name);
    if (parent < 0)
        return parent;
    _close_ int fd = pc_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int r = empty_dir(f, fd);
    return r < 0 ? r : unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int drill_remove(struct drill_folder *f, const char *link_dir)
{
    int first = drill_links_remove(f, link_dir);
    if (first == -ENOENT)
        first = 0;
    for (int i = DRILL_SUBS - 1; i >= 0; i--) {
        int r = empty_dir(f, f->sub[i]);
        if (r == 0 && unlinkat(f->fd, drill_subs[i], AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = errno == ENOTEMPTY ? PC_E_REFUSED : -errno;
        first = first < 0 ? first : r;
    }
    if (first < 0)
        return first;
    int r = empty_dir(f, f->fd);
    if (r == 0 && rmdir(f->path) < 0)
        r = errno == ENOTEMPTY ? PC_E_REFUSED : -errno;
    return r;
}
