/*
 * Owns the role `enroll`: once in a host's life, by hand. Takes the trust file and the CA from the owner's hands and
 * pins them, makes the host's keys, and only then speaks to the server, whose answer decides nothing but where to
 * connect.
 */
#include "host/options.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "host/keys.h"
#include "host/memory.h"
#include "host/web.h"
#include "trust/report.h"
#include "trust/trustfile.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

struct enrolment {
    const struct pc_host_options *o;
    struct pc_settings settings;
    struct pc_fleet_dir dir;
    struct pc_memory_file *memory;
    struct pc_identity link_user;
    char *trust_text, *ca, *link_cert;
    size_t trust_len, ca_len;
    struct pc_trust trust;
    uint8_t seed[32], key[32], link_seed[32], link_key[32];
    char ref[PC_HOST_REF_SIZE];
};

static int fail(const char *what, int e)
{
    fprintf(stderr, "portcullisd: %s: %s\n", what, pc_strerror(e));
    return e;
}

/* A file that the owner named: any path, symlinks too. */
static int read_named(const char *path, size_t max, char **out, size_t *len)
{
    int e = pc_fleet_read_at(AT_FDCWD, path, max, out, len);
    return e < 0 ? fail(path, e) : 0;
}

static int check_words(const struct pc_host_options *o)
{
    const struct {
        const char *name, *value;
    } needed[] = {
        {"--server", o->server}, {"--ca", o->ca}, {"--trust", o->trust}, {"--name", o->name}, {"--token", o->token}};
    for (size_t i = 0; i < PC_ARRAY_SIZE(needed); i++)
        if (!needed[i].value) {
            fprintf(stderr, "portcullisd: enroll: %s is missing; see `portcullisd enroll --help`\n", needed[i].name);
            return PC_E_SYNTAX;
        }
    if (!pc_name_valid(o->name)) {
        fputs("portcullisd: enroll: --name takes 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning and ending with a "
              "letter or digit\n",
              stderr);
        return PC_E_SYNTAX;
    }
    if (strncmp(o->server, "https://", 8) != 0 || strlen(o->server) > 400 ||
        strcspn(o->server + 8, "/ \t@?#") != strlen(o->server + 8)) {
        fputs("portcullisd: enroll: --server takes https://HOST:PORT\n", stderr);
        return PC_E_SYNTAX;
    }
    return 0;
}

/*
 * Signatures beside the trust file, if the owner gave some, must reach its own quorum: a check of the owner's hands,
 * not of trust.
 */
static int check_signatures(const struct enrolment *e)
{
    struct pc_envelope envelope = {0};
    struct pc_approvers who;
    struct pc_revoked none = {0};
    int r = pc_envelope_make(e->trust_text, e->trust_len, &envelope);
    for (uint32_t i = 0; r == 0 && i < e->o->trust_sigs; i++) {
        _free_ char *text = NULL;
        size_t len;
        r = read_named(e->o->trust_sig[i], PC_SIGNATURE_TEXT_MAX, &text, &len);
        if (r == 0)
            r = pc_envelope_add(&envelope, text, len);
    }
    if (r == 0 && e->o->trust_sigs) {
        r = pc_trust_approvers(&e->trust, &none, PC_CLASS_T, "trust@portcullis", &envelope, &who);
        if (r == 0 && who.n < e->trust.threshold[PC_CLASS_T])
            r = PC_E_REFUSED;
        if (r < 0)
            fprintf(stderr, "portcullisd: the signatures do not make the trust file's own quorum: %s\n",
                    pc_strerror(r));
    }
    pc_envelope_clear(&envelope);
    return r;
}

static int read_pinned(struct enrolment *e)
{
    char why[256] = "", fingerprint[100];
    int r = read_named(e->o->trust, PC_TRUST_DOCUMENT_MAX, &e->trust_text, &e->trust_len);
    if (r == 0)
        r = read_named(e->o->ca, 64u << 10, &e->ca, &e->ca_len);
    if (r < 0)
        return r;
    r = pc_trust_parse(e->trust_text, e->trust_len, &e->trust, why, sizeof why);
    if (r < 0) {
        fprintf(stderr, "portcullisd: %s: %s\n", e->o->trust, why[0] ? why : pc_strerror(r));
        return r;
    }
    r = check_signatures(e);
    if (r < 0)
        return r;
    if (pc_key_fingerprint(e->ca, fingerprint) < 0)
        return fail(e->o->ca, PC_E_SYNTAX);
    printf("Compare with what the owners told you:\n  trust file  SHA-256 %s\n              tenant %s, version %llu, "
           "%u owners, %u must approve acts\n"
           "  CA          SHA-256 %s\n",
           e->trust.sha256, e->trust.tenant, (unsigned long long)e->trust.version, e->trust.owners,
           e->trust.threshold[PC_CLASS_C], fingerprint);
    fflush(stdout);
    return 0;
}

/* The identity stays through every enrolment: it is what this host is. */
static int make_identity(struct enrolment *e)
{
    _free_ char *old = NULL;
    size_t len;
    int r = pc_fleet_read(e->dir.fd, PC_FILE_IDENTITY, 64, &old, &len);
    if (r == 0 && len != 32)
        return fail(PC_FILE_IDENTITY, PC_E_CORRUPT);
    if (r == 0) {
        memcpy(e->seed, old, 32);
        explicit_bzero(old, len);
        r = pc_key_of_seed(e->seed, e->key);
    } else if (r == -ENOENT) {
        r = pc_key_make(e->seed, e->key);
        if (r == 0)
            r = pc_fleet_replace(e->dir.fd, PC_FILE_IDENTITY, e->seed, 32, (struct pc_fleet_owner){0, 0, 0600});
    }
    if (r < 0)
        return fail(PC_FILE_IDENTITY, r);
    struct pc_host_ref me;
    snprintf(me.name, sizeof me.name, "%s", e->o->name);
    pc_host_id(e->key, me.id);
    pc_host_ref_format(&me, e->ref);
    return 0;
}

/*
 * The link key stays, too: it is what the server knows the host's connection by. One whose enrolment was interrupted,
 * or refused, or whose answer was lost, asks again with the same keys.
 */
static int make_link_key(struct enrolment *e)
{
    _free_ char *old = NULL;
    _free_ char *key = NULL;
    size_t len = 0;
    int r = pc_fleet_read(e->dir.fd, PC_FILE_LINK_KEY, 4096, &old, &len);
    r = r == 0 ? pc_key_of_pem(old, e->link_seed, e->link_key) : r;
    if (r < 0) /* none that anybody could have used */
        r = pc_key_make(e->link_seed, e->link_key);
    if (r == 0)
        r = pc_key_link_files(e->link_seed, e->o->name, &key, &e->link_cert);
    if (r == 0)
        r = pc_fleet_replace(e->dir.fd, PC_FILE_LINK_KEY, key, strlen(key),
                             (struct pc_fleet_owner){e->link_user.uid, e->link_user.gid, 0400});
    if (old)
        explicit_bzero(old, len);
    if (key)
        explicit_bzero(key, strlen(key));
    return r < 0 ? fail(e->dir.path, r) : 0;
}

/* Only once the server has answered: until then the enrolment of before goes on to hold. */
static int write_link_files(const struct enrolment *e)
{
    int r = pc_fleet_replace(e->dir.fd, PC_FILE_LINK_CERT, e->link_cert, strlen(e->link_cert),
                             (struct pc_fleet_owner){0, 0, 0644});
    if (r == 0)
        r = pc_fleet_replace(e->dir.fd, PC_FILE_CA, e->ca, e->ca_len, (struct pc_fleet_owner){0, 0, 0644});
    return r < 0 ? fail(e->dir.path, r) : 0;
}

/* {"token", "statement"}: malloc'd text. */
static int make_request(const struct enrolment *e, char **out)
{
    struct pc_enroll s = {.created = (int64_t)(pc_real_ns() / PC_NS_PER_S)};
    snprintf(s.tenant, sizeof s.tenant, "%s", e->trust.tenant);
    snprintf(s.host, sizeof s.host, "%s", e->o->name);
    memcpy(s.link_key, e->link_key, sizeof s.link_key);
    pc_key_sha256(e->o->token, strlen(e->o->token), s.token_sha256);
    memcpy(s.trust_sha256, e->trust.sha256, sizeof s.trust_sha256);
    _free_ char *document = NULL;
    _free_ char *envelope = NULL;
    size_t len, envelope_len;
    int r = pc_enroll_format(&s, &document, &len);
    if (r == 0)
        r = pc_host_envelope_seal(document, len, "enroll", e->seed, &envelope, &envelope_len);
    if (r < 0)
        return r;
    json_t *o = json_pack("{s:s, s:o}", "token", e->o->token, "statement", json_loadb(envelope, envelope_len, 0, NULL));
    *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return *out ? 0 : -ENOMEM;
}

static int ask_server(const struct enrolment *e, char **answer, size_t *len)
{
    char ca[4200], url[500], why[256] = "";
    _free_ char *body = NULL;
    long status = 0;
    snprintf(ca, sizeof ca, "%s/" PC_FILE_CA_GIVEN, e->dir.path);
    snprintf(url, sizeof url, "%s/v1/enroll", e->o->server);
    struct pc_web w = {.ca = ca,
                       .proxy = strcmp(e->settings.proxy, "none") == 0 ? NULL : e->settings.proxy,
                       .connect_s = 20,
                       .total_s = 60};
    int r = make_request(e, &body);
    if (r == 0)
        r = pc_fleet_replace(e->dir.fd, PC_FILE_CA_GIVEN, e->ca, e->ca_len, (struct pc_fleet_owner){0, 0, 0600});
    if (r < 0)
        return fail("enrolment", r);
    r = pc_web_ask(&w, url, body, 64u << 10, &status, answer, len, why, sizeof why);
    (void)unlinkat(e->dir.fd, PC_FILE_CA_GIVEN, 0);
    explicit_bzero(body, strlen(body));
    if (r < 0)
        fprintf(stderr, "portcullisd: %s: %s%s\n", url,
                r == PC_E_UNVERIFIED ? "the server's certificate is not of the given CA: " : "",
                why[0] ? why : pc_strerror(r));
    else if (status != 200)
        fprintf(stderr, "portcullisd: the server refused the enrolment (%ld): %.300s\n", status, *answer);
    return r < 0 ? r : status == 200 ? 0 : PC_E_REFUSED;
}

static int read_answer(const struct enrolment *e, const char *answer, size_t len, struct pc_link_facts *f)
{
    json_t *o = json_loadb(answer, len, JSON_REJECT_DUPLICATES, NULL);
    const char *host = json_string_value(json_object_get(o, "host")),
               *link = json_string_value(json_object_get(o, "link"));
    json_int_t beat = json_integer_value(json_object_get(o, "heartbeat"));
    char name[256];
    uint16_t port;
    bool good = host && strcmp(host, e->ref) == 0 && link && pc_split_checked(link, name, sizeof name, &port) == 0 &&
                strlen(link) < sizeof f->address;
    if (good) {
        *f = (struct pc_link_facts){.heartbeat = beat >= 1 && beat <= 3600 ? (uint32_t)beat : 30};
        snprintf(f->host, sizeof f->host, "%s", e->ref);
        snprintf(f->url, sizeof f->url, "%s", e->o->server);
        snprintf(f->address, sizeof f->address, "%s", link);
    } else {
        fputs("portcullisd: the server's answer is not one to an enrolment of this host\n", stderr);
    }
    json_decref(o);
    return good ? 0 : PC_E_SYNTAX;
}

/*
 * What the runner will believe, and last of all the file that says "enrolled". Another log begins another history: its
 * old end would never fit.
 */
static int pin(struct enrolment *e, const struct pc_link_facts *f)
{
    char why[256] = "";
    _free_ char *old = NULL;
    size_t len;
    char log[PC_NOTE_KEY_TEXT_MAX];
    int r = pc_vkey_format(&e->trust.log, log, sizeof log);
    if (r < 0)
        return fail(e->o->trust, r);
    r = pc_memory_open(e->dir.path, &e->memory, why, sizeof why);
    if (r < 0) {
        fprintf(stderr, "portcullisd: %s\n", why);
        return r;
    }
    bool same_log = pc_memory_get(e->memory, "log", &old, &len) == 0 && strcmp(old, log) == 0;
    r = pc_memory_begin(e->memory);
    if (r == 0) {
        r = pc_memory_put(e->memory, "trust", e->trust_text, e->trust_len);
        if (r == 0)
            r = pc_memory_put(e->memory, "name", e->o->name, strlen(e->o->name));
        if (r == 0)
            r = pc_memory_put(e->memory, "log", log, strlen(log));
        if (r == 0 && !same_log)
            r = pc_memory_forget(e->memory);
        r = pc_memory_end(e->memory, r);
    }
    if (r == 0)
        r = pc_link_facts_write(e->dir.fd, f, e->link_user.gid);
    return r < 0 ? fail(e->dir.path, r) : 0;
}

static int enroll(struct enrolment *e)
{
    _free_ char *answer = NULL;
    size_t len;
    struct pc_link_facts f;
    bool fallback;
    int r = read_pinned(e);
    if (r < 0)
        return r;
    r = pc_identity_link(&e->settings, &e->link_user, &fallback);
    if (r < 0)
        return fail(e->settings.link_user, r);
    if (fallback)
        fprintf(stderr,
                "portcullisd: user %s does not exist: the connection will be held by nobody; see portcullis.conf(5), "
                "link-user\n",
                e->settings.link_user);
    if ((r = make_identity(e)) < 0 || (r = make_link_key(e)) < 0 || (r = ask_server(e, &answer, &len)) < 0 ||
        (r = read_answer(e, answer, len, &f)) < 0 || (r = write_link_files(e)) < 0 || (r = pin(e, &f)) < 0)
        return r;
    printf("host: %s\nEnrolled. Start it with `portcullisd host`.\n", e->ref);
    return 0;
}

static void clear(struct enrolment *e)
{
    pc_trust_clear(&e->trust);
    pc_memory_close(e->memory);
    pc_fleet_close(&e->dir);
    pc_settings_free(&e->settings);
    explicit_bzero(e->seed, sizeof e->seed);
    explicit_bzero(e->link_seed, sizeof e->link_seed);
    free(e->trust_text);
    free(e->ca);
    free(e->link_cert);
    free(e);
}

/* A runner that works here holds in its memory what we are about to change. */
static int take_lock(const struct enrolment *e)
{
    int r = pc_fleet_lock(e->dir.fd);
    if (r == PC_E_STATE)
        fprintf(stderr, "portcullisd: %s: a runner works here: stop it first\n", e->dir.path);
    return r == 0 || r == PC_E_STATE ? r : fail(e->dir.path, r);
}

int pc_role_enroll(const struct pc_host_options *o)
{
    if (check_words(o) < 0)
        return PC_EXIT_USAGE;
    struct enrolment *e = calloc(1, sizeof *e);
    if (!e)
        return 1;
    e->o = o;
    e->dir.fd = -1;
    int status = pc_host_settings(o, &e->settings);
    int r = status == 0 ? pc_host_folder(o, true, &e->dir) : PC_E_SYNTAX;
    if (r == 0)
        r = take_lock(e);
    if (r == 0 && pc_fleet_has(e->dir.fd, PC_FILE_LINK) && !o->again) {
        fprintf(stderr,
                "portcullisd: %s: this host is enrolled already; --again enrolls it anew, with the same keys\n",
                e->dir.path);
        r = PC_E_STATE;
    }
    if (r == 0)
        r = enroll(e);
    clear(e);
    return status ? status : r < 0 ? 1 : 0;
}
