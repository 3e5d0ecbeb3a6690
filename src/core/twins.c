/*
 * Owns the memory of files made and deleted lately, and how well one fits the other. Decides nothing: weigh.c says what
 * is remembered and what a fit is worth to the verdict. The reasons behind the table of fits are in
 * docs/decisions/0003-verdict-rules.md.
 */
#include "core/twins.h"

#include "core/heirs.h"
#include "core/kind.h"

#include <errno.h>
#include <stdlib.h>

#define SECOND 1000000000ULL
#define HINTS 4096u
#define NOBODY_SMALLER 32
/* The files of one large package: dpkg removes its backups when it has unpacked them all. */
#define SUCCEEDED 8192u
/* An archive of text is rarely smaller than a twentieth of it; 7z at its best reaches a thirtieth. */
#define CIPHER_RATIO 20
#define BOX_RATIO 40
/* Two files of this size that differ by less than a header and a tag have something to do with each other. */
#define EXACT_MIN (16u << 10)
#define EXACT_SLACK 64
/* Ciphertext that does not say what it holds speaks for many files only when it is large. */
#define COVER_MIN (1u << 20)
/* Which of the last files made outside the guarded folders may stand for a deleted one: by its exact size, by about. */
#define OUTSIDE_EXACT 16
#define OUTSIDE_TIGHT 8
/* Deleting first and writing after happens within seconds, for the data is in memory meanwhile. */
#define GONE_NS (30 * SECOND)
/* Encrypting a file and removing it are one piece of work: a minute later it is chance. */
#define NEAR_NS (60 * SECOND)

int pc_twins_init(struct pc_twins *t, struct pc_lineage *lin)
{
    *t = (struct pc_twins){.lin = lin};
    t->credit = calloc(PC_TWINS_CREDITS, sizeof *t->credit);
    t->credit_of = calloc(HINTS, sizeof *t->credit_of);
    t->sound = calloc(PC_TWINS_SOUNDS, sizeof *t->sound);
    t->gone = calloc(PC_TWINS_GONE, sizeof *t->gone);
    t->made = calloc(PC_TWINS_MADE, sizeof *t->made);
    t->succeeded = calloc(SUCCEEDED, sizeof *t->succeeded);
    if (!t->credit || !t->credit_of || !t->sound || !t->gone || !t->made || !t->succeeded) {
        pc_twins_fini(t);
        return -ENOMEM;
    }
    return 0;
}

void pc_twins_fini(struct pc_twins *t)
{
    free(t->credit);
    free(t->credit_of);
    free(t->sound);
    free(t->gone);
    free(t->made);
    free(t->succeeded);
    *t = (struct pc_twins){.lin = t->lin};
}

enum pc_twin pc_twin_of(const struct pc_look *look, uint64_t size)
{
    uint8_t flags = pc_kind_flags(look->kind);
    if (size < NOBODY_SMALLER)
        return PC_TWIN_NONE;
    if (look->kind == PC_KIND_CONSTANT)
        return PC_TWIN_BLANK;
    if (look->opaque < 50)
        return PC_TWIN_NONE;
    if (look->kind == PC_KIND_ENCODED)
        return PC_TWIN_ENCODED;
    if (flags & PC_KF_ENCRYPTED)
        return flags & PC_KF_ARCHIVE ? PC_TWIN_ARCHIVE : PC_TWIN_BOX;
    return look->kind == PC_KIND_UNKNOWN && look->opaque >= 75 ? PC_TWIN_CIPHER : PC_TWIN_DOUBTFUL;
}

static bool is_old(uint64_t then_ns, uint64_t now_ns, uint64_t span_ns)
{
    return now_ns > then_ns && now_ns - then_ns > span_ns;
}

/* --- credits ------------------------------------------------------------------------------------------------------ */

static uint16_t *hint(const struct pc_twins *t, uint64_t file)
{
    return &t->credit_of[(file * 0x9e3779b97f4a7c15ULL >> 40) % HINTS];
}

static void forget_credit(struct pc_twins *t, struct pc_credit *c)
{
    if (!c->owner)
        return;
    pc_lineage_add_opaque(t->lin, c->owner, -1);
    *c = (struct pc_credit){0};
}

static struct pc_credit *credit_of_file(const struct pc_twins *t, uint64_t file)
{
    uint16_t k = *hint(t, file);
    struct pc_credit *c = k ? &t->credit[k - 1] : NULL;
    return c && c->owner && c->file == file ? c : NULL;
}

/* The whole ring is looked through, but only 64 times a window: a credit may so live a little longer than it should. */
void pc_twins_expire(struct pc_twins *t, uint64_t now_ns, uint64_t window_ns)
{
    if (!is_old(t->swept_ns, now_ns, window_ns / 64))
        return;
    t->swept_ns = now_ns;
    for (uint32_t k = 0; k < PC_TWINS_CREDITS; k++)
        if (is_old(t->credit[k].time_ns, now_ns, window_ns))
            forget_credit(t, &t->credit[k]);
}

void pc_twins_absolve(struct pc_twins *t, uint32_t root)
{
    for (uint32_t k = 0; k < PC_TWINS_CREDITS; k++)
        if (t->credit[k].owner && pc_lineage_is_beneath(t->lin, t->credit[k].owner, root))
            forget_credit(t, &t->credit[k]);
}

void pc_twins_inherit(struct pc_twins *t, uint32_t slot, uint32_t parent)
{
    struct pc_node *n = &t->lin->node[slot];
    for (uint32_t k = 0; n->opaque && k < PC_TWINS_CREDITS; k++) {
        struct pc_credit *c = &t->credit[k];
        if (c->owner != slot)
            continue;
        c->owner = parent; /* the sums of parent and above hold it already */
        n->opaque--;
        if (!parent)
            *c = (struct pc_credit){0};
    }
}

void pc_twins_credit(struct pc_twins *t, uint32_t owner, const struct pc_act *act, uint64_t file, enum pc_twin twin,
                     const struct pc_gist *gist)
{
    struct pc_credit *c = credit_of_file(t, file);
    if (twin == PC_TWIN_NONE) {
        if (c) /* it means something now */
            forget_credit(t, c);
        return;
    }
    uint64_t left = act->size_after * (twin >= PC_TWIN_BOX ? BOX_RATIO : CIPHER_RATIO);
    if (c) { /* the same file written on: it grew */
        c->size = act->size_after;
        c->left = left;
        c->twin = (uint8_t)twin;
        c->gist = *gist;
        return;
    }
    c = &t->credit[t->credit_at];
    forget_credit(t, c);
    *c = (struct pc_credit){.file = file, .folder = act->folder, .size = act->size_after, .time_ns = act->now_ns,
                            .left = left, .gist = *gist, .owner = owner, .twin = (uint8_t)twin};
    *hint(t, file) = (uint16_t)(t->credit_at + 1);
    t->credit_at = (t->credit_at + 1) % PC_TWINS_CREDITS;
    pc_lineage_add_opaque(t->lin, owner, 1);
}

void pc_twins_sound(struct pc_twins *t, uint32_t owner, const struct pc_gist *gist)
{
    if (!gist->own)
        return;
    t->sound[t->sound_at] = (struct pc_sound){.gist = *gist, .actor = t->lin->node[owner].id};
    t->sound_at = (t->sound_at + 1) % PC_TWINS_SOUNDS;
}

void pc_twins_spend(struct pc_twins *t, uint64_t file)
{
    struct pc_credit *c = credit_of_file(t, file);
    if (!c)
        return;
    c->used = true;
    c->left = 0;
}

bool pc_twins_draw(struct pc_twins *t, uint64_t file, uint64_t size)
{
    struct pc_credit *c = credit_of_file(t, file);
    if (!c || c->left < size)
        return false;
    c->left -= size;
    return true;
}

/* --- how well a new file fits a deleted one ----------------------------------------------------------------------- */

enum fit {
    FIT_NONE,
    FIT_TIGHT,      /* same folder, the size of the file, or of its base64 */
    FIT_NEAR,       /* same folder, a moment ago, could be the file packed and encrypted */
    FIT_EXACT_FAR,  /* another folder, the size of a file too large to meet that by chance */
    FIT_TIGHT_FAR,  /* another folder, the size of the file */
    FIT_LOOSE_FAR,
    FIT_COVER_SELF, /* one of many in a container made by the very process that deletes */
    FIT_COVER_KIN,  /* the same by a relative, a moment ago */
    FITS
};

/* What a fit is worth, by what the new file is. */
static const uint8_t worth[PC_TWIN_ARCHIVE + 1][FITS] = {
    /*                    -  tight near exact-far tight-far loose-far self kin */
    [PC_TWIN_BLANK]    = {0, 70,   6,   0,        0,        0,        0,   0},
    [PC_TWIN_DOUBTFUL] = {0, 60,   20,  20,       0,        0,        0,   0},
    [PC_TWIN_ENCODED]  = {0, 95,   20,  60,       0,        0,        0,   0},
    [PC_TWIN_CIPHER]   = {0, 95,   60,  85,       20,       10,       30,  0},
    [PC_TWIN_BOX]      = {0, 95,   95,  85,       20,       10,       30,  6},
    [PC_TWIN_ARCHIVE]  = {0, 95,   95,  85,       20,       10,       90,  6},
};

static bool size_between(uint64_t made, uint64_t gone, uint32_t low_percent, uint32_t high_percent)
{
    return made * 100 >= gone * low_percent && made <= gone / 100 * high_percent + 4096;
}

/* A cipher adds a header and a tag; base64 a third; hexadecimal doubles. */
static bool is_tight(uint64_t made, uint64_t gone)
{
    uint64_t slack = gone < 4096 ? 64 + gone / 4 : 1024 + gone / 64;
    return (made * 100 >= gone * 98 && made <= gone + slack) ||
           (made >= gone / 100 * 130 && made <= gone / 100 * 145 + 64) ||
           (made >= gone * 2 && made <= gone * 2 + slack);
}

static enum fit fit_by_size(const struct pc_credit *c, const struct pc_search *s)
{
    bool here = c->folder == s->folder;
    if (c->used || (c->twin == PC_TWIN_BLANK && !s->document))
        return FIT_NONE;
    if (is_tight(c->size, s->size) && here)
        return FIT_TIGHT;
    if (s->size >= EXACT_MIN && c->size >= s->size && c->size - s->size <= EXACT_SLACK)
        return FIT_EXACT_FAR;
    if (is_tight(c->size, s->size))
        return FIT_TIGHT_FAR;
    if (here && !is_old(c->time_ns, s->now_ns, NEAR_NS) && size_between(c->size, s->size, 5, 210))
        return FIT_NEAR;
    return size_between(c->size, s->size, 25, 160) ? FIT_LOOSE_FAR : FIT_NONE;
}

/* Where a file made outside the guarded folders stands among those of its lineage. */
struct outside {
    uint32_t rank;  /* 1: the newest */
    uint32_t fresh; /* so many came since the deletion before this one */
};

/*
 * Outside the guarded folders backups are written, too, one file each, by the very script that cleans up afterwards;
 * and among hundreds of them sizes meet by chance. So there it must be the right size, and one of the last made. Where
 * one is made and one goes, again and again, small ones of the exact size are no chance either.
 */
static enum fit fit_outside(const struct pc_credit *c, const struct pc_search *s, struct outside at)
{
    bool exact = c->size >= s->size && c->size - s->size <= EXACT_SLACK, large = s->size >= EXACT_MIN;
    if (c->used || c->twin == PC_TWIN_BLANK || at.rank > OUTSIDE_EXACT)
        return FIT_NONE;
    if (exact && (large || (at.rank == 1 && at.fresh == 1 && c->twin >= PC_TWIN_CIPHER)))
        return FIT_EXACT_FAR;
    return at.rank <= OUTSIDE_TIGHT && (exact || (large && is_tight(c->size, s->size))) ? FIT_TIGHT_FAR : FIT_NONE;
}

static enum fit fit_as_one_of_many(const struct pc_credit *c, const struct pc_search *s)
{
    if (c->left < s->size || (c->twin < PC_TWIN_ARCHIVE && c->size < COVER_MIN))
        return FIT_NONE;
    if (c->owner == s->actor)
        return FIT_COVER_SELF;
    return !c->folder || is_old(c->time_ns, s->now_ns, NEAR_NS) ? FIT_NONE : FIT_COVER_KIN;
}

/*
 * A file that the same lineage made has no older meaning: only what is plainly its ciphertext is held against it, and
 * only when another process made that (who copies a tree makes copies of ciphertext, too).
 */
static bool is_own_twin(const struct pc_credit *c, const struct pc_search *s, enum fit fit)
{
    if (c->owner == s->maker)
        return false;
    return (fit == FIT_TIGHT && c->twin >= PC_TWIN_ENCODED) || (fit == FIT_NEAR && c->twin >= PC_TWIN_BOX);
}

/* Beyond its group, among a spared ancestor's children, only a tight fit in the same folder is more than chance. */
static enum fit best_fit(const struct pc_credit *c, const struct pc_search *s, bool kin, struct outside at)
{
    enum fit one = c->folder ? fit_by_size(c, s) : fit_outside(c, s, at), many = fit_as_one_of_many(c, s);
    if ((!kin && one != FIT_TIGHT) || (s->maker && !is_own_twin(c, s, one)))
        one = FIT_NONE;
    if (!kin || s->maker)
        many = FIT_NONE;
    return worth[c->twin][one] >= worth[c->twin][many] ? one : many;
}

/* Some file made by the same lineage is the deleted one, packed or unpacked: nothing is lost. */
static bool is_explained(struct pc_twins *t, const struct pc_search *s, uint32_t wide)
{
    for (uint32_t k = 0; k < PC_TWINS_SOUNDS; k++) {
        const struct pc_sound *d = &t->sound[k];
        uint32_t owner = d->actor && pc_gist_packs(&d->gist, s->gist) ? pc_lineage_slot(t->lin, d->actor) : 0;
        if (owner && pc_lineage_is_beneath(t->lin, owner, wide))
            return true;
    }
    for (uint32_t k = 0; k < PC_TWINS_CREDITS; k++) {
        struct pc_credit *c = &t->credit[k];
        if (c->owner && pc_gist_packs(&c->gist, s->gist) && pc_lineage_is_beneath(t->lin, c->owner, wide)) {
            c->used = true;
            return true;
        }
    }
    return false;
}

/* What this lineage made outside the guarded folders since the last search: files there are read just before one. */
static uint32_t fresh_outside(const struct pc_twins *t, uint32_t wide)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < PC_TWINS_CREDITS; k++) {
        const struct pc_credit *c = &t->credit[k];
        n += c->owner && !c->folder && c->time_ns > t->searched_ns && pc_lineage_is_beneath(t->lin, c->owner, wide);
    }
    return n;
}

struct pc_match pc_twins_match(struct pc_twins *t, const struct pc_search *s)
{
    uint32_t wide = pc_lineage_wide(t->lin, s->actor), group = pc_lineage_group(t->lin, s->actor);
    struct pc_match best = {0};
    enum fit fit = FIT_NONE;
    /* Also while nothing opaque was made: what is explained now must not be held against the first of that later. */
    if (s->gist && is_explained(t, s, wide)) {
        best.explained = true;
        return best;
    }
    if (!t->lin->node[wide].opaque)
        return best;
    struct outside outside = {.fresh = fresh_outside(t, wide)};
    t->searched_ns = s->now_ns;
    for (uint32_t k = 1; k <= PC_TWINS_CREDITS; k++) { /* newest first: of equals the newest is meant */
        uint32_t at = (t->credit_at + PC_TWINS_CREDITS - k) % PC_TWINS_CREDITS;
        const struct pc_credit *c = &t->credit[at];
        if (!c->owner || !pc_lineage_is_beneath(t->lin, c->owner, wide))
            continue;
        outside.rank += !c->folder;
        enum fit f = best_fit(c, s, pc_lineage_is_beneath(t->lin, c->owner, group), outside);
        if (worth[c->twin][f] <= best.score)
            continue;
        best = (struct pc_match){.score = worth[c->twin][f], .credit = at + 1, .file = c->file};
        fit = f;
    }
    if (!best.score)
        return best;
    struct pc_credit *c = &t->credit[best.credit - 1];
    c->left -= s->size < c->left ? s->size : c->left;
    if (fit != FIT_COVER_SELF && fit != FIT_COVER_KIN)
        c->used = true;
    return best;
}

void pc_twins_give_back(struct pc_twins *t, const struct pc_gone *gone)
{
    struct pc_credit *c = gone->credit ? &t->credit[gone->credit - 1] : NULL;
    if (!c || !c->owner || c->file != gone->credit_file)
        return;
    c->used = false;
    c->left += gone->size;
}

/* --- deleted lately ----------------------------------------------------------------------------------------------- */

struct pc_gone *pc_twins_gone(struct pc_twins *t, uint32_t actor, const struct pc_act *act)
{
    struct pc_gone *d = &t->gone[t->gone_at];
    t->gone_at = (t->gone_at + 1) % PC_TWINS_GONE;
    if (t->gone_held < PC_TWINS_GONE)
        t->gone_held++;
    *d = (struct pc_gone){.file = act->file, .folder = act->folder, .name_hash = act->name_hash,
                          .size = act->size_before, .time_ns = act->now_ns, .base = act->base,
                          .actor = t->lin->node[actor].id};
    return d;
}

/* The k-th newest (from 1), or NULL when it is too old, taken, or not of this group. */
static struct pc_gone *gone_at(const struct pc_twins *t, uint32_t k, uint32_t group, uint64_t now_ns, uint64_t span_ns)
{
    struct pc_gone *d = &t->gone[(t->gone_at + PC_TWINS_GONE - k) % PC_TWINS_GONE];
    if (!d->actor || is_old(d->time_ns, now_ns, span_ns))
        return NULL;
    uint32_t owner = pc_lineage_slot(t->lin, d->actor);
    return owner && pc_lineage_is_beneath(t->lin, owner, group) ? d : NULL;
}

struct pc_gone *pc_twins_gone_named(struct pc_twins *t, uint32_t actor, const struct pc_act *act)
{
    uint32_t group = pc_lineage_group(t->lin, actor);
    for (uint32_t k = 1; k <= t->gone_held; k++) {
        struct pc_gone *d = &t->gone[(t->gone_at + PC_TWINS_GONE - k) % PC_TWINS_GONE];
        if (d->name_hash == act->name_hash && d->folder == act->folder && gone_at(t, k, group, act->now_ns, GONE_NS))
            return d;
    }
    return NULL;
}

struct pc_gone *pc_twins_gone_near(struct pc_twins *t, uint32_t actor, const struct pc_act *act)
{
    uint32_t group = pc_lineage_group(t->lin, actor);
    for (uint32_t k = 1; k <= t->gone_held; k++) {
        struct pc_gone *d = &t->gone[(t->gone_at + PC_TWINS_GONE - k) % PC_TWINS_GONE];
        if (d->folder == act->folder && d->structured && !d->settled &&
            size_between(act->size_after, d->size, 25, 210) && gone_at(t, k, group, act->now_ns, GONE_NS))
            return d;
    }
    return NULL;
}

struct pc_gone *pc_twins_gone_heir(struct pc_twins *t, uint32_t actor, const struct pc_act *act)
{
    uint32_t group = pc_lineage_group(t->lin, actor);
    struct pc_gone *best = NULL;
    for (uint32_t k = 1; k <= t->gone_held; k++) {
        struct pc_gone *d = &t->gone[(t->gone_at + PC_TWINS_GONE - k) % PC_TWINS_GONE];
        bool named = d->name_hash == act->name_hash;
        if (d->folder != act->folder || d->settled || !d->base || !pc_heir_fits(act->size_after, d->size) ||
            (best && d->size <= best->size && !named) || !gone_at(t, k, group, act->now_ns, GONE_NS))
            continue;
        best = d;
        if (named)
            break;
    }
    return best;
}

struct pc_gone *pc_twins_gone_by(struct pc_twins *t, uint32_t actor, uint64_t now_ns, uint32_t *at)
{
    while (*at < t->gone_held) {
        struct pc_gone *d = gone_at(t, ++*at, actor, now_ns, GONE_NS);
        if (d && !d->settled && (d->structured || !d->read) && d->actor == t->lin->node[actor].id)
            return d;
    }
    return NULL;
}

uint32_t pc_twins_gone_count(const struct pc_twins *t, uint32_t group, uint64_t now_ns, uint64_t span_ns,
                             uint32_t limit)
{
    uint32_t n = 0;
    for (uint32_t k = 1; n < limit && k <= t->gone_held; k++)
        n += gone_at(t, k, group, now_ns, span_ns) != NULL;
    return n;
}

/* --- made lately -------------------------------------------------------------------------------------------------- */

static struct pc_made *made_set(const struct pc_twins *t, uint64_t file)
{
    return &t->made[(file * 0x9e3779b97f4a7c15ULL >> 32) % (PC_TWINS_MADE / PC_TWINS_WAYS) * PC_TWINS_WAYS];
}

void pc_twins_made(struct pc_twins *t, uint32_t maker, uint64_t file, uint64_t now_ns)
{
    struct pc_made *set = made_set(t, file), *m = set;
    if (pc_twins_made_find(t, file))
        return;
    for (uint32_t i = 1; i < PC_TWINS_WAYS; i++)
        if (set[i].time_ns < m->time_ns)
            m = &set[i];
    *m = (struct pc_made){.file = file, .time_ns = now_ns, .maker = t->lin->node[maker].id};
}

struct pc_made *pc_twins_made_find(const struct pc_twins *t, uint64_t file)
{
    struct pc_made *set = made_set(t, file);
    for (uint32_t i = 0; i < PC_TWINS_WAYS; i++)
        if (set[i].file == file && file)
            return &set[i];
    return NULL;
}

void pc_twins_made_forget(struct pc_twins *t, uint64_t file)
{
    struct pc_made *m = pc_twins_made_find(t, file);
    if (m)
        *m = (struct pc_made){0};
}

/* --- replaced by sound files -------------------------------------------------------------------------------------- */

static struct pc_succeeded *succeeded_at(const struct pc_twins *t, uint64_t file)
{
    return &t->succeeded[(file * 0x9e3779b97f4a7c15ULL >> 40) % SUCCEEDED];
}

void pc_twins_succeeded(struct pc_twins *t, uint32_t actor, uint64_t file, uint64_t now_ns)
{
    *succeeded_at(t, file) = (struct pc_succeeded){file, now_ns, t->lin->node[actor].id};
}

bool pc_twins_is_succeeded(const struct pc_twins *t, uint32_t actor, uint64_t file, uint64_t now_ns, uint64_t span_ns)
{
    const struct pc_succeeded *s = succeeded_at(t, file);
    uint32_t who = s->actor && s->file == file && !is_old(s->time_ns, now_ns, span_ns)
                       ? pc_lineage_slot(t->lin, s->actor) : 0;
    return who && pc_lineage_is_beneath(t->lin, who, pc_lineage_group(t->lin, actor));
}
