/*
 * Owns one run of an action, from its name to its result: prepares it, hands it to the jobs, reads what came out. Looks
 * and orders take the same way; only the table says what an action is, and only an accepted order ever reaches a row
 * that changes something.
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "host/collect.h"
#include "trust/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_S 30

static const struct row {
    const char *name;
    bool json;                         /* what the job prints is one JSON object: the result's data */
    uint64_t timeout_s;                /* 0: the params' */
    int (*work)(const json_t *params); /* a function that runs in the job; or NULL and */
    enum pc_act (*prepare)(struct pc_task *t);
} rows[] = {
    {"inventory", true, LOOK_S, pc_look_inventory, NULL},
    {"metrics", true, LOOK_S, pc_look_metrics, NULL},
    {"log.excerpt", true, LOOK_S, pc_look_log, NULL},
    {"service.status", true, LOOK_S, pc_look_service, NULL},
    {"guard.incidents", true, LOOK_S, NULL, pc_act_guard},
    {"script.run", false, 0, NULL, pc_act_script},
    {"package.update", false, 0, NULL, pc_act_packages},
    {"service", false, 300, NULL, pc_act_service},
    {"guard.release", true, 300, NULL, pc_act_guard},
    {"guard.rollback", true, 14400, NULL, pc_act_guard},
    {"agent.upgrade", false, 1200, NULL, pc_act_upgrade},
    {"trust.replace", false, 300, NULL, pc_act_trust},
    {"host.unisolate", false, 60, NULL, pc_act_unisolate},
    {"hash.unblock", false, 60, NULL, pc_act_unblock},
    {"actor.freeze", true, 120, NULL, pc_act_freeze},
    {"host.isolate", true, 60, NULL, pc_act_isolate},
    {"hash.block", false, 60, NULL, pc_act_block},
    {"rollout.halt", false, 60, NULL, pc_act_halt},
};

static const struct row *row_of(const char *name)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

struct pc_task *pc_task_new(struct pc_runner *r, const char *action, const json_t *params)
{
    struct pc_task *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->r = r;
    t->fd = -1;
    t->params = json_deep_copy(params);
    snprintf(t->action, sizeof t->action, "%s", action);
    t->spec = (struct pc_job_spec){
        .spawn = {.group_fd = -1, .out_fd = -1, .keep_fd = -1}, .output_limit = PC_JOB_OUTPUT_MAX, .ctx = t};
    if (!t->params) {
        free(t);
        return NULL;
    }
    return t;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

void pc_task_free(struct pc_task *t)
{
    json_decref(t->params);
    json_decref(t->data);
    free_list(t->argv);
    free_list(t->envp);
    pc_closep(&t->fd);
    free(t);
}

int pc_task_arg(char ***list, const char *text)
{
    size_t n = 0;
    while (*list && (*list)[n])
        n++;
    char *copy = strdup(text);
    char **grown = copy ? realloc(*list, (n + 2) * sizeof *grown) : NULL;
    if (!grown) {
        free(copy);
        return -ENOMEM;
    }
    grown[n] = copy;
    grown[n + 1] = NULL;
    *list = grown;
    return 0;
}

static const char *outcome_word(const struct pc_job_end *end)
{
    switch (end->outcome) {
    case PC_JOB_OK: return "ok";
    case PC_JOB_TIMEOUT: return "timeout";
    case PC_JOB_FAILED:
    case PC_JOB_FLOOD: break;
    }
    return "failed";
}

static int tell_look(const struct pc_task *t, const struct pc_outcome *how)
{
    struct pc_result result;
    pc_result_begin(t->r, &result);
    snprintf(result.look, sizeof result.look, "%s", t->look);
    snprintf(result.outcome, sizeof result.outcome, "%s", how->word);
    result.data = how->data;
    if (how->job) {
        result.exit = how->job->exit;
        result.signal = how->job->signal;
        result.started = how->job->started;
        result.ended = how->job->ended;
    }
    if (how->job && !how->data && !how->text) {
        result.output = how->job->output;
        result.output_len = how->job->output_len;
        result.truncated = how->job->truncated;
        snprintf(result.output_sha256, sizeof result.output_sha256, "%s", how->job->output_sha256);
    } else if (how->text) {
        result.output = how->text;
        result.output_len = strlen(how->text);
        pc_sha256_text(result.output, result.output_len, result.output_sha256);
    }
    return pc_tell_result(t->r, &result, false);
}

static void job_done(void *ctx, const struct pc_job_end *end)
{
    struct pc_task *t = ctx;
    const struct row *row = row_of(t->action);
    _json_ json_t *data = NULL;
    if (row->json && end->outcome == PC_JOB_OK && !end->truncated)
        data = json_loadb(end->output, end->output_len, JSON_REJECT_DUPLICATES, NULL);
    struct pc_outcome how = {.word = outcome_word(end), .job = end, .data = json_is_object(data) ? data : NULL};
    if (row->json && end->outcome == PC_JOB_OK && !how.data)
        how.word = "failed"; /* more than fits in an answer */
    if (end->outcome == PC_JOB_FLOOD)
        pc_event(t->r->log, PC_LEVEL_WARNING, "flood", NULL, "%s printed more than %u MiB and was ended", t->action,
                 PC_JOB_DISCARD_MAX >> 20);
    if (t->after)
        t->after(t, &how);
    if (t->look[0]) {
        t->r->looking--;
        int e = tell_look(t, &how);
        if (e < 0)
            pc_event(t->r->log, PC_LEVEL_WARNING, "memory", NULL, "the answer to a look is lost: %s", pc_strerror(e));
    } else {
        t->r->running--;
        if (!how.later)
            pc_order_over(t->r, t->order_sha256, &how);
    }
    pc_task_free(t);
}

/* The function of a row, in the job's own process. */
static int work(void *arg)
{
    struct pc_task *t = arg;
    return row_of(t->action)->work(t->params);
}

static enum pc_act prepare(struct pc_task *t, const struct row *row)
{
    t->spec.timeout_s = row->timeout_s;
    t->spec.done = job_done;
    if (row->prepare)
        return row->prepare(t);
    t->spec.spawn.run = work;
    t->spec.spawn.arg = t;
    return PC_ACT_RUN;
}

enum pc_act pc_task_start(struct pc_runner *r, struct pc_task *t)
{
    const struct row *row = row_of(t->action);
    char name[96];
    if (!row) {
        snprintf(t->text, sizeof t->text, "%s: this version has no such action", t->action);
        return PC_ACT_REFUSED;
    }
    enum pc_act a = prepare(t, row);
    if (a != PC_ACT_RUN)
        return a;
    snprintf(name, sizeof name, "%s-%.16s-%llu", t->look[0] ? "look" : "order", t->look[0] ? t->look : t->order_sha256,
             (unsigned long long)t->run);
    t->spec.name = name;
    t->spec.spawn.argv = t->argv;
    t->spec.spawn.envp = t->envp;
    int e = r->jobs ? pc_jobs_start(r->jobs, &t->spec) : PC_E_UNSUPPORTED;
    t->order = NULL;
    t->spec.name = NULL; /* the jobs keep their own copy */
    if (e == 0) {
        *(t->look[0] ? &r->looking : &r->running) += 1;
        return PC_ACT_RUN;
    }
    if (t->timer)
        (void)pc_timer_drop(r, t->timer); /* nothing began that it could end; left there, it would begin at a restart */
    if (!r->jobs)
        snprintf(t->text, sizeof t->text,
                 "no cgroup v2 on this host: what is started could not be ended for sure, so nothing is started");
    else
        snprintf(t->text, sizeof t->text, "%s could not be started: %s", t->argv ? t->argv[0] : t->action,
                 pc_strerror(e));
    return PC_ACT_FAILED;
}

static void refuse_look(struct pc_runner *r, const char *look, const char *text)
{
    struct pc_task t = {.r = r};
    struct pc_outcome how = {.word = "refused", .text = text};
    if (!pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
        return; /* each costs writes: a server may not make us wear out the disk */
    snprintf(t.look, sizeof t.look, "%s", look);
    (void)tell_look(&t, &how); /* a look that is lost is asked again */
}

void pc_intake_look(struct pc_runner *r, const char *json, size_t len)
{
    struct {
        char look[PC_ID_LEN + 1], action[32];
        const json_t *params;
    } in = {0};
    static const struct pc_field fields[] = {
        {"look", PC_FIELD_HEX, offsetof(__typeof__(in), look), PC_ID_LEN, PC_ID_LEN, false},
        {"action", PC_FIELD_TEXT, offsetof(__typeof__(in), action), 1, 31, false},
        {"params", PC_FIELD_OBJECT, offsetof(__typeof__(in), params), 0, 0, false},
        {NULL, PC_FIELD_TEXT, 0, 0, 0, false}};
    _json_ json_t *o = NULL;
    char why[256] = "";
    struct pc_why w = {why, sizeof why};
    if (pc_json_parse(json, len, 64u << 10, &o, w) < 0 || pc_fields_read(o, "look", fields, &in, w) < 0) {
        if (pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
            pc_event(r->log, PC_LEVEL_WARNING, "refused", NULL, "check syntax: look: %s", why);
        return;
    }
    const struct pc_action *action = pc_action_find(in.action);
    if (!pc_bucket_take(&r->looks, pc_boot_ns(), 1))
        refuse_look(r, in.look, "too many looks: 1 a second, 10 at once");
    else if (!action || !(action->classes & 1u << PC_CLASS_A))
        refuse_look(r, in.look, "check class: not an action that only looks");
    else if (pc_action_check(action, in.params, why, sizeof why) < 0)
        refuse_look(r, in.look, why);
    else if (r->looking >= PC_LOOKS_RUNNING_MAX)
        refuse_look(r, in.look, "four looks are at work already");
    else {
        struct pc_task *t = pc_task_new(r, in.action, in.params);
        if (!t)
            return;
        snprintf(t->look, sizeof t->look, "%s", in.look);
        enum pc_act a = pc_task_start(r, t);
        if (a != PC_ACT_RUN) {
            struct pc_outcome how = {.word = a == PC_ACT_OK       ? "ok"
                                             : a == PC_ACT_FAILED ? "failed"
                                                                  : "refused",
                                     .text = t->text,
                                     .data = t->data};
            (void)tell_look(t, &how);
            pc_task_free(t);
        }
    }
}
