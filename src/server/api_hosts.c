/* Owns what the API tells of hosts. Reads the store; whether a host is online here is the hub's word. */
#include "server/api.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_SHOWN 100

static json_t *time_json(int64_t t)
{
    char text[PC_TIME_SIZE];
    if (t <= 0)
        return json_null();
    pc_time_format(t, text);
    return json_string(text);
}

/* A host of a process that died stays "online" in the store: silence tells. */
static bool is_online(struct pc_server *s, const struct pc_store_host *h)
{
    return pc_hub_find(s->hub, h->id) ||
           (h->online && strcmp(h->server, s->name) != 0 &&
            pc_server_now() - h->last_seen <= 3 * (int64_t)s->state->settings.heartbeat + 10);
}

static json_t *host_json(struct pc_server *s, const struct pc_store_host *h)
{
    char key[PC_BASE64_SIZE(32)];
    const struct pc_link *l = pc_hub_find(s->hub, h->id);
    pc_base64_encode(h->key, 32, key);
    return json_pack("{s:s,s:s,s:s,s:b,s:o,s:s,s:s,s:I,s:I,s:o}", "name", h->name, "id", h->id, "key", key, "online",
                     is_online(s, h) ? 1 : 0, "last_seen", time_json(l ? l->last_seen : h->last_seen), "agent",
                     l ? l->agent : h->agent, "address", h->address, "sequence",
                     (json_int_t)(l ? l->sequence : h->sequence), "checkpoint_size",
                     (json_int_t)(l ? l->checkpoint_size : h->checkpoint_size), "enrolled", time_json(h->enrolled));
}

struct listing {
    struct pc_server *server;
    json_t *list;
    uint32_t n;
};

static int list_host(void *ctx, const struct pc_store_host *h)
{
    struct listing *l = ctx;
    l->n++;
    return json_array_append_new(l->list, host_json(l->server, h)) < 0 ? -ENOMEM : 0;
}

/* ?after=NAME&max=N for fleets that do not fit one answer; without them, all. */
void pc_api_hosts(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    char after[PC_NAME_MAX + 1] = "", max_text[12];
    struct listing l = {.server = s, .list = json_array()};
    long max = pc_http_query(r, "max", max_text, sizeof max_text) ? strtol(max_text, NULL, 10) : 0;
    pc_http_query(r, "after", after, sizeof after);
    int ret = l.list ? s->store->ops->hosts(s->store, after, max > 0 && max < 1000000 ? (uint32_t)max : 1000000,
                                            list_host, &l)
                     : -ENOMEM;
    if (ret < 0) {
        json_decref(l.list);
        pc_api_failed(r, ret);
        return;
    }
    pc_api_json(r, 200, l.list);
}

/* Sets under key the newest answer to a question, as the host signed it, and its document for those who only want to
 * read; null: it gave none. */
static int add_latest(struct pc_server *s, json_t *host, const char *key, const char *host_id, const char *action)
{
    _free_ void *envelope = NULL;
    size_t len;
    int ret = s->store->ops->latest(s->store, host_id, action, NULL, &envelope, &len);
    if (ret < 0)
        return ret == PC_E_NOTFOUND ? json_object_set_new(host, key, json_null()) : ret;
    json_t *e = json_loadb(envelope, len, 0, NULL);
    _free_ char *document = NULL;
    size_t document_len;
    json_t *d = NULL;
    if (e && pc_json_base64(json_object_get(e, "document"), 1u << 20, &document, &document_len) == 0)
        d = json_loadb(document, document_len, 0, NULL);
    json_t *both = json_pack("{s:o,s:o}", "document", d ? d : json_null(), "envelope", e ? e : json_null());
    return json_object_set_new(host, key, both) < 0 ? -ENOMEM : 0;
}

static int list_event(void *ctx, int64_t time, const char *kind, const char *text)
{
    json_t *list = ctx;
    return json_array_append_new(list,
                                 json_pack("{s:o,s:s,s:s}", "time", time_json(time), "kind", kind, "text", text)) < 0
               ? -ENOMEM
               : 0;
}

void pc_api_host(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    struct pc_store_host h;
    int ret = s->store->ops->host_by_name(s->store, rest, &h);
    if (ret < 0) {
        pc_api_failed(r, ret);
        return;
    }
    json_t *j = host_json(s, &h), *events = json_array();
    ret = j && events ? s->store->ops->events(s->store, h.id, EVENTS_SHOWN, list_event, events) : -ENOMEM;
    if (ret == 0 && json_object_set(j, "events", events) < 0)
        ret = -ENOMEM;
    if (ret == 0)
        ret = add_latest(s, j, "inventory", h.id, "inventory");
    if (ret == 0)
        ret = add_latest(s, j, "metrics", h.id, "metrics");
    if (ret == 0)
        ret = add_latest(s, j, "incidents", h.id, "guard.incidents");
    json_decref(events);
    if (ret == 0) {
        pc_api_json(r, 200, j);
        return;
    }
    json_decref(j);
    pc_api_failed(r, ret);
}
