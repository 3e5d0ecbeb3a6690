/*
 * Owns what an act is worth: which deletion has a twin, what emptying means, what a lineage may do with its own files.
 * Reaches no verdict (judge.c does) and reads no content. The reasons behind the figures, what each rule lets through
 * and what bounds the loss then are in docs/decisions/0003-verdict-rules.md.
 */
#include "core/weigh.h"

#include "core/kind.h"

#define SECOND 1000000000ULL
#define OPAQUE_ENOUGH 50
/*
 * Who makes a handful of plain files, encrypts them and removes them cleans up after himself (a backup script's dumps).
 * Who does so with more of them may just as well have been handed a tree of documents.
 */
#define OWN_TEMPORARIES 4
/* Who deletes more than a handful of files of older meaning gets no such trust: his own may be copies of them. */
#define FOREIGN_DELETED 8
/* A file is still in the making for this long: what is written over it then was never anybody's. */
#define FRESH_NS SECOND
#define DECOY_SCORE 100
#define VAULT_SCORE 60
#define NOTE_SCORE 10
#define DELETED_FIRST_SCORE 95
#define DOUBTFUL_SCORE 60
#define BOXED_SCORE 90
/* Deletions that came before the container they went into was seen: enough for a verdict, later ones are gated. */
#define BOXED_MAX 8
#define UNKEPT_SCORE 10
#define UNKEPT_MANY_SCORE 60
#define UNKEPT_FILES 4
#define UNKEPT_FOLDERS 3
/* Another file of the same kind and about the size stands where one was deleted: a newer version, or a forgery. */
#define SAME_KIND_SCORE 10
/* Of two files that have something to do with each other at most so much differs, in thousandths. */
#define RELATED_PERMIL 900

static void blame(const struct pc_weighing *w, uint64_t file, uint8_t score, uint32_t evidence, bool counts)
{
    struct pc_finding *f = &w->out->finding;
    struct pc_blame b = {.file = file, .now_ns = w->act->now_ns, .evidence = evidence, .score = score, .counts = counts,
                         /* Only another look at the content may take evidence back, not the file's deletion. */
                         .base = file == w->act->file && w->act->op == PC_OP_MODIFY ? w->act->base : 0};
    f->evidence |= evidence;
    if (score > f->score)
        f->score = score;
    pc_ledger_add(&w->j->ledger, w->actor, &b);
}

/* --- whose file --------------------------------------------------------------------------------------------------- */

bool pc_weigh_kin(const struct pc_lineage *l, pc_actor creator, uint32_t actor)
{
    uint32_t maker = pc_lineage_slot(l, creator);
    return maker && (pc_lineage_is_beneath(l, maker, pc_lineage_group(l, actor)) ||
                     pc_lineage_is_beneath(l, actor, maker));
}

/* The guard knows it of files that it preserved at once; the judge of those it was told of. */
static pc_actor maker_of(const struct pc_judge *j, const struct pc_act *act)
{
    const struct pc_made *m = pc_twins_made_find(&j->twins, act->file);
    return m ? m->maker : act->creator;
}

static bool is_new_and_own(const struct pc_judge *j, const struct pc_act *act, uint32_t actor)
{
    const struct pc_made *m = pc_twins_made_find(&j->twins, act->file);
    return m && act->now_ns - m->time_ns <= j->policy.window_ns && pc_weigh_kin(&j->lin, m->maker, actor);
}

enum pc_own pc_weigh_own(const struct pc_judge *j, const struct pc_act *act, uint32_t actor)
{
    const struct pc_lineage *l = &j->lin;
    if (!is_new_and_own(j, act, actor))
        return PC_OWN_NOT;
    uint32_t group = pc_lineage_group(l, actor);
    if (pc_twins_gone_count(&j->twins, group, act->now_ns, j->policy.window_ns, FOREIGN_DELETED) >= FOREIGN_DELETED)
        return PC_OWN_NOT;
    uint32_t common = pc_lineage_common(l, pc_lineage_slot(l, maker_of(j, act)), actor);
    return common && l->node[common].young <= OWN_TEMPORARIES ? PC_OWN_TEMPORARY : PC_OWN_YOUNG;
}

static void forget_made(const struct pc_weighing *w)
{
    struct pc_made *m = pc_twins_made_find(&w->j->twins, w->act->file);
    uint32_t maker = pc_lineage_slot(&w->j->lin, m ? m->maker : 0);
    if (m && m->young && maker && w->j->lin.node[maker].young)
        pc_lineage_add_young(&w->j->lin, maker, -1);
    pc_twins_made_forget(&w->j->twins, w->act->file);
}

/* A meaningful file made while watched: how many of them its maker has around tells temporaries from a tree. */
static void count_young(const struct pc_weighing *w)
{
    struct pc_made *m = pc_twins_made_find(&w->j->twins, w->act->file);
    uint32_t maker = m && !m->young ? pc_lineage_slot(&w->j->lin, m->maker) : 0;
    if (!maker)
        return;
    m->young = true;
    pc_lineage_add_young(&w->j->lin, maker, 1);
}

static bool is_fresh(const struct pc_weighing *w)
{
    const struct pc_made *m = pc_twins_made_find(&w->j->twins, w->act->file);
    return m && w->act->now_ns - m->time_ns < FRESH_NS;
}

/* --- notes -------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
    return x ^ x >> 31;
}

static struct pc_note *note_of(struct pc_judge *j, uint64_t key, pc_actor group, uint64_t now_ns)
{
    for (uint32_t i = 0; i < PC_NOTES; i++)
        if (j->note[i].key == key && j->note[i].group == group && now_ns - j->note[i].time_ns <= j->policy.window_ns)
            return &j->note[i];
    struct pc_note *n = &j->note[j->note_at];
    j->note_at = (j->note_at + 1) % PC_NOTES;
    *n = (struct pc_note){.key = key, .group = group, .time_ns = now_ns};
    return n;
}

/*
 * The same new text in many folders. By itself that is what installing software does (licences, indexes), so it adds
 * to damage already found and never counts as a damaged file.
 */
static void weigh_note(const struct pc_weighing *w)
{
    struct pc_judge *j = w->j;
    if (!w->facts->text_hash)
        return;
    uint32_t group = pc_lineage_group(&j->lin, w->actor);
    struct pc_note *n = note_of(j, mix(w->facts->text_hash, w->act->name_hash), j->lin.node[group].id, w->act->now_ns);
    for (uint32_t i = 0; i < n->folders; i++)
        if (n->folder[i] == w->act->folder)
            return;
    if (n->folders < PC_NOTE_FOLDERS_MAX)
        n->folder[n->folders++] = w->act->folder;
    if (n->folders >= j->policy.note_folders && j->lin.node[group].files > 0)
        blame(w, n->key, NOTE_SCORE, PC_EV_NOTE, false);
}

/* --- a file made -------------------------------------------------------------------------------------------------- */

static bool is_structured(const struct pc_look *look, uint64_t size)
{
    return size >= PC_SMALL_FILE && look->opaque < OPAQUE_ENOUGH && look->kind != PC_KIND_EMPTY &&
           look->kind != PC_KIND_CONSTANT;
}

static uint64_t file_after(const struct pc_act *act)
{
    return act->op == PC_OP_REPLACE && act->successor ? act->successor : act->file;
}

/* An archiver may remove its members before the guard sees the archive: those deletions are held against it now. */
static void blame_members(const struct pc_weighing *w)
{
    struct pc_twins *t = &w->j->twins;
    uint32_t at = 0;
    for (int n = 0; n < BOXED_MAX;) {
        struct pc_gone *d = pc_twins_gone_by(t, w->actor, w->act->now_ns, &at);
        if (!d)
            return;
        if (!pc_twins_draw(t, file_after(w->act), d->size))
            continue;
        d->settled = true;
        blame(w, d->file, BOXED_SCORE, PC_EV_OPAQUE_TWIN, true);
        n++;
    }
}

/* Remembers what is there now for deletions to come, if it could be what becomes of another file. */
static void remember(const struct pc_weighing *w)
{
    struct pc_twins *t = &w->j->twins;
    enum pc_twin twin = pc_twin_of(&w->facts->after, w->act->size_after);
    pc_twins_credit(t, w->actor, w->act, file_after(w->act), twin, &w->facts->gist_after);
    if (twin == PC_TWIN_NONE)
        pc_twins_sound(t, w->actor, &w->facts->gist_after);
    if (twin == PC_TWIN_ARCHIVE)
        blame_members(w);
}

/* Something meaningful stands again under the name of a deleted file: that was a replacement by an ordinary program. */
static void name_is_back(const struct pc_weighing *w, struct pc_gone *d)
{
    struct pc_judge *j = w->j;
    bool same = w->facts->gist_after.own && w->facts->gist_after.own == d->gist.own;
    uint64_t size = w->act->size_after;
    bool alike = w->facts->after.kind == d->kind && size >= d->size / 2 && size <= d->size * 2;
    if (d->settled && (same || alike)) {
        pc_ledger_lower(&j->ledger, d->file, same ? 0 : SAME_KIND_SCORE);
        pc_twins_give_back(&j->twins, d);
    }
    pc_bulk_back(&j->bulk, d->file);
    d->actor = 0;
}

/* Ciphertext under the name of a deleted file. Unless that was ciphertext before, it is what became of it. */
static void name_is_ciphertext(const struct pc_weighing *w, struct pc_gone *d, enum pc_twin twin)
{
    bool nothing_lost = d->read && (!d->structured || pc_gist_packs(&d->gist, &w->facts->gist_after));
    uint64_t file = d->file;
    bool settled = d->settled, guilty = !nothing_lost && d->read && !settled;
    d->actor = 0;
    if (settled) {
        remember(w); /* that one went elsewhere; this is another's */
    } else if (!nothing_lost) {
        /* Of an unread one nothing can be said; but from now on this lineage's deletions are read. */
        pc_twins_credit(&w->j->twins, w->actor, w->act, w->act->file, twin, &w->facts->gist_after);
        pc_twins_spend(&w->j->twins, w->act->file);
    }
    if (guilty)
        blame(w, file, twin == PC_TWIN_DOUBTFUL ? DOUBTFUL_SCORE : DELETED_FIRST_SCORE, PC_EV_OPAQUE_TWIN, true);
}

/* New ciphertext under another name: of a file deleted just before, or of one that is still to be deleted. */
static void weigh_ciphertext(const struct pc_weighing *w, enum pc_twin twin)
{
    struct pc_gone *d = pc_twins_gone_near(&w->j->twins, w->actor, w->act);
    if (!d || pc_gist_packs(&d->gist, &w->facts->gist_after)) {
        remember(w);
        return;
    }
    d->settled = true;
    blame(w, d->file, twin == PC_TWIN_DOUBTFUL ? DOUBTFUL_SCORE : DELETED_FIRST_SCORE, PC_EV_OPAQUE_TWIN, true);
}

/*
 * The new file is the old one with pieces made random: a good part stands where it stood. (Two strangers of the same
 * size share some zeros and spaces.) Of a kind nobody knows that is not enough: an index made anew over the same
 * objects (git's .idx) has its hashes where they stood, and other numbers between.
 */
static bool is_damaged_copy(const struct pc_facts *f)
{
    const struct pc_finding *d = &f->finding;
    return d->score >= PC_DAMAGE_SCORE && d->changed_permil <= RELATED_PERMIL && d->kind_before != PC_KIND_UNKNOWN &&
           !(d->evidence & PC_EV_EMPTIED);
}

/* A damaged copy of a file deleted just before, under its name or beside it. */
static bool took_its_place(const struct pc_weighing *w)
{
    struct pc_gone *d = pc_twins_gone_heir(&w->j->twins, w->actor, w->act);
    if (!d || !is_damaged_copy(w->facts))
        return false;
    d->settled = true;
    blame(w, d->file, w->facts->finding.score, w->facts->finding.evidence | PC_EV_OPAQUE_TWIN, true);
    return true;
}

/* For deletions to come: what looks like a document may be a damaged one. */
static void remember_heir(const struct pc_weighing *w, enum pc_twin twin)
{
    const struct pc_act *act = w->act;
    if (act->op == PC_OP_CREATE && act->folder && (twin == PC_TWIN_NONE || twin == PC_TWIN_DOUBTFUL))
        pc_heirs_add(&w->j->heirs, &(struct pc_heir){act->file, act->folder, act->size_after, act->now_ns,
                                                     w->j->lin.node[w->actor].id});
}

static void weigh_create(const struct pc_weighing *w, uint8_t have)
{
    struct pc_judge *j = w->j;
    const struct pc_act *act = w->act;
    bool structured = have && is_structured(&w->facts->after, act->size_after);
    struct pc_gone *d = act->is_dir ? NULL : pc_twins_gone_named(&j->twins, w->actor, act);
    enum pc_twin twin = have ? pc_twin_of(&w->facts->after, act->size_after) : PC_TWIN_NONE;
    if (!d && act->op == PC_OP_CREATE && !act->is_dir && !act->has_pre_image)
        pc_twins_made(&j->twins, w->actor, act->file, act->now_ns);
    if (structured)
        count_young(w);
    if (!have || (have == PC_HAVE_FINDING && took_its_place(w)))
        return;
    remember_heir(w, twin);
    if (d && twin >= PC_TWIN_DOUBTFUL)
        name_is_ciphertext(w, d, twin);
    else if (d && structured)
        name_is_back(w, d);
    else if (twin >= PC_TWIN_DOUBTFUL)
        weigh_ciphertext(w, twin);
    else
        remember(w);
    weigh_note(w);
}

/* --- a file changed or replaced ----------------------------------------------------------------------------------- */

struct reach {
    uint32_t files, folders, kinds;
};

/* What this group did so lately, this file included: in the last ten seconds (files), the last minute (the rest). */
static struct reach reach_of(struct pc_spread *s, pc_actor group, const struct pc_act *act, uint8_t kind)
{
    struct reach n = {0};
    uint64_t folders[PC_SPREAD], kinds[4] = {0};
    for (uint32_t i = 0; i < PC_SPREAD; i++) /* looked at again: one file */
        if (s->ring[i].file == act->file)
            s->ring[i].group = 0;
    s->ring[s->at] = (struct pc_touched){act->now_ns, act->file, act->folder, group, kind};
    s->at = (s->at + 1) % PC_SPREAD;
    for (uint32_t i = 0; i < PC_SPREAD; i++) {
        const struct pc_touched *e = &s->ring[i];
        if (e->group != group || act->now_ns - e->time_ns > 60 * SECOND)
            continue;
        n.files += act->now_ns - e->time_ns <= 10 * SECOND;
        n.kinds += !(kinds[e->kind / 64] >> e->kind % 64 & 1);
        kinds[e->kind / 64] |= 1ULL << e->kind % 64;
        uint32_t f = 0;
        while (f < n.folders && folders[f] != e->folder)
            f++;
        if (f == n.folders)
            folders[n.folders++] = e->folder;
    }
    return n;
}

/*
 * A file truncated to nothing. Programs do that to their own (logs, relations, spools), a few at a time and in few
 * places; documents of many kinds in many folders are emptied by wipers alone.
 */
static uint8_t emptied_score(const struct pc_weighing *w, uint8_t score)
{
    const struct pc_finding *f = &w->facts->finding;
    const struct pc_lineage *l = &w->j->lin;
    bool kin = pc_weigh_kin(l, maker_of(w->j, w->act), w->actor);
    if (pc_weigh_own(w->j, w->act, w->actor) != PC_OWN_NOT)
        return 0;
    if (pc_kind_flags(f->kind_before) & (PC_KF_PAGED | PC_KF_DISK))
        return kin ? 0 : 2; /* relations, emptied by the server that made them */
    if (score <= 1)
        return score;
    pc_actor group = w->j->lin.node[pc_lineage_group(&w->j->lin, w->actor)].id;
    struct reach n = reach_of(&w->j->emptied, group, w->act, f->kind_before);
    if (n.folders >= 3 && n.kinds >= 3)
        return 25;
    if (n.files >= 8 && score >= 20)
        return 20;
    if (n.folders >= 4 || n.kinds >= 5)
        return 12;
    return score < 4 ? score : 4;
}

static struct pc_match match(const struct pc_weighing *w, uint32_t maker)
{
    bool read = w->act->op == PC_OP_DELETE;
    uint8_t kind = read ? w->facts->before.kind : w->facts->finding.kind_before;
    struct pc_search s = {.folder = w->act->folder, .size = w->act->size_before, .now_ns = w->act->now_ns,
                          .gist = read ? &w->facts->gist_before : NULL, .actor = w->actor, .maker = maker,
                          .document = kind != PC_KIND_UNKNOWN && !(pc_kind_flags(kind) & PC_KF_PAGED)};
    return pc_twins_match(&w->j->twins, &s);
}

/*
 * What its own lineage writes over a file it has only just made, or an encrypted container that its maker goes on
 * writing: nothing is lost by that, but what is there now may stand for something else.
 */
static bool is_still_made(const struct pc_weighing *w, const struct pc_finding *f)
{
    const struct pc_act *act = w->act;
    if (act->op != PC_OP_MODIFY || f->score < PC_DAMAGE_SCORE)
        return false;
    /*
     * File servers and databases lay out files of their own and write zeros over them; only ciphertext is held against
     * it.
     */
    bool blanked = f->evidence & PC_EV_EMPTIED &&
                   !(f->evidence & (PC_EV_RANDOMISED | PC_EV_ENCODED | PC_EV_ENCRYPTED_BOX));
    if (blanked && pc_weigh_kin(&w->j->lin, maker_of(w->j, act), w->actor))
        return true;
    if (!is_new_and_own(w->j, act, w->actor))
        return false;
    bool grows = act->size_after > act->size_before;
    bool boxed = pc_kind_flags(f->kind_before) & PC_KF_ARCHIVE && pc_kind_flags(f->kind_after) & PC_KF_ARCHIVE;
    return is_fresh(w) || (grows && boxed);
}

static bool is_plain_truncation(const struct pc_finding *f)
{
    return f->evidence == PC_EV_EMPTIED && f->score < PC_DAMAGE_SCORE;
}

static void weigh_change(const struct pc_weighing *w)
{
    const struct pc_act *act = w->act;
    struct pc_finding f = w->facts->finding;
    uint8_t twin = 0;
    if (is_still_made(w, &f))
        f.score = 0;
    if (is_structured(&w->facts->after, act->size_after))
        count_young(w);
    if (is_plain_truncation(&f)) {
        f.score = emptied_score(w, f.score);
        twin = f.score ? match(w, 0).score : 0;
    }
    if (act->op == PC_OP_REPLACE && act->has_pre_image && pc_weigh_own(w->j, act, w->actor) == PC_OWN_NOT)
        pc_twins_made_forget(&w->j->twins, act->successor); /* it has an older file's meaning to lose from now on */
    if (act->op == PC_OP_REPLACE && act->has_pre_image && !f.score)
        pc_twins_succeeded(&w->j->twins, w->actor, act->file, act->now_ns);
    if (is_structured(&w->facts->after, act->size_after))
        pc_ledger_refilled(&w->j->ledger, act->file);
    w->out->finding = f;
    blame(w, act->file, f.score > twin ? f.score : twin, f.evidence | (twin ? PC_EV_OPAQUE_TWIN : 0), true);
    /* The ciphertext that took this file's place must not be held against a second file. */
    if (f.score >= PC_DAMAGE_SCORE && act->op == PC_OP_REPLACE)
        match(w, 0);
    else if (f.score < PC_DAMAGE_SCORE)
        remember(w);
}

/* Ciphertext over what another wrote before, which is not there to compare with: a full disk, or it was too large. */
static bool is_unkept_loss(const struct pc_weighing *w, uint8_t have)
{
    const struct pc_act *act = w->act;
    if (act->op != PC_OP_MODIFY || have != PC_HAVE_AFTER || act->size_before < PC_SMALL_FILE)
        return false;
    enum pc_twin twin = pc_twin_of(&w->facts->after, act->size_after);
    return (twin == PC_TWIN_CIPHER || twin == PC_TWIN_ENCODED) && pc_weigh_own(w->j, act, w->actor) == PC_OWN_NOT &&
           !pc_weigh_kin(&w->j->lin, maker_of(w->j, act), w->actor);
}

/*
 * One such file may have been ciphertext before. Whoever does it in several folders within seconds is taken for what he
 * looks like: nothing else will tell, and nothing will come back.
 */
static void weigh_unkept(const struct pc_weighing *w)
{
    pc_actor group = w->j->lin.node[pc_lineage_group(&w->j->lin, w->actor)].id;
    struct reach n = reach_of(&w->j->unkept, group, w->act, 0);
    bool many = n.files >= UNKEPT_FILES && n.folders >= UNKEPT_FOLDERS;
    blame(w, w->act->file, many ? UNKEPT_MANY_SCORE : UNKEPT_SCORE, PC_EV_RANDOMISED, true);
}

/* --- a file deleted ----------------------------------------------------------------------------------------------- */

static void count_deletion(const struct pc_weighing *w)
{
    struct pc_judge *j = w->j;
    if (!j->policy.bulk_files)
        return;
    pc_bulk_deleted(&j->bulk, w->actor, w->act->file, w->act->now_ns);
    uint32_t root = pc_bulk_root(&j->bulk, w->actor, j->policy.bulk_files);
    w->out->bulk_root = root ? j->lin.node[root].id : 0;
}

/*
 * Package managers link a file beside itself, rename the new one over it, and remove the link when all went well. What
 * it held was weighed when it was replaced. (Who replaces by what only looks sound has paid for it there.)
 */
static bool is_only_backup(const struct pc_weighing *w)
{
    return pc_twins_is_succeeded(&w->j->twins, w->actor, w->act->file, w->act->now_ns, w->j->policy.window_ns);
}

static void weigh_delete(const struct pc_weighing *w, uint8_t have)
{
    const struct pc_act *act = w->act;
    if (act->is_dir || !act->has_pre_image || act->size_before < PC_SMALL_FILE)
        return;
    const struct pc_lineage *l = &w->j->lin;
    bool calm = !l->node[pc_lineage_wide(l, w->actor)].opaque; /* then nothing can stand in for it */
    bool heir = have == PC_HAVE_FINDING && is_damaged_copy(w->facts);
    enum pc_own own = calm && !heir && is_new_and_own(w->j, act, w->actor) ? PC_OWN_TEMPORARY
                                                                            : pc_weigh_own(w->j, act, w->actor);
    uint32_t maker = pc_lineage_slot(l, maker_of(w->j, act));
    forget_made(w);
    if (own == PC_OWN_TEMPORARY || is_only_backup(w))
        return;
    bool structured = have && is_structured(&w->facts->before, act->size_before);
    struct pc_match m = {0};
    if (structured)
        m = match(w, own == PC_OWN_YOUNG ? maker : 0);
    if (own == PC_OWN_NOT) {
        struct pc_gone *d = pc_twins_gone(&w->j->twins, w->actor, act);
        d->read = have != 0;
        d->structured = structured;
        d->kind = w->facts->before.kind;
        d->gist = w->facts->gist_before;
        d->settled = heir || m.score > 0 || m.explained;
        d->credit = m.credit;
        d->credit_file = m.file;
    }
    if (heir) {
        pc_heirs_forget(&w->j->heirs, w->out->heir);
        blame(w, act->file, w->facts->finding.score, w->facts->finding.evidence | PC_EV_OPAQUE_TWIN, true);
    }
    if (m.score)
        blame(w, act->file, m.score, PC_EV_OPAQUE_TWIN, true);
    if (own == PC_OWN_NOT && !m.explained && !act->moved_out && !pc_weigh_kin(l, act->creator, w->actor))
        count_deletion(w);
}

void pc_weigh(const struct pc_weighing *w, uint8_t have)
{
    uint8_t op = w->act->op;
    if (op == PC_OP_DECOY)
        blame(w, w->act->file, DECOY_SCORE, PC_EV_DECOY, true);
    else if (op == PC_OP_VAULT)
        blame(w, w->act->file, VAULT_SCORE, PC_EV_VAULT, true);
    else if (op == PC_OP_DELETE)
        weigh_delete(w, have);
    else if (is_unkept_loss(w, have))
        weigh_unkept(w);
    else if (op == PC_OP_CREATE || have == PC_HAVE_AFTER) /* all other new content may stand in for what is deleted */
        weigh_create(w, have);
    else if (have == PC_HAVE_FINDING)
        weigh_change(w);
}
