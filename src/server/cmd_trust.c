/*
 * Owns `trust`: installs the owners' trust file from disk, through the same writer as the running server, so that it is
 * checked and logged the same way. A running server notices within a second.
 */
#include "server/command.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "server/logged.h"
#include "server/options.h"
#include "server/policy.h"
#include "server/state.h"
#include "server/writer.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <glob.h>
#include <openssl/crypto.h>

struct install {
    struct pc_job job;
    const char *tenant;
    struct pc_envelope e;
    char why[256];
    int result;
    bool done;
};

static int install_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct install *i = (struct install *)job;
    int ret = pc_server_policy_put_trust(s, &i->e, i->why, sizeof i->why);
    if (ret == 0)
        ret = pc_logged_owners(log, i->tenant, "trust", &i->e);
    if (ret == 0)
        ret = pc_log_tell(log, "policy", "trust");
    return ret < 0 ? ret : 0;
}

static void install_done(struct pc_job *job, int result)
{
    struct install *i = (struct install *)job;
    i->result = result;
    i->done = true;
}

static void no_head(void *ctx, uint64_t size, const char *text)
{
}

static int read_whole(const char *path, size_t max, char **out, size_t *len)
{
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    _free_ char *text = fd < 0 ? NULL : malloc(max + 1);
    ssize_t n = text ? pc_pread_full(fd, text, max + 1, 0) : fd < 0 ? -errno : -ENOMEM;
    if (n < 0)
        return (int)n;
    if ((size_t)n > max)
        return PC_E_LIMIT;
    *len = (size_t)n;
    *out = TAKE_PTR(text);
    return 0;
}

static int add_signature(struct pc_envelope *e, const char *path)
{
    _free_ char *text = NULL;
    size_t len;
    int ret = read_whole(path, PC_SIGNATURE_TEXT_MAX, &text, &len);
    if (ret == 0)
        ret = pc_envelope_add(e, text, len);
    if (ret < 0)
        pc_server_complain("trust: %s: %s", path, pc_strerror(ret));
    return ret;
}

/* Signatures lie beside the document as FILE.NAME.sig (PROTOCOL.md 1.2). */
static int add_beside(struct pc_envelope *e, const char *path)
{
    char pattern[4200];
    glob_t found;
    int ret = 0;
    /* A path with glob characters of its own finds too few, never too many: name the signatures then. */
    snprintf(pattern, sizeof pattern, "%s.*.sig", path);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc && ret == 0; i++)
        ret = add_signature(e, found.gl_pathv[i]);
    globfree(&found);
    return ret;
}

static int load(const struct pc_server_options *o, struct pc_envelope *e)
{
    _free_ char *document = NULL;
    size_t len;
    int ret = read_whole(o->rest[0], PC_TRUST_DOCUMENT_MAX, &document, &len);
    if (ret == 0)
        ret = pc_envelope_make(document, len, e);
    if (ret < 0)
        return pc_server_complain("trust: %s: %s", o->rest[0], pc_strerror(ret)), ret;
    for (int i = 1; i < o->n_rest && ret == 0; i++)
        ret = add_signature(e, o->rest[i]);
    return ret < 0 ? ret : add_beside(e, o->rest[0]);
}

static int install(struct pc_server_state *state, struct install *i)
{
    char where[1100], why[512] = "";
    struct pc_skey key;
    struct pc_writer *w;
    struct event_base *base = event_base_new();
    pc_server_state_database(state, where, sizeof where);
    int ret = base ? pc_server_state_log_key(state, &key) : -ENOMEM;
    if (ret == 0)
        ret = pc_writer_start(base, where, &key, no_head, NULL, &w, why, sizeof why);
    OPENSSL_cleanse(&key, sizeof key);
    if (ret == 0) {
        ret = pc_writer_submit(w, &i->job);
        pc_writer_stop(w); /* waits, and calls back */
    }
    if (base)
        event_base_free(base);
    if (*why)
        pc_server_complain("trust: %s", why);
    return ret < 0 ? ret : i->result;
}

int pc_server_trust(int argc, char **argv)
{
    struct pc_server_options o;
    struct pc_server_state state;
    char why[512];
    struct install i = {.job = {.run = install_run, .done = install_done}};
    if (pc_server_options_read(argc, argv, PC_OPT_STATE, 1, &o) < 0)
        return pc_server_usage(argv[0]);
    if (pc_server_state_open(o.state, &state, why, sizeof why) < 0)
        return pc_server_complain("trust: %s", why);
    i.tenant = state.settings.tenant;
    int ret = load(&o, &i.e);
    if (ret == 0 && (ret = install(&state, &i)) < 0)
        pc_server_complain("trust: %s was refused: %s", o.rest[0], *i.why ? i.why : pc_strerror(ret));
    if (ret == 0)
        printf("trust file: sha256 %s\n", i.e.sha256);
    pc_envelope_clear(&i.e);
    pc_server_state_close(&state);
    return ret < 0;
}
