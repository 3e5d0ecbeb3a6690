/* Owns byte statistics. Knows nothing of files or formats; content.c and kind.c hand it bytes and ask. */
#include "core/hist.h"

#include <string.h>

static void add_bulk(struct pc_hist *h, const uint8_t *p, size_t n)
{
    /* Four tables: equal neighbours would otherwise wait for each other's store. */
    uint32_t t[4][256] = {{0}};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        t[0][p[i]]++;
        t[1][p[i + 1]]++;
        t[2][p[i + 2]]++;
        t[3][p[i + 3]]++;
    }
    for (; i < n; i++)
        t[0][p[i]]++;
    for (int b = 0; b < 256; b++)
        h->c[b] += t[0][b] + t[1][b] + t[2][b] + t[3][b];
}

void pc_hist_add(struct pc_hist *h, const uint8_t *p, size_t n)
{
    h->n += (uint32_t)n;
    if (n >= 1024) {
        add_bulk(h, p, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        h->c[p[i]]++;
}

void pc_hist_merge(struct pc_hist *into, const struct pc_hist *from)
{
    into->n += from->n;
    for (int b = 0; b < 256; b++)
        into->c[b] += from->c[b];
}

bool pc_hist_random(const struct pc_hist *h)
{
    if (h->n < PC_HIST_MIN)
        return false;
    uint64_t squares = 0;
    uint32_t high = 0;
    for (int b = 0; b < 256; b++) {
        squares += (uint64_t)h->c[b] * h->c[b];
        high += b >= 128 ? h->c[b] : 0;
    }
    if (high * 4 < h->n || high * 4 > 3 * h->n) /* a few dozen different letters are even enough for chi-square */
        return false;
    double chi2 = 256.0 * (double)squares / h->n - h->n;
    /*
     * 255 expected, 113 = five standard deviations; 0.02 a byte lets good compressors' slight unevenness pass as random
     * too: telling those from ciphertext is the business of decoding them, not of counting.
     */
    return chi2 <= 255.0 + 113.0 + 0.02 * h->n;
}

/* Line ends, padding and blanks belong to the wrapping of an encoding, not to its alphabet. */
static bool is_wrapping(int b)
{
    return b == '\n' || b == '\r' || b == '=' || b == ' ';
}

bool pc_hist_encoded(const struct pc_hist *h)
{
    uint32_t signs = 0, k = 0, wrap = 0;
    uint64_t squares = 0;
    for (int b = 0; b < 256; b++) {
        if (h->c[b] == 0)
            continue;
        if (is_wrapping(b)) {
            wrap += h->c[b];
            continue;
        }
        if (b < 0x21 || b > 0x7e)
            return false;
        k++;
        signs += h->c[b];
        squares += (uint64_t)h->c[b] * h->c[b];
    }
    if (k < 16 || signs < 8 * PC_HIST_MIN || wrap > signs / 8)
        return false;
    double chi2 = (double)k * (double)squares / signs - signs;
    return chi2 <= k + 45.0 + 0.06 * signs; /* 45: four standard deviations for 64 signs */
}

bool pc_bytes_constant(const uint8_t *p, size_t n)
{
    return n > 0 && (n == 1 || memcmp(p, p + 1, n - 1) == 0);
}
