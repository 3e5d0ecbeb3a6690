/* Owns which checkpoint hosts get, cosignatures, proofs and the cache of tree nodes. Must not write the log; reads the
 * loop's store. */
#include "server/logview.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/note.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Nodes never change once complete, so a cell is right or of another node. 1 MiB. */
#define CACHE_CELLS 16384

struct checkpoint {
    uint64_t size;
    int64_t time;
    char *note;   /* NULL: none */
    char *quoted; /* the note as a JSON string */
};
struct pc_logview {
    struct pc_store *store;
    void (*published_cb)(void *ctx);
    void *ctx;
    struct pc_witnesses witnesses;
    struct checkpoint newest, offered, published;
    int64_t offered_at;
    uint64_t generation;
    struct cell {
        uint64_t index;
        uint8_t level; /* + 1; 0: empty */
        uint8_t hash[PC_HASH_LEN];
    } cache[CACHE_CELLS];
};

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static void drop(struct checkpoint *c)
{
    free(c->note);
    free(c->quoted);
    *c = (struct checkpoint){0};
}

static int set(struct checkpoint *c, const char *note, size_t len)
{
    struct pc_note parsed;
    struct pc_checkpoint body;
    int ret = pc_note_parse(note, len, &parsed);
    if (ret == 0)
        ret = pc_checkpoint_parse(parsed.text, parsed.text_len, &body);
    if (ret < 0)
        return ret;
    json_t *text = json_stringn(note, len);
    struct checkpoint next = {.size = body.size, .time = body.time, .note = strndup(note, len)};
    next.quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    json_decref(text);
    if (!next.note || !next.quoted) {
        drop(&next);
        return -ENOMEM;
    }
    drop(c);
    *c = next;
    return 0;
}

/* Is it enough for hosts? */
static bool enough(const struct pc_logview *v, const struct checkpoint *c)
{
    struct pc_checkpoint out;
    const struct pc_witnesses *w = &v->witnesses;
    return c->note && pc_checkpoint_open(c->note, strlen(c->note), &w->log, w->witness, w->n, w->needed, &out) == 0;
}

static void publish(struct pc_logview *v, const struct checkpoint *c)
{
    /* The same tree with an older time is no news, and hosts must never see the log go back. */
    if (v->published.note &&
        (c->size < v->published.size || (c->size == v->published.size && c->time <= v->published.time)))
        return;
    if (set(&v->published, c->note, strlen(c->note)) < 0)
        return;
    v->generation++;
    v->published_cb(v->ctx);
}

static void offer(struct pc_logview *v, int64_t now)
{
    bool open = v->offered.note && !enough(v, &v->offered) && now - v->offered_at < PC_OFFER_S;
    if (open || !v->newest.note)
        return;
    if (set(&v->offered, v->newest.note, strlen(v->newest.note)) == 0)
        v->offered_at = now;
}

void pc_logview_head(struct pc_logview *v, uint64_t size, const char *note, int64_t now)
{
    if ((v->newest.note && size < v->newest.size) || set(&v->newest, note, strlen(note)) < 0)
        return;
    if (v->witnesses.needed == 0 || enough(v, &v->newest))
        publish(v, &v->newest);
    else
        offer(v, now);
}

static int take_cosigned(struct pc_logview *v)
{
    struct checkpoint c = {0};
    _free_ void *note = NULL;
    size_t len;
    int ret = v->witnesses.needed ? v->store->ops->get(v->store, PC_KEY_COSIGNED, &note, &len) : PC_E_NOTFOUND;
    if (ret < 0)
        return ret == PC_E_NOTFOUND ? 0 : ret;
    bool known = v->published.note && strcmp(v->published.note, note) == 0;
    if (!known && set(&c, note, len) == 0 && (!v->published.note || c.size >= v->published.size) && enough(v, &c))
        publish(v, &c);
    drop(&c);
    return 0;
}

int pc_logview_refresh(struct pc_logview *v, int64_t now)
{
    _free_ char *text = NULL;
    int ret = v->store->ops->checkpoint(v->store, 0, &text);
    if (ret == PC_E_NOTFOUND)
        return 0;
    if (ret == 0 && (!v->newest.note || strcmp(v->newest.note, text) != 0))
        pc_logview_head(v, UINT64_MAX, text, now);
    return ret < 0 ? ret : take_cosigned(v);
}

void pc_logview_witnesses(struct pc_logview *v, const struct pc_witnesses *w, int64_t now)
{
    v->witnesses = *w;
    if (v->published.note && !enough(v, &v->published)) {
        drop(&v->published); /* hosts would refuse it */
        drop(&v->offered);
    }
    if (v->newest.note && (w->needed == 0 || enough(v, &v->newest)))
        publish(v, &v->newest);
    else
        offer(v, now);
}

int pc_logview_new(struct pc_store *store, const struct pc_vkey *log, void (*published)(void *ctx), void *ctx,
                   struct pc_logview **out)
{
    struct pc_logview *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    v->store = store;
    v->published_cb = published;
    v->ctx = ctx;
    v->witnesses.log = *log;
    *out = v;
    return 0;
}

void pc_logview_free(struct pc_logview *v)
{
    if (!v)
        return;
    drop(&v->newest);
    drop(&v->offered);
    drop(&v->published);
    free(v);
}

uint64_t pc_logview_size(const struct pc_logview *v)
{
    return v->published.size;
}

int64_t pc_logview_time(const struct pc_logview *v)
{
    return v->published.time;
}

int64_t pc_logview_newest_time(const struct pc_logview *v)
{
    return v->newest.time;
}

const char *pc_logview_text(const struct pc_logview *v)
{
    return v->published.note;
}

uint64_t pc_logview_generation(const struct pc_logview *v)
{
    return v->generation;
}

const char *pc_logview_offered(const struct pc_logview *v, uint64_t *size)
{
    const struct checkpoint *c = v->witnesses.needed && v->offered.note ? &v->offered : &v->published;
    *size = c->size;
    return c->note;
}

/* --- cosignatures ------------------------------------------------------------------------------------------------- */

static bool has_line(const struct pc_note *note, const struct pc_note_sig *sig)
{
    for (size_t i = 0; i < note->n_sigs; i++)
        if (note->sig[i].name_len == sig->name_len && memcmp(note->sig[i].name, sig->name, sig->name_len) == 0 &&
            note->sig[i].id == sig->id)
            return true;
    return false;
}

static const struct pc_vkey *witness_of(const struct pc_logview *v, const struct pc_note_sig *sig)
{
    for (uint32_t i = 0; i < v->witnesses.n; i++) {
        const struct pc_vkey *w = &v->witnesses.witness[i];
        if (w->id == sig->id && strlen(w->name) == sig->name_len && memcmp(w->name, sig->name, sig->name_len) == 0)
            return w;
    }
    return NULL;
}

/* The offered note and every good new line of a witness we know. */
static int merge(struct pc_logview *v, const struct pc_note *mine, const struct pc_note *theirs, struct pc_buf *out)
{
    pc_buf_add(out, v->offered.note, strlen(v->offered.note));
    int added = 0;
    for (size_t i = 0; i < theirs->n_sigs; i++) {
        const struct pc_note_sig *sig = &theirs->sig[i];
        const struct pc_vkey *w = witness_of(v, sig);
        if (!w || has_line(mine, sig))
            continue;
        int ret = pc_note_verify_cosignature(theirs, w, NULL);
        if (ret < 0)
            return ret;
        pc_buf_addf(out, "\xe2\x80\x94 %.*s %.*s\n", (int)sig->name_len, sig->name, (int)sig->base64_len, sig->base64);
        added++;
    }
    return out->failed ? PC_E_LIMIT : added;
}

int pc_logview_cosign(struct pc_logview *v, const char *note, size_t len, int64_t now)
{
    struct pc_note theirs, mine;
    int ret = pc_note_parse(note, len, &theirs);
    if (ret < 0)
        return ret;
    if (!v->offered.note || pc_note_parse(v->offered.note, strlen(v->offered.note), &mine) < 0 ||
        mine.text_len != theirs.text_len || memcmp(mine.text, theirs.text, mine.text_len) != 0)
        return PC_E_CHANGED;
    struct pc_buf merged _buf_free_;
    pc_buf_init(&merged, PC_NOTE_MAX);
    ret = merge(v, &mine, &theirs, &merged);
    if (ret <= 0)
        return ret < 0 ? ret : PC_E_SIGNATURE;
    ret = set(&v->offered, merged.data, merged.len);
    if (ret < 0 || !enough(v, &v->offered))
        return ret;
    publish(v, &v->offered);
    if (v->newest.size > v->offered.size || v->newest.time > v->offered.time)
        offer(v, now);
    return 1;
}

/* --- proofs ------------------------------------------------------------------------------------------------------- */

/* Reads a node of the tree (a pc_merkle_read; ctx is the view). */
static int logview_node(void *view, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    struct pc_logview *v = view;
    struct cell *c = &v->cache[(index * 0x9e3779b97f4a7c15u + level * 0xbf58476d1ce4e5b9u) >> 50];
    if (c->level != level + 1 || c->index != index) {
        uint8_t hash[PC_HASH_LEN];
        int ret = v->store->ops->log_node(v->store, (uint8_t)level, index, hash);
        if (ret < 0)
            return ret;
        c->level = (uint8_t)(level + 1);
        c->index = index;
        memcpy(c->hash, hash, sizeof hash);
    }
    memcpy(out, c->hash, PC_HASH_LEN);
    return 0;
}

static int add_hashes(struct pc_buf *out, const char *key, const uint8_t (*hash)[PC_HASH_LEN], size_t n)
{
    pc_buf_addf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        char text[PC_BASE64_SIZE(PC_HASH_LEN)];
        pc_base64_encode(hash[i], PC_HASH_LEN, text);
        pc_buf_addf(out, "%s\"%s\"", i ? "," : "", text);
    }
    return pc_buf_add(out, "]", 1);
}

int pc_logview_add_checkpoint(struct pc_logview *v, struct pc_buf *out)
{
    return v->published.note ? pc_buf_addf(out, "\"checkpoint\":%s", v->published.quoted) : PC_E_RANGE;
}

int pc_logview_add_inclusion(struct pc_logview *v, uint64_t index, struct pc_buf *out)
{
    uint8_t proof[PC_MERKLE_PROOF_MAX][PC_HASH_LEN];
    size_t n;
    if (index >= v->published.size)
        return PC_E_RANGE;
    int ret = pc_merkle_inclusion_proof(index, v->published.size, logview_node, v, proof, PC_MERKLE_PROOF_MAX, &n);
    if (ret < 0)
        return ret;
    add_hashes(out, "proof", (const uint8_t(*)[PC_HASH_LEN])proof, n);
    pc_buf_add(out, ",", 1);
    return pc_logview_add_checkpoint(v, out);
}

int pc_logview_add_consistency(struct pc_logview *v, uint64_t from, struct pc_buf *out)
{
    uint8_t proof[PC_MERKLE_PROOF_MAX][PC_HASH_LEN];
    size_t n = 0;
    if (from > v->published.size)
        from = 0; /* it saw more than we have: it will say so */
    int ret = from ? pc_merkle_consistency_proof(from, v->published.size, logview_node, v, proof,
                                                 PC_MERKLE_PROOF_MAX, &n)
                   : 0;
    if (ret < 0)
        return ret;
    pc_buf_addf(out, "\"from\":%llu,", (unsigned long long)from);
    return add_hashes(out, "consistency", (const uint8_t(*)[PC_HASH_LEN])proof, n);
}
