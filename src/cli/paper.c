/*
 * Owns a document on an owner's disk together with what the owner knows: the trust file, the pinned hosts; and who has
 * signed it so far. Prints nothing but errors; the words are document_words.c's and order_words.c's.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "cli/document_words.h"
#include "trust/sshsig.h"

#include <string.h>

static int refused(const struct pc_paper *p, const char *word, const char *why)
{
    return pc_cli_fail(PC_EXIT_REFUSED, "%s: every host would refuse it (%s): %s", p->path, word, why);
}

int pc_paper_order(const struct pc_paper *p, struct pc_order *out)
{
    struct pc_order o;
    char why[300] = "";
    enum pc_check c = pc_order_parse(p->file.envelope.document, p->file.envelope.len, &o, why, sizeof why);
    if (c != PC_CHECK_OK)
        return refused(p, pc_check_word(c), why[0] ? why : pc_check_text(c));
    c = pc_owners_file_hosts_match(&p->file, &o, why, sizeof why);
    if (c != PC_CHECK_OK) {
        pc_order_clear(&o);
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: %s", p->path, why[0] ? why : pc_check_text(c));
    }
    *out = o;
    return 0;
}

static int check_order(const struct pc_paper *p)
{
    struct pc_order o;
    int status = pc_paper_order(p, &o);
    if (status == 0)
        pc_order_clear(&o);
    return status;
}

static int check_trust(const struct pc_paper *p)
{
    struct pc_trust t;
    char why[300];
    int r = pc_trust_parse(p->file.envelope.document, p->file.envelope.len, &t, why, sizeof why);
    if (r < 0)
        return refused(p, "syntax", why[0] ? why : pc_strerror(r));
    pc_trust_clear(&t);
    return 0;
}

static int check_revocation(const struct pc_paper *p)
{
    struct pc_revocation v;
    char why[300];
    int r = pc_revocation_parse(p->file.envelope.document, p->file.envelope.len, &v, why, sizeof why);
    return r < 0 ? refused(p, "syntax", why[0] ? why : pc_strerror(r)) : 0;
}

static int check_statement(const struct pc_paper *p)
{
    struct pc_server_statement s;
    char why[300];
    int r = pc_server_statement_parse(p->file.envelope.document, p->file.envelope.len, &s, why, sizeof why);
    if (r < 0)
        return refused(p, "syntax", why[0] ? why : pc_strerror(r));
    pc_server_statement_clear(&s);
    return 0;
}

static const struct {
    const char *kind, *ns;
    int (*check)(const struct pc_paper *p);
} kinds[] = {
    {"order/1", PC_NS_ORDER, check_order},
    {"trust/1", PC_NS_TRUST, check_trust},
    {"revoke/1", PC_NS_REVOKE, check_revocation},
    {"server/1", PC_NS_SERVER, check_statement},
};

/* The document alone. */
static int check(const struct pc_paper *p)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].kind, p->file.kind) == 0)
            return kinds[i].check(p);
    return pc_cli_fail(PC_EXIT_FAILED, "%s: not an order, trust file, revocation or server statement", p->path);
}

const char *pc_paper_namespace(const struct pc_paper *p)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].kind, p->file.kind) == 0)
            return kinds[i].ns;
    return NULL;
}

static int parse_trust(const char *path, const void *text, size_t len, struct pc_paper *p)
{
    char why[300];
    int r = pc_trust_parse(text, len, &p->trust, why, sizeof why);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: not a trust file that hosts accept: %s", path,
                           why[0] ? why : pc_strerror(r));
    p->trusted = true;
    return 0;
}

/* The trust file that was given, else the folder's, else, for a first trust file, the document itself. */
static int find_trust(const struct pc_owner_dir *dir, const char *given, struct pc_paper *p)
{
    _free_ char *text = NULL, *own = pc_owner_dir_file(dir, "trust.json");
    size_t len;
    if (!own)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (!given && access(own, F_OK) < 0) {
        p->own_trust = strcmp(p->file.kind, "trust/1") == 0;
        return p->own_trust ? parse_trust(p->path, p->file.envelope.document, p->file.envelope.len, p) : 0;
    }
    const char *path = given ? given : own;
    int r = pc_cli_file_read(path, PC_TRUST_DOCUMENT_MAX, &text, &len);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", path, pc_strerror(r))
                 : parse_trust(path, text, len, p);
}

int pc_paper_open(const struct pc_cli *cli, const char *path, const char *trust_path, struct pc_paper *out)
{
    struct pc_paper p = {.path = path};
    struct pc_owner_dir dir = {0};
    int status = pc_owner_dir_open(cli, &dir);
    if (status == 0)
        status = pc_owners_file_load(path, &p.file);
    if (status == 0)
        status = check(&p);
    if (status == 0)
        status = find_trust(&dir, trust_path, &p);
    if (status == 0)
        status = pc_pins_load(&dir, &p.pins);
    pc_owner_dir_close(&dir);
    if (status)
        pc_paper_close(&p);
    else
        *out = p;
    return status;
}

void pc_paper_close(struct pc_paper *p)
{
    pc_owners_file_clear(&p->file);
    pc_trust_clear(&p->trust);
    pc_pins_clear(&p->pins);
    *p = (struct pc_paper){0};
}

const char *pc_paper_owner(const struct pc_paper *p, const struct pc_sshkey *key)
{
    for (uint32_t i = 0; p->trusted && i < p->trust.owners; i++)
        if (pc_sshkey_equal(p->trust.owner[i].key, key))
            return p->trust.owner[i].name;
    return NULL;
}
