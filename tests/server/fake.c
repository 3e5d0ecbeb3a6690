/* A server in memory: made of its own parts as serve.c does it, with keys of owners and hosts at hand. */
#include "fake_net.h"
#include "../trust/fleet.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "server/tokens.h"
#include "trust/envelope.h"
#include "trust/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    struct pc_server server;
    struct pc_server_state state;
    struct fleet fleet;
    char folder[64], database[96];
    unsigned done; /* sentinels that came back */
} fake;

static void must(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "fake server: %s: %s\n", what, pc_strerror(r));
        abort();
    }
}

static void on_head(void *ctx, uint64_t size, const char *text)
{
    pc_logview_head(fake.server.log, size, text, pc_server_now());
}

static void on_published(void *ctx)
{
    if (fake.server.delivery && fake.server.hub)
        pc_delivery_published(fake.server.delivery);
}

static void enrol(struct pc_store *s, unsigned h)
{
    struct pc_store_host row = {.enrolled = 1};
    struct pc_host_envelope e = {0};
    _free_ char *json = NULL;
    size_t len;
    must(pc_host_envelope_seal("{}", 2, "enroll", fake.fleet.seed[h], &json, &len), "seal");
    must(pc_host_envelope_open(json, len, "enroll", &e), "open");
    memcpy(row.key, e.key, 32);
    memcpy(row.link_key, e.key, 32);
    strcpy(row.name, fake.fleet.host[h].name);
    strcpy(row.id, fake.fleet.host[h].id);
    must(s->ops->host_add(s, &row, (struct pc_store_blob){json, len}), "host_add");
    pc_host_envelope_clear(&e);
}

static void token(struct pc_store *s, const char *word)
{
    char sha[PC_SHA256_HEX + 1];
    pc_server_token_hash(word, sha);
    must(s->ops->token_add(s, sha, word, "fuzz", 0), "token_add");
}

/* The fleet's own trust file, but that two owners are enough and nobody needs a witness, and with this server's log. */
static void install_trust(struct pc_store *s)
{
    char vkey[PC_NOTE_KEY_TEXT_MAX], why[256] = "";
    struct pc_envelope e = {0};
    size_t len;
    json_t *t = fleet_trust(&fake.fleet);
    int n = pc_vkey_format(&fake.server.log_key, vkey, sizeof vkey - 1);
    must(n, "vkey");
    vkey[n] = 0;
    json_object_set_new(t, "tenant", json_string("acme"));
    json_object_set_new(t, "log", json_string(vkey));
    json_object_set_new(t, "witnesses", json_array());
    json_object_set_new(t, "witnesses_needed", json_integer(0));
    _free_ char *text = fleet_text(t, &len);
    must(pc_envelope_make(text, len, &e), "envelope");
    int r = pc_server_policy_put_trust(s, &e, why, sizeof why);
    if (r < 0)
        fprintf(stderr, "trust: %s\n", why);
    must(r, "trust");
    pc_envelope_clear(&e);
    json_decref(t);
}

static void fill(struct pc_store *s)
{
    must(s->ops->begin(s), "begin");
    for (unsigned h = 0; h < FAKE_HOSTS; h++)
        enrol(s, h);
    token(s, "look");
    token(s, "operate");
    install_trust(s);
    must(s->ops->commit(s), "commit");
}

static void make_parts(struct pc_server *s)
{
    char why[256] = "";
    must(pc_server_policy_load(s->store, &s->policy, why, sizeof why), "policy");
    must(pc_delivery_new(s, &s->delivery), "delivery");
    must(pc_looks_new(s, &s->looks), "looks");
    must(pc_progress_new(s, &s->progress), "progress");
    must(pc_watch_new(s, &s->watch), "watch");
    must(pc_inspection_new(s, &s->inspection), "inspection");
    must(pc_hub_new(s, NULL, -1, &s->hub), "hub");
    struct pc_witnesses none = {.log = s->log_key};
    pc_logview_witnesses(s->log, &none, pc_server_now());
}

static void end(void)
{
    struct pc_server *s = &fake.server;
    char command[128];
    pc_inspection_drain(s->inspection);
    pc_writer_drain(s->writer);
    pc_hub_free(s->hub);
    s->hub = NULL;
    pc_inspection_free(s->inspection);
    pc_writer_stop(s->writer);
    pc_progress_free(s->progress);
    pc_delivery_free(s->delivery);
    pc_looks_free(s->looks);
    pc_watch_free(s->watch);
    pc_logview_free(s->log);
    pc_server_policy_unref(s->policy);
    s->store->ops->close(s->store);
    s->ears->ops->close(s->ears);
    event_base_free(s->base);
    close(fake.state.dir_fd);
    fleet_free(&fake.fleet);
    static const char *const files[] = {"server.db", "server.db-wal", "server.db-shm"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(files); i++) {
        snprintf(command, sizeof command, "%s/%s", fake.folder, files[i]);
        unlink(command);
    }
    rmdir(fake.folder);
}

struct pc_server *fake_server(void)
{
    struct pc_server *s = &fake.server;
    uint8_t seed[32] = {7};
    struct pc_skey key;
    char why[256] = "";
    if (s->base)
        return s;
    fleet_make(&fake.fleet);
    snprintf(fake.folder, sizeof fake.folder, "%s/portcullis-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(fake.folder))
        abort();
    snprintf(fake.database, sizeof fake.database, "sqlite:%s/server.db", fake.folder);
    pc_server_settings_default(&fake.state.settings);
    strcpy(fake.state.settings.tenant, "acme");
    strcpy(fake.state.settings.public_link, "127.0.0.1:1");
    fake.state.dir_fd = open(fake.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fake.state.lock_fd = -1;
    s->state = &fake.state;
    strcpy(s->name, "fake");
    s->notify_fd = -2;
    s->base = event_base_new();
    must(pc_skey_make("acme.portcullis.fuzz", PC_SIG_ED25519, seed, &key), "key");
    s->log_key = key.pub;
    must(pc_writer_start(s->base, fake.database, &key, on_head, s, &s->writer, why, sizeof why), why);
    must(pc_store_connect(fake.database, &s->store, why, sizeof why), why);
    must(pc_store_connect(fake.database, &s->ears, why, sizeof why), why);
    must(pc_logview_new(s->store, &s->log_key, on_published, s, &s->log), "logview");
    fill(s->store);
    make_parts(s);
    pc_writer_sign_again(s->writer);
    atexit(end);
    fake_settle();
    return s;
}

struct sentinel {
    struct pc_job job;
};

static void came_back(struct pc_job *job, int result)
{
    fake.done++;
    free(job);
}

/* Everything that was submitted before it is done when this is. */
static void pass_writer(void)
{
    struct sentinel *j = calloc(1, sizeof *j);
    unsigned before = fake.done;
    if (!j)
        abort();
    j->job.done = came_back;
    must(pc_writer_submit(fake.server.writer, &j->job), "sentinel");
    while (fake.done == before)
        event_base_loop(fake.server.base, EVLOOP_ONCE);
}

void fake_settle(void)
{
    uint32_t checking, held;
    unsigned threads;
    for (int round = 0; round < 2; round++) {
        for (pc_inspection_facts(fake.server.inspection, &checking, &held, &threads); checking;
             pc_inspection_facts(fake.server.inspection, &checking, &held, &threads))
            event_base_loop(fake.server.base, EVLOOP_ONCE);
        if (held)
            abort(); /* nothing is on its way, so nothing would ever take them off hold */
        pass_writer();
    }
}

/* --- hosts -------------------------------------------------------------------------------------------------------- */

const char *fake_ref(unsigned h)
{
    static char ref[PC_HOST_REF_SIZE];
    pc_host_ref_format(&fake.fleet.host[h], ref);
    return ref;
}

struct pc_conn *fake_connect(unsigned h)
{
    struct pc_store_host row;
    must(fake.server.store->ops->host_by_id(fake.server.store, fake.fleet.host[h].id, &row), "host");
    return fake_net_connect(row.link_key, h);
}

void fake_hello(struct pc_conn *c)
{
    char body[400];
    int n = snprintf(body, sizeof body, "{\"protocol\":1,\"host\":\"%s\",\"agent\":\"1.0\",\"checkpoint_size\":0,\"sequence\":0,\"boot\":\"0123456789abcdef\"}",
                     fake_ref(c->host));
    fake_frame(c, PC_FRAME_HELLO, body, (size_t)n);
}

void fake_document(struct pc_conn *c, enum pc_frame_type type, const char *kind, const void *document, size_t len)
{
    _free_ char *json = NULL;
    size_t n;
    if (pc_host_envelope_seal(document, len, kind, fake.fleet.seed[c->host], &json, &n) == 0)
        fake_frame(c, type, json, n);
}

/* --- owners ------------------------------------------------------------------------------------------------------- */

char *fake_envelope(const char *ns, unsigned owners, const void *document, size_t len)
{
    int who[FAKE_OWNERS + 1], n = 0;
    struct pc_envelope e = {0};
    for (int i = 0; i < FAKE_OWNERS; i++)
        if (owners & (1u << i))
            who[n++] = i;
    who[n] = -1;
    fleet_envelope(&fake.fleet, ns, document, len, who, &e);
    char *json = NULL;
    size_t json_len;
    must(pc_envelope_format(&e, &json, &json_len), "format");
    pc_envelope_clear(&e);
    return json;
}

int fake_request(bool post, const char *path, const char *role, const void *body, size_t len)
{
    char *whole = strdup(path), *query = strchr(whole, '?');
    if (query)
        *query++ = 0;
    struct pc_http_request r = {.post = post, .path = whole, .query = query ? query : "", .body = body, .len = len};
    if (role)
        snprintf(r.authorization, sizeof r.authorization, "Bearer %s", role);
    pc_api_request(&fake.server, &r);
    fake_settle();
    if (!r.status)
        abort(); /* a client that would wait for ever */
    free(whole);
    return r.status;
}
