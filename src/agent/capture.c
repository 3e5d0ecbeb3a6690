/*
 * Owns the queue of files whose new content is to be preserved. The judge has always seen a change before it gets here,
 * so that preserving never replaces the pre-image a judgement still needs. Bounded: at the limit the folder is walked
 * again instead, which finds everything that changed.
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Long enough for create+write+close+chmod of one file to be one capture, short enough for "within a second". */
#define SOON_NS (150 * PC_NS_PER_MS)
/*
 * A file nobody knew is preserved within a second, but behind the burst that makes it and a thousand others, so that
 * the guard does not take the processor from who unpacks or compiles; and many temporary ones are gone by then.
 */
#define NEW_NS (700 * PC_NS_PER_MS)
/*
 * A file that is written all the time (a database, a log) is preserved after this, then after twice that, and so on to
 * HOT_MAX_NS: each clone makes the next writes copy their blocks. When preserving takes long (a clone first writes out
 * the file's dirty pages), so seldom that it takes a fiftieth of the time. What is lost at worst is the work of that
 * long.
 */
#define HOT_NS (5 * PC_NS_PER_S)
#define HOT_MAX_NS (60 * PC_NS_PER_S)
#define HOT_SHARE 50
/*
 * Where the vault's clone shares the file's blocks, the writer pays, too: the first write of a block costs this much
 * more (xfs, 6 ms a MiB measured). While it goes on writing, it is to lose at most a twentieth of its time so.
 */
#define SHARED_NS_PER_MIB (6 * PC_NS_PER_MS)
#define SHARED_SHARE 20
#define WRITTEN_NS PC_NS_PER_S /* who has not written for so long has stopped for the moment */
/*
 * on-open: a capture makes a link, at once, and it is the next opener for writing who waits for a copy of it all. So a
 * file whose copying took more than a fiftieth of this is preserved as seldom as one whose capture takes that long: a
 * database table would be copied for every connection.
 */
#define COPIED_NS PC_NS_PER_S
#define RECENT_SLOTS 4096
#define TRIES_MAX 100 /* then preserved as it is, or left to the next event */
#define BUSY_SLOTS 256
/* Files that wait to be looked at; of more, each is looked at when it is closed. */
#define UNLOOKED_MAX 8192
/* Of one deletion: files to be looked at first, how many are gone through for them, and how many of these by age. */
#define LOOKS_MAX 64
#define LOOKS_TRIED 256
#define LOOKS_NEWEST 32

struct entry {
    struct pc_fh fh;
    char *name;
    uint64_t creator, due_ns;
    uint64_t since_ns; /* when it came to wait */
    pc_actor look; /* its writer, when it is to be looked at before; else 0 */
    pid_t look_pid;
    uint32_t look_at; /* its place in pc_captures.unlooked */
    int vol;
    pc_dir dir;
    uint32_t hash_next, list_next, list_prev;
    uint8_t tries, when; /* enum pc_when */
    bool preserved;      /* by another way meanwhile: no longer unknown */
    bool closed;         /* by somebody, who waits for nothing but its being preserved */
};

struct list {
    uint32_t head, tail;
};

struct pc_captures {
    struct entry *entry; /* [0] unused */
    uint32_t max, used, free_list, waiting;
    uint32_t unlooked[UNLOOKED_MAX], unlookeds; /* entries, the newest last but for holes that were filled */
    uint32_t *bucket, buckets;
    struct list list[PC_WHENS]; /* each in order of due_ns */
    struct {
        uint64_t version, before;
    } recent[RECENT_SLOTS];
    struct {
        uint64_t file, not_before_ns, pause_ns;
    } busy[BUSY_SLOTS]; /* files that are written all the time, by hash */
};

int pc_captures_new(uint32_t max, struct pc_captures **out)
{
    struct pc_captures *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->max = max;
    c->used = 1;
    for (c->buckets = 1024; c->buckets < max / 4; c->buckets *= 2)
        ;
    /* calloc of this size is untouched memory until it is used. */
    c->entry = calloc((size_t)max + 1, sizeof *c->entry);
    c->bucket = calloc(c->buckets, sizeof *c->bucket);
    if (!c->entry || !c->bucket) {
        pc_captures_free(c);
        return -ENOMEM;
    }
    *out = c;
    return 0;
}

void pc_captures_free(struct pc_captures *c)
{
    if (!c)
        return;
    for (uint32_t i = 1; c->entry && i < c->used; i++)
        free(c->entry[i].name);
    free(c->entry);
    free(c->bucket);
    free(c);
}

static uint32_t *bucket_of(struct pc_captures *c, int vol, const struct pc_fh *fh)
{
    return &c->bucket[(pc_fh_hash(fh) + (uint64_t)vol) & (c->buckets - 1)];
}

static uint32_t find(struct pc_captures *c, int vol, const struct pc_fh *fh)
{
    for (uint32_t i = *bucket_of(c, vol, fh); i; i = c->entry[i].hash_next)
        if (c->entry[i].vol == vol && pc_fh_equal(&c->entry[i].fh, fh))
            return i;
    return 0;
}

static uint32_t take(struct pc_captures *c)
{
    if (c->free_list) {
        uint32_t i = c->free_list;
        c->free_list = c->entry[i].list_next;
        return i;
    }
    return c->used <= c->max ? c->used++ : 0;
}

static struct list *list_of(struct pc_captures *c, uint32_t i)
{
    return &c->list[c->entry[i].when];
}

static void append(struct pc_captures *c, uint32_t i)
{
    struct list *l = list_of(c, i);
    c->entry[i].list_next = 0;
    c->entry[i].list_prev = l->tail;
    if (l->tail)
        c->entry[l->tail].list_next = i;
    else
        l->head = i;
    l->tail = i;
}

static void unlink_entry(struct pc_captures *c, uint32_t i)
{
    struct entry *e = &c->entry[i];
    struct list *l = list_of(c, i);
    if (e->list_prev)
        c->entry[e->list_prev].list_next = e->list_next;
    else
        l->head = e->list_next;
    if (e->list_next)
        c->entry[e->list_next].list_prev = e->list_prev;
    else
        l->tail = e->list_prev;
}

/* Written and now closed: what waited for a pause in the writing need wait no longer. */
static void hurry(struct pc_captures *c, uint32_t i)
{
    if (c->entry[i].when != PC_WHEN_HOT)
        return;
    unlink_entry(c, i);
    c->entry[i].when = PC_WHEN_SOON;
    c->entry[i].due_ns = pc_mono_ns() + SOON_NS;
    append(c, i);
}

static void rename_entry(struct entry *e, pc_dir dir, const char *name)
{
    if (!name || (e->name && strcmp(e->name, name) == 0 && e->dir == dir))
        return;
    char *copy = strdup(name);
    if (!copy)
        return; /* the index keeps the old name until the next event */
    free(e->name);
    e->name = copy;
    e->dir = dir;
}

static void overflow(struct pc_guard *g, pc_dir dir)
{
    g->n.overflows++;
    uint32_t folder = pc_dirs_folder(g->dirs, dir);
    if (folder < g->folders)
        g->folder[folder].walk_again = true; /* once the present walk is over: it may have passed this file already */
}

void pc_capture_later(struct pc_guard *g, int vol, const struct pc_fh *fh, pc_dir dir, const char *name,
                      uint64_t creator, enum pc_when when)
{
    static const uint64_t delay_ns[PC_WHENS] = {
        [PC_WHEN_SOON] = SOON_NS, [PC_WHEN_NEW] = NEW_NS, [PC_WHEN_HOT] = HOT_NS};
    struct pc_captures *c = g->captures;
    uint32_t i = find(c, vol, fh);
    if (i) {
        if (!c->entry[i].creator)
            c->entry[i].creator = creator; /* the walk found it first, its event tells who made it */
        rename_entry(&c->entry[i], dir, name);
        if (when != PC_WHEN_HOT)
            hurry(c, i);
        c->entry[i].closed |= when == PC_WHEN_SOON;
        return; /* taken when it is due, with what the file is then */
    }
    char *copy = strdup(name);
    i = copy ? take(c) : 0;
    if (!i) {
        free(copy);
        overflow(g, dir);
        return;
    }
    uint32_t *head = bucket_of(c, vol, fh);
    uint64_t now = pc_mono_ns();
    c->entry[i] = (struct entry){.fh = *fh,
                                 .name = copy,
                                 .creator = creator,
                                 .due_ns = now + delay_ns[when],
                                 .since_ns = now,
                                 .vol = vol,
                                 .dir = dir,
                                 .when = (uint8_t)when,
                                 .closed = when == PC_WHEN_SOON,
                                 .hash_next = *head};
    *head = i;
    append(c, i);
    c->waiting++;
}

void pc_capture_written(struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    uint32_t i = find(g->captures, vol, fh);
    if (i && g->captures->entry[i].closed)
        hurry(g->captures, i);
}

bool pc_capture_is_new(struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    uint32_t i = find(g->captures, vol, fh);
    return i && g->captures->entry[i].when == PC_WHEN_NEW && !g->captures->entry[i].preserved;
}

bool pc_capture_look_first(struct pc_guard *g, int vol, const struct pc_fh *fh, pid_t pid)
{
    struct pc_captures *c = g->captures;
    uint32_t i = find(c, vol, fh);
    pc_actor actor = pc_judge_actor_of(g->judge, pid);
    if (!i || !actor || (!c->entry[i].look && c->unlookeds == UNLOOKED_MAX))
        return false;
    struct entry *e = &c->entry[i];
    if (!e->look) {
        e->look_at = c->unlookeds++;
        c->unlooked[e->look_at] = i;
    }
    e->look = actor;
    e->look_pid = pid;
    return true;
}

static void is_looked_at(struct pc_captures *c, struct entry *e)
{
    if (!e->look)
        return;
    uint32_t last = c->unlooked[--c->unlookeds];
    c->unlooked[e->look_at] = last;
    c->entry[last].look_at = e->look_at;
    e->look = 0;
}

void pc_capture_looked(struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    uint32_t i = find(g->captures, vol, fh);
    if (i)
        is_looked_at(g->captures, &g->captures->entry[i]);
}

/* A verdict may come of it, and more events be read meanwhile: nothing of the entry may be relied upon afterwards. */
static void look(struct pc_guard *g, uint32_t i)
{
    struct entry *e = &g->captures->entry[i];
    char name[256];
    snprintf(name, sizeof name, "%s", e->name);
    struct pc_unlooked u = {e->vol, e->fh, e->dir, name, e->look_pid, e->look};
    is_looked_at(g->captures, e);
    pc_acts_look_at_waiting(g, &u);
}

/*
 * The k-th to be tried: all of them when they are few; else the newest, of which one most likely stands in for what was
 * just deleted, and then by chance, so that nobody can bury what is not to be seen under more that is harmless.
 */
static uint32_t candidate(struct pc_guard *g, uint32_t k)
{
    const struct pc_captures *c = g->captures;
    if (c->unlookeds <= LOOKS_TRIED || k < LOOKS_NEWEST)
        return c->unlooked[c->unlookeds - 1 - k];
    return c->unlooked[pc_guard_random(g) % c->unlookeds];
}

void pc_capture_look_now(struct pc_guard *g, pid_t pid)
{
    struct pc_captures *c = g->captures;
    uint32_t found[LOOKS_MAX], n = 0, most = c->unlookeds < LOOKS_TRIED ? c->unlookeds : LOOKS_TRIED;
    pc_actor group = most ? pc_judge_group_of_pid(g->judge, pid) : 0;
    if (!group)
        return;
    for (uint32_t k = 0; k < most && n < LOOKS_MAX; k++) {
        uint32_t i = candidate(g, k);
        if (pc_judge_group_of(g->judge, c->entry[i].look) == group)
            found[n++] = i;
    }
    for (uint32_t k = 0; k < n; k++)
        if (c->entry[found[k]].look)
            look(g, found[k]);
}

/* When this file may be preserved again: at once, unless it is known to be busy. */
static uint64_t not_before(const struct pc_captures *c, const struct pc_fh *fh)
{
    uint64_t file = pc_fh_hash(fh);
    return c->busy[file % BUSY_SLOTS].file == file ? c->busy[file % BUSY_SLOTS].not_before_ns : 0;
}

/* Called after each capture of a file that had not been closed, or that took long. least_ns: the first pause. */
static void note_busy(struct pc_captures *c, const struct pc_fh *fh, uint64_t least_ns, uint64_t took_ns,
                      uint64_t now_ns)
{
    uint64_t file = pc_fh_hash(fh), pause = least_ns;
    __typeof__(c->busy[0]) *b = &c->busy[file % BUSY_SLOTS];
    if (b->file == file && now_ns < b->not_before_ns + 2 * b->pause_ns)
        pause = b->pause_ns * 2 < HOT_MAX_NS ? b->pause_ns * 2 : HOT_MAX_NS;
    if (pause < took_ns * HOT_SHARE)
        pause = took_ns * HOT_SHARE;
    b->file = file;
    b->pause_ns = pause;
    b->not_before_ns = now_ns + pause;
}

void pc_capture_was_copied(struct pc_guard *g, const struct pc_fh *fh, uint64_t took_ns)
{
    if (took_ns * HOT_SHARE >= COPIED_NS)
        note_busy(g->captures, fh, took_ns * HOT_SHARE, took_ns, pc_mono_ns());
}

static void drop(struct pc_captures *c, uint32_t i)
{
    struct entry *e = &c->entry[i];
    for (uint32_t *at = bucket_of(c, e->vol, &e->fh); *at; at = &c->entry[*at].hash_next) {
        if (*at != i)
            continue;
        *at = e->hash_next;
        break;
    }
    is_looked_at(c, e);
    free(e->name);
    *e = (struct entry){.list_next = c->free_list};
    c->free_list = i;
    c->waiting--;
}

void pc_capture_forget(struct pc_guard *g, int vol, const struct pc_fh *fh)
{
    uint32_t i = find(g->captures, vol, fh);
    if (!i)
        return;
    unlink_entry(g->captures, i);
    drop(g->captures, i);
}

/*
 * New files are not left for later while somebody may be destroying files; nor taken while they are still being made.
 */
static bool due(const struct pc_guard *g, enum pc_when when, uint64_t now_ns)
{
    const struct pc_captures *c = g->captures;
    uint32_t head = c->list[when].head;
    uint64_t early = when == PC_WHEN_NEW && pc_gate_alert(g) ? NEW_NS - SOON_NS : 0;
    return head && c->entry[head].due_ns <= now_ns + early;
}

static struct list *due_list(struct pc_guard *g, uint64_t now_ns)
{
    for (enum pc_when when = 0; when < PC_WHENS; when++)
        if (due(g, when, now_ns))
            return &g->captures->list[when];
    return NULL;
}

bool pc_capture_due(const struct pc_guard *g, uint64_t now_ns)
{
    bool any = false;
    for (enum pc_when when = 0; when < PC_WHENS; when++)
        any |= due(g, when, now_ns);
    return any;
}

uint64_t pc_capture_next_ns(const struct pc_guard *g)
{
    const struct pc_captures *c = g->captures;
    uint64_t next = UINT64_MAX;
    for (enum pc_when when = 0; when < PC_WHENS; when++)
        if (c->list[when].head && c->entry[c->list[when].head].due_ns < next)
            next = c->entry[c->list[when].head].due_ns;
    return next;
}

uint32_t pc_captures_waiting(const struct pc_guard *g)
{
    return g->captures->waiting;
}

uint64_t pc_capture_before(const struct pc_guard *g, uint64_t version)
{
    const struct pc_captures *c = g->captures;
    return c->recent[version % RECENT_SLOTS].version == version ? c->recent[version % RECENT_SLOTS].before : 0;
}

int pc_capture_now(struct pc_guard *g, struct pc_volume *v, int fd, const struct pc_fh *fh, pc_dir dir,
                   const char *name, uint64_t creator)
{
    struct pc_known known;
    bool is_new = pc_store_lookup(g->store, v->id, fh, &known) < 0 || known.gone;
    uint64_t before = is_new ? 0 : known.version, version = 0;
    int r = pc_store_capture(g->store, v->id, fd, fh, pc_dirs_fh(g->dirs, dir), name, creator, &version);
    uint32_t folder = pc_dirs_folder(g->dirs, dir);
    if (r < 0) {
        if (r != PC_E_CHANGED) {
            char path[PATH_MAX];
            g->n.capture_errors++;
            pc_folder_uncovered(g, folder, pc_dirs_path(g->dirs, dir, name, path, sizeof path), r);
        }
        return r;
    }
    uint32_t waits = find(g->captures, v->id, fh);
    if (waits)
        g->captures->entry[waits].preserved = true;
    g->n.captures++;
    if (is_new && folder < g->folders)
        g->folder[folder].covered++;
    if (version != before) {
        g->captures->recent[version % RECENT_SLOTS].version = version;
        g->captures->recent[version % RECENT_SLOTS].before = before;
    }
    return 0;
}

/*
 * The live file by handle: looked at before it is opened, since opening a fifo or device has effects. One that only the
 * vault's link keeps was deleted: preserved again, it would be a file that is there, and never make room.
 */
static int open_live(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh)
{
    _close_ int fd = pc_fh_open(v->tree_fd, fh, O_PATH);
    struct stat st;
    struct pc_known known;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    bool linked = st.st_nlink == 1 && pc_store_lookup(g->store, v->id, fh, &known) == 0 && known.linked;
    if (st.st_nlink == 0 || linked)
        return -ENOENT;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return pc_fh_open(v->tree_fd, fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    return TAKE_FD(fd);
}

static void again(struct pc_captures *c, uint32_t i, uint64_t now_ns)
{
    struct entry *e = &c->entry[i];
    e->due_ns = now_ns + HOT_NS;
    e->when = PC_WHEN_HOT;
    append(c, i);
}

/*
 * Come upon by a walk before its own event was read: once it is preserved, that event would look like a further name of
 * an old file, and a rollback would take it for somebody's who was there first.
 */
static bool awaits_event(struct pc_guard *g, const struct entry *e)
{
    struct pc_known known;
    return !e->creator && !g->drained && pc_store_lookup(g->store, e->vol, &e->fh, &known) < 0;
}

/* For how long who goes on writing to a file of this size is to be left alone. */
static uint64_t writers_pause(const struct pc_guard *g, const struct pc_volume *v, uint64_t size)
{
    uint64_t pause = pc_store_can_clone(g->store, v->id) ? (size >> 20) * SHARED_NS_PER_MIB * SHARED_SHARE : 0;
    return pause < HOT_NS ? 0 : pause < HOT_MAX_NS ? pause : HOT_MAX_NS;
}

/*
 * Somebody writes to it without closing it, whoever else has closed it, and would pay for the clone more than the share
 * that we take: it waits until that share is small enough, or nobody has written for a moment. Not while somebody may
 * be destroying files.
 */
static bool is_left_alone(const struct pc_guard *g, const struct pc_volume *v, const struct entry *e, int fd,
                          uint64_t now_ns)
{
    struct stat st;
    if (e->when == PC_WHEN_NEW || pc_gate_alert(g) || fstat(fd, &st) < 0)
        return false;
    int64_t ctime_ns = pc_file_ns(st.st_ctim);
    bool written = (int64_t)pc_real_ns() - ctime_ns < (int64_t)WRITTEN_NS;
    if (!written || (e->when == PC_WHEN_SOON && !pc_acts_is_muted(g, e->vol, &e->fh)))
        return false;
    return now_ns - e->since_ns < writers_pause(g, v, (uint64_t)st.st_size);
}

static void later(struct pc_captures *c, uint32_t i, uint64_t now_ns)
{
    c->entry[i].due_ns = now_ns + SOON_NS;
    append(c, i);
}

/*
 * It is not to be preserved just now: it was put back into the queue. Who writes faster than the disk takes it is left
 * alone as long as a busy file is at most.
 */
static bool waits_on(struct pc_guard *g, const struct pc_volume *v, uint32_t i, int fd, uint64_t now_ns,
                     uint64_t *took_ns)
{
    struct pc_captures *c = g->captures;
    const struct entry *e = &c->entry[i];
    bool alone = is_left_alone(g, v, e, fd, now_ns);
    enum pc_flushed flushed = alone ? PC_FLUSH_OUT : pc_flush_ask(g, v, fd, &e->fh, took_ns);
    if (alone || (flushed == PC_FLUSH_AGAIN && now_ns - e->since_ns < HOT_MAX_NS))
        again(c, i, now_ns);
    else if (flushed == PC_FLUSH_WAITS)
        later(c, i, now_ns);
    else
        return false;
    return true;
}

bool pc_capture_step(struct pc_guard *g, uint64_t now_ns)
{
    struct pc_captures *c = g->captures;
    struct list *l = due_list(g, now_ns);
    if (!l)
        return false;
    uint32_t i = l->head;
    struct entry *e = &c->entry[i];
    if (e->look) { /* the judge sees it before it is preserved, as it sees every change */
        look(g, i);
        return true;
    }
    unlink_entry(c, i);
    if (not_before(c, &e->fh) > now_ns) {
        again(c, i, now_ns);
        return true;
    }
    if (e->tries < TRIES_MAX && awaits_event(g, e)) {
        e->tries++;
        later(c, i, now_ns);
        return true;
    }
    struct pc_volume *v = pc_volume_by_id(g, e->vol);
    _close_ int fd = v ? open_live(g, v, &e->fh) : -ENODEV;
    uint64_t took_ns = 0;
    if (fd >= 0 && waits_on(g, v, i, fd, now_ns, &took_ns))
        return true;
    /* Its folder may have been dropped while it waited. */
    bool known_dir = v && pc_dirs_vol(g->dirs, e->dir) == e->vol;
    int r = fd < 0 || !known_dir ? -ENOENT : pc_capture_now(g, v, fd, &e->fh, e->dir, e->name, e->creator);
    uint64_t end_ns = pc_mono_ns();
    pc_flush_cloned(g, end_ns - now_ns);
    took_ns += end_ns - now_ns;
    if (e->when == PC_WHEN_HOT || took_ns * HOT_SHARE > HOT_NS)
        note_busy(c, &e->fh, HOT_NS, took_ns, end_ns);
    if (r == PC_E_CHANGED && e->tries++ < TRIES_MAX)
        again(c, i, now_ns);
    else
        drop(c, i);
    return true;
}
