/* Owns portcullis-server's command line: which command, and what each takes. The commands are in cmd_*.c. */
#include "server/command.h"

#include "base/cleanup.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *args, *words;
} commands[] = {
    {"init", pc_server_init,
     "--state DIR --tenant T --listen HOST:PORT --link HOST:PORT [--name DNS/IP]... [--database URL] [--user NAME]",
     "make a server: authority, certificate, log key, database; prints the log's key for the trust file"},
    {"run", pc_server_run, "--state DIR [--database URL] [--user NAME]",
     "serve, in the foreground; TERM and INT end it"},
    {"trust", pc_server_trust, "--state DIR FILE [SIGNATURE]...",
     "install the owners' trust file (FILE.*.sig are taken too); a later one needs the quorum of the one before"},
    {"enroll-token", pc_server_enroll_token, "--state DIR [--hours N] [--name HOST]",
     "a token with which one host may enrol, for N hours (default 24)"},
    {"api-token", pc_server_api_token, "--state DIR NAME --role look|operate [--days N]",
     "a token for the API (default 365 days)"},
    {"cert", pc_server_cert, "--state DIR [--name DNS/IP]...",
     "a new server certificate from the authority; a running server takes it after SIGHUP"},
    {"backup", pc_server_backup, "--state DIR FILE",
     "keys, settings and a consistent copy of the database in one file, also while the server runs"},
    {"restore", pc_server_restore, "--state DIR [--user NAME] FILE", "make a server from a backup, in a new folder"},
};

static void usage(FILE *f)
{
    fputs("usage: portcullis-server COMMAND ...\n\n", f);
    for (size_t i = 0; i < PC_ARRAY_SIZE(commands); i++)
        fprintf(f, "  %s %s\n      %s\n", commands[i].name, commands[i].args, commands[i].words);
    fputs("\nThe server carries orders and keeps the log. It has no authority: hosts believe the owners' signatures.\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad settings. See portcullis-server(8).\n",
          f);
}

int pc_server_usage(const char *command)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, command) == 0)
            fprintf(stderr, "usage: portcullis-server %s %s\n", command, commands[i].args);
    return PC_EXIT_USAGE;
}

int pc_server_complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("portcullis-server: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return PC_EXIT_USAGE;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("portcullis-server " PC_VERSION);
        return 0;
    }
    for (size_t i = 0; i < PC_ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "portcullis-server: no command %s (portcullis-server -h lists them)\n", argv[1]);
    return PC_EXIT_USAGE;
}
