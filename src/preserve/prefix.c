/*
 * Owns telling whether the beginning of a file that was appended to is what it was: a hash over some of it. Must not
 * know versions or rows: copier.c takes it while an appender waits, content_of.c asks before anything is restored.
 */
#include "preserve/prefix.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

enum { END_BYTES = 64 * 1024, WINDOW_BYTES = 16 * 1024, WINDOWS = 16 };

/* splitmix64 (Steele, Lea, Flood 2014): spreads a seed that nobody else knows. */
static uint64_t next_of(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

/* Adds [at, at+len) of the file. PC_E_CHANGED: it is shorter. */
static int add(EVP_MD_CTX *ctx, int fd, uint64_t at, size_t len, char *buf)
{
    for (size_t n; len; at += n, len -= n) {
        n = len < END_BYTES ? len : END_BYTES;
        ssize_t got = pc_pread_full(fd, buf, n, at);
        if (got < 0)
            return (int)got;
        if ((size_t)got != n)
            return PC_E_CHANGED;
        if (EVP_DigestUpdate(ctx, buf, n) != 1)
            return -ENOMEM;
    }
    return 0;
}

static int add_all(EVP_MD_CTX *ctx, int fd, uint64_t size, uint64_t seed, char *buf)
{
    if (size <= PC_PREFIX_WHOLE)
        return add(ctx, fd, 0, (size_t)size, buf);
    int r = add(ctx, fd, 0, END_BYTES, buf);
    for (int i = 0; i < WINDOWS && r == 0; i++)
        r = add(ctx, fd, next_of(&seed) % (size - WINDOW_BYTES), WINDOW_BYTES, buf);
    return r == 0 ? add(ctx, fd, size - END_BYTES, END_BYTES, buf) : r;
}

static int hash(int fd, uint64_t size, uint64_t seed, uint8_t out[PC_SHA256_LEN])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    _free_ char *buf = malloc(END_BYTES);
    int r = -ENOMEM;
    if (ctx && buf && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        r = add_all(ctx, fd, size, seed, buf);
        if (r == 0 && EVP_DigestFinal_ex(ctx, out, NULL) != 1)
            r = -ENOMEM;
    }
    EVP_MD_CTX_free(ctx);
    return r;
}

int pc_prefix_take(int fd, uint64_t size, struct pc_prefix *out)
{
    struct pc_prefix p;
    if (getrandom(&p.seed, sizeof p.seed, 0) != (ssize_t)sizeof p.seed)
        return -errno;
    int r = hash(fd, size, p.seed, p.sha256);
    if (r == 0)
        *out = p;
    return r;
}

int pc_prefix_holds(int fd, uint64_t size, const struct pc_prefix *was)
{
    uint8_t now[PC_SHA256_LEN];
    int r = hash(fd, size, was->seed, now);
    return r == PC_E_CHANGED ? 0 : r < 0 ? r : memcmp(now, was->sha256, sizeof now) == 0;
}
