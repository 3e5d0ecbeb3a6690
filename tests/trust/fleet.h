#ifndef TESTS_TRUST_FLEET_H
#define TESTS_TRUST_FLEET_H
#include "forge.h"
#include "trust/bundle.h"
#include "trust/json.h"

/*
 * A whole small fleet in memory: four owners, five hosts, a log with a witness, and everything that they sign. Texts
 * are malloc'd. Exits when the machinery itself fails: nothing to test then.
 */
#define NOW INT64_C(1795284000) /* 2026-11-21T18:00:00Z */
#define HOUR 3600

enum owner { ANN, BOB, CID, DORA, OWNERS, EVE }; /* Dora: a hardware key, demanded by the trust file. Eve is no owner */
enum host { WEB1, WEB2, WEB3, DB1, DB2, HOSTS };
#define LOG_MAX 64

struct fleet {
    struct forge_key owner[EVE + 1];
    uint8_t seed[HOSTS][32];
    struct pc_host_ref host[HOSTS];
    struct pc_skey log, witness, other_witness;
    uint8_t leaf[LOG_MAX][32];
    uint64_t size;
};
extern const char *const owner_names[OWNERS];

void fleet_make(struct fleet *f);
void fleet_free(struct fleet *f);

/* Documents with everything in order, as JSON to be altered before it is signed. */
json_t *fleet_trust(struct fleet *f);
json_t *fleet_order(struct fleet *f);  /* class C, service restart, web1 web2 web3, sequence 105 */
json_t *fleet_stop(struct fleet *f);   /* class S, host.isolate, web1 */
json_t *fleet_recipe(struct fleet *f); /* class B, package.update, web1 web2 */
json_t *fleet_time(int64_t t);
json_t *fleet_host(const struct fleet *f, enum host h); /* "NAME#HOSTID" */
char *fleet_text(const json_t *document, size_t *len);
void fleet_trust_parse(const json_t *document, struct pc_trust *out);

/* An owner's signature text. flags: of the hardware key (1: touched). */
char *fleet_sign(struct fleet *f, enum owner who, const char *ns, uint8_t flags, const void *document, size_t len);
/* An envelope of a document signed by owners, -1 ends the list. To be cleared. */
void fleet_envelope(struct fleet *f, const char *ns, const void *document, size_t len, const int *owners,
                    struct pc_envelope *out);
json_t *fleet_envelope_json(const struct pc_envelope *e);

/* Appends an entry to the log; its index. */
uint64_t fleet_log(struct fleet *f, const void *entry, size_t len);
void fleet_log_more(struct fleet *f, int n); /* entries about nothing */
/* A cosigned checkpoint of the first `size` entries. */
void fleet_checkpoint(struct fleet *f, uint64_t size, int64_t time, struct pc_checkpoint *out);
char *fleet_note(struct fleet *f, uint64_t size, int64_t time);
/* Sets entry, index, proof, checkpoint, from, consistency on an object: the whole log as it is now, signed at time. */
void fleet_prove(struct fleet *f, json_t *object, const void *entry, size_t len, uint64_t index, uint64_t from,
                 int64_t time);
json_t *fleet_hashes(const uint8_t (*h)[32], size_t n);
json_t *fleet_place(const struct pc_place *place);

/*
 * A bundle of an order's document as owners signed it (-1 ends the list), logged now; consistency from tree size
 * `from`.
 */
json_t *fleet_bundle(struct fleet *f, const void *document, size_t len, const int *owners, uint64_t from);
#endif
