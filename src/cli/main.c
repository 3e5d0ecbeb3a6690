/*
 * The command line of Portcullis. Owns the table of the guard's subcommands (the fleet's is fleet_table.c), the choice
 * of one, and the help over all. Does nothing itself: options.c parses, each subcommand is one file, and those of the
 * guard are, but for drill, replay and sig, one question to it.
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
    {.name = "incident",
     .words = "ID",
     .word_count = 1,
     .brief = "who did what to which files, and when",
     .options = {{"--all", NULL, "every process and file, not only the first 40"}},
     .run = pc_cmd_incident},
    {.name = "rollback",
     .words = "ID",
     .word_count = 1,
     .brief = "put every file of an incident back, and verify it",
     .options = {{"--dry-run", NULL, "show what would be done, change nothing"},
                 {"--undo", NULL, "take the newest rollback of the incident back"}},
     .run = pc_cmd_rollback},
    {.name = "release",
     .words = "ID",
     .word_count = 1,
     .brief = "let the frozen program go on, and remember it",
     .run = pc_cmd_release},
    {.name = "end", .words = "ID", .word_count = 1, .brief = "kill the frozen program", .run = pc_cmd_end},
    {.name = "history",
     .words = "PATH",
     .word_count = 1,
     .brief = "the kept versions of a file",
     .run = pc_cmd_history},
    {.name = "restore",
     .words = "PATH",
     .word_count = 1,
     .brief = "bring a file back, or all that was deleted in a folder",
     .options = {{"--at", "TIME", "as it was then; without it, the newest version that differs"},
                 {"--to", "PATH", "to another place, which must not exist (with --deleted: to another folder)"},
                 {"--deleted", NULL, "PATH is a folder: everything that was deleted or replaced beneath it"},
                 {"--since", "TIME", "with --deleted: only what was deleted after that"},
                 {"--dry-run", NULL, "with --deleted: show what would be restored, change nothing"}},
     .run = pc_cmd_restore},
    {.name = "apply-stop",
     .words = "FILE",
     .word_count = 1,
     .brief = "hand a signed stop to this host, with no server",
     .options = {{"--fleet-state", "DIR", "the runner's folder (default: fleet in the guard's)"}},
     .run = pc_cmd_apply_stop},
    {.name = "drill",
     .words = "[OPTION]...",
     .brief = "a harmless attack on files of its own (see drill --help)",
     .raw = pc_cmd_drill},
    {.name = "replay",
     .words = "TRACE",
     .word_count = 1,
     .brief = "judge a recorded trace again, without the guard",
     .options = {{"--config", "FILE", "under the [judge] settings of this file, not the recorded ones"}},
     .run = pc_cmd_replay},
    {.name = "sig",
     .words = "verify",
     .word_count = 1,
     .brief = "check a signature of `ssh-keygen -Y sign` over standard input",
     .options = {{"--namespace", "NS", "what it must have been made for"},
                 {"--key", "PUB", "file with the public key that must have made it"},
                 {"--sig", "FILE", "file with the signature"},
                 {"--max-data", "SIZE", "read no more than this (1T)"}},
     .run = pc_cmd_sig},
    {0},
};

static void print_commands(FILE *f, const struct pc_cli_command *c)
{
    for (; c->name; c++) {
        char left[80];
        snprintf(left, sizeof left, "%s %s", c->name, c->words);
        fprintf(f, "  %-22s %s\n", left, c->brief);
        for (const struct pc_cli_option *o = c->options; o->name; o++) {
            snprintf(left, sizeof left, "%s %s", o->name, o->value ? o->value : "");
            fprintf(f, "      %-18s %s\n", left, o->help);
        }
    }
}

static void print_help(FILE *f)
{
    fputs("Usage: portcullis COMMAND [ARGUMENT]... [OPTION]...\n"
          "Asks and directs the guard of this host, which stops programs that destroy files in bulk; and, for an "
          "owner, the fleet.\n"
          "\nCommands of this host:\n",
          f);
    print_commands(f, commands);
    fputs("\nCommands of an owner of a fleet:\n", f);
    print_commands(f, pc_fleet_commands);
    fputs("\nOptions of every command:\n"
          "  --state DIR        the guard's folder (or PORTCULLIS_STATE; " DEFAULT_STATE ")\n"
          "  --json             print the answer as JSON\n"
          "  --help, --version\n"
          "\nOptions of the fleet's commands:\n"
          "  --owner DIR        your folder (or PORTCULLIS_OWNER; ~/.config/portcullis)\n"
          "  --server URL, --ca FILE, --token FILE    instead of what owner.conf in that folder says\n"
          "\nExit status: 0 done, 1 failed or not verified, 2 usage, 3 nobody answers (no guard is running, the server "
          "cannot be\n"
          "reached), 4 refused or not allowed, 255 a signature is not good.\n",
          f);
}

static void look_around(struct pc_cli *cli)
{
    const char *env = getenv("PORTCULLIS_STATE"), *no_colour = getenv("NO_COLOR");
    if (!cli->state_dir)
        cli->state_dir = env && *env ? env : DEFAULT_STATE;
    cli->colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
    cli->progress = isatty(STDERR_FILENO) && !cli->json;
    cli->utf8 = setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are UTF-8 whatever the terminal is; cli->utf8 says what it can show */
    cli->now_ns = pc_real_ns();
}

/* argv[0] is the last word of the command's name. */
static int run(const struct pc_cli_command *cmd, int argc, char **argv)
{
    static struct pc_cli_args args; /* large */
    struct pc_cli cli = {0};
    bool help = false;
    if (cmd->raw)
        return cmd->raw(argc, argv);
    int status = pc_cli_parse(cmd, argc, argv, &cli, &args, &help);
    if (status)
        return status;
    if (help) {
        pc_cli_usage(cmd);
        return PC_EXIT_OK;
    }
    look_around(&cli);
    return cmd->run(&cli, &args);
}

/* Of `list`, the command that the first one or two of argv name; *words says how many. NULL: none. */
static const struct pc_cli_command *find_in(const struct pc_cli_command *list, int argc, char **argv, int *words)
{
    char two[80] = "";
    if (argc > 1)
        snprintf(two, sizeof two, "%s %s", argv[0], argv[1]);
    for (const struct pc_cli_command *c = list; argc > 0 && c->name; c++) {
        bool pair = strcmp(c->name, two) == 0;
        if (pair || strcmp(c->name, argv[0]) == 0) {
            *words = pair ? 2 : 1;
            return c;
        }
    }
    return NULL;
}

static const struct pc_cli_command *find_command(int argc, char **argv, int *words)
{
    const struct pc_cli_command *c = find_in(commands, argc, argv, words);
    return c ? c : find_in(pc_fleet_commands, argc, argv, words);
}

/*
 * "portcullis --state DIR status" is as good as "portcullis status --state DIR": moves the command's words to the
 * front.
 */
static void command_first(int argc, char **argv)
{
    int i = 1, words = 1;
    while (i < argc && argv[i][0] == '-')
        i += pc_cli_common_span(argv[i]);
    if (i >= argc)
        return;
    find_command(argc - i, argv + i, &words);
    char *name[2] = {argv[i], words == 2 ? argv[i + 1] : NULL};
    memmove(argv + 1 + words, argv + 1, (size_t)(i - 1) * sizeof *argv);
    memcpy(argv + 1, name, (size_t)words * sizeof *name);
}

/* "order" alone, or "order frob". */
static int unknown(char **argv)
{
    char known[256] = "";
    size_t used = 0, n = strlen(argv[0]);
    for (const struct pc_cli_command *c = pc_fleet_commands; c->name && used < sizeof known; c++)
        if (strncmp(c->name, argv[0], n) == 0 && c->name[n] == ' ')
            used += (size_t)snprintf(known + used, sizeof known - used, "%s %s", used ? "," : "", c->name + n + 1);
    if (used)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: needs one of:%s", argv[0], known);
    pc_cli_fail(PC_EXIT_USAGE, "%s: unknown command", argv[0]);
    print_help(stderr);
    return PC_EXIT_USAGE;
}

static int help_of(int argc, char **argv)
{
    int words = 0;
    bool named = argc > 0 && argv[0][0] != '-';
    const struct pc_cli_command *cmd = named ? find_command(argc, argv, &words) : NULL;
    if (named && !cmd)
        return unknown(argv);
    if (cmd && cmd->raw) {
        char *help[] = {argv[0], (char[]){"--help"}, NULL};
        return cmd->raw(2, help);
    }
    if (cmd)
        pc_cli_usage(cmd);
    else
        print_help(stdout);
    return PC_EXIT_OK;
}

static int choose(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    int words = 0;
    if (strcmp(name, "--version") == 0) {
        puts("portcullis " PC_VERSION);
        return PC_EXIT_OK;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0)
        return help_of(argc - 2, argv + 2);
    const struct pc_cli_command *cmd = find_command(argc - 1, argv + 1, &words);
    if (cmd)
        return run(cmd, argc - words, argv + words);
    if (*name)
        return unknown(argv + 1);
    print_help(stderr);
    return PC_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a guard that went away, or a closed pager, is an error with words */
    setlocale(LC_CTYPE, "C.UTF-8"); /* for words about what was typed, before look_around */
    command_first(argc, argv);
    int status = choose(argc, argv);
    bool written = fflush(stdout) == 0 && !ferror(stdout); /* or an earlier flush failed, and there is nothing left */
    return written || status != PC_EXIT_OK
               ? status
               : pc_cli_fail(PC_EXIT_FAILED, "cannot write the answer to standard output");
}
