/*
 * Owns which option of the command line becomes which parameter of an action. Whether a parameter is allowed, src/trust
 * says.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/order_build.h"
#include "cli/order_options.h"
#include "trust/json.h"

#include <string.h>

enum form { TEXT, NUMBER, LIST, SWITCH, SCRIPT, ORDER_HASH };
static const struct parameter {
    enum pc_order_option option;
    const char *name; /* of the option */
    const char *key;  /* of the parameter */
    enum form form;
} parameters[] = {
    {PC_OPT_ARGV, "--argv", "argv", LIST},
    {PC_OPT_SCRIPT, "--script", "script", SCRIPT},
    {PC_OPT_INTERPRETER, "--interpreter", "interpreter", LIST},
    {PC_OPT_TIMEOUT, "--timeout", "timeout", NUMBER},
    {PC_OPT_OUTPUT, "--output", "output", NUMBER},
    {PC_OPT_USER, "--user", "user", TEXT},
    {PC_OPT_SERVICE, "--service", "service", TEXT},
    {PC_OPT_DO, "--do", "do", TEXT},
    {PC_OPT_SECURITY, "--security", "security", SWITCH},
    {PC_OPT_PACKAGE, "--package", "packages", LIST},
    {PC_OPT_INCIDENT, "--incident", "incident", NUMBER},
    {PC_OPT_VERSION, "--version", "version", TEXT},
    {PC_OPT_SHA256, "--sha256", "sha256", TEXT},
    {PC_OPT_URL_PATH, "--url-path", "url_path", TEXT},
    {PC_OPT_PID, "--pid", "pid", NUMBER},
    {PC_OPT_START, "--start", "start", NUMBER},
    {PC_OPT_EXE_SHA256, "--exe-sha256", "exe_sha256", TEXT},
    {PC_OPT_SECONDS, "--seconds", "seconds", NUMBER},
    {PC_OPT_ALLOW, "--allow", "allow", LIST},
    {PC_OPT_ORDER, "--order", "order_sha256", ORDER_HASH},
};

/* What is there without an option. */
static const struct {
    const char *action, *key;
    json_int_t number;
} defaults[] = {
    {"script.run", "timeout", 300}, {"script.run", "output", 65536},   {"package.update", "timeout", 3600},
    {"host.isolate", "seconds", 3600}, {"actor.freeze", "seconds", 3600}, {"hash.block", "seconds", 3600},
};

/* NULL when one of them is not UTF-8. */
static json_t *list_of(const struct pc_cli_args *args, enum pc_order_option option)
{
    _json_ json_t *list = json_array();
    size_t at = 0;
    for (const char *v; (v = pc_cli_next(args, option, &at)) != NULL;)
        if (json_array_append_new(list, json_string(v)) < 0)
            return NULL;
    return TAKE_PTR(list);
}

static int number_of(const struct parameter *p, const char *word, json_t **out)
{
    uint64_t n;
    if (pc_parse_u64(word, 0, PC_JSON_NUMBER_MAX, &n) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s %s: a whole number is wanted", p->name, word);
    *out = json_integer((json_int_t)n);
    return 0;
}

/* The script's bytes go into the order, and their hash for who reads it. */
static int add_script(json_t *params, const char *path)
{
    _free_ char *text = NULL;
    size_t len;
    char sha256[PC_SHA256_HEX + 1];
    int r = pc_cli_file_read(path, PC_DOCUMENT_SMALL_MAX, &text, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", path, pc_strerror(r));
    pc_sha256_text(text, len, sha256);
    json_object_set_new(params, "script", pc_json_base64_new(text, len));
    json_object_set_new(params, "sha256", json_string(sha256));
    return 0;
}

static int hash_of_order(const char *path, json_t **out)
{
    _free_ char *text = NULL;
    size_t len;
    struct pc_order o;
    char why[200];
    int r = pc_cli_file_read(path, PC_DOCUMENT_SMALL_MAX, &text, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", path, pc_strerror(r));
    if (pc_order_parse(text, len, &o, why, sizeof why) != PC_CHECK_OK)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: not an order: %s", path, why);
    *out = json_string(o.sha256);
    pc_order_clear(&o);
    return 0;
}

static int add(json_t *params, const struct parameter *p, const struct pc_cli_args *args)
{
    const char *word = args->value[p->option];
    json_t *value = NULL;
    int status = 0;
    if (p->form == SCRIPT)
        return add_script(params, word);
    if (p->form == NUMBER)
        status = number_of(p, word, &value);
    else if (p->form == ORDER_HASH)
        status = hash_of_order(word, &value);
    else
        value = p->form == LIST ? list_of(args, p->option) : p->form == SWITCH ? json_true() : json_string(word);
    if (status == 0 && json_object_set_new(params, p->key, value) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: not UTF-8", p->name);
    return status;
}

static void add_defaults(json_t *params, const struct pc_action *action)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(defaults); i++)
        if (strcmp(defaults[i].action, action->name) == 0 && !json_object_get(params, defaults[i].key))
            json_object_set_new(params, defaults[i].key, json_integer(defaults[i].number));
    if (json_object_get(params, "script") && !json_object_get(params, "interpreter"))
        json_object_set_new(params, "interpreter", json_pack("[s]", "/bin/sh"));
    if (strcmp(action->name, "package.update") == 0 && !json_object_get(params, "security"))
        json_object_set_new(params, "security", json_false());
    if (strcmp(action->name, "host.isolate") == 0 && !json_object_get(params, "allow"))
        json_object_set_new(params, "allow", json_array());
}

int pc_order_params(const struct pc_action *action, const struct pc_cli_args *args, json_t **out)
{
    char why[300];
    _json_ json_t *params = json_object();
    for (size_t i = 0; i < PC_ARRAY_SIZE(parameters); i++) {
        int status = args->value[parameters[i].option] ? add(params, &parameters[i], args) : 0;
        if (status)
            return status;
    }
    add_defaults(params, action);
    if (pc_action_check(action, params, why, sizeof why) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: %s", action->name, why);
    *out = TAKE_PTR(params);
    return 0;
}
