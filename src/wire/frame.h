#ifndef PC_WIRE_FRAME_H
#define PC_WIRE_FRAME_H
/*
 * Frames of the link (PROTOCOL.md 3.1): u32 big-endian length, u8 type, body. Pure codec: bytes in, frames out; never
 * waits, never reads.
 */
#include <stddef.h>
#include <stdint.h>

/* The most that the length field may say: type and body. */
#define PC_FRAME_MAX (1u << 20)      /* host to server */
#define PC_FRAME_MAX_DOWN (2u << 20) /* server to host */
#define PC_FRAME_HEAD 5

enum pc_frame_type {
    PC_FRAME_HELLO = 1,
    PC_FRAME_WELCOME,
    PC_FRAME_BUNDLE,
    PC_FRAME_CONTINUE,
    PC_FRAME_START,
    PC_FRAME_LOOK,
    PC_FRAME_CHECKPOINT,
    PC_FRAME_TRUST,
    PC_FRAME_REVOKE,
    PC_FRAME_PING,
    PC_FRAME_PONG,
    PC_FRAME_ACK,
    PC_FRAME_RESULT,
    PC_FRAME_RING,
    PC_FRAME_SEEN,
    PC_FRAME_EVENT,
    PC_FRAME_GOT,
    PC_FRAME_SERVER,
    PC_FRAME_TYPES
};
/* "hello", ...; "unknown" for a value that is no type. Static. */
const char *pc_frame_name(enum pc_frame_type t);

/* Writes the head of a frame with `body` bytes behind it; body < PC_FRAME_MAX_DOWN. */
void pc_frame_head(uint8_t head[PC_FRAME_HEAD], enum pc_frame_type type, size_t body);
/*
 * Looks at the first bytes of a stream. 0: *type and *body (bytes that follow the head) are set. -EAGAIN: more bytes
 * are needed. PC_E_SYNTAX: length 0 or an unknown type. PC_E_LIMIT: a length above max (told as soon as four bytes are
 * there: close the peer, it may not make us allocate).
 */
int pc_frame_peek(const uint8_t *data, size_t len, uint32_t max, enum pc_frame_type *type, uint32_t *body);
#endif
