/*
 * The database is away for a moment, or takes a commit and does not answer: what hosts must get reaches them all the
 * same, over the link that they have, in the order of its numbers, and nothing twice.
 */
#include "faulty.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEARD_MAX 64

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

static int fresh(void **state)
{
    *state = faulty_server();
    faulty_host();
    faulty_second(*state);
    fake_listen(listen_to_host_0);
    n_heard = starts = 0;
    return 0;
}

static int all_well(void **state)
{
    (void)state;
    faults = (struct faults){0};
    fake_queued = 0;
    fake_listen(NULL);
    assert_true(faulty_host_is_there()); /* nobody was sent away */
    return 0;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void what_goes_well(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    assert_int_equal(faulty_script(sha), 200);
    assert_int_equal(n_heard, 1);
    assert_string_equal(heard[0], sha);
    faulty_second(*state);
    assert_int_equal(n_heard, 1);
}

/* Hosts take orders by rising numbers only: one that is overtaken is refused as replayed. */
static void an_order_that_cannot_be_read_is_not_overtaken(void **state)
{
    char first[PC_SHA256_HEX + 1], second[PC_SHA256_HEX + 1];
    faults.away = true;
    assert_int_equal(faulty_script(first), 200);
    assert_int_equal(n_heard, 0);
    faulty_second(*state);
    faults.away = false;
    assert_int_equal(faulty_script(second), 200);
    assert_int_equal(n_heard, 0);
    faulty_second(*state);
    assert_true(was_heard(first) && was_heard(second));
    assert_string_equal(heard[n_heard - 2], first);
    assert_string_equal(heard[n_heard - 1], second);
    unsigned before = n_heard;
    faulty_second(*state);
    assert_int_equal(n_heard, before);
}

static void a_commit_without_an_answer(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    faults.answers_lost = 1;
    assert_int_equal(faulty_script(sha), 200);
    faulty_second(*state);
    assert_true(was_heard(sha));
}

static void a_commit_without_an_answer_and_no_database_after_it(void **state)
{
    char sha[PC_SHA256_HEX + 1];
    faults.begins_refused = 1;
    faults.answers_lost = 1;
    assert_int_equal(faulty_script(sha), 500);
    faulty_second(*state);
    assert_true(was_heard(sha));
}

static int start(const char *body)
{
    return fake_request(true, "/v1/starts", "operate", body, strlen(body));
}

static void a_start_without_an_answer_is_one_run(void **state)
{
    struct pc_server *s = *state;
    char body[100];
    faulty_standing(body);
    uint64_t size = pc_logview_size(s->log);
    faults.answers_lost = 1;
    assert_int_equal(start(body), 200);
    faulty_second(s);
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
    faulty_standing(body);
    pc_logview_witnesses(s->log, &one, pc_server_now());
    assert_int_equal(start(body), 200);
    faulty_second(s);
    assert_int_equal(starts, 0);
    pc_logview_witnesses(s->log, &none, pc_server_now());
    assert_int_equal(starts, 1);
}

/* A network that is slower than the database: what comes later must not overtake what is still to be sent. */
static void what_did_not_fit_is_not_overtaken(void **state)
{
    char sha[4][PC_SHA256_HEX + 1], stop[PC_SHA256_HEX + 1];
    fake_hang_up(faulty_host());
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(faulty_script(sha[i]), 200);
    n_heard = 0;
    fake_queued = 9u << 20;
    faulty_host();
    assert_false(was_heard(sha[2]));
    assert_int_equal(faulty_script(sha[3]), 200);
    faulty_second(*state);
    assert_false(was_heard(sha[2]) || was_heard(sha[3]));
    assert_int_equal(faulty_stop(stop), 200); /* but a stop may */
    assert_true(was_heard(stop));
    fake_queued = 0;
    faulty_second(*state);
    const char *last = "";
    unsigned found = 0, before = n_heard;
    for (unsigned i = 0; i < n_heard; i++)
        for (unsigned k = found; k < 4; k++)
            if (strcmp(heard[i], sha[k]) == 0) {
                assert_int_equal(k, found++); /* in their order, and each once */
                last = heard[i];
            }
    assert_int_equal(found, 4);
    assert_string_equal(last, sha[3]);
    faulty_second(*state);
    assert_int_equal(n_heard, before);
}

/* A server that cannot hear the others sees in the log that there is something, and gives hosts what is pending. */
static void what_cannot_be_heard_is_seen(void **state)
{
    struct pc_server *s = *state;
    char sha[PC_SHA256_HEX + 1], why[256];
    assert_true(pc_api_healthy(s, why, sizeof why));
    s->deaf = true;
    assert_false(pc_api_healthy(s, why, sizeof why));
    faulty_second(s);
    faulty_second(s);
    n_heard = 0;
    assert_int_equal(faulty_script(sha), 200);
    assert_int_equal(n_heard, 1);
    faulty_second(s);
    faulty_second(s);
    assert_true(n_heard > 1);
    assert_string_equal(heard[n_heard - 1], sha);
    unsigned before = n_heard;
    faulty_second(s);
    assert_int_equal(n_heard, before);
    s->deaf = false;
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
        cmocka_unit_test_setup_teardown(what_did_not_fit_is_not_overtaken, fresh, all_well),
        cmocka_unit_test_setup_teardown(what_cannot_be_heard_is_seen, fresh, all_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
