/*
 * Owns what may change whom this host trusts: trust files, revocations, server statements. Signed by owners, checked in
 * src/trust, written down, then believed; it may come by any path.
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void refused(struct pc_runner *r, const char *word, const char *what)
{
    if (pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
        pc_tell_event(r, PC_LEVEL_WARNING, "refused", "check %s: %s", word, what);
}

static int write_trust(struct pc_runner *r, const struct pc_envelope *e, bool other_log)
{
    int x = pc_memory_begin(r->file);
    if (x < 0)
        return x;
    x = pc_memory_put(r->file, "trust", e->document, e->len);
    if (x == 0 && other_log)
        x = pc_memory_forget_log(r->file);
    return pc_memory_end(r->file, x);
}

/* Proofs of the new log start at nothing, and the next hello says so. */
static void forget_log(struct pc_runner *r)
{
    r->memory.checkpoint = (struct pc_checkpoint){0};
    free(TAKE_PTR(r->checkpoint_note));
    r->close_peer = true;
}

int pc_take_trust(struct pc_runner *r, const struct pc_envelope *e, const char **word)
{
    *word = "syntax";
    struct pc_trust *next = malloc(sizeof *next);
    if (!next)
        return -ENOMEM;
    int x = pc_trust_may_replace(&r->trust, &r->revoked, e, next, word);
    if (x < 0) {
        free(next);
        return x;
    }
    *word = "space";
    bool other_log = strcmp(next->log.name, r->trust.log.name) != 0;
    x = write_trust(r, e, other_log);
    if (x < 0) {
        pc_trust_clear(next);
    } else {
        if (other_log)
            forget_log(r);
        pc_trust_clear(&r->trust);
        r->trust = *next;
        pc_tell_event(r, PC_LEVEL_NOTICE, "trust", "trust file version %llu is pinned now, SHA-256 %s",
                      (unsigned long long)r->trust.version, r->trust.sha256);
    }
    free(next);
    return x;
}

void pc_intake_trust(struct pc_runner *r, const char *json, size_t len)
{
    struct pc_envelope e = {0};
    const char *word = "syntax";
    int x = pc_envelope_parse(json, len, &e);
    if (x == 0 && strcmp(e.sha256, r->trust.sha256) == 0) {
        pc_envelope_clear(&e); /* the one we have: the server shows it to whoever connects */
        return;
    }
    if (x == 0)
        x = pc_take_trust(r, &e, &word);
    if (x < 0)
        refused(r, word, "trust file");
    pc_envelope_clear(&e);
}

void pc_intake_revoke(struct pc_runner *r, const char *json, size_t len)
{
    struct pc_envelope e = {0};
    struct pc_revoked next = r->revoked;
    const char *word = "syntax";
    int x = pc_envelope_parse(json, len, &e);
    if (x == 0)
        x = pc_revocation_apply(&r->trust, &next, &e, &word);
    if (x == 0 && next.n > r->revoked.n) {
        const char *fingerprint = next.fingerprint[next.n - 1];
        word = "space";
        x = pc_memory_revoke(r->file, fingerprint);
        if (x == 0) {
            r->revoked = next;
            pc_tell_event(r, PC_LEVEL_NOTICE, "revoked", "key %s counts for nothing from now on", fingerprint);
            pc_schedule(r);
        }
    }
    if (x < 0)
        refused(r, word, "revocation");
    pc_envelope_clear(&e);
}

/* CA first: between the two files the link sees a CA without its address, and tries again. */
static int follow(struct pc_runner *r, const struct pc_server_statement *s)
{
    struct pc_link_facts f;
    char fingerprint[100];
    int x = pc_key_fingerprint(s->ca, fingerprint);
    if (x == 0)
        x = pc_link_facts_read(r->dir.fd, &f);
    if (x < 0)
        return x;
    f.statement = s->version;
    snprintf(f.url, sizeof f.url, "%s", s->url);
    snprintf(f.address, sizeof f.address, "%s", s->link);
    x = pc_fleet_replace(r->dir.fd, PC_FILE_CA, s->ca, strlen(s->ca), (struct pc_fleet_owner){0, 0, 0644});
    if (x == 0)
        x = pc_link_facts_write(r->dir.fd, &f, r->link_gid);
    if (x == 0)
        x = pc_memory_put_number(r->file, "statement", s->version);
    if (x == 0)
        pc_tell_event(r, PC_LEVEL_NOTICE, "server", "the owners' statement %llu is followed: %s, CA %s",
                      (unsigned long long)s->version, s->url, fingerprint);
    return x;
}

void pc_intake_server(struct pc_runner *r, const char *json, size_t len)
{
    struct pc_envelope e = {0};
    struct pc_server_statement s = {0};
    const char *word = "syntax";
    uint64_t above = pc_memory_number(r->file, "statement");
    int x = pc_envelope_parse(json, len, &e);
    if (x == 0)
        x = pc_server_statement_open(&r->trust, &r->revoked, above, &e, &s, &word);
    if (x == 0) {
        word = "space";
        x = follow(r, &s);
        r->close_peer = true; /* the link comes back by the new way */
    }
    if (x < 0)
        refused(r, word, "server statement");
    if (!r->welcomed)
        r->close_peer = true; /* a connection made only to bring it */
    pc_server_statement_clear(&s);
    pc_envelope_clear(&e);
}
