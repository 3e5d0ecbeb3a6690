/*
 * Owns what a command line means: options and words against a command's table row. Runs nothing, and knows no command.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Those of every command, then those of the fleet's. */
static const struct pc_cli_option common[] = {
    {"--state", "DIR", NULL}, {"--json", NULL, NULL}, {"--help", NULL, NULL}, {NULL, NULL, NULL}};
static const struct pc_cli_option fleet[] = {{"--owner", "DIR", NULL},
                                             {"--server", "URL", NULL},
                                             {"--ca", "FILE", NULL},
                                             {"--token", "FILE", NULL},
                                             {NULL, NULL, NULL}};
enum { COMMON_STATE, COMMON_JSON, COMMON_HELP, COMMON_COUNT };
enum { FLEET_OWNER, FLEET_SERVER, FLEET_CA, FLEET_TOKEN, FLEET_COUNT };

void pc_cli_usage(const struct pc_cli_command *c)
{
    printf("Usage: portcullis %s%s%s", c->name, *c->words ? " " : "", c->words);
    for (const struct pc_cli_option *o = c->options; o->name; o++)
        printf(" [%s%s%s]%s", o->name, o->value ? " " : "", o->value ? o->value : "", o->many ? "..." : "");
    for (const struct pc_cli_option *o = fleet; c->fleet && o->name; o++)
        printf(" [%s %s]", o->name, o->value);
    printf(" [--state DIR] [--json]\n%s\n", c->brief);
    for (const struct pc_cli_option *o = c->options; o->name; o++)
        printf("  %s %s\t%s\n", o->name, o->value ? o->value : "", o->help);
}

int pc_cli_common_span(const char *word)
{
    for (size_t k = 0; common[k].name; k++)
        if (common[k].value && strcmp(common[k].name, word) == 0)
            return 2;
    for (size_t k = 0; fleet[k].name; k++)
        if (strcmp(fleet[k].name, word) == 0)
            return 2;
    return 1;
}

const char *pc_cli_next(const struct pc_cli_args *args, size_t option, size_t *at)
{
    for (; *at < args->n_given; ++*at)
        if (args->given[*at].option == option)
            return args->given[(*at)++].value;
    return NULL;
}

/* The value of an option at argv[*i], as "--name VALUE" or "--name=VALUE"; NULL when it is another option. */
static const char *take_option(const struct pc_cli_option *o, int argc, char **argv, int *i)
{
    size_t n = strlen(o->name);
    if (strncmp(argv[*i], o->name, n) != 0 || (argv[*i][n] != 0 && argv[*i][n] != '='))
        return NULL;
    if (!o->value)
        return argv[*i][n] == 0 ? "" : NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

/* Finds argv[*i] in a list of options and stores its value. The option's number, or -1 when it is none of them. */
static int take_any(const struct pc_cli_option *list, const char **values, int argc, char **argv, int *i)
{
    for (int k = 0; list[k].name; k++) {
        const char *value = take_option(&list[k], argc, argv, i);
        if (value)
            values[k] = value;
        if (value)
            return k;
    }
    return -1;
}

/* An option of the command itself. 1: it was none; 0; or an exit status. */
static int take_own(const struct pc_cli_command *cmd, struct pc_cli_args *args, int argc, char **argv, int *i)
{
    const char *before[PC_CLI_OPTIONS_MAX];
    memcpy(before, args->value, sizeof before);
    int k = take_any(cmd->options, args->value, argc, argv, i);
    if (k < 0)
        return 1;
    if (before[k] && cmd->options[k].value && !cmd->options[k].many)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: %s was given twice", cmd->name, cmd->options[k].name);
    if (args->n_given == PC_CLI_GIVEN_MAX)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: more than %d options", cmd->name, PC_CLI_GIVEN_MAX);
    args->given[args->n_given].option = (size_t)k;
    args->given[args->n_given++].value = args->value[k];
    return 0;
}

static void keep_common(struct pc_cli *cli, const char *const *shared, const char *const *given, bool *help)
{
    cli->state_dir = shared[COMMON_STATE];
    cli->json = shared[COMMON_JSON] != NULL;
    *help = shared[COMMON_HELP] != NULL;
    cli->fleet.owner = given[FLEET_OWNER];
    cli->fleet.server = given[FLEET_SERVER];
    cli->fleet.ca = given[FLEET_CA];
    cli->fleet.token = given[FLEET_TOKEN];
}

int pc_cli_parse(const struct pc_cli_command *cmd, int argc, char **argv, struct pc_cli *cli, struct pc_cli_args *args,
                 bool *help)
{
    const char *shared[COMMON_COUNT] = {NULL}, *given[FLEET_COUNT] = {NULL};
    int words = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        bool is_option = !only_words && argv[i][0] == '-' && argv[i][1];
        int taken = 1;
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_words = true;
            continue;
        }
        if (!is_option && words < cmd->word_count + cmd->word_more) {
            args->word[words++] = argv[i];
            continue;
        }
        if (is_option && (take_any(common, shared, argc, argv, &i) >= 0 ||
                          (cmd->fleet && take_any(fleet, given, argc, argv, &i) >= 0)))
            continue;
        if (is_option)
            taken = take_own(cmd, args, argc, argv, &i);
        if (taken == 1)
            return pc_cli_fail(PC_EXIT_USAGE,
                               "%s: %s: unknown, one too many, or without its value: see `portcullis %s --help`",
                               cmd->name, argv[i], cmd->name);
        if (taken)
            return taken;
    }
    keep_common(cli, shared, given, help);
    if (words < cmd->word_count && !*help)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: %s is missing: see `portcullis %s --help`", cmd->name, cmd->words,
                           cmd->name);
    return 0;
}
