/* Owns what the API tells of orders. Reads the store. */
#include "server/api.h"
#include "server/intake.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/json.h"
#include "trust/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ORDERS_SHOWN 200
#define OUTPUT_SHOWN 4096 /* bytes of a host's output in an order's status; all of it with ?output=full */
#define OUTPUT_FULL (256u << 10)
#define RESULTS_SHOWN 1000 /* hosts of an order whose output is shown */
#define ENVELOPES_MAX (24u << 20) /* bytes of what hosts signed, in one answer; what does not fit is left out */

void pc_api_sequence(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    uint64_t n;
    int ret = pc_sequence_seen(s->store, &n);
    if (ret < 0)
        pc_api_failed(r, ret);
    else
        pc_api_json(r, 200, json_pack("{s:I}", "sequence", (json_int_t)n));
}

static json_t *order_json(const struct pc_store_order *o)
{
    char created[PC_TIME_SIZE], expires[PC_TIME_SIZE];
    pc_time_format(o->created, created);
    pc_time_format(o->expires, expires);
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:s,s:s,s:I,s:i}", "id", o->id, "order_sha256", o->sha256,
                          "action", o->action, "class", o->class_, "state", o->state, "approvals", (int)o->approvals,
                          "needed", (int)o->needed, "created", created, "expires", expires, "sequence",
                          (json_int_t)o->sequence, "count", (int)o->hosts);
    if (j && o->log_index != UINT64_MAX)
        json_object_set_new(j, "index", json_integer((json_int_t)o->log_index));
    return j;
}

static int list_order(void *ctx, const struct pc_store_order *o)
{
    return json_array_append_new(ctx, order_json(o)) < 0 ? -ENOMEM : 0;
}

/* Newest first; ?before=UNIX pages on. */
void pc_api_orders(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    char text[24];
    uint64_t before = INT64_MAX;
    if (pc_http_query(r, "before", text, sizeof text) && pc_parse_u64(text, 0, INT64_MAX, &before) < 0) {
        pc_api_error(r, 400, "before", "before must be seconds since 1970");
        return;
    }
    json_t *list = json_array();
    int ret = list ? s->store->ops->orders(s->store, (int64_t)before, ORDERS_SHOWN, list_order, list) : -ENOMEM;
    if (ret < 0) {
        json_decref(list);
        pc_api_failed(r, ret);
        return;
    }
    pc_api_json(r, 200, list);
}

/* --- one order ---------------------------------------------------------------------------------------------------- */

static int list_host(void *ctx, const struct pc_store_order_host *h)
{
    char ref[PC_HOST_REF_SIZE], changed[PC_TIME_SIZE];
    snprintf(ref, sizeof ref, "%s#%s", h->host, h->host_id);
    pc_time_format(h->changed, changed);
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:s}", "host", ref, "state", h->state, "why", h->why, "outcome",
                          h->outcome, "exit", h->exit, "ring", (int)h->ring, "changed", changed);
    return json_array_append_new(ctx, j) < 0 ? -ENOMEM : 0;
}

struct outputs {
    json_t *by_id; /* host id -> its object in the list */
    size_t max;
    uint32_t n;
    size_t envelopes; /* bytes shown so far */
};

/* What the host itself signed, for owners who do not take our word: the newest stays. */
static void show_envelope(struct outputs *o, json_t *host, const char *key, json_t *envelope, size_t len)
{
    if (!host || !envelope || len > ENVELOPES_MAX - o->envelopes)
        return;
    o->envelopes += len;
    json_object_set(host, key, envelope);
}

static int add_ack(void *ctx, const char *host_id, struct pc_store_blob envelope)
{
    struct outputs *o = ctx;
    _json_ json_t *e = json_loadb(envelope.data, envelope.len, 0, NULL);
    show_envelope(o, json_object_get(o->by_id, host_id), "ack", e, envelope.len);
    return 0;
}

/* Of a ring that another follows: what halts an order is in here. */
static int add_ring(void *ctx, const char *host_id, struct pc_store_blob envelope)
{
    struct outputs *o = ctx;
    _json_ json_t *e = json_loadb(envelope.data, envelope.len, 0, NULL);
    show_envelope(o, json_object_get(o->by_id, host_id), "report", e, envelope.len);
    return 0;
}

static void show_output(json_t *host, const struct pc_result *res, size_t max)
{
    size_t len = res->output_len < max ? res->output_len : max;
    json_object_set_new(host, "output", pc_json_base64_new(res->output, len));
    json_object_set_new(host, "output_truncated", json_boolean(res->truncated || len < res->output_len));
    json_object_set_new(host, "output_sha256", json_string(res->output_sha256));
    json_object_set_new(host, "run", json_integer((json_int_t)res->run));
    json_object_set_new(host, "signal", json_integer(res->signal));
    if (res->data)
        json_object_set(host, "data", (json_t *)(uintptr_t)res->data);
}

static int add_output(void *ctx, const char *host_id, struct pc_store_blob envelope)
{
    struct outputs *o = ctx;
    json_t *host = json_object_get(o->by_id, host_id);
    _json_ json_t *e = json_loadb(envelope.data, envelope.len, 0, NULL);
    _free_ char *document = NULL;
    size_t len;
    struct pc_result res;
    if (o->n++ >= RESULTS_SHOWN)
        return 1;
    if (!host || !e || pc_json_base64(json_object_get(e, "document"), PC_RESULT_DOCUMENT_MAX, &document, &len) < 0 ||
        pc_result_parse(document, len, &res) < 0)
        return 0;
    show_envelope(o, host, "envelope", e, envelope.len);
    show_output(host, &res, o->max); /* listed as they came: the newest of a standing order stays */
    pc_result_clear(&res);
    return 0;
}

static int add_outputs(struct pc_server *s, const char *sha256, json_t *hosts, size_t max)
{
    struct outputs o = {.by_id = json_object(), .max = max};
    size_t i;
    json_t *h;
    if (!o.by_id)
        return -ENOMEM;
    json_array_foreach(hosts, i, h)
    {
        const char *id = strchr(json_string_value(json_object_get(h, "host")), '#');
        json_object_set(o.by_id, id + 1, h);
    }
    int ret = s->store->ops->reports(s->store, "ring", sha256, add_ring, &o);
    if (ret == 0)
        ret = s->store->ops->reports(s->store, "ack", sha256, add_ack, &o);
    if (ret == 0)
        ret = s->store->ops->reports(s->store, "result", sha256, add_output, &o);
    json_decref(o.by_id);
    return ret < 0 ? ret : 0;
}

static int list_signature(void *ctx, struct pc_store_blob text)
{
    return json_array_append_new(ctx, json_stringn(text.data, text.len)) < 0 ? -ENOMEM : 0;
}

void pc_api_order(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    struct pc_store_order row;
    _free_ void *document = NULL;
    size_t len;
    char full[8];
    int ret = s->store->ops->order_get(s->store, rest, &row, &document, &len);
    if (ret < 0) {
        pc_api_failed(r, ret);
        return;
    }
    size_t max = pc_http_query(r, "output", full, sizeof full) && strcmp(full, "full") == 0 ? OUTPUT_FULL
                                                                                            : OUTPUT_SHOWN;
    json_t *j = order_json(&row), *hosts = json_array(), *signatures = json_array();
    ret = j && hosts && signatures ? 0 : -ENOMEM;
    if (ret == 0)
        ret = s->store->ops->order_hosts(s->store, row.sha256, list_host, hosts);
    if (ret == 0)
        ret = add_outputs(s, row.sha256, hosts, max);
    if (ret == 0)
        ret = s->store->ops->order_approvals(s->store, row.sha256, list_signature, signatures);
    if (ret == 0) {
        json_object_set_new(j, "hosts", hosts);
        json_object_set_new(j, "signatures", signatures);
        json_object_set_new(j, "document", pc_json_base64_new(document, len));
        pc_api_json(r, 200, j);
        return;
    }
    json_decref(j);
    json_decref(hosts);
    json_decref(signatures);
    pc_api_failed(r, ret);
}

/* The envelope of a host's document by the document's hash: the log names large ones by it. */
void pc_api_report(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    _free_ void *envelope = NULL;
    size_t len;
    int ret = pc_hex_valid(rest, PC_SHA256_HEX) ? s->store->ops->report_get(s->store, rest, NULL, &envelope, &len)
                                                : PC_E_NOTFOUND;
    if (ret < 0)
        pc_api_failed(r, ret);
    else
        pc_http_answer(r, 200, "application/json", NULL, envelope, len);
}
