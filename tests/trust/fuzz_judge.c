/*
 * One fixed host for the fuzzers, so that a good input of the corpus passes every check, and its mutations reach all of
 * them.
 */
#include "fuzz_judge.h"

#include "base/str.h"
#include "fuzz_fleet.h"

#include <stdlib.h>
#include <string.h>

void judge_trust(struct pc_trust *out)
{
    if (pc_trust_parse(fleet_trust_text, strlen(fleet_trust_text), out, NULL, 0) < 0)
        abort();
}

void judge_memory(struct pc_memory *out)
{
    *out = (struct pc_memory){.sequence = 104};
    if (pc_host_ref_parse(fleet_me, &out->me) < 0 || pc_unhex(fleet_root, out->checkpoint.root, 32) != 32)
        abort();
    strcpy(out->checkpoint.origin, "log.example.org");
    out->checkpoint.size = 5;
    out->checkpoint.time = FLEET_NOW - 60;
}

static void order(const char *text, struct pc_order *out)
{
    if (pc_order_parse(text, strlen(text), out, NULL, 0) != PC_CHECK_OK)
        abort();
}

void judge_order(struct pc_order *out)
{
    order(fleet_order_text, out);
}

void judge_recipe(struct pc_order *out)
{
    order(fleet_recipe_text, out);
}
