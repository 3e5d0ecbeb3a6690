/*
 * Owns the data types of the SSH protocol: how numbers, strings and big numbers lie in memory. Knows no keys and no
 * signatures: sshkey.c and sshsig.c read theirs with it. Forgives what OpenSSH forgives, and no more.
 */
#include "trust/sshwire.h"

#include <string.h>

#define MPINT_MAX_BYTES (16384 / 8)

bool pc_span_is(struct pc_span s, const char *text)
{
    size_t len = strlen(text);
    return s.len == len && (len == 0 || memcmp(s.p, text, len) == 0);
}

static struct pc_span fail(struct pc_cur *c)
{
    c->failed = true;
    return (struct pc_span){NULL, 0};
}

uint32_t pc_ssh_u32(struct pc_cur *c)
{
    const uint8_t *p = pc_cur_take(c, 4);
    return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

struct pc_span pc_ssh_string(struct pc_cur *c)
{
    size_t len = pc_ssh_u32(c);
    const uint8_t *p = pc_cur_take(c, len);
    return p ? (struct pc_span){p, len} : fail(c);
}

struct pc_span pc_ssh_text(struct pc_cur *c)
{
    struct pc_span s = pc_ssh_string(c);
    if (s.len && s.p[s.len - 1] == 0)
        s.len--;
    return s.len && memchr(s.p, 0, s.len) ? fail(c) : s;
}

struct pc_span pc_ssh_mpint(struct pc_cur *c)
{
    struct pc_span s = pc_ssh_string(c);
    if (s.len == 0)
        return s;
    if (s.p[0] & 0x80) /* negative */
        return fail(c);
    if (s.len > MPINT_MAX_BYTES + 1 || (s.len == MPINT_MAX_BYTES + 1 && s.p[0] != 0))
        return fail(c);
    while (s.len && *s.p == 0) {
        s.p++;
        s.len--;
    }
    return s;
}

int pc_ssh_put_u32(struct pc_buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    return pc_buf_add(b, bytes, sizeof bytes);
}

int pc_ssh_put_string(struct pc_buf *b, const void *data, size_t len)
{
    int r = pc_ssh_put_u32(b, (uint32_t)len);
    return r < 0 ? r : pc_buf_add(b, data, len);
}

int pc_ssh_put_text(struct pc_buf *b, const char *text)
{
    return pc_ssh_put_string(b, text, strlen(text));
}

int pc_ssh_put_mpint(struct pc_buf *b, struct pc_span big)
{
    bool sign = big.len && (big.p[0] & 0x80);
    int r = pc_ssh_put_u32(b, (uint32_t)(big.len + sign));
    if (r == 0 && sign)
        r = pc_buf_add(b, "", 1);
    return r < 0 ? r : pc_buf_add(b, big.p, big.len);
}
