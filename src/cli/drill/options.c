/*
 * Owns the command line of the drill: one table is parser, range check and help text. Matches names exactly (no
 * abbreviations: a shortened --state must not be taken for --state-file). Does no I/O but printing the help.
 */
#include "cli/drill/options.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/drill/paths.h"
#include "cli/drill/shape.h"

#include <string.h>

const char *const drill_topology_names[DRILL_TOPOLOGIES + 1] = {
    [DRILL_FLAT] = "flat",
    [DRILL_FORK_PER_FILE] = "fork-per-file",
    [DRILL_DOUBLE_FORK] = "double-fork",
    [DRILL_CHAIN] = "chain",
};
const char *const drill_rename_names[DRILL_RENAMES + 1] = {
    [DRILL_RENAME_NEVER] = "never",
    [DRILL_RENAME_BEFORE] = "before",
    [DRILL_RENAME_AFTER] = "after",
};

enum kind { FLAG, TEXT, NUMBER, SIZE, DURATION, CHOICE };

struct option {
    const char *name, *arg;
    enum kind kind;
    size_t at; /* offset in struct drill_options */
    uint64_t min, max;
    const char *const *choices;
    const char *help;
};

#define AT(field) offsetof(struct drill_options, field)
#define YEAR_NS (365ULL * 86400 * 1000000000)

static const struct option options[] = {
    {"pattern", "P", CHOICE, AT(pattern), 0, 0, drill_pattern_names, "what is damaged in each file (default head-4k)"},
    {"path", "P", CHOICE, AT(path), 0, 0, drill_path_names, "how the damage reaches the file (default write)"},
    {"files", "N", NUMBER, AT(files), 1, DRILL_FILES_MAX, NULL, "files to create (default 300)"},
    {"size", "BYTES", SIZE, AT(size), 256, DRILL_SIZE_MAX, NULL,
     "about this size each, such as 64k (default: mixed, 2 KiB to 2 MiB)"},
    {"processes", "N", NUMBER, AT(processes), 1, DRILL_PROCESSES_MAX, NULL, "workers sharing the files (default 4)"},
    {"topology", "T", CHOICE, AT(topology), 0, 0, drill_topology_names, "how the workers descend (default flat)"},
    {"rate", "R", NUMBER, AT(rate), 0, 1000000, NULL, "files a second over all workers (default 0: flat out)"},
    {"rename", "WHEN", CHOICE, AT(rename), 0, 0, drill_rename_names,
     "give damaged files a new extension (default never)"},
    {"notes", NULL, FLAG, AT(notes), 0, 0, NULL, "leave a text saying \"this is a drill\" in every folder"},
    {"dir", "DIR", TEXT, AT(dir), 0, 0, NULL, "where to create the drill's own fresh folder (default: here)"},
    {"link-dir", "DIR", TEXT, AT(link_dir), 0, 0, NULL,
     "for --path hardlink: where its second folder goes, on the same file system (default: inside the first)"},
    {"seed", "S", NUMBER, AT(seed), 0, INT64_MAX, NULL, "makes the same files again (default: random)"},
    {"settle", "TIME", DURATION, AT(settle_ns), 0, YEAR_NS, NULL, "pause between creating and damaging (default 2s)"},
    {"wait", NULL, FLAG, AT(wait), 0, 0, NULL, "instead of that pause, wait for a line on standard input"},
    {"keep", NULL, FLAG, AT(keep), 0, 0, NULL, "keep the folder after a run that reached its end"},
    {"state-file", "FILE", TEXT, AT(state_file), 0, 0, NULL,
     "where to keep the progress log; must not exist (default: /run/portcullis-drill-ID)"},
    {"prepare-only", NULL, FLAG, AT(prepare_only), 0, 0, NULL, "create the files, print the folder, damage nothing"},
    {"run-only", "FOLDER", TEXT, AT(run_only), 0, 0, NULL, "damage the files of a prepared folder"},
    {"report", "STATE", TEXT, AT(report), 0, 0, NULL,
     "report on a run from its progress log, frozen or dead as it may be"},
    {"verify", NULL, FLAG, AT(verify), 0, 0, NULL, "with a run or --report: compare every file with what it was"},
    {"undo", "FOLDER", TEXT, AT(undo), 0, 0, NULL, "reverse all that was done in a drill's folder"},
    {"key", "HEX", TEXT, AT(key), 0, 0, NULL, "with --undo: the key the run printed (without: recreate from the seed)"},
    {"remove", "FOLDER", TEXT, AT(remove), 0, 0, NULL, "delete a drill's folder, only what the drill itself made"},
    {"state", "DIR", TEXT, AT(guard_state), 0, 0, NULL,
     "taken as by every command, and not used: the drill asks no guard anything"},
    {"dry-run", NULL, FLAG, AT(dry_run), 0, 0, NULL, "say what would be done"},
    {"json", NULL, FLAG, AT(json), 0, 0, NULL, "report as JSON on standard output, all else on standard error"},
    {"help", NULL, FLAG, AT(help), 0, 0, NULL, "this text"},
};

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(options); i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

static int parse_choice(const struct option *o, const char *text, uint64_t *out)
{
    for (uint64_t i = 0; o->choices[i]; i++)
        if (strcmp(o->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
    return PC_E_SYNTAX;
}

static int store_value(const struct option *o, const char *text, struct drill_options *out)
{
    char *at = (char *)out + o->at;
    uint64_t *number = (uint64_t *)(void *)at;
    switch (o->kind) {
    case FLAG:
        *(bool *)at = true;
        return 0;
    case TEXT:
        *(const char **)(void *)at = text;
        return *text ? 0 : PC_E_SYNTAX;
    case NUMBER:
        return pc_parse_u64(text, o->min, o->max, number);
    case SIZE:
        return pc_parse_size(text, o->min, o->max, number);
    case DURATION:
        return pc_parse_duration(text, o->min, o->max, number);
    case CHOICE:
        return parse_choice(o, text, number);
    }
    return PC_E_SYNTAX;
}

/* One argument, and its value when that is the next. Returns how many were used, or PC_E_SYNTAX. */
static int parse_one(char **argv, struct drill_options *o, char *why, size_t cap)
{
    const char *arg = argv[0];
    size_t len = strcspn(arg, "=");
    const struct option *opt = strncmp(arg, "--", 2) == 0 ? find_option(arg + 2, len - 2) : NULL;
    if (!opt) {
        snprintf(why, cap, "unknown argument '%.200s'", arg);
        return PC_E_SYNTAX;
    }
    const char *inside = arg[len] ? arg + len + 1 : NULL;
    const char *value = opt->kind == FLAG ? NULL : inside ? inside : argv[1];
    if (opt->kind == FLAG ? inside != NULL : value == NULL) {
        snprintf(why, cap, "--%s takes %s value", opt->name, opt->kind == FLAG ? "no" : "a");
        return PC_E_SYNTAX;
    }
    int r = store_value(opt, value, o);
    if (r < 0) {
        snprintf(why, cap, "--%s '%.200s': %s", opt->name, value, pc_strerror(r));
        return PC_E_SYNTAX;
    }
    if (opt->at == AT(seed))
        o->has_seed = true;
    return opt->kind == FLAG || inside ? 1 : 2;
}

/* Combinations that make no sense, each with its sentence. */
static const char *conflict(const struct drill_options *o)
{
    int modes = !!o->run_only + !!o->undo + !!o->report + !!o->remove + o->prepare_only + o->dry_run;
    if (modes > 1)
        return "only one of --prepare-only, --run-only, --report, --undo, --remove and --dry-run";
    if (o->key && !o->undo)
        return "--key goes with --undo";
    if (o->rename != DRILL_RENAME_NEVER && !drill_paths[o->path].in_place)
        return "--rename needs a path that changes files in place";
    if (o->link_dir && !o->undo && !o->remove && o->path != DRILL_PATH_HARDLINK)
        return "--link-dir goes with --path hardlink, --undo and --remove";
    return NULL;
}

int drill_options_parse(int argc, char **argv, struct drill_options *out, char *why, size_t cap)
{
    struct drill_options o = {.files = 300, .processes = 4, .settle_ns = 2000000000ULL, .dir = "."};
    for (int i = 1; i < argc;) {
        int used = parse_one(argv + i, &o, why, cap);
        if (used < 0)
            return used;
        i += used;
    }
    const char *wrong = conflict(&o);
    if (wrong) {
        snprintf(why, cap, "%s", wrong);
        return PC_E_SYNTAX;
    }
    *out = o;
    return 0;
}

static void print_choices(FILE *to, const char *const *choices)
{
    fprintf(to, "%22s", "");
    for (size_t i = 0; choices[i]; i++)
        fprintf(to, "%s %s", i ? "," : "", choices[i]);
    fputc('\n', to);
}

void drill_options_help(FILE *to)
{
    fputs("Usage: portcullis drill [OPTION]...\n\n"
          "Tests a guard with a harmless load. Creates its own folder and files, damages only those, and can reverse\n"
          "everything with the key it prints. Nothing outside that folder is ever touched.\n\n",
          to);
    for (size_t i = 0; i < PC_ARRAY_SIZE(options); i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].arg ? " " : "",
                 options[i].arg ? options[i].arg : "");
        fprintf(to, "  %-20s %s\n", left, options[i].help);
        if (options[i].kind == CHOICE)
            print_choices(to, options[i].choices);
    }
    fputs("\nExit status: 0 ran to the end, 1 error, 2 usage, 3 stopped early or blocked, 4 not supported here,\n"
          "5 --verify found files that differ from what they were.\n",
          to);
}
