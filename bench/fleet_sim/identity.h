#ifndef SIM_IDENTITY_H
#define SIM_IDENTITY_H
/*
 * Who the simulated hosts are: names and keys that follow from a seed and a number, so that a fleet can be enrolled by one process and played
 * by another, again and again. For measuring only: whoever knows the seed is all of them.
 */
#include "trust/names.h"

#include <stdint.h>

struct sim_identity {
    struct pc_host_ref ref;
    uint8_t seed[32], key[32];           /* identity: Ed25519 private and public */
    uint8_t link_seed[32], link_key[32]; /* of the TLS certificate */
};
/* -EIO: OpenSSL cannot. */
int sim_identity_make(const char *seed, uint32_t number, struct sim_identity *out);
#endif
