/*
 * `portcullis trust new | rotate | revoke | statement`: documents that say whom hosts believe. Signs nothing: `approve`
 * does.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/document_words.h"
#include "cli/order_build.h"
#include "cli/owner_commands.h"
#include "trust/json.h"
#include "trust/sshkey.h"

#include <string.h>

static json_t *now_json(const struct pc_cli *cli)
{
    char text[PC_TIME_SIZE];
    pc_time_format((int64_t)(cli->now_ns / PC_NS_PER_S), text);
    return json_string(text);
}

/* The first line of a file, without its end. */
static int first_line(const char *path, char **out)
{
    size_t len;
    int r = pc_cli_file_read(path, PC_SSHKEY_LINE_MAX, out, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", path, pc_strerror(r));
    (*out)[strcspn(*out, "\r\n")] = 0;
    return 0;
}

/* A number of an option into the document; nothing when it was not given. */
static int set_number(json_t *doc, const char *key, const char *option, const char *word)
{
    uint64_t n;
    if (!word)
        return 0;
    if (pc_parse_u64(word, 0, PC_JSON_NUMBER_MAX, &n) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s %s: a whole number is wanted", option, word);
    return json_object_set_new(doc, key, json_integer((json_int_t)n)) < 0
               ? pc_cli_fail(PC_EXIT_USAGE, "%s: %s: not UTF-8", option, key)
               : 0;
}

/* Checks the document as hosts do, and writes it. */
static int finish(const struct pc_cli *cli, const json_t *doc, const char *path)
{
    if (!path)
        return pc_cli_fail(PC_EXIT_USAGE, "-o FILE says where to write it");
    _free_ char *text = json_dumps(doc, JSON_INDENT(2));
    char why[300] = "", sha256[PC_SHA256_HEX + 1], kind[32];
    if (!text)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: a text that was given is not UTF-8", path);
    size_t len = strlen(text);
    struct pc_trust t = {0};
    struct pc_server_statement s = {0};
    struct pc_revocation v;
    int r = pc_document_kind(text, len, PC_DOCUMENT_MAX, kind, sizeof kind);
    if (r == 0 && strcmp(kind, "trust/1") == 0)
        r = pc_trust_parse(text, len, &t, why, sizeof why);
    else if (r == 0 && strcmp(kind, "server/1") == 0)
        r = pc_server_statement_parse(text, len, &s, why, sizeof why);
    else if (r == 0)
        r = pc_revocation_parse(text, len, &v, why, sizeof why);
    pc_trust_clear(&t);
    pc_server_statement_clear(&s);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "every host would refuse it: %s", why[0] ? why : pc_strerror(r));
    int status = pc_document_create(path, text, len);
    if (status)
        return status;
    pc_sha256_text(text, len, sha256);
    if (!cli->json) {
        _free_ char *safe = pc_safe_text(cli, path, NULL);
        printf("%s: SHA-256 %s\nTo sign it: portcullis approve %s\n", safe, sha256, safe);
        return 0;
    }
    json_t *answer = json_pack("{s:s, s:s, s:s}", "file", path, "kind", kind, "sha256", sha256);
    status = pc_put_json(answer);
    json_decref(answer);
    return status;
}

/* --- owners ------------------------------------------------------------------------------------------------------ */

/* Index of the owner of this name in the list, or its size. */
static size_t find_owner(const json_t *owners, const char *name)
{
    size_t i = 0;
    while (i < json_array_size(owners) &&
           strcmp(name, json_string_value(json_object_get(json_array_get(owners, i), "name"))) != 0)
        i++;
    return i;
}

/* "NAME=PUBFILE:CLASSES[:hardware]": adds the owner, or puts it in the place of the one of this name. */
static int set_owner(json_t *owners, const char *word)
{
    _free_ char *copy = strdup(word), *key = NULL;
    char *file = copy ? strchr(copy, '=') : NULL;
    bool hardware = false;
    if (!file)
        return pc_cli_fail(PC_EXIT_USAGE, "--owner %s: NAME=PUBFILE:CLASSES is wanted, as ann=ann.pub:BCST", word);
    *file++ = 0;
    char *classes = strrchr(file, ':');
    if (classes && strcmp(classes, ":hardware") == 0) {
        hardware = true;
        *classes = 0;
        classes = strrchr(file, ':');
    }
    if (!classes)
        return pc_cli_fail(PC_EXIT_USAGE, "--owner %s: NAME=PUBFILE:CLASSES is wanted, as ann=ann.pub:BCST", word);
    *classes++ = 0;
    int status = first_line(file, &key);
    if (status)
        return status;
    json_t *list = json_array();
    bool good = true;
    for (const char *c = classes; *c; c++)
        good = json_array_append_new(list, json_stringn(c, 1)) == 0 && good;
    json_t *owner = json_pack("{s:s, s:s, s:o}", "name", copy, "key", key, "classes", list);
    if (hardware)
        json_object_set_new(owner, "hardware", json_true());
    size_t at = find_owner(owners, copy);
    int r = at < json_array_size(owners) ? json_array_set_new(owners, at, owner) : json_array_append_new(owners, owner);
    return r < 0 || !good ? pc_cli_fail(PC_EXIT_USAGE, "--owner %s: not UTF-8", word) : 0;
}

/* "B=2,C=2" into an object. */
static int set_pairs(json_t *object, const char *option, const char *word)
{
    _free_ char *copy = strdup(word);
    int status = copy ? 0 : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    for (char *rest = copy, *pair; status == 0 && (pair = strsep(&rest, ",")) != NULL;) {
        char *number = strchr(pair, '=');
        if (!number)
            return pc_cli_fail(PC_EXIT_USAGE, "%s %s: CLASS=N,... is wanted", option, word);
        *number++ = 0;
        status = set_number(object, pair, option, number);
    }
    return status;
}

static json_t *object_of(json_t *doc, const char *key)
{
    json_t *o = json_object_get(doc, key);
    return json_is_object(o) ? o : NULL;
}

/* A verifier key: text, or a file with it. */
static int vkey(const char *word, char **out)
{
    if (!strchr(word, '+') || access(word, F_OK) == 0)
        return first_line(word, out);
    *out = strdup(word);
    return *out ? 0 : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
}

static int set_witnesses(json_t *doc, const struct pc_cli_args *args)
{
    size_t at = 0;
    int status = 0;
    _json_ json_t *list = json_array();
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_TRUST_WITNESS, &at)) != NULL;) {
        _free_ char *key = NULL;
        status = vkey(v, &key);
        if (status == 0 && json_array_append_new(list, json_string(key)) < 0)
            status = pc_cli_fail(PC_EXIT_USAGE, "--witness %s: not UTF-8", v);
    }
    if (status == 0 && json_array_size(list) > 0)
        json_object_set(doc, "witnesses", list);
    return status;
}

static int set_log(json_t *doc, const struct pc_cli_args *args)
{
    _free_ char *key = NULL;
    if (!args->value[PC_TRUST_LOG_KEY])
        return 0;
    int status = vkey(args->value[PC_TRUST_LOG_KEY], &key);
    if (status == 0 && json_object_set_new(doc, "log", json_string(key)) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "--log-key %s: not UTF-8", args->value[PC_TRUST_LOG_KEY]);
    return status;
}

/* What new and rotate have in common: every option that was given changes the document. */
static int apply(json_t *doc, const struct pc_cli_args *args)
{
    size_t at = 0;
    int status = 0;
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_TRUST_OWNER, &at)) != NULL;)
        status = set_owner(json_object_get(doc, "owners"), v);
    at = 0;
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_TRUST_THRESHOLD, &at)) != NULL;)
        status = set_pairs(object_of(doc, "thresholds"), "--threshold", v);
    at = 0;
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_TRUST_CAP, &at)) != NULL;)
        status = set_pairs(object_of(doc, "cap"), "--cap", v);
    if (status == 0)
        status = set_log(doc, args);
    if (status == 0)
        status = set_witnesses(doc, args);
    if (status == 0)
        status = set_number(doc, "witnesses_needed", "--witnesses-needed", args->value[PC_TRUST_WITNESSES_NEEDED]);
    if (status == 0)
        status = set_number(doc, "dwell", "--dwell", args->value[PC_TRUST_DWELL]);
    if (status == 0)
        status = set_number(doc, "silence", "--silence", args->value[PC_TRUST_SILENCE]);
    return status;
}

int pc_cmd_trust_new(struct pc_cli *cli, const struct pc_cli_args *args)
{
    const char *tenant = args->value[PC_TRUST_TENANT];
    if (!tenant || !args->value[PC_TRUST_OWNER] || !args->value[PC_TRUST_LOG_KEY])
        return pc_cli_fail(PC_EXIT_USAGE, "trust new: --tenant, --owner (once each) and --log-key are needed");
    _json_ json_t *doc =
        json_pack("{s:s, s:s, s:i, s:o, s:[], s:{s:i, s:i, s:i, s:i}, s:i, s:{s:i, s:i}, s:s, s:[], s:i, s:i}",
                  "portcullis", "trust/1", "tenant", tenant, "version", 1, "created", now_json(cli), "owners",
                  "thresholds", "B", 2, "C", 2, "S", 1, "T", 2, "dwell", 600, "cap", "C", 10, "S", 10, "log", "",
                  "witnesses", "witnesses_needed", 0, "silence", PC_SILENCE_DEFAULT);
    if (!doc)
        return pc_cli_fail(PC_EXIT_USAGE, "--tenant %s: not a name", tenant);
    int status = apply(doc, args);
    return status ? status : finish(cli, doc, args->value[PC_TRUST_FILE]);
}

/* The document of a file, parsed and known to be a trust file. */
static int load_trust(const char *path, json_t **out)
{
    _free_ char *text = NULL;
    size_t len;
    struct pc_trust t;
    char why[300];
    int r = pc_cli_file_read(path, PC_TRUST_DOCUMENT_MAX, &text, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", path, pc_strerror(r));
    r = pc_trust_parse(text, len, &t, why, sizeof why);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: not a trust file: %s", path, why[0] ? why : pc_strerror(r));
    pc_trust_clear(&t);
    r = pc_json_parse(text, len, PC_TRUST_DOCUMENT_MAX, out, (struct pc_why){0});
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(r)) : 0;
}

int pc_cmd_trust_rotate(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _json_ json_t *doc = NULL;
    size_t at = 0;
    int status = load_trust(args->word[0], &doc);
    if (status)
        return status;
    json_object_set_new(doc, "version", json_integer(json_integer_value(json_object_get(doc, "version")) + 1));
    json_object_set_new(doc, "created", now_json(cli));
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_TRUST_REMOVE, &at)) != NULL;) {
        json_t *owners = json_object_get(doc, "owners");
        size_t i = find_owner(owners, v);
        if (i == json_array_size(owners))
            return pc_cli_fail(PC_EXIT_USAGE, "--remove %s: no such owner", v);
        json_array_remove(owners, i);
    }
    status = apply(doc, args);
    return status ? status : finish(cli, doc, args->value[PC_TRUST_FILE]);
}

/* --- revocation and statement ------------------------------------------------------------------------------------ */

/* The trust file that was given, or the folder's; to be cleared. */
static int the_trust(const struct pc_cli *cli, const char *given, struct pc_trust *out)
{
    struct pc_owner_dir dir = {0};
    _free_ char *text = NULL;
    size_t len;
    char why[300];
    if (given) {
        int r = pc_cli_file_read(given, PC_TRUST_DOCUMENT_MAX, &text, &len);
        r = r < 0 ? r : pc_trust_parse(text, len, out, why, sizeof why);
        return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: not a trust file: %s", given, pc_strerror(r)) : 0;
    }
    int status = pc_owner_dir_open(cli, &dir);
    if (status == 0)
        status = pc_owner_trust(&dir, out);
    pc_owner_dir_close(&dir);
    return status;
}

int pc_cmd_trust_revoke(struct pc_cli *cli, const struct pc_cli_args *args)
{
    struct pc_trust t;
    const char *reason = args->value[PC_REVOKE_REASON];
    int status = the_trust(cli, args->value[PC_REVOKE_TRUST], &t);
    if (status)
        return status;
    _json_ json_t *doc = NULL;
    for (uint32_t i = 0; i < t.owners; i++)
        if (strcmp(t.owner[i].name, args->word[0]) == 0)
            doc = json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "portcullis", "revoke/1", "tenant", t.tenant, "owner",
                            t.owner[i].name, "key", t.owner[i].fingerprint, "created", now_json(cli), "reason",
                            reason ? reason : "");
    pc_trust_clear(&t);
    if (!doc)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: no such owner in the trust file, or a reason that is not UTF-8",
                           args->word[0]);
    return finish(cli, doc, args->value[PC_REVOKE_FILE]);
}

static int statement_tenant(const struct pc_cli *cli, const char *given, json_t *doc)
{
    struct pc_trust t;
    if (given)
        return json_object_set_new(doc, "tenant", json_string(given)) < 0
                   ? pc_cli_fail(PC_EXIT_USAGE, "--tenant %s: not a name", given)
                   : 0;
    int status = the_trust(cli, NULL, &t);
    if (status)
        return status;
    json_object_set_new(doc, "tenant", json_string(t.tenant));
    pc_trust_clear(&t);
    return 0;
}

int pc_cmd_trust_statement(struct pc_cli *cli, const struct pc_cli_args *args)
{
    const char *url = args->value[PC_STATEMENT_URL], *link = args->value[PC_STATEMENT_LINK],
               *ca = args->value[PC_STATEMENT_CA];
    const char *version = args->value[PC_STATEMENT_VERSION];
    _free_ char *pem = NULL;
    size_t len;
    if (!url || !link || !ca || !version)
        return pc_cli_fail(PC_EXIT_USAGE, "trust statement: --url, --link, --ca and --version are needed");
    int r = pc_cli_file_read(ca, PC_DOCUMENT_SMALL_MAX, &pem, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", ca, pc_strerror(r));
    _json_ json_t *doc = json_pack("{s:s}", "portcullis", "server/1");
    int status = statement_tenant(cli, args->value[PC_STATEMENT_TENANT], doc);
    if (status == 0)
        status = set_number(doc, "version", "--version", version);
    if (status)
        return status;
    json_object_set_new(doc, "url", json_string(url));
    json_object_set_new(doc, "link", json_string(link));
    json_object_set_new(doc, "ca", json_string(pem));
    json_object_set_new(doc, "created", now_json(cli));
    return finish(cli, doc, args->value[PC_STATEMENT_FILE]);
}
