/*
 * The command line of Portcullis. Owns the table of subcommands and everything made from it: parsing, usage, help. Does
 * nothing itself: each subcommand is one file, and all but drill, replay and sig are one question to the guard.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/drill.h"

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_STATE "/var/lib/portcullis"

static const struct pc_cli_command commands[] = {
    {.name = "status", .words = "", .brief = "what is guarded, how, and what is not", .run = pc_cmd_status},
    {.name = "incidents", .words = "", .brief = "what was stopped, newest first", .run = pc_cmd_incidents},
    {.name = "incident", .words = "ID", .word_count = 1, .brief = "who did what to which files, and when",
     .options = {{"--all", NULL, "every process and file, not only the first 40"}}, .run = pc_cmd_incident},
    {.name = "rollback", .words = "ID", .word_count = 1, .brief = "put every file of an incident back, and verify it",
     .options = {{"--dry-run", NULL, "show what would be done, change nothing"},
                 {"--undo", NULL, "take the newest rollback of the incident back"}},
     .run = pc_cmd_rollback},
    {.name = "release", .words = "ID", .word_count = 1, .brief = "let the frozen program go on, and remember it",
     .run = pc_cmd_release},
    {.name = "end", .words = "ID", .word_count = 1, .brief = "kill the frozen program", .run = pc_cmd_end},
    {.name = "history", .words = "PATH", .word_count = 1, .brief = "the kept versions of a file", .run = pc_cmd_history},
    {.name = "restore", .words = "PATH", .word_count = 1, .brief = "bring a file back, or all that was deleted in a folder",
     .options = {{"--at", "TIME", "as it was then; without it, the newest version that differs"},
                 {"--to", "PATH", "to another place, which must not exist (with --deleted: to another folder)"},
                 {"--deleted", NULL, "PATH is a folder: everything that was deleted or replaced beneath it"},
                 {"--since", "TIME", "with --deleted: only what was deleted after that"},
                 {"--dry-run", NULL, "with --deleted: show what would be restored, change nothing"}},
     .run = pc_cmd_restore},
    {.name = "drill", .words = "[OPTION]...", .brief = "a harmless attack on files of its own (see drill --help)",
     .raw = pc_cmd_drill},
    {.name = "replay", .words = "TRACE", .word_count = 1, .brief = "judge a recorded trace again, without the guard",
     .options = {{"--config", "FILE", "under the [judge] settings of this file, not the recorded ones"}},
     .run = pc_cmd_replay},
    {.name = "sig", .words = "verify", .word_count = 1, .brief = "check a signature of `ssh-keygen -Y sign` over standard input",
     .options = {{"--namespace", "NS", "what it must have been made for"},
                 {"--key", "PUB", "file with the public key that must have made it"},
                 {"--sig", "FILE", "file with the signature"},
                 {"--max-data", "SIZE", "read no more than this (1T)"}},
     .run = pc_cmd_sig},
    {0},
};

static void print_help(FILE *f)
{
    fputs("Usage: portcullis COMMAND [ARGUMENT]... [--state DIR] [--json]\n"
          "Asks and directs the guard of this host, which stops programs that destroy files in bulk.\n\nCommands:\n",
          f);
    for (const struct pc_cli_command *c = commands; c->name; c++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", c->name, c->words);
        fprintf(f, "  %-18s %s\n", left, c->brief);
        for (const struct pc_cli_option *o = c->options; o->name; o++) {
            snprintf(left, sizeof left, "%s %s", o->name, o->value ? o->value : "");
            fprintf(f, "      %-14s %s\n", left, o->help);
        }
    }
    fputs("\nOptions of every command:\n"
          "  --state DIR        the guard's folder (or PORTCULLIS_STATE; " DEFAULT_STATE ")\n"
          "  --json             print the answer as JSON\n"
          "  --help, --version\n"
          "\nExit status: 0 done, 1 failed, 2 usage, 3 no guard is running, 4 refused or not allowed,\n255 a signature is not good.\n",
          f);
}

static void print_usage(FILE *f, const struct pc_cli_command *c)
{
    fprintf(f, "Usage: portcullis %s%s%s", c->name, *c->words ? " " : "", c->words);
    for (const struct pc_cli_option *o = c->options; o->name; o++)
        fprintf(f, " [%s%s%s]", o->name, o->value ? " " : "", o->value ? o->value : "");
    fprintf(f, " [--state DIR] [--json]\n%s\n", c->brief);
    for (const struct pc_cli_option *o = c->options; o->name; o++)
        fprintf(f, "  %s %s\t%s\n", o->name, o->value ? o->value : "", o->help);
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

static const struct pc_cli_option common[] = {
    {"--state", "DIR", NULL}, {"--json", NULL, NULL}, {"--help", NULL, NULL}, {NULL, NULL, NULL}};
enum { COMMON_STATE, COMMON_JSON, COMMON_HELP, COMMON_COUNT };

/* Finds argv[*i] in a list of options and stores its value. False when it is none of them. */
static bool take_any(const struct pc_cli_option *list, const char **values, int argc, char **argv, int *i)
{
    for (size_t k = 0; list[k].name; k++) {
        const char *value = take_option(&list[k], argc, argv, i);
        if (value)
            values[k] = value;
        if (value)
            return true;
    }
    return false;
}

/* Fills in args and the common options of cli. 0, or an exit status after saying why. */
static int parse(const struct pc_cli_command *cmd, int argc, char **argv, struct pc_cli_args *args, const char **shared)
{
    int words = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        bool is_option = !only_words && argv[i][0] == '-' && argv[i][1];
        if (is_option && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!is_option && words < cmd->word_count)
            args->word[words++] = argv[i];
        else if (!is_option || (!take_any(common, shared, argc, argv, &i) && !take_any(cmd->options, args->value, argc, argv, &i)))
            return pc_cli_fail(PC_EXIT_USAGE, "%s: %s: unknown, one too many, or without its value: see `portcullis %s --help`", cmd->name, argv[i],
                               cmd->name);
    }
    if (words < cmd->word_count && !shared[COMMON_HELP])
        return pc_cli_fail(PC_EXIT_USAGE, "%s: %s is missing: see `portcullis %s --help`", cmd->name, cmd->words, cmd->name);
    return 0;
}

static void look_around(struct pc_cli *cli, const char *const *shared)
{
    const char *env = getenv("PORTCULLIS_STATE"), *no_colour = getenv("NO_COLOR");
    cli->state_dir = shared[COMMON_STATE] ? shared[COMMON_STATE] : env && *env ? env : DEFAULT_STATE;
    cli->json = shared[COMMON_JSON] != NULL;
    cli->colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
    cli->progress = isatty(STDERR_FILENO) && !cli->json;
    cli->utf8 = setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are UTF-8 whatever the terminal is; cli->utf8 says what it can show */
    cli->now_ns = pc_real_ns();
}

static int run(const struct pc_cli_command *cmd, int argc, char **argv)
{
    const char *shared[COMMON_COUNT] = {NULL};
    struct pc_cli_args args = {0};
    struct pc_cli cli;
    if (cmd->raw)
        return cmd->raw(argc, argv);
    int status = parse(cmd, argc, argv, &args, shared);
    if (status)
        return status;
    if (shared[COMMON_HELP]) {
        print_usage(stdout, cmd);
        return PC_EXIT_OK;
    }
    look_around(&cli, shared);
    status = cmd->run(&cli, &args);
    if (fflush(stdout) != 0 && status == PC_EXIT_OK)
        return pc_cli_fail(PC_EXIT_FAILED, "cannot write the answer to standard output");
    return status;
}

static const struct pc_cli_command *find_command(const char *name)
{
    for (const struct pc_cli_command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

/* "portcullis --state DIR status" is as good as "portcullis status --state DIR": moves the command to the front. */
static void command_first(int argc, char **argv)
{
    int i = 1;
    while (i < argc && argv[i][0] == '-')
        i += strcmp(argv[i], "--state") == 0 ? 2 : 1;
    if (i >= argc)
        return;
    char *name = argv[i];
    memmove(argv + 2, argv + 1, (size_t)(i - 1) * sizeof *argv);
    argv[1] = name;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a guard that went away, or a closed pager, is an error with words */
    command_first(argc, argv);
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--version") == 0) {
        puts("portcullis " PC_VERSION);
        return PC_EXIT_OK;
    }
    const struct pc_cli_command *cmd = find_command(strcmp(name, "help") == 0 && argc > 2 ? argv[2] : name);
    if (cmd && strcmp(name, "help") == 0) {
        char *help[] = {argv[2], (char[]){"--help"}, NULL};
        return run(cmd, 2, help);
    }
    if (cmd)
        return run(cmd, argc - 1, argv + 1);
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0) {
        print_help(stdout);
        return PC_EXIT_OK;
    }
    if (*name)
        pc_cli_fail(PC_EXIT_USAGE, "%s: unknown command", name);
    print_help(stderr);
    return PC_EXIT_USAGE;
}
