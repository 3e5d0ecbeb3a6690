/*
 * Fuzzes the trust file, the revocation and the server statement; what is accepted must keep the rules that matter
 * most.
 */
#include "trust/trustfile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_trust(const struct pc_trust *t)
{
    for (int c = PC_CLASS_B; c < PC_CLASSES; c++)
        if (t->threshold[c] == 0 || t->threshold[c] > t->owners)
            abort();
    if (t->owners > 1 && (t->threshold[PC_CLASS_C] < 2 || t->threshold[PC_CLASS_T] < 2))
        abort();
    for (uint32_t i = 0; i < t->owners; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(t->owner[i].fingerprint, t->owner[j].fingerprint) == 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_trust t;
    struct pc_revocation v;
    struct pc_server_statement s;
    char why[200];
    if (pc_trust_parse(data, size, &t, why, sizeof why) == 0) {
        check_trust(&t);
        pc_trust_clear(&t);
    } else if (!why[0]) {
        abort();
    }
    pc_revocation_parse(data, size, &v, why, sizeof why);
    if (pc_server_statement_parse(data, size, &s, why, sizeof why) == 0)
        pc_server_statement_clear(&s);
    return 0;
}
