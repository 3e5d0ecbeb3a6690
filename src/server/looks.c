/*
 * Owns questions to hosts (class A): who was asked what, and handing out the answers that are in so far. Must not
 * change anything: a look never does. Questions are kept in memory only, the newest LOOKS_MAX; the answers are in the
 * store.
 */
#include "server/api.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "net/pki.h"
#include "trust/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_MAX 1024
#define ASKED_MAX 20000

struct look {
    char id[PC_ID_LEN + 1], action[32];
    uint32_t asked, reached;
};
struct pc_looks {
    struct pc_server *server;
    struct look look[LOOKS_MAX];
    uint32_t next;
};

int pc_looks_new(struct pc_server *s, struct pc_looks **out)
{
    struct pc_looks *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->server = s;
    *out = l;
    return 0;
}

void pc_looks_free(struct pc_looks *l)
{
    free(l);
}

static struct look *find(struct pc_looks *l, const char *id)
{
    for (uint32_t i = 0; i < LOOKS_MAX; i++)
        if (strcmp(l->look[i].id, id) == 0 && *id)
            return &l->look[i];
    return NULL;
}

const char *pc_looks_action(struct pc_server *s, const char *id)
{
    const struct look *l = find(s->looks, id);
    return l ? l->action : NULL;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

struct asking {
    struct pc_frame *frame;
    uint32_t reached;
};

static void ask_one(struct pc_link *l, void *ctx)
{
    struct asking *a = ctx;
    if (pc_conn_send(l->conn, a->frame) == 0)
        a->reached++;
}

static int ask_named(struct pc_server *s, const json_t *hosts, struct asking *a)
{
    size_t i;
    const json_t *name;
    struct pc_store_host row;
    json_array_foreach(hosts, i, name)
    {
        int ret = s->store->ops->host_by_name(s->store, json_string_value(name), &row);
        if (pc_store_away(ret))
            return ret;
        struct pc_link *l = ret == 0 ? pc_hub_find(s->hub, row.id) : NULL;
        if (l)
            ask_one(l, a);
    }
    return 0;
}

static struct pc_frame *look_frame(const char *id, const char *action, const json_t *params)
{
    _json_ json_t *j = json_pack("{s:s,s:s,s:O}", "look", id, "action", action, "params", params);
    _free_ char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    return text ? pc_frame_new(PC_FRAME_LOOK, text, strlen(text)) : NULL;
}

/* To the hosts that are linked to this process; *reached: how many. -errno: not to all of them. */
static int ask(struct pc_server *s, const char *id, const char *action, const json_t *hosts, const json_t *params,
               uint32_t *reached)
{
    struct asking a = {.frame = look_frame(id, action, params)};
    int ret = 0;
    if (!a.frame)
        return -ENOMEM;
    if (json_array_size(hosts) == 1 && strcmp(json_string_value(json_array_get(hosts, 0)), "*") == 0)
        pc_hub_each(s->hub, ask_one, &a);
    else
        ret = ask_named(s, hosts, &a);
    pc_frame_unref(a.frame);
    *reached = a.reached;
    return ret;
}

static struct look *remember(struct pc_looks *l, const char *id, const char *action)
{
    struct look *k = &l->look[l->next++ % LOOKS_MAX];
    *k = (struct look){0};
    snprintf(k->id, sizeof k->id, "%s", id);
    snprintf(k->action, sizeof k->action, "%s", action);
    return k;
}

/* NULL: fine; else what is wrong with the question. */
static const char *wrong(const json_t *hosts, const struct pc_action *action, const json_t *params, char *why,
                         size_t why_len)
{
    size_t i;
    const json_t *name;
    if (!action || !(action->classes & 1u << PC_CLASS_A))
        return "not an action that may be looked at without an order";
    if (json_array_size(hosts) == 0 || json_array_size(hosts) > ASKED_MAX)
        return "hosts must be a list of names, or [\"*\"]";
    json_array_foreach(hosts, i, name) if (!json_is_string(name)) return "hosts must be a list of names";
    if (!json_is_object(params) || pc_action_check(action, params, why, why_len) < 0)
        return *why ? why : "params must be an object";
    return NULL;
}

struct tell_job {
    struct pc_job job;
    char *text; /* what other processes need to ask their hosts; "": too long, they are not told */
    char id[PC_ID_LEN + 1];
};

static int tell_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    return pc_log_tell(log, "look", ((struct tell_job *)job)->text);
}

static void tell_done(struct pc_job *job, int result)
{
    free(((struct tell_job *)job)->text);
    free(job);
}

/* A notification holds 7,999 bytes; a longer list of names reaches the hosts of this process only, and the answer says
 * how many that were. */
static void tell_others(struct pc_server *s, const char *id, json_t *body)
{
    if (s->notify_fd == PC_E_UNSUPPORTED)
        return;
    json_object_set_new(body, "look", json_string(id));
    struct tell_job *j = calloc(1, sizeof *j);
    char *text = json_dumps(body, JSON_COMPACT);
    if (!j || !text || strlen(text) > 7900) {
        free(text);
        free(j);
        return;
    }
    j->text = text;
    j->job.run = tell_run;
    j->job.done = tell_done;
    if (pc_writer_submit(s->writer, &j->job) < 0)
        tell_done(&j->job, 0);
}

void pc_looks_notified(struct pc_server *s, const char *text)
{
    _json_ json_t *body = json_loads(text, 0, NULL);
    const char *id = json_string_value(json_object_get(body, "look")),
               *action = json_string_value(json_object_get(body, "action"));
    char why[64] = "";
    const json_t *hosts = json_object_get(body, "hosts"), *params = json_object_get(body, "params");
    if (!id || !action || find(s->looks, id) || wrong(hosts, pc_action_find(action), params, why, sizeof why))
        return; /* our own, or not one of ours */
    struct look *k = remember(s->looks, id, action);
    if (ask(s, id, action, hosts, params, &k->reached) < 0)
        pc_server_log("looks", "%s, of which another server told: the hosts here cannot be looked up", id);
}

void pc_looks_ask(struct pc_server *s, struct pc_http_request *r)
{
    json_t *body = pc_api_body(r, 2u << 20);
    if (!body)
        return;
    const json_t *hosts = json_object_get(body, "hosts"), *params = json_object_get(body, "params");
    const char *name = json_string_value(json_object_get(body, "action"));
    char why[128] = "", id[PC_ID_LEN + 1];
    uint8_t raw[PC_ID_LEN / 2];
    const char *bad = wrong(hosts, name ? pc_action_find(name) : NULL, params, why, sizeof why);
    if (bad || pc_random(raw, sizeof raw) < 0) {
        pc_api_error(r, 400, "look", "%s", bad ? bad : "no random numbers");
        json_decref(body);
        return;
    }
    pc_hex(raw, sizeof raw, id);
    struct look *k = remember(s->looks, id, name);
    k->asked = (uint32_t)json_array_size(hosts);
    int ret = ask(s, id, name, hosts, params, &k->reached);
    if (ret == 0)
        tell_others(s, id, body);
    json_decref(body);
    if (ret < 0)
        pc_api_failed(r, ret);
    else
        pc_api_json(r, 200, json_pack("{s:s,s:i}", "look", id, "reached", (int)k->reached));
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static int list_answer(void *ctx, const char *host_id, struct pc_store_blob envelope)
{
    json_t *e = json_loadb(envelope.data, envelope.len, 0, NULL);
    _free_ char *document = NULL;
    size_t len;
    json_t *d = NULL;
    if (e && pc_json_base64(json_object_get(e, "document"), 1u << 20, &document, &len) == 0)
        d = json_loadb(document, len, 0, NULL);
    json_t *one = json_pack("{s:s,s:o,s:o}", "host_id", host_id, "document", d ? d : json_null(), "envelope",
                            e ? e : json_null());
    return json_array_append_new(ctx, one) < 0 ? -ENOMEM : 0;
}

void pc_looks_show(struct pc_server *s, struct pc_http_request *r, const char *id)
{
    const struct look *k = pc_hex_valid(id, PC_ID_LEN) ? find(s->looks, id) : NULL;
    json_t *list = pc_hex_valid(id, PC_ID_LEN) ? json_array() : NULL;
    int ret = list ? s->store->ops->reports(s->store, "result", id, list_answer, list) : PC_E_NOTFOUND;
    if (ret == 0 && !k && json_array_size(list) == 0)
        ret = PC_E_NOTFOUND;
    if (ret < 0) {
        json_decref(list);
        pc_api_failed(r, ret);
        return;
    }
    pc_api_json(r, 200,
                json_pack("{s:s,s:s,s:i,s:o}", "look", id, "action", k ? k->action : "", "reached",
                          k ? (int)k->reached : 0, "results", list));
}
