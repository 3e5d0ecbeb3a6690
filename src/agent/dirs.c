/* Owns the table of guarded folders. Memory only; the scan and the events feed it. */
#include "agent/dirs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct node {
    struct pc_fh fh;
    char *name;
    pc_dir parent, next; /* next: hash chain, or free list */
    uint32_t folder;
    int vol; /* 0: free */
};

struct pc_dirs {
    struct node *node; /* [0] unused */
    uint32_t used, cap, count, free_list;
    pc_dir *bucket;
    uint32_t buckets; /* power of two */
};

int pc_dirs_new(struct pc_dirs **out)
{
    struct pc_dirs *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->buckets = 1024;
    d->bucket = calloc(d->buckets, sizeof *d->bucket);
    d->cap = 512;
    d->node = calloc(d->cap, sizeof *d->node);
    d->used = 1;
    if (!d->bucket || !d->node) {
        pc_dirs_free(d);
        return -ENOMEM;
    }
    *out = d;
    return 0;
}

void pc_dirs_free(struct pc_dirs *d)
{
    if (!d)
        return;
    for (uint32_t i = 1; d->node && i < d->used; i++)
        free(d->node[i].name);
    free(d->node);
    free(d->bucket);
    free(d);
}

static uint32_t slot(const struct pc_dirs *d, int vol, const struct pc_fh *fh)
{
    return (uint32_t)((pc_fh_hash(fh) + (uint64_t)vol * 0x9e3779b97f4a7c15ULL) >> 7) & (d->buckets - 1);
}

pc_dir pc_dirs_find(const struct pc_dirs *d, int vol, const struct pc_fh *fh)
{
    for (pc_dir i = d->bucket[slot(d, vol, fh)]; i; i = d->node[i].next)
        if (d->node[i].vol == vol && pc_fh_equal(&d->node[i].fh, fh))
            return i;
    return 0;
}

static void link_node(struct pc_dirs *d, pc_dir i)
{
    pc_dir *head = &d->bucket[slot(d, d->node[i].vol, &d->node[i].fh)];
    d->node[i].next = *head;
    *head = i;
}

static void grow_buckets(struct pc_dirs *d)
{
    pc_dir *bigger = calloc((size_t)d->buckets * 2, sizeof *bigger);
    if (!bigger)
        return; /* longer chains, still right */
    free(d->bucket);
    d->bucket = bigger;
    d->buckets *= 2;
    for (pc_dir i = 1; i < d->used; i++)
        if (d->node[i].vol)
            link_node(d, i);
}

static pc_dir take_node(struct pc_dirs *d)
{
    if (d->free_list) {
        pc_dir i = d->free_list;
        d->free_list = d->node[i].next;
        return i;
    }
    if (d->used == d->cap) {
        struct node *more = reallocarray(d->node, (size_t)d->cap * 2, sizeof *more);
        if (!more)
            return 0;
        memset(more + d->cap, 0, d->cap * sizeof *more);
        d->node = more;
        d->cap *= 2;
    }
    return d->used++;
}

int pc_dirs_add(struct pc_dirs *d, int vol, const struct pc_fh *fh, pc_dir parent, const char *name, uint32_t folder,
                pc_dir *out)
{
    pc_dir known = pc_dirs_find(d, vol, fh);
    if (known) {
        int r = pc_dirs_move(d, known, parent, name);
        if (r == 0 && !parent) /* one that lay in another, and is a guarded folder of its own by now */
            d->node[known].folder = folder;
        if (r == 0)
            *out = known;
        return r;
    }
    char *copy = strdup(name);
    pc_dir i = copy ? take_node(d) : 0;
    if (!i) {
        free(copy);
        return -ENOMEM;
    }
    d->node[i] = (struct node){.fh = *fh, .name = copy, .parent = parent, .folder = folder, .vol = vol};
    link_node(d, i);
    if (++d->count > d->buckets)
        grow_buckets(d);
    *out = i;
    return 0;
}

int pc_dirs_move(struct pc_dirs *d, pc_dir dir, pc_dir parent, const char *name)
{
    struct node *n = &d->node[dir];
    if (n->parent == parent && strcmp(n->name, name) == 0)
        return 0;
    if (n->parent == 0)
        return 0; /* a guarded root keeps the owner's name for it */
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    free(n->name);
    n->name = copy;
    n->parent = parent;
    n->folder = d->node[parent].folder;
    return 0;
}

static void free_node(struct pc_dirs *d, pc_dir dir)
{
    struct node *n = &d->node[dir];
    for (pc_dir *at = &d->bucket[slot(d, n->vol, &n->fh)]; *at; at = &d->node[*at].next) {
        if (*at != dir)
            continue;
        *at = n->next;
        break;
    }
    free(n->name);
    *n = (struct node){.next = d->free_list};
    d->free_list = dir;
    d->count--;
}

/*
 * A chain longer than any real path means a loop made by events that arrived out of order: treated as beneath nothing.
 */
#define DEPTH_MAX 4096

static bool beneath(const struct pc_dirs *d, pc_dir dir, pc_dir top)
{
    for (int depth = 0; dir && depth < DEPTH_MAX; depth++, dir = d->node[dir].parent)
        if (dir == top)
            return true;
    return false;
}

void pc_dirs_drop(struct pc_dirs *d, pc_dir dir, bool leaf)
{
    if (!leaf) {
        /* Marked in a first pass, freed in a second, so that no chain is cut while others are still followed. */
        for (pc_dir i = 1; i < d->used; i++)
            if (d->node[i].vol && i != dir && beneath(d, i, dir))
                d->node[i].folder = UINT32_MAX;
        for (pc_dir i = 1; i < d->used; i++)
            if (d->node[i].vol && d->node[i].folder == UINT32_MAX)
                free_node(d, i);
    }
    free_node(d, dir);
}

void pc_dirs_drop_volume(struct pc_dirs *d, int vol)
{
    for (pc_dir i = 1; i < d->used; i++)
        if (d->node[i].vol == vol)
            free_node(d, i);
}

const struct pc_fh *pc_dirs_fh(const struct pc_dirs *d, pc_dir dir)
{
    return &d->node[dir].fh;
}

int pc_dirs_vol(const struct pc_dirs *d, pc_dir dir)
{
    return d->node[dir].vol;
}

uint32_t pc_dirs_folder(const struct pc_dirs *d, pc_dir dir)
{
    return d->node[dir].folder;
}

/* Writes text so that it ends at *end within out; false when there is no room. */
static bool prepend(char *out, size_t *end, const char *text, bool slash)
{
    size_t n = strlen(text);
    if (n + slash > *end)
        return false;
    *end -= n;
    memcpy(out + *end, text, n);
    if (slash)
        out[--*end] = '/';
    return true;
}

const char *pc_dirs_path(const struct pc_dirs *d, pc_dir dir, const char *name, char *out, size_t cap)
{
    size_t end = cap - 1;
    out[end] = 0;
    bool ok = !name || prepend(out, &end, name, true);
    for (int depth = 0; ok && dir && depth < DEPTH_MAX; depth++, dir = d->node[dir].parent) {
        const struct node *n = &d->node[dir];
        bool root = n->parent == 0;
        if (root && strcmp(n->name, "/") == 0 && out[end] == '/')
            break;
        ok = prepend(out, &end, n->name, !root);
    }
    memmove(out, out + end, cap - end);
    return out;
}
