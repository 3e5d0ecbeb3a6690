#ifndef PC_CLI_CLI_H
#define PC_CLI_CLI_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the subcommands of `portcullis` share: how they are described (the tables in main.c and fleet_table.c make
 * parser, usage and help), and how the guard is asked. Everything here belongs to one short-lived program: errors are
 * printed where they happen.
 */
enum pc_exit { PC_EXIT_OK = 0, PC_EXIT_FAILED = 1, PC_EXIT_USAGE = 2, PC_EXIT_NO_GUARD = 3, PC_EXIT_REFUSED = 4,
               PC_EXIT_BAD_SIGNATURE = 255 /* what ssh-keygen says */ };

struct pc_cli {
    const char *state_dir;
    bool json;        /* print the result as it is */
    bool colour;      /* standard output is a terminal and NO_COLOR is not set */
    bool progress;    /* standard error is a terminal: draw progress there */
    bool utf8;        /* the user's terminal takes UTF-8: draw lines with it */
    uint64_t now_ns;  /* real time at the start, for "3 min ago" */
    struct {          /* of the fleet's commands: what was given, or NULL */
        const char *owner, *server, *ca, *token;
    } fleet;
};

#define PC_CLI_OPTIONS_MAX 40
#define PC_CLI_WORDS_MAX 4
#define PC_CLI_GIVEN_MAX 2048 /* options on one command line */
struct pc_cli_option {
    const char *name;  /* "--at"; NULL ends the list */
    const char *value; /* "TIME", or NULL for a switch */
    const char *help;
    bool many;         /* may be given again and again: see pc_cli_next */
};
/* What was given: value[i] belongs to option i of the command (a switch that was given: ""), NULL when absent. */
struct pc_cli_args {
    const char *value[PC_CLI_OPTIONS_MAX]; /* of one that was repeated: the last */
    const char *word[PC_CLI_WORDS_MAX];    /* those that were not given: NULL */
    size_t n_given;
    struct {
        size_t option;
        const char *value;
    } given[PC_CLI_GIVEN_MAX]; /* all of them, in their order */
};
struct pc_cli_command {
    const char *name, *words; /* "order new"; "ID": what must follow, "" for nothing */
    int word_count, word_more; /* how many words must follow, and how many more may */
    const char *brief;
    bool fleet; /* has the options of the fleet's commands: --owner, --server, --ca, --token */
    struct pc_cli_option options[PC_CLI_OPTIONS_MAX + 1];
    /* Exactly one of them. run returns an exit status; raw gets its own argc and argv and parses them itself. */
    int (*run)(struct pc_cli *cli, const struct pc_cli_args *args);
    int (*raw)(int argc, char **argv);
};

int pc_cmd_status(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_incidents(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_incident(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_rollback(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_release(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_end(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_history(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_restore(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_replay(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_apply_stop(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_sig(struct pc_cli *cli, const struct pc_cli_args *args);

/* The commands of the fleet, ended by a row without name. */
extern const struct pc_cli_command pc_fleet_commands[];

/*
 * Fills in args and the common options of cli from what follows the command's name (argv[0] is not looked at). 0 and
 * *help
 * (--help was given), or an exit status after saying why.
 */
int pc_cli_parse(const struct pc_cli_command *cmd, int argc, char **argv, struct pc_cli *cli, struct pc_cli_args *args,
                 bool *help);
/* The usage of one command, from its table row. */
void pc_cli_usage(const struct pc_cli_command *cmd);
/*
 * How many arguments the option argv[0] takes that every command knows: 2 for "--state DIR", 1 for "--state=DIR" and
 * others.
 */
int pc_cli_common_span(const char *word);
/* The value of the next occurrence of option `option` at or after *at, in given order; *at moves on. NULL: no more. */
const char *pc_cli_next(const struct pc_cli_args *args, size_t option, size_t *at);

/* Prints "portcullis: ..." and returns status: `return pc_cli_fail(PC_EXIT_USAGE, "...")`. */
int pc_cli_fail(enum pc_exit status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An incident's number from the command line. 0, or an exit status after saying why. */
int pc_cli_incident_id(const char *word, json_int_t *out);
/*
 * The guard knows files by absolute path. Resolves the folder a path is in, but not the path itself (it may be gone, or
 * a link), and escapes it for the request. Prints and returns an exit status, or 0 and *out to be freed.
 */
int pc_cli_path(const char *word, char **out);
/*
 * A moment: "2026-11-21T18:03:00.123Z" as printed by history, "2026-11-21 18:03[:00]" in local time, or "10m" for ten
 * minutes before now. *out in nanoseconds since 1970. 0, or an exit status after saying what is allowed.
 */
int pc_cli_moment(const char *word, uint64_t now_ns, uint64_t *out);

typedef void (*pc_cli_progress_fn)(void *arg, const json_t *progress);
/*
 * Sends one request (taken over) to the guard and waits for its answer; progress (may be NULL) sees each step. Returns
 * 0 and *result (to be released with json_decref), or prints why not and returns an exit status.
 */
int pc_cli_ask(const struct pc_cli *cli, json_t *request, pc_cli_progress_fn progress, void *arg, json_t **result);
/* The same to the runner of this host (src/host/runner_control.c), in its own folder. PC_EXIT_NO_GUARD and
 * PC_EXIT_REFUSED, of a socket that is not there or not for us, are returned without a word. */
int pc_cli_ask_runner(const struct pc_cli *cli, const char *fleet_dir, json_t *request, json_t **result);
/*
 * How the fleet's part of this host stands, for `status`: a new reference, or NULL when there is none. put: for people.
 */
json_t *pc_fleet_status(const struct pc_cli *cli);
void pc_put_fleet(const struct pc_cli *cli, const json_t *fleet);
#endif
