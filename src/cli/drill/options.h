#ifndef PC_CLI_DRILL_OPTIONS_H
#define PC_CLI_DRILL_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DRILL_FILES_MAX 200000
#define DRILL_PROCESSES_MAX 1024
#define DRILL_SIZE_MAX (64ULL << 20)

enum drill_topology { DRILL_FLAT, DRILL_FORK_PER_FILE, DRILL_DOUBLE_FORK, DRILL_CHAIN, DRILL_TOPOLOGIES };
enum drill_rename { DRILL_RENAME_NEVER, DRILL_RENAME_BEFORE, DRILL_RENAME_AFTER, DRILL_RENAMES };
extern const char *const drill_topology_names[DRILL_TOPOLOGIES + 1];
extern const char *const drill_rename_names[DRILL_RENAMES + 1];

/* Strings point into argv. Sizes in bytes, rate in files a second (0: flat out), times in nanoseconds. */
struct drill_options {
    uint64_t pattern, path, topology, rename; /* indices into the name tables */
    uint64_t files, processes, rate, size, seed, settle_ns;
    const char *dir, *link_dir, *state_file, *key;
    const char *guard_state; /* accepted so that scripts can give it to every command; nothing reads it */
    const char *run_only, *undo, *report, *remove; /* a mode each: at most one, or prepare_only, or dry_run */
    bool prepare_only, dry_run, has_seed, wait, keep, notes, verify, json, help;
};
/* 0, or PC_E_SYNTAX with a sentence in why. *out is complete (defaults included) only on success. */
int drill_options_parse(int argc, char **argv, struct drill_options *out, char *why, size_t cap);
void drill_options_help(FILE *to);
#endif
