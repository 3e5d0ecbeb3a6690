/*
 * Owns the decision: takes acts in, says what facts it needs, weighs them, and names the smallest subtree that holds
 * the evidence. Pure: no clock, no I/O; allocates in pc_judge_new alone. What a file's content means is content.c's
 * business, who begot whom lineage.c's, what is remembered ledger.c's.
 */
#include "core/judge.h"

#include "base/err.h"
#include "core/kind.h"
#include "core/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* From here on an act counts as damage: the gate comes down, and a spared parent's child is named in a verdict. */
#define DAMAGE_SCORE 40
#define OPAQUE_ENOUGH 50
/* Smaller files are not worth the reading: a marker, a lock, a counter. */
#define SMALL_FILE 32
/*
 * Who makes a handful of plain files, encrypts them and removes them cleans up after himself (a backup script's dumps).
 * Who does so with more of them may just as well have been handed a tree of documents.
 */
#define OWN_TEMPORARIES 4
#define DECOY_SCORE 100
#define VAULT_SCORE 60
#define NOTE_SCORE 10
#define NOTES 128
#define NOTE_FOLDERS_MAX 16

struct note {
    uint64_t key, time_ns;
    pc_actor group;
    uint32_t folders;
    uint64_t folder[NOTE_FOLDERS_MAX];
};

struct pc_judge {
    struct pc_judge_policy policy;
    struct pc_lineage lin;
    struct pc_ledger ledger;
    struct note note[NOTES];
    uint32_t note_at;
};

void pc_judge_policy_default(struct pc_judge_policy *p)
{
    *p = (struct pc_judge_policy){.convict_score = 270, .min_files = 3, .window_ns = 600 * 1000000000ULL,
                                  .max_actors = 32768, .note_folders = 3};
}

static void on_evict(void *arg, uint32_t slot, uint32_t parent)
{
    struct pc_judge *j = arg;
    pc_ledger_inherit(&j->ledger, slot, parent);
}

int pc_judge_new(const struct pc_judge_policy *p, struct pc_judge **out)
{
    if (p->max_actors < 16 || p->max_actors > PC_LINEAGE_MAX || p->convict_score == 0 || p->window_ns == 0)
        return PC_E_RANGE;
    struct pc_judge *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    j->policy = *p;
    if (pc_lineage_init(&j->lin, p->max_actors) < 0 || pc_ledger_init(&j->ledger, &j->lin) < 0) {
        pc_judge_free(j);
        return -ENOMEM;
    }
    j->lin.on_evict = on_evict;
    j->lin.arg = j;
    *out = j;
    return 0;
}

void pc_judge_free(struct pc_judge *j)
{
    if (!j)
        return;
    pc_lineage_fini(&j->lin);
    pc_ledger_fini(&j->ledger);
    free(j);
}

void pc_judge_set_policy(struct pc_judge *j, const struct pc_judge_policy *p)
{
    uint32_t max_actors = j->policy.max_actors;
    j->policy = *p;
    j->policy.max_actors = max_actors;
}

static pc_actor name_of(const struct pc_judge *j, uint32_t slot)
{
    return slot ? j->lin.node[slot].id : 0;
}

/* The living process with this pid; a new root when there is none. */
static uint32_t actor_slot(struct pc_judge *j, pid_t pid)
{
    uint32_t s = pc_lineage_by_pid(&j->lin, pid);
    return s ? s : pc_lineage_add(&j->lin, pid, 0);
}

pc_actor pc_judge_fork(struct pc_judge *j, pid_t parent, pid_t child, uint64_t now_ns)
{
    (void)now_ns;
    uint32_t old = pc_lineage_by_pid(&j->lin, child);
    if (old) /* its end was missed and the number is in use again; the new one is found first from now on */
        pc_lineage_exit(&j->lin, old);
    uint32_t up = parent ? actor_slot(j, parent) : 0;
    return name_of(j, pc_lineage_add(&j->lin, child, up));
}

void pc_judge_exec(struct pc_judge *j, pid_t pid, uint64_t now_ns)
{
    (void)now_ns;
    actor_slot(j, pid); /* another program, the same process: evidence stays */
}

void pc_judge_exit(struct pc_judge *j, pid_t pid, uint64_t now_ns)
{
    (void)now_ns;
    uint32_t s = pc_lineage_by_pid(&j->lin, pid);
    if (s)
        pc_lineage_exit(&j->lin, s);
}

pc_actor pc_judge_seen(struct pc_judge *j, pid_t pid, pid_t parent, uint64_t now_ns)
{
    (void)now_ns;
    uint32_t up = parent && parent != pid ? actor_slot(j, parent) : 0;
    uint32_t s = pc_lineage_by_pid(&j->lin, pid);
    if (!s || !j->lin.node[s].alive)
        s = pc_lineage_add(&j->lin, pid, up);
    else
        pc_lineage_adopt(&j->lin, s, up);
    return name_of(j, s);
}

void pc_judge_spare(struct pc_judge *j, pid_t pid)
{
    pc_lineage_spare(&j->lin, actor_slot(j, pid));
}

pc_actor pc_judge_actor_of(const struct pc_judge *j, pid_t pid)
{
    return name_of(j, pc_lineage_by_pid(&j->lin, pid));
}

bool pc_judge_is_beneath(const struct pc_judge *j, pc_actor actor, pc_actor root)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor), r = pc_lineage_slot(&j->lin, root);
    return s && r && pc_lineage_is_beneath(&j->lin, s, r);
}

pc_actor pc_judge_parent(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor);
    return s ? name_of(j, j->lin.node[s].parent) : 0;
}

pid_t pc_judge_pid(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor);
    return s ? j->lin.node[s].pid : 0;
}

bool pc_judge_alive(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor);
    return s && j->lin.node[s].alive;
}

/* --- facts ------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
    return x ^ x >> 31;
}

/* Notes are short: of a file that needs more than the first window nothing is remembered. */
static uint64_t hash_text(const struct pc_content *c)
{
    if (c->count != 1 || c->win[0].len < SMALL_FILE || c->win[0].len > 65536)
        return 0;
    const uint8_t *p = c->win[0].data;
    uint64_t h = c->win[0].len;
    for (uint32_t i = 0; i < c->win[0].len; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return h ? h : 1;
}

void pc_judge_facts(const struct pc_act *act, struct pc_facts *out)
{
    *out = (struct pc_facts){0};
    if (act->before && act->after) {
        pc_content_compare_looks(act->before, act->after, &out->finding, &out->before, &out->after);
        out->have = PC_HAVE_FINDING | PC_HAVE_BEFORE | PC_HAVE_AFTER;
    } else if (act->before) {
        pc_content_look(act->before, &out->before);
        out->have = PC_HAVE_BEFORE;
    } else if (act->after) {
        pc_content_look(act->after, &out->after);
        out->have = PC_HAVE_AFTER;
    }
    if (act->after && out->after.textual)
        out->text_hash = hash_text(act->after);
}

/* --- weighing ---------------------------------------------------------------------------------------------------- */

struct weighing {
    struct pc_judge *j;
    const struct pc_act *act;
    const struct pc_facts *facts;
    uint32_t actor; /* slot */
    struct pc_outcome *out;
};

static void blame(struct weighing *w, uint64_t file, uint8_t score, uint32_t evidence, bool counts)
{
    struct pc_finding *f = &w->out->finding;
    f->evidence |= evidence;
    if (score > f->score)
        f->score = score;
    if (score)
        pc_ledger_add(&w->j->ledger, w->actor, file, w->act->now_ns, score, evidence, counts);
}

static struct note *note_of(struct pc_judge *j, uint64_t key, pc_actor group, uint64_t now_ns)
{
    for (uint32_t i = 0; i < NOTES; i++)
        if (j->note[i].key == key && j->note[i].group == group && now_ns - j->note[i].time_ns <= j->policy.window_ns)
            return &j->note[i];
    struct note *n = &j->note[j->note_at];
    j->note_at = (j->note_at + 1) % NOTES;
    *n = (struct note){.key = key, .group = group, .time_ns = now_ns};
    return n;
}

/*
 * The same new text in many folders. By itself that is what installing software does (licences, indexes), so it adds
 * to damage already found and never counts as a damaged file.
 */
static void weigh_note(struct weighing *w)
{
    struct pc_judge *j = w->j;
    if (!w->facts->text_hash)
        return;
    uint32_t group = pc_lineage_group(&j->lin, w->actor);
    struct note *n = note_of(j, mix(w->facts->text_hash, w->act->name_hash), name_of(j, group), w->act->now_ns);
    for (uint32_t i = 0; i < n->folders; i++)
        if (n->folder[i] == w->act->folder)
            return;
    if (n->folders < NOTE_FOLDERS_MAX)
        n->folder[n->folders++] = w->act->folder;
    if (n->folders >= j->policy.note_folders && j->lin.node[group].files > 0)
        blame(w, n->key, NOTE_SCORE, PC_EV_NOTE, false);
}

static void credit_if_opaque(struct weighing *w)
{
    if (w->facts->after.opaque < OPAQUE_ENOUGH || w->act->size_after < SMALL_FILE)
        return;
    bool archive = pc_kind_flags(w->facts->after.kind) & PC_KF_ARCHIVE;
    pc_ledger_credit(&w->j->ledger, w->actor, w->act, archive);
}

static bool is_structured(const struct pc_look *look, uint64_t size)
{
    return size >= SMALL_FILE && look->opaque < OPAQUE_ENOUGH && look->kind != PC_KIND_EMPTY &&
           look->kind != PC_KIND_CONSTANT;
}

static void weigh_create(struct weighing *w)
{
    uint64_t file;
    struct pc_judge *j = w->j;
    if (w->facts->after.opaque >= OPAQUE_ENOUGH && pc_ledger_take_gone(&j->ledger, w->actor, w->act, &file))
        blame(w, file, 95, PC_EV_OPAQUE_TWIN, true);
    else
        credit_if_opaque(w);
    if (is_structured(&w->facts->after, w->act->size_after) && w->act->op == PC_OP_CREATE)
        pc_lineage_add_young(&j->lin, w->actor, 1);
    weigh_note(w);
}

static void weigh_change(struct weighing *w)
{
    const struct pc_act *act = w->act;
    struct pc_finding f = w->facts->finding;
    uint8_t twin = 0;
    if (f.evidence & PC_EV_EMPTIED)
        twin = pc_ledger_match(&w->j->ledger, w->actor, act->folder, act->size_before);
    w->out->finding = f;
    blame(w, act->file, f.score > twin ? f.score : twin, f.evidence | (twin ? PC_EV_OPAQUE_TWIN : 0), true);
    /* The ciphertext that took this file's place must not be held against a second file. */
    if (f.score >= DAMAGE_SCORE && act->op == PC_OP_REPLACE)
        pc_ledger_match(&w->j->ledger, w->actor, act->folder, act->size_before);
    else if (f.score < DAMAGE_SCORE)
        credit_if_opaque(w);
}

/* True when the lineage that deletes the file made it itself, as one of a handful of temporary files. */
static bool is_own_temporary(struct weighing *w)
{
    struct pc_lineage *l = &w->j->lin;
    uint32_t maker = pc_lineage_slot(l, w->act->creator);
    uint32_t common = maker ? pc_lineage_common(l, maker, w->actor) : 0;
    return common && l->node[common].pid != 1 && l->node[common].young <= OWN_TEMPORARIES;
}

static void weigh_delete(struct weighing *w)
{
    const struct pc_act *act = w->act;
    struct pc_lineage *l = &w->j->lin;
    uint32_t maker = pc_lineage_slot(l, act->creator);
    if (!is_structured(&w->facts->before, act->size_before))
        return;
    bool own = is_own_temporary(w);
    if (maker && l->node[maker].young)
        pc_lineage_add_young(l, maker, -1);
    if (own)
        return;
    uint8_t score = pc_ledger_match(&w->j->ledger, w->actor, act->folder, act->size_before);
    if (score)
        blame(w, act->file, score, PC_EV_OPAQUE_TWIN, true);
    else
        pc_ledger_gone(&w->j->ledger, w->actor, act);
}

/* --- verdict ----------------------------------------------------------------------------------------------------- */

static bool reaches(const struct pc_judge *j, uint32_t score, uint32_t files)
{
    return score >= j->policy.convict_score && files >= j->policy.min_files;
}

/* What a spared one's children hold that no verdict has named yet. */
struct tally {
    uint32_t children, score, files;
};

static bool is_suspect_child(const struct pc_node *n)
{
    return !n->spared && !n->convicted && n->score >= DAMAGE_SCORE;
}

static struct tally tally_children(const struct pc_judge *j, uint32_t spared)
{
    struct tally t = {0};
    for (uint32_t c = j->lin.node[spared].child; c; c = j->lin.node[c].next) {
        if (!is_suspect_child(&j->lin.node[c]))
            continue;
        t.children++;
        t.score += j->lin.node[c].score;
        t.files += j->lin.node[c].files;
    }
    return t;
}

/*
 * The spared one's children that hold damage of their own, taken together. They may be strangers to each other, so more
 * is asked than of one program. At most 64 are named; later acts name more.
 */
static void convict_children(struct pc_judge *j, uint32_t spared, struct pc_outcome *out)
{
    struct pc_node *node = j->lin.node;
    struct tally t = tally_children(j, spared);
    if (t.children < 2 || !reaches(j, t.score / 2, t.files / 2))
        return;
    out->convicted = true;
    out->evidence_score = t.score;
    out->evidence_files = t.files;
    const uint32_t room = sizeof out->roots / sizeof out->roots[0];
    for (uint32_t c = node[spared].child; c && out->root_count < room; c = node[c].next) {
        if (!is_suspect_child(&node[c]))
            continue;
        node[c].convicted = true;
        out->roots[out->root_count++] = node[c].id;
    }
}

static void convict_one(struct pc_judge *j, uint32_t slot, struct pc_outcome *out)
{
    struct pc_node *n = &j->lin.node[slot];
    n->convicted = true;
    out->convicted = true;
    out->root_count = 1;
    out->roots[0] = n->id;
    out->evidence_score = n->score;
    out->evidence_files = n->files;
}

static void seek_verdict(struct pc_judge *j, uint32_t actor, struct pc_outcome *out)
{
    uint32_t found = 0;
    for (uint32_t s = actor; s; s = j->lin.node[s].parent) {
        const struct pc_node *n = &j->lin.node[s];
        if (n->convicted)
            return; /* said already: whoever acts here is part of that verdict */
        if (n->spared) {
            if (!found && reaches(j, n->score, n->files))
                convict_children(j, s, out);
            break;
        }
        if (!found && reaches(j, n->score, n->files))
            found = s;
    }
    if (found)
        convict_one(j, found, out);
}

/* --- acts -------------------------------------------------------------------------------------------------------- */

/* What must be read before this act can be weighed (enum pc_have). */
static uint8_t wanted(struct pc_judge *j, const struct pc_act *act, uint32_t actor)
{
    const struct pc_lineage *l = &j->lin;
    if (act->is_dir)
        return 0;
    switch (act->op) {
    case PC_OP_MODIFY:
    case PC_OP_REPLACE:
        if (act->has_pre_image)
            return act->size_before < SMALL_FILE && act->size_after < SMALL_FILE ? 0 : PC_HAVE_FINDING;
        return act->size_after < SMALL_FILE ? 0 : PC_HAVE_AFTER;
    case PC_OP_CREATE:
        return act->size_after < SMALL_FILE ? 0 : PC_HAVE_AFTER;
    case PC_OP_DELETE:
        /* Deleting is nobody's crime while nothing stands in for the file: the content need not be read. */
        if (!act->has_pre_image || act->size_before < SMALL_FILE)
            return 0;
        return l->node[pc_lineage_wide(l, actor)].opaque ? PC_HAVE_BEFORE : 0;
    default:
        return 0;
    }
}

static enum pc_answer ask_for(uint8_t want)
{
    return want == PC_HAVE_FINDING ? PC_NEED_BOTH : want == PC_HAVE_BEFORE ? PC_NEED_BEFORE : PC_NEED_AFTER;
}

static void weigh(struct weighing *w, uint8_t want)
{
    if (w->act->op == PC_OP_DECOY)
        blame(w, w->act->file, DECOY_SCORE, PC_EV_DECOY, true);
    else if (w->act->op == PC_OP_VAULT)
        blame(w, w->act->file, VAULT_SCORE, PC_EV_VAULT, true);
    else if (want == PC_HAVE_FINDING)
        weigh_change(w);
    else if (want == PC_HAVE_AFTER)
        weigh_create(w);
    else if (want == PC_HAVE_BEFORE)
        weigh_delete(w);
}

enum pc_answer pc_judge_act(struct pc_judge *j, const struct pc_act *act, struct pc_outcome *out)
{
    pc_ledger_expire(&j->ledger, act->now_ns, j->policy.window_ns);
    uint32_t actor = actor_slot(j, act->pid);
    struct pc_outcome o = {.actor = name_of(j, actor)};
    uint8_t want = wanted(j, act, actor);
    if (want && act->facts)
        o.facts = *act->facts;
    else if (want)
        pc_judge_facts(act, &o.facts);
    if (want & ~o.facts.have)
        return ask_for(want);
    struct weighing w = {.j = j, .act = act, .facts = &o.facts, .actor = actor, .out = &o};
    weigh(&w, want);
    o.gate = o.finding.score >= DAMAGE_SCORE;
    if (o.finding.score)
        seek_verdict(j, actor, &o);
    *out = o;
    return PC_DECIDED;
}

/* --- what the gate asks ------------------------------------------------------------------------------------------ */

static uint32_t suspect(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor);
    uint32_t group = s ? pc_lineage_group(&j->lin, s) : 0;
    while (s && j->lin.node[s].score == 0)
        s = s == group ? 0 : j->lin.node[s].parent;
    return s;
}

uint32_t pc_judge_suspicion(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = suspect(j, actor);
    return s ? j->lin.node[s].score : 0;
}

pc_actor pc_judge_suspect_root(const struct pc_judge *j, pc_actor actor)
{
    return name_of(j, suspect(j, actor));
}

void pc_judge_absolve(struct pc_judge *j, pc_actor root)
{
    uint32_t r = pc_lineage_slot(&j->lin, root);
    if (!r)
        return;
    pc_ledger_absolve(&j->ledger, r);
    for (uint32_t s = 1; s <= j->lin.used; s++)
        if (j->lin.node[s].id && pc_lineage_is_beneath(&j->lin, s, r))
            j->lin.node[s].convicted = false;
}
