/*
 * Owns the trust file: its shape, every rule of PROTOCOL.md 1.3, and when one may replace another. Who signed what is
 * approve.c's question.
 */
#include "trust/trustfile.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/sshkey.h"

#include <errno.h>
#include <string.h>

#define MEMBER(member) offsetof(struct draft, t.member)
#define JSON(member) offsetof(struct draft, member)
struct draft {
    struct pc_trust t;
    const json_t *owners, *thresholds, *cap, *log, *witnesses;
};
static const struct pc_field trust_fields[] = {
    {"tenant", PC_FIELD_NAME, MEMBER(tenant), 0, 0, false},
    {"version", PC_FIELD_U64, MEMBER(version), 1, PC_JSON_NUMBER_MAX, false},
    {"created", PC_FIELD_TIME, MEMBER(created), 0, 0, false},
    {"owners", PC_FIELD_ARRAY, JSON(owners), 1, PC_OWNERS_MAX, false},
    {"thresholds", PC_FIELD_OBJECT, JSON(thresholds), 0, 0, false},
    {"dwell", PC_FIELD_U32, MEMBER(dwell), 0, PC_DWELL_MAX, false},
    {"cap", PC_FIELD_OBJECT, JSON(cap), 0, 0, false},
    {"log", PC_FIELD_STRING, JSON(log), 1, PC_NOTE_KEY_TEXT_MAX - 1, false},
    {"witnesses", PC_FIELD_ARRAY, JSON(witnesses), 0, PC_WITNESSES_MAX, false},
    {"witnesses_needed", PC_FIELD_U32, MEMBER(witnesses_needed), 0, PC_WITNESSES_MAX, false},
    {"silence", PC_FIELD_U32, MEMBER(silence), 60, 604800, true},
    {0},
};
struct owner {
    struct pc_owner o;
    const json_t *key, *classes;
};
static const struct pc_field owner_fields[] = {
    {"name", PC_FIELD_NAME, offsetof(struct owner, o.name), 0, 0, false},
    {"key", PC_FIELD_STRING, offsetof(struct owner, key), 1, PC_SSHKEY_LINE_MAX, false},
    {"classes", PC_FIELD_ARRAY, offsetof(struct owner, classes), 1, 4, false},
    {"hardware", PC_FIELD_BOOL, offsetof(struct owner, o.hardware), 0, 0, true},
    {0},
};
static const struct pc_field threshold_fields[] = {
    {"B", PC_FIELD_U32, MEMBER(threshold[PC_CLASS_B]), 1, PC_SIGNATURES_MAX, false},
    {"C", PC_FIELD_U32, MEMBER(threshold[PC_CLASS_C]), 1, PC_SIGNATURES_MAX, false},
    {"S", PC_FIELD_U32, MEMBER(threshold[PC_CLASS_S]), 1, PC_SIGNATURES_MAX, false},
    {"T", PC_FIELD_U32, MEMBER(threshold[PC_CLASS_T]), 1, PC_SIGNATURES_MAX, false},
    {0},
};
static const struct pc_field cap_fields[] = {
    {"C", PC_FIELD_U32, MEMBER(cap[PC_CLASS_C]), 1, 1000000, false},
    {"S", PC_FIELD_U32, MEMBER(cap[PC_CLASS_S]), 1, 1000000, false},
    {0},
};

static int read_classes(const json_t *list, const char *name, unsigned *out, struct pc_why why)
{
    unsigned classes = 0;
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)list, i, v) {
        int c = json_is_string(v) ? pc_class_find(json_string_value(v)) : -1;
        if (c < PC_CLASS_B || (classes & 1u << c))
            return pc_why(why, PC_E_SYNTAX, "owner %s: \"classes\" must be distinct ones of B C S T", name);
        classes |= 1u << c;
    }
    *out = classes;
    return 0;
}

static int read_key(const json_t *text, struct pc_owner *o, struct pc_why why)
{
    int r = pc_sshkey_parse_line(json_string_value(text), json_string_length(text), &o->key);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return pc_why(why, PC_E_SYNTAX, "owner %s: \"key\" is not an SSH public key that can be used: %s", o->name,
                      pc_strerror(r));
    if (pc_sshkey_fingerprint(o->key, o->fingerprint) < 0)
        return -ENOMEM;
    if (o->hardware && !pc_sshkey_is_hardware(o->key))
        return pc_why(why, PC_E_SYNTAX, "owner %s: \"hardware\" is set, but the key is not in a security key", o->name);
    return 0;
}

static int read_owner(const json_t *object, struct pc_owner *out, struct pc_why why)
{
    struct owner owner = {0};
    int r = pc_fields_read(object, "owners", owner_fields, &owner, why);
    if (r == 0)
        r = read_classes(owner.classes, owner.o.name, &owner.o.classes, why);
    if (r == 0)
        r = read_key(owner.key, &owner.o, why);
    *out = owner.o; /* also on failure: the key is the trust file's to free */
    return r;
}

static int read_owners(struct draft *d, struct pc_why why)
{
    struct pc_trust *t = &d->t;
    for (size_t i = 0; i < json_array_size(d->owners); i++) {
        struct pc_owner *o = &t->owner[t->owners++];
        int r = read_owner(json_array_get(d->owners, i), o, why);
        if (r < 0)
            return r;
        for (struct pc_owner *other = t->owner; other < o; other++) {
            if (strcmp(other->name, o->name) == 0)
                return pc_why(why, PC_E_SYNTAX, "owner %s is listed twice", o->name);
            if (pc_sshkey_equal(other->key, o->key))
                return pc_why(why, PC_E_SYNTAX, "owners %s and %s have the same key", other->name, o->name);
        }
    }
    return 0;
}

static int read_thresholds(struct draft *d, struct pc_why why)
{
    struct pc_trust *t = &d->t;
    int r = pc_fields_read(d->thresholds, "thresholds", threshold_fields, d, why);
    if (r < 0)
        return r;
    for (int c = PC_CLASS_B; c < PC_CLASSES; c++) {
        uint32_t holders = 0;
        for (uint32_t i = 0; i < t->owners; i++)
            holders += (t->owner[i].classes >> c) & 1;
        if (t->threshold[c] > holders)
            return pc_why(why, PC_E_SYNTAX, "the threshold for %s is %u, but %u owners hold that class",
                          pc_class_letter((enum pc_class)c), t->threshold[c], holders);
    }
    if (t->owners > 1 && (t->threshold[PC_CLASS_C] < 2 || t->threshold[PC_CLASS_T] < 2))
        return pc_why(why, PC_E_SYNTAX, "the thresholds for C and T must be 2 or more, unless there is one owner only");
    return 0;
}

static int read_caps(struct draft *d, struct pc_why why)
{
    for (int c = 0; c < PC_CLASSES; c++)
        d->t.cap[c] = UINT32_MAX;
    return pc_fields_read(d->cap, "cap", cap_fields, d, why);
}

static int read_vkey(const json_t *text, const char *what, enum pc_sig_alg alg, struct pc_vkey *out, struct pc_why why)
{
    int r = json_is_string(text) ? pc_vkey_parse(json_string_value(text), out) : PC_E_SYNTAX;
    if (r == -ENOMEM)
        return r;
    if (r < 0 || out->alg != alg)
        return pc_why(why, PC_E_SYNTAX, "\"%s\" is not a verifier key (name+hash+base64) of the right kind", what);
    return 0;
}

static int read_log(struct draft *d, struct pc_why why)
{
    struct pc_trust *t = &d->t;
    int r = read_vkey(d->log, "log", PC_SIG_ED25519, &t->log, why);
    for (size_t i = 0; r == 0 && i < json_array_size(d->witnesses); i++) {
        struct pc_vkey *w = &t->witness[t->witnesses++];
        r = read_vkey(json_array_get(d->witnesses, i), "witnesses", PC_SIG_COSIGNATURE, w, why);
        for (struct pc_vkey *other = t->witness; r == 0 && other < w; other++)
            if (memcmp(other->key, w->key, sizeof w->key) == 0 || strcmp(other->name, w->name) == 0)
                r = pc_why(why, PC_E_SYNTAX, "a witness is listed twice");
        if (r == 0 && memcmp(w->key, t->log.key, sizeof w->key) == 0)
            r = pc_why(why, PC_E_SYNTAX, "the log's own key is listed as a witness");
    }
    if (r == 0 && t->witnesses_needed > t->witnesses)
        return pc_why(why, PC_E_SYNTAX, "\"witnesses_needed\" is more than there are witnesses");
    return r;
}

int pc_trust_parse(const void *doc, size_t len, struct pc_trust *out, char *text, size_t cap)
{
    static int (*const steps[])(struct draft * d, struct pc_why why) = {read_owners, read_thresholds, read_caps,
                                                                        read_log};
    struct pc_why why = {text, cap};
    struct draft d = {.t.silence = PC_SILENCE_DEFAULT};
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = pc_document_read(doc, len, PC_TRUST_DOCUMENT_MAX, "trust/1", trust_fields, &d, &root, why);
    for (size_t i = 0; r == 0 && i < PC_ARRAY_SIZE(steps); i++)
        r = steps[i](&d, why);
    if (r < 0) {
        pc_trust_clear(&d.t);
        return r;
    }
    pc_sha256_text(doc, len, d.t.sha256);
    *out = d.t;
    return 0;
}

void pc_trust_clear(struct pc_trust *t)
{
    for (uint32_t i = 0; i < t->owners; i++)
        pc_sshkey_free(t->owner[i].key);
    *t = (struct pc_trust){0};
}

/* The rules of replacement, after `next` was parsed. */
static int may_replace(const struct pc_trust *t, const struct pc_revoked *r, const struct pc_envelope *e,
                       const struct pc_trust *next, const char **word)
{
    struct pc_approvers who;
    *word = "tenant";
    if (strcmp(next->tenant, t->tenant) != 0)
        return PC_E_REFUSED;
    *word = "version";
    if (next->version <= t->version || next->version - t->version > PC_VERSION_STEP_MAX)
        return PC_E_REFUSED;
    int s = pc_trust_approvers_known(t, r, PC_CLASS_T, PC_NS_TRUST, e, &who);
    *word = s == -ENOMEM ? "memory" : "signature";
    if (s < 0)
        return s;
    *word = "quorum";
    return who.n >= t->threshold[PC_CLASS_T] ? 0 : PC_E_REFUSED;
}

int pc_trust_may_replace(const struct pc_trust *t, const struct pc_revoked *r, const struct pc_envelope *e,
                         struct pc_trust *out, const char **word)
{
    struct pc_trust next;
    int s = pc_trust_parse(e->document, e->len, &next, NULL, 0);
    if (s < 0) {
        *word = s == -ENOMEM ? "memory" : "syntax";
        return s;
    }
    s = may_replace(t, r, e, &next, word);
    if (s < 0)
        pc_trust_clear(&next);
    else
        *out = next;
    return s;
}
