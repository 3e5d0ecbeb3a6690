#ifndef PC_TESTS_CORE_MAKE_H
#define PC_TESTS_CORE_MAKE_H
#include <stddef.h>
#include <stdint.h>

/* Makes content for tests: what an encryptor of each pattern would leave of a file, and files of several kinds. */
#define MAKE_PATTERN_LIST(X)    \
    X(FULL, "full")             \
    X(HEAD_4K, "head-4k")       \
    X(ALTERNATE_16, "alt-16")   \
    X(MIB_ON_OFF, "mib-on-off") \
    X(PERCENT_5, "percent-5")   \
    X(FIRST_MIB, "first-mib")   \
    X(BASE64, "base64")         \
    X(HEX, "hex")               \
    X(WIPE_ZERO, "wipe-zero")   \
    X(WIPE_RANDOM, "wipe-random") \
    X(FOOTER, "footer")         \
    X(HEADERED, "headered")     \
    X(ALL_BUT_HEAD, "all-but-head") \
    X(MIDDLE, "middle")

enum make_pattern {
#define X(name, text) MAKE_##name,
    MAKE_PATTERN_LIST(X)
#undef X
    MAKE_PATTERNS
};
const char *make_pattern_name(enum make_pattern p);
/* -1 when there is none of that name. */
int make_pattern_of(const char *name);
/* Writes what the pattern leaves of old[0..n) to out (room for 3n + 4096) and returns its length. */
size_t make_damage(enum make_pattern p, const uint8_t *old, size_t n, uint8_t *out, uint64_t seed);

/*
 * A file of the kind named ("text", "jpeg", "zip" ...), of about n bytes, in out (room for 2n + 8192). Returns its
 * length, 0 when there is no kind of that name. The same seed gives the same file.
 */
size_t make_file(const char *kind, uint8_t *out, size_t n, uint64_t seed);
/* Names of all kinds make_file knows, NULL at the end. */
extern const char *const make_file_kinds[];
/*
 * A harmless change of old ("edit", "append", "insert", "pages", "fill-zeros"), as programs make them every day.
 * Returns the new length, 0 when there is none of that name.
 */
size_t make_edit(const char *edit, const uint8_t *old, size_t n, uint8_t *out, uint64_t seed);

/* Random bytes from a seed: the same every time. */
void make_random(uint8_t *out, size_t n, uint64_t seed);
#endif
