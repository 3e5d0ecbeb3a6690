/*
 * `portcullis submit FILE`: sends an owners' document with the signatures beside it. Owns the checks before: what every
 * host would refuse is refused here, with the host's word, before it is in the log for ever.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/documents.h"
#include "cli/net/net.h"
#include "cli/net/watch.h"
#include "trust/bundle.h"

#include <string.h>

enum option { OPTION_WATCH };
#define WATCH_SECONDS 86400

struct submission {
    struct pc_fleet fleet;
    const char *path;
    struct pc_owners_file file;
    char id[PC_ID_LEN + 1];
};

static void submission_clear(struct submission *s)
{
    pc_owners_file_clear(&s->file);
    pc_fleet_end(&s->fleet);
}
#define _submission_ __attribute__((cleanup(submission_clear)))

static int refuse(const struct submission *s, const char *word, const char *why)
{
    _free_ char *safe = pc_safe_text(s->fleet.cli, why, NULL);
    return pc_cli_fail(PC_EXIT_REFUSED, "%s: not sent: every host would refuse it, check %s: %s", s->path, word, safe);
}

/* --- checks before sending, one a kind --------------------------------------------------------------------------- */

static int check_order(struct submission *s)
{
    struct pc_order o;
    struct pc_approvers who;
    char why[512] = "";
    enum pc_check c = pc_order_parse(s->file.envelope.document, s->file.envelope.len, &o, why, sizeof why);
    if (c != PC_CHECK_OK)
        return refuse(s, pc_check_word(c), *why ? why : pc_check_text(c));
    snprintf(s->id, sizeof s->id, "%s", o.id);
    c = pc_owners_file_hosts_match(&s->file, &o, why, sizeof why);
    if (c == PC_CHECK_OK)
        c = pc_order_may_submit(&o, &s->file.envelope, &s->fleet.trust, NULL,
                                (int64_t)(s->fleet.cli->now_ns / PC_NS_PER_S), &who, why, sizeof why);
    pc_order_clear(&o);
    if (c != PC_CHECK_OK)
        return refuse(s, pc_check_word(c), *why ? why : pc_check_text(c));
    if (who.n == 0)
        return refuse(s, pc_check_word(PC_CHECK_QUORUM),
                      "no owner has approved it: `portcullis approve` does, and writes FILE.NAME.sig");
    return 0;
}

static int check_trust(struct submission *s)
{
    struct pc_trust next;
    const char *word = "";
    if (strcmp(s->file.envelope.sha256, s->fleet.trust.sha256) == 0)
        return 0;
    if (pc_trust_may_replace(&s->fleet.trust, NULL, &s->file.envelope, &next, &word) < 0)
        return refuse(s, word, "it may not replace the trust file in force");
    pc_trust_clear(&next);
    return 0;
}

static int check_revoke(struct submission *s)
{
    _free_ struct pc_revoked *revoked = calloc(1, sizeof *revoked);
    const char *word = "";
    if (!revoked)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    return pc_revocation_apply(&s->fleet.trust, revoked, &s->file.envelope, &word) < 0
               ? refuse(s, word, "the revocation does not hold")
               : 0;
}

static int check_statement(struct submission *s)
{
    struct pc_server_statement statement;
    const char *word = "";
    if (pc_server_statement_open(&s->fleet.trust, NULL, 0, &s->file.envelope, &statement, &word) < 0)
        return refuse(s, word, "the server statement does not hold");
    pc_server_statement_clear(&statement);
    return 0;
}

static const struct kind {
    const char *name, *path, *words;
    int (*check)(struct submission *s);
} kinds[] = {
    {"order/1", "/v1/orders", "order", check_order},
    {"trust/1", "/v1/trust", "trust file", check_trust},
    {"revoke/1", "/v1/revoke", "revocation", check_revoke},
    {"server/1", "/v1/server-statement", "server statement", check_statement},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static json_t *host_list(const struct pc_owners_file *f)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < f->hosts; i++) {
        char ref[PC_HOST_REF_SIZE];
        pc_host_ref_format(&f->host[i], ref);
        if (json_array_append_new(list, json_string(ref)) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int send(struct submission *s, const struct kind *kind, json_t **out)
{
    _free_ char *text = NULL;
    size_t len;
    if (pc_envelope_format(&s->file.envelope, &text, &len) < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (!s->file.host)
        return pc_fleet_post(&s->fleet, kind->path, text, len, out);
    json_t *body = json_loadb(text, len, 0, NULL), *hosts = host_list(&s->file);
    if (!body || !hosts || json_object_set_new(body, "hosts", hosts) < 0) {
        json_decref(body);
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    return pc_fleet_post_json(&s->fleet, kind->path, body, out);
}

static int show(const struct submission *s, const struct kind *kind, const json_t *answer)
{
    const struct pc_cli *cli = s->fleet.cli;
    const char *sha256 = pc_text_of(answer, kind->check == check_order ? "order_sha256" : "sha256");
    if (!sha256 || strcmp(sha256, s->file.envelope.sha256) != 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: sent, but the server answers about another document", s->path);
    if (cli->json)
        return pc_fleet_put_json(answer);
    printf("submitted %s %s\n  sha256  %s\n", kind->words, s->id, s->file.envelope.sha256);
    if (kind->check != check_order)
        return 0;
    printf("  state   ");
    pc_put(cli, PC_BOLD, pc_text_of(answer, "state"));
    printf(", %lld of %lld approvals\n", (long long)pc_number_of(answer, "approvals"),
           (long long)pc_number_of(answer, "needed"));
    return 0;
}

static int prepare(struct submission *s, struct pc_cli *cli, const struct kind **kind)
{
    int status = pc_fleet_begin(cli, &s->fleet);
    if (status == 0)
        status = pc_owners_file_load(s->path, &s->file);
    if (status == 0)
        status = pc_fleet_trust(&s->fleet);
    if (status)
        return status;
    *kind = find_kind(s->file.kind);
    if (!*kind)
        return pc_cli_fail(PC_EXIT_REFUSED,
                           "%s: not an order, trust file, revocation or server statement: check syntax", s->path);
    return (*kind)->check(s);
}

int pc_cmd_submit_file(struct pc_cli *cli, const char *path, const struct pc_watching *w)
{
    _submission_ struct submission s = {.path = path};
    const struct kind *kind = NULL;
    json_t *answer = NULL;
    int status = prepare(&s, cli, &kind);
    if (status == 0)
        status = send(&s, kind, &answer);
    if (status)
        return status;
    bool watch = w && kind->check == check_order;
    if (!watch || !cli->json)
        status = show(&s, kind, answer);
    json_decref(answer);
    if (status || !watch)
        return status;
    return pc_order_watch(
        &s.fleet, &(struct pc_order_question){.id = s.file.envelope.sha256, .sha256 = s.file.envelope.sha256}, w);
}

int pc_cmd_submit(struct pc_cli *cli, const struct pc_cli_args *args)
{
    const struct pc_watching whole = {.seconds = WATCH_SECONDS};
    return pc_cmd_submit_file(cli, args->word[0], args->value[OPTION_WATCH] ? &whole : NULL);
}
