/* Fuzzes what opens rings, starts runs and moves the host's view of the log. */
#include "fuzz_judge.h"
#include "fuzz_fleet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct pc_order act, recipe;
    struct pc_trust t;
    struct pc_memory m;
    struct pc_checkpoint c;
    struct pc_names_order names;
    char why[200];
    uint64_t run;
    judge_order(&act);
    judge_recipe(&recipe);
    judge_trust(&t);
    judge_memory(&m);
    if (pc_continue_check(text, size, &act, &t, &m, 1, 0, &c, why, sizeof why) == PC_CHECK_OK &&
        c.size <= m.checkpoint.size)
        abort();
    if (pc_continue_names(text, size, &names) == 0 && (names.ring == 0 || names.ring >= PC_RINGS_MAX))
        abort();
    if (pc_start_check(text, size, &recipe, &t, &m, 0, &run, &c, why, sizeof why) == PC_CHECK_OK && run != 3)
        abort();
    if (pc_checkpoint_accept(text, size, &t, &m, &c, why, sizeof why) == PC_CHECK_OK && c.size < m.checkpoint.size)
        abort();
    pc_start_names(text, size, &names);
    pc_order_clear(&act);
    pc_order_clear(&recipe);
    pc_trust_clear(&t);
    return 0;
}
