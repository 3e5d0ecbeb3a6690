#ifndef PC_CLI_NET_PROOF_H
#define PC_CLI_NET_PROOF_H
#include "trust/report.h"

#include <jansson.h>

/*
 * What in an answer of the server is a host's own word: an envelope that verifies, by the key that hashes to that
 * host's identity, about that very order or look. Everything else is hearsay.
 */
enum pc_proof {
    PC_PROOF_NONE,   /* there is no envelope: the server says so, nobody else */
    PC_PROOF_GOOD,
    PC_PROOF_FORGED, /* there is one, and it is not what it claims to be */
    PC_PROOF_MEMORY, /* no memory to tell */
};
struct pc_about {
    const char *tenant;
    const struct pc_host_ref *host; /* who must have signed */
    const char *order_sha256, *look; /* one of them; the other NULL */
};
/*
 * envelope: as the server gave it; NULL or JSON null is NONE. On GOOD *out is filled in (pc_result_clear); on FORGED
 * why says what is wrong.
 */
enum pc_proof pc_proof_result(const json_t *envelope, const struct pc_about *about, struct pc_result *out, char *why,
                              size_t why_len);
enum pc_proof pc_proof_ack(const json_t *envelope, const struct pc_about *about, struct pc_ack *out, char *why,
                           size_t why_len);
enum pc_proof pc_proof_ring(const json_t *envelope, const struct pc_about *about, struct pc_ring_report *out, char *why,
                            size_t why_len);
#endif
