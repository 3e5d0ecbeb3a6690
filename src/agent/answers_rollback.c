/*
 * Owns the answer to `rollback`, and that one command at a time changes files. Keeps the guard at its other work
 * meanwhile; what a step does is the store's.
 */
#include "agent/answers.h"

#include "base/err.h"
#include "preserve/rollback.h"

#include <inttypes.h>
#include <unistd.h>

const char *pc_answer_step_kind(uint8_t kind)
{
    static const char *const kinds[] = {"", "restore", "recreate", "move-back", "set-aside", "metadata", "nothing"};
    return kind < sizeof kinds / sizeof kinds[0] ? kinds[kind] : "other";
}

static json_t *step_json(const struct pc_step *s, bool planned)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "kind", pc_answer_step_kind(s->kind), "path", s->path, "from",
                     text_json(s->from), "ok", planned ? json_null() : json_boolean(s->result == 0), "why",
                     text_json(s->why));
}

struct rolling {
    struct pc_guard *g;
    struct pc_reply *reply;
    uint32_t verified, failed, unchanged;
};

static void report_step(struct rolling *r, const struct pc_step *s, uint32_t done, uint32_t total, bool planned)
{
    r->unchanged += s->kind == PC_STEP_NOTHING;
    r->verified += !planned && s->result == 0;
    r->failed += !planned && s->result != 0;
    (void)pc_reply_progress(r->reply, json_pack("{s:o, s:I, s:I}", "step", step_json(s, planned), "done",
                                                (json_int_t)done, "total", (json_int_t)total));
}

static void step_done(void *arg, const struct pc_step *s, uint32_t done, uint32_t total)
{
    struct rolling *r = arg;
    report_step(r, s, done, total, false);
    pc_guard_pump(r->g); /* a rollback of many files must not keep anybody waiting */
    (void)pc_control_step(r->g->control, pc_mono_ns());
}

static void show_plan(struct rolling *r, const struct pc_plan *plan)
{
    uint32_t total = pc_plan_count(plan);
    for (uint32_t i = 0; i < total; i++)
        report_step(r, pc_plan_step(plan, i), i + 1, total, true);
}

bool pc_answer_begin(struct pc_guard *g, const char *command, struct pc_reply *reply)
{
    if (g->at_work) {
        pc_reply_fail(reply, PC_CODE_FAILED, "a %s is at work: try again when it has ended", g->at_work);
        return false;
    }
    g->at_work = command;
    return true;
}

static void roll(struct pc_guard *g, const json_t *args, struct pc_reply *reply)
{
    uint64_t id = number_arg(args, "id");
    bool dry = json_is_true(json_object_get(args, "dry_run")), undo = json_is_true(json_object_get(args, "undo"));
    struct rolling rolling = {.g = g, .reply = reply};
    struct pc_plan *plan = NULL;
    pc_deletions_settle(g, id);
    do { /* all the actor did is recorded before the plan is made */
        pc_guard_pump(g);
    } while (!pc_stop_settled(g, id) && usleep(2000) == 0);
    if (!undo)
        pc_stop_look_at_held(g, id);
    int r = undo ? pc_rollback_undo(g->store, id, &plan) : pc_plan_make(g->store, id, &plan);
    if (r < 0) {
        pc_reply_fail(reply, PC_CODE_FAILED, "no plan for incident %" PRIu64 ": %s", id, pc_strerror(r));
        return;
    }
    uint32_t total = pc_plan_count(plan);
    if (dry)
        show_plan(&rolling, plan);
    else if (!undo || (r = pc_stop_rolled_back(g, id, false)) == 0) /* before: what it needs is pinned again */
        r = pc_plan_apply(plan, step_done, &rolling);
    pc_plan_free(plan);
    if (!dry) {
        if (r == 0 && !undo)
            r = pc_stop_rolled_back(g, id, true);
        pc_scan_everything(g);
        pc_event(g->log, r == 0 ? PC_LEVEL_NOTICE : PC_LEVEL_ERROR, undo ? "rollback-undone" : "rollback",
                 &(struct pc_event_about){.incident = id, .outcome = r == 0 ? "success" : "failure"},
                 "incident %" PRIu64 " %s: %u of %u steps verified, %u failed", id,
                 undo ? "rollback undone" : "rolled back", rolling.verified, total, rolling.failed);
    }
    if (r < 0 && r != PC_E_UNVERIFIED)
        pc_reply_fail(reply, PC_CODE_FAILED, "stopped after %u of %u steps: %s; nothing is lost, run it again",
                      rolling.verified, total, pc_strerror(r));
    else
        pc_reply_done(reply, json_pack("{s:I, s:b, s:b, s:I, s:I, s:I, s:I}", "id", (json_int_t)id, "dry_run", dry,
                                       "undo", undo, "total", (json_int_t)total, "verified",
                                       (json_int_t)rolling.verified, "failed", (json_int_t)rolling.failed, "unchanged",
                                       (json_int_t)rolling.unchanged));
}

void pc_answer_rollback(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    if (!pc_answer_begin(g, "rollback", reply))
        return;
    roll(g, args, reply);
    g->at_work = NULL;
}
