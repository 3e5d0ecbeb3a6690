/*
 * Owns the decision: takes acts in, says what facts it needs, has them weighed, and names the smallest subtree that
 * holds the evidence. Pure: no clock, no I/O; allocates in pc_judge_new alone. What a file's content means is
 * content.c's business, what an act is worth weigh.c's, who begot whom lineage.c's, what is remembered ledger.c's and
 * twins.c's.
 */
#include "core/weigh.h"

#include "base/err.h"
#include "core/bytes.h"

#include <errno.h>
#include <stdlib.h>

void pc_judge_policy_default(struct pc_judge_policy *p)
{
    *p = (struct pc_judge_policy){.convict_score = 270, .min_files = 3, .window_ns = 600 * 1000000000ULL,
                                  .max_actors = 32768, .note_folders = 3, .bulk_files = 50};
}

static void on_evict(void *arg, uint32_t slot, uint32_t parent)
{
    struct pc_judge *j = arg;
    pc_ledger_inherit(&j->ledger, slot, parent);
    pc_twins_inherit(&j->twins, slot, parent);
    pc_bulk_inherit(&j->bulk, slot, parent);
}

int pc_judge_new(const struct pc_judge_policy *p, struct pc_judge **out)
{
    if (p->max_actors < 16 || p->max_actors > PC_LINEAGE_MAX || p->convict_score == 0 || p->window_ns == 0)
        return PC_E_RANGE;
    struct pc_judge *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    j->policy = *p;
    if (pc_lineage_init(&j->lin, p->max_actors) < 0 || pc_ledger_init(&j->ledger, &j->lin) < 0 ||
        pc_twins_init(&j->twins, &j->lin) < 0 || pc_bulk_init(&j->bulk, &j->lin) < 0) {
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
    pc_twins_fini(&j->twins);
    pc_bulk_fini(&j->bulk);
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
    uint32_t old = pc_lineage_by_pid(&j->lin, child);
    if (old) /* its end was missed and the number is in use again; the new one is found first from now on */
        pc_lineage_exit(&j->lin, old);
    uint32_t up = parent ? actor_slot(j, parent) : 0;
    pc_actor born = name_of(j, pc_lineage_add(&j->lin, child, up));
    pc_crowds_born(&j->crowds, born, 0, now_ns);
    return born;
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
    if (s)
        j->lin.node[s].stray = false;
    return name_of(j, s);
}

void pc_judge_spare(struct pc_judge *j, pid_t pid)
{
    pc_lineage_spare(&j->lin, actor_slot(j, pid));
}

pc_actor pc_judge_serve(struct pc_judge *j, pid_t pid, pid_t client, uint64_t now_ns)
{
    (void)now_ns;
    struct pc_lineage *l = &j->lin;
    uint32_t s = pc_lineage_by_pid(l, pid), served = s ? pc_lineage_client(l, s) : 0;
    uint32_t server = s ? l->node[served ? served : s].parent : 0;
    if (!server || client >= 0)
        return 0;
    pc_lineage_spare(l, server);
    uint32_t c = pc_lineage_by_pid(l, client);
    if (!c)
        c = pc_lineage_add(l, client, server);
    s = pc_lineage_by_pid(l, pid); /* a full table may have dropped it for the client's sake: then it is met anew */
    if (s)
        pc_lineage_move(l, s, c);
    pc_lineage_exit(l, c); /* remembered as long as what serves it is, and its evidence: never a living process */
    return s ? name_of(j, c) : 0;
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

bool pc_judge_is_kin(const struct pc_judge *j, pc_actor maker, pid_t pid)
{
    uint32_t s = pc_lineage_by_pid(&j->lin, pid);
    return s && pc_weigh_kin(&j->lin, maker, s);
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

pc_actor pc_judge_group_of(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor);
    return s ? name_of(j, pc_lineage_group(&j->lin, s)) : 0;
}

pc_actor pc_judge_group_of_pid(const struct pc_judge *j, pid_t pid)
{
    return pc_judge_group_of(j, pc_judge_actor_of(j, pid));
}

bool pc_judge_alive(const struct pc_judge *j, pc_actor actor)
{
    uint32_t s = pc_lineage_slot(&j->lin, actor);
    return s && j->lin.node[s].alive;
}

/* --- facts ------------------------------------------------------------------------------------------------------- */

/* Notes are short: of a file that needs more than the first window nothing is remembered. */
static uint64_t hash_text(const struct pc_content *c)
{
    if (c->count != 1 || c->win[0].len < PC_SMALL_FILE || c->win[0].len > 65536)
        return 0;
    return pc_bytes_hash(c->win[0].data, c->win[0].len);
}

void pc_judge_facts(const struct pc_act *act, struct pc_facts *out)
{
    *out = (struct pc_facts){0};
    if (act->before && act->after) {
        pc_content_compare_looks(act->before, act->after, &out->finding, &out->before, &out->after);
        out->have = PC_HAVE_FINDING | PC_HAVE_BEFORE | PC_HAVE_AFTER;
        if (act->op == PC_OP_DELETE)
            pc_gist_of(act->before, &out->gist_before);
        if (act->op == PC_OP_CREATE)
            pc_gist_of(act->after, &out->gist_after);
    } else if (act->before) {
        pc_content_look(act->before, &out->before);
        pc_gist_of(act->before, &out->gist_before);
        out->have = PC_HAVE_BEFORE;
    } else if (act->after) {
        pc_content_look(act->after, &out->after);
        pc_gist_of(act->after, &out->gist_after);
        out->have = PC_HAVE_AFTER;
    }
    if (act->after && out->after.textual)
        out->text_hash = hash_text(act->after);
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
    return !n->spared && !n->convicted && n->score >= PC_DAMAGE_SCORE;
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
    out->evidence_since_ns = UINT64_MAX;
    const uint32_t room = sizeof out->roots / sizeof out->roots[0];
    for (uint32_t c = node[spared].child; c && out->root_count < room; c = node[c].next) {
        if (!is_suspect_child(&node[c]))
            continue;
        node[c].convicted = true;
        out->roots[out->root_count++] = node[c].id;
        uint64_t since_ns = pc_ledger_since(&j->ledger, c);
        if (since_ns < out->evidence_since_ns)
            out->evidence_since_ns = since_ns;
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
    out->evidence_since_ns = pc_ledger_since(&j->ledger, slot);
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
    uint32_t client = found ? pc_lineage_client(&j->lin, found) : 0;
    if (found)
        convict_one(j, client ? client : found, out); /* a client's other connections are the same client's */
}

/* --- acts -------------------------------------------------------------------------------------------------------- */

/* Of a deletion; o->heir: what the file is to be compared with. */
static uint8_t wanted_of_delete(struct pc_judge *j, const struct pc_act *act, uint32_t actor, struct pc_outcome *o)
{
    if (!act->has_pre_image || act->size_before < PC_SMALL_FILE)
        return 0;
    const struct pc_heir *heir = pc_heirs_find(&j->heirs, &j->lin, actor, act, j->policy.window_ns);
    bool calm = !j->lin.node[pc_lineage_wide(&j->lin, actor)].opaque;
    if (!heir && calm) /* deleting is nobody's crime while nothing stands in for the file: it need not be read */
        return 0;
    enum pc_own own = pc_weigh_own(j, act, actor);
    if (heir && own == PC_OWN_NOT) {
        o->heir = heir->file;
        return PC_HAVE_FINDING;
    }
    return calm || own == PC_OWN_TEMPORARY ? 0 : PC_HAVE_BEFORE;
}

/* Of a new file; o->heir_of: what it is to be compared with. */
static uint8_t wanted_of_create(struct pc_judge *j, const struct pc_act *act, uint32_t actor, struct pc_outcome *o)
{
    if (act->size_after < PC_SMALL_FILE)
        return 0;
    const struct pc_gone *gone = act->folder ? pc_twins_gone_heir(&j->twins, actor, act) : NULL;
    o->heir_of = gone ? gone->base : 0;
    return gone ? PC_HAVE_FINDING : PC_HAVE_AFTER;
}

/* What must be read before this act can be weighed (enum pc_have). */
static uint8_t wanted(struct pc_judge *j, const struct pc_act *act, uint32_t actor, struct pc_outcome *o)
{
    if (act->is_dir)
        return 0;
    switch (act->op) {
    case PC_OP_MODIFY:
    case PC_OP_REPLACE:
        if (act->has_pre_image)
            return act->size_before < PC_SMALL_FILE && act->size_after < PC_SMALL_FILE ? 0 : PC_HAVE_FINDING;
        return act->size_after < PC_SMALL_FILE ? 0 : PC_HAVE_AFTER;
    case PC_OP_CREATE:
        return wanted_of_create(j, act, actor, o);
    case PC_OP_DELETE:
        return wanted_of_delete(j, act, actor, o);
    default:
        return 0;
    }
}

/* A comparison is a help to a deletion or a creation, not a must: one side may not be there any more. */
static uint8_t what_there_is(const struct pc_act *act, uint8_t want, uint8_t have)
{
    uint8_t enough = act->op == PC_OP_DELETE ? PC_HAVE_BEFORE : act->op == PC_OP_CREATE ? PC_HAVE_AFTER : want;
    return want & ~have && enough & have ? enough : want;
}

static enum pc_answer ask_for(uint8_t want)
{
    return want == PC_HAVE_FINDING ? PC_NEED_BOTH : want == PC_HAVE_BEFORE ? PC_NEED_BEFORE : PC_NEED_AFTER;
}

/* Who acts; when nobody has met it, it is a stray. One that is forgotten by now is nobody, not who has its number. */
static uint32_t acting_slot(struct pc_judge *j, const struct pc_act *act)
{
    pid_t pid = act->actor ? 0 : act->pid;
    uint32_t s = act->actor ? pc_lineage_slot(&j->lin, act->actor) : 0;
    if (!s)
        s = pc_lineage_by_pid(&j->lin, pid);
    if (s)
        return s;
    s = pc_lineage_add(&j->lin, pid, 0);
    j->lin.node[s].stray = pid > 0;
    return s;
}

enum pc_answer pc_judge_act(struct pc_judge *j, const struct pc_act *act, struct pc_outcome *out)
{
    pc_ledger_expire(&j->ledger, act->now_ns, j->policy.window_ns);
    pc_twins_expire(&j->twins, act->now_ns, j->policy.window_ns);
    uint32_t actor = acting_slot(j, act);
    struct pc_outcome o = {.actor = name_of(j, actor)};
    uint8_t want = wanted(j, act, actor, &o);
    if (want && act->facts)
        o.facts = *act->facts;
    else if (want)
        pc_judge_facts(act, &o.facts);
    want = what_there_is(act, want, o.facts.have);
    if (want & ~o.facts.have) {
        out->heir = o.heir;
        out->heir_of = o.heir_of;
        return ask_for(want);
    }
    pc_weigh(&(struct pc_weighing){.j = j, .act = act, .facts = &o.facts, .actor = actor, .out = &o}, want);
    o.gate = o.finding.score >= PC_DAMAGE_SCORE;
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

void pc_judge_lose(struct pc_judge *j, pid_t pid)
{
    uint32_t s = pc_lineage_by_pid(&j->lin, pid);
    if (s)
        j->lin.node[s].stray = true;
}

uint32_t pc_judge_take_strays(struct pc_judge *j, pc_actor *out, uint32_t max, uint64_t *since_ns)
{
    uint32_t n = 0;
    uint64_t first = UINT64_MAX;
    for (uint32_t s = 1; s <= j->lin.used && n < max; s++) {
        struct pc_node *node = &j->lin.node[s];
        if (!node->id || !node->stray || node->convicted || node->score < PC_DAMAGE_SCORE)
            continue;
        uint64_t since = pc_ledger_since(&j->ledger, s);
        first = since < first ? since : first;
        node->convicted = true;
        out[n++] = node->id;
    }
    if (n)
        *since_ns = first;
    return n;
}

void pc_judge_thread(struct pc_judge *j, pid_t pid, pid_t tid, uint64_t now_ns)
{
    uint32_t s = pc_lineage_by_pid(&j->lin, pid);
    if (s)
        pc_crowds_born(&j->crowds, name_of(j, s), tid, now_ns);
}

void pc_judge_thread_exit(struct pc_judge *j, pid_t tid)
{
    pc_crowds_ended(&j->crowds, tid);
}

bool pc_judge_crowded(struct pc_judge *j, uint64_t now_ns, bool count)
{
    if (count || j->crowds.uncounted >= PC_CROWD_COUNT_AT)
        pc_crowds_count(&j->crowds, &j->lin, now_ns);
    return j->crowds.groups > 0;
}

pc_actor pc_judge_crowd_of(const struct pc_judge *j, pc_actor actor)
{
    return pc_crowds_of(&j->crowds, &j->lin, pc_lineage_slot(&j->lin, actor));
}

void pc_judge_absolve(struct pc_judge *j, pc_actor root)
{
    uint32_t r = pc_lineage_slot(&j->lin, root);
    if (!r)
        return;
    pc_ledger_absolve(&j->ledger, r);
    pc_twins_absolve(&j->twins, r);
    for (uint32_t s = 1; s <= j->lin.used; s++)
        if (j->lin.node[s].id && pc_lineage_is_beneath(&j->lin, s, r))
            j->lin.node[s].convicted = false;
}
