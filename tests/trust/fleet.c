/*
 * Makes a small fleet in memory, with real keys, real signatures and a real log. Test code: what fails, ends the
 * program.
 */
#include "fleet.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "trust/entry.h"
#include "trust/report.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x)                                                                \
    do {                                                                       \
        if (!(x)) {                                                            \
            fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #x);     \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

const char *const owner_names[OWNERS] = {"ann", "bob", "cid", "dora"};
static const char *const host_names[HOSTS] = {"web1", "web2", "web3", "db1", "db2"};

static void make_host(struct fleet *f, enum host h)
{
    char *json;
    size_t len;
    struct pc_host_envelope e;
    memset(f->seed[h], 10 + h, sizeof f->seed[h]);
    MUST(pc_host_envelope_seal("x", 1, "ack", f->seed[h], &json, &len) == 0);
    MUST(pc_host_envelope_open(json, len, "ack", &e) == 0);
    strcpy(f->host[h].name, host_names[h]);
    strcpy(f->host[h].id, e.id);
    pc_host_envelope_clear(&e);
    free(json);
}

void fleet_make(struct fleet *f)
{
    uint8_t seed[32];
    memset(f, 0, sizeof *f);
    for (int i = 0; i <= EVE; i++)
        if (i != OWNERS)
            f->owner[i] =
                i == DORA ? forge_key("sk-ssh-ed25519@openssh.com", "ssh:", 0) : forge_key("ssh-ed25519", NULL, 0);
    for (int h = 0; h < HOSTS; h++)
        make_host(f, (enum host)h);
    memset(seed, 1, sizeof seed);
    MUST(pc_skey_make("log.example.org", PC_SIG_ED25519, seed, &f->log) == 0);
    memset(seed, 2, sizeof seed);
    MUST(pc_skey_make("witness.example.org", PC_SIG_COSIGNATURE, seed, &f->witness) == 0);
    memset(seed, 3, sizeof seed);
    MUST(pc_skey_make("other.example.org", PC_SIG_COSIGNATURE, seed, &f->other_witness) == 0);
}

void fleet_free(struct fleet *f)
{
    for (int i = 0; i <= EVE; i++)
        if (i != OWNERS)
            forge_key_free(&f->owner[i]);
}

json_t *fleet_time(int64_t t)
{
    char text[PC_TIME_SIZE];
    pc_time_format(t, text);
    return json_string(text);
}

json_t *fleet_host(const struct fleet *f, enum host h)
{
    char text[PC_HOST_REF_SIZE];
    pc_host_ref_format(&f->host[h], text);
    return json_string(text);
}

static json_t *vkey(const struct pc_skey *key)
{
    char text[PC_NOTE_KEY_TEXT_MAX];
    MUST(pc_vkey_format(&key->pub, text, sizeof text) > 0);
    return json_string(text);
}

json_t *fleet_trust(struct fleet *f)
{
    json_t *owners = json_array();
    for (int i = 0; i < OWNERS; i++) {
        _free_ char *line = forge_line(&f->owner[i]);
        json_t *classes = i == DORA ? json_pack("[s,s]", "C", "S") : json_pack("[s,s,s,s]", "B", "C", "S", "T");
        json_array_append_new(owners, json_pack("{s:s, s:s, s:o, s:b}", "name", owner_names[i], "key", line, "classes",
                                                classes, "hardware", i == DORA));
    }
    json_t *t =
        json_pack("{s:s, s:s, s:i, s:o, s:o, s:{s:i, s:i, s:i, s:i}, s:i, s:{s:i, s:i}, s:o, s:[o,o], s:i}",
                  "portcullis", "trust/1", "tenant", "acme", "version", 3, "created", fleet_time(NOW - 100 * HOUR),
                  "owners", owners, "thresholds", "B", 2, "C", 2, "S", 1, "T", 2, "dwell", 600, "cap", "C", 3, "S", 2,
                  "log", vkey(&f->log), "witnesses", vkey(&f->witness), vkey(&f->other_witness), "witnesses_needed", 1);
    MUST(t);
    return t;
}

static json_t *order(struct fleet *f, const char *class_, const char *action, json_t *params, int hosts)
{
    json_t *list = json_array();
    for (int h = 0; h < hosts; h++)
        json_array_append_new(list, fleet_host(f, (enum host)h));
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:o, s:o, s:i, s:s}", "portcullis", "order/1", "id",
                  "00112233445566778899aabbccddeeff", "tenant", "acme", "class", class_, "action", action, "params",
                  params, "hosts", list, "count", hosts, "not_before", fleet_time(NOW - HOUR), "expires",
                  fleet_time(NOW + HOUR), "sequence", 105, "says", "Restart nginx on the web servers");
    MUST(o);
    return o;
}

json_t *fleet_order(struct fleet *f)
{
    return order(f, "C", "service", json_pack("{s:s, s:s}", "service", "nginx.service", "do", "restart"), 3);
}

json_t *fleet_stop(struct fleet *f)
{
    return order(f, "S", "host.isolate", json_pack("{s:[s], s:i}", "allow", "192.0.2.0/24", "seconds", 3600), 1);
}

json_t *fleet_recipe(struct fleet *f)
{
    json_t *o = order(f, "B", "package.update", json_pack("{s:b, s:i}", "security", 1, "timeout", 600), 2);
    json_object_set_new(
        o, "standing",
        json_pack("{s:[s,s], s:s, s:s, s:i}", "days", "tue", "wed", "from", "01:00", "until", "05:30", "every", 86400));
    return o;
}

char *fleet_text(const json_t *document, size_t *len)
{
    char *text = json_dumps(document, JSON_INDENT(2));
    MUST(text);
    *len = strlen(text);
    return text;
}

void fleet_trust_parse(const json_t *document, struct pc_trust *out)
{
    size_t len;
    char why[200];
    _free_ char *text = fleet_text(document, &len);
    int r = pc_trust_parse(text, len, out, why, sizeof why);
    if (r < 0)
        fprintf(stderr, "trust file: %s\n", why);
    MUST(r == 0);
}

char *fleet_sign(struct fleet *f, enum owner who, const char *ns, uint8_t flags, const void *document, size_t len)
{
    struct forge_how how = {.ns = ns, .hash = "sha512", .flags = flags, .counter = 7};
    struct pc_buf raw _buf_free_ = forge_sign(&f->owner[who], &how, document, len);
    return forge_armour(raw.data, raw.len);
}

void fleet_envelope(struct fleet *f, const char *ns, const void *document, size_t len, const int *owners,
                    struct pc_envelope *out)
{
    MUST(pc_envelope_make(document, len, out) == 0);
    for (; *owners >= 0; owners++) {
        _free_ char *sig = fleet_sign(f, (enum owner)*owners, ns, 1, document, len);
        MUST(pc_envelope_add(out, sig, strlen(sig)) == 0);
    }
}

static json_t *parsed(const char *text, size_t len)
{
    json_t *made;
    MUST(pc_json_parse(text, len, PC_ENVELOPE_MAX, &made, (struct pc_why){0}) == 0);
    return made;
}

json_t *fleet_envelope_json(const struct pc_envelope *e)
{
    _free_ char *text = NULL;
    size_t len;
    MUST(pc_envelope_format(e, &text, &len) == 0);
    return parsed(text, len);
}

/* --- the log ----------------------------------------------------------------------------------------------------- */

uint64_t fleet_log(struct fleet *f, const void *entry, size_t len)
{
    MUST(f->size < LOG_MAX);
    pc_merkle_leaf(entry, len, f->leaf[f->size]);
    return f->size++;
}

void fleet_log_more(struct fleet *f, int n)
{
    for (int i = 0; i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "entry %d", (int)f->size);
        fleet_log(f, text, (size_t)len);
    }
}

static int node(void *ctx, unsigned level, uint64_t index, uint8_t out[32])
{
    struct fleet *f = ctx;
    uint8_t left[32], right[32];
    if (level == 0) {
        memcpy(out, f->leaf[index], 32);
        return 0;
    }
    node(ctx, level - 1, 2 * index, left);
    node(ctx, level - 1, 2 * index + 1, right);
    pc_merkle_node(left, right, out);
    return 0;
}

void fleet_checkpoint(struct fleet *f, uint64_t size, int64_t time, struct pc_checkpoint *out)
{
    struct pc_checkpoint c = {.size = size, .time = time};
    strcpy(c.origin, f->log.pub.name);
    MUST(pc_merkle_root(size, node, f, c.root) == 0);
    *out = c;
}

char *fleet_note(struct fleet *f, uint64_t size, int64_t time)
{
    struct pc_checkpoint c;
    struct pc_buf text _buf_free_, note;
    pc_buf_init(&text, 8192);
    pc_buf_init(&note, 65536);
    fleet_checkpoint(f, size, time, &c);
    MUST(pc_checkpoint_format(&c, &text) == 0);
    MUST(pc_note_sign(text.data, text.len, &f->log, &note) == 0);
    MUST(pc_note_cosign(text.data, text.len, &f->witness, time, &note) == 0);
    return note.data;
}

json_t *fleet_hashes(const uint8_t (*h)[32], size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, pc_json_base64_new(h[i], 32));
    return list;
}

json_t *fleet_place(const struct pc_place *place)
{
    char text[PC_HOST_REF_SIZE];
    pc_host_ref_format(&place->host, text);
    return json_pack("{s:s, s:i, s:o}", "host", text, "index", (int)place->index, "proof",
                     fleet_hashes(place->proof, place->n));
}

void fleet_prove(struct fleet *f, json_t *object, const void *entry, size_t len, uint64_t index, uint64_t from,
                 int64_t time)
{
    uint8_t proof[PC_MERKLE_PROOF_MAX][32];
    size_t n = 0;
    json_object_set_new(object, "entry", pc_json_base64_new(entry, len));
    json_object_set_new(object, "index", json_integer((json_int_t)index));
    MUST(pc_merkle_inclusion_proof(index, f->size, node, f, proof, PC_MERKLE_PROOF_MAX, &n) == 0);
    json_object_set_new(object, "proof", fleet_hashes(proof, n));
    _free_ char *note = fleet_note(f, f->size, time);
    json_object_set_new(object, "checkpoint", json_string(note));
    json_object_set_new(object, "from", json_integer((json_int_t)from));
    n = 0;
    if (from > 0 && from < f->size)
        MUST(pc_merkle_consistency_proof(from, f->size, node, f, proof, PC_MERKLE_PROOF_MAX, &n) == 0);
    json_object_set_new(object, "consistency", fleet_hashes(proof, n));
}

json_t *fleet_bundle(struct fleet *f, const void *document, size_t len, const int *owners, uint64_t from)
{
    struct pc_envelope e;
    struct pc_order o;
    char *entry = NULL;
    size_t entry_len;
    fleet_envelope(f, PC_NS_ORDER, document, len, owners, &e);
    json_t *bundle = json_object();
    json_object_set_new(bundle, "order", fleet_envelope_json(&e));
    if (pc_order_parse(document, len, &o, NULL, 0) == PC_CHECK_OK) {
        MUST(pc_entry_order(&o, &e, NOW, &entry, &entry_len) == 0);
        uint64_t index = fleet_log(f, entry, entry_len);
        fleet_log_more(f, 3);
        fleet_prove(f, bundle, entry, entry_len, index, from, NOW);
        pc_order_clear(&o);
        free(entry);
    }
    pc_envelope_clear(&e);
    return bundle;
}
