/*
 * Owns the server statement (PROTOCOL.md 1.5): where the server is and which CA its certificate comes from, by the
 * owners' word.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/trustfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CA_MAX (16u << 10)

struct draft {
    struct pc_server_statement s;
    const json_t *ca;
};
static const struct pc_field fields[] = {
    {"tenant", PC_FIELD_NAME, offsetof(struct draft, s.tenant), 0, 0, false},
    {"version", PC_FIELD_U64, offsetof(struct draft, s.version), 1, PC_JSON_NUMBER_MAX, false},
    {"url", PC_FIELD_TEXT, offsetof(struct draft, s.url), 1, sizeof((struct pc_server_statement *)0)->url - 1, false},
    {"link", PC_FIELD_TEXT, offsetof(struct draft, s.link), 1, sizeof((struct pc_server_statement *)0)->link - 1,
     false},
    {"ca", PC_FIELD_STRING, offsetof(struct draft, ca), 1, CA_MAX, false},
    {"created", PC_FIELD_TIME, offsetof(struct draft, s.created), 0, 0, false},
    {0},
};

/* HOST:PORT: a name, an IPv4 address, or [IPv6 address]; and a port from 1. */
static bool host_port(const char *text)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    size_t host = *text == '[' ? 1 + strspn(text + 1, "0123456789abcdefABCDEF:.") : strspn(text, name);
    if (*text == '[' && (host == 1 || text[host++] != ']'))
        return false;
    if (host == 0 || text[host] != ':')
        return false;
    const char *port = text + host + 1;
    size_t digits = strspn(port, "0123456789");
    return digits >= 1 && digits <= 5 && !port[digits] && *port != '0' && strtoul(port, NULL, 10) <= 65535;
}

static bool pem(const char *text)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----\n";
    for (const char *p = text; *p; p++)
        if (*p != '\n' && (*p < ' ' || *p > '~'))
            return false;
    return strncmp(text, begin, sizeof begin - 1) == 0 && strstr(text, "\n-----END CERTIFICATE-----");
}

int pc_server_statement_parse(const void *doc, size_t len, struct pc_server_statement *out, char *text, size_t cap)
{
    static const char https[] = "https://";
    struct pc_why why = {text, cap};
    struct draft d = {0};
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = pc_document_read(doc, len, PC_DOCUMENT_SMALL_MAX, "server/1", fields, &d, &root, why);
    if (r < 0)
        return r;
    if (strncmp(d.s.url, https, sizeof https - 1) != 0 || !host_port(d.s.url + sizeof https - 1))
        return pc_why(why, PC_E_SYNTAX, "server/1: \"url\" must be https://HOST:PORT");
    if (!host_port(d.s.link))
        return pc_why(why, PC_E_SYNTAX, "server/1: \"link\" must be HOST:PORT");
    if (!pem(json_string_value(d.ca)))
        return pc_why(why, PC_E_SYNTAX, "server/1: \"ca\" must be a certificate in PEM");
    d.s.ca = strdup(json_string_value(d.ca));
    if (!d.s.ca)
        return -ENOMEM;
    *out = d.s;
    return 0;
}

void pc_server_statement_clear(struct pc_server_statement *s)
{
    free(s->ca);
    *s = (struct pc_server_statement){0};
}

static int may_follow(const struct pc_trust *t, const struct pc_revoked *r, uint64_t above, const struct pc_envelope *e,
                      const struct pc_server_statement *s, const char **word)
{
    struct pc_approvers who;
    *word = "tenant";
    if (strcmp(s->tenant, t->tenant) != 0)
        return PC_E_REFUSED;
    *word = "version";
    if (s->version <= above)
        return PC_E_REFUSED;
    int v = pc_trust_approvers_known(t, r, PC_CLASS_T, PC_NS_SERVER, e, &who);
    *word = v == -ENOMEM ? "memory" : "signature";
    if (v < 0)
        return v;
    *word = "quorum";
    return who.n >= t->threshold[PC_CLASS_T] ? 0 : PC_E_REFUSED;
}

int pc_server_statement_open(const struct pc_trust *t, const struct pc_revoked *r, uint64_t above_version,
                             const struct pc_envelope *e, struct pc_server_statement *out, const char **word)
{
    struct pc_server_statement s;
    int v = pc_server_statement_parse(e->document, e->len, &s, NULL, 0);
    if (v < 0) {
        *word = v == -ENOMEM ? "memory" : "syntax";
        return v;
    }
    v = may_follow(t, r, above_version, e, &s, word);
    if (v < 0)
        pc_server_statement_clear(&s);
    else
        *out = s;
    return v;
}
