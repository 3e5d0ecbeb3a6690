/* Owns when what happened to which order, and the figures that are made of it. */
#include "fleet.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_order *sim_order_find(struct sim_fleet *f, const char *sha256)
{
    for (uint32_t i = f->orders; i-- > 0;)
        if (strcmp(f->order[i].sha256, sha256) == 0)
            return &f->order[i];
    return NULL;
}

static struct sim_order *add(struct sim_fleet *f, const char *base64, size_t len)
{
    _free_ char *document = malloc(PC_BASE64_RAW_SIZE(len));
    struct pc_order parsed;
    char why[256];
    ssize_t n = document ? pc_base64_decode(base64, len, 0, document, PC_BASE64_RAW_SIZE(len)) : -1;
    if (n < 0 || pc_order_parse(document, (size_t)n, &parsed, why, sizeof why) != PC_CHECK_OK)
        return NULL;
    if (f->orders == f->cap_orders) {
        uint32_t cap = f->cap_orders ? f->cap_orders * 2 : 16;
        struct sim_order *grown = realloc(f->order, cap * sizeof *grown);
        if (grown) {
            f->order = grown;
            f->cap_orders = cap;
        }
    }
    struct sim_order o = {.class_ = parsed.class_, .sequence = parsed.sequence, .document_len = len};
    memcpy(o.sha256, parsed.sha256, sizeof o.sha256);
    pc_order_clear(&parsed);
    o.document = strndup(base64, len);
    o.part = calloc(f->agents, sizeof *o.part);
    if (f->orders == f->cap_orders || !o.document || !o.part) {
        free(o.document);
        free(o.part);
        return NULL;
    }
    f->order[f->orders] = o;
    return &f->order[f->orders++];
}

struct sim_order *sim_order_of(struct sim_fleet *f, const char *body, size_t len)
{
    static const char key[] = "\"document\":\"";
    const char *at = memmem(body, len, key, sizeof key - 1);
    const char *end = at ? memchr(at + sizeof key - 1, '"', len - (size_t)(at - body) - (sizeof key - 1)) : NULL;
    if (!end)
        return NULL;
    at += sizeof key - 1;
    for (uint32_t i = f->orders; i-- > 0;)
        if (f->order[i].document_len == (size_t)(end - at) && memcmp(f->order[i].document, at, (size_t)(end - at)) == 0)
            return &f->order[i];
    return add(f, at, (size_t)(end - at));
}

/* --- figures --------------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double seconds(uint64_t ns, uint64_t since)
{
    return ((double)ns - (double)since) / 1e9;
}

/* Nearest rank. */
static uint64_t percentile(const uint64_t *sorted, uint32_t n, uint32_t percent)
{
    uint64_t rank = ((uint64_t)n * percent + 99) / 100;
    return sorted[rank ? rank - 1 : 0];
}

static void say_times(const char *name, uint64_t *times, uint32_t n, uint64_t since)
{
    printf(",\"%s\":{\"n\":%u", name, n);
    if (n) {
        qsort(times, n, sizeof *times, ascending);
        printf(",\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f", seconds(percentile(times, n, 50), since), seconds(percentile(times, n, 99), since),
               seconds(times[n - 1], since));
    }
    printf("}");
}

void sim_say_order(const struct sim_fleet *f, const struct sim_order *o, uint64_t since_ns)
{
    static const char *const names[] = {"ack", "result"};
    _free_ uint64_t *times = calloc(f->agents, sizeof *times);
    uint32_t n = 0, refused = 0;
    if (!times) {
        sim_complain("out of memory");
        return;
    }
    printf("{\"order\":\"%s\",\"again\":%u", o->sha256, o->again);
    for (uint32_t i = 0; i < f->agents; i++)
        if (o->part[i].arrived)
            times[n++] = o->part[i].arrived;
    say_times("arrived", times, n, since_ns);
    for (unsigned k = 0; k < PC_ARRAY_SIZE(names); k++) {
        n = 0;
        for (uint32_t i = 0; i < f->agents; i++)
            if (o->part[i].got[k])
                times[n++] = o->part[i].got[k];
        say_times(names[k], times, n, since_ns);
    }
    for (unsigned c = 0; c < PC_CHECKS; c++)
        refused += o->refused[c];
    printf(",\"refused\":%u}\n", refused);
    fflush(stdout);
}

void sim_say_status(const struct sim_fleet *f)
{
    const struct pc_conn_counters *c = pc_conn_set_counters(f->set);
    uint64_t docs = 0;
    for (uint32_t i = 0; i < f->agents; i++)
        docs += f->agent[i].n_docs;
    printf("{\"agents\":%u,\"welcomed\":%u,\"all_welcomed\":%.4f,\"first_down\":%.4f,\"dials\":%llu,\"downs\":%llu,\"handshakes\":%llu,"
           "\"orders\":%u,\"to_sign\":%zu,\"unstored\":%llu,\"unknown_frames\":%u,\"checkpoints_refused\":%u,\"ends\":{",
           f->agents, f->welcomed, seconds(f->all_welcomed_ns, 0), seconds(f->first_down_ns, 0), (unsigned long long)f->dials,
           (unsigned long long)f->downs, (unsigned long long)c->handshakes, f->orders, f->queue[0].n - f->queue[0].at + f->queue[1].n - f->queue[1].at, (unsigned long long)docs,
           f->frames_unknown, f->checkpoints_refused);
    for (unsigned e = 0; e < PC_ENDS; e++)
        printf("%s\"%s\":%llu", e ? "," : "", pc_conn_end_name((enum pc_conn_end)e), (unsigned long long)c->ends[e]);
    printf("},\"flood\":{\"total\":%u,\"got\":%u,\"seconds\":%.4f}}\n", f->flood.total, f->flood.got,
           f->flood.done_ns ? seconds(f->flood.done_ns, f->flood.fired_ns) : 0);
    fflush(stdout);
}
