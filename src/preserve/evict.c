/*
 * Owns retention: which versions go, when they are too old, too many, or the disk is too full. Must never take a
 * version that an open incident needs as a pre-image.
 *
 * The budget is for what was superseded long enough ago: what a verdict may still be about waits for it (undecided_ns),
 * as long as the disk has room. The reserve is for everything.
 *
 * Who goes first when room is needed: what the actor with the most superseded bytes superseded, and of that, the
 * versions that came after its own first change of the file (its own making) before the files' true pre-images. Only
 * when no actor has anything left that may go does age decide over all.
 */
#include "preserve/journal.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

enum { BATCH = 64 };
#define AGED_EVERY_NS (5 * PC_NS_PER_S)
/* Each copy takes an inode, and ext4 has as many as it was made with: so many percent are left for others. */
enum { INODES_RESERVE = 1, INODES_AHEAD = 10 };

struct batch {
    uint64_t id[BATCH];
    int64_t retired[BATCH];
    int n;
};

uint64_t pc_space_free(const struct pc_volume *v)
{
    struct statvfs f;
    return fstatvfs(v->vault_fd, &f) < 0 ? 0 : (uint64_t)f.f_bavail * f.f_frsize;
}

static uint64_t share_of(const struct pc_volume *v, uint32_t percent, uint64_t otherwise)
{
    struct statvfs f;
    return fstatvfs(v->vault_fd, &f) < 0 ? otherwise : (uint64_t)f.f_blocks * f.f_frsize / 100 * percent;
}

static uint64_t reserve_of(const struct pc_store *s, const struct pc_volume *v)
{
    return s->opts.reserve_percent ? share_of(v, s->opts.reserve_percent, s->opts.reserve_bytes)
                                   : s->opts.reserve_bytes;
}

static bool inodes_left(const struct pc_volume *v, uint32_t percent)
{
    struct statvfs f;
    if (v->can_clone || fstatvfs(v->vault_fd, &f) < 0 || !f.f_files)
        return true; /* these make inodes as they need them */
    return f.f_favail > f.f_files / 100 * percent;
}

bool pc_space_left(const struct pc_store *s, const struct pc_volume *v, uint64_t bytes)
{
    uint64_t avail = pc_space_free(v), reserve = reserve_of(s, v);
    return avail >= reserve && avail - reserve >= bytes && inodes_left(v, INODES_RESERVE);
}

static uint64_t budget_of(const struct pc_store *s, const struct pc_volume *v)
{
    uint32_t percent = s->opts.space_budget_percent;
    if (s->opts.space_budget_bytes && !percent)
        return s->opts.space_budget_bytes;
    return share_of(v, percent ? percent : 10, UINT64_MAX);
}

bool pc_store_room_ahead(struct pc_store *s, int vol, uint64_t bytes)
{
    const struct pc_volume *v = pc_volume_get(s, vol);
    if (!v)
        return false;
    uint64_t current = v->n.object_bytes > v->n.superseded_bytes ? v->n.object_bytes - v->n.superseded_bytes : 0;
    return current + bytes <= budget_of(s, v) && pc_space_left(s, v, bytes + reserve_of(s, v)) &&
           inodes_left(v, INODES_AHEAD);
}

static int collect(struct pc_store *s, sqlite3_stmt *st, struct batch *out, bool with_time)
{
    int r;
    out->n = 0;
    while ((r = pc_index_row(&s->ix, st)) > 0 && out->n < BATCH) {
        out->retired[out->n] = with_time ? sqlite3_column_int64(st, 1) : 0;
        out->id[out->n++] = pc_column_u64(st, 0);
    }
    sqlite3_reset(st);
    return r < 0 ? r : 0;
}

static int pinned(struct pc_store *s, uint64_t version)
{
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_VER_PINNED, &r);
    if (!st)
        return r;
    pc_bind_u64(st, 1, version);
    r = pc_index_row(&s->ix, st);
    sqlite3_reset(st);
    return r;
}

static int drop_one(struct pc_store *s, struct pc_volume *v, uint64_t version, uint64_t *freed)
{
    struct pc_ver ver;
    int r = pc_ver_get(s, version, &ver);
    if (r == 0)
        r = pc_ver_drop(s, &ver, freed);
    v->n.evicted += r == 0;
    return r;
}

/* Versions that may go now, of those superseded before this time. */
static int victims(struct pc_store *s, const struct pc_volume *v, int64_t before_ns, struct batch *out)
{
    int r = 0;
    uint64_t actor = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_RETIRED_TOP, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    sqlite3_bind_int64(st, 2, before_ns);
    if ((r = pc_index_row(&s->ix, st)) > 0)
        actor = pc_column_u64(st, 0);
    sqlite3_reset(st);
    out->n = 0;
    if (r > 0) {
        st = pc_index_stmt(&s->ix, PC_SQL_RETIRED_OF_ACTOR, &r);
        if (!st)
            return r;
        sqlite3_bind_int(st, 1, v->id);
        pc_bind_u64(st, 2, actor);
        sqlite3_bind_int64(st, 3, before_ns);
        r = collect(s, st, out, false);
    }
    if (r < 0 || out->n)
        return r;
    st = pc_index_stmt(&s->ix, PC_SQL_RETIRED_ANY, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    sqlite3_bind_int64(st, 2, before_ns);
    return collect(s, st, out, false);
}

static int evict(struct pc_store *s, struct pc_volume *v, uint64_t need, int64_t before_ns, uint64_t *freed)
{
    struct batch b = {.n = 0};
    int r = victims(s, v, before_ns, &b);
    *freed = 0;
    for (int i = 0; i < b.n && r == 0 && *freed < need; i++)
        r = drop_one(s, v, b.id[i], freed);
    if (r < 0)
        return r;
    return b.n ? pc_index_maybe_commit(&s->ix) : -ENOSPC;
}

int pc_evict_for_space(struct pc_store *s, struct pc_volume *v, uint64_t need)
{
    uint64_t freed;
    return evict(s, v, need, INT64_MAX, &freed);
}

/* One batch of versions older than the retention. 1: more to look at. */
static int tend_age(struct pc_store *s, struct pc_volume *v, int64_t limit)
{
    struct batch b = {.n = 0};
    uint64_t freed = 0;
    int r = 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_RETIRED_OLD, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    sqlite3_bind_int64(st, 2, v->tend_after);
    sqlite3_bind_int64(st, 3, limit);
    r = collect(s, st, &b, true);
    for (int i = 0; i < b.n && r >= 0; i++) {
        r = pinned(s, b.id[i]);
        if (r == 0)
            r = drop_one(s, v, b.id[i], &freed);
    }
    if (r < 0)
        return r;
    /* Pinned ones stay behind the cursor until the next round, so that they cannot hold up the rest. */
    v->tend_after = b.n == BATCH && b.retired[0] != b.retired[BATCH - 1] ? b.retired[BATCH - 1] - 1
                    : b.n == BATCH                                       ? b.retired[0]
                                                                         : 0;
    return b.n == BATCH;
}

/*
 * How much of what is superseded the budget is for, summed up now and then: what becomes older meanwhile waits for
 * that.
 */
static int count_aged(struct pc_store *s, struct pc_volume *v, int64_t before_ns)
{
    uint64_t now = pc_mono_ns();
    int r = 0;
    if (now < v->aged_due_ns)
        return 0;
    sqlite3_stmt *st = pc_index_stmt(&s->ix, PC_SQL_RETIRED_SINCE, &r);
    if (!st)
        return r;
    sqlite3_bind_int(st, 1, v->id);
    sqlite3_bind_int64(st, 2, before_ns);
    r = pc_index_row(&s->ix, st);
    uint64_t fresh = r > 0 ? pc_column_u64(st, 0) : 0;
    sqlite3_reset(st);
    if (r < 0)
        return r;
    v->aged_bytes = v->n.superseded_bytes > fresh ? v->n.superseded_bytes - fresh : 0;
    v->aged_due_ns = now + AGED_EVERY_NS;
    return 0;
}

/* Before when something must have been superseded to go for the budget. */
static int64_t budget_before(const struct pc_store *s, const struct pc_volume *v)
{
    uint64_t now = pc_real_ns();
    if (!s->opts.undecided_ns || s->opts.undecided_ns > now || !pc_space_left(s, v, reserve_of(s, v)))
        return INT64_MAX;
    return (int64_t)(now - s->opts.undecided_ns);
}

static int tend_budget(struct pc_store *s, struct pc_volume *v)
{
    uint64_t budget = budget_of(s, v), over = v->n.superseded_bytes > budget ? v->n.superseded_bytes - budget : 0;
    int64_t before_ns = budget_before(s, v);
    v->n.undecided_bytes = 0;
    if (over && before_ns != INT64_MAX) {
        int r = count_aged(s, v, before_ns);
        if (r < 0)
            return r;
        uint64_t due = v->aged_bytes > budget ? v->aged_bytes - budget : 0;
        v->n.undecided_bytes = over > due ? over - due : 0;
        over = due;
    }
    if (!over)
        return 0;
    uint64_t freed = 0;
    int r = evict(s, v, over, before_ns, &freed);
    v->aged_bytes -= freed < v->aged_bytes ? freed : v->aged_bytes;
    return r == -ENOSPC ? 0 : r < 0 ? r : 1; /* over it with what open incidents need: that stays */
}

static int tend_space(struct pc_store *s, struct pc_volume *v)
{
    if (pc_space_left(s, v, 0))
        return tend_budget(s, v);
    int r = pc_evict_for_space(s, v, UINT64_MAX);
    if (r == 0)
        return 1;
    v->n.degraded = true;
    snprintf(v->n.why, sizeof v->n.why,
             "less than the reserve of %llu MiB, or of %d %% of the inodes, is free and nothing may be evicted",
             (unsigned long long)(reserve_of(s, v) >> 20), INODES_RESERVE);
    return r == -ENOSPC ? 0 : r;
}

static int tend_acts(struct pc_store *s, int64_t limit)
{
    static const enum pc_sql steps[] = {PC_SQL_ACT_OLD, PC_SQL_PROC_OLD, PC_SQL_INC_OLD};
    int more = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int r = pc_index_write(&s->ix);
        sqlite3_stmt *st = r == 0 ? pc_index_stmt(&s->ix, steps[i], &r) : NULL;
        if (!st)
            return r;
        sqlite3_bind_int64(st, 1, limit);
        r = pc_index_run(&s->ix, st);
        if (r < 0)
            return r;
        more |= sqlite3_changes(s->ix.db) > 0;
    }
    return more;
}

int pc_store_tend(struct pc_store *s, uint64_t now_real_ns, uint64_t budget_ns)
{
    uint64_t end = pc_mono_ns() + budget_ns;
    int64_t limit = now_real_ns > s->opts.retention_ns ? (int64_t)(now_real_ns - s->opts.retention_ns) : 0;
    int more, stuck = 0;
    do {
        /* Acts have no index by time (it would cost every act): looked through once a minute, until none is old. */
        uint64_t now = pc_mono_ns();
        more = s->acts_due_ns > now ? 0 : tend_acts(s, limit);
        if (more == 0 && s->acts_due_ns <= now)
            s->acts_due_ns = now + 60 * PC_NS_PER_S;
        int asides = more < 0 ? 0 : pc_asides_tend(s, limit);
        stuck = asides < 0 ? asides : stuck; /* told in the end: it must not keep the disk from being emptied */
        more = more < 0 ? more : more | (asides != 0);
        for (int i = 0; i < PC_MAX_VOLUMES && more >= 0; i++) {
            if (!s->vols[i])
                continue;
            int a = tend_age(s, s->vols[i], limit), b = a < 0 ? a : tend_space(s, s->vols[i]);
            more = b < 0 ? b : more | a | b;
        }
    } while (more > 0 && pc_mono_ns() < end);
    int r = pc_index_maybe_commit(&s->ix);
    return more < 0 ? more : r < 0 ? r : stuck && more <= 0 ? stuck : more;
}
