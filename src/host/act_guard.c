/*
 * Owns `guard.incidents`, `guard.release` and `guard.rollback`: one question to this host's guard, asked by a job,
 * because a rollback takes its time.
 */
#include "host/collect.h"
#include "host/runner.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

static json_t *request_of(const struct pc_task *t)
{
    const json_t *incident = json_object_get(t->params, "incident");
    const char *what = strchr(t->action, '.') + 1;
    if (strcmp(what, "incidents") != 0)
        return json_pack("{s:s, s:O}", "cmd", what, "id", incident);
    return incident ? json_pack("{s:s, s:O}", "cmd", "incident", "id", incident)
                    : json_pack("{s:s}", "cmd", "incidents");
}

static int ask(void *arg)
{
    struct pc_task *t = arg;
    char why[512] = "";
    json_t *result, *request = request_of(t);
    int r = request ? pc_guard_ask(t->r->guard_dir, request, (int)t->spec.timeout_s, &result, why, sizeof why)
                    : PC_E_LIMIT;
    json_decref(request);
    if (r < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    /* A list is not an object, and data is one. */
    return pc_collect_print(json_is_object(result) ? result : json_pack("{s:o}", "incidents", result));
}

enum pc_act pc_act_guard(struct pc_task *t)
{
    t->spec.spawn.run = ask;
    t->spec.spawn.arg = t;
    return PC_ACT_RUN;
}
