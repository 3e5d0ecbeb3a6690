/*
 * Owns the one question behind every order, trust file, revocation and statement: which distinct owners signed these
 * bytes for this purpose? And revocation, which takes owners' keys out of the answer.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/sshsig.h"
#include "trust/trustfile.h"

#include <errno.h>
#include <string.h>

bool pc_revoked_has(const struct pc_revoked *r, const char *fingerprint)
{
    for (uint32_t i = 0; r && i < r->n; i++)
        if (strcmp(r->fingerprint[i], fingerprint) == 0)
            return true;
    return false;
}

static int owner_of(const struct pc_trust *t, const struct pc_sshkey *key)
{
    for (uint32_t i = 0; i < t->owners; i++)
        if (pc_sshkey_equal(t->owner[i].key, key))
            return (int)i;
    return -1;
}

enum { BY_NOBODY = -1, UNTOUCHED = -2 };

/*
 * Whose signature is number i? *owner: an index, or BY_NOBODY in the trust file, or UNTOUCHED. PC_E_SIGNATURE, -ENOMEM.
 */
static int signer(const struct pc_trust *t, const char *ns, const struct pc_envelope *e, uint32_t i, int *owner)
{
    struct pc_sshkey *key = NULL;
    const char *text = e->signature[i].text;
    size_t len = e->signature[i].len;
    int r = pc_sshsig_key(text, len, &key);
    if (r < 0)
        return r == -ENOMEM ? r : PC_E_SIGNATURE;
    int who = owner_of(t, key);
    pc_sshkey_free(key);
    if (who >= 0)
        r = pc_sshsig_verify(text, len, e->document, e->len, ns, t->owner[who].key, NULL);
    if (r < 0 && r != PC_E_PRESENCE)
        return r == -ENOMEM ? r : PC_E_SIGNATURE;
    *owner = who < 0 ? BY_NOBODY : r == PC_E_PRESENCE ? UNTOUCHED : who;
    return 0;
}

static bool among(const struct pc_approvers *who, uint32_t owner)
{
    for (uint32_t i = 0; i < who->n; i++)
        if (who->owner[i] == owner)
            return true;
    return false;
}

static void count(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, int owner,
                  struct pc_approvers *who)
{
    if (owner < 0)
        return;
    if (pc_revoked_has(r, t->owner[owner].fingerprint))
        who->revoked++;
    else if ((t->owner[owner].classes & 1u << c) && !among(who, (uint32_t)owner))
        who->owner[who->n++] = (uint32_t)owner;
}

static int approvers(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, const char *ns,
                     const struct pc_envelope *e, bool strangers, struct pc_approvers *out)
{
    struct pc_approvers who = {0};
    for (uint32_t i = 0; i < e->signatures; i++) {
        int owner = BY_NOBODY, s = signer(t, ns, e, i, &owner);
        if (s < 0)
            return s;
        if (owner == BY_NOBODY && !strangers)
            return PC_E_SIGNATURE;
        count(t, r, c, owner, &who);
    }
    *out = who;
    return 0;
}

int pc_trust_approvers(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, const char *ns,
                       const struct pc_envelope *e, struct pc_approvers *out)
{
    return approvers(t, r, c, ns, e, false, out);
}

int pc_trust_approvers_known(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, const char *ns,
                             const struct pc_envelope *e, struct pc_approvers *out)
{
    return approvers(t, r, c, ns, e, true, out);
}

/* --- revocation --------------------------------------------------------------------------------------------------- */

static const struct pc_field revoke_fields[] = {
    {"tenant", PC_FIELD_NAME, offsetof(struct pc_revocation, tenant), 0, 0, false},
    {"owner", PC_FIELD_NAME, offsetof(struct pc_revocation, owner), 0, 0, false},
    {"key", PC_FIELD_TEXT, offsetof(struct pc_revocation, key), 50, 50, false},
    {"created", PC_FIELD_TIME, offsetof(struct pc_revocation, created), 0, 0, false},
    {"reason", PC_FIELD_TEXT, offsetof(struct pc_revocation, reason), 0, 200, false},
    {0},
};

int pc_revocation_parse(const void *doc, size_t len, struct pc_revocation *out, char *text, size_t cap)
{
    struct pc_why why = {text, cap};
    struct pc_revocation made = {0};
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = pc_document_read(doc, len, PC_DOCUMENT_SMALL_MAX, "revoke/1", revoke_fields, &made, &root, why);
    if (r == 0)
        *out = made;
    return r;
}

/* Is the revocation of owner `target` signed by that very key, or by enough others? */
static int enough(const struct pc_trust *t, const struct pc_revoked *r, const struct pc_envelope *e, int target,
                  const char **word)
{
    struct pc_approvers others = {0};
    for (uint32_t i = 0; i < e->signatures; i++) {
        int owner = BY_NOBODY, s = signer(t, PC_NS_REVOKE, e, i, &owner);
        *word = s == -ENOMEM ? "memory" : "signature";
        if (s < 0)
            return s;
        if (owner == target)
            return 0; /* whoever holds a key may say that it is lost, also a thief */
        count(t, r, PC_CLASS_T, owner, &others);
    }
    *word = "quorum";
    return others.n >= t->threshold[PC_CLASS_T] ? 0 : PC_E_REFUSED;
}

static int find_owner(const struct pc_trust *t, const struct pc_revocation *v)
{
    for (uint32_t i = 0; i < t->owners; i++)
        if (strcmp(t->owner[i].name, v->owner) == 0 && strcmp(t->owner[i].fingerprint, v->key) == 0)
            return (int)i;
    return -1;
}

int pc_revocation_apply(const struct pc_trust *t, struct pc_revoked *r, const struct pc_envelope *e, const char **word)
{
    struct pc_revocation v;
    int s = pc_revocation_parse(e->document, e->len, &v, NULL, 0);
    *word = s == -ENOMEM ? "memory" : "syntax";
    if (s < 0)
        return s;
    *word = "tenant";
    if (strcmp(v.tenant, t->tenant) != 0)
        return PC_E_REFUSED;
    *word = "owner";
    int target = find_owner(t, &v);
    if (target < 0)
        return PC_E_REFUSED;
    s = enough(t, r, e, target, word);
    if (s < 0 || pc_revoked_has(r, v.key))
        return s;
    *word = "limit";
    if (r->n == PC_REVOKED_MAX)
        return PC_E_LIMIT;
    memcpy(r->fingerprint[r->n++], v.key, sizeof v.key);
    return 0;
}
