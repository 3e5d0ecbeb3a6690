/*
 * Owns one conversation with the server for a command (fleet.h): the pieces from the owner's folder, the questions, and
 * the words for everything that can go wrong on the way. Must not believe an answer: those who ask look for signatures.
 */
#include "cli/net/fleet.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/envelope.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define TOKEN_MAX 512
#define ERROR_MAX (64u << 10)

static int no_memory(void)
{
    return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Whoever reads the token may submit: it is for the owner's eyes. *out NULL when no token is configured. */
static int read_token(const char *path, char **out)
{
    struct stat st;
    size_t len = 0;
    _free_ char *text = NULL;
    if (!path)
        return 0;
    int r = stat(path, &st) < 0 ? -errno : 0;
    if (r == 0 && (st.st_mode & 077))
        return pc_cli_fail(PC_EXIT_FAILED,
                           "%s: others may read this token: chmod 600 it, and have it replaced if they did", path);
    if (r == 0)
        r = pc_cli_file_read(path, TOKEN_MAX, &text, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: the token cannot be read: %s", path, pc_strerror(r));
    while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = 0;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return pc_cli_fail(PC_EXIT_FAILED, "%s: not a token of `portcullis-server api-token`", path);
    *out = TAKE_PTR(text);
    return 0;
}

static int connect_to(struct pc_fleet *f)
{
    _free_ char *token = NULL;
    const struct pc_owner_dir *d = &f->dir;
    if (!d->url || !d->ca)
        return pc_cli_fail(PC_EXIT_USAGE,
                           "no server: say url and ca in section [server] of %s/owner.conf, or --server URL --ca FILE",
                           d->path);
    if (access(d->ca, R_OK) < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: the server's CA cannot be read: %s", d->ca, pc_strerror(-errno));
    int status = read_token(d->token, &token);
    if (status)
        return status;
    int r = pc_https_new(&(struct pc_https_settings){.url = d->url, .ca = d->ca, .token = token}, &f->http);
    if (token)
        explicit_bzero(token, strlen(token));
    if (r == PC_E_SYNTAX)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: not https://HOST:PORT", d->url);
    return r < 0 ? no_memory() : 0;
}

int pc_fleet_begin(const struct pc_cli *cli, struct pc_fleet *out)
{
    *out = (struct pc_fleet){.cli = cli};
    int status = pc_owner_dir_open(cli, &out->dir);
    if (status == 0)
        status = pc_pins_load(&out->dir, &out->pins);
    return status ? status : connect_to(out);
}

void pc_fleet_end(struct pc_fleet *f)
{
    pc_https_free(f->http);
    f->http = NULL;
    pc_pins_clear(&f->pins);
    pc_owner_dir_close(&f->dir);
    if (f->has_trust)
        pc_trust_clear(&f->trust);
    f->has_trust = false;
}

int pc_fleet_trust(struct pc_fleet *f)
{
    int status = f->has_trust ? 0 : pc_owner_trust(&f->dir, &f->trust);
    f->has_trust = status == 0;
    return status;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* No answer at all. */
static int unanswered(const struct pc_fleet *f, int r)
{
    const char *url = pc_https_url(f->http), *why = pc_https_why(f->http);
    if (r == -ENOMEM)
        return no_memory();
    if (r == PC_E_KEY)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "%s: this is not the server whose CA you pinned (%s): %s. Nothing was sent to it.", url,
                           f->dir.ca, why);
    if (r == PC_E_LIMIT)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: refused an answer without end: %s", url, why);
    if (r == -ENOENT)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: no certificate of a CA in it: %s", f->dir.ca, why);
    return pc_cli_fail(PC_EXIT_NO_GUARD, "%s: %s", url, why);
}

/* An answer other than 200. The words are the server's: they are quoted, not believed. */
static int unwilling(const struct pc_fleet *f, const char *path, const struct pc_https_answer *a)
{
    json_t *j = NULL;
    const char *word = NULL, *text = NULL;
    enum pc_exit status = a->status == 404 || a->status >= 500 ? PC_EXIT_FAILED : PC_EXIT_REFUSED;
    if (a->body.len <= ERROR_MAX && pc_answer_parse(a->body.data ? a->body.data : "", a->body.len, &j) == 0) {
        word = pc_text_of(j, "error");
        text = pc_text_of(j, "text");
    }
    _free_ char *safe_word = pc_safe_text(f->cli, word ? word : "", NULL),
                *safe_text = pc_safe_text(f->cli, text ? text : "", NULL);
    json_decref(j);
    if (a->status == 401)
        return pc_cli_fail(status,
                           "%s: the server does not take your token: get one with `portcullis-server api-token`, name "
                           "its file in owner.conf",
                           f->dir.token ? f->dir.token : "no token");
    if (*safe_text || *safe_word)
        return pc_cli_fail(status, "the server answers %ld to %s: %.64s: %.400s", a->status, path, safe_word,
                           safe_text);
    return pc_cli_fail(status, "the server answers %ld to %s and does not say why", a->status, path);
}

static int ask(struct pc_fleet *f, const char *path, const char *type, const void *body, size_t len, size_t max,
               struct pc_https_answer *out)
{
    int r = pc_https_ask(f->http, path, type, body, len, max, out);
    return r < 0 ? unanswered(f, r) : 0;
}

static int take_json(const struct pc_fleet *f, const char *path, struct pc_https_answer *a, json_t **out)
{
    int status = 0, r = 0;
    if (a->status != 200)
        status = unwilling(f, path, a);
    else
        r = pc_answer_parse(a->body.data ? a->body.data : "", a->body.len, out);
    pc_buf_free(&a->body);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s%s: the answer is not one of a Portcullis server: %s",
                               pc_https_url(f->http), path, pc_strerror(r))
                 : status;
}

int pc_fleet_get(struct pc_fleet *f, json_t **out, const char *fmt, ...)
{
    struct pc_https_answer a;
    char *made = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&made, fmt, ap);
    va_end(ap);
    if (n < 0)
        return no_memory();
    _free_ char *path = made;
    int status = ask(f, path, NULL, NULL, 0, PC_ANSWER_MAX, &a);
    return status ? status : take_json(f, path, &a, out);
}

int pc_fleet_post(struct pc_fleet *f, const char *path, const void *body, size_t len, json_t **out)
{
    struct pc_https_answer a;
    int status = ask(f, path, NULL, body, len, PC_ANSWER_MAX, &a);
    return status ? status : take_json(f, path, &a, out);
}

int pc_fleet_post_json(struct pc_fleet *f, const char *path, json_t *body, json_t **out)
{
    _free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text ? pc_fleet_post(f, path, text, strlen(text), out) : no_memory();
}

int pc_fleet_bytes(struct pc_fleet *f, const char *path, size_t max, struct pc_buf *out, bool *found)
{
    struct pc_https_answer a;
    int status = ask(f, path, NULL, NULL, 0, max > ERROR_MAX ? max : ERROR_MAX, &a);
    if (status)
        return status;
    bool missing = found && a.status == 404;
    if (a.status != 200 && !missing)
        status = unwilling(f, path, &a);
    else if (a.status == 200 && a.body.len > max)
        status = pc_cli_fail(PC_EXIT_FAILED, "%s%s: %zu bytes: no such thing has more than %zu", pc_https_url(f->http),
                             path, a.body.len, max);
    if (found)
        *found = !missing;
    if (missing || status) {
        pc_buf_free(&a.body);
        pc_buf_init(&a.body, max);
    }
    if (status == 0)
        *out = a.body;
    return status;
}

/* --- people ------------------------------------------------------------------------------------------------------- */

int pc_fleet_put_json(const json_t *value)
{
    if (json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII) < 0 || puts("") < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "cannot print the result");
    return PC_EXIT_OK;
}

bool pc_fleet_confirm(const char *question)
{
    char line[16];
    if (!isatty(STDIN_FILENO))
        return false;
    fflush(stdout);
    fprintf(stderr, "%s [y/N] ", question);
    if (!fgets(line, sizeof line, stdin))
        return false;
    return strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0;
}

/* --- who a host is ------------------------------------------------------------------------------------------------ */

bool pc_fleet_host_ref(const json_t *host, struct pc_host_ref *out)
{
    const char *name = pc_text_of(host, "name"), *id = pc_text_of(host, "id"), *key = pc_text_of(host, "key");
    struct pc_host_ref ref;
    uint8_t raw[32];
    char computed[PC_HOST_ID_LEN + 1];
    if (!name || !id || !key || !pc_name_valid(name) || !pc_hex_valid(id, PC_HOST_ID_LEN) ||
        pc_base64_decode(key, strlen(key), 0, raw, sizeof raw) != sizeof raw)
        return false;
    pc_host_id(raw, computed);
    if (strcmp(computed, id) != 0)
        return false;
    snprintf(ref.name, sizeof ref.name, "%s", name);
    snprintf(ref.id, sizeof ref.id, "%s", id);
    *out = ref;
    return true;
}

enum pc_pin pc_fleet_pin(const struct pc_fleet *f, const struct pc_host_ref *host)
{
    const struct pc_host_ref *pin = pc_pins_find(&f->pins, host->name);
    return !pin ? PC_PIN_NEW : strcmp(pin->id, host->id) == 0 ? PC_PIN_SAME : PC_PIN_CHANGED;
}

int pc_fleet_other_identity(const struct pc_fleet *f, const struct pc_host_ref *host)
{
    const struct pc_host_ref *pin = pc_pins_find(&f->pins, host->name);
    return pc_cli_fail(PC_EXIT_FAILED,
                       "%s HAS ANOTHER IDENTITY THAN YOU PINNED: the server shows %s#%s, you pinned %s#%s. Either "
                       "somebody stands in for it, or it was "
                       "enrolled again: read its identity on the host itself (`portcullisd enroll` prints it), then "
                       "correct %s/hosts by hand.",
                       host->name, host->name, host->id, host->name, pin ? pin->id : "?", f->dir.path);
}
