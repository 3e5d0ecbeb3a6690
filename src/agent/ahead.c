/*
 * Owns copying ahead (mode on-open): a hard link keeps a file against losing its name, not against truncate(2), nor
 * against writes while no guard runs. So in quiet times the content of files that have not changed for a while is
 * copied, the small ones first, as long as there is room. Then nothing of them can be lost, and their next writer need
 * not wait. Once the copies are on the disk the links go: programs see the names they made, and nobody's open is asked
 * about any more (gate_files.c).
 *
 * It runs on the main thread between everything else, with a tenth of its time, and no faster than RATE. It must not
 * preserve what changes just now: that is capture.c's.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>

/* What one file may keep the main thread for: 4 MiB are about 4 ms. Larger files are copied for their openers only. */
static const uint64_t sizes[] = {64 << 10, 1 << 20, 4 << 20};
#define RATE_BYTES_S (16u << 20)
#define WORK_NS (1 * PC_NS_PER_MS) /* small files at once */
#define PAUSE_NS (9 * PC_NS_PER_MS)
#define REST_NS (60 * PC_NS_PER_S) /* between two rounds over all files, at least */
#define SYNC_LOOK_NS (100 * PC_NS_PER_MS)
#define SYNC_MOST_NS (120 * PC_NS_PER_S) /* then the links stay until the next round */
#define FRESH_MAX 16
/*
 * When a link goes, the file has another ctime, by which tar tells that a file changed while it was read. Who opened it
 * so lately may be reading; such files are gone over again as long after, but not for ever: what is opened all the time
 * is asked about all the time.
 */
#define READ_S 10
#define PASSES 6

/* Of each file system, in this order. */
enum stage { COPIES, SYNC, LINKS };

struct pc_ahead {
    int vol;            /* being gone over; 0: none */
    uint32_t slot;      /* of guard.volume, where the next one is looked for */
    enum stage stage;
    uint32_t size;      /* COPIES: index into sizes */
    uint64_t cursor;    /* file rows up to here are done */
    uint64_t next_ns;   /* mono: not before */
    uint64_t sync_ns;   /* mono: SYNC was asked for then */
    struct {
        struct pc_fh fh;
        int64_t ctime_ns;
    } fresh[FRESH_MAX]; /* their links went a moment ago: the index is to follow */
    uint32_t freshes;
    uint32_t pass, left; /* LINKS: passes over this volume; links left to the next one */
    uint64_t linked;    /* files of this volume that have a copy, and still a link */
    uint64_t n, bytes;  /* copied since the start */
    uint64_t dropped;   /* links taken away */
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

/* All that happened is known, too: what is copied must not be what an unread event tells of. */
static bool is_quiet(const struct pc_guard *g)
{
    if (!g->ready || !g->drained || g->opens_wait || pc_stop_any_frozen(g))
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
    a->stage = COPIES;
    a->cursor = a->linked = a->size = a->pass = a->left = 0;
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

static int open_file(const struct pc_volume *v, const struct pc_fh *fh)
{
    return pc_fh_open(v->tree_fd, fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
}

static void copy(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, const struct pc_known *k)
{
    struct pc_vault_copy made;
    _close_ int fd = open_file(v, &k->fh);
    int r = fd < 0 ? fd : pc_vault_copy_now(g->store, v->id, fd, PC_HOW_COPY, &made);
    if (r == 0)
        r = pc_store_adopt_object(g->store, v->id, &k->fh, &k->parent, k->name, &made, NULL);
    if (r < 0)
        return; /* it changes just now, or cannot be read: its next opener waits for a copy, as without us */
    a->n++;
    a->linked++;
    a->bytes += k->size;
}

static void drop_link(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, const struct pc_known *k)
{
    int64_t ctime_ns;
    struct stat st;
    _close_ int fd = open_file(v, &k->fh);
    if (fd >= 0 && a->pass < PASSES - 1 && fstat(fd, &st) == 0 && pc_gate_opened_lately(g, &st, pc_mono_ns(), READ_S)) {
        a->left++;
        return;
    }
    if (fd < 0 || pc_store_unlink_link(g->store, v->id, &k->fh, &ctime_ns) < 0)
        return; /* it stays a question */
    a->dropped++;
    pc_gate_has_copy(g, v, fd);
    if (!ctime_ns)
        return; /* it changes just now: that is preserved anew */
    a->fresh[a->freshes].fh = k->fh;
    a->fresh[a->freshes++].ctime_ns = ctime_ns;
}

static void follow(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v)
{
    for (uint32_t i = 0; i < a->freshes; i++) /* one that was changed is preserved anew, and linked */
        (void)pc_store_follow_ctime(g->store, v->id, &a->fresh[i].fh, a->fresh[i].ctime_ns);
    a->freshes = 0;
}

/* There is a copy of all that there is to be one of, and the disk is to have them. */
static void end_copies(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, uint64_t now)
{
    if (!a->linked) {
        next_volume(g, a, now);
        return;
    }
    a->cursor = 0;
    a->stage = SYNC;
    a->sync_ns = pc_mono_ns();
    pc_gate_sync(g, v);
}

static void one_file(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, const struct pc_known *k,
                     uint64_t now)
{
    bool has_copy = !pc_how_is_live(k->how);
    if (a->stage == LINKS && has_copy)
        drop_link(g, a, v, k);
    a->linked += a->stage == COPIES && has_copy;
    if (a->stage == LINKS || has_copy)
        return;
    a->full = !pc_store_room_ahead(g->store, v->id, k->size);
    if (a->full)
        end_copies(g, a, v, now); /* there may be room when old versions have gone */
    else
        copy(g, a, v, k);
}

static void end_of_pass(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, uint64_t now)
{
    if (a->stage == LINKS && a->freshes)
        return; /* these first */
    a->cursor = 0;
    if (a->stage == LINKS && a->left) {
        a->left = 0;
        a->pass++;
        a->next_ns = now + READ_S * PC_NS_PER_S;
    } else if (a->stage == LINKS)
        next_volume(g, a, now);
    else if (++a->size == PC_ARRAY_SIZE(sizes))
        end_copies(g, a, v, now);
}

/* One file, or some rows without any. False when that was all for this turn. */
static bool next_file(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, uint64_t now)
{
    struct pc_known known;
    uint64_t real = pc_real_ns(), age = g->settings.copy_ahead_ns;
    uint64_t limit = sizes[a->stage == LINKS ? PC_ARRAY_SIZE(sizes) - 1 : a->size];
    if (limit > g->settings.copy_limit_bytes)
        limit = g->settings.copy_limit_bytes;
    int r = pc_store_next_link(g->store, v->id, &a->cursor, limit, real > age ? real - age : 0, &known);
    if (r == 1)
        one_file(g, a, v, &known, now);
    else if (r < 0)
        next_volume(g, a, now);
    else if (r == 0)
        end_of_pass(g, a, v, now);
    return r > 0 && a->vol == v->id && a->stage != SYNC && a->freshes < FRESH_MAX;
}

static void work(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, uint64_t now)
{
    uint64_t before = a->bytes;
    while (next_file(g, a, v, now) && pc_mono_ns() - now < WORK_NS)
        ;
    uint64_t slow = now + (a->bytes - before) * PC_NS_PER_S / RATE_BYTES_S;
    a->next_ns = a->next_ns > slow ? a->next_ns : slow;
    if (a->freshes && a->next_ns < pc_mono_ns() + PC_COARSE_CLOCK_NS)
        a->next_ns = pc_mono_ns() + PC_COARSE_CLOCK_NS;
}

static void wait_for_disk(struct pc_guard *g, struct pc_ahead *a, const struct pc_volume *v, uint64_t now)
{
    a->next_ns = now + SYNC_LOOK_NS;
    if (pc_gate_synced_ns(g, v) >= a->sync_ns)
        a->stage = LINKS;
    else if (now - a->sync_ns > SYNC_MOST_NS)
        next_volume(g, a, now);
}

void pc_ahead_step(struct pc_guard *g, uint64_t now)
{
    struct pc_ahead *a = g->ahead;
    if (!g->settings.copy_ahead_ns || now < a->next_ns)
        return;
    const struct pc_volume *v = pc_volume_by_id(g, a->vol);
    if (!v || v->read_only) {
        a->freshes = 0;
        a->next_ns = now + PAUSE_NS;
        next_volume(g, a, now);
    } else if (!is_quiet(g)) { /* others come first */
        a->next_ns = now + PC_NS_PER_S;
    } else if (a->stage == SYNC) {
        wait_for_disk(g, a, v, now);
    } else {
        a->next_ns = now + PAUSE_NS;
        if (a->freshes)
            follow(g, a, v);
        else
            work(g, a, v, now);
    }
}

uint64_t pc_ahead_next_ns(const struct pc_guard *g)
{
    return g->settings.copy_ahead_ns && g->ready ? g->ahead->next_ns : UINT64_MAX;
}

void pc_ahead_stats(const struct pc_guard *g, struct pc_ahead_stats *out)
{
    const struct pc_ahead *a = g->ahead;
    *out = (struct pc_ahead_stats){.files = a->n, .bytes = a->bytes, .links_dropped = a->dropped, .full = a->full};
}
