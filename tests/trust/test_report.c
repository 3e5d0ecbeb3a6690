/* Hosts' documents and envelopes, there and back, and what a reader refuses; parameters of every action. */
#include "base/cleanup.h"
#include "base/err.h"
#include "fleet.h"
#include "trust/entry.h"
#include "trust/report.h"
#include "trust/tile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID "00112233445566778899aabbccddeeff"

static const struct pc_host_ref web1 = {"web1", ID};

static void test_ack(void **state)
{
    (void)state;
    struct pc_ack a = {.tenant = "acme",
                       .order_sha256 = HEX64,
                       .host = web1,
                       .verdict = PC_CHECK_NOT_ME,
                       .time = NOW,
                       .seen = {.size = 9, .root = {1}}},
                  b;
    strcpy(a.text, "no host of this name\n\x1b[2J");
    char *text;
    size_t len;
    assert_int_equal(pc_ack_format(&a, &text, &len), 0);
    assert_null(strchr(text, '\x1b'));
    assert_int_equal(pc_ack_parse(text, len, &b), 0);
    assert_int_equal(b.verdict, PC_CHECK_NOT_ME);
    assert_string_equal(b.text, "no host of this name\\x0a\\x1b[2J");
    assert_true(b.time == NOW && b.seen.size == 9 && b.seen.root[0] == 1);
    assert_string_equal(b.host.name, "web1");
    assert_int_equal(pc_ack_parse(text, len - 1, &b), PC_E_SYNTAX);
    free(text);
    a.verdict = PC_CHECK_OK;
    memset(a.text, 0xff, sizeof a.text - 1); /* not UTF-8, and four times as long when escaped */
    a.text[sizeof a.text - 1] = 0;
    assert_int_equal(pc_ack_format(&a, &text, &len), 0);
    assert_int_equal(pc_ack_parse(text, len, &b), 0);
    assert_int_equal(b.verdict, PC_CHECK_OK);
    char *at = strstr(text, "\"accepted\"");
    memcpy(at, "\"excepted\"", 10);
    assert_int_equal(pc_ack_parse(text, len, &b), PC_E_SYNTAX);
    free(text);
}

static void test_result(void **state)
{
    (void)state;
    static uint8_t output[PC_OUTPUT_MAX];
    memset(output, 0x80, sizeof output);
    json_t *data = json_pack("{s:[i,i]}", "disks", 1, 2);
    struct pc_result r = {.tenant = "acme",
                          .order_sha256 = HEX64,
                          .host = web1,
                          .run = 3,
                          .outcome = "failed",
                          .exit = 7,
                          .signal = -1,
                          .output = output,
                          .output_len = sizeof output,
                          .output_sha256 = HEX64,
                          .truncated = true,
                          .data = data,
                          .started = NOW,
                          .ended = NOW + 4,
                          .seen = {.size = 1}};
    struct pc_result b;
    char *text;
    size_t len;
    assert_int_equal(pc_result_format(&r, &text, &len), 0);
    assert_int_equal(pc_result_parse(text, len, &b), 0);
    assert_true(b.exit == 7 && b.signal == -1 && b.run == 3 && b.truncated && b.output_len == sizeof output &&
                b.ended == NOW + 4);
    assert_memory_equal(b.output, output, sizeof output);
    assert_true(json_equal(b.data, data));
    assert_string_equal(b.look, "");
    pc_result_clear(&b);
    free(text);
    r.output_len++;
    assert_int_equal(pc_result_format(&r, &text, &len), PC_E_LIMIT);
    r.output_len = 0;
    r.data = NULL;
    r.exit = -1;
    r.signal = 9;
    strcpy(r.look, ID);
    assert_int_equal(pc_result_format(&r, &text, &len), 0);
    assert_int_equal(pc_result_parse(text, len, &b), 0);
    assert_true(b.exit == -1 && b.signal == 9 && !b.data && b.output_len == 0 && !b.order_sha256[0]);
    assert_string_equal(b.look, ID);
    pc_result_clear(&b);
    char *at = strstr(text, "\"failed\"");
    memcpy(at, "\"fooled\"", 8);
    assert_int_equal(pc_result_parse(text, len, &b), PC_E_SYNTAX);
    free(text);
    json_decref(data);
}

static void test_enroll(void **state)
{
    (void)state;
    struct pc_enroll e = {.tenant = "acme",
                          .host = "web1",
                          .link_key = {1, 2, 3},
                          .token_sha256 = HEX64,
                          .trust_sha256 = HEX64,
                          .created = NOW},
                     b;
    char *text;
    size_t len;
    assert_int_equal(pc_enroll_format(&e, &text, &len), 0);
    assert_int_equal(pc_enroll_parse(text, len, &b), 0);
    assert_memory_equal(&e, &b, sizeof e);
    free(text);
}

/* A signature of one kind is none of another; nothing of an envelope can be altered. */
static void test_host_envelope(void **state)
{
    (void)state;
    static const uint8_t seed[32] = {5};
    struct pc_host_envelope e;
    char *text;
    size_t len;
    assert_int_equal(pc_host_envelope_seal("{}", 2, "result", seed, &text, &len), 0);
    assert_int_equal(pc_host_envelope_open(text, len, "result", &e), 0);
    assert_int_equal(strlen(e.id), PC_HOST_ID_LEN);
    assert_string_equal(e.document, "{}");
    pc_host_envelope_clear(&e);
    assert_int_equal(pc_host_envelope_open(text, len, "ack", &e), PC_E_SIGNATURE);
    for (size_t i = 0; i < len; i++) {
        char old = text[i];
        text[i] ^= 1;
        int r = pc_host_envelope_open(text, len, "result", &e);
        if (r == 0 || (r != PC_E_SYNTAX && r != PC_E_SIGNATURE))
            fail_msg("byte %zu altered: %d", i, r);
        text[i] = old;
    }
    free(text);
    static char big[PC_RESULT_DOCUMENT_MAX + 1];
    assert_int_equal(pc_host_envelope_seal(big, sizeof big, "result", seed, &text, &len), PC_E_LIMIT);
}

static void test_owners_envelope(void **state)
{
    (void)state;
    struct pc_envelope e, b;
    char *text;
    size_t len;
    static char big[PC_DOCUMENT_MAX + 1];
    assert_int_equal(pc_envelope_make(big, sizeof big, &e), PC_E_LIMIT);
    assert_int_equal(pc_envelope_make("\x00\xff", 2, &e), 0);
    for (int i = 0; i < PC_SIGNATURES_MAX; i++) {
        char sig[20];
        int n = snprintf(sig, sizeof sig, "signature %d\n", i);
        assert_int_equal(pc_envelope_add(&e, sig, (size_t)n), 0);
        assert_int_equal(pc_envelope_add(&e, sig, (size_t)n), 0); /* again: once */
    }
    assert_int_equal(e.signatures, PC_SIGNATURES_MAX);
    assert_int_equal(pc_envelope_add(&e, "one more", 8), PC_E_LIMIT);
    assert_int_equal(pc_envelope_format(&e, &text, &len), 0);
    assert_int_equal(pc_envelope_parse(text, len, &b), 0);
    assert_true(b.len == 2 && memcmp(b.document, "\x00\xff", 2) == 0 && b.signatures == PC_SIGNATURES_MAX);
    assert_string_equal(b.sha256, e.sha256);
    assert_string_equal(b.signature[3].text, "signature 3\n");
    pc_envelope_clear(&b);
    pc_envelope_clear(&e);
    free(text);
    assert_int_equal(pc_envelope_parse("{}", 2, &b), PC_E_SYNTAX);
}

/* An order too large for an entry is logged by its hash alone, and that is what a host accepts. */
static void test_large_entries(void **state)
{
    (void)state;
    struct fleet f;
    struct pc_order o;
    struct pc_envelope e;
    char *entry;
    size_t len, entry_len;
    fleet_make(&f);
    static uint8_t script[44000];
    memset(script, 'x', sizeof script);
    char sha256[PC_SHA256_HEX + 1];
    pc_sha256_text(script, sizeof script, sha256);
    json_t *doc = fleet_order(&f);
    json_object_set_new(doc, "action", json_string("script.run"));
    json_object_set_new(doc, "params",
                        json_pack("{s:o, s:s, s:[s], s:i, s:i}", "script", pc_json_base64_new(script, sizeof script),
                                  "sha256", sha256, "interpreter", "/bin/sh", "timeout", 60, "output", 0));
    _free_ char *text = fleet_text(doc, &len);
    assert_int_equal(pc_order_parse(text, len, &o, NULL, 0), PC_CHECK_OK);
    fleet_envelope(&f, PC_NS_ORDER, text, len, (int[]){ANN, BOB, -1}, &e);
    assert_int_equal(pc_entry_order(&o, &e, NOW, &entry, &entry_len), 1);
    assert_true(entry_len <= PC_ENTRY_MAX);
    assert_null(strstr(entry, "\"document\""));
    free(entry);
    static char output[PC_OUTPUT_MAX];
    struct pc_host_envelope h;
    char *sealed;
    size_t sealed_len;
    assert_int_equal(pc_host_envelope_seal(output, sizeof output, "result", f.seed[0], &sealed, &sealed_len), 0);
    assert_int_equal(pc_host_envelope_open(sealed, sealed_len, "result", &h), 0);
    assert_int_equal(pc_entry_host("acme", "result", &h, NOW, &entry, &entry_len), 0);
    assert_non_null(strstr(entry, "document_sha256"));
    free(entry);
    free(sealed);
    pc_host_envelope_clear(&h);
    pc_envelope_clear(&e);
    pc_order_clear(&o);
    json_decref(doc);
    fleet_free(&f);
}

static const struct {
    const char *action, *params;
    bool good;
} params[] = {
    {"inventory", "{}", true},
    {"inventory", "{\"x\":1}", false},
    {"log.excerpt", "{\"log\":\"syslog\",\"lines\":1000}", true},
    {"log.excerpt", "{\"log\":\"../shadow\",\"lines\":10}", false},
    {"log.excerpt", "{\"log\":\"syslog\",\"lines\":1001}", false},
    {"log.excerpt", "{\"log\":\"syslog\",\"lines\":0}", false},
    {"guard.incidents", "{}", true},
    {"guard.incidents", "{\"incident\":3}", true},
    {"guard.incidents", "{\"incident\":0}", false},
    {"service.status", "{\"service\":\"nginx.service\"}", true},
    {"service.status", "{\"service\":\"getty@tty1.service\"}", true},
    {"service.status", "{\"service\":\"--now\"}", false},
    {"service.status", "{\"service\":\"a b\"}", false},
    {"service", "{\"service\":\"nginx\",\"do\":\"reload\"}", false},
    {"script.run", "{\"argv\":[\"/bin/true\"],\"timeout\":1,\"output\":0}", true},
    {"script.run", "{\"argv\":[\"/bin/true\"],\"timeout\":86401,\"output\":0}", false},
    {"script.run", "{\"argv\":[\"/bin/true\"],\"timeout\":1,\"output\":1048577}", false},
    {"script.run", "{\"argv\":[\"/bin/true\"],\"timeout\":1,\"output\":0,\"user\":\"www-data\"}", true},
    {"script.run", "{\"argv\":[\"/bin/true\"],\"timeout\":1,\"output\":0,\"user\":\"../root\"}", false},
    {"script.run", "{\"argv\":[\"true\"],\"timeout\":1,\"output\":0}", false},
    {"script.run", "{\"argv\":[],\"timeout\":1,\"output\":0}", false},
    {"script.run", "{\"argv\":[\"/bin/true\",1],\"timeout\":1,\"output\":0}", false},
    {"script.run", "{\"timeout\":1,\"output\":0}", false},
    {"script.run",
     "{\"script\":\"eA==\",\"sha256\":\"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\","
     "\"interpreter\":[\"/bin/sh\"],\"timeout\":1,\"output\":0}",
     true},
    {"script.run",
     "{\"script\":\"eQ==\",\"sha256\":\"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\","
     "\"interpreter\":[\"/bin/sh\"],\"timeout\":1,\"output\":0}",
     false},
    {"script.run",
     "{\"script\":\"eA==\",\"sha256\":\"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\","
     "\"interpreter\":[\"sh\"],\"timeout\":1,\"output\":0}",
     false},
    {"script.run", "{\"argv\":[\"/bin/true\"],\"script\":\"eA==\",\"timeout\":1,\"output\":0}", false},
    {"package.update", "{\"security\":true,\"timeout\":60}", true},
    {"package.update", "{\"security\":false,\"timeout\":60,\"packages\":[\"libssl3\",\"g++-12\"]}", true},
    {"package.update", "{\"security\":true,\"timeout\":60,\"packages\":[\"-o=x\"]}", false},
    {"package.update", "{\"security\":true,\"timeout\":60,\"packages\":[]}", false},
    {"agent.upgrade", "{\"version\":\"1.2.3\",\"sha256\":\"" HEX64 "\",\"url_path\":\"/agents/1.2.3\"}", true},
    {"agent.upgrade", "{\"version\":\"1.02.3\",\"sha256\":\"" HEX64 "\",\"url_path\":\"/a\"}", false},
    {"agent.upgrade", "{\"version\":\"1.2.3.4\",\"sha256\":\"" HEX64 "\",\"url_path\":\"/a\"}", false},
    {"agent.upgrade", "{\"version\":\"1.2.3\",\"sha256\":\"" HEX64 "\",\"url_path\":\"/../a\"}", false},
    {"agent.upgrade", "{\"version\":\"1.2.3\",\"sha256\":\"" HEX64 "\",\"url_path\":\"@evil/a\"}", false},
    {"actor.freeze", "{\"pid\":5,\"start\":0,\"seconds\":60}", true},
    {"actor.freeze", "{\"pid\":5,\"seconds\":60}", false},
    {"actor.freeze", "{\"pid\":1,\"start\":7,\"seconds\":60}", false},
    {"actor.freeze", "{\"start\":7,\"exe_sha256\":\"" HEX64 "\",\"seconds\":60}", false},
    {"actor.freeze", "{\"exe_sha256\":\"" HEX64 "\",\"seconds\":60}", true},
    {"actor.freeze", "{\"exe_sha256\":\"" HEX64 "\",\"seconds\":59}", false},
    {"actor.freeze", "{\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[],\"seconds\":604800}", true},
    {"host.isolate", "{\"allow\":[\"192.0.2.7/32\",\"2001:db8::/32\"],\"seconds\":60}", true},
    {"host.isolate", "{\"allow\":[\"0.0.0.0/0\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[\"::/0\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[\"192.0.2.7/33\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[\"192.0.2.7/08\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[\"192.0.2.7/\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[\"192.0.2.7\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[\"example.org/24\"],\"seconds\":60}", false},
    {"host.isolate", "{\"allow\":[1],\"seconds\":60}", false},
    {"hash.block", "{\"sha256\":\"" HEX64 "\",\"seconds\":2592001}", false},
    {"rollout.halt", "{\"order_sha256\":\"" HEX64 "\"}", true},
    {"rollout.halt", "{\"order_sha256\":\"" ID "\"}", false},
    {"trust.replace", "{\"sha256\":\"" HEX64 "\"}", true},
};

static void test_params(void **state)
{
    (void)state;
    for (size_t i = 0; i < PC_ARRAY_SIZE(params); i++) {
        char why[200] = "";
        json_t *j = NULL;
        assert_int_equal(pc_json_parse(params[i].params, strlen(params[i].params), 4096, &j, (struct pc_why){0}), 0);
        int r = pc_action_check(pc_action_find(params[i].action), j, why, sizeof why);
        if (r != (params[i].good ? 0 : PC_E_SYNTAX) || (r < 0 && !why[0]))
            fail_msg("%s %s: %d %s", params[i].action, params[i].params, r, why);
        json_decref(j);
    }
    size_t n;
    const struct pc_action *a = pc_actions(&n);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(pc_action_find(a[i].name), &a[i]);
    assert_null(pc_action_find("format.disk"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ack),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_enroll),
        cmocka_unit_test(test_host_envelope),
        cmocka_unit_test(test_owners_envelope),
        cmocka_unit_test(test_large_entries),
        cmocka_unit_test(test_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
