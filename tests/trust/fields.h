#ifndef TESTS_TRUST_FIELDS_H
#define TESTS_TRUST_FIELDS_H
#include "base/buf.h"

/*
 * A signature as the tree of its fields, so that a test can damage one field and leave all the others, and the lengths
 * around it, as they should be.
 */
#define FIELD_CHILDREN_MAX 12
struct field {
    const char *name;
    bool prefixed;       /* a string: its length goes before it */
    uint32_t length_lie; /* XORed into that length */
    uint8_t *bytes;      /* a leaf's, malloc'ed */
    size_t len;
    struct field *child[FIELD_CHILDREN_MAX]; /* none: a leaf */
    size_t children;
};

/* The tree of a well-formed signature; exits on any other. */
struct field *fields_of(const void *raw, size_t len);
void fields_free(struct field *f);
struct field *fields_copy(const struct field *f);
/* The bytes again. */
void fields_write(const struct field *f, struct pc_buf *out);
/* Every field below f, parents first; at most max. Returns how many. */
size_t fields_list(struct field *f, struct field **list, size_t max);
struct field *fields_find(struct field *f, const char *name);
#endif
