/*
 * `portcullis log witness`: a small witness (C2SP tlog-witness in spirit, over our API). Signs that it saw a
 * checkpoint, and signs no other history than the one it signed before: hosts that need its word cannot be shown two
 * logs. Owns its key file and its memory, FILE.checkpoint, which is written before anything is signed. Trusts nothing:
 * each new checkpoint is proven from the log's own tiles to continue the last.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/net/log_walk.h"
#include "cli/net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

enum option { OPTION_KEY, OPTION_ONCE, OPTION_INTERVAL, OPTION_MAKE, OPTION_FILE, OPTION_LOG_KEY };
#define INTERVAL_DEFAULT_NS (10 * PC_NS_PER_S)
#define TRIES 5 /* the checkpoint is signed anew all the time: between our look and our answer it may have changed */

struct witness {
    struct pc_fleet fleet;
    struct pc_skey key;
    struct pc_vkey log;
    int lock;                  /* the key's file: one process at a time has this memory */
    char *memory;              /* path of the last checkpoint that was signed */
    struct pc_checkpoint last; /* size 0 and no origin: none */
};

static void witness_clear(struct witness *w)
{
    OPENSSL_cleanse(&w->key, sizeof w->key);
    if (w->lock >= 0)
        close(w->lock);
    free(w->memory);
    pc_fleet_end(&w->fleet);
}
#define _witness_ __attribute__((cleanup(witness_clear)))

/* --- a key -------------------------------------------------------------------------------------------------------- */

static int write_new(const char *path, const char *text)
{
    int r = pc_create_file_at(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(r)) : 0;
}

static int make_key(const struct pc_cli *cli, const char *name, const char *path)
{
    struct pc_skey key;
    uint8_t seed[32];
    char secret[PC_NOTE_KEY_TEXT_MAX + 1], public[PC_NOTE_KEY_TEXT_MAX];
    if (!path)
        return pc_cli_fail(PC_EXIT_USAGE, "log witness --make NAME: -o FILE says where to write the key");
    if (RAND_priv_bytes(seed, sizeof seed) != 1)
        return pc_cli_fail(PC_EXIT_FAILED, "no random numbers");
    int r = pc_skey_make(name, PC_SIG_COSIGNATURE, seed, &key);
    OPENSSL_cleanse(seed, sizeof seed);
    if (r == 0)
        r = pc_skey_format(&key, secret, PC_NOTE_KEY_TEXT_MAX);
    if (r >= 0)
        r = pc_vkey_format(&key.pub, public, sizeof public);
    OPENSSL_cleanse(&key, sizeof key);
    int status = r < 0 ? pc_cli_fail(PC_EXIT_USAGE, "%s: cannot be the name of a witness: no spaces, no \"+\"", name)
                       : write_new(path, strcat(secret, "\n"));
    OPENSSL_cleanse(secret, sizeof secret);
    if (status)
        return status;
    json_t *answer = json_pack("{s:s,s:s}", "witness", public, "file", path);
    if (cli->json)
        status = pc_fleet_put_json(answer);
    else
        printf("%s\n", public);
    json_decref(answer);
    return status;
}

/* Two that remember each for itself could be brought to sign two histories. */
static int lock_key(struct witness *w, const char *path)
{
    w->lock = open(path, O_RDONLY | O_CLOEXEC);
    if (w->lock >= 0 && flock(w->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (w->lock >= 0 && errno == EWOULDBLOCK)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: another witness is at work with this key", path);
    return pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(-errno));
}

static int load_key(struct witness *w, const char *path)
{
    _free_ char *text = NULL;
    size_t len;
    int r = pc_cli_file_read(path, PC_NOTE_KEY_TEXT_MAX, &text, &len);
    if (r == 0) {
        text[strcspn(text, "\n")] = 0;
        r = pc_skey_parse(text, &w->key);
        OPENSSL_cleanse(text, len);
    }
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: not a key of `portcullis log witness --make`: %s", path,
                           pc_strerror(r));
    if (w->key.pub.alg != PC_SIG_COSIGNATURE)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: this is a log's key, not a witness's", path);
    if (asprintf(&w->memory, "%s.checkpoint", path) < 0) {
        w->memory = NULL;
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    return 0;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static int load_memory(struct witness *w)
{
    _free_ char *text = NULL;
    size_t len;
    int r = pc_cli_file_read(w->memory, PC_NOTE_MAX, &text, &len);
    if (r == -ENOENT) { /* every log begins with nothing */
        memcpy(w->last.origin, w->log.name, sizeof w->last.origin);
        return 0;
    }
    if (r == 0)
        r = pc_checkpoint_open(text, len, &w->log, NULL, 0, 0, &w->last);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: what this witness signed last cannot be read: %s", w->memory,
                               pc_strerror(r))
                 : 0;
}

static int remember(struct witness *w, const struct pc_checkpoint *c, const struct pc_buf *note)
{
    int r = pc_cli_file_replace(w->memory, note->data, note->len, 0600);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: %s: nothing is signed that is not remembered", w->memory,
                           pc_strerror(r));
    w->last = *c;
    return 0;
}

/* --- is it the same log? ------------------------------------------------------------------------------------------ */

struct source {
    struct pc_fleet *fleet;
    int status; /* of a fetch that failed, with words */
};

static int load_tile(void *ctx, const struct pc_tile *tile, uint8_t (*out)[PC_HASH_LEN])
{
    struct source *s = ctx;
    _buf_free_ struct pc_buf hashes;
    pc_buf_init(&hashes, 0);
    s->status = pc_log_tile(s->fleet, tile, &hashes);
    if (s->status)
        return PC_E_NOTFOUND;
    if (hashes.len < (size_t)tile->width * PC_HASH_LEN)
        return PC_E_SYNTAX;
    memcpy(out, hashes.data, (size_t)tile->width * PC_HASH_LEN);
    return 0;
}

/* A proof made of the server's tiles, and then verified: tiles that lie make a proof that fails. */
static int follows(struct witness *w, const struct pc_checkpoint *next)
{
    uint8_t proof[PC_MERKLE_PROOF_MAX][PC_HASH_LEN];
    size_t n = 0;
    struct source source = {.fleet = &w->fleet};
    struct pc_tiles tiles = {.load = load_tile, .ctx = &source, .size = next->size};
    int r = 0;
    if (w->last.size && w->last.size < next->size)
        r = pc_merkle_consistency_proof(w->last.size, next->size, pc_tile_node, &tiles, proof, PC_MERKLE_PROOF_MAX, &n);
    if (source.status)
        return source.status;
    if (r == 0)
        r = pc_checkpoint_follows(&w->last, next, (const uint8_t(*)[PC_HASH_LEN])proof, n);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "NOT SIGNED: the log of %" PRIu64 " entries does not continue the %" PRIu64
                           " that this witness signed: %s",
                           next->size, w->last.size, pc_strerror(r));
    return 0;
}

/* --- signing ------------------------------------------------------------------------------------------------------ */

static int newest(struct witness *w, struct pc_buf *note, struct pc_checkpoint *c)
{
    int status = pc_fleet_bytes(&w->fleet, "/log/checkpoint", PC_NOTE_MAX, note, NULL);
    if (status)
        return status;
    int r = pc_checkpoint_open(note->data ? note->data : "", note->len, &w->log, NULL, 0, 0, c);
    return r < 0
               ? pc_cli_fail(PC_EXIT_FAILED, "the checkpoint is not one of the log %s: %s", w->log.name, pc_strerror(r))
               : 0;
}

/* The note with one more line, to the server. */
static int send(struct witness *w, const struct pc_buf *note, bool *again)
{
    struct pc_note parsed;
    struct pc_https_answer a;
    _buf_free_ struct pc_buf signed_note;
    pc_buf_init(&signed_note, PC_NOTE_MAX);
    int r = pc_note_parse(note->data, note->len, &parsed);
    if (r == 0)
        r = pc_buf_add(&signed_note, note->data, note->len);
    if (r == 0)
        r = pc_note_cosign(parsed.text, parsed.text_len, &w->key, (int64_t)(pc_real_ns() / PC_NS_PER_S), &signed_note);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "cannot sign: %s", pc_strerror(r));
    r = pc_https_ask(w->fleet.http, "/v1/cosignatures", "text/plain; charset=utf-8", signed_note.data, signed_note.len,
                     PC_NOTE_MAX, &a);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_NO_GUARD, "%s: %s", w->fleet.dir.url, pc_https_why(w->fleet.http));
    *again = a.status == 409;
    _free_ char *text = pc_safe_text(w->fleet.cli, a.body.data ? a.body.data : "", NULL);
    pc_buf_free(&a.body);
    return a.status == 200 || *again
               ? 0
               : pc_cli_fail(PC_EXIT_REFUSED, "the server does not take the cosignature (%ld): %.300s", a.status, text);
}

static int tell(const struct witness *w, const struct pc_checkpoint *c)
{
    json_t *answer = json_pack("{s:s,s:I,s:s}", "log", c->origin, "size", (json_int_t)c->size, "witness",
                               w->key.pub.name);
    int status = w->fleet.cli->json ? pc_fleet_put_json(answer) : 0;
    if (!w->fleet.cli->json)
        printf("cosigned %" PRIu64 " entries of %s as %s\n", c->size, c->origin, w->key.pub.name);
    fflush(stdout);
    json_decref(answer);
    return status;
}

static int witness_once(struct witness *w)
{
    bool again = true;
    int status = 0;
    struct pc_checkpoint c = {0};
    for (int i = 0; i < TRIES && again && status == 0; i++) {
        _buf_free_ struct pc_buf note;
        pc_buf_init(&note, 0);
        status = newest(w, &note, &c);
        if (status == 0)
            status = follows(w, &c);
        if (status == 0)
            status = remember(w, &c, &note);
        if (status == 0)
            status = send(w, &note, &again);
    }
    if (status == 0 && again)
        return pc_cli_fail(PC_EXIT_FAILED, "the server signs new checkpoints faster than they can be cosigned");
    return status ? status : tell(w, &c);
}

static int log_key(struct witness *w, const char *given)
{
    if (given)
        return pc_vkey_parse(given, &w->log) < 0 ? pc_cli_fail(PC_EXIT_USAGE, "%s: not a log's key", given) : 0;
    int status = pc_fleet_trust(&w->fleet);
    if (status == 0)
        w->log = w->fleet.trust.log;
    return status;
}

int pc_cmd_log_witness(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _witness_ struct witness w = {.lock = -1};
    uint64_t interval = INTERVAL_DEFAULT_NS;
    const char *every = args->value[OPTION_INTERVAL];
    if (args->value[OPTION_MAKE])
        return make_key(cli, args->value[OPTION_MAKE], args->value[OPTION_FILE]);
    if (!args->value[OPTION_KEY])
        return pc_cli_fail(PC_EXIT_USAGE, "log witness: --key FILE says with which key; --make NAME -o FILE makes one");
    if (every && pc_parse_duration(every, PC_NS_PER_S, 86400 * PC_NS_PER_S, &interval) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "log witness: --interval %s: 1s to 1d", every);
    int status = pc_fleet_begin(cli, &w.fleet);
    if (status == 0)
        status = lock_key(&w, args->value[OPTION_KEY]);
    if (status == 0)
        status = load_key(&w, args->value[OPTION_KEY]);
    if (status == 0)
        status = log_key(&w, args->value[OPTION_LOG_KEY]);
    if (status == 0)
        status = load_memory(&w);
    if (status)
        return status;
    for (;;) {
        status = witness_once(&w);
        if (args->value[OPTION_ONCE] || (status != 0 && status != PC_EXIT_NO_GUARD))
            return status;
        nanosleep(
            &(struct timespec){.tv_sec = (time_t)(interval / PC_NS_PER_S), .tv_nsec = (long)(interval % PC_NS_PER_S)},
            NULL);
    }
}
