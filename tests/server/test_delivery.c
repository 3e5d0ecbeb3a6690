/*
 * The database is away for a moment, or takes a commit and does not answer: what hosts must get reaches them all the
 * same, over the link that they have, in the order of its numbers, and nothing twice. The server is fake.c's; every
 * store it opens is wrapped (--wrap=pc_store_connect) and can be told to fail.
 */
#include "fake.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/sha256.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEARD_MAX 32

/* --- a database that fails ---------------------------------------------------------------------------------------- */

static const struct pc_store_ops *real;
static struct pc_store_ops failing;
static pthread_t loop;
static bool away;                  /* whatever the loop reads fails */
static _Atomic int answers_lost;   /* commits of the writer that are done, and fail */
static _Atomic int begins_refused; /* its transactions after that, which do not begin */

static bool fails(void)
{
    return away && pthread_equal(pthread_self(), loop);
}

static int order_get(struct pc_store *s, const char *sha, struct pc_store_order *out, void **document, size_t *len)
{
    return fails() ? -EIO : real->order_get(s, sha, out, document, len);
}

static int pending(struct pc_store *s, const char *host, int64_t now, int (*each)(void *, const struct pc_store_order *),
                   void *ctx)
{
    return fails() ? -EIO : real->pending(s, host, now, each, ctx);
}

static int get(struct pc_store *s, const char *key, void **value, size_t *len)
{
    return fails() ? -EIO : real->get(s, key, value, len);
}

static int orders(struct pc_store *s, int64_t before, uint32_t max, int (*each)(void *, const struct pc_store_order *),
                  void *ctx)
{
    return fails() ? -EIO : real->orders(s, before, max, each, ctx);
}

static int begin(struct pc_store *s)
{
    if (!pthread_equal(pthread_self(), loop) && !answers_lost && begins_refused > 0) {
        begins_refused--;
        return -EIO;
    }
    return real->begin(s);
}

static int commit(struct pc_store *s)
{
    int ret = real->commit(s);
    if (ret == 0 && !pthread_equal(pthread_self(), loop) && answers_lost > 0) {
        answers_lost--;
        return -EIO;
    }
    return ret;
}

int __real_pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len);
int __wrap_pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len);
int __wrap_pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len)
{
    int ret = __real_pc_store_connect(where, out, why, why_len);
    if (ret < 0)
        return ret;
    real = (*out)->ops;
    failing = *real;
    failing.order_get = order_get;
    failing.pending = pending;
    failing.get = get;
    failing.orders = orders;
    failing.begin = begin;
    failing.commit = commit;
    (*out)->ops = &failing;
    return 0;
}

/* --- what a host hears -------------------------------------------------------------------------------------------- */

static char heard[HEARD_MAX][PC_SHA256_HEX + 1]; /* the orders, as they came */
static unsigned n_heard, starts;

static void listen_to_host_0(const struct pc_conn *c, enum pc_frame_type type, const char *body, size_t len)
{
    _json_ json_t *o = NULL;
    starts += type == PC_FRAME_START;
    if (type != PC_FRAME_BUNDLE)
        return;
    assert_int_equal(pc_json_parse(body, len, 1u << 20, &o, (struct pc_why){0}), 0);
    _free_ char *document = NULL;
    size_t n;
    assert_int_equal(pc_json_base64(json_object_get(json_object_get(o, "order"), "document"), 1u << 20, &document, &n), 0);
    assert_true(n_heard < HEARD_MAX);
    pc_sha256_text(document, n, heard[n_heard++]);
}

static bool was_heard(const char *sha)
{
    for (unsigned i = 0; i < n_heard; i++)
        if (strcmp(heard[i], sha) == 0)
            return true;
    return false;
}

/* --- an owner's orders -------------------------------------------------------------------------------------------- */

static unsigned number; /* of the last order */

static char *document_of(const char *class_, const char *more, size_t *len)
{
    char *text, from[PC_TIME_SIZE], until[PC_TIME_SIZE];
    number++;
    pc_time_format(pc_server_now() - 3600, from);
    pc_time_format(pc_server_now() + 86400, until);
    int n = asprintf(&text,
                     "{\"portcullis\":\"order/1\",\"id\":\"%032x\",\"tenant\":\"acme\",\"class\":\"%s\",%s,\"hosts\":[\"%s\"],"
                     "\"count\":1,\"not_before\":\"%s\",\"expires\":\"%s\",\"sequence\":%u,\"says\":\"s\"}",
                     number, class_, more, fake_ref(0), from, until, number);
    assert_true(n > 0);
    *len = (size_t)n;
    return text;
}

/* Signed by two and handed in; its hash in sha, the answer's status. */
static int order(const char *class_, const char *more, char sha[PC_SHA256_HEX + 1])
{
    size_t len;
    _free_ char *document = document_of(class_, more, &len);
    _free_ char *envelope = fake_envelope("order@portcullis", 3, document, len);
    pc_sha256_text(document, len, sha);
    return fake_request(true, "/v1/orders", "operate", envelope, strlen(envelope));
}

static int script(char sha[PC_SHA256_HEX + 1])
{
    return order("C", "\"action\":\"script.run\",\"params\":{\"argv\":[\"/bin/true\"],\"timeout\":60,\"output\":1000}", sha);
}

/* What the server does by itself every second (serve.c). */
static void a_second(struct pc_server *s)
{
    pc_delivery_tick(s->delivery, pc_server_now());
    assert_int_equal(pc_logview_refresh(s->log, pc_server_now()), 0);
    fake_settle();
}

static struct pc_conn *host_0(void)
{
    static struct pc_conn *c;
    if (!c) {
        c = fake_connect(0);
        fake_hello(c);
        fake_settle();
    }
    return c;
}

static int fresh(void **state)
{
    loop = pthread_self();
    *state = fake_server();
    host_0();
    fake_listen(listen_to_host_0);
    n_heard = starts = 0;
    return 0;
}

static int all_well(void **state)
{
    (void)state;
    away = false;
    answers_lost = begins_refused = 0;
    fake_listen(NULL);
    assert_true(fake_open(host_0())); /* nobody was sent away */
    return 0;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void what_goes_well(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(script(sha), 200);
    assert_int_equal(n_heard, 1);
    assert_string_equal(heard[0], sha);
    a_second(*state);
    assert_int_equal(n_heard, 1);
}

/* Hosts take orders by rising numbers only: one that is overtaken is refused as replayed. */
static void an_order_that_cannot_be_read_is_not_overtaken(void **state)
{
    char first[PC_SHA256_HEX + 1], second[PC_SHA256_HEX + 1];
    away = true;
    assert_int_equal(script(first), 200);
    assert_int_equal(n_heard, 0);
    a_second(*state);
    away = false;
    assert_int_equal(script(second), 200);
    assert_int_equal(n_heard, 0);
    a_second(*state);
    assert_true(was_heard(first) && was_heard(second));
    assert_string_equal(heard[n_heard - 2], first);
    assert_string_equal(heard[n_heard - 1], second);
    unsigned before = n_heard;
    a_second(*state);
    assert_int_equal(n_heard, before);
}

static void a_commit_without_an_answer(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    answers_lost = 1;
    assert_int_equal(script(sha), 200);
    a_second(*state);
    assert_true(was_heard(sha));
}

static void a_commit_without_an_answer_and_no_database_after_it(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    begins_refused = 1;
    answers_lost = 1;
    assert_int_equal(script(sha), 500);
    a_second(*state);
    assert_true(was_heard(sha));
}

static void standing(char body[100])
{
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(order("B",
                           "\"action\":\"package.update\",\"params\":{\"security\":true,\"timeout\":600},\"standing\":"
                           "{\"days\":[\"mon\"],\"from\":\"00:00\",\"until\":\"23:59\",\"every\":60}",
                           sha),
                     200);
    snprintf(body, 100, "{\"order_sha256\":\"%s\"}", sha);
}

static int start(const char *body)
{
    return fake_request(true, "/v1/starts", "operate", body, strlen(body));
}

static void a_start_without_an_answer_is_one_run(void **state)
{
    struct pc_server *s = *state;
    char body[100];
    standing(body);
    uint64_t size = pc_logview_size(s->log);
    answers_lost = 1;
    assert_int_equal(start(body), 200);
    a_second(s);
    assert_int_equal(starts, 1);
    assert_int_equal(start(body), 200);
    assert_int_equal(starts, 2);
    assert_int_equal(pc_logview_size(s->log), size + 2);
}

/* What is logged but not cosigned yet reaches the hosts that are here when it is. */
static void a_start_waits_for_its_witness(void **state)
{
    struct pc_server *s = *state;
    struct pc_witnesses one = {.log = s->log_key, .needed = 1}, none = {.log = s->log_key};
    char body[100];
    standing(body);
    pc_logview_witnesses(s->log, &one, pc_server_now());
    assert_int_equal(start(body), 200);
    a_second(s);
    assert_int_equal(starts, 0);
    pc_logview_witnesses(s->log, &none, pc_server_now());
    assert_int_equal(starts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_goes_well, fresh, all_well),
        cmocka_unit_test_setup_teardown(an_order_that_cannot_be_read_is_not_overtaken, fresh, all_well),
        cmocka_unit_test_setup_teardown(a_commit_without_an_answer, fresh, all_well),
        cmocka_unit_test_setup_teardown(a_commit_without_an_answer_and_no_database_after_it, fresh, all_well),
        cmocka_unit_test_setup_teardown(a_start_without_an_answer_is_one_run, fresh, all_well),
        cmocka_unit_test_setup_teardown(a_start_waits_for_its_witness, fresh, all_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
