/* Fuzzes the request parser with the guard's own kind of command table. */
#include "agent/control.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pc_command commands[] = {
    {"status", true, {{NULL, 0, false}}, NULL},
    {"incident", true, {{"id", PC_ARG_NUMBER, true}, {"from", PC_ARG_NUMBER, false}}, NULL},
    {"rollback", false, {{"id", PC_ARG_NUMBER, true}, {"dry_run", PC_ARG_BOOL, false}, {"undo", PC_ARG_BOOL, false}}, NULL},
    {"restore", false, {{"path", PC_ARG_TEXT, true}, {"at", PC_ARG_NUMBER, false}, {"to", PC_ARG_TEXT, false}}, NULL},
    {0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pc_command *cmd = NULL;
    json_t *args = NULL;
    char err[256] = "";
    if (pc_control_parse(commands, (const char *)data, size, &cmd, &args, err, sizeof err) < 0) {
        if (!err[0] || args)
            abort();
        return 0;
    }
    if (!cmd || strcmp(json_string_value(json_object_get(args, "cmd")), cmd->name) != 0)
        abort();
    for (const struct pc_arg *a = cmd->args; a->name; a++)
        if (a->required && !json_object_get(args, a->name))
            abort();
    json_decref(args);
    return 0;
}
