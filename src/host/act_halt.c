/*
 * Owns `rollout.halt`: the named order never starts here, nor any further ring or run of it. What runs already goes on:
 * ending it is another order's matter.
 */
#include "host/runner.h"

#include "base/err.h"

enum pc_act pc_act_halt(struct pc_task *t)
{
    const char *sha256 = json_string_value(json_object_get(t->params, "order_sha256"));
    int e = pc_memory_halt(t->r->file, sha256);
    if (e < 0) {
        snprintf(t->text, sizeof t->text, "not written down: %s", pc_strerror(e));
        return PC_ACT_FAILED;
    }
    snprintf(t->text, sizeof t->text, "order %s is halted", sha256);
    return PC_ACT_OK;
}
