/*
 * Fuzzes bundles, through every check of the host that the corpus was made for. Nothing may be accepted that the owners
 * did not sign.
 */
#include "fuzz_judge.h"
#include "fuzz_fleet.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_bundle *b;
    struct pc_trust t;
    struct pc_memory m;
    struct pc_checkpoint c;
    struct pc_approvers who;
    char why[200];
    if (pc_bundle_parse((const char *)data, size, &b, why, sizeof why) != PC_CHECK_OK)
        return 0;
    judge_trust(&t);
    judge_memory(&m);
    if (pc_bundle_check(b, &t, NULL, &m, FLEET_NOW, &c, &who, why, sizeof why) == PC_CHECK_OK) {
        const struct pc_order *o = pc_bundle_order(b);
        if (who.n < t.threshold[o->class_] || pc_bundle_position(b, &m.me) < 0)
            abort();
        struct pc_order good;
        judge_order(&good); /* the only act that web3 was ever sent */
        if (o->class_ != PC_CLASS_S && strcmp(good.sha256, o->sha256) != 0)
            abort();
        pc_order_clear(&good);
    }
    pc_trust_clear(&t);
    pc_bundle_free(b);
    return 0;
}
