/*
 * `portcullis sig verify`: is FILE a signature by PUB over what comes on standard input, made for NAMESPACE? The same
 * question, answer and exit status as `ssh-keygen -Y verify`, so that what a host will say can be tried anywhere. Asks
 * no guard. Owns the reading of the files and the words; src/trust decides.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "trust/sshsig.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>

#define DATA_MAX_DEFAULT (1ULL << 40)
#define KEY_FILE_MAX 65536
#define CHUNK 65536

enum option { OPTION_NAMESPACE, OPTION_KEY, OPTION_SIG, OPTION_MAX_DATA };

struct question {
    const char *ns, *key_path, *sig_path;
    uint64_t data_max;
};

struct answer {
    struct pc_sshkey *key;
    struct pc_sshsig *sig;
    struct pc_sshsig_info info;
    int error;
    char why[512];
};

/* --- why not ----------------------------------------------------------------------------------------------------- */

static const struct {
    int error;
    const char *name, *words; /* in JSON, and in the style of ssh-keygen for people */
} reasons[] = {
    {PC_E_SYNTAX, "syntax", "Couldn't parse signature"},
    {PC_E_TRAILING, "trailing", "Signature contains trailing data"},
    {PC_E_LIMIT, "limit", "Signature file is too long"},
    {PC_E_UNSUPPORTED, "unsupported", "Couldn't verify signature: unsupported version or algorithm"},
    {PC_E_NAMESPACE, "namespace", "Couldn't verify signature: namespace does not match"},
    {PC_E_KEY, "key", "Couldn't verify signature: it was made with another key"},
    {PC_E_SIGNATURE, "signature", "Signature verification failed: incorrect signature"},
};

static const char *reason_name(int error)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(reasons); i++)
        if (reasons[i].error == error)
            return reasons[i].name;
    return "error";
}

static const char *reason_words(int error)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(reasons); i++)
        if (reasons[i].error == error)
            return reasons[i].words;
    return pc_strerror(error);
}

static int not_good(struct answer *a, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int not_good(struct answer *a, int error, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->why, sizeof a->why, fmt, ap);
    va_end(ap);
    return a->error = error;
}

/* --- the parts of the question ----------------------------------------------------------------------------------- */

#define TOO_WEAK "the key is too weak: RSA needs 3072 bits, and an exponent that is odd and not 1"

static int bad_key(struct answer *a, int error, const char *path, const char *line, size_t len)
{
    if (error == PC_E_KEY)
        return not_good(a, error, "%s: " TOO_WEAK, path);
    if (error == PC_E_UNSUPPORTED)
        return not_good(a, error, "%s: key type %.*s is not supported: ed25519, ecdsa, rsa and their security keys are",
                        path, (int)strcspn(line, " \t"), line);
    return not_good(a, error, "%s: no public key in %zu bytes of text: a .pub file of ssh-keygen is wanted", path, len);
}

/* The first line that is neither empty nor a comment, as ssh reads a .pub file. */
static int read_key(const char *path, struct answer *a)
{
    char text[KEY_FILE_MAX];
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    if (n < 0)
        return not_good(a, (int)n, "%s: %s", path, pc_strerror((int)n));
    const char *line = text, *end = text + n;
    while (line < end && (*line == '\n' || *line == '#')) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        line = next ? next + 1 : end;
    }
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    int r = pc_sshkey_parse_line(line, (size_t)((stop ? stop : end) - line), &a->key);
    return r < 0 ? bad_key(a, r, path, line, (size_t)n) : 0;
}

static int read_signature(const char *path, struct answer *a)
{
    char text[PC_SSHSIG_ARMOUR_MAX + 2], algorithm[PC_SSHSIG_ALGORITHM_SIZE];
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    if (n < 0)
        return not_good(a, (int)n, "Couldn't read signature file: %s: %s", path, pc_strerror((int)n));
    int r = pc_sshsig_parse(text, (size_t)n, &a->sig);
    if (r == 0)
        return 0;
    if (r == PC_E_KEY)
        return not_good(a, r, "%s: " TOO_WEAK, path);
    if (r == PC_E_UNSUPPORTED && pc_sshsig_algorithm(text, (size_t)n, algorithm) == 0)
        return not_good(a, r, "%s: %s (its key type is %s)", path, reason_words(r), algorithm);
    return not_good(a, r, "%s: %s", path, reason_words(r));
}

/* Hashes standard input, of any size up to the bound, in pieces. */
static int hash_data(EVP_MD_CTX *ctx, uint64_t max, struct answer *a)
{
    char chunk[CHUNK];
    for (uint64_t total = 0;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return not_good(a, -errno, "standard input: %s", strerror(errno));
        if (n == 0)
            return 0;
        total += (uint64_t)n;
        if (total > max)
            return not_good(a, PC_E_LIMIT, "standard input: more than %llu bytes: allow more with --max-data",
                            (unsigned long long)max);
        if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
            return not_good(a, PC_E_STATE, "libcrypto cannot compute %s", pc_sshsig_hash(a->sig));
    }
}

static int verify_data(const struct question *q, struct answer *a)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int r = 0;
    if (!ctx || EVP_DigestInit_ex2(ctx, EVP_get_digestbyname(pc_sshsig_hash(a->sig)), NULL) != 1)
        r = not_good(a, PC_E_STATE, "libcrypto cannot compute %s", pc_sshsig_hash(a->sig));
    if (r == 0)
        r = hash_data(ctx, q->data_max, a);
    if (r == 0 && EVP_DigestFinal_ex(ctx, digest, &len) != 1)
        r = not_good(a, PC_E_STATE, "libcrypto cannot compute %s", pc_sshsig_hash(a->sig));
    EVP_MD_CTX_free(ctx);
    if (r < 0)
        return r;
    r = pc_sshsig_verify_digest(a->sig, digest, len, q->ns, a->key, PC_SSHSIG_UNTOUCHED, &a->info);
    return r < 0 ? not_good(a, r, "%s", reason_words(r)) : 0;
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static void put_good(const struct pc_cli *cli, const struct question *q, const struct answer *a,
                     const char *fingerprint)
{
    fputs("Good \"", stdout);
    pc_put(cli, PC_PLAIN, q->ns);
    printf("\" signature with %s key %s\n", pc_sshkey_label(a->key), fingerprint);
    if (a->info.hardware && !a->info.user_present)
        fputs("portcullis: note: nobody touched the security key for it; hosts do not count such a signature\n",
              stderr);
}

static int put_json(const struct question *q, const struct answer *a, const char *fingerprint)
{
    const struct pc_sshsig_info *i = &a->info;
    json_t *out;
    if (a->error)
        out = json_pack("{s:b, s:s, s:s, s:s}", "good", 0, "namespace", q->ns, "error", reason_name(a->error),
                        "message", a->why);
    else
        out = json_pack("{s:b, s:s, s:{s:s, s:s, s:b}, s:s, s:b, s:b, s:b, s:I}", "good", 1, "namespace", q->ns, "key",
                        "type", pc_sshkey_type(a->key), "fingerprint", fingerprint, "hardware", i->hardware, "hash",
                        i->hash, "webauthn", i->webauthn, "user_present", i->user_present, "user_verified",
                        i->user_verified, "counter", (json_int_t)i->sk_counter);
    int status = out ? pc_put_json(out) : pc_cli_fail(PC_EXIT_FAILED, "cannot print the result: a name is not UTF-8");
    json_decref(out);
    return status;
}

static int put(const struct pc_cli *cli, const struct question *q, struct answer *a)
{
    char fingerprint[PC_SSHKEY_FINGERPRINT_SIZE] = "";
    if (!a->error && pc_sshkey_fingerprint(a->key, fingerprint) < 0)
        not_good(a, PC_E_STATE, "libcrypto cannot compute sha256");
    if (a->error)
        pc_cli_fail(PC_EXIT_BAD_SIGNATURE, "%s", a->why);
    int status = PC_EXIT_OK;
    if (cli->json)
        status = put_json(q, a, fingerprint);
    else if (a->error)
        puts("Could not verify signature.");
    else
        put_good(cli, q, a, fingerprint);
    return a->error ? PC_EXIT_BAD_SIGNATURE : status;
}

static int ask_what(const struct pc_cli_args *args, struct question *q)
{
    static const struct {
        enum option option;
        const char *name;
    } needed[] = {{OPTION_NAMESPACE, "--namespace"}, {OPTION_KEY, "--key"}, {OPTION_SIG, "--sig"}};
    if (strcmp(args->word[0], "verify") != 0)
        return pc_cli_fail(PC_EXIT_USAGE, "sig: %s: unknown: there is `portcullis sig verify`", args->word[0]);
    for (size_t i = 0; i < PC_ARRAY_SIZE(needed); i++)
        if (!args->value[needed[i].option] || !*args->value[needed[i].option])
            return pc_cli_fail(PC_EXIT_USAGE, "sig verify: %s is missing: see `portcullis sig --help`", needed[i].name);
    *q = (struct question){args->value[OPTION_NAMESPACE], args->value[OPTION_KEY], args->value[OPTION_SIG],
                           DATA_MAX_DEFAULT};
    const char *max = args->value[OPTION_MAX_DATA];
    if (max && pc_parse_size(max, 0, INT64_MAX, &q->data_max) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: not a size: allowed are 4096, 10k, 100M, 2G, 1T", max);
    return 0;
}

int pc_cmd_sig(struct pc_cli *cli, const struct pc_cli_args *args)
{
    struct question q;
    struct answer a = {0};
    int status = ask_what(args, &q);
    if (status)
        return status;
    if (read_key(q.key_path, &a) == 0 && read_signature(q.sig_path, &a) == 0)
        verify_data(&q, &a);
    status = put(cli, &q, &a);
    pc_sshsig_free(a.sig);
    pc_sshkey_free(a.key);
    return status;
}
