/*
 * Owns the head of a frame: its length, its type, their bounds. Never sees a body: what is in it is for whoever the
 * type belongs to. Pure.
 */
#include "wire/frame.h"

#include "base/err.h"

#include <errno.h>

static const char *const names[PC_FRAME_TYPES] = {
    [PC_FRAME_HELLO] = "hello",
    [PC_FRAME_WELCOME] = "welcome",
    [PC_FRAME_BUNDLE] = "bundle",
    [PC_FRAME_CONTINUE] = "continue",
    [PC_FRAME_START] = "start",
    [PC_FRAME_LOOK] = "look",
    [PC_FRAME_CHECKPOINT] = "checkpoint",
    [PC_FRAME_TRUST] = "trust",
    [PC_FRAME_REVOKE] = "revoke",
    [PC_FRAME_PING] = "ping",
    [PC_FRAME_PONG] = "pong",
    [PC_FRAME_ACK] = "ack",
    [PC_FRAME_RESULT] = "result",
    [PC_FRAME_RING] = "ring",
    [PC_FRAME_SEEN] = "seen",
    [PC_FRAME_EVENT] = "event",
    [PC_FRAME_GOT] = "got",
    [PC_FRAME_SERVER] = "server",
};

const char *pc_frame_name(enum pc_frame_type t)
{
    return t > 0 && t < PC_FRAME_TYPES ? names[t] : "unknown";
}

void pc_frame_head(uint8_t head[PC_FRAME_HEAD], enum pc_frame_type type, size_t body)
{
    uint32_t length = (uint32_t)body + 1; /* of what follows: type and body */
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(length >> (24 - 8 * i));
    head[4] = (uint8_t)type;
}

int pc_frame_peek(const uint8_t *data, size_t len, uint32_t max, enum pc_frame_type *type, uint32_t *body)
{
    if (len < 4)
        return -EAGAIN;
    uint32_t length = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    if (length == 0)
        return PC_E_SYNTAX;
    if (length > max) /* before the type has come: a peer that lies about the length gets no fifth byte out of us */
        return PC_E_LIMIT;
    if (len < PC_FRAME_HEAD)
        return -EAGAIN;
    if (data[4] == 0 || data[4] >= PC_FRAME_TYPES)
        return PC_E_SYNTAX;
    *type = data[4];
    *body = length - 1;
    return 0;
}
