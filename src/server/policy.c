/*
 * Owns the snapshot of what the owners said, and how a new trust file, revocation or statement gets into the store.
 * Must not decide for hosts, and keeps nothing but snapshots.
 */
#include "server/policy.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counted {
    struct pc_server_policy p;
    atomic_uint refs;
};

struct pc_server_policy *pc_server_policy_ref(struct pc_server_policy *p)
{
    atomic_fetch_add(&((struct counted *)p)->refs, 1);
    return p;
}

void pc_server_policy_unref(struct pc_server_policy *p)
{
    struct counted *c = (struct counted *)p;
    if (!p || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (p->has_trust)
        pc_trust_clear(&p->trust);
    free(p->trust_json);
    free(p->revocations_json);
    free(p->statement_json);
    free(c);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static int text_of(struct pc_store *s, const char *key, char **out)
{
    void *value;
    size_t len;
    int ret = s->ops->get(s, key, &value, &len);
    if (ret == PC_E_NOTFOUND)
        return 0;
    if (ret == 0)
        *out = value;
    return ret;
}

static int load_trust(struct pc_server_policy *p, char *why, size_t why_len)
{
    struct pc_envelope e = {0};
    int ret = pc_envelope_parse(p->trust_json, strlen(p->trust_json), &e);
    if (ret == 0)
        ret = pc_trust_parse(e.document, e.len, &p->trust, why, why_len);
    p->has_trust = ret == 0;
    pc_envelope_clear(&e);
    return ret;
}

/* Each was checked when it came, perhaps against an older trust file: only the fingerprints matter now. */
static int load_revocations(struct pc_server_policy *p)
{
    _json_ json_t *list = json_loads(p->revocations_json, 0, NULL);
    size_t i;
    json_t *one;
    if (!json_is_array(list))
        return PC_E_CORRUPT;
    json_array_foreach(list, i, one)
    {
        const char *fingerprint = json_string_value(json_object_get(one, "key"));
        if (!fingerprint || strlen(fingerprint) >= sizeof p->revoked.fingerprint[0])
            return PC_E_CORRUPT;
        if (p->revoked.n < PC_REVOKED_MAX && !pc_revoked_has(&p->revoked, fingerprint))
            snprintf(p->revoked.fingerprint[p->revoked.n++], sizeof p->revoked.fingerprint[0], "%s", fingerprint);
    }
    return 0;
}

static int load_statement(struct pc_server_policy *p)
{
    struct pc_envelope e = {0};
    int ret = pc_envelope_parse(p->statement_json, strlen(p->statement_json), &e);
    _json_ json_t *doc = ret == 0 ? json_loadb(e.document, e.len, 0, NULL) : NULL;
    if (doc)
        p->statement_version = (uint64_t)json_integer_value(json_object_get(doc, "version"));
    if (ret == 0)
        memcpy(p->statement_sha256, e.sha256, sizeof p->statement_sha256);
    pc_envelope_clear(&e);
    return ret;
}

int pc_server_policy_load(struct pc_store *s, struct pc_server_policy **out, char *why, size_t why_len)
{
    struct counted *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    struct pc_server_policy *p = &c->p;
    c->refs = 1;
    snprintf(why, why_len, "the database cannot be read");
    int ret = text_of(s, PC_KEY_TRUST, &p->trust_json);
    if (ret == 0)
        ret = text_of(s, PC_KEY_REVOCATIONS, &p->revocations_json);
    if (ret == 0)
        ret = text_of(s, PC_KEY_STATEMENT, &p->statement_json);
    if (ret == 0 && p->trust_json)
        ret = load_trust(p, why, why_len);
    if (ret == 0 && p->revocations_json)
        ret = load_revocations(p);
    if (ret == 0 && p->statement_json)
        ret = load_statement(p);
    if (ret < 0) {
        pc_server_policy_unref(p);
        return ret;
    }
    *out = p;
    return 0;
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

struct facts {
    const struct pc_server_policy *p;
    const struct pc_order *o;
    uint64_t highest;
    int64_t now;
};

static bool other_tenant(const struct facts *f)
{
    return strcmp(f->o->tenant, f->p->trust.tenant) != 0;
}

static bool over_cap(const struct facts *f)
{
    return f->o->hosts > f->p->trust.cap[f->o->class_];
}

static bool expired(const struct facts *f)
{
    return f->o->expires <= f->now;
}

static bool short_dwell(const struct facts *f)
{
    return f->o->class_ == PC_CLASS_C && f->o->dwell != UINT32_MAX && f->o->dwell < f->p->trust.dwell;
}

static bool old_sequence(const struct facts *f)
{
    return f->o->class_ != PC_CLASS_S && f->o->sequence <= f->highest;
}

/* Far ahead of what hosts have seen, every host would refuse it. A fleet that has seen no order yet has no such limit.
 */
static bool sequence_gap(const struct facts *f)
{
    return f->o->class_ != PC_CLASS_S && f->highest > 0 && f->o->sequence > f->highest + PC_SEQUENCE_GAP;
}

static const struct {
    enum pc_check check;
    bool (*refused)(const struct facts *f);
} rules[] = {
    {PC_CHECK_TENANT, other_tenant}, {PC_CHECK_CAP, over_cap},          {PC_CHECK_EXPIRED, expired},
    {PC_CHECK_DWELL, short_dwell},   {PC_CHECK_SEQUENCE, old_sequence}, {PC_CHECK_SEQUENCE_GAP, sequence_gap},
};

enum pc_check pc_server_policy_check_order(const struct pc_server_policy *p, const struct pc_order *o,
                                           const struct pc_envelope *e, uint64_t highest, int64_t now,
                                           struct pc_approvers *approvers, char *why, size_t why_len)
{
    struct facts f = {.p = p, .o = o, .highest = highest, .now = now};
    for (size_t i = 0; i < PC_ARRAY_SIZE(rules); i++)
        if (rules[i].refused(&f)) {
            snprintf(why, why_len, "%s", pc_check_text(rules[i].check));
            return rules[i].check;
        }
    if (pc_trust_approvers(&p->trust, &p->revoked, o->class_, "order@portcullis", e, approvers) < 0) {
        snprintf(why, why_len, "%s", pc_check_text(PC_CHECK_SIGNATURE));
        return PC_CHECK_SIGNATURE;
    }
    return PC_CHECK_OK;
}

/* --- what the owners say anew ------------------------------------------------------------------------------------- */

/* What the newest document was: a server that reads this sees that something changed. */
static int mark(struct pc_store *s, const struct pc_envelope *e)
{
    return s->ops->put(s, PC_KEY_POLICY, (struct pc_store_blob){e->sha256, strlen(e->sha256)});
}

static int put_envelope(struct pc_store *s, const char *key, const struct pc_envelope *e)
{
    _free_ char *json = NULL;
    size_t len;
    int ret = pc_envelope_format(e, &json, &len);
    if (ret == 0)
        ret = s->ops->put(s, key, (struct pc_store_blob){json, len});
    return ret < 0 ? ret : mark(s, e);
}

static int refuse(char *why, size_t why_len, const char *word)
{
    snprintf(why, why_len, "%s", word ? word : "syntax");
    return PC_E_REFUSED;
}

int pc_server_policy_put_trust(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len)
{
    struct pc_server_policy *p;
    struct pc_trust next;
    const char *word = NULL;
    int ret = pc_server_policy_load(s, &p, why, why_len);
    if (ret < 0)
        return ret;
    if (p->has_trust && strcmp(p->trust.sha256, e->sha256) == 0) {
        pc_server_policy_unref(p);
        return 1;
    }
    /* The first one has nothing to be checked against: hosts pin theirs from the owner's hands. */
    ret = p->has_trust ? pc_trust_may_replace(&p->trust, &p->revoked, e, &next, &word)
                       : pc_trust_parse(e->document, e->len, &next, why, why_len);
    if (ret < 0 && (word || p->has_trust))
        ret = refuse(why, why_len, word);
    pc_server_policy_unref(p);
    if (ret < 0)
        return ret;
    pc_trust_clear(&next);
    return put_envelope(s, PC_KEY_TRUST, e);
}

/* The list holds {"key": fingerprint, "envelope": {...}} for each, so that hosts get the envelopes and the server the
 * fingerprints. */
static int add_revocation(struct pc_store *s, const struct pc_server_policy *p, const struct pc_envelope *e,
                          const char *fingerprint)
{
    _free_ char *json = NULL, *text = NULL;
    size_t len;
    int ret = pc_envelope_format(e, &json, &len);
    if (ret < 0)
        return ret;
    _json_ json_t *list = p->revocations_json ? json_loads(p->revocations_json, 0, NULL) : json_array();
    json_t *one = json_pack("{s:s,s:o}", "key", fingerprint, "envelope", json_loadb(json, len, 0, NULL));
    if (!list || !one || json_array_append_new(list, one) < 0)
        return -ENOMEM;
    text = json_dumps(list, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    ret = s->ops->put(s, PC_KEY_REVOCATIONS, (struct pc_store_blob){text, strlen(text)});
    return ret < 0 ? ret : mark(s, e);
}

int pc_server_policy_put_revocation(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len)
{
    struct pc_server_policy *p;
    const char *word = NULL;
    int ret = pc_server_policy_load(s, &p, why, why_len);
    if (ret < 0)
        return ret;
    struct pc_revoked after = p->revoked;
    ret = p->has_trust ? pc_revocation_apply(&p->trust, &after, e, &word) : PC_E_STATE;
    if (ret == 0)
        ret = after.n > p->revoked.n ? add_revocation(s, p, e, after.fingerprint[after.n - 1]) : 1;
    else if (ret < 0 && ret != -ENOMEM)
        ret = refuse(why, why_len, word);
    pc_server_policy_unref(p);
    return ret;
}

int pc_server_policy_put_statement(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len)
{
    struct pc_server_policy *p;
    struct pc_server_statement st;
    const char *word = NULL;
    int ret = pc_server_policy_load(s, &p, why, why_len);
    if (ret < 0)
        return ret;
    if (p->statement_json && strcmp(p->statement_sha256, e->sha256) == 0) {
        pc_server_policy_unref(p);
        return 1;
    }
    ret = p->has_trust ? pc_server_statement_open(&p->trust, &p->revoked, p->statement_version, e, &st, &word)
                       : PC_E_STATE;
    pc_server_policy_unref(p);
    if (ret < 0)
        return ret == -ENOMEM ? ret : refuse(why, why_len, word);
    pc_server_statement_clear(&st);
    return put_envelope(s, PC_KEY_STATEMENT, e);
}
