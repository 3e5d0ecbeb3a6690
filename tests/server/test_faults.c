/*
 * What people and hosts are told, and what the server itself knows, when the database fails: nothing that is not so,
 * nothing lost for good, nothing done twice.
 */
#include "faulty.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "trust/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int fresh(void **state)
{
    *state = faulty_server();
    faulty_host();
    faulty_second(*state);
    return 0;
}

static int all_well(void **state)
{
    faulty_let_writer_go();
    faulty_second(*state);
    faults = (struct faults){0};
    fake_listen(NULL);
    assert_true(faulty_host_is_there());
    return 0;
}

/* --- the API ------------------------------------------------------------------------------------------------------ */

static int get(const char *path)
{
    return fake_request(false, path, "operate", "", 0);
}

/* A token that cannot be looked up is not a bad one. */
static void no_database_is_not_a_bad_token(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(get("/v1/hosts"), 200);
    faults.no_tokens = true;
    assert_int_equal(get("/v1/hosts"), 503);
    assert_int_equal(faulty_script(sha), 503);
    assert_int_equal(fake_request(false, "/v1/hosts", NULL, "", 0), 401);
}

/* Its quorum signed it: that it leaves must not hang on a token, nor on anything being written. */
static void a_stop_needs_no_database(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    unsigned before = fake_sent(faulty_host(), PC_FRAME_BUNDLE);
    faults.no_tokens = faults.away = true;
    faults.begins_refused = 10;
    assert_int_equal(faulty_stop(sha), 500);
    assert_int_equal(fake_sent(faulty_host(), PC_FRAME_BUNDLE), before + 1);
    /* but nobody else gets anything in that way */
    uint64_t size = pc_logview_size(((struct pc_server *)*state)->log);
    faults.begins_refused = 0;
    assert_int_equal(faulty_order("S", "\"action\":\"host.isolate\",\"params\":{\"allow\":[],\"seconds\":60}", 0, sha), 503);
    assert_int_equal(fake_sent(faulty_host(), PC_FRAME_BUNDLE), before + 1);
    assert_int_equal(pc_logview_size(((struct pc_server *)*state)->log), size);
}

static void nobody_asked_is_not_nobody_reached(void **state)
{
    char body[200];
    const char *name = fake_ref(0);
    snprintf(body, sizeof body, "{\"hosts\":[\"%.*s\"],\"action\":\"metrics\",\"params\":{}}", (int)strcspn(name, "#"), name);
    assert_int_equal(fake_request(true, "/v1/looks", "look", body, strlen(body)), 200);
    faults.away = true;
    assert_int_equal(fake_request(true, "/v1/looks", "look", body, strlen(body)), 500);
}

static void what_cannot_be_read_is_not_none(void **state)
{
    char path[100];
    const char *name = fake_ref(0);
    snprintf(path, sizeof path, "/v1/hosts/%.*s", (int)strcspn(name, "#"), name);
    assert_int_equal(get(path), 200);
    faults.no_latest = true;
    assert_int_equal(get(path), 500);
}

/* --- hosts' documents --------------------------------------------------------------------------------------------- */

/* The host's own word that it has taken an order. */
static void send_ack(const char *sha)
{
    char *text, now[PC_TIME_SIZE];
    pc_time_format(pc_server_now(), now);
    int n = asprintf(&text,
                     "{\"portcullis\":\"ack/1\",\"tenant\":\"acme\",\"host\":\"%s\",\"order_sha256\":\"%s\",\"verdict\":"
                     "\"accepted\",\"why\":\"\",\"text\":\"\",\"time\":\"%s\",\"checkpoint\":{\"size\":0,\"root\":\"%s\"}}",
                     fake_ref(0), sha, now, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_true(n > 0);
    fake_document(faulty_host(), PC_FRAME_ACK, "ack", text, (size_t)n);
    free(text);
}

static void ack(const char *sha)
{
    send_ack(sha);
    fake_settle();
}

/* Whatever happens within 50 ms. */
static void turn_once(struct pc_server *s)
{
    event_base_loopexit(s->base, &(struct timeval){.tv_usec = 50000});
    event_base_loop(s->base, EVLOOP_ONCE);
}

static void turn(struct pc_server *s, unsigned us)
{
    event_base_loopexit(s->base, &(struct timeval){.tv_usec = us});
    event_base_dispatch(s->base);
    fake_settle();
}

static void state_of(struct pc_server *s, const char *sha, char out[16])
{
    struct pc_store_order row;
    assert_int_equal(s->store->ops->order_get(s->store, sha, &row, NULL, NULL), 0);
    snprintf(out, 16, "%s", row.state);
}

/* Stored at once or not known to be: what follows from it follows, and it is `got` and logged once. */
static void an_ack_without_an_answer_counts(void **state)
{
    struct pc_server *s = *state;
    char sha[PC_SHA256_HEX + 1], now[16] = "";
    assert_int_equal(faulty_script(sha), 200);
    turn(s, 600000); /* the look at it that is due anyway is over */
    uint64_t size = pc_logview_size(s->log);
    unsigned got = fake_sent(faulty_host(), PC_FRAME_GOT);
    faults.answers_lost = 1;
    ack(sha);
    assert_int_equal(fake_sent(faulty_host(), PC_FRAME_GOT), got + 1);
    faulty_second(s);
    assert_int_equal(pc_logview_size(s->log), size + 1);
    for (uint64_t until = pc_mono_ns() + 10000000000u; strcmp(now, "running") != 0 && pc_mono_ns() < until;) {
        turn(s, 50000);
        state_of(s, sha, now);
    }
    assert_string_equal(now, "running");
}

static void an_ack_that_is_not_stored_is_not_got(void **state)
{
    struct pc_server *s = *state;
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(faulty_script(sha), 200);
    uint64_t size = pc_logview_size(s->log);
    unsigned got = fake_sent(faulty_host(), PC_FRAME_GOT);
    faults.begins_refused = 2;
    ack(sha);
    assert_int_equal(fake_sent(faulty_host(), PC_FRAME_GOT), got);
    assert_int_equal(pc_logview_size(s->log), size);
    ack(sha); /* as the host does it, once a minute */
    assert_int_equal(fake_sent(faulty_host(), PC_FRAME_GOT), got + 1);
    assert_int_equal(pc_logview_size(s->log), size + 1);
}

/* While the database stands still, memory does not fill with what cannot be stored: hosts wait, and nothing is lost. */
static void hosts_wait_for_a_database_that_stands_still(void **state)
{
    enum { MANY = 8600, BOUND = 8300 };
    struct pc_server *s = *state;
    struct pc_writer_counters w;
    uint32_t checking, held;
    unsigned threads, got = fake_sent(faulty_host(), PC_FRAME_GOT);
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(faulty_script(sha), 200);
    faulty_stop_writer(s);
    for (int i = 0; i < MANY; i++)
        send_ack(sha);
    do {
        turn_once(s);
        pc_inspection_facts(s->inspection, &checking, &held, &threads);
    } while (checking);
    pc_writer_counters(s->writer, &w);
    assert_int_equal(held, 1);
    assert_true(w.waiting < BOUND);
    faulty_let_writer_go();
    while (fake_sent(faulty_host(), PC_FRAME_GOT) < got + MANY)
        turn_once(s);
    fake_settle();
}

/* --- the writer --------------------------------------------------------------------------------------------------- */

struct test_job {
    struct pc_job job;
    unsigned *done;
    int result;
};

static int add_large(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    static const char entry[60000];
    uint64_t index;
    return pc_log_add(log, entry, sizeof entry, NULL, NULL, &index);
}

static void note_result(struct pc_job *job, int result)
{
    struct test_job *j = (struct test_job *)job;
    j->result = result;
    ++*j->done;
}

/* What is in memory at a time is bounded, however much waits; in the order it came. */
static void large_entries_are_several_groups(void **state)
{
    enum { MANY = 1500 };
    struct pc_server *s = *state;
    static struct test_job job[MANY];
    unsigned done = 0;
    faulty_second(s);
    uint64_t size = pc_logview_size(s->log);
    faulty_stop_writer(s);
    for (int i = 0; i < MANY; i++) {
        job[i] = (struct test_job){.job = {.run = add_large, .done = note_result}, .done = &done, .result = 1};
        assert_int_equal(pc_writer_submit(s->writer, &job[i].job), 0);
    }
    faulty_let_writer_go();
    while (done < MANY)
        turn_once(s);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(job[i].result, 0);
    faulty_second(s);
    assert_int_equal(pc_logview_size(s->log), size + MANY);
    assert_true(faulty_largest_append() < PC_GROUP_BYTES + (1u << 20));
}

/* What it is refused for may be another's in the same group, and not be written in the end. */
static void a_refusal_does_not_outlive_its_group(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(faulty_script(sha), 200);
    unsigned number = faulty_number;
    faults.commits_refused = 2;
    faulty_number = number - 2; /* older than the one before */
    assert_int_equal(faulty_script(sha), 500);
    faults.commits_refused = 0;
    faulty_number = number - 2;
    assert_int_equal(faulty_script(sha), 422);
    faulty_number = number;
}

/* A write that takes for ever is not a healthy server. */
static void health_is_not_what_was(void **state)
{
    struct pc_server *s = *state;
    assert_int_equal(get("/healthz"), 200);
    faulty_stop_writer(s);
    char why[256];
    assert_true(pc_api_healthy(s, why, sizeof why));
    faults.later = 60000000000u;
    assert_false(pc_api_healthy(s, why, sizeof why));
    faults.later = 0;
    faulty_let_writer_go();
    fake_settle();
    assert_int_equal(get("/healthz"), 200);
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

static void add_old_order(struct pc_store *s, unsigned n, int64_t created, int64_t expires)
{
    struct pc_store_order o = {.log_index = UINT64_MAX, .created = created, .expires = expires, .needed = 2};
    snprintf(o.sha256, sizeof o.sha256, "%064x", n);
    snprintf(o.id, sizeof o.id, "%032x", 0x1000000 + n);
    snprintf(o.action, sizeof o.action, "script.run");
    snprintf(o.class_, sizeof o.class_, "C");
    snprintf(o.state, sizeof o.state, "waiting");
    assert_int_equal(s->ops->order_add(s, &o, (struct pc_store_blob){"{}", 2}, NULL), 0);
}

/* However many came after it. */
static void an_old_order_is_not_forgotten(void **state)
{
    enum { NEWER = 1200 };
    struct pc_server *s = *state;
    char now[16], sha[PC_SHA256_HEX + 1];
    assert_int_equal(s->store->ops->begin(s->store), 0);
    add_old_order(s->store, 1, 1, 2);
    for (unsigned i = 2; i < 2 + NEWER; i++)
        add_old_order(s->store, i, 10, pc_server_now() + 86400);
    add_old_order(s->store, 2 + NEWER, 1, 2);
    assert_int_equal(s->store->ops->commit(s->store), 0);
    assert_int_equal(pc_progress_load(s->progress), 0);
    fake_settle();
    for (unsigned i = 1; i <= 2 + NEWER; i += 1 + NEWER) {
        snprintf(sha, sizeof sha, "%064x", i);
        state_of(s, sha, now);
        assert_string_equal(now, "expired");
    }
}

/* --- what the owners said ----------------------------------------------------------------------------------------- */

static int hand_in(const char *path, const char *ns, json_t *document)
{
    _free_ char *text = json_dumps(document, JSON_COMPACT);
    _free_ char *envelope = fake_envelope(ns, 3, text, strlen(text));
    json_decref(document);
    return fake_request(true, path, "operate", envelope, strlen(envelope));
}

/* The next trust file: the one that is in force, with the next number. */
static json_t *next_trust(struct pc_server *s)
{
    _json_ json_t *envelope = json_loads(s->policy->trust_json, 0, NULL);
    _free_ char *text = NULL;
    size_t len;
    assert_int_equal(pc_json_base64(json_object_get(envelope, "document"), 1u << 20, &text, &len), 0);
    json_t *t = json_loadb(text, len, 0, NULL);
    json_object_set_new(t, "version", json_integer((json_int_t)s->policy->trust.version + 1));
    return t;
}

static void a_trust_file_that_cannot_be_read_yet_is_read_later(void **state)
{
    struct pc_server *s = *state;
    uint64_t version = s->policy->trust.version;
    faults.key = PC_KEY_TRUST;
    assert_int_equal(hand_in("/v1/trust", "trust@portcullis", next_trust(s)), 200);
    faulty_second(s);
    assert_int_equal(s->policy->trust.version, version);
    faults.key = NULL;
    faulty_second(s);
    assert_int_equal(s->policy->trust.version, version + 1);
}

static void an_owners_document_without_an_answer_is_logged_once(void **state)
{
    struct pc_server *s = *state;
    uint64_t size = pc_logview_size(s->log);
    faults.answers_lost = 1;
    assert_int_equal(hand_in("/v1/trust", "trust@portcullis", next_trust(s)), 200);
    faulty_second(s);
    assert_int_equal(pc_logview_size(s->log), size + 1);
}

static struct pc_frame *trust_of[2]; /* the last one that a host was sent, kept as a network keeps it */

static void note_trust(const struct pc_conn *c, enum pc_frame_type type, const char *body, size_t len)
{
    if (type != PC_FRAME_TRUST)
        return;
    struct pc_frame *f = (struct pc_frame *)(uintptr_t)(body - PC_FRAME_HEAD - offsetof(struct pc_frame, data));
    pc_frame_unref(trust_of[c != faulty_host()]);
    trust_of[c != faulty_host()] = pc_frame_ref(f);
}

/* To thousands of hosts at once. */
static void a_trust_file_is_one_for_all_hosts(void **state)
{
    struct pc_conn *other = fake_connect(1);
    fake_hello(other);
    fake_settle();
    fake_listen(note_trust);
    assert_int_equal(hand_in("/v1/trust", "trust@portcullis", next_trust(*state)), 200);
    fake_listen(NULL); /* it may be sent once more before the test is over */
    assert_non_null(trust_of[0]);
    assert_ptr_equal(trust_of[0], trust_of[1]);
    for (size_t i = 0; i < PC_ARRAY_SIZE(trust_of); i++)
        pc_frame_unref(TAKE_PTR(trust_of[i]));
    fake_hang_up(other);
}

/* --- witnesses ---------------------------------------------------------------------------------------------------- */

static void nothing(void *ctx)
{
}

/* The offered checkpoint with the witness's line. */
static void cosign(struct pc_server *s, const struct pc_skey *witness, struct pc_buf *out)
{
    struct pc_note note;
    uint64_t size;
    const char *offered = pc_logview_offered(s->log, &size);
    assert_int_equal(pc_note_parse(offered, strlen(offered), &note), 0);
    pc_buf_add(out, offered, strlen(offered));
    assert_int_equal(pc_note_cosign(note.text, note.text_len, witness, pc_server_now(), out), 0);
}

/* Where the log always grows, what a witness signed is never its newest checkpoint. */
static void what_a_witness_signed_reaches_other_servers(void **state)
{
    struct pc_server *s = *state;
    struct pc_logview *other;
    struct pc_skey key;
    struct pc_buf note _buf_free_;
    const uint8_t seed[32] = {9};
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(pc_skey_make("witness.example", PC_SIG_COSIGNATURE, seed, &key), 0);
    struct pc_witnesses one = {.log = s->log_key, .witness = {key.pub}, .n = 1, .needed = 1}, none = {.log = s->log_key};
    pc_logview_witnesses(s->log, &one, pc_server_now());
    assert_int_equal(pc_logview_new(s->ears, &s->log_key, nothing, NULL, &other), 0);
    pc_logview_witnesses(other, &one, pc_server_now());
    uint64_t size;
    assert_non_null(pc_logview_offered(s->log, &size));
    assert_int_equal(faulty_script(sha), 200);
    pc_buf_init(&note, PC_NOTE_MAX);
    cosign(s, &key, &note);
    assert_int_equal(fake_request(true, "/v1/cosignatures", NULL, note.data, note.len), 200);
    assert_int_equal(pc_logview_size(s->log), size);
    assert_int_equal(pc_logview_refresh(other, pc_server_now()), 0);
    assert_int_equal(pc_logview_size(other), size);
    pc_logview_free(other);
    pc_logview_witnesses(s->log, &none, pc_server_now());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, all_well)
    const struct CMUnitTest tests[] = {
        TEST(no_database_is_not_a_bad_token),
        TEST(a_stop_needs_no_database),
        TEST(nobody_asked_is_not_nobody_reached),
        TEST(what_cannot_be_read_is_not_none),
        TEST(an_ack_without_an_answer_counts),
        TEST(an_ack_that_is_not_stored_is_not_got),
        TEST(hosts_wait_for_a_database_that_stands_still),
        TEST(large_entries_are_several_groups),
        TEST(a_refusal_does_not_outlive_its_group),
        TEST(health_is_not_what_was),
        TEST(an_old_order_is_not_forgotten),
        TEST(a_trust_file_is_one_for_all_hosts),
        TEST(what_a_witness_signed_reaches_other_servers),
        TEST(a_trust_file_that_cannot_be_read_yet_is_read_later),
        TEST(an_owners_document_without_an_answer_is_logged_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
