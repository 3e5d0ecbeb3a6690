/*
 * Owns the question which of an order's hosts one is: by the list in the order, or by a proof beneath its root; and
 * which ring that is.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/merkle.h"
#include "trust/order.h"

#include <errno.h>
#include <string.h>

static bool same(const struct pc_host_ref *a, const struct pc_host_ref *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->id, b->id) == 0;
}

static void leaf(const struct pc_host_ref *host, uint8_t out[32])
{
    char text[PC_HOST_REF_SIZE];
    pc_host_ref_format(host, text);
    pc_merkle_leaf(text, strlen(text), out);
}

static bool beneath(const struct pc_order *o, const struct pc_place *place)
{
    uint8_t hash[32];
    leaf(&place->host, hash);
    return pc_merkle_verify_inclusion(place->index, o->hosts, hash, place->proof, place->n, o->root) == 0;
}

int64_t pc_order_position(const struct pc_order *o, const struct pc_host_ref *host, const struct pc_place *place)
{
    if (o->rooted)
        return place && same(&place->host, host) && beneath(o, place) ? (int64_t)place->index : -1;
    for (uint32_t i = 0; i < o->hosts; i++)
        if (same(&o->host[i], host))
            return i;
    return -1;
}

uint32_t pc_order_ring_start(const struct pc_order *o, uint32_t k)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i < k && i < o->rings; i++)
        start += o->ring[i].hosts;
    return start;
}

uint32_t pc_order_ring_of(const struct pc_order *o, uint32_t position)
{
    uint32_t k = 0;
    while (k < o->rings && position >= o->ring[k].hosts)
        position -= o->ring[k++].hosts;
    return k;
}

/* --- for who makes orders and bundles ----------------------------------------------------------------------------- */

struct pc_host_tree {
    const struct pc_host_ref *hosts; /* borrowed */
    uint32_t n, levels;
    uint32_t start[PC_PLACE_PROOF_MAX + 2]; /* of each level in hash; level 0 is the leaves */
    uint8_t hash[][32];
};

/* Nodes of the level above one with n: what has no partner goes up as it is (RFC 6962 section 2.1, seen from below). */
static uint32_t above(uint32_t n)
{
    return n / 2 + n % 2;
}

static uint32_t width(const struct pc_host_tree *t, uint32_t level)
{
    return t->start[level + 1] - t->start[level];
}

static void fill(struct pc_host_tree *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        leaf(&t->hosts[i], t->hash[i]);
    for (uint32_t k = 1; k < t->levels; k++) {
        uint8_t(*from)[32] = t->hash + t->start[k - 1], (*to)[32] = t->hash + t->start[k];
        uint32_t n = width(t, k - 1);
        for (uint32_t i = 0; i < n / 2; i++)
            pc_merkle_node(from[2 * i], from[2 * i + 1], to[i]);
        if (n % 2)
            memcpy(to[n / 2], from[n - 1], 32);
    }
}

int pc_host_tree_new(const struct pc_host_ref *hosts, uint32_t n, struct pc_host_tree **out)
{
    struct pc_host_tree shape = {.hosts = hosts, .n = n};
    if (n == 0 || n > PC_ORDER_HOSTS_MAX)
        return PC_E_LIMIT;
    for (uint32_t w = n;; w = above(w)) {
        shape.start[shape.levels + 1] = shape.start[shape.levels] + w;
        shape.levels++;
        if (w == 1)
            break;
    }
    struct pc_host_tree *t = malloc(sizeof *t + (size_t)shape.start[shape.levels] * 32);
    if (!t)
        return -ENOMEM;
    *t = shape;
    fill(t);
    *out = t;
    return 0;
}

void pc_host_tree_free(struct pc_host_tree *t)
{
    free(t);
}

const uint8_t *pc_host_tree_root(const struct pc_host_tree *t)
{
    return t->hash[t->start[t->levels - 1]];
}

int pc_host_tree_place(const struct pc_host_tree *t, uint32_t index, struct pc_place *out)
{
    if (index >= t->n)
        return PC_E_RANGE;
    struct pc_place place = {.host = t->hosts[index], .index = index};
    for (uint32_t k = 0; k + 1 < t->levels; k++, index /= 2)
        if ((index ^ 1) < width(t, k))
            memcpy(place.proof[place.n++], t->hash[t->start[k] + (index ^ 1)], 32);
    *out = place;
    return 0;
}
