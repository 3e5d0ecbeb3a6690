/* Conformance: orders, approvals, hosts' progress, what is to be delivered. */
#include "rig.h"

#include "base/cleanup.h"

#include <errno.h>

#define HOSTS 600  /* more than are written or read at a time */
#define FLEET 3000 /* many times as many, and not a multiple */

static void add_order(struct pc_store *s, const struct pc_store_order *o, const struct pc_store_order_host *hosts)
{
    assert_int_equal(OP(s, order_add, o, rig_blob("{\"portcullis\": \"order/1\"}"), hosts), 0);
}

static struct pc_store_order_host order_host(unsigned n)
{
    struct pc_store_order_host h = {.ring = n % 7, .exit = -1, .changed = n};
    rig_hex(h.host_id, 32, n);
    snprintf(h.host, sizeof h.host, "host-%04u", n);
    strcpy(h.state, "queued");
    return h;
}

struct seen {
    unsigned n, stop_at;
    char ids[32][33];
};

static int count_host(void *ctx, const struct pc_store_order_host *h)
{
    struct seen *seen = ctx;
    struct pc_store_order_host want = order_host(HOSTS - seen->n);
    assert_string_equal(h->host_id, want.host_id);
    assert_string_equal(h->host, want.host);
    assert_string_equal(h->state, "queued");
    assert_string_equal(h->why, "");
    assert_int_equal(h->ring, want.ring);
    assert_int_equal(h->exit, -1);
    assert_int_equal(h->changed, want.changed);
    return ++seen->n == seen->stop_at ? 1 : 0;
}

static void orders_are_kept_whole(void **state)
{
    struct pc_store *s = *state;
    static struct pc_store_order_host hosts[HOSTS];
    struct pc_store_order o = rig_order(3), out;
    for (unsigned i = 0; i < HOSTS; i++)
        hosts[i] = order_host(HOSTS - i);
    o.hosts = HOSTS;
    o.log_index = 17;
    o.approvals = 99;
    add_order(s, &o, hosts);
    _free_ void *document = NULL;
    size_t len;
    assert_int_equal(OP(s, order_get, o.sha256, &out, &document, &len), 0);
    assert_int_equal(len, 25);
    assert_string_equal(document, "{\"portcullis\": \"order/1\"}");
    o.approvals = 0;
    assert_memory_equal(&out, &o, sizeof o);
    assert_int_equal(OP(s, order_get, o.id, &out, NULL, NULL), 0);
    assert_memory_equal(&out, &o, sizeof o);
    assert_int_equal(OP(s, order_get, "none", &out, NULL, NULL), PC_E_NOTFOUND);
    struct seen seen = {0};
    assert_int_equal(OP(s, order_hosts, o.sha256, count_host, &seen), 0);
    assert_int_equal(seen.n, HOSTS);
    seen = (struct seen){.stop_at = 256};
    assert_int_equal(OP(s, order_hosts, o.sha256, count_host, &seen), 0);
    assert_int_equal(seen.n, 256);

    assert_int_equal(OP(s, order_add, &o, rig_blob("x"), hosts), PC_E_STATE);
    rig_hex(o.sha256, 64, 4);
    assert_int_equal(OP(s, order_add, &o, rig_blob("x"), hosts), PC_E_STATE);
}

struct fleet {
    const struct pc_store_order_host *want;
    unsigned n;
};

static int same_host(void *ctx, const struct pc_store_order_host *h)
{
    struct fleet *f = ctx;
    assert_memory_equal(h, &f->want[f->n], sizeof *h);
    f->n++;
    return 0;
}

/* Many statements' worth of rows, every column different from row to row, texts that are empty and not ASCII. */
static void a_fleet_is_kept_in_order(void **state)
{
    struct pc_store *s = *state;
    static struct pc_store_order_host hosts[FLEET];
    struct pc_store_order o = rig_order(5);
    static const char *const whys[] = {"", "h\303\266her", "{\"a\",NULL}", "it's \\N"};
    for (unsigned i = 0; i < FLEET; i++) {
        hosts[i] = order_host((i * 7919) % FLEET + 1);
        memcpy(hosts[i].sha256, o.sha256, sizeof o.sha256);
        strcpy(hosts[i].why, whys[i % 4]);
        strcpy(hosts[i].outcome, i % 3 ? "" : "ok");
        strcpy(hosts[i].state, i % 5 ? "queued" : "delivered");
        hosts[i].exit = (int)i - 1000;
        hosts[i].changed = INT64_MAX - i;
    }
    o.hosts = FLEET;
    add_order(s, &o, hosts);
    struct fleet fleet = {.want = hosts};
    assert_int_equal(OP(s, order_hosts, o.sha256, same_host, &fleet), 0);
    assert_int_equal(fleet.n, FLEET);
}

/* The last host twice: the order is not there, nor any of the hosts before, and the store goes on. */
static void an_order_is_added_whole_or_not(void **state)
{
    struct pc_store *s = *state;
    static struct pc_store_order_host hosts[HOSTS];
    struct pc_store_order o = rig_order(6), out;
    for (unsigned i = 0; i < HOSTS; i++)
        hosts[i] = order_host(HOSTS - i);
    hosts[HOSTS - 1] = hosts[HOSTS - 2];
    o.hosts = HOSTS;
    assert_true(OP(s, order_add, &o, rig_blob("x"), hosts) < 0);
    assert_int_equal(OP(s, order_get, o.sha256, &out, NULL, NULL), PC_E_NOTFOUND);
    struct seen seen = {0};
    assert_int_equal(OP(s, order_hosts, o.sha256, count_host, &seen), 0);
    assert_int_equal(seen.n, 0);
    hosts[HOSTS - 1] = order_host(1);
    add_order(s, &o, hosts);
    assert_int_equal(OP(s, order_hosts, o.sha256, count_host, &seen), 0);
    assert_int_equal(seen.n, HOSTS);
}

static int list_text(void *ctx, struct pc_store_blob text)
{
    struct seen *seen = ctx;
    assert_memory_equal(text.data, seen->n == 0 ? "second came first" : "first", text.len);
    seen->n++;
    return 0;
}

static void approvals_come_once(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_order o = rig_order(1), out;
    struct seen seen = {0};
    assert_int_equal(OP(s, order_approval, o.sha256, "s2", rig_blob("x")), PC_E_NOTFOUND);
    add_order(s, &o, NULL);
    assert_int_equal(OP(s, order_approval, o.sha256, "s2", rig_blob("second came first")), 1);
    assert_int_equal(OP(s, order_approval, o.sha256, "s1", rig_blob("first")), 1);
    assert_int_equal(OP(s, order_approval, o.sha256, "s2", rig_blob("another")), 0);
    assert_int_equal(OP(s, order_approvals, o.sha256, list_text, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_int_equal(OP(s, order_get, o.id, &out, NULL, NULL), 0);
    assert_int_equal(out.approvals, 2);
}

static void states_change_once(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_order o = rig_order(1), out;
    add_order(s, &o, NULL);
    assert_int_equal(OP(s, order_state, o.sha256, "waiting", "ready", 5), 0);
    assert_int_equal(OP(s, order_state, o.sha256, "waiting", "ready", 6), PC_E_CHANGED);
    assert_int_equal(OP(s, order_state, "none", "waiting", "ready", 6), PC_E_NOTFOUND);
    assert_int_equal(OP(s, order_state, o.sha256, "ready", "running", UINT64_MAX), 0);
    assert_int_equal(OP(s, order_get, o.id, &out, NULL, NULL), 0);
    assert_string_equal(out.state, "running");
    assert_int_equal(out.log_index, 5);
}

static int note_order(void *ctx, const struct pc_store_order *o)
{
    struct seen *seen = ctx;
    assert_true(seen->n < 32);
    strcpy(seen->ids[seen->n++], o->id);
    return 0;
}

static void newest_orders_first(void **state)
{
    struct pc_store *s = *state;
    struct seen seen = {0};
    struct pc_store_order first = rig_order(0), o;
    /* Seconds 1000, 1001 (three of them), 1004, 1005. */
    for (unsigned i = 0; i < 6; i++) {
        o = rig_order(i);
        if (i == 2 || i == 3)
            o.created = 1001;
        add_order(s, &o, NULL);
    }
    assert_int_equal(OP(s, orders, INT64_MAX, 2, note_order, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.ids[0], rig_order(5).id);
    assert_string_equal(seen.ids[1], rig_order(4).id);
    /* The next page ends in the middle of a second: all of it comes. */
    assert_int_equal(OP(s, orders, 1004, 2, note_order, &seen), 0);
    assert_int_equal(seen.n, 5);
    assert_int_equal(OP(s, orders, 1001, 2, note_order, &seen), 0);
    assert_int_equal(seen.n, 6);
    assert_string_equal(seen.ids[5], first.id);
    assert_int_equal(OP(s, orders, 1000, 2, note_order, &seen), 0);
    assert_int_equal(OP(s, orders, INT64_MAX, 0, note_order, &seen), 0);
    assert_int_equal(seen.n, 6);
}

static int note_sha(void *ctx, const struct pc_store_order *o)
{
    snprintf(ctx, 65, "%s", o->sha256);
    return 0;
}

static void open_orders_by_hash(void **state)
{
    struct pc_store *s = *state;
    static const char *const over[] = {"done", "halted", "expired"};
    char last[65] = "", third[65] = "";
    for (unsigned i = 0; i < 6; i++) {
        struct pc_store_order o = rig_order(i);
        o.hosts = 0;
        assert_int_equal(OP(s, order_add, &o, rig_blob("d"), NULL), 0);
        if (i % 2 == 0)
            assert_int_equal(OP(s, order_state, o.sha256, o.state, over[i / 2], UINT64_MAX), 0);
    }
    assert_int_equal(OP(s, orders_open, "", 2, note_sha, last), 2);
    assert_int_equal(OP(s, orders_open, last, 2, note_sha, third), 1);
    assert_true(strcmp(third, last) > 0);
    assert_int_equal(OP(s, orders_open, third, 2, note_sha, third), 0);
}

static void hosts_make_progress(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_order o = rig_order(1);
    struct pc_store_order_host hosts[2] = {order_host(1), order_host(2)}, h = {.exit = 3, .changed = 77}, out;
    o.hosts = 2;
    add_order(s, &o, hosts);
    strcpy(h.sha256, o.sha256);
    strcpy(h.host_id, hosts[1].host_id);
    strcpy(h.state, "failed");
    strcpy(h.why, "cap");
    strcpy(h.outcome, "failed");
    assert_int_equal(OP(s, order_host_set, &h), 0);
    assert_int_equal(OP(s, order_host_get, o.sha256, hosts[1].host_id, &out), 0);
    assert_string_equal(out.state, "failed");
    assert_string_equal(out.why, "cap");
    assert_string_equal(out.outcome, "failed");
    assert_int_equal(out.exit, 3);
    assert_int_equal(out.changed, 77);
    assert_string_equal(out.host, hosts[1].host);
    assert_int_equal(out.ring, hosts[1].ring);
    assert_int_equal(OP(s, order_host_get, o.sha256, hosts[0].host_id, &out), 0);
    assert_string_equal(out.state, "queued");
    strcpy(h.host_id, "none");
    assert_int_equal(OP(s, order_host_set, &h), PC_E_NOTFOUND);
    assert_int_equal(OP(s, order_host_get, o.sha256, "none", &out), PC_E_NOTFOUND);
}

static void what_is_pending(void **state)
{
    struct pc_store *s = *state;
    /* By number: 0 not logged, 1 expired, 2 done on the host, 3 and 4 to be delivered (4 has the lower sequence), 5 not
     * for this host. */
    for (unsigned i = 0; i < 6; i++) {
        struct pc_store_order o = rig_order(i);
        struct pc_store_order_host h = order_host(i == 5 ? 2 : 1);
        o.hosts = 1;
        o.log_index = i == 0 ? UINT64_MAX : i;
        o.expires = i == 1 ? 50 : 9000;
        o.sequence = i == 4 ? 1 : 10 + i;
        strcpy(h.state, i == 2 ? "ok" : i == 3 ? "delivered" : "queued");
        add_order(s, &o, &h);
    }
    struct seen seen = {0};
    assert_int_equal(OP(s, pending, order_host(1).host_id, 50, note_order, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.ids[0], rig_order(4).id);
    assert_string_equal(seen.ids[1], rig_order(3).id);
}

const struct CMUnitTest order_tests[] = {
    STORE_TEST(orders_are_kept_whole), STORE_TEST(approvals_come_once), STORE_TEST(states_change_once),
    STORE_TEST(newest_orders_first),   STORE_TEST(open_orders_by_hash), STORE_TEST(hosts_make_progress),
    STORE_TEST(what_is_pending),       STORE_TEST(a_fleet_is_kept_in_order),
    STORE_TEST(an_order_is_added_whole_or_not),
};
const size_t order_tests_n = sizeof order_tests / sizeof order_tests[0];
