#ifndef TESTS_TRUST_FILES_H
#define TESTS_TRUST_FILES_H
#include <stddef.h>

/*
 * A whole file of tests/vectors/sshsig, NUL-terminated, in memory that the caller frees. Exits when it cannot be
 * read.
 */
char *read_vector(const char *name, const char *extension, size_t *len);
#endif
