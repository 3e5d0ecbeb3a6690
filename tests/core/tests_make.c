/* Owns the making of test content. Everything follows from a seed, so that a failing case fails again. */
#include "tests_make.h"

#include <string.h>

#define MIB (1u << 20)

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

void make_random(uint8_t *out, size_t n, uint64_t seed)
{
    /* The seed is mixed first: streams of neighbouring seeds must not be one stream, shifted. */
    uint64_t state = mix(seed + 0x9e3779b97f4a7c15ULL), x = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            x = mix(state += 0x9e3779b97f4a7c15ULL);
        out[i] = (uint8_t)(x >> 8 * (i % 8));
    }
}

static const char *const names[] = {
#define X(name, text) text,
    MAKE_PATTERN_LIST(X)
#undef X
};

const char *make_pattern_name(enum make_pattern p)
{
    return names[p];
}

int make_pattern_of(const char *name)
{
    for (int i = 0; i < MAKE_PATTERNS; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

/* A keystream xored over [from, to). */
static void encrypt(uint8_t *p, size_t n, size_t from, size_t to, uint64_t seed)
{
    uint8_t key[4096];
    to = to < n ? to : n;
    for (size_t at = from; at < to; at += sizeof key) {
        make_random(key, sizeof key, seed ^ at << 20);
        for (size_t i = 0; i < sizeof key && at + i < to; i++)
            p[at + i] ^= key[i];
    }
}

static void encrypt_pieces(uint8_t *p, size_t n, size_t on, size_t off, uint64_t seed)
{
    for (size_t at = 0; at < n; at += on + off)
        encrypt(p, n, at, at + on, seed + at);
}

static size_t in_base64(const uint8_t *in, size_t n, uint8_t *out)
{
    static const char signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;
    for (size_t i = 0; i + 3 <= n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            out[len++] = (uint8_t)signs[v >> shift & 63];
        if (i % 57 == 54)
            out[len++] = '\n';
    }
    return len;
}

static size_t in_hex(const uint8_t *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = (uint8_t)"0123456789abcdef"[in[i] >> 4];
        out[2 * i + 1] = (uint8_t)"0123456789abcdef"[in[i] & 15];
    }
    return 2 * n;
}

size_t make_damage(enum make_pattern p, const uint8_t *old, size_t n, uint8_t *out, uint64_t seed)
{
    memcpy(out, old, n);
    switch (p) {
    case MAKE_HEAD_4K:
        encrypt(out, n, 0, 4096, seed);
        return n;
    case MAKE_ALTERNATE_16:
        encrypt_pieces(out, n, 16, 16, seed);
        return n;
    case MAKE_MIB_ON_OFF:
        encrypt_pieces(out, n, MIB, MIB, seed);
        return n;
    case MAKE_PERCENT_5: /* a twentieth, in pieces of 4 KiB, the first one at the beginning */
        encrypt_pieces(out, n, 4096, 4096 * 19, seed);
        return n;
    case MAKE_FIRST_MIB:
        encrypt(out, n, 0, MIB, seed);
        return n;
    case MAKE_BASE64:
        memmove(out + 2 * n, old, n);
        encrypt(out + 2 * n, n, 0, n, seed);
        return in_base64(out + 2 * n, n, out);
    case MAKE_HEX:
        memmove(out + 2 * n, old, n);
        encrypt(out + 2 * n, n, 0, n, seed);
        return in_hex(out + 2 * n, n, out);
    case MAKE_WIPE_ZERO:
        memset(out, 0, n);
        return n;
    case MAKE_WIPE_RANDOM:
        make_random(out, n, seed);
        return n;
    case MAKE_ALL_BUT_HEAD:
        encrypt(out, n, n > 8192 ? 4096 : n / 2, n, seed);
        return n;
    case MAKE_MIDDLE:
        encrypt(out, n, n / 4, n / 4 * 3, seed);
        return n;
    case MAKE_FOOTER:
        encrypt(out, n, 0, n, seed);
        make_random(out + n, 528, seed);
        memcpy(out + n + 512, "LOCKED_BY_TEST_1", 16);
        return n + 528;
    case MAKE_HEADERED: /* a header of its own: magic, key, nonce; then ciphertext */
        memmove(out + 96, old, n);
        memcpy(out, "ENCV1\0\0\0\x10\0\0\0\0\0\0\0", 16);
        make_random(out + 16, 80, seed);
        encrypt(out + 96, n, 0, n, seed);
        return n + 96;
    default:
        encrypt(out, n, 0, n, seed);
        return n;
    }
}
