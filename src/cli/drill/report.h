#ifndef PC_CLI_DRILL_REPORT_H
#define PC_CLI_DRILL_REPORT_H
#include "cli/drill/progress.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How a file compares with what it was. */
enum drill_state {
    DRILL_IDENTICAL, /* content, size, mode, modification time */
    DRILL_METADATA,  /* content is the same; mode, time or mark are not */
    DRILL_DAMAGED,   /* other content, or only its renamed version is there */
    DRILL_MISSING,
    DRILL_FOREIGN,   /* something that is not the drill's own is in its place */
    DRILL_UNREADABLE,
    DRILL_STATES
};
extern const char *const drill_state_names[DRILL_STATES];

struct drill_report {
    uint32_t steps[DRILL_STEPS]; /* files by enum drill_step */
    uint32_t touched;            /* files whose change was begun, finished or not */
    uint32_t in_flight;          /* opening, opened or changing */
    uint64_t first_open_ns, first_change_ns, last_change_ns; /* CLOCK_MONOTONIC; 0: none */
    double rate;                 /* files done a second, from the first open to the last done */
    bool ended;                  /* the drill itself saw its end */
    bool verified;
    uint32_t states[DRILL_STATES]; /* files by enum drill_state, when verified */
    uint8_t *state;                /* of each file, when verified; owned */
};
/* A snapshot of the counters; the run may be going on. */
void drill_report_take(const struct drill_progress *p, struct drill_report *out);
/* Compares every file in the folder with the manifest kept in the log. Error only when the folder cannot be opened. */
int drill_report_verify(const struct drill_progress *p, struct drill_report *r);
void drill_report_free(struct drill_report *r);
/* Text or JSON; state_file and key may be NULL. The JSON form returns 0 or -EIO. */
void drill_report_print(FILE *to, const struct drill_progress *p, const struct drill_report *r, const char *state_file);
int drill_report_print_json(FILE *to, const struct drill_progress *p, const struct drill_report *r,
                            const char *state_file, const char *key);
#endif
