/*
 * Owns what a request may look like: one JSON object, a known command, known keys of the right types. Pure: bytes in,
 * answer out (the fuzzer's target). Rights are control.c's business.
 */
#include "agent/control.h"
#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int __attribute__((format(printf, 3, 4))) fail(char *err, size_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, cap, fmt, ap);
    va_end(ap);
    return PC_E_SYNTAX;
}

/* A key or name of the peer's, fit for an error line. */
static const char *shown(const char *text, char *out, size_t cap)
{
    pc_escape_name(text, strlen(text), out, cap);
    return out;
}

static bool has_type(const json_t *value, enum pc_arg_type type)
{
    switch (type) {
    case PC_ARG_TEXT:
        return json_is_string(value);
    case PC_ARG_NUMBER:
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case PC_ARG_BOOL:
        return json_is_boolean(value);
    }
    return false;
}

static const char *type_name(enum pc_arg_type type)
{
    return type == PC_ARG_TEXT ? "text" : type == PC_ARG_NUMBER ? "a whole number from 0" : "true or false";
}

static const struct pc_arg *find_arg(const struct pc_command *cmd, const char *key)
{
    for (const struct pc_arg *a = cmd->args; a->name; a++)
        if (strcmp(a->name, key) == 0)
            return a;
    return NULL;
}

static int check_args(const struct pc_command *cmd, json_t *args, char *err, size_t cap)
{
    const char *key;
    json_t *value;
    char name[64];
    json_object_foreach(args, key, value) {
        if (strcmp(key, "cmd") == 0)
            continue;
        const struct pc_arg *a = find_arg(cmd, key);
        if (!a)
            return fail(err, cap, "%s: unknown key \"%s\"", cmd->name, shown(key, name, sizeof name));
        if (!has_type(value, a->type))
            return fail(err, cap, "%s: \"%s\" must be %s", cmd->name, a->name, type_name(a->type));
    }
    for (const struct pc_arg *a = cmd->args; a->name; a++)
        if (a->required && !json_object_get(args, a->name))
            return fail(err, cap, "%s: \"%s\" is missing", cmd->name, a->name);
    return 0;
}

int pc_control_parse(const struct pc_command *commands, const char *line, size_t len, const struct pc_command **cmd,
                     json_t **args, char *err, size_t cap)
{
    json_error_t why;
    json_t *request = json_loadb(line ? line : "", len, JSON_REJECT_DUPLICATES, &why);
    char name[64];
    int r = 0;
    if (!request)
        return fail(err, cap, "not JSON: %s", shown(why.text, name, sizeof name));
    const char *wanted = json_string_value(json_object_get(request, "cmd"));
    const struct pc_command *found = commands;
    while (wanted && found->name && strcmp(found->name, wanted) != 0)
        found++;
    if (!wanted)
        r = fail(err, cap, "no \"cmd\"; allowed: {\"cmd\": NAME, ...}");
    else if (!found->name)
        r = fail(err, cap, "unknown command \"%s\"", shown(wanted, name, sizeof name));
    else
        r = check_args(found, request, err, cap);
    if (r < 0) {
        json_decref(request);
        return r;
    }
    *cmd = found;
    *args = request;
    return 0;
}
