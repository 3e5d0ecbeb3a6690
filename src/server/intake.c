/*
 * Owns documents from owners on their way in: orders and approvals, trust files, revocations, statements. Checks them
 * with the code that hosts check with, stores and logs them in one job, answers the request after the commit. Must not
 * start anything by itself.
 */
#include "server/intake.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "server/api.h"
#include "server/logged.h"
#include "trust/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_BODY_MAX (4u << 20)

/* --- an order ----------------------------------------------------------------------------------------------------- */

struct order_job {
    struct pc_job job;
    struct pc_server *server;
    struct pc_http_request *request;
    struct pc_server_policy *policy;
    struct pc_order_body b;
    bool known;     /* whoever hands it in has a good token */
    bool stop;      /* a stop that its quorum signed, and so was sent at once */
    uint64_t links; /* it was sent over all links up to this one */
    /* what run found */
    enum pc_check refused;
    char why[256];
    char state[16];
    uint32_t approvals, needed;
    bool ready; /* became ready in this job; with a failed result: may have become */
};

static void free_order_job(struct order_job *j)
{
    pc_server_policy_unref(j->policy);
    pc_order_body_clear(&j->b);
    free(j);
}

static int read_sequence(struct pc_store *s, const char *key, uint64_t *out)
{
    _free_ void *text = NULL;
    size_t len;
    int ret = s->ops->get(s, key, &text, &len);
    *out = 0;
    if (ret == PC_E_NOTFOUND)
        return 0;
    return ret < 0 ? ret : pc_parse_u64(text, 0, PC_JSON_NUMBER_MAX, out);
}

int pc_sequence_seen(struct pc_store *s, uint64_t *out)
{
    return read_sequence(s, PC_KEY_SEQUENCE, out);
}

static int raise_sequence(struct pc_store *s, const char *key, uint64_t to)
{
    uint64_t now;
    char text[24];
    int ret = read_sequence(s, key, &now);
    if (ret < 0 || to <= now)
        return ret;
    int len = snprintf(text, sizeof text, "%" PRIu64, to);
    return s->ops->put(s, key, (struct pc_store_blob){text, (size_t)len});
}

static int collect(void *ctx, struct pc_store_blob text)
{
    return pc_envelope_add(ctx, text.data, text.len);
}

/* The envelope with every approval that is kept and those that came now. */
static int all_approvals(const struct order_job *j, struct pc_store *s, struct pc_envelope *out)
{
    int ret = pc_envelope_make(j->b.e.document, j->b.e.len, out);
    if (ret == 0)
        ret = s->ops->order_approvals(s, j->b.e.sha256, collect, out);
    for (uint32_t i = 0; i < j->b.e.signatures && ret == 0; i++)
        ret = pc_envelope_add(out, j->b.e.signature[i].text, j->b.e.signature[i].len);
    return ret;
}

static int add_order(struct order_job *j, struct pc_store *s, int64_t now)
{
    struct pc_store_order row = {.sequence = j->b.order.sequence,
                                 .log_index = UINT64_MAX,
                                 .created = now,
                                 .expires = j->b.order.expires,
                                 .needed = j->needed,
                                 .hosts = j->b.n};
    memcpy(row.sha256, j->b.e.sha256, sizeof row.sha256);
    memcpy(row.id, j->b.order.id, sizeof row.id);
    snprintf(row.action, sizeof row.action, "%s", j->b.order.action);
    snprintf(row.class_, sizeof row.class_, "%s", pc_class_letter(j->b.order.class_));
    snprintf(row.state, sizeof row.state, "waiting");
    _free_ struct pc_store_order_host *hosts = calloc(j->b.n, sizeof *hosts);
    if (!hosts)
        return -ENOMEM;
    for (uint32_t i = 0; i < j->b.n; i++) {
        struct pc_store_order_host *h = &hosts[i];
        *h = (struct pc_store_order_host){.ring = pc_order_ring_of(&j->b.order, i), .exit = -1, .changed = now};
        memcpy(h->sha256, row.sha256, sizeof h->sha256);
        memcpy(h->host_id, j->b.hosts[i].id, sizeof h->host_id);
        memcpy(h->host, j->b.hosts[i].name, sizeof h->host);
        snprintf(h->state, sizeof h->state, "queued");
    }
    return s->ops->order_add(s, &row, (struct pc_store_blob){j->b.e.document, j->b.e.len}, hosts);
}

static int add_approvals(const struct order_job *j, struct pc_store *s)
{
    int ret = 0;
    for (uint32_t i = 0; i < j->b.e.signatures && ret >= 0; i++) {
        char sha[PC_SHA256_HEX + 1];
        pc_sha256_text(j->b.e.signature[i].text, j->b.e.signature[i].len, sha);
        ret = s->ops->order_approval(s, j->b.e.sha256, sha,
                                     (struct pc_store_blob){j->b.e.signature[i].text, j->b.e.signature[i].len});
    }
    return ret < 0 ? ret : 0;
}

/* Other processes deliver it to their hosts; the name tells this one that it was its own word. */
static int tell_ready(const struct order_job *j, struct pc_log_batch *log)
{
    char what[PC_SHA256_HEX + 1 + sizeof j->server->name];
    snprintf(what, sizeof what, "%s %s", j->b.e.sha256, j->server->name);
    return pc_log_tell(log, "ready", what);
}

/* The quorum is complete: into the log, and ready. */
static int make_ready(struct order_job *j, struct pc_store *s, struct pc_log_batch *log, const struct pc_envelope *all)
{
    bool stop = j->b.order.class_ == PC_CLASS_S;
    uint64_t index;
    int ret = pc_logged_order(log, &j->b.order, all, &index);
    if (ret == 0)
        ret = s->ops->order_state(s, j->b.e.sha256, "waiting", "ready", index);
    if (ret == 0 && !stop)
        ret = raise_sequence(s, PC_KEY_SEQUENCE_LOGGED, j->b.order.sequence);
    if (ret == 0)
        ret = tell_ready(j, log);
    if (ret == 0) {
        snprintf(j->state, sizeof j->state, "ready");
        j->ready = true;
    }
    return ret;
}

static int refuse(struct order_job *j, enum pc_check check, const char *why)
{
    j->refused = check;
    if (why)
        snprintf(j->why, sizeof j->why, "%s", why);
    return PC_E_REFUSED;
}

/* Approvals that come when the order is in the log already are not kept: the log entry names those that hosts get. */
static int known_order(struct order_job *j, struct pc_store *s, bool *known)
{
    struct pc_store_order row;
    int ret = s->ops->order_get(s, j->b.e.sha256, &row, NULL, NULL);
    *known = ret == 0;
    if (ret == 0) {
        snprintf(j->state, sizeof j->state, "%s", row.state);
        j->approvals = row.approvals;
        j->needed = row.needed;
    } else {
        snprintf(j->state, sizeof j->state, "waiting");
    }
    return ret == PC_E_NOTFOUND ? 0 : ret;
}

static int order_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct order_job *j = (struct order_job *)job;
    struct pc_approvers approvers;
    struct pc_envelope all = {0};
    uint64_t highest;
    bool known, tried = j->ready; /* in a group whose commit got no answer, and may be in the database all the same */
    j->ready = false;
    j->refused = PC_CHECK_OK;
    int ret = known_order(j, s, &known);
    if (ret < 0)
        return ret;
    if (known && strcmp(j->state, "waiting") != 0) {
        j->ready = tried;
        return 0;
    }
    ret = read_sequence(s, PC_KEY_SEQUENCE_LOGGED, &highest);
    if (ret == 0)
        ret = all_approvals(j, s, &all);
    if (ret == 0) {
        enum pc_check check = pc_server_policy_check_order(j->policy, &j->b.order, &all, highest, pc_log_time(log),
                                                           &approvers, j->why, sizeof j->why);
        if (check != PC_CHECK_OK)
            ret = refuse(j, check, NULL);
    }
    j->needed = j->policy->trust.threshold[j->b.order.class_];
    if (ret == 0)
        j->approvals = approvers.n;
    if (ret == 0 && !known)
        ret = add_order(j, s, pc_log_time(log));
    if (ret == PC_E_STATE)
        ret = refuse(j, PC_CHECK_REPLAYED, "another order has this id");
    if (ret == 0)
        ret = add_approvals(j, s);
    if (ret == 0)
        ret = raise_sequence(s, PC_KEY_SEQUENCE, j->b.order.sequence);
    if (ret == 0 && approvers.n >= j->needed)
        ret = make_ready(j, s, log, &all);
    pc_envelope_clear(&all);
    return ret;
}

static void order_done(struct pc_job *job, int result)
{
    struct order_job *j = (struct order_job *)job;
    if (j->stop)
        pc_stop_forget(j->server, j->b.e.sha256);
    if (result < 0 && j->ready)
        pc_delivery_missed(j->server, "an order was written, and no answer came");
    if (result == PC_E_REFUSED && j->refused != PC_CHECK_OK) {
        pc_api_error(j->request, 422, pc_check_word(j->refused), "%s", j->why);
    } else if (result < 0 && j->stop) {
        pc_api_error(j->request, result == -ENOSPC ? 507 : 500, result == -ENOSPC ? "disk-full" : "store",
                     "the stop was sent to the hosts that are connected here, but the database failed: %s; hand it in "
                     "again for the others, and for the log",
                     pc_strerror(result));
    } else if (result < 0) {
        pc_api_failed(j->request, result);
    } else {
        pc_api_json(j->request, 200,
                    json_pack("{s:s,s:s,s:s,s:i,s:i}", "id", j->b.order.id, "order_sha256", j->b.e.sha256, "state",
                              j->state, "approvals", (int)j->approvals, "needed", (int)j->needed));
        pc_watch_say(j->server, "order", "{\"order\":\"%s\",\"id\":\"%s\",\"state\":\"%s\"}", j->b.e.sha256,
                     j->b.order.id, j->state);
        if (j->ready)
            pc_deliver_order(j->server, j->b.e.sha256, j->stop ? j->links : 0);
        if (j->ready)
            pc_progress_dirty(j->server, j->b.e.sha256);
    }
    free_order_job(j);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static int parse_hosts(const json_t *list, struct pc_host_ref **out, uint32_t *n)
{
    size_t i, count = json_array_size(list);
    const json_t *one;
    if (count == 0 || count > PC_ORDER_HOSTS_MAX)
        return PC_E_SYNTAX;
    _free_ struct pc_host_ref *hosts = calloc(count, sizeof *hosts);
    if (!hosts)
        return -ENOMEM;
    json_array_foreach(list, i, one) if (!json_is_string(one) ||
                                         pc_host_ref_parse(json_string_value(one), &hosts[i]) < 0) return PC_E_SYNTAX;
    *n = (uint32_t)count;
    *out = TAKE_PTR(hosts);
    return 0;
}

/* A rooted order comes with its hosts beside the envelope; they must lead to the root. */
static int take_hosts(struct pc_order_body *b, const json_t *list)
{
    if (!b->order.rooted) {
        b->hosts = malloc(b->order.hosts * sizeof *b->hosts);
        if (!b->hosts)
            return -ENOMEM;
        memcpy(b->hosts, b->order.host, b->order.hosts * sizeof *b->hosts);
        b->n = b->order.hosts;
        return 0;
    }
    struct pc_host_tree *tree = NULL;
    int ret = list ? parse_hosts(list, &b->hosts, &b->n) : PC_E_SYNTAX;
    if (ret == 0 && b->n != b->order.hosts)
        ret = PC_E_SYNTAX;
    if (ret == 0)
        ret = pc_host_tree_new(b->hosts, b->n, &tree);
    if (ret == 0 && memcmp(pc_host_tree_root(tree), b->order.root, 32) != 0)
        ret = PC_E_SYNTAX;
    pc_host_tree_free(tree);
    return ret;
}

/* The envelope of a body that may have "hosts" too. */
static int take_envelope(json_t *body, struct pc_envelope *out)
{
    _free_ char *text = json_dumps(body, JSON_COMPACT);
    return text ? pc_envelope_parse(text, strlen(text), out) : -ENOMEM;
}

enum pc_check pc_order_body_read(json_t *body, struct pc_order_body *out, char *why, size_t why_len)
{
    json_t *hosts = json_incref(json_object_get(body, "hosts"));
    json_object_del(body, "hosts");
    enum pc_check check = PC_CHECK_SYNTAX;
    if (take_envelope(body, &out->e) == 0)
        check = pc_order_parse(out->e.document, out->e.len, &out->order, why, why_len);
    if (check == PC_CHECK_OK && take_hosts(out, hosts) < 0) {
        check = PC_CHECK_COUNT;
        snprintf(why, why_len, "the hosts that came with the order are not those of its hosts_root");
    }
    json_decref(hosts);
    return check;
}

void pc_order_body_clear(struct pc_order_body *b)
{
    pc_envelope_clear(&b->e);
    pc_order_clear(&b->order);
    free(b->hosts);
}

/* Into store and log, and then answered. */
static void submit_order(struct order_job *j)
{
    int ret = pc_writer_submit(j->server->writer, &j->job);
    if (ret < 0) {
        pc_api_failed(j->request, ret);
        free_order_job(j);
    }
}

static void order_announced(void *ctx)
{
    submit_order(ctx);
}

static void refuse_unasked(struct order_job *j)
{
    pc_api_unasked(j->request);
    free_order_job(j);
}

/*
 * A stop waits for nothing: it leaves at once over the links that are here, then other processes hear of it, then the
 * log gets it, ahead of whatever else is to be written.
 */
static void take_stop(struct order_job *j)
{
    size_t len;
    const char *text = pc_http_body(j->request, &len);
    j->job.urgent = true;
    j->links = pc_hub_links(j->server->hub);
    j->stop = pc_stop_send(j->server, &j->b);
    if (!j->stop && !j->known)
        refuse_unasked(j);
    else if (!j->stop || pc_stop_announce(j->server, j->b.e.sha256, text, len, order_announced, j) < 0)
        submit_order(j);
}

static void take_order(struct pc_server *s, struct pc_http_request *r, bool known)
{
    if (!s->policy->has_trust) {
        pc_api_error(r, 409, "no-trust", "the server has no trust file yet: portcullis-server trust --state DIR FILE");
        return;
    }
    json_t *body = pc_api_body(r, ORDER_BODY_MAX);
    struct order_job *j = body ? calloc(1, sizeof *j) : NULL;
    if (!j) {
        if (body)
            pc_api_failed(r, -ENOMEM);
        json_decref(body);
        return;
    }
    *j = (struct order_job){.server = s,
                            .request = r,
                            .known = known,
                            .policy = pc_server_policy_ref(s->policy),
                            .job = {.run = order_run, .done = order_done}};
    enum pc_check check = pc_order_body_read(body, &j->b, j->why, sizeof j->why);
    json_decref(body);
    if (check != PC_CHECK_OK) {
        pc_api_error(r, 422, pc_check_word(check), "%s", *j->why ? j->why : pc_check_text(check));
        free_order_job(j);
        return;
    }
    if (j->b.order.class_ == PC_CLASS_S)
        take_stop(j);
    else if (known)
        submit_order(j);
    else
        refuse_unasked(j);
}

void pc_server_take_order(struct pc_server *s, struct pc_http_request *r)
{
    take_order(s, r, true);
}

void pc_server_take_stop(struct pc_server *s, struct pc_http_request *r)
{
    take_order(s, r, false);
}

struct host_list {
    struct pc_host_ref *host;
    uint32_t n, cap;
};

static int list_host(void *ctx, const struct pc_store_order_host *h)
{
    struct host_list *l = ctx;
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 64;
        void *grown = realloc(l->host, cap * sizeof *l->host);
        if (!grown)
            return -ENOMEM;
        l->host = grown;
        l->cap = cap;
    }
    memcpy(l->host[l->n].name, h->host, sizeof h->host);
    memcpy(l->host[l->n].id, h->host_id, sizeof h->host_id);
    l->n++;
    return 0;
}

int pc_server_order_hosts(struct pc_store *s, const char *order_sha256, struct pc_host_ref **out, uint32_t *n)
{
    struct host_list l = {0};
    int ret = s->ops->order_hosts(s, order_sha256, list_host, &l);
    if (ret < 0) {
        free(l.host);
        return ret;
    }
    *out = l.host;
    *n = l.n;
    return 0;
}

/* --- trust, revocations, statements ------------------------------------------------------------------------------- */

struct owners_job {
    struct pc_job job;
    struct pc_server *server;
    struct pc_http_request *request;
    int (*put)(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len);
    const char *entry;
    struct pc_envelope e;
    char why[256];
};

static int owners_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct owners_job *j = (struct owners_job *)job;
    int ret = j->put(s, &j->e, j->why, sizeof j->why);
    if (ret == 0)
        ret = pc_logged_owners(log, j->server->state->settings.tenant, j->entry, &j->e);
    if (ret == 0)
        ret = pc_log_tell(log, "policy", j->entry);
    return ret < 0 ? ret : 0;
}

static void owners_done(struct pc_job *job, int result)
{
    struct owners_job *j = (struct owners_job *)job;
    if (result == 0) {
        pc_server_policy_changed(j->server);
        pc_api_json(j->request, 200, json_pack("{s:s}", "sha256", j->e.sha256));
    } else if (result == PC_E_REFUSED || result == PC_E_SYNTAX || result == PC_E_STATE) {
        pc_api_error(j->request, 422, *j->why ? j->why : "syntax", "hosts would refuse this document");
    } else {
        pc_api_failed(j->request, result);
    }
    pc_envelope_clear(&j->e);
    free(j);
}

static void owners(struct pc_server *s, struct pc_http_request *r, const char *entry,
                   int (*put)(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len))
{
    size_t len;
    const char *body = pc_http_body(r, &len);
    struct owners_job *j = calloc(1, sizeof *j);
    if (!j) {
        pc_api_failed(r, -ENOMEM);
        return;
    }
    *j = (struct owners_job){
        .server = s, .request = r, .put = put, .entry = entry, .job = {.run = owners_run, .done = owners_done}};
    int ret = pc_envelope_parse(body, len, &j->e);
    if (ret < 0) {
        free(j);
        pc_api_error(r, 400, "syntax", "not an owners' envelope: %s", pc_strerror(ret));
        return;
    }
    ret = pc_writer_submit(s->writer, &j->job);
    if (ret < 0) {
        pc_api_failed(r, ret);
        pc_envelope_clear(&j->e);
        free(j);
    }
}

void pc_server_take_trust(struct pc_server *s, struct pc_http_request *r)
{
    owners(s, r, "trust", pc_server_policy_put_trust);
}

void pc_server_take_revoke(struct pc_server *s, struct pc_http_request *r)
{
    owners(s, r, "revoke", pc_server_policy_put_revocation);
}

void pc_server_take_statement(struct pc_server *s, struct pc_http_request *r)
{
    owners(s, r, "server", pc_server_policy_put_statement);
}
