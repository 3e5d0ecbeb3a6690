/*
 * Owns enrolment of simulated hosts: in bulk through src/store into the database of a server that does not run yet, which skips the token, the
 * API and the `enroll` entry in the log; or as the body of a real POST /v1/enroll.
 */
#include "identity.h"
#include "options.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "store/store.h"
#include "trust/report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRANSACTION 1000 /* hosts in one */

static int enroll_envelope(const struct sim_options *o, const struct sim_identity *i, char **json, size_t *len)
{
    struct pc_enroll e = {.created = time(NULL)};
    _free_ char *document = NULL, *trust = NULL;
    size_t n;
    uint64_t trust_len;
    snprintf(e.tenant, sizeof e.tenant, "%s", o->tenant);
    memcpy(e.host, i->ref.name, sizeof e.host);
    memcpy(e.link_key, i->link_key, sizeof e.link_key);
    pc_sha256_text(o->token ? o->token : "", o->token ? strlen(o->token) : 0, e.token_sha256);
    trust = sim_read_file(o->trust, &trust_len);
    if (!trust)
        return PC_E_NOTFOUND;
    pc_sha256_text(trust, trust_len, e.trust_sha256);
    int ret = pc_enroll_format(&e, &document, &n);
    return ret < 0 ? ret : pc_host_envelope_seal(document, n, "enroll", i->seed, json, len);
}

static int add_one(const struct sim_options *o, struct pc_store *s, uint32_t number, FILE *out)
{
    struct sim_identity i;
    struct pc_store_host h = {.enrolled = time(NULL)};
    _free_ char *json = NULL;
    char ref[PC_HOST_REF_SIZE];
    size_t len;
    int ret = sim_identity_make(o->seed, number, &i);
    if (ret == 0)
        ret = enroll_envelope(o, &i, &json, &len);
    if (ret < 0)
        return ret;
    memcpy(h.name, i.ref.name, sizeof h.name);
    memcpy(h.id, i.ref.id, sizeof h.id);
    memcpy(h.key, i.key, sizeof h.key);
    memcpy(h.link_key, i.link_key, sizeof h.link_key);
    ret = s->ops->host_add(s, &h, (struct pc_store_blob){json, len});
    pc_host_ref_format(&i.ref, ref);
    return ret < 0 ? ret : fprintf(out, "%s\n", ref) < 0 ? PC_E_STATE : 0;
}

static int add_all(const struct sim_options *o, struct pc_store *s, FILE *out)
{
    uint32_t version;
    int ret = s->ops->migrate(s, &version);
    for (uint32_t n = 0; n < o->agents && ret == 0;) {
        ret = s->ops->begin(s);
        for (uint32_t end = n + TRANSACTION; n < end && n < o->agents && ret == 0; n++)
            ret = add_one(o, s, o->first + n, out);
        if (ret == 0)
            ret = s->ops->commit(s);
    }
    return ret;
}

int sim_prepare(const struct sim_options *o)
{
    struct pc_store *s;
    char why[256];
    _fclose_ FILE *out = fopen(o->output, "we");
    if (!out)
        return sim_complain("%s: %m", o->output);
    if (pc_store_connect(o->database, &s, why, sizeof why) < 0)
        return sim_complain("%s: %s", o->database, why);
    int ret = add_all(o, s, out);
    if (ret < 0)
        sim_complain("%s: %s: %s", o->database, pc_strerror(ret), s->ops->error(s));
    s->ops->close(s);
    if (fflush(out) != 0)
        return sim_complain("%s: %m", o->output);
    return ret < 0;
}

int sim_statement(const struct sim_options *o)
{
    struct sim_identity i;
    _free_ char *json = NULL;
    size_t len;
    int ret = sim_identity_make(o->seed, o->first, &i);
    if (ret == 0)
        ret = enroll_envelope(o, &i, &json, &len);
    if (ret < 0)
        return sim_complain("enrolment statement: %s", pc_strerror(ret));
    json_t *statement = json_loadb(json, len, 0, NULL), *body = json_pack("{s:s,s:o}", "token", o->token, "statement", statement);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return sim_complain("out of memory");
    puts(text);
    free(text);
    return 0;
}
