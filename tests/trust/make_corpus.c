/*
 * Makes the corpus of the fuzzers anew, and the fleet it belongs to: build/tests/trust/make-corpus tests/trust. Keys
 * are random, so a new corpus needs the new fuzz_fleet.h. For people, not for the suite.
 */
#include "base/cleanup.h"
#include "base/str.h"
#include "fleet.h"
#include "trust/entry.h"
#include "trust/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *top;

static void put(const char *fuzzer, const char *name, const char *text, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/corpus/%s", top, fuzzer);
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        exit(1);
    snprintf(path, sizeof path, "%s/corpus/%s/%s", top, fuzzer, name);
    _fclose_ FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, len, f) != len)
        exit(1);
}

/* Compact, so that mutations hit something. */
static void put_json(const char *fuzzer, const char *name, const json_t *j)
{
    _free_ char *text = json_dumps(j, JSON_COMPACT);
    put(fuzzer, name, text, strlen(text));
}

static void put_define(FILE *f, const char *name, const char *text)
{
    fprintf(f, "static const char %s[] =\n    \"", name);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', f);
        if (*c == '\n')
            fputs("\\n\"\n    \"", f);
        else
            fputc(*c, f);
    }
    fputs("\";\n", f);
}

static json_t *report(struct fleet *f, enum host h, const char *order_sha256, uint8_t hash[32])
{
    struct pc_ring_report r = {
        .tenant = "acme", .outcome = "ok", .host = f->host[h], .started = NOW, .ended = NOW + 5, .soaked = NOW + 65};
    _free_ char *doc = NULL, *sealed = NULL;
    size_t len, sealed_len;
    struct pc_host_envelope e;
    json_t *envelope = NULL;
    strcpy(r.order_sha256, order_sha256);
    pc_ring_report_format(&r, &doc, &len);
    put("report", "ring", doc, len);
    pc_host_envelope_seal(doc, len, "ring", f->seed[h], &sealed, &sealed_len);
    put("envelope", "host", sealed, sealed_len);
    pc_host_envelope_open(sealed, sealed_len, "ring", &e);
    pc_unhex(e.sha256, hash, 32);
    pc_host_envelope_clear(&e);
    pc_json_parse(sealed, sealed_len, PC_ENVELOPE_MAX, &envelope, (struct pc_why){0});
    return json_pack("{s:o}", "envelope", envelope);
}

static void make_orders(struct fleet *f, FILE *header, const struct pc_checkpoint *c)
{
    static const int two[] = {ANN, BOB, -1}, dora[] = {DORA, -1};
    char me[PC_HOST_REF_SIZE], root[65];
    size_t len, stop_len, recipe_len;
    uint8_t hash[2][32];
    json_t *o = fleet_order(f), *stop = fleet_stop(f), *recipe = fleet_recipe(f);
    json_object_set_new(o, "rings", json_pack("[{s:i,s:i},{s:i,s:i}]", "hosts", 2, "soak", 60, "hosts", 1, "soak", 0));
    _free_ char *text = fleet_text(o, &len), *stop_text = fleet_text(stop, &stop_len),
                *recipe_text = fleet_text(recipe, &recipe_len);
    put("order", "act", text, len);
    put("order", "stop", stop_text, stop_len);
    put("order", "recipe", recipe_text, recipe_len);
    json_t *bundle = fleet_bundle(f, text, len, two, c->size),
           *offline = fleet_bundle(f, stop_text, stop_len, dora, c->size);
    put_json("bundle", "act", bundle);
    put_json("bundle", "stop", offline);
    put_json("envelope", "owners", json_object_get(bundle, "order"));
    struct pc_order parsed, parsed_recipe;
    pc_order_parse(text, len, &parsed, NULL, 0);
    pc_order_parse(recipe_text, recipe_len, &parsed_recipe, NULL, 0);
    json_t *frame = json_pack("{s:s, s:i, s:i, s:[o,o]}", "order_sha256", parsed.sha256, "run", 0, "ring", 1, "reports",
                              report(f, WEB1, parsed.sha256, hash[0]), report(f, WEB2, parsed.sha256, hash[1]));
    char *entry;
    size_t entry_len;
    pc_entry_continue("acme", parsed.sha256, 0, 1, hash, 2, NOW, &entry, &entry_len);
    uint64_t index = fleet_log(f, entry, entry_len);
    fleet_prove(f, frame, entry, entry_len, index, c->size, NOW);
    put_json("continue", "continue", frame);
    json_t *start = json_pack("{s:s, s:i}", "order_sha256", parsed_recipe.sha256, "run", 3);
    pc_entry_start("acme", parsed_recipe.sha256, 3, NOW, &entry, &entry_len);
    index = fleet_log(f, entry, entry_len);
    fleet_prove(f, start, entry, entry_len, index, c->size, NOW);
    put_json("continue", "start", start);
    json_object_del(frame, "entry");
    static const char *const keys[] = {"index", "proof", "reports", "ring", "run", "order_sha256"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(keys); i++)
        json_object_del(frame, keys[i]);
    put_json("continue", "checkpoint", frame);
    pc_host_ref_format(&f->host[WEB3], me);
    pc_hex(c->root, 32, root);
    fprintf(header, "#define FLEET_NOW INT64_C(%lld)\n", (long long)NOW);
    put_define(header, "fleet_me", me);
    put_define(header, "fleet_root", root);
    put_define(header, "fleet_order_text", text);
    put_define(header, "fleet_recipe_text", recipe_text);
}

/* An entry that a maker of entry.h returned in *text. */
static void put_entry(const char *name, char *text, size_t len)
{
    put("entry", name, text, len);
    free(text);
}

/* What an auditor reads; the one that an older server wrote is without the signatures' texts. */
static void make_entries(struct fleet *f)
{
    static const int two[] = {ANN, BOB, -1};
    struct pc_order o;
    struct pc_envelope e;
    struct pc_entry_halt h = {.ring = 1, .failures = 1, .incidents = 2, .n = 2, .because = {{1}, {2}}};
    size_t order_len, len, whole_len;
    char *entry;
    json_t *document = fleet_order(f);
    _free_ char *text = fleet_text(document, &order_len), *whole = NULL;
    pc_order_parse(text, order_len, &o, NULL, 0);
    fleet_envelope(f, PC_NS_ORDER, text, order_len, two, &e);
    pc_entry_order(&o, &e, NOW, &entry, &len);
    json_t *older = json_loads(entry, 0, NULL);
    json_object_del(json_object_get(older, "body"), "texts");
    put_json("entry", "older", older);
    put_entry("order", entry, len);
    pc_entry_owners("acme", "trust", &e, NOW, &entry, &len);
    put_entry("trust", entry, len);
    pc_envelope_format(&e, &whole, &whole_len);
    pc_entry_part("acme", e.sha256, whole, whole_len, 0, NOW, &entry, &len);
    put_entry("part", entry, len);
    memcpy(h.order_sha256, o.sha256, sizeof h.order_sha256);
    pc_entry_halt("acme", &h, NOW, &entry, &len);
    put_entry("halt", entry, len);
    json_decref(older);
    json_decref(document);
}

static void make_trust(struct fleet *f, FILE *header)
{
    size_t len;
    json_t *t = fleet_trust(f);
    _free_ char *text = fleet_text(t, &len);
    put("trust", "trust", text, len);
    put_define(header, "fleet_trust_text", text);
    struct pc_trust parsed;
    fleet_trust_parse(t, &parsed);
    json_t *revoke =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "portcullis", "revoke/1", "tenant", "acme", "owner", "bob", "key",
                  parsed.owner[BOB].fingerprint, "created", fleet_time(NOW), "reason", "lost");
    put_json("trust", "revoke", revoke);
    json_t *server =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o}", "portcullis", "server/1", "tenant", "acme", "version", 7,
                  "url", "https://10.0.0.1:7443", "link", "[::1]:7444", "ca",
                  "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "created", fleet_time(NOW));
    put_json("trust", "server", server);
}

static void make_reports(void)
{
    struct pc_ack a = {.tenant = "acme",
                       .host = {"web1", "00112233445566778899aabbccddeeff"},
                       .verdict = PC_CHECK_LOG,
                       .text = "why",
                       .time = NOW};
    struct pc_result r = {.tenant = "acme",
                          .look = "00112233445566778899aabbccddeeff",
                          .host = a.host,
                          .outcome = "ok",
                          .exit = 0,
                          .signal = -1,
                          .output = "hi",
                          .output_len = 2,
                          .started = NOW,
                          .ended = NOW};
    struct pc_enroll e = {.tenant = "acme", .host = "web1", .created = NOW};
    char *text;
    size_t len;
    memset(a.order_sha256, 'a', 64);
    memset(r.output_sha256, 'b', 64);
    memset(e.token_sha256, 'c', 64);
    memset(e.trust_sha256, 'd', 64);
    pc_ack_format(&a, &text, &len);
    put("report", "ack", text, len);
    pc_result_format(&r, &text, &len);
    put("report", "result", text, len);
    pc_enroll_format(&e, &text, &len);
    put("report", "enroll", text, len);
}

int main(int argc, char **argv)
{
    struct fleet f;
    struct pc_checkpoint c;
    char path[512];
    if (argc != 2)
        return 2;
    top = argv[1];
    snprintf(path, sizeof path, "%s/fuzz_fleet.h", top);
    _fclose_ FILE *header = fopen(path, "w");
    if (!header)
        return 1;
    fputs("/* Made by make_corpus.c, with the corpus: the fleet that the fuzzers' inputs belong to. */\n#include "
          "<stdint.h>\n\n",
          header);
    fleet_make(&f);
    fleet_log_more(&f, 5);
    fleet_checkpoint(&f, 5, NOW - 60, &c);
    make_trust(&f, header);
    make_orders(&f, header, &c);
    make_reports();
    make_entries(&f);
    return 0;
}
