/*
 * Owns the measure of the log alone: groups of entries appended through src/store as the server's writer does it (one transaction, the nodes of the
 * tree, one signed checkpoint a group), with no hosts, no TLS and no signatures to verify. Only for a database of its own.
 */
#include "options.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "store/store.h"
#include "trust/checkpoint.h"

#include <stdio.h>
#include <string.h>

#define GROUP 512
#define ENTRY 900 /* bytes: an ack with its envelope and the entry around it */

struct batch {
    struct pc_store_blob entry[GROUP];
    char text[GROUP][ENTRY];
    struct pc_store_node node[2 * GROUP + 64];
    size_t nodes;
};

static int keep_node(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    struct batch *b = ctx;
    struct pc_store_node *n = &b->node[b->nodes++];
    *n = (struct pc_store_node){.level = (uint8_t)level, .index = index};
    memcpy(n->hash, hash, PC_HASH_LEN);
    return 0;
}

static int sign_checkpoint(const struct pc_merkle_frontier *edge, const struct pc_skey *key, struct pc_buf *note)
{
    struct pc_checkpoint c = {.size = edge->size, .time = (int64_t)(pc_real_ns() / PC_NS_PER_S)};
    struct pc_buf text _buf_free_;
    snprintf(c.origin, sizeof c.origin, "%s", key->pub.name);
    pc_merkle_frontier_root(edge, c.root);
    pc_buf_init(&text, PC_CHECKPOINT_MAX);
    int ret = pc_checkpoint_format(&c, &text);
    return ret < 0 ? ret : pc_note_sign(text.data, text.len, key, note);
}

static int append_group(struct pc_store *s, struct batch *b, struct pc_merkle_frontier *edge, const struct pc_skey *key, uint32_t n)
{
    uint64_t at = edge->size;
    struct pc_buf note _buf_free_;
    int ret = 0;
    b->nodes = 0;
    for (uint32_t i = 0; i < n && ret == 0; i++) {
        uint8_t leaf[PC_HASH_LEN];
        memset(b->text[i], 'x', ENTRY);
        int head = snprintf(b->text[i], ENTRY, "{\"portcullis\":\"entry/1\",\"entry\":%llu}", (unsigned long long)(at + i));
        b->text[i][head] = ' ';
        b->entry[i] = (struct pc_store_blob){b->text[i], ENTRY};
        pc_merkle_leaf(b->text[i], ENTRY, leaf);
        ret = pc_merkle_append(edge, leaf, keep_node, b);
    }
    pc_buf_init(&note, PC_NOTE_MAX);
    if (ret == 0)
        ret = sign_checkpoint(edge, key, &note);
    if (ret == 0)
        ret = s->ops->begin(s);
    if (ret == 0)
        ret = s->ops->log_append(s, at, b->entry, n, b->node, b->nodes, note.data);
    return ret < 0 ? ret : s->ops->commit(s);
}

static int append_all(struct pc_store *s, uint32_t entries)
{
    static struct batch batch;
    struct pc_merkle_frontier edge = {.size = 0};
    struct pc_skey key;
    static const uint8_t seed[32] = {1}; /* nobody believes this log */
    uint32_t version;
    uint64_t size;
    int ret = pc_skey_make("fleet-sim.append", PC_SIG_ED25519, seed, &key);
    if (ret == 0)
        ret = s->ops->migrate(s, &version);
    if (ret == 0)
        ret = s->ops->log_size(s, &size);
    if (ret == 0 && size)
        ret = PC_E_STATE; /* somebody's log */
    for (uint32_t left = entries; left && ret == 0;) {
        uint32_t n = left < GROUP ? left : GROUP;
        ret = append_group(s, &batch, &edge, &key, n);
        left -= n;
    }
    return ret;
}

int sim_append(const struct sim_options *o)
{
    struct pc_store *s;
    char why[256];
    if (pc_store_connect(o->database, &s, why, sizeof why) < 0)
        return sim_complain("%s: %s", o->database, why);
    uint64_t began = pc_mono_ns();
    int ret = append_all(s, o->agents);
    double seconds = (double)(pc_mono_ns() - began) / 1e9;
    if (ret < 0)
        sim_complain("%s: %s: %s", o->database, pc_strerror(ret), s->ops->error(s));
    else
        printf("{\"entries\":%u,\"seconds\":%.4f}\n", o->agents, seconds);
    s->ops->close(s);
    return ret < 0;
}
