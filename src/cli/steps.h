#ifndef PC_CLI_STEPS_H
#define PC_CLI_STEPS_H
#include "cli/cli.h"

/* Shows the steps of a long piece of work as the guard reports them, or keeps them for --json. */
struct pc_steps {
    const struct pc_cli *cli;
    bool all;     /* every step is listed (a dry run), else those that failed */
    bool left;    /* and those that left something as it is, for a reason */
    json_t *kept; /* array: the listed steps when the answer is printed as JSON; not owned */
    bool drawn;   /* a progress line is on the terminal */
    json_int_t drawn_permil;
};
/* pc_cli_progress_fn; arg: struct pc_steps. */
void pc_steps_take(void *arg, const json_t *progress);
/* Takes the progress line away. */
void pc_steps_erase(struct pc_steps *w);
#endif
