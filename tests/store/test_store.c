/*
 * The store's conformance suite. Argument: "sqlite" or "postgres". Here: schema, settings, tokens, hosts, what hosts
 * send, transactions; test_orders.c, test_log.c and test_shared.c have the rest.
 */
#include "rig.h"

#include "base/cleanup.h"
#include "store/ops.h"

#include <errno.h>

/* --- schema and settings ------------------------------------------------------------------------------------------ */

static void migrating_again_changes_nothing(void **state)
{
    struct pc_store *s = *state;
    uint32_t first = 0, second = 0;
    assert_int_equal(OP(s, put, "k", rig_blob("v")), 0);
    assert_int_equal(OP(s, migrate, &first), 0);
    struct pc_store *again = rig_again();
    assert_int_equal(OP(again, migrate, &second), 0);
    assert_int_equal(first, second);
    _free_ void *value = NULL;
    size_t len;
    assert_int_equal(OP(again, get, "k", &value, &len), 0);
    OP(again, close);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, migrate, &first), PC_E_STATE);
    assert_int_equal(OP(s, rollback), 0);
}

static void settings(void **state)
{
    struct pc_store *s = *state;
    static const char odd[] = "a\0b\xff\n";
    _free_ void *value = NULL;
    size_t len = 42;
    assert_int_equal(OP(s, get, "k", &value, &len), PC_E_NOTFOUND);
    assert_null(value);
    assert_int_equal(OP(s, put, "k", ((struct pc_store_blob){odd, sizeof odd - 1})), 0);
    assert_int_equal(OP(s, get, "k", &value, &len), 0);
    assert_int_equal(len, sizeof odd - 1);
    assert_memory_equal(value, odd, sizeof odd);
    free(TAKE_PTR(value));
    assert_int_equal(OP(s, put, "k", ((struct pc_store_blob){NULL, 0})), 0);
    assert_int_equal(OP(s, get, "k", &value, &len), 0);
    assert_int_equal(len, 0);
    assert_string_equal(value, "");
}

/* One that has no form for many rows: a key that comes twice is two changes, the last of which stands. */
static void many_rows_of_any_statement(void **state)
{
    struct pc_store *s = *state;
    const struct pc_value rows[] = {pc_text("a"), pc_blob("1", 1), pc_text("b"), pc_blob("2", 1),
                                    pc_text("a"), pc_blob("3", 1)};
    assert_int_equal(pc_run_many(s, PC_SQL_SETTING_PUT, rows, 2, 3), 0);
    static const char *const want[][2] = {{"a", "3"}, {"b", "2"}};
    for (size_t i = 0; i < 2; i++) {
        _free_ void *value = NULL;
        size_t len;
        assert_int_equal(OP(s, get, want[i][0], &value, &len), 0);
        assert_string_equal(value, want[i][1]);
    }
}

static void texts_are_utf8(void **state)
{
    struct pc_store *s = *state;
    _free_ void *value = NULL;
    size_t len;
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, put, "caf\xc3\xa9", rig_blob("1")), 0);
    assert_int_equal(OP(s, put, "caf\xe9", rig_blob("2")), -EINVAL);
    assert_int_equal(OP(s, event_add, "h", 1, "kind", "\xed\xa0\x80"), -EINVAL);
    assert_int_equal(OP(s, put, "after", rig_blob("3")), 0);
    assert_int_equal(OP(s, commit), 0);
    assert_int_equal(OP(s, get, "caf\xc3\xa9", &value, &len), 0);
}

static void bad_places(void **state)
{
    (void)state;
    struct pc_store *s = NULL;
    char why[256] = "";
    assert_int_equal(pc_store_connect("mysql://x", &s, why, sizeof why), PC_E_SYNTAX);
    assert_non_null(strstr(why, "postgresql://"));
    assert_true(pc_store_connect("sqlite:/nonexistent/folder/x.db", &s, why, sizeof why) < 0);
    assert_non_null(strstr(why, "/nonexistent/folder/x.db"));
    assert_int_equal(pc_store_connect("postgresql://user:secret@127.0.0.1:1/x", &s, why, sizeof why), -EIO);
    assert_null(strstr(why, "secret"));
    assert_null(s);
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static void tokens(void **state)
{
    struct pc_store *s = *state;
    char kind[16] = "";
    assert_int_equal(OP(s, token_add, "aa", "enroll", "web1", 100), 0);
    assert_int_equal(OP(s, token_add, "aa", "look", "x", 100), PC_E_STATE);
    assert_int_equal(OP(s, token_add, "bb", "operate", "alice", 0), 0);

    assert_int_equal(OP(s, token_check, "aa", 99, kind), 0);
    assert_string_equal(kind, "enroll");
    assert_int_equal(OP(s, token_check, "aa", 100, kind), PC_E_NOTFOUND);
    assert_int_equal(OP(s, token_check, "cc", 1, kind), PC_E_NOTFOUND);
    assert_int_equal(OP(s, token_check, "bb", INT64_MAX, kind), 0);
    assert_string_equal(kind, "operate");

    assert_int_equal(OP(s, token_use, "aa", "operate", 5), PC_E_NOTFOUND);
    assert_int_equal(OP(s, token_use, "aa", "enroll", 100), PC_E_NOTFOUND);
    assert_int_equal(OP(s, token_use, "aa", "enroll", 5), 0);
    assert_int_equal(OP(s, token_use, "aa", "enroll", 5), PC_E_NOTFOUND);
    assert_int_equal(OP(s, token_check, "aa", 5, kind), PC_E_NOTFOUND);
    assert_int_equal(OP(s, token_use, "bb", "operate", 5), 0);
    assert_int_equal(OP(s, token_use, "bb", "operate", 6), 0);
}

/* --- hosts -------------------------------------------------------------------------------------------------------- */

static void same_host(const struct pc_store_host *a, const struct pc_store_host *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->id, b->id);
    assert_memory_equal(a->key, b->key, sizeof a->key);
    assert_memory_equal(a->link_key, b->link_key, sizeof a->link_key);
    assert_string_equal(a->agent, b->agent);
    assert_string_equal(a->address, b->address);
    assert_int_equal(a->enrolled, b->enrolled);
    assert_int_equal(a->last_seen, b->last_seen);
    assert_int_equal(a->online, b->online);
    assert_string_equal(a->server, b->server);
    assert_true(a->sequence == b->sequence);
    assert_true(a->checkpoint_size == b->checkpoint_size);
}

static void hosts_are_found(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_host h = rig_host(7), out = {.name = "untouched"};
    assert_int_equal(OP(s, host_by_id, h.id, &out), PC_E_NOTFOUND);
    assert_string_equal(out.name, "untouched");
    assert_int_equal(OP(s, host_add, &h, rig_blob("envelope")), 0);
    assert_int_equal(OP(s, host_by_id, h.id, &out), 0);
    same_host(&out, &h);
    assert_int_equal(OP(s, host_by_name, h.name, &out), 0);
    same_host(&out, &h);
    assert_int_equal(OP(s, host_by_link_key, h.link_key, &out), 0);
    same_host(&out, &h);
    assert_int_equal(OP(s, host_by_name, "host", &out), PC_E_NOTFOUND);

    h.last_seen = 5000;
    h.online = false;
    h.sequence = UINT64_MAX / 2;
    h.checkpoint_size = 12345678901;
    strcpy(h.agent, "0.3.0");
    strcpy(h.address, "2001:db8::1");
    strcpy(h.server, "server-2");
    assert_int_equal(OP(s, host_seen, &h), 0);
    assert_int_equal(OP(s, host_by_id, h.id, &out), 0);
    same_host(&out, &h);
    h = rig_host(8);
    assert_int_equal(OP(s, host_seen, &h), PC_E_NOTFOUND);
}

static void what_is_taken_is_refused(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_host first = rig_host(1), h;
    assert_int_equal(OP(s, host_add, &first, rig_blob("e")), 0);
    h = rig_host(2);
    strcpy(h.name, first.name);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), PC_E_STATE);
    h = rig_host(2);
    strcpy(h.id, first.id);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), PC_E_STATE);
    h = rig_host(2);
    memcpy(h.link_key, first.link_key, sizeof h.link_key);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), PC_E_STATE);
    h = rig_host(2);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), 0);
}

struct listing {
    struct pc_store *s;
    unsigned n, stop_at;
    int answer;
    char last[65];
};

static int list_host(void *ctx, const struct pc_store_host *h)
{
    struct listing *l = ctx;
    assert_true(strcmp(l->last, h->name) < 0);
    strcpy(l->last, h->name);
    return ++l->n == l->stop_at ? l->answer : 0;
}

/* Lists and looks up while listing. */
static int list_host_deep(void *ctx, const struct pc_store_host *h)
{
    struct listing *l = ctx;
    struct pc_store_host same;
    struct listing inner = {0};
    assert_int_equal(OP(l->s, host_by_id, h->id, &same), 0);
    assert_int_equal(OP(l->s, hosts, "", 5, list_host, &inner), 0);
    assert_int_equal(inner.n, 5);
    return list_host(ctx, h);
}

static void hosts_are_listed(void **state)
{
    struct pc_store *s = *state;
    struct listing l = {0};
    assert_int_equal(OP(s, hosts, "", 10, list_host, &l), 0);
    assert_int_equal(l.n, 0);
    for (unsigned i = 0; i < 25; i++) {
        struct pc_store_host h = rig_host(24 - i);
        assert_int_equal(OP(s, host_add, &h, rig_blob("e")), 0);
    }
    for (unsigned pages = 0; pages < 3; pages++)
        assert_int_equal(OP(s, hosts, l.last, 10, list_host, &l), 0);
    assert_int_equal(l.n, 25);
    l = (struct listing){.stop_at = 3, .answer = 1};
    assert_int_equal(OP(s, hosts, "", 10, list_host, &l), 0);
    assert_int_equal(l.n, 3);
    l = (struct listing){.stop_at = 3, .answer = PC_E_LIMIT};
    assert_int_equal(OP(s, hosts, "", 10, list_host, &l), PC_E_LIMIT);
    assert_int_equal(l.n, 3);
    l = (struct listing){.s = s};
    assert_int_equal(OP(s, hosts, "", 10, list_host_deep, &l), 0);
    assert_int_equal(l.n, 10);
}

/* --- what hosts send ---------------------------------------------------------------------------------------------- */

static int list_report(void *ctx, const char *host_id, struct pc_store_blob envelope)
{
    struct listing *l = ctx;
    char want[32];
    snprintf(want, sizeof want, "envelope %u", l->n);
    assert_int_equal(envelope.len, strlen(want));
    assert_memory_equal(envelope.data, want, envelope.len);
    assert_string_equal(host_id, l->n % 2 ? "host-b" : "host-a");
    return ++l->n == l->stop_at ? 1 : 0;
}

static void reports_come_once(void **state)
{
    struct pc_store *s = *state;
    char sha[65], text[32];
    for (unsigned i = 0; i < 100; i++) {
        rig_hex(sha, 64, i);
        snprintf(text, sizeof text, "envelope %u", i);
        assert_int_equal(OP(s, report_add, "result", "key", i % 2 ? "host-b" : "host-a", sha, i, rig_blob(text)), 1);
        assert_int_equal(OP(s, report_add, "result", "key", i % 2 ? "host-b" : "host-a", sha, i, rig_blob("x")), 0);
    }
    assert_int_equal(OP(s, report_add, "ring", "key", "host-a", "other", 1, rig_blob("no")), 1);
    assert_int_equal(OP(s, report_add, "result", "other", "host-a", "another", 1, rig_blob("no")), 1);
    struct listing l = {0};
    assert_int_equal(OP(s, reports, "result", "key", list_report, &l), 0);
    assert_int_equal(l.n, 100);
    l = (struct listing){.stop_at = 32};
    assert_int_equal(OP(s, reports, "result", "key", list_report, &l), 0);
    assert_int_equal(l.n, 32);
    /* A host that sends another's document does not keep the other from sending it. */
    assert_int_equal(OP(s, report_add, "result", "k3", "thief", "document", 1, rig_blob("e")), 1);
    assert_int_equal(OP(s, report_add, "result", "k3", "owner", "document", 1, rig_blob("owner's")), 1);
    _free_ void *envelope = NULL;
    size_t len;
    assert_int_equal(OP(s, report_get, "document", "owner", &envelope, &len), 0);
    assert_string_equal(envelope, "owner's");
    free(TAKE_PTR(envelope));
    assert_int_equal(OP(s, report_get, "document", NULL, &envelope, &len), 0);
    assert_string_equal(envelope, "e");
    free(TAKE_PTR(envelope));
    assert_int_equal(OP(s, report_get, "document", "nobody", &envelope, &len), PC_E_NOTFOUND);
    assert_int_equal(OP(s, report_get, "none", NULL, &envelope, &len), PC_E_NOTFOUND);
}

static void the_latest_look(void **state)
{
    struct pc_store *s = *state;
    _free_ void *value = NULL;
    size_t len;
    struct pc_store_blob one = rig_blob("one"), two = rig_blob("two");
    assert_int_equal(OP(s, latest, "h", "inventory", NULL, &value, &len), PC_E_NOTFOUND);
    assert_int_equal(OP(s, latest, "h", "inventory", &one, NULL, NULL), 0);
    assert_int_equal(OP(s, latest, "h", "inventory", &two, NULL, NULL), 0);
    assert_int_equal(OP(s, latest, "h", "metrics", &one, NULL, NULL), 0);
    assert_int_equal(OP(s, latest, "h", "inventory", NULL, &value, &len), 0);
    assert_int_equal(len, 3);
    assert_string_equal(value, "two");
}

static int list_event(void *ctx, int64_t time, const char *kind, const char *text)
{
    struct listing *l = ctx;
    assert_int_equal(time, PC_STORE_EVENTS_MAX + 49 - l->n);
    assert_string_equal(kind, "guard");
    assert_string_equal(text, "something happened");
    l->n++;
    return 0;
}

static void events_are_bounded(void **state)
{
    struct pc_store *s = *state;
    struct listing l = {0};
    assert_int_equal(OP(s, event_add, "other", 1, "guard", "mine"), 0);
    assert_int_equal(OP(s, begin), 0);
    for (int i = 0; i < PC_STORE_EVENTS_MAX + 50; i++)
        assert_int_equal(OP(s, event_add, "h", i, "guard", "something happened"), 0);
    assert_int_equal(OP(s, commit), 0);
    assert_int_equal(OP(s, events, "h", 10, list_event, &l), 0);
    assert_int_equal(l.n, 10);
    l.n = 0;
    assert_int_equal(OP(s, events, "h", 5000, list_event, &l), 0);
    assert_int_equal(l.n, PC_STORE_EVENTS_MAX);
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

static void transactions(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_host h = rig_host(1), out;
    assert_int_equal(OP(s, commit), PC_E_STATE);
    assert_int_equal(OP(s, rollback), PC_E_STATE);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, begin), PC_E_STATE);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), 0);
    assert_int_equal(OP(s, host_by_id, h.id, &out), 0);
    assert_int_equal(OP(s, rollback), 0);
    assert_int_equal(OP(s, host_by_id, h.id, &out), PC_E_NOTFOUND);
    /* Refusals leave the transaction as it is. */
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), 0);
    assert_int_equal(OP(s, host_add, &h, rig_blob("e")), PC_E_STATE);
    assert_int_equal(OP(s, token_use, "none", "enroll", 1), PC_E_NOTFOUND);
    assert_int_equal(OP(s, order_state, "none", "a", "b", 0), PC_E_NOTFOUND);
    assert_int_equal(OP(s, log_append, 5, NULL, 0, NULL, 0, "checkpoint"), PC_E_CHANGED);
    assert_int_equal(OP(s, commit), 0);
    assert_int_equal(OP(s, host_by_id, h.id, &out), 0);
}

/* An order that names a host twice breaks a rule of the tables: a failure in the middle of an operation. */
static void a_failure_undoes_all_of_it(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_order o = rig_order(1), out;
    struct pc_store_order_host hosts[2] = {{.host_id = "same", .host = "a"}, {.host_id = "same", .host = "b"}};
    o.hosts = 2;
    assert_int_equal(OP(s, order_add, &o, rig_blob("d"), hosts), -EIO);
    assert_true(strlen(OP(s, error)) > 0);
    assert_int_equal(OP(s, order_get, o.id, &out, NULL, NULL), PC_E_NOTFOUND);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, put, "before", rig_blob("x")), 0);
    assert_int_equal(OP(s, order_add, &o, rig_blob("d"), hosts), -EIO);
    assert_int_equal(OP(s, put, "after", rig_blob("x")), -EIO);
    assert_int_equal(OP(s, commit), -EIO);
    _free_ void *value = NULL;
    size_t len;
    assert_int_equal(OP(s, get, "before", &value, &len), PC_E_NOTFOUND);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, put, "before", rig_blob("x")), 0);
    assert_int_equal(OP(s, commit), 0);
    assert_int_equal(OP(s, get, "before", &value, &len), 0);
}

const struct CMUnitTest basic_tests[] = {
    STORE_TEST(migrating_again_changes_nothing),
    STORE_TEST(settings),
    STORE_TEST(many_rows_of_any_statement),
    STORE_TEST(texts_are_utf8),
    STORE_TEST(bad_places),
    STORE_TEST(tokens),
    STORE_TEST(hosts_are_found),
    STORE_TEST(what_is_taken_is_refused),
    STORE_TEST(hosts_are_listed),
    STORE_TEST(reports_come_once),
    STORE_TEST(the_latest_look),
    STORE_TEST(events_are_bounded),
    STORE_TEST(transactions),
    STORE_TEST(a_failure_undoes_all_of_it),
};
const size_t basic_tests_n = sizeof basic_tests / sizeof basic_tests[0];

int main(int argc, char **argv)
{
    if (argc != 2 || rig_start(argv[1]) < 0) {
        fprintf(stderr, "usage: test_store sqlite|postgres (with PC_POSTGRES)\n");
        return 2;
    }
    int bad = _cmocka_run_group_tests("basics", basic_tests, basic_tests_n, NULL, NULL);
    bad += _cmocka_run_group_tests("orders", order_tests, order_tests_n, NULL, NULL);
    bad += _cmocka_run_group_tests("many", many_tests, many_tests_n, NULL, NULL);
    bad += _cmocka_run_group_tests("log", log_tests, log_tests_n, NULL, NULL);
    bad += _cmocka_run_group_tests("shared", shared_tests, shared_tests_n, NULL, NULL);
    return bad ? 1 : 0;
}
