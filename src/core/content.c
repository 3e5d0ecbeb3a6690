/*
 * Owns the comparison of two versions of a file and the look at one: which windows to read, what changed between them,
 * and what that means. Reads nothing itself; kind.c tells what a file is, hist.c whether bytes are random.
 */
#include "core/content.h"

#include "core/hist.h"
#include "core/kind.h"

#include <stdio.h>
#include <string.h>

/* --- which windows to read ---------------------------------------------------------------------------------------- */

#define HEAD (64u << 10)
#define TAIL (16u << 10)
#define PROBE (8u << 10) /* two pages: a twentieth of the bytes touched in 4 KiB pieces meets a tenth of the probes */
#define PROBES 88        /* so that all of them miss it once in ten thousand times */
#define ONE_MAX (128u << 10)
#define ONE_TAIL (24u << 10)
#define ONE_PROBES 8
#define PAGE 4096u

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = (*state += 0x9e3779b97f4a7c15ULL); /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static void add_window(struct pc_content *c, uint64_t off, uint64_t len)
{
    if (len && c->count < PC_WINDOWS_MAX)
        c->win[c->count++] = (struct pc_window){.off = off, .len = (uint32_t)len};
}

/* One window at a random page of each of n equal strata of [from, to). */
static void add_probes(struct pc_content *c, uint64_t from, uint64_t to, uint32_t n, uint32_t len, uint64_t *state)
{
    uint64_t first = (from + PAGE - 1) / PAGE, last = to / PAGE, pages = len / PAGE;
    if (to <= from || last < first + n * pages)
        return;
    uint64_t stratum = (last - first) / n;
    for (uint32_t i = 0; i < n; i++)
        add_window(c, (first + i * stratum + next_random(state) % (stratum - pages + 1)) * PAGE, len);
}

/* The same offsets for a file of another length: windows past its end stay in place, with nothing in them. */
static void cut_to(struct pc_content *c, uint64_t size)
{
    c->size = size;
    for (uint32_t i = 0; i < c->count; i++) {
        struct pc_window *w = &c->win[i];
        uint64_t there = size > w->off ? size - w->off : 0;
        if (w->len > there)
            w->len = (uint32_t)there;
    }
}

void pc_content_plan(uint64_t size_before, uint64_t size_after, uint64_t seed, struct pc_content *before,
                     struct pc_content *after)
{
    uint64_t large = size_before > size_after ? size_before : size_after;
    uint64_t small = size_before + size_after - large;
    *before = (struct pc_content){0};
    if (large <= PC_CONTENT_BUDGET) {
        add_window(before, 0, large);
    } else {
        uint64_t end_tail = large - TAIL;
        /* Where the shorter one is too short to have a middle, the longer one's middle is all there is to see. */
        uint64_t to = small > HEAD + TAIL ? small - TAIL : end_tail;
        add_window(before, 0, HEAD);
        add_probes(before, HEAD, to, PROBES, PROBE, &seed);
        if (to < end_tail)
            add_window(before, to, end_tail - to < TAIL ? end_tail - to : TAIL);
        add_window(before, end_tail, TAIL);
    }
    *after = *before;
    cut_to(before, size_before);
    cut_to(after, size_after);
}

void pc_content_plan_one(uint64_t size, uint64_t seed, struct pc_content *out)
{
    *out = (struct pc_content){0};
    if (size <= ONE_MAX) {
        add_window(out, 0, size);
    } else {
        add_window(out, 0, HEAD);
        add_probes(out, HEAD, size - ONE_TAIL, ONE_PROBES, PAGE, &seed);
        add_window(out, size - ONE_TAIL, ONE_TAIL);
    }
    out->size = size;
}

/* --- one version by itself ---------------------------------------------------------------------------------------- */

/* How a version's bytes are spread over its windows, block by block. */
struct spread {
    uint32_t blocks, random, constant;
    bool head_random;
    struct pc_hist all;
};
#define SPREAD_BLOCKS 20 /* looked at, evenly over what is there: bounds the time */
#define SPREAD_BYTES 1024u /* of each block */
#define SPREAD_TEXT 4    /* the same for text, where encoded randomness alone is looked for */

static uint32_t block_count(const struct pc_content *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++)
        n += (c->win[i].len + PAGE - 1) / PAGE;
    return n;
}

static void spread_block(struct spread *s, const uint8_t *p, uint32_t n)
{
    if (n < PC_HIST_MIN)
        return;
    s->blocks++;
    if (pc_bytes_constant(p, n)) {
        s->constant++;
        return;
    }
    struct pc_hist h = {0};
    /* The end of a block: the first one begins with a header. */
    uint32_t from = n > SPREAD_BYTES ? n - SPREAD_BYTES : 0;
    pc_hist_add(&h, p + from, n - from);
    bool random = pc_hist_random(&h);
    s->random += random;
    if (s->blocks == 1)
        s->head_random = random;
    pc_hist_merge(&s->all, &h);
}

static void measure(const struct pc_content *c, uint32_t blocks, struct spread *s)
{
    uint32_t total = block_count(c), step = (total + blocks - 1) / blocks, at = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct pc_window *w = &c->win[i];
        for (uint32_t off = 0; off < w->len; off += PAGE, at++)
            if (step <= 1 || at % step == 0)
                spread_block(s, w->data + off, w->len - off < PAGE ? w->len - off : PAGE);
    }
}

/* Ciphertext-likeness of bytes that are of no known kind. */
static uint8_t opaque_unknown(const struct spread *s)
{
    uint32_t full = s->blocks - s->constant;
    if (full == 0)
        return 0;
    uint32_t percent = s->random * 100 / full;
    if (percent >= 85)
        return 100;
    /* Known formats with random beginnings do not exist; a plain tail behind one is what a hurried encryptor leaves. */
    if (s->head_random)
        return percent >= 30 ? 85 : 75;
    return percent >= 50 ? 60 : 0;
}

static uint8_t opaque_of(const struct pc_sight *sight, const struct spread *s)
{
    uint16_t flags = pc_kind_flags(sight->kind);
    if (flags & PC_KF_ENCRYPTED)
        return flags & PC_KF_OWNLOCK ? 30 : 100;
    if (sight->kind == PC_KIND_UNKNOWN)
        return pc_hist_encoded(&s->all) ? 90 : opaque_unknown(s);
    if (sight->random_inside)
        return 70;
    return sight->proof == PC_PROOF_BROKEN ? 60 : 0;
}

static void look_with(const struct pc_content *c, struct pc_look *out, struct pc_sight *sight, struct spread *s)
{
    pc_kind_of(c, sight);
    uint16_t flags = pc_kind_flags(sight->kind);
    memset(s, 0, sizeof *s);
    if (sight->kind == PC_KIND_UNKNOWN || flags & PC_KF_TEXT)
        measure(c, flags & PC_KF_TEXT ? SPREAD_TEXT : SPREAD_BLOCKS, s);
    *out = (struct pc_look){.kind = sight->kind, .opaque = opaque_of(sight, s), .textual = (flags & PC_KF_TEXT) != 0};
    if ((flags & PC_KF_TEXT) && sight->kind != PC_KIND_PEM && pc_hist_encoded(&s->all)) {
        out->kind = PC_KIND_ENCODED;
        out->opaque = 90;
    }
    out->packed = (flags & PC_KF_PACKED) && sight->proof >= PC_PROOF_STRUCTURE && sight->proof != PC_PROOF_BROKEN;
}

void pc_content_look(const struct pc_content *c, struct pc_look *out)
{
    struct pc_sight sight;
    struct spread s;
    look_with(c, out, &sight, &s);
}

/* --- what changed ------------------------------------------------------------------------------------------------- */

/* The changed bytes of both versions, block by block at the same offsets. */
struct change {
    uint64_t compared, changed; /* bytes */
    uint32_t same, to_random, random_to_random, other, filled, wiped; /* blocks */
    uint32_t interleaved; /* of to_random: changed bytes alternate with others at close range */
    bool resumes;  /* after a changed block the old content goes on at its old place: nothing was shifted */
    bool head;     /* the first block changed */
    struct pc_hist old, new; /* of changed bytes, filled and wiped blocks left out */
};
#define CHANGE_BLOCKS 64 /* changed blocks analysed in full; of more, every n-th */

#define FEW 64u /* fewer changed bytes in a block than this are a time stamp or a word */
#define LINE 64u
#define COLLECT 1024u /* changed bytes of a block looked at: enough to know their order */

static void collect_line(const uint8_t *a, const uint8_t *b, uint32_t n, struct pc_hist *ha, struct pc_hist *hb)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t differs = a[i] != b[i];
        ha->c[a[i]] += differs;
        hb->c[b[i]] += differs;
        ha->n += differs;
    }
    hb->n = ha->n;
}

/* What became of one block's changed bytes. */
struct block_change {
    uint32_t changed, filled, wiped; /* bytes; filled: there was free space, wiped: there is now */
    uint32_t lines;                  /* bytes of the lines that old and new were taken from */
    struct pc_hist old, new;         /* of the rest */
};

/* Changed bytes alone: with every other 16 bytes encrypted, the rest would hide them. */
static void collect(const uint8_t *a, const uint8_t *b, uint32_t n, struct block_change *c)
{
    for (uint32_t i = 0; i < n; i += LINE) {
        uint32_t len = n - i < LINE ? n - i : LINE;
        if (memcmp(a + i, b + i, len) == 0)
            continue;
        uint32_t before = c->old.n;
        if (pc_bytes_constant(a + i, len))
            c->filled += len;
        else if (pc_bytes_constant(b + i, len))
            c->wiped += len;
        else if (before < COLLECT) {
            collect_line(a + i, b + i, len, &c->old, &c->new);
            c->lines += len;
        }
        c->changed += c->old.n > before ? c->old.n - before : len;
    }
}

/* Nearly all of them are one value: free space, or bytes wiped. */
static bool one_value(const struct pc_hist *h)
{
    uint32_t most = 0;
    for (int b = 0; b < 256; b++)
        most = h->c[b] > most ? h->c[b] : most;
    return (uint64_t)most * 20 >= (uint64_t)h->n * 19;
}

static void count_random(struct change *c, const struct block_change *b)
{
    if (pc_hist_random(&b->old)) {
        c->random_to_random++;
        return;
    }
    c->to_random++;
    c->interleaved += b->old.n * 4 < b->lines * 3;
}

static void change_block(struct change *c, const uint8_t *a, const uint8_t *b, uint32_t n)
{
    struct block_change d = {0};
    collect(a, b, n, &d);
    c->changed += d.changed;
    bool few = d.old.n < FEW;
    if (few ? d.filled >= FEW && d.filled >= d.wiped : one_value(&d.old))
        c->filled++;
    else if (few ? d.wiped >= FEW : one_value(&d.new))
        c->wiped++;
    else if (!few && pc_hist_random(&d.new))
        count_random(c, &d);
    else
        c->other++;
    if (few || one_value(&d.old) || one_value(&d.new))
        return;
    pc_hist_merge(&c->old, &d.old);
    pc_hist_merge(&c->new, &d.new);
}

static uint32_t common_len(const struct pc_window *a, const struct pc_window *b)
{
    return a->len < b->len ? a->len : b->len;
}

static uint32_t count_changed(const struct pc_content *a, const struct pc_content *b, struct change *c)
{
    uint32_t changed = 0;
    for (uint32_t i = 0; i < a->count && i < b->count; i++) {
        uint32_t len = common_len(&a->win[i], &b->win[i]);
        for (uint32_t off = 0; off < len; off += PAGE) {
            uint32_t n = len - off < PAGE ? len - off : PAGE;
            c->compared += n;
            if (memcmp(a->win[i].data + off, b->win[i].data + off, n) != 0) {
                changed++;
                c->head |= i == 0 && off == 0;
                continue;
            }
            c->same++;
            c->resumes |= changed > 0 && n == PAGE && !pc_bytes_constant(a->win[i].data + off, n);
        }
    }
    return changed;
}

#define SAME_END 512u /* more than a tag or a date at the end that both versions have in common */

/* Both versions are as long and end alike. */
static bool ends_alike(const struct pc_content *a, const struct pc_content *b)
{
    if (a->size != b->size || a->count == 0 || a->count != b->count)
        return false;
    const struct pc_window *x = &a->win[a->count - 1], *y = &b->win[b->count - 1];
    return x->len == y->len && x->off + x->len == a->size && x->len >= SAME_END &&
           memcmp(x->data + x->len - SAME_END, y->data + y->len - SAME_END, SAME_END) == 0;
}

static void find_changes(const struct pc_content *a, const struct pc_content *b, struct change *c)
{
    *c = (struct change){0};
    uint32_t total = count_changed(a, b, c), step = (total + CHANGE_BLOCKS - 1) / CHANGE_BLOCKS, at = 0;
    for (uint32_t i = 0; total && i < a->count && i < b->count; i++) {
        uint32_t len = common_len(&a->win[i], &b->win[i]);
        for (uint32_t off = 0; off < len; off += PAGE) {
            uint32_t n = len - off < PAGE ? len - off : PAGE;
            const uint8_t *p = a->win[i].data + off, *q = b->win[i].data + off;
            if (memcmp(p, q, n) != 0 && at++ % step == 0)
                change_block(c, p, q, n);
        }
    }
    c->resumes |= total && ends_alike(a, b);
    if (step > 1)
        c->changed *= step;
    if (c->changed > c->compared)
        c->changed = c->compared;
}

/* --- what the change means ---------------------------------------------------------------------------------------- */

struct pair {
    const struct pc_content *before, *after;
    struct pc_look old, new;
    struct pc_sight old_sight, new_sight;
    struct spread old_spread, new_spread;
    struct change change;
    uint16_t old_flags, new_flags;
    bool same_size;
};

/* Each rule answers whether the case is its own; the first one that says yes has filled the finding. */
typedef bool (*rule_fn)(const struct pair *p, struct pc_finding *f);

static bool conclude(struct pc_finding *f, uint8_t score, uint32_t evidence)
{
    f->score = score;
    f->evidence = evidence;
    return true;
}

/* Nothing to lose: too small, one constant, or unreadable already. */
static bool rule_nothing_to_lose(const struct pair *p, struct pc_finding *f)
{
    bool nothing = p->before->size < PC_HIST_MIN || p->old.kind == PC_KIND_CONSTANT || p->old.kind == PC_KIND_EMPTY;
    if (nothing || (p->old.opaque >= 50 && p->new.kind != PC_KIND_EMPTY && p->new.kind != PC_KIND_CONSTANT))
        return conclude(f, 0, 0);
    return false;
}

/*
 * A line of a log begins with its time, or a bracket. A number or date that a separator follows is a table's first
 * cell.
 */
static bool is_stamped(const uint8_t *line, uint32_t len)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (const char *m = months; len >= 3 && *m; m += 3)
        if (memcmp(m, line, 3) == 0)
            return true;
    uint32_t n = 0;
    while (n < len && ((line[n] >= '0' && line[n] <= '9') || (n && strchr("-/.:", line[n]) && line[n])))
        n++;
    return n ? n == len || !line[n] || !strchr(",;\t|", line[n]) : line[0] == '[' || line[0] == '{';
}

/* Text that grows line by line and is cut when it got long: emptying that is house-keeping. */
static bool looks_like_log(const struct pc_content *c)
{
    const uint8_t *p = c->win[0].data;
    uint32_t len = c->win[0].len < 4096 ? c->win[0].len : 4096, lines = 0, stamped = 0;
    for (uint32_t i = 0; i < len; i++) {
        if (i && p[i - 1] != '\n')
            continue;
        lines++;
        stamped += is_stamped(p + i, len - i);
    }
    return lines > 0 && stamped * 3 >= lines * 2;
}

/*
 * Emptied. Plain truncation is what copytruncate, `> file` and careless savers do, so it takes dozens of files to
 * convict; overwriting at full length with one value is done by wipers alone.
 */
static bool rule_emptied(const struct pair *p, struct pc_finding *f)
{
    if (p->new.kind != PC_KIND_EMPTY && p->new.kind != PC_KIND_CONSTANT)
        return false;
    if (p->old.opaque >= 50)
        return conclude(f, 10, PC_EV_EMPTIED);
    bool log = p->old.textual && looks_like_log(p->before);
    if (p->new.kind == PC_KIND_CONSTANT && p->after->size >= p->before->size / 2)
        return conclude(f, log ? 30 : 70, PC_EV_EMPTIED | PC_EV_STRUCTURE_GONE);
    uint8_t score = log ? 0 : p->old.textual ? 4 : p->old.kind == PC_KIND_UNKNOWN ? 6 : 20;
    return conclude(f, score, PC_EV_EMPTIED);
}

static bool rule_encrypted_box(const struct pair *p, struct pc_finding *f)
{
    if (!(p->new_flags & PC_KF_ENCRYPTED) || p->new.kind == PC_KIND_ENCODED)
        return false;
    /* A document its own editor protects with a password: done on purpose, to one or two. */
    if (p->new_flags & PC_KF_OWNLOCK)
        return conclude(f, 25, PC_EV_ENCRYPTED_BOX);
    return conclude(f, 100, PC_EV_ENCRYPTED_BOX | PC_EV_UNRELATED);
}

static bool rule_encoded(const struct pair *p, struct pc_finding *f)
{
    bool unknown = p->new.kind == PC_KIND_UNKNOWN;
    bool whole = p->new.kind == PC_KIND_ENCODED || (unknown && pc_hist_encoded(&p->new_spread.all));
    if (!whole && !pc_hist_encoded(&p->change.new))
        return false;
    if (!whole && p->change.changed < 1024)
        return false;
    if (pc_hist_encoded(&p->change.old))
        return conclude(f, 0, 0);
    return conclude(f, whole ? 95 : 70, PC_EV_ENCODED | PC_EV_RANDOMISED);
}

static bool was_meaningful(const struct pair *p)
{
    return p->old.kind != PC_KIND_UNKNOWN || p->old_spread.random * 10 < p->old_spread.blocks;
}

/* The whole file is random bytes now. */
static bool rule_all_random(const struct pair *p, struct pc_finding *f)
{
    if (p->new.opaque < 100)
        return false;
    uint32_t ev = PC_EV_UNRELATED;
    if (p->old.kind != PC_KIND_UNKNOWN)
        ev |= PC_EV_STRUCTURE_GONE;
    if (!pc_hist_random(&p->old_spread.all))
        ev |= PC_EV_RANDOMISED;
    return conclude(f, was_meaningful(p) ? 100 : 60, ev);
}

static bool in_place(const struct pair *p)
{
    return p->same_size || p->change.resumes;
}

/*
 * A guest writes whole sectors, and not most of its disk between two closes of the image. Less than that cannot be told
 * from a guest that works: a striped disk image whose beginning is left alone passes, until more files follow.
 */
static bool disk_encrypted(const struct change *c)
{
    uint32_t blocks = c->same + c->to_random + c->random_to_random + c->other + c->filled + c->wiped;
    return c->to_random > 4 && (c->interleaved * 2 > c->to_random || c->to_random * 2 > blocks);
}

/* Databases and disk images are rewritten block by block by their owners, with whatever their users put in. */
static bool rule_own_blocks(const struct pair *p, struct pc_finding *f)
{
    if (!(p->new_flags & (PC_KF_PAGED | PC_KF_DISK)) || p->new.kind != p->old.kind)
        return false;
    if (p->new_sight.proof == PC_PROOF_BROKEN && p->old_sight.proof != PC_PROOF_BROKEN)
        return conclude(f, 90, PC_EV_PARTIAL | PC_EV_STRUCTURE_GONE | PC_EV_RANDOMISED);
    if (p->new_flags & PC_KF_DISK && disk_encrypted(&p->change))
        return conclude(f, 75, PC_EV_PARTIAL | PC_EV_RANDOMISED);
    return conclude(f, 0, p->change.to_random ? PC_EV_RANDOMISED : 0); /* many small scores would add up */
}

/* Pieces of the file were made random where they stand. */
static bool rule_pieces_random(const struct pair *p, struct pc_finding *f)
{
    const struct change *c = &p->change;
    if (p->new.textual || (!c->to_random && !(c->random_to_random && in_place(p))))
        return false;
    bool valid = p->new.kind != PC_KIND_UNKNOWN && p->new_sight.proof >= PC_PROOF_STRUCTURE &&
                 p->new_sight.proof != PC_PROOF_BROKEN && !p->new_sight.random_inside;
    /* Written anew, valid to the end, and as long as before by chance: sound of a constant bit rate, for example. */
    if (valid && !c->resumes && p->new_flags & PC_KF_CHECKED && c->changed * 2 > c->compared)
        return false;
    uint32_t gone = p->old.kind != PC_KIND_UNKNOWN && !valid ? PC_EV_STRUCTURE_GONE : 0;
    uint32_t ev = PC_EV_PARTIAL | gone;
    bool plain = p->old.textual || !(p->old_flags & (PC_KF_PACKED | PC_KF_CARRIER));
    if (c->to_random && p->old.textual && !p->new.textual && !valid)
        return conclude(f, 100, ev | PC_EV_RANDOMISED);
    if (c->to_random && in_place(p) && !valid)
        return conclude(f, p->old.kind == PC_KIND_UNKNOWN ? 75 : 95, ev | PC_EV_RANDOMISED);
    if (c->to_random && in_place(p))
        return conclude(f, c->to_random * 2 > c->other || plain ? 85 : 50, ev | PC_EV_RANDOMISED);
    if (in_place(p) && (p->old_flags & PC_KF_PACKED))
        return conclude(f, gone ? 95 : 75, ev);
    return gone && p->new.opaque >= 50 ? conclude(f, 90, ev) : false;
}

/* A piece was overwritten with one value. */
static bool rule_pieces_wiped(const struct pair *p, struct pc_finding *f)
{
    if (!p->change.wiped || p->old.kind == PC_KIND_UNKNOWN || p->new.kind != PC_KIND_UNKNOWN)
        return false;
    return conclude(f, 40, PC_EV_PARTIAL | PC_EV_STRUCTURE_GONE | PC_EV_EMPTIED);
}

/* Neither random nor of any known kind, where there was something known: a simple cipher, or a format of its own. */
static bool rule_scrambled(const struct pair *p, struct pc_finding *f)
{
    if (p->old.kind == PC_KIND_UNKNOWN || p->new.kind != PC_KIND_UNKNOWN || p->old_sight.proof < PC_PROOF_STRUCTURE)
        return false;
    bool all = p->change.changed * 10 > p->change.compared * 9;
    return conclude(f, all && p->same_size ? 60 : 30, PC_EV_STRUCTURE_GONE | (all ? PC_EV_UNRELATED : 0));
}

/* Valid by its frame, but what the frame holds is random bytes: ciphertext dressed up. */
static bool rule_dressed_up(const struct pair *p, struct pc_finding *f)
{
    if (!p->new_sight.random_inside || p->old_sight.random_inside)
        return false;
    return conclude(f, 80, PC_EV_UNRELATED | PC_EV_RANDOMISED);
}

static const rule_fn rules[] = {
    rule_nothing_to_lose, rule_emptied,       rule_encrypted_box, rule_encoded,      rule_all_random,
    rule_own_blocks,      rule_pieces_random, rule_dressed_up,    rule_pieces_wiped, rule_scrambled,
};

void pc_content_compare_looks(const struct pc_content *before, const struct pc_content *after, struct pc_finding *out,
                              struct pc_look *look_before, struct pc_look *look_after)
{
    struct pair p = {.before = before, .after = after, .same_size = before->size == after->size};
    struct pc_finding f = {0};
    look_with(before, &p.old, &p.old_sight, &p.old_spread);
    look_with(after, &p.new, &p.new_sight, &p.new_spread);
    p.old_flags = pc_kind_flags(p.old.kind);
    p.new_flags = pc_kind_flags(p.new.kind);
    find_changes(before, after, &p.change);
    f.kind_before = p.old.kind;
    f.kind_after = p.new.kind;
    f.changed_permil = p.change.compared ? (uint16_t)(p.change.changed * 1000 / p.change.compared) : 1000;
    bool untouched = p.change.compared && !p.change.changed && after->size >= before->size;
    for (size_t i = 0; !untouched && i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i](&p, &f))
            break;
    *out = f;
    *look_before = p.old;
    *look_after = p.new;
}

void pc_content_compare(const struct pc_content *before, const struct pc_content *after, struct pc_finding *out)
{
    struct pc_look old, new;
    pc_content_compare_looks(before, after, out, &old, &new);
}

const char *pc_evidence_text(uint32_t evidence, char *out, size_t cap)
{
    static const char *const words[] = {"structure gone",          "randomised", "unrelated to the old content",
                                        "in part",                 "emptied",    "replaced by ciphertext",
                                        "in an encrypted container", "encoded",  "ransom-like note",
                                        "decoy touched",           "reached for the vault"};
    size_t used = 0;
    if (cap)
        out[0] = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!(evidence & 1u << i) || used >= cap)
            continue;
        int n = snprintf(out + used, cap - used, "%s%s", used ? ", " : "", words[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}
