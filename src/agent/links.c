/*
 * Owns the names of files that have several (hard links). The index keeps one name a file; when another one of them is
 * replaced by a rename, only this table knows which file stood there. Memory only, filled by the walk at start and by
 * events; bounded: beyond that, a replaced second name cannot be given back its link, and status says so.
 */
#include "agent/guard.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define LINKS_MAX 65536
#define SLOTS (LINKS_MAX * 2)

struct name {
    uint64_t place; /* hash of folder and name; 0: empty, 1: was used */
    int vol;
    struct pc_fh fh;
};

struct pc_links {
    struct name *slot; /* made with the first entry: most hosts have few hard links */
    uint32_t count;
    bool full;
};

int pc_links_new(struct pc_links **out)
{
    struct pc_links *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    *out = l;
    return 0;
}

void pc_links_free(struct pc_links *l)
{
    if (!l)
        return;
    free(l->slot);
    free(l);
}

bool pc_links_full(const struct pc_guard *g)
{
    return g->links->full;
}

static uint64_t place_of(const struct pc_fh *dir, const char *name)
{
    uint64_t h = pc_fh_hash(dir) * 31 + pc_hash64(name, strlen(name));
    return h < 2 ? h + 2 : h;
}

static struct name *find(struct pc_links *l, int vol, uint64_t place)
{
    for (uint32_t i = 0; l->slot && i < SLOTS; i++) {
        struct name *n = &l->slot[(place + i) % SLOTS];
        if (n->place == place && n->vol == vol)
            return n;
        if (n->place == 0)
            return NULL;
    }
    return NULL;
}

void pc_links_note(struct pc_guard *g, int vol, const struct pc_fh *dir, const char *name, const struct pc_fh *fh)
{
    struct pc_links *l = g->links;
    uint64_t place = place_of(dir, name);
    struct name *n = find(l, vol, place);
    if (n) {
        n->fh = *fh;
        return;
    }
    if (!l->slot)
        l->slot = calloc(SLOTS, sizeof *l->slot);
    l->full = !l->slot || l->count == LINKS_MAX;
    if (l->full)
        return;
    uint64_t at = place;
    while (l->slot[at % SLOTS].place > 1)
        at++;
    l->slot[at % SLOTS] = (struct name){place, vol, *fh};
    l->count++;
}

bool pc_links_find(const struct pc_guard *g, int vol, const struct pc_fh *dir, const char *name, struct pc_fh *out)
{
    const struct name *n = find(g->links, vol, place_of(dir, name));
    if (n)
        *out = n->fh;
    return n != NULL;
}

void pc_links_forget(struct pc_guard *g, int vol, const struct pc_fh *dir, const char *name)
{
    struct name *n = find(g->links, vol, place_of(dir, name));
    if (!n)
        return;
    *n = (struct name){.place = 1};
    g->links->count--;
}
