/*
 * Owns how documents of owners look to people: trust files, revocations, statements, and the signatures on any of them.
 * Orders: order_words.c. Every text of a document goes through pc_put: it may be an attacker's.
 */
#include "cli/document_words.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "cli/order_words.h"
#include "trust/json.h"
#include "trust/sshsig.h"

#include <inttypes.h>
#include <string.h>

/* --- signatures -------------------------------------------------------------------------------------------------- */

struct signature {
    bool good;
    const char *owner; /* of the trust file, or NULL */
    char fingerprint[PC_SSHKEY_FINGERPRINT_SIZE];
    const char *why;
};

static struct signature look_at(const struct pc_paper *p, uint32_t i)
{
    struct signature s = {0};
    struct pc_sshkey *key = NULL;
    const char *text = p->file.envelope.signature[i].text;
    size_t len = p->file.envelope.signature[i].len;
    int r = pc_sshsig_key(text, len, &key);
    if (r == 0) {
        s.owner = pc_paper_owner(p, key);
        r = pc_sshkey_fingerprint(key, s.fingerprint);
    }
    if (r == 0)
        r = pc_sshsig_verify(text, len, p->file.envelope.document, p->file.envelope.len, pc_paper_namespace(p), key,
                             NULL);
    pc_sshkey_free(key);
    s.good = r == 0;
    s.why = r < 0 ? pc_strerror(r) : NULL;
    return s;
}

static void put_signatures(const struct pc_cli *cli, const struct pc_paper *p)
{
    printf("\n%s\n", p->file.envelope.signatures ? "Signed so far:" : "Nobody has signed it so far.");
    for (uint32_t i = 0; i < p->file.envelope.signatures; i++) {
        struct signature s = look_at(p, i);
        printf("  ");
        if (!s.good)
            pc_say(cli, PC_RED, "a signature that is NOT good (%s)", s.why);
        else if (s.owner)
            pc_say(cli, PC_GREEN, "%s", s.owner);
        else
            pc_say(cli, PC_RED, "%s", p->trusted ? "somebody who is no owner" : "key");
        printf("  %s\n", s.fingerprint);
    }
}

static json_t *signatures_json(const struct pc_paper *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->file.envelope.signatures; i++) {
        struct signature s = look_at(p, i);
        json_array_append_new(list, json_pack("{s:b, s:s?, s:s, s:s?}", "good", (int)s.good, "owner", s.owner, "key",
                                              s.fingerprint, "why", s.why));
    }
    return list;
}

/* --- trust files ------------------------------------------------------------------------------------------------- */

static void put_owner(const struct pc_owner *o)
{
    printf("  %-16s ", o->name);
    for (int c = PC_CLASS_B; c < PC_CLASSES; c++)
        printf("%s", o->classes & 1u << c ? pc_class_letter((enum pc_class)c) : "-");
    printf("  %s %s%s\n", pc_sshkey_label(o->key), o->fingerprint, o->hardware ? "  (hardware)" : "");
}

static const struct pc_owner *find(const struct pc_trust *t, const char *name)
{
    for (uint32_t i = 0; i < t->owners; i++)
        if (strcmp(t->owner[i].name, name) == 0)
            return &t->owner[i];
    return NULL;
}

static const struct pc_vkey *find_witness(const struct pc_trust *t, const char *name)
{
    for (uint32_t i = 0; i < t->witnesses; i++)
        if (strcmp(t->witness[i].name, name) == 0)
            return &t->witness[i];
    return NULL;
}

struct changes {
    const struct pc_cli *cli;
    unsigned n;
};

static void put_change(struct changes *c, const char *mark, const char *what, const char *name, const char *rest)
{
    pc_say(c->cli, PC_YELLOW, "  %s %s ", mark, what);
    pc_put(c->cli, PC_YELLOW, name);
    pc_say(c->cli, PC_YELLOW, "%s\n", rest);
    c->n++;
}

static void put_owners(struct changes *c, const struct pc_trust *from, const struct pc_trust *to)
{
    for (uint32_t i = 0; i < to->owners; i++) {
        const struct pc_owner *o = &to->owner[i], *old = find(from, o->name);
        if (!old)
            put_change(c, "+", "owner", o->name, "");
        else if (strcmp(old->fingerprint, o->fingerprint) != 0)
            put_change(c, "!", "owner", o->name, " has another key");
        else if (old->classes != o->classes || old->hardware != o->hardware)
            put_change(c, "!", "owner", o->name, " may do other things");
    }
    for (uint32_t i = 0; i < from->owners; i++)
        if (!find(to, from->owner[i].name))
            put_change(c, "-", "owner", from->owner[i].name, "");
}

static void put_witnesses(struct changes *c, const struct pc_trust *from, const struct pc_trust *to)
{
    for (uint32_t i = 0; i < to->witnesses; i++) {
        const struct pc_vkey *w = &to->witness[i], *old = find_witness(from, w->name);
        if (!old)
            put_change(c, "+", "witness", w->name, "");
        else if (memcmp(old->key, w->key, sizeof w->key) != 0)
            put_change(c, "!", "witness", w->name, " has another key");
    }
    for (uint32_t i = 0; i < from->witnesses; i++)
        if (!find_witness(to, from->witness[i].name))
            put_change(c, "-", "witness", from->witness[i].name, "");
}

static void put_figures(struct changes *c, const struct pc_trust *from, const struct pc_trust *to)
{
    const struct {
        const char *what, *unit;
        uint32_t from, to;
    } all[] = {
        {"class B needs", " owners", from->threshold[PC_CLASS_B], to->threshold[PC_CLASS_B]},
        {"class C needs", " owners", from->threshold[PC_CLASS_C], to->threshold[PC_CLASS_C]},
        {"class S needs", " owners", from->threshold[PC_CLASS_S], to->threshold[PC_CLASS_S]},
        {"class T needs", " owners", from->threshold[PC_CLASS_T], to->threshold[PC_CLASS_T]},
        {"an act may have", " hosts", from->cap[PC_CLASS_C], to->cap[PC_CLASS_C]},
        {"a stop may have", " hosts", from->cap[PC_CLASS_S], to->cap[PC_CLASS_S]},
        {"an act waits", " s", from->dwell, to->dwell},
        {"silence is", " s", from->silence, to->silence},
        {"of the witnesses must cosign", "", from->witnesses_needed, to->witnesses_needed},
    };
    char figures[64];
    for (size_t i = 0; i < PC_ARRAY_SIZE(all); i++) {
        if (all[i].from == all[i].to)
            continue;
        snprintf(figures, sizeof figures, "%" PRIu32 "%s, not %" PRIu32, all[i].to, all[i].unit, all[i].from);
        put_change(c, "!", all[i].what, figures, "");
    }
}

static void put_changes(const struct pc_cli *cli, const struct pc_trust *from, const struct pc_trust *to)
{
    struct changes c = {cli, 0};
    printf("\nAgainst version %" PRIu64 ", which is in force in your folder:\n", from->version);
    put_owners(&c, from, to);
    put_figures(&c, from, to);
    if (memcmp(from->log.key, to->log.key, sizeof from->log.key) != 0 || strcmp(from->log.name, to->log.name) != 0)
        put_change(&c, "!", "another log:", to->log.name, "");
    put_witnesses(&c, from, to);
    if (strcmp(from->tenant, to->tenant) != 0)
        pc_say(cli, PC_RED, "  ! it is of another tenant, %s, not %s: every host will refuse it\n", to->tenant,
               from->tenant);
    else if (c.n == 0)
        printf("  nothing but the version\n");
    if (to->version <= from->version)
        pc_say(cli, PC_RED, "  ! version %" PRIu64 " is not higher: every host will refuse it\n", to->version);
}

static void put_trust(const struct pc_cli *cli, const struct pc_trust *t)
{
    char created[PC_TIME_SIZE], key[PC_NOTE_KEY_TEXT_MAX];
    pc_time_format(t->created, created);
    pc_say(cli, PC_BOLD, "Trust file of %s, version %" PRIu64, t->tenant, t->version);
    printf(", made %s\n\nOwners (and the classes they may approve):\n", created);
    for (uint32_t i = 0; i < t->owners; i++)
        put_owner(&t->owner[i]);
    printf("\nNeeded: B (standing) %u, C (act) %u, S (stop) %u, T (this file) %u owners\n", t->threshold[PC_CLASS_B],
           t->threshold[PC_CLASS_C], t->threshold[PC_CLASS_S], t->threshold[PC_CLASS_T]);
    printf("At most %u hosts an act, %u a stop; an act waits %u s on each host; silence after %u s\n",
           t->cap[PC_CLASS_C], t->cap[PC_CLASS_S], t->dwell, t->silence);
    if (pc_vkey_format(&t->log, key, sizeof key) > 0) {
        printf("Log: ");
        pc_put(cli, PC_PLAIN, key);
    }
    printf("\nWitnesses: %u, of which %u must cosign\n", t->witnesses, t->witnesses_needed);
    for (uint32_t i = 0; i < t->witnesses; i++)
        if (pc_vkey_format(&t->witness[i], key, sizeof key) > 0) {
            printf("  ");
            pc_put(cli, PC_PLAIN, key);
            putchar('\n');
        }
}

static int put_trust_paper(const struct pc_cli *cli, const struct pc_paper *p)
{
    struct pc_trust t;
    char why[300];
    int r = pc_trust_parse(p->file.envelope.document, p->file.envelope.len, &t, why, sizeof why);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: not a trust file that hosts accept: %s", p->path,
                           why[0] ? why : pc_strerror(r));
    put_trust(cli, &t);
    if (p->trusted && !p->own_trust && strcmp(p->trust.sha256, t.sha256) != 0)
        put_changes(cli, &p->trust, &t);
    pc_trust_clear(&t);
    return 0;
}

/* Of what has no list of changes. */
static void put_tenant(const struct pc_cli *cli, const struct pc_paper *p, const char *tenant)
{
    if (p->trusted && strcmp(p->trust.tenant, tenant) != 0)
        pc_say(cli, PC_RED, "\nIt is for another tenant than yours.");
}

/* --- revocations, statements ------------------------------------------------------------------------------------- */

static int put_revocation(const struct pc_cli *cli, const struct pc_paper *p)
{
    struct pc_revocation v;
    char why[300], created[PC_TIME_SIZE];
    if (pc_revocation_parse(p->file.envelope.document, p->file.envelope.len, &v, why, sizeof why) < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: every host would refuse it: %s", p->path, why);
    pc_time_format(v.created, created);
    pc_say(cli, PC_BOLD, "Revocation of a key of %s, tenant %s", v.owner, v.tenant);
    put_tenant(cli, p, v.tenant);
    printf("\nFrom then on it counts for nothing, also for orders that have not started.\nKey:    ");
    pc_put(cli, PC_PLAIN, v.key);
    printf("\nMade:   %s\nReason:\n", created);
    pc_put_marked(cli, v.reason);
    return 0;
}

static int put_statement(const struct pc_cli *cli, const struct pc_paper *p)
{
    struct pc_server_statement s;
    char why[300];
    if (pc_server_statement_parse(p->file.envelope.document, p->file.envelope.len, &s, why, sizeof why) < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: every host would refuse it: %s", p->path, why);
    pc_say(cli, PC_BOLD, "Where the server of %s is, version %" PRIu64, s.tenant, s.version);
    put_tenant(cli, p, s.tenant);
    printf("\nHosts that cannot verify their server any more will follow this.\nURL:  ");
    pc_put(cli, PC_PLAIN, s.url);
    printf("\nLink: ");
    pc_put(cli, PC_PLAIN, s.link);
    printf("\nCA:\n");
    for (char *rest = s.ca, *line; (line = strsep(&rest, "\n")) != NULL;)
        pc_put_marked(cli, line);
    pc_server_statement_clear(&s);
    return 0;
}

static const struct {
    const char *kind;
    int (*put)(const struct pc_cli *cli, const struct pc_paper *p);
} kinds[] = {
    {"order/1", pc_order_paper_put},
    {"trust/1", put_trust_paper},
    {"revoke/1", put_revocation},
    {"server/1", put_statement},
};

int pc_paper_put(const struct pc_cli *cli, const struct pc_paper *p)
{
    int status = PC_EXIT_FAILED;
    for (size_t i = 0; i < PC_ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].kind, p->file.kind) == 0)
            status = kinds[i].put(cli, p);
    if (status == 0)
        put_signatures(cli, p);
    if (status == 0)
        printf("SHA-256: %s\n", p->file.envelope.sha256);
    return status;
}

json_t *pc_paper_json(const struct pc_paper *p, int *status)
{
    json_t *document = NULL;
    if (pc_json_parse(p->file.envelope.document, p->file.envelope.len, PC_DOCUMENT_MAX, &document, (struct pc_why){0}) <
        0) {
        *status = pc_cli_fail(PC_EXIT_FAILED, "%s: does not parse", p->path);
        return NULL;
    }
    *status = 0;
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "file", p->path, "kind", p->file.kind, "sha256",
                     p->file.envelope.sha256, "signatures", signatures_json(p), "document", document);
}
