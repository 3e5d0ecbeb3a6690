/*
 * Fuzzes the server's side of links: frames of three hosts over up to four connections, before and after hello, in any order, raw or signed as they
 * should be. An input is a list of steps: a byte (high half: which connection, low half: what), and for what has a text u16 length (big endian) and the
 * text, in which $H is the host's NAME#HOSTID. make_corpus.py has examples.
 */
#include "fake_net.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 4
#define FLOOD 80 /* more than the server checks of one link at a time */
#define STEPS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONNECT, HELLO, RAW, ACK, RESULT, RING, HANG_UP, TICK, SETTLE, MANY, WHATS };

static struct pc_conn *slot[SLOTS];

struct input {
    const uint8_t *at;
    size_t left;
};

static bool take(struct input *in, size_t n, const uint8_t **out)
{
    if (in->left < n)
        return false;
    *out = in->at;
    in->at += n;
    in->left -= n;
    return true;
}

/* The text of a step with names put in; malloc'd. NULL: none is left. */
static char *text_of(struct input *in, unsigned host, size_t *len)
{
    const uint8_t *head, *text = NULL;
    if (!take(in, 2, &head))
        return NULL;
    size_t n = (size_t)(head[0] << 8 | head[1]), used = 0;
    if (n > in->left)
        n = in->left;
    if (!take(in, n, &text))
        return NULL;
    const char *ref = fake_ref(host % FAKE_HOSTS);
    char *out = malloc(n / 2 * strlen(ref) + n + 1);
    if (!out)
        abort();
    for (size_t i = 0; i < n; i++) {
        bool name = text[i] == '$' && i + 1 < n && text[i + 1] == 'H';
        const char *from = name ? ref : (const char *)text + i;
        size_t part = name ? strlen(ref) : 1;
        memcpy(out + used, from, part);
        used += part;
        i += name;
    }
    *len = used;
    return out;
}

static void documents(struct pc_conn **c, unsigned host, enum pc_frame_type type, const char *kind, struct input *in, unsigned times)
{
    size_t len;
    char *text = text_of(in, host, &len);
    for (unsigned i = 0; text && *c && i < times; i++)
        fake_document(*c, type, kind, text, len);
    free(text);
}

static void raw(struct pc_conn *c, unsigned host, struct input *in)
{
    const uint8_t *type;
    size_t len;
    if (!take(in, 1, &type))
        return;
    char *text = text_of(in, host, &len);
    if (text && *type > 0 && *type < PC_FRAME_TYPES)
        fake_frame(c, (enum pc_frame_type)*type, text, len);
    free(text);
}

static void step(unsigned which, unsigned what, struct input *in)
{
    struct pc_conn **c = &slot[which];
    unsigned host = which % FAKE_HOSTS;
    if (what == CONNECT && !*c) {
        *c = fake_connect(host);
        (*c)->slot = c;
    } else if (what == TICK) {
        fake_tick();
    } else if (what == SETTLE) {
        fake_settle();
    } else if (*c && what == HELLO) {
        fake_hello(*c);
    } else if (*c && what == RAW) {
        raw(*c, host, in);
    } else if (*c && what == HANG_UP) {
        fake_hang_up(*c);
    } else if (*c && (what == ACK || what == MANY)) {
        documents(c, host, PC_FRAME_ACK, "ack", in, what == MANY ? FLOOD : 1);
    } else if (*c && what == RESULT) {
        documents(c, host, PC_FRAME_RESULT, "result", in, 1);
    } else if (*c && what == RING) {
        documents(c, host, PC_FRAME_RING, "ring", in, 1);
    }
}

/* A host is online exactly when one connection of it was believed. */
static void check_links(const struct pc_server *s)
{
    unsigned believed = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slot[i] && fake_sent(slot[i], PC_FRAME_WELCOME) > 1)
            abort();
        believed += slot[i] && slot[i]->admitted;
    }
    if (pc_hub_online(s->hub) != believed)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_server *s = fake_server();
    struct input in = {data, size};
    const uint8_t *op;
    for (unsigned steps = 0; steps < STEPS_MAX && take(&in, 1, &op); steps++) {
        step((*op >> 4) % SLOTS, (*op & 15) % WHATS, &in);
        check_links(s);
    }
    fake_settle();
    check_links(s);
    for (unsigned i = 0; i < SLOTS; i++)
        if (slot[i])
            fake_hang_up(slot[i]);
    fake_settle();
    if (fake_links() || pc_hub_online(s->hub))
        abort();
    return 0;
}
