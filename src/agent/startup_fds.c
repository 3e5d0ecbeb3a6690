/*
 * Owns finding files that somebody already holds open for writing, or has mapped, when a folder comes under guard
 * (on-open mode): no open will ever announce their writes, so they are copied now. Must not look at who the holders
 * are: a file that may be written without an open is copied, whoever holds it. Works in small steps, after the walk.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* More held files than this are counted as uncovered: a bound on memory, far above what servers hold open. */
#define FOUND_MAX 65536
/* A file that changes under the copy is copied again this often, then counted as uncovered. */
#define TRIES 3

struct found {
    int vol;
    struct pc_fh fh;
};

struct pc_startup {
    bool wanted;
    struct found *found;
    uint32_t count, cap, next;
    uint64_t copied;
};

int pc_startup_new(struct pc_startup **out)
{
    struct pc_startup *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    *out = s;
    return 0;
}

void pc_startup_free(struct pc_startup *s)
{
    if (!s)
        return;
    free(s->found);
    free(s);
}

void pc_startup_want(struct pc_guard *g)
{
    g->startup->wanted = true;
}

uint64_t pc_startup_copied(const struct pc_guard *g)
{
    return g->startup->copied;
}

/* ---- finding ---- */

static void remember(struct pc_guard *g, const struct pc_volume *v, const struct pc_fh *fh)
{
    struct pc_startup *s = g->startup;
    for (uint32_t i = s->count; i > s->next && i + 64 > s->count; i--)
        if (s->found[i - 1].vol == v->id && pc_fh_equal(&s->found[i - 1].fh, fh))
            return; /* held twice, as children inherit it; one seen longer ago is copied once all the same */
    if (s->count == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 64;
        struct found *more = cap > FOUND_MAX ? NULL : reallocarray(s->found, cap, sizeof *more);
        if (!more) {
            pc_folder_uncovered(g, 0, v->point, PC_E_LIMIT);
            return;
        }
        s->found = more;
        s->cap = cap;
    }
    s->found[s->count++] = (struct found){v->id, *fh};
}

static void look_at(void *arg, int fd)
{
    struct pc_guard *g = arg;
    struct stat st;
    struct pc_fh fh;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return;
    struct pc_volume *v = pc_volume_by_dev(g, st.st_dev);
    if (v && v->mode == PC_MODE_ON_OPEN && pc_fh_of_fd(fd, &fh) == 0)
        remember(g, v, &fh);
}

static int holders(void *arg, pid_t pid)
{
    if (pid != getpid())
        pc_proc_each_held(pid, look_at, arg);
    return 0;
}

/* ---- copying ---- */

static int copy(struct pc_guard *g, struct pc_volume *v, const struct pc_known *k)
{
    _close_ int fd = pc_fh_open(v->tree_fd, &k->fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    struct pc_vault_copy made;
    int r = fd < 0 ? fd : PC_E_CHANGED;
    for (int i = 0; i < TRIES && r == PC_E_CHANGED; i++)
        r = pc_vault_copy_now(g->store, v->id, fd, PC_HOW_COPY, &made);
    return r < 0 ? r : pc_store_adopt_object(g->store, v->id, &k->fh, &k->parent, k->name, &made, NULL);
}

static void cover(struct pc_guard *g, const struct found *f)
{
    struct pc_volume *v = pc_volume_by_id(g, f->vol);
    struct pc_known known;
    if (!v || pc_store_lookup(g->store, v->id, &f->fh, &known) < 0 || !pc_how_is_live(known.how))
        return; /* not guarded, or copied already */
    int r = known.size > g->settings.copy_limit_bytes ? -EFBIG : copy(g, v, &known);
    if (r == 0) {
        g->startup->copied++;
        return;
    }
    char path[PATH_MAX];
    pc_dir dir = pc_dirs_find(g->dirs, v->id, &known.parent);
    pc_folder_uncovered(g, dir ? pc_dirs_folder(g->dirs, dir) : UINT32_MAX,
                        pc_dirs_path(g->dirs, dir, known.name, path, sizeof path), r);
}

bool pc_startup_step(struct pc_guard *g)
{
    struct pc_startup *s = g->startup;
    if (s->wanted) {
        s->wanted = false;
        (void)pc_proc_each(holders, g);
        pc_loops_each_held(look_at, g);
        return true;
    }
    if (s->next == s->count) {
        s->next = s->count = 0;
        return false;
    }
    cover(g, &s->found[s->next++]);
    return true;
}
