/*
 * Owns the judgement of changes of trust in the log: trust files, revocations, server statements. Each is checked as a
 * host checks it, against what was in force before it: so the log alone shows that nobody became an owner without a
 * quorum of those before.
 */
#include "cli/net/log_audit.h"

#include "base/cleanup.h"
#include "trust/entry.h"

#include <inttypes.h>
#include <string.h>

/* The owner's own copy of a former version, trust.N.json, when it is that very file. */
static bool is_own_copy(const struct pc_audit *a, const struct pc_trust *t)
{
    char name[40], why[8];
    _free_ char *text = NULL;
    size_t len;
    struct pc_trust own;
    snprintf(name, sizeof name, "trust.%" PRIu64 ".json", t->version);
    _free_ char *path = pc_owner_dir_file(&a->fleet->dir, name);
    if (!path || pc_cli_file_read(path, PC_TRUST_DOCUMENT_MAX, &text, &len) < 0 ||
        pc_trust_parse(text, len, &own, why, sizeof why) < 0)
        return false;
    bool same = strcmp(own.sha256, t->sha256) == 0;
    pc_trust_clear(&own);
    return same;
}

/*
 * Did those who were owners until now sign it? The first has nothing before it: an owner has it from the other owners'
 * hands.
 */
static bool may_replace(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s, bool full)
{
    struct pc_trust next;
    const char *word = "";
    if (!a->any_trust || strcmp(a->trust->sha256, s->sha256) == 0)
        return true;
    if (!full || a->unknown_trust) {
        a->changes_unchecked++;
        return true;
    }
    a->changes_checked++;
    if (pc_trust_may_replace(a->trust, &a->revoked, &s->e, &next, &word) == 0) {
        pc_trust_clear(&next);
        return true;
    }
    pc_audit_problem(a, index, "trust: a trust file that those before it do not let in: %s. No host takes it", word);
    return false;
}

/*
 * From here on that trust file is in force. A former version than ours is taken from the log when the owner has no
 * copy: with a note.
 */
static void come_into_force(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s)
{
    const struct pc_trust *mine = &a->fleet->trust;
    struct pc_trust t;
    a->unknown_trust = true;
    if (!s->has_document || pc_trust_parse(s->e.document, s->e.len, &t, NULL, 0) < 0) {
        pc_audit_problem(a, index, "trust: not a trust file, and not yours");
        return;
    }
    if (t.version >= mine->version) {
        pc_audit_problem(a, index,
                         "trust: version %" PRIu64 " came into force, yours is version %" PRIu64
                         ": get it from another owner, not from the server",
                         t.version, mine->version);
        pc_trust_clear(&t);
        return;
    }
    a->unknown_trust = false;
    if (!is_own_copy(a, &t))
        pc_audit_note(a,
                      "entry %" PRIu64 ": trust file version %" PRIu64 " is not in your folder (trust.%" PRIu64
                      ".json): taken from the log",
                      index, t.version, t.version);
    if (a->has_former)
        pc_trust_clear(&a->former);
    a->former = t;
    a->has_former = true;
    a->trust = &a->former;
}

static void take_trust(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s, bool full)
{
    bool good = may_replace(a, index, s, full);
    if (strcmp(s->sha256, a->fleet->trust.sha256) == 0) {
        a->trust = &a->fleet->trust;
        a->unknown_trust = false;
    } else if (good) {
        come_into_force(a, index, s);
    }
    a->any_trust = true;
}

/* Without signatures in the log, or without the trust file that they were counted under, the server's word is taken. */
static void believe_revocation(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s)
{
    struct pc_revocation v;
    a->changes_unchecked++;
    if (!s->has_document || pc_revocation_parse(s->e.document, s->e.len, &v, NULL, 0) < 0)
        pc_audit_problem(a, index, "revoke: not a revocation");
    else if (!pc_revoked_has(&a->revoked, v.key) && a->revoked.n < PC_REVOKED_MAX)
        memcpy(a->revoked.fingerprint[a->revoked.n++], v.key, sizeof v.key);
}

static void take_revocation(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s, bool full)
{
    const char *word = "";
    if (!full || a->unknown_trust) {
        believe_revocation(a, index, s);
        return;
    }
    a->changes_checked++;
    if (pc_revocation_apply(a->trust, &a->revoked, &s->e, &word) < 0)
        pc_audit_problem(a, index, "revoke: a revocation that no host takes: %s", word);
}

static void take_statement(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s, bool full)
{
    struct pc_server_statement st;
    const char *word = "";
    bool check = full && !a->unknown_trust;
    a->changes_checked += check;
    a->changes_unchecked += !check;
    if (!s->has_document || pc_server_statement_parse(s->e.document, s->e.len, &st, NULL, 0) < 0) {
        pc_audit_problem(a, index, "server: not a server statement");
        return;
    }
    pc_server_statement_clear(&st);
    if (!check)
        return;
    if (pc_server_statement_open(a->trust, &a->revoked, a->statement, &s->e, &st, &word) < 0) {
        pc_audit_problem(a, index, "server: a statement that no host follows: %s", word);
        return;
    }
    a->statement = st.version;
    pc_server_statement_clear(&st);
}

int pc_audit_owners(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    static const struct {
        const char *type;
        void (*take)(struct pc_audit *a, uint64_t index, const struct pc_entry_signed *s, bool full);
    } kinds[] = {{"trust", take_trust}, {"revoke", take_revocation}, {"server", take_statement}};
    struct pc_entry_signed s = {0};
    char why[200];
    if (pc_entry_signed_read(e, &s, why, sizeof why) < 0) {
        pc_audit_problem(a, index, "%s: %s", e->type, why);
        return 0;
    }
    bool full = pc_audit_complete(a, &s);
    for (size_t i = 0; i < PC_ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].type, e->type) == 0)
            kinds[i].take(a, index, &s, full);
    pc_entry_signed_clear(&s);
    return 0;
}
