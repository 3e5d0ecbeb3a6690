#ifndef TESTS_TRUST_FUZZ_JUDGE_H
#define TESTS_TRUST_FUZZ_JUDGE_H
#include "trust/bundle.h"

/*
 * The host that the fuzzers' bundles, continues, starts and checkpoints are for: of the fleet that make_corpus made
 * once (fuzz_fleet.h).
 */
void judge_trust(struct pc_trust *out);
void judge_memory(struct pc_memory *out);
/* The order that the corpus' continues are about. To be cleared. */
void judge_order(struct pc_order *out);
void judge_recipe(struct pc_order *out);
#endif
