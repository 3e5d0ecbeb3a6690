/* The lineage table against a model, at its bounds, and with evidence in it; allocation failures of the judge. */
#include "core/ledger.h"
#include "core/lineage.h"
#include "core/twins.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t rng = 1;

static uint32_t roll(uint32_t n)
{
    rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(rng >> 33) % n;
}

struct world {
    struct pc_lineage lin;
    struct pc_ledger ledger;
    struct pc_twins twins;
};

static void inherit(void *arg, uint32_t slot, uint32_t parent)
{
    struct world *w = arg;
    pc_ledger_inherit(&w->ledger, slot, parent);
    pc_twins_inherit(&w->twins, slot, parent);
}

static struct world *new_world(uint32_t cap)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(pc_lineage_init(&w->lin, cap), 0);
    assert_int_equal(pc_ledger_init(&w->ledger, &w->lin), 0);
    assert_int_equal(pc_twins_init(&w->twins, &w->lin), 0);
    w->lin.on_evict = inherit;
    w->lin.arg = w;
    return w;
}

static void end_world(struct world *w)
{
    pc_ledger_fini(&w->ledger);
    pc_twins_fini(&w->twins);
    pc_lineage_fini(&w->lin);
    free(w);
}

/* Sums of every node, recomputed from the ledger's entries and credits alone. */
static void check_sums(const struct world *w)
{
    const struct pc_lineage *l = &w->lin;
    struct sums {
        uint32_t score, files, opaque;
    } *sums = calloc(l->cap + 1, sizeof *sums);
    assert_non_null(sums);
    for (uint32_t i = w->ledger.oldest; i; i = w->ledger.entry[i].age_next)
        for (uint32_t s = w->ledger.entry[i].owner; s; s = l->node[s].parent) {
            sums[s].score += w->ledger.entry[i].score;
            sums[s].files += w->ledger.entry[i].counts;
        }
    for (uint32_t k = 0; k < PC_TWINS_CREDITS; k++)
        for (uint32_t s = w->twins.credit[k].owner; s; s = l->node[s].parent)
            sums[s].opaque++;
    for (uint32_t s = 1; s <= l->used; s++) {
        const struct pc_node *n = &l->node[s];
        if (!n->id)
            continue;
        assert_int_equal(n->score, sums[s].score);
        assert_int_equal(n->files, sums[s].files);
        assert_int_equal(n->opaque, sums[s].opaque);
        assert_true(n->depth < PC_LINEAGE_DEPTH);
        assert_int_equal(n->depth, n->parent ? l->node[n->parent].depth + 1 : 0);
        for (uint32_t c = n->child; c; c = l->node[c].next)
            assert_int_equal(l->node[c].parent, s);
    }
    free(sums);
}

static void add(struct world *w, uint32_t owner, uint64_t file, uint64_t now, uint8_t score, bool counts)
{
    struct pc_blame b = {.file = file, .now_ns = now, .score = score, .evidence = 1, .counts = counts};
    pc_ledger_add(&w->ledger, owner, &b);
}

static void remember(struct world *w, uint32_t owner, const struct pc_act *act, enum pc_twin twin)
{
    struct pc_gist none = {0};
    pc_twins_credit(&w->twins, owner, act, act->file, twin, &none);
}

static void random_twin(struct world *w, uint32_t s, const struct pc_act *act)
{
    struct pc_search search = {.folder = act->folder, .size = act->size_before, .now_ns = act->now_ns, .actor = s};
    struct pc_match m = pc_twins_match(&w->twins, &search);
    struct pc_gone *d = pc_twins_gone(&w->twins, s, act);
    d->credit = m.credit;
    d->credit_file = m.file;
    d->structured = true;
    d = pc_twins_gone_near(&w->twins, s, act);
    if (d && roll(2))
        pc_twins_give_back(&w->twins, d);
    if (d)
        d->actor = 0;
}

static void random_deed(struct world *w, uint64_t now)
{
    struct pc_lineage *l = &w->lin;
    uint32_t s = 1 + roll(l->used ? l->used : 1);
    bool there = l->used && l->node[s].id;
    struct pc_act act = {.now_ns = now, .file = roll(400), .folder = roll(4), .size_before = roll(90000),
                         .size_after = roll(90000)};
    switch (roll(12)) {
    case 0:
    case 1:
    case 2:
        pc_lineage_add(l, (pid_t)(1 + roll(500)), there ? s : 0);
        return;
    case 3:
        if (there)
            pc_lineage_exit(l, s);
        return;
    case 4:
        if (there)
            (roll(2) ? pc_lineage_adopt : pc_lineage_move)(l, s, pc_lineage_by_pid(l, (pid_t)(1 + roll(500))));
        return;
    case 5:
        pc_ledger_expire(&w->ledger, now, 5000);
        pc_twins_expire(&w->twins, now, 5000);
        return;
    case 6:
        if (roll(40) == 0 && there) {
            pc_ledger_absolve(&w->ledger, s);
            pc_twins_absolve(&w->twins, s);
        }
        return;
    case 7:
        if (there)
            remember(w, s, &act, (enum pc_twin)roll(PC_TWIN_ARCHIVE + 1));
        return;
    case 8:
        if (there)
            random_twin(w, s, &act);
        return;
    case 9:
        pc_ledger_lower(&w->ledger, act.file, (uint8_t)roll(100));
        return;
    default:
        if (there)
            add(w, s, act.file, now, (uint8_t)(1 + roll(100)), roll(4) > 0);
    }
}

static void sums_equal_what_is_owned_after_any_history(void **state)
{
    (void)state;
    for (uint32_t cap = 16; cap <= 300; cap += 71) {
        struct world *w = new_world(cap);
        for (uint64_t now = 1; now < 20000; now++) {
            random_deed(w, now);
            if (now % 97 == 0)
                check_sums(w);
        }
        check_sums(w);
        end_world(w);
    }
}

static void full_ledgers_forget_the_oldest(void **state)
{
    (void)state;
    struct world *w = new_world(64);
    uint32_t s = pc_lineage_add(&w->lin, 1, 0);
    for (uint64_t f = 1; f <= PC_LEDGER_EVIDENCE + 100; f++)
        add(w, s, f, f, 10, true);
    assert_int_equal(w->lin.node[s].files, PC_LEDGER_EVIDENCE);
    struct pc_act act = {.size_after = 1000};
    for (act.file = 1; act.file <= PC_TWINS_CREDITS + 100; act.file++)
        remember(w, s, &act, PC_TWIN_CIPHER);
    assert_int_equal(w->lin.node[s].opaque, PC_TWINS_CREDITS);
    check_sums(w);
    end_world(w);
}

static void the_best_score_of_a_file_counts(void **state)
{
    (void)state;
    struct world *w = new_world(64);
    uint32_t top = pc_lineage_add(&w->lin, 1, 0);
    uint32_t a = pc_lineage_add(&w->lin, 2, top), b = pc_lineage_add(&w->lin, 3, top);
    add(w, a, 7, 1, 40, true);
    add(w, b, 7, 2, 30, true);
    assert_int_equal(w->lin.node[a].score, 40);
    add(w, b, 7, 3, 90, true);
    assert_int_equal(w->lin.node[top].score, 90);
    assert_int_equal(w->lin.node[top].files, 1);
    assert_int_equal(w->lin.node[a].score, 0);
    end_world(w);
}

static void actors_are_never_confused(void **state)
{
    (void)state;
    struct pc_judge_policy p;
    struct pc_judge *j;
    pc_judge_policy_default(&p);
    p.max_actors = 16;
    assert_int_equal(pc_judge_new(&p, &j), 0);
    pc_actor first = pc_judge_fork(j, 0, 50, 0);
    pc_judge_exit(j, 50, 0);
    assert_false(pc_judge_alive(j, first));
    for (pid_t pid = 100; pid < 200; pid++) {
        pc_judge_fork(j, 0, pid, 0);
        pc_judge_exit(j, pid, 0);
    }
    pc_actor again = pc_judge_fork(j, 0, 50, 0);
    assert_true(again != first && again != 0);
    assert_int_equal(pc_judge_pid(j, first), 0); /* evicted; its number is nobody's */
    assert_int_equal(pc_judge_actor_of(j, 50), again);
    assert_false(pc_judge_is_beneath(j, first, again));
    pc_judge_free(j);
}

static void parents_learnt_late_are_adopted(void **state)
{
    (void)state;
    struct pc_judge_policy p;
    struct pc_judge *j;
    pc_judge_policy_default(&p);
    assert_int_equal(pc_judge_new(&p, &j), 0);
    pc_actor child = pc_judge_seen(j, 30, 20, 0);
    pc_actor parent = pc_judge_seen(j, 20, 10, 0);
    pc_actor top = pc_judge_seen(j, 10, 0, 0);
    assert_int_equal(pc_judge_parent(j, child), parent);
    assert_true(pc_judge_is_beneath(j, child, top));
    pc_judge_seen(j, 10, 30, 0); /* a circle: refused */
    assert_int_equal(pc_judge_parent(j, top), 0);
    pc_judge_free(j);
}

static void every_process_alive_at_capacity_is_survived(void **state)
{
    (void)state;
    struct pc_judge_policy p;
    struct pc_judge *j;
    pc_judge_policy_default(&p);
    p.max_actors = 64;
    assert_int_equal(pc_judge_new(&p, &j), 0);
    pc_judge_spare(j, 1);
    for (pid_t pid = 2; pid < 5000; pid++)
        assert_true(pc_judge_fork(j, 1, pid, 0) != 0);
    assert_true(pc_judge_alive(j, pc_judge_actor_of(j, 1)));
    assert_true(pc_judge_actor_of(j, 4999) != 0);
    pc_judge_free(j);
}

static void the_table_fits_its_budget(void **state)
{
    (void)state;
    size_t bytes = 32769 * sizeof(struct pc_node) + 32768 * sizeof(uint32_t) +
                   (PC_LEDGER_EVIDENCE + 1) * sizeof(struct pc_entry) + 2 * PC_LEDGER_EVIDENCE * sizeof(uint32_t) +
                   PC_TWINS_CREDITS * sizeof(struct pc_credit) + PC_TWINS_GONE * sizeof(struct pc_gone) +
                   PC_TWINS_SOUNDS * sizeof(struct pc_sound) + PC_TWINS_MADE * sizeof(struct pc_made);
    assert_true(bytes <= 4u << 20);
}

static void senseless_policies_are_refused(void **state)
{
    (void)state;
    struct pc_judge_policy p;
    struct pc_judge *j = NULL;
    pc_judge_policy_default(&p);
    p.max_actors = 3;
    assert_int_equal(pc_judge_new(&p, &j), PC_E_RANGE);
    pc_judge_policy_default(&p);
    p.convict_score = 0;
    assert_int_equal(pc_judge_new(&p, &j), PC_E_RANGE);
    assert_null(j);
    pc_judge_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_equal_what_is_owned_after_any_history),
        cmocka_unit_test(full_ledgers_forget_the_oldest),
        cmocka_unit_test(the_best_score_of_a_file_counts),
        cmocka_unit_test(actors_are_never_confused),
        cmocka_unit_test(parents_learnt_late_are_adopted),
        cmocka_unit_test(every_process_alive_at_capacity_is_survived),
        cmocka_unit_test(the_table_fits_its_budget),
        cmocka_unit_test(senseless_policies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
