#ifndef PC_TRUST_SSHWIRE_H
#define PC_TRUST_SSHWIRE_H
#include "base/buf.h"

/*
 * The data types of RFC 4251 section 5 over the cursor and the buffer of base/buf.h. The readers mark the cursor failed
 * where the bytes do not hold what they should; so pc_cur_end says once, at the end, whether all of it was well formed.
 * What they return points into the caller's bytes.
 */
struct pc_span {
    const uint8_t *p;
    size_t len;
};

/* True when the span is exactly the text. */
bool pc_span_is(struct pc_span s, const char *text);

uint32_t pc_ssh_u32(struct pc_cur *c);
/* string: a length, and as many bytes. */
struct pc_span pc_ssh_string(struct pc_cur *c);
/* A string that is text. As in OpenSSH, one NUL at its end is cut off and one anywhere else is an error. */
struct pc_span pc_ssh_text(struct pc_cur *c);
/*
 * A non-negative mpint of at most 16384 bits, without its leading zeros: no bytes for 0. As in OpenSSH, needless
 * leading zeros are forgiven.
 */
struct pc_span pc_ssh_mpint(struct pc_cur *c);

int pc_ssh_put_u32(struct pc_buf *b, uint32_t v);
int pc_ssh_put_string(struct pc_buf *b, const void *data, size_t len);
int pc_ssh_put_text(struct pc_buf *b, const char *text);
/* big: a number's bytes, most significant first, without leading zeros. */
int pc_ssh_put_mpint(struct pc_buf *b, struct pc_span big);
#endif
