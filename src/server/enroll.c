/*
 * Owns enrolment: a token that is spent once, a statement signed by the host's new identity key. Must not believe the
 * name before the token is good.
 */
#include "server/api.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "server/tokens.h"
#include "trust/entry.h"
#include "trust/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct enroll_job {
    struct pc_job job;
    struct pc_server *server;
    struct pc_http_request *request;
    struct pc_host_envelope e;
    struct pc_enroll doc;
    char token_sha256[PC_SHA256_HEX + 1];
    char *json;
    size_t len;
    const char *refused; /* word; NULL: not refused */
};

static void free_enroll(struct enroll_job *j)
{
    pc_host_envelope_clear(&j->e);
    free(j->json);
    free(j);
}

static int refuse(struct enroll_job *j, const char *word)
{
    j->refused = word;
    return PC_E_REFUSED;
}

/* A host whose answer was lost asks again with a spent token: the same keys prove that it is the same host. */
static int known_host(struct enroll_job *j, struct pc_store *s, bool *same)
{
    struct pc_store_host h;
    int ret = s->ops->host_by_name(s, j->doc.host, &h);
    *same = ret == 0 && memcmp(h.key, j->e.key, 32) == 0 && memcmp(h.link_key, j->doc.link_key, 32) == 0;
    if (ret == 0 && !*same)
        return refuse(j, "name");
    if (ret != PC_E_NOTFOUND)
        return ret;
    if (s->ops->host_by_id(s, j->e.id, &h) == 0 || s->ops->host_by_link_key(s, j->doc.link_key, &h) == 0)
        return refuse(j, "key");
    return 0;
}

static int add_host(struct enroll_job *j, struct pc_store *s, int64_t now)
{
    struct pc_store_host h = {.enrolled = now};
    memcpy(h.name, j->doc.host, sizeof h.name);
    memcpy(h.id, j->e.id, sizeof h.id);
    memcpy(h.key, j->e.key, sizeof h.key);
    memcpy(h.link_key, j->doc.link_key, sizeof h.link_key);
    return s->ops->host_add(s, &h, (struct pc_store_blob){j->json, j->len});
}

static int enroll_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct enroll_job *j = (struct enroll_job *)job;
    _free_ char *entry = NULL;
    size_t len;
    uint64_t index;
    bool same;
    j->refused = NULL;
    int ret = known_host(j, s, &same);
    if (ret < 0 || same)
        return ret;
    ret = pc_server_token_enroll(s, j->token_sha256, j->doc.host, pc_log_time(log));
    if (ret == PC_E_NOTFOUND)
        return refuse(j, "token");
    if (ret == 0)
        ret = add_host(j, s, pc_log_time(log));
    if (ret == 0)
        ret = pc_entry_host(j->server->state->settings.tenant, "enroll", &j->e, pc_log_time(log), &entry, &len);
    return ret < 0 ? ret : pc_log_add(log, entry, len, NULL, NULL, &index);
}

static const char *words_of(const char *word)
{
    if (strcmp(word, "token") == 0)
        return "this token is unknown, spent, expired, or for another host";
    if (strcmp(word, "name") == 0)
        return "another host has enrolled under this name";
    return "this key belongs to a host that has enrolled before";
}

static void enroll_done(struct pc_job *job, int result)
{
    struct enroll_job *j = (struct enroll_job *)job;
    const struct pc_server_settings *set = &j->server->state->settings;
    if (result == PC_E_REFUSED && j->refused) {
        pc_api_error(j->request, 403, j->refused, "%s", words_of(j->refused));
    } else if (result < 0) {
        pc_api_failed(j->request, result);
    } else {
        char ref[PC_HOST_REF_SIZE];
        snprintf(ref, sizeof ref, "%s#%s", j->doc.host, j->e.id);
        pc_api_json(j->request, 200,
                    json_pack("{s:s,s:s,s:i}", "host", ref, "link", *set->public_link ? set->public_link : set->link,
                              "heartbeat", (int)set->heartbeat));
        pc_server_log("enroll", "%s", ref);
        pc_watch_say(j->server, "host", "{\"host\":\"%s\",\"enrolled\":true}", j->doc.host);
    }
    free_enroll(j);
}

/* NULL: it will do. */
static const char *check(const struct pc_server *s, const struct enroll_job *j)
{
    if (strcmp(j->doc.tenant, s->state->settings.tenant) != 0)
        return "tenant";
    if (strcmp(j->doc.token_sha256, j->token_sha256) != 0)
        return "token"; /* signed for another token: somebody else's statement */
    if (s->policy->has_trust && strcmp(j->doc.trust_sha256, s->policy->trust.sha256) != 0)
        return "trust";
    return NULL;
}

static int take(struct enroll_job *j, json_t *body)
{
    const char *token = json_string_value(json_object_get(body, "token"));
    json_t *statement = json_object_get(body, "statement");
    if (!token || !json_is_object(statement) || json_object_size(body) != 2)
        return PC_E_SYNTAX;
    pc_sha256_text(token, strlen(token), j->token_sha256);
    j->json = json_dumps(statement, JSON_COMPACT);
    if (!j->json)
        return -ENOMEM;
    j->len = strlen(j->json);
    int ret = pc_host_envelope_open(j->json, j->len, "enroll", &j->e);
    return ret < 0 ? ret : pc_enroll_parse(j->e.document, j->e.len, &j->doc);
}

void pc_server_take_enroll(struct pc_server *s, struct pc_http_request *r)
{
    json_t *body = pc_api_body(r, 64u << 10);
    struct enroll_job *j = body ? calloc(1, sizeof *j) : NULL;
    if (!body)
        return;
    if (!j) {
        json_decref(body);
        pc_api_failed(r, -ENOMEM);
        return;
    }
    *j = (struct enroll_job){.server = s, .request = r, .job = {.run = enroll_run, .done = enroll_done}};
    int ret = take(j, body);
    json_decref(body);
    const char *word = ret == 0 ? check(s, j) : ret == PC_E_SIGNATURE ? "signature" : "syntax";
    if (word) {
        pc_api_error(r, ret == PC_E_SYNTAX ? 400 : 403, word, "the enrolment was refused: %s", word);
        free_enroll(j);
        return;
    }
    ret = pc_writer_submit(s->writer, &j->job);
    if (ret < 0) {
        pc_api_failed(r, ret);
        free_enroll(j);
    }
}
