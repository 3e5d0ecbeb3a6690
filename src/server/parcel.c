/* Owns bundles: how an order, its log entry and proofs become the frame that a host gets, and the cache of that. Must
 * not know who is connected. */
#include "server/parcel.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUNDLE_MAX (PC_FRAME_MAX_DOWN - PC_FRAME_HEAD)

int pc_add_envelope(const struct pc_envelope *e, struct pc_buf *out)
{
    _free_ char *json = NULL;
    size_t len;
    int ret = pc_envelope_format(e, &json, &len);
    return ret < 0 ? ret : pc_buf_add(out, json, len);
}

static int add_base64(struct pc_buf *out, const void *data, size_t len)
{
    _free_ char *text = malloc(PC_BASE64_SIZE(len));
    if (!text)
        return -ENOMEM;
    return pc_buf_add(out, text, pc_base64_encode(data, len, text));
}

static int add_blob(void *ctx, uint64_t index, struct pc_store_blob entry)
{
    return add_base64(ctx, entry.data, entry.len);
}

int pc_add_entry(struct pc_store *store, uint64_t index, struct pc_buf *out)
{
    size_t before;
    pc_buf_add(out, "\"entry\":\"", 9);
    before = out->len;
    int ret = store->ops->log_entries(store, index, 1, add_blob, out);
    if (ret == 0 && out->len == before)
        ret = PC_E_NOTFOUND;
    return ret < 0 ? ret : pc_buf_addf(out, "\",\"index\":%llu", (unsigned long long)index);
}

int pc_add_place(const struct pc_host_tree *tree, uint32_t index, struct pc_buf *out)
{
    struct pc_place place;
    int ret = pc_host_tree_place(tree, index, &place);
    if (ret < 0)
        return ret;
    pc_buf_addf(out, "\"place\":{\"host\":\"%s#%s\",\"index\":%u,\"proof\":[", place.host.name, place.host.id,
                place.index);
    for (uint32_t i = 0; i < place.n; i++) {
        char text[PC_BASE64_SIZE(32)];
        pc_base64_encode(place.proof[i], 32, text);
        pc_buf_addf(out, "%s\"%s\"", i ? "," : "", text);
    }
    return pc_buf_add(out, "]}", 2);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static void free_parcel(struct pc_parcel *p)
{
    if (!p)
        return;
    pc_order_clear(&p->order);
    pc_host_tree_free(p->tree);
    pc_frame_unref(p->frame);
    free(p->hosts);
    free(p->head);
    free(p);
}

static int add_approval(void *ctx, struct pc_store_blob text)
{
    return pc_envelope_add(ctx, text.data, text.len);
}

static int make_head(struct pc_parcel *p, struct pc_store *store, const void *document, size_t len)
{
    struct pc_envelope e = {0};
    struct pc_buf text _buf_free_;
    pc_buf_init(&text, BUNDLE_MAX);
    int ret = pc_envelope_make(document, len, &e);
    if (ret == 0)
        ret = store->ops->order_approvals(store, p->sha256, add_approval, &e);
    if (ret == 0)
        ret = pc_buf_add(&text, "{\"order\":", 9);
    if (ret == 0)
        ret = pc_add_envelope(&e, &text);
    if (ret == 0)
        ret = pc_buf_add(&text, ",", 1);
    if (ret == 0)
        ret = pc_add_entry(store, p->index, &text);
    pc_envelope_clear(&e);
    if (ret < 0 || text.failed)
        return ret < 0 ? ret : PC_E_LIMIT;
    p->head = TAKE_PTR(text.data);
    p->head_len = text.len;
    return 0;
}

static int load(struct pc_parcel *p, struct pc_store *store)
{
    struct pc_store_order row;
    _free_ void *document = NULL;
    size_t len;
    uint32_t n;
    int ret = store->ops->order_get(store, p->sha256, &row, &document, &len);
    if (ret < 0)
        return ret;
    if (row.log_index == UINT64_MAX)
        return PC_E_STATE;
    p->index = row.log_index;
    if (pc_order_parse(document, len, &p->order, NULL, 0) != PC_CHECK_OK)
        return PC_E_CORRUPT;
    ret = make_head(p, store, document, len);
    if (ret == 0 && p->order.rooted) {
        ret = pc_server_order_hosts(store, p->sha256, &p->hosts, &n);
        if (ret == 0)
            ret = n == p->order.hosts ? pc_host_tree_new(p->hosts, n, &p->tree) : PC_E_CORRUPT;
    }
    return ret;
}

static struct pc_parcel **place_for(struct pc_parcels *cache)
{
    struct pc_parcel **oldest = &cache->slot[0];
    for (size_t i = 0; i < PC_PARCELS; i++) {
        if (!cache->slot[i])
            return &cache->slot[i];
        if (cache->slot[i]->used < (*oldest)->used)
            oldest = &cache->slot[i];
    }
    free_parcel(*oldest);
    *oldest = NULL;
    return oldest;
}

int pc_parcel_get(struct pc_parcels *cache, struct pc_store *store, const char *order_sha256, struct pc_parcel **out)
{
    for (size_t i = 0; i < PC_PARCELS; i++)
        if (cache->slot[i] && strcmp(cache->slot[i]->sha256, order_sha256) == 0) {
            cache->slot[i]->used = ++cache->clock;
            *out = cache->slot[i];
            return 0;
        }
    struct pc_parcel *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    snprintf(p->sha256, sizeof p->sha256, "%s", order_sha256);
    int ret = load(p, store);
    if (ret < 0) {
        free_parcel(p);
        return ret;
    }
    p->used = ++cache->clock;
    *place_for(cache) = p;
    *out = p;
    return 0;
}

void pc_parcels_clear(struct pc_parcels *cache)
{
    for (size_t i = 0; i < PC_PARCELS; i++) {
        free_parcel(cache->slot[i]);
        cache->slot[i] = NULL;
    }
}

const struct pc_host_ref *pc_parcel_hosts(const struct pc_parcel *p)
{
    return p->hosts ? p->hosts : p->order.host;
}

int64_t pc_parcel_position(const struct pc_parcel *p, const struct pc_host_ref *host)
{
    const struct pc_host_ref *hosts = pc_parcel_hosts(p);
    for (uint32_t i = 0; i < p->order.hosts; i++)
        if (strcmp(hosts[i].id, host->id) == 0 && strcmp(hosts[i].name, host->name) == 0)
            return i;
    return -1;
}

/* --- bundles ------------------------------------------------------------------------------------------------------ */

static int make_bundle(const struct pc_parcel *p, struct pc_logview *log, int64_t position, struct pc_frame **out)
{
    struct pc_buf text _buf_free_;
    pc_buf_init(&text, BUNDLE_MAX);
    pc_buf_add(&text, p->head, p->head_len);
    pc_buf_add(&text, ",", 1);
    int ret = pc_logview_add_inclusion(log, p->index, &text);
    pc_buf_add(&text, ",", 1);
    if (ret == 0)
        ret = pc_logview_add_consistency(log, pc_logview_size(log), &text);
    if (ret == 0 && p->tree) {
        pc_buf_add(&text, ",", 1);
        ret = pc_add_place(p->tree, (uint32_t)position, &text);
    }
    pc_buf_add(&text, "}", 1);
    if (ret < 0 || text.failed)
        return ret < 0 ? ret : PC_E_LIMIT;
    *out = pc_frame_new(PC_FRAME_BUNDLE, text.data, text.len);
    return *out ? 0 : -ENOMEM;
}

int pc_parcel_bundle(struct pc_parcel *p, struct pc_logview *log, int64_t position, struct pc_frame **out)
{
    if (p->index >= pc_logview_size(log))
        return PC_E_RANGE;
    if (p->tree)
        return position < 0 ? PC_E_NOTFOUND : make_bundle(p, log, position, out);
    uint64_t generation = pc_logview_generation(log);
    if (!p->frame || p->frame_generation != generation) {
        struct pc_frame *made;
        int ret = make_bundle(p, log, -1, &made);
        if (ret < 0)
            return ret;
        pc_frame_unref(p->frame);
        p->frame = made;
        p->frame_generation = generation;
    }
    *out = pc_frame_ref(p->frame);
    return 0;
}
