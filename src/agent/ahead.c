/*
 * Owns copying ahead (mode on-open): a hard link keeps a file against losing its name, not against truncate(2), nor
 * against writes while no guard runs. So in quiet times the content of files that have not changed for a while is
 * copied, the small ones first, as long as there is room. Then nothing of them can be lost, and their next writer need
 * not wait.
 *
 * It runs on the main thread between everything else, one file at a time, and no faster than RATE.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>

/* What one file may keep the main thread for: 4 MiB are about 4 ms. Larger files are copied for their openers only. */
static const uint64_t sizes[] = {64 << 10, 1 << 20, 4 << 20};
#define RATE_BYTES_S (16u << 20)
#define LEAST_NS (2 * PC_NS_PER_MS) /* between two files */
#define REST_NS (60 * PC_NS_PER_S)  /* between two rounds over all files, at least */

struct pc_ahead {
    int vol;            /* being gone over; 0: none */
    uint32_t slot;      /* of guard.volume, where the next one is looked for */
    uint32_t size;      /* index into sizes */
    uint64_t cursor;    /* file rows up to here are done */
    uint64_t next_ns;   /* mono: not before */
    bool started;
    uint64_t n, bytes;  /* copied since the start */
    bool full;          /* the last one had no room */
};

int pc_ahead_new(struct pc_ahead **out)
{
    struct pc_ahead *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    *out = a;
    return 0;
}

void pc_ahead_free(struct pc_ahead *a)
{
    free(a);
}

static bool is_quiet(const struct pc_guard *g)
{
    if (!g->ready || g->opens_wait || pc_stop_any_frozen(g))
        return false;
    for (const struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id && v->gate_down)
            return false;
    return true;
}

/* The next volume in mode on-open; the end of a round otherwise. */
static void next_volume(struct pc_guard *g, struct pc_ahead *a, uint64_t now)
{
    a->vol = 0;
    a->cursor = a->size = 0;
    for (; a->slot < PC_VOLUMES_MAX; a->slot++) {
        const struct pc_volume *v = &g->volume[a->slot];
        if (v->id && v->mode == PC_MODE_ON_OPEN && !v->read_only) {
            a->vol = v->id;
            a->slot++;
            return;
        }
    }
    a->slot = 0;
    a->next_ns = now + (g->settings.copy_ahead_ns > REST_NS ? g->settings.copy_ahead_ns : REST_NS);
}

static int copy(struct pc_guard *g, const struct pc_volume *v, const struct pc_known *k)
{
    struct pc_vault_copy made;
    _close_ int fd = pc_fh_open(v->tree_fd, &k->fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    int r = fd < 0 ? fd : pc_vault_copy_now(g->store, v->id, fd, PC_HOW_COPY, &made);
    return r < 0 ? r : pc_store_adopt_object(g->store, v->id, &k->fh, &k->parent, k->name, &made, NULL);
}

static void one_file(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, const struct pc_known *k,
                     uint64_t now)
{
    a->full = !pc_store_room_ahead(g->store, v->id, k->size);
    if (a->full) {
        next_volume(g, a, now); /* there may be room when old versions have gone */
        return;
    }
    /* One that changes just now, or cannot be read: its next opener waits for a copy, as without us. */
    if (copy(g, v, k) == 0) {
        a->n++;
        a->bytes += k->size;
    }
    uint64_t pause = k->size * PC_NS_PER_S / RATE_BYTES_S;
    a->next_ns = now + (pause > LEAST_NS ? pause : LEAST_NS);
}

void pc_ahead_step(struct pc_guard *g, uint64_t now)
{
    struct pc_ahead *a = g->ahead;
    struct pc_known known;
    uint64_t age = g->settings.copy_ahead_ns;
    if (!age || now < a->next_ns)
        return;
    if (!a->started || !is_quiet(g)) { /* nothing is old enough at first, or others come first */
        a->next_ns = now + (a->started ? PC_NS_PER_S : age);
        a->started = true;
        return;
    }
    a->next_ns = now + LEAST_NS;
    const struct pc_volume *v = pc_volume_by_id(g, a->vol);
    if (!v || v->read_only) {
        next_volume(g, a, now);
        return;
    }
    uint64_t real = pc_real_ns(), limit = sizes[a->size];
    if (limit > g->settings.copy_limit_bytes)
        limit = g->settings.copy_limit_bytes;
    int r = pc_store_next_link(g->store, v->id, &a->cursor, limit, real > age ? real - age : 0, &known);
    if (r == 1) {
        one_file(g, a, v, &known, now);
    } else if (r <= 0) { /* all rows seen (an error, too, ends this volume's turn) */
        a->cursor = 0;
        if (r < 0 || ++a->size == PC_ARRAY_SIZE(sizes))
            next_volume(g, a, now);
    }
}

uint64_t pc_ahead_next_ns(const struct pc_guard *g)
{
    return g->settings.copy_ahead_ns && g->ready ? g->ahead->next_ns : UINT64_MAX;
}

void pc_ahead_stats(const struct pc_guard *g, uint64_t *files, uint64_t *bytes, bool *full)
{
    *files = g->ahead->n;
    *bytes = g->ahead->bytes;
    *full = g->ahead->full;
}
