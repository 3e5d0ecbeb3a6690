#ifndef TESTS_TRUST_DAMAGE_H
#define TESTS_TRUST_DAMAGE_H
#include "fields.h"

#include <stddef.h>
#include <stdint.h>

/* One question for both verifiers: is this a signature by that key over this message for that purpose? */
struct trial {
    struct field *fields;      /* until it is written out */
    const struct field *other; /* another signature, for splices */
    struct pc_buf raw;         /* then */
    struct pc_buf text;        /* and then: what is asked */
    char *pub, *ns, *msg;
    const char *other_pub;
    int stricter; /* 0, or the error that we answer with on purpose where ssh-keygen says good */
};

/* A way to damage a trial at one of its stages; rnd is a generator of its own. */
enum damage_stage { DAMAGE_FIELDS, DAMAGE_RAW, DAMAGE_TEXT, DAMAGE_QUESTION };
struct damage {
    const char *name;
    enum damage_stage stage;
    void (*apply)(struct trial *t, uint64_t *rnd);
};
extern const struct damage damages[];
extern const size_t damage_count;

/* The next number in [0, below). */
uint64_t draw(uint64_t *rnd, uint64_t below);
#endif
