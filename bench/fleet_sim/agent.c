/*
 * Owns what an agent makes of the server's frames. Every N-th agent checks bundles and checkpoints with the code of a real host; the others only
 * read them (and believe), so that the simulator does not need the processors that are to be measured. Runs nothing.
 */
#include "fleet.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/json.h"
#include "trust/note.h"

#include <stdlib.h>
#include <string.h>

struct facts { /* of pc_memory's questions */
    struct sim_fleet *fleet;
    uint32_t agent;
};

static bool was_accepted(void *ctx, const char *sha256)
{
    const struct facts *k = ctx;
    const struct sim_order *o = sim_order_find(k->fleet, sha256);
    return o && o->part[k->agent].ack;
}

static struct pc_memory memory_of(const struct sim_agent *a, struct facts *k)
{
    *k = (struct facts){a->fleet, a->index};
    return (struct pc_memory){.me = a->id.ref, .sequence = a->sequence, .checkpoint = a->seen, .known = was_accepted, .ctx = k};
}

static enum pc_check check_bundle(struct sim_agent *a, const char *body, size_t len)
{
    struct pc_bundle *b = NULL;
    struct pc_approvers approvers;
    struct pc_checkpoint next = {.size = 0};
    struct facts k;
    char why[256] = "";
    enum pc_check c = pc_bundle_parse(body, len, &b, why, sizeof why);
    struct pc_memory m = memory_of(a, &k);
    if (c == PC_CHECK_OK)
        c = pc_bundle_check(b, &a->fleet->trust, NULL, &m, (int64_t)(pc_real_ns() / PC_NS_PER_S), &next, &approvers, why, sizeof why);
    if (c == PC_CHECK_OK && next.size)
        a->seen = next;
    if (c != PC_CHECK_OK && c != PC_CHECK_REPLAYED)
        sim_complain("%s refuses an order: %s: %s", a->id.ref.name, pc_check_word(c), why);
    pc_bundle_free(b);
    return c;
}

static void on_bundle(struct sim_agent *a, const uint8_t *body, size_t len)
{
    uint64_t now = pc_mono_ns();
    struct sim_fleet *f = a->fleet;
    struct sim_order *o = sim_order_of(f, (const char *)body, len);
    if (!o) {
        f->frames_unknown++;
        return;
    }
    struct sim_part *p = &o->part[a->index];
    if (p->arrived) { /* delivered again: the same ack, unless the first one is still to be signed or on its way */
        o->again++;
        if (p->ack && p->got[SIM_ACK])
            pc_conn_send(a->conn, p->ack);
        return;
    }
    enum pc_check verdict = a->full ? check_bundle(a, (const char *)body, len) : PC_CHECK_OK;
    p->arrived = now;
    o->arrived++;
    if (verdict != PC_CHECK_OK)
        o->refused[verdict]++;
    else if (o->class_ != PC_CLASS_S && o->sequence > a->sequence)
        a->sequence = o->sequence;
    sim_answer_later(f, (struct sim_work){a->index, (uint32_t)(o - f->order), SIM_ACK, verdict});
    if (verdict == PC_CHECK_OK && o->class_ == PC_CLASS_C)
        sim_answer_later(f, (struct sim_work){a->index, (uint32_t)(o - f->order), SIM_RESULT, verdict});
}

/* Reads a checkpoint frame without believing or doubting it. The same bytes go to all agents that have seen the same tree. */
static int read_checkpoint(struct sim_fleet *f, const char *body, size_t len, struct pc_checkpoint *out)
{
    struct pc_note note;
    struct pc_checkpoint c;
    json_t *j = NULL;
    if (len == f->note_len && memcmp(body, f->note_body, len) == 0) {
        *out = f->note;
        return 0;
    }
    int ret = pc_json_parse(body, len, PC_FRAME_MAX_DOWN, &j, (struct pc_why){0});
    const char *text = ret == 0 ? json_string_value(json_object_get(j, "checkpoint")) : NULL;
    ret = text ? pc_note_parse(text, strlen(text), &note) : PC_E_SYNTAX;
    if (ret == 0)
        ret = pc_checkpoint_parse(note.text, note.text_len, &c);
    json_decref(j);
    char *copy = ret == 0 ? malloc(len) : NULL;
    if (!copy)
        return ret < 0 ? ret : PC_E_STATE;
    memcpy(copy, body, len);
    free(f->note_body);
    f->note_body = copy;
    f->note_len = len;
    f->note = *out = c;
    return 0;
}

static void on_checkpoint(struct sim_agent *a, const uint8_t *body, size_t len)
{
    struct pc_checkpoint next;
    struct facts k;
    char why[256] = "", answer[64];
    struct pc_memory m = memory_of(a, &k);
    enum pc_check c = PC_CHECK_OK;
    if (a->full)
        c = pc_checkpoint_accept((const char *)body, len, &a->fleet->trust, &m, &next, why, sizeof why);
    else if (read_checkpoint(a->fleet, (const char *)body, len, &next) < 0)
        c = PC_CHECK_SYNTAX;
    if (c != PC_CHECK_OK) {
        a->fleet->checkpoints_refused++;
        sim_complain("%s refuses a checkpoint: %s: %s", a->id.ref.name, pc_check_word(c), why);
        return;
    }
    a->seen = next;
    int n = snprintf(answer, sizeof answer, "{\"checkpoint_size\":%llu}", (unsigned long long)next.size);
    a->said = sim_mono_s();
    pc_conn_send_body(a->conn, PC_FRAME_SEEN, answer, (size_t)n);
}

static void on_welcome(struct sim_agent *a, const uint8_t *body, size_t len)
{
    struct sim_fleet *f = a->fleet;
    if (a->welcomed)
        return;
    a->welcomed = true;
    a->failures = 0;
    pc_conn_admit(a->conn);
    if (++f->welcomed == f->agents)
        f->all_welcomed_ns = pc_mono_ns();
    sim_send_docs(a, true);
}

static void on_got(struct sim_agent *a, const uint8_t *body, size_t len)
{
    static const char head[] = "{\"sha256\":\"";
    char hex[PC_SHA256_HEX + 1];
    uint8_t sha256[32];
    if (len < sizeof head - 1 + PC_SHA256_HEX || memcmp(body, head, sizeof head - 1) != 0) {
        a->fleet->frames_unknown++;
        return;
    }
    memcpy(hex, body + sizeof head - 1, PC_SHA256_HEX);
    hex[PC_SHA256_HEX] = 0;
    if (pc_unhex(hex, sha256, sizeof sha256) == sizeof sha256)
        sim_got(a, sha256);
}

static void on_ping(struct sim_agent *a, const uint8_t *body, size_t len)
{
    pc_conn_send_body(a->conn, PC_FRAME_PONG, NULL, 0);
}

static void on_pong(struct sim_agent *a, const uint8_t *body, size_t len)
{
}

void sim_agent_frame(struct pc_conn *c, enum pc_frame_type type, const uint8_t *body, size_t len)
{
    static void (*const table[PC_FRAME_TYPES])(struct sim_agent *a, const uint8_t *body, size_t len) = {
        [PC_FRAME_WELCOME] = on_welcome, [PC_FRAME_BUNDLE] = on_bundle, [PC_FRAME_CHECKPOINT] = on_checkpoint,
        [PC_FRAME_GOT] = on_got,         [PC_FRAME_PING] = on_ping,     [PC_FRAME_PONG] = on_pong,
    };
    struct sim_agent *a = pc_conn_user(c);
    if (table[type])
        table[type](a, body, len);
    else
        a->fleet->frames_unknown++; /* trust files, looks, continues: not what is measured here */
}
