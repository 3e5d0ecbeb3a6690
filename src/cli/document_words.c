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

static void put_changes(const struct pc_cli *cli, const struct pc_trust *from, const struct pc_trust *to)
{
    printf("\nAgainst version %" PRIu64 ", which is in force in your folder:\n", from->version);
    for (uint32_t i = 0; i < to->owners; i++) {
        const struct pc_owner *old = find(from, to->owner[i].name);
        if (!old)
            pc_say(cli, PC_YELLOW, "  + owner %s\n", to->owner[i].name);
        else if (strcmp(old->fingerprint, to->owner[i].fingerprint) != 0)
            pc_say(cli, PC_YELLOW, "  ! owner %s has another key\n", old->name);
        else if (old->classes != to->owner[i].classes || old->hardware != to->owner[i].hardware)
            pc_say(cli, PC_YELLOW, "  ! owner %s may do other things\n", old->name);
    }
    for (uint32_t i = 0; i < from->owners; i++)
        if (!find(to, from->owner[i].name))
            pc_say(cli, PC_YELLOW, "  - owner %s\n", from->owner[i].name);
    for (int c = PC_CLASS_B; c < PC_CLASSES; c++)
        if (from->threshold[c] != to->threshold[c])
            pc_say(cli, PC_YELLOW, "  ! class %s needs %u owners, not %u\n", pc_class_letter((enum pc_class)c),
                   to->threshold[c], from->threshold[c]);
    if (memcmp(from->log.key, to->log.key, sizeof from->log.key) != 0 || strcmp(from->log.name, to->log.name) != 0)
        pc_say(cli, PC_YELLOW, "  ! another log\n");
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

/* --- revocations, statements ------------------------------------------------------------------------------------- */

static int put_revocation(const struct pc_cli *cli, const struct pc_paper *p)
{
    struct pc_revocation v;
    char why[300], created[PC_TIME_SIZE];
    if (pc_revocation_parse(p->file.envelope.document, p->file.envelope.len, &v, why, sizeof why) < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: every host would refuse it: %s", p->path, why);
    pc_time_format(v.created, created);
    pc_say(cli, PC_BOLD, "Revocation of a key of %s, tenant %s", v.owner, v.tenant);
    printf("\nFrom then on it counts for nothing, also for orders that have not started.\nKey:    ");
    pc_put(cli, PC_PLAIN, v.key);
    printf("\nReason: ");
    pc_put(cli, PC_PLAIN, v.reason);
    printf("\nMade:   %s\n", created);
    return 0;
}

static int put_statement(const struct pc_cli *cli, const struct pc_paper *p)
{
    struct pc_server_statement s;
    char why[300];
    if (pc_server_statement_parse(p->file.envelope.document, p->file.envelope.len, &s, why, sizeof why) < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: every host would refuse it: %s", p->path, why);
    pc_say(cli, PC_BOLD, "Where the server of %s is, version %" PRIu64, s.tenant, s.version);
    printf("\nHosts that cannot verify their server any more will follow this.\nURL:  ");
    pc_put(cli, PC_PLAIN, s.url);
    printf("\nLink: ");
    pc_put(cli, PC_PLAIN, s.link);
    printf("\nCA:\n");
    for (char *rest = s.ca, *line; (line = strsep(&rest, "\n")) != NULL;) {
        printf("  ");
        pc_put(cli, PC_DIM, line);
        putchar('\n');
    }
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
