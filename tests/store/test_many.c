/* Conformance: what is done for many rows at once, as a group of the server's writer has them. */
#include "rig.h"

#include "base/cleanup.h"

#include <stdlib.h>

#define MANY 700 /* more than one statement takes, and not a multiple */

static struct pc_store_order_host order_host(const char *sha256, unsigned n, const char *state)
{
    struct pc_store_order_host h = {.exit = -1, .changed = n};
    snprintf(h.sha256, sizeof h.sha256, "%s", sha256);
    rig_hex(h.host_id, 32, n);
    snprintf(h.host, sizeof h.host, "host-%04u", n);
    snprintf(h.state, sizeof h.state, "%s", state);
    return h;
}

static void assert_state(struct pc_store *s, const struct pc_store_order *o, unsigned n, const char *state, int code)
{
    struct pc_store_order_host want = order_host(o->sha256, n, state), now;
    assert_int_equal(OP(s, order_host_get, o->sha256, want.host_id, &now), 0);
    assert_string_equal(now.state, state);
    assert_int_equal(now.exit, code);
}

static struct pc_store_order add_order(struct pc_store *s, unsigned n)
{
    struct pc_store_order o = rig_order(1);
    _free_ struct pc_store_order_host *hosts = calloc(n, sizeof *hosts);
    assert_non_null(hosts);
    for (unsigned i = 0; i < n; i++)
        hosts[i] = order_host(o.sha256, i, "queued");
    o.hosts = n;
    assert_int_equal(OP(s, order_add, &o, rig_blob("{}"), hosts), 0);
    return o;
}

static int advance(struct pc_store *s, const struct pc_store_order *o, unsigned n, const char *state, int code,
                   bool again)
{
    struct pc_store_order_host h = order_host(o->sha256, n, state);
    h.exit = code;
    return OP(s, order_hosts_advance, &h, 1, again);
}

static void hosts_go_forward_only(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_order o = add_order(s, 2);
    assert_int_equal(advance(s, &o, 0, "delivered", -1, false), 0);
    assert_state(s, &o, 0, "delivered", -1);
    assert_int_equal(advance(s, &o, 0, "accepted", -1, false), 0);
    assert_int_equal(advance(s, &o, 0, "delivered", 9, false), 0);
    assert_int_equal(advance(s, &o, 0, "accepted", 9, false), 0);
    assert_state(s, &o, 0, "accepted", -1);
    assert_int_equal(advance(s, &o, 0, "ok", 0, true), 0);
    assert_int_equal(advance(s, &o, 0, "accepted", 9, true), 0);
    assert_int_equal(advance(s, &o, 0, "refused", 9, false), 0);
    assert_state(s, &o, 0, "ok", 0);
    /* A standing order has many results: the newest counts. */
    assert_int_equal(advance(s, &o, 0, "failed", 3, true), 0);
    assert_state(s, &o, 0, "failed", 3);
    assert_state(s, &o, 1, "queued", -1);
    assert_int_equal(advance(s, &o, 77, "ok", 0, false), 0); /* not of this order */
    assert_int_equal(OP(s, order_hosts_advance, NULL, 0, false), 0);
}

struct states {
    unsigned n, hosts[8];
    char name[8][16];
};

static int note_state(void *ctx, const char *state, uint32_t n)
{
    struct states *l = ctx;
    assert_true(l->n < 8);
    strcpy(l->name[l->n], state);
    l->hosts[l->n++] = n;
    return 0;
}

static unsigned in_state(struct pc_store *s, const char *sha256, const char *state)
{
    struct states l = {0};
    assert_int_equal(OP(s, order_states, sha256, note_state, &l), 0);
    for (unsigned i = 0; i < l.n; i++)
        if (strcmp(l.name[i], state) == 0)
            return l.hosts[i];
    return 0;
}

static void many_hosts_go_forward(void **state)
{
    struct pc_store *s = *state;
    struct pc_store_order o = add_order(s, MANY);
    _free_ struct pc_store_order_host *h = calloc(MANY, sizeof *h);
    assert_non_null(h);
    for (unsigned i = 0; i < MANY; i++) {
        h[i] = order_host(o.sha256, i, i % 2 ? "accepted" : "refused");
        snprintf(h[i].why, sizeof h[i].why, "%s", i % 2 ? "" : "dwell");
        h[i].changed = 1000 + i;
    }
    assert_int_equal(OP(s, order_hosts_advance, h, MANY - 1, false), 0);
    assert_int_equal(in_state(s, o.sha256, "accepted"), MANY / 2 - 1);
    assert_int_equal(in_state(s, o.sha256, "refused"), MANY / 2);
    assert_int_equal(in_state(s, o.sha256, "queued"), 1);
    assert_int_equal(in_state(s, "none", "queued"), 0);
    struct pc_store_order_host now;
    assert_int_equal(OP(s, order_host_get, o.sha256, h[600].host_id, &now), 0);
    assert_string_equal(now.why, "dwell");
    assert_int_equal(now.changed, 1600);
    assert_string_equal(now.host, h[600].host);
}

static void many_reports(void **state)
{
    struct pc_store *s = *state;
    _free_ struct pc_store_report *r = calloc(MANY, sizeof *r);
    _free_ char(*sha)[65] = calloc(MANY, sizeof *sha), (*host)[33] = calloc(MANY, sizeof *host);
    assert_true(r && sha && host);
    for (unsigned i = 0; i < MANY; i++) {
        rig_hex(sha[i], 64, i);
        rig_hex(host[i], 32, i % 5);
        r[i] = (struct pc_store_report){.kind = i % 2 ? "ack" : "result",
                                        .key = "order",
                                        .host_id = host[i],
                                        .sha256 = sha[i],
                                        .time = i,
                                        .envelope = rig_blob(i == 3 ? "third" : "e")};
    }
    /* One was there, one comes twice. */
    assert_int_equal(OP(s, report_add, "ack", "order", host[1], sha[1], 1, rig_blob("before")), 1);
    strcpy(sha[650], sha[649]);
    strcpy(host[650], host[649]);
    assert_int_equal(OP(s, reports_add, r, MANY), 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(r[i].added, i != 1 && i != 650);
    assert_int_equal(OP(s, reports_add, r, MANY), 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_false(r[i].added);
    _free_ void *envelope = NULL;
    size_t len;
    assert_int_equal(OP(s, report_get, sha[3], NULL, &envelope, &len), 0);
    assert_string_equal(envelope, "third");
    free(TAKE_PTR(envelope));
    assert_int_equal(OP(s, report_get, sha[1], NULL, &envelope, &len), 0);
    assert_string_equal(envelope, "before");
}

static void large_reports(void **state)
{
    struct pc_store *s = *state;
    enum { N = 40, LEN = 600 << 10 }; /* 24 MB: several statements */
    _free_ char *text = malloc(LEN);
    struct pc_store_report r[N];
    char sha[N][65];
    assert_non_null(text);
    memset(text, 'x', LEN);
    for (unsigned i = 0; i < N; i++) {
        rig_hex(sha[i], 64, i);
        r[i] = (struct pc_store_report){
            .kind = "result", .key = "order", .host_id = "host", .sha256 = sha[i], .envelope = {text, LEN - i}};
    }
    assert_int_equal(OP(s, reports_add, r, N), 0);
    for (unsigned i = 0; i < N; i++) {
        _free_ void *envelope = NULL;
        size_t len;
        assert_true(r[i].added);
        assert_int_equal(OP(s, report_get, sha[i], NULL, &envelope, &len), 0);
        assert_int_equal(len, LEN - i);
    }
}

static void many_hosts_are_seen(void **state)
{
    struct pc_store *s = *state;
    _free_ struct pc_store_host *h = calloc(MANY, sizeof *h);
    struct pc_store_host out;
    assert_non_null(h);
    for (unsigned i = 0; i < MANY; i++) {
        h[i] = rig_host(i);
        h[i].online = false;
        strcpy(h[i].server, "");
        if (i != 5)
            assert_int_equal(OP(s, host_add, &h[i], rig_blob("e")), 0);
        h[i].online = true;
        h[i].sequence = i;
        strcpy(h[i].server, i % 2 ? "server-1" : "server-2");
    }
    assert_int_equal(OP(s, hosts_seen, h, MANY), 0);
    assert_int_equal(OP(s, host_by_id, h[5].id, &out), PC_E_NOTFOUND);
    assert_int_equal(OP(s, host_by_id, h[MANY - 1].id, &out), 0);
    assert_true(out.online);
    assert_int_equal(out.sequence, MANY - 1);
    /* Server 1 says that they are gone: that is its own word about its own links. */
    for (unsigned i = 0; i < MANY; i++) {
        h[i].online = false;
        h[i].sequence = 9999;
        strcpy(h[i].server, "server-1");
    }
    assert_int_equal(OP(s, hosts_seen, h, MANY), 0);
    for (unsigned i = 6; i < MANY; i += 97) {
        assert_int_equal(OP(s, host_by_id, h[i].id, &out), 0);
        assert_int_equal(out.online, i % 2 == 0);
        assert_int_equal(out.sequence, i % 2 ? 9999 : i);
    }
}

static void a_setting_is_dropped(void **state)
{
    struct pc_store *s = *state;
    _free_ void *value = NULL;
    size_t len;
    assert_int_equal(OP(s, put, "k", rig_blob("v")), 0);
    assert_int_equal(OP(s, put, "other", rig_blob("v")), 0);
    assert_int_equal(OP(s, drop, "k"), 0);
    assert_int_equal(OP(s, drop, "k"), 0);
    assert_int_equal(OP(s, get, "k", &value, &len), PC_E_NOTFOUND);
    assert_int_equal(OP(s, get, "other", &value, &len), 0);
}

const struct CMUnitTest many_tests[] = {
    STORE_TEST(hosts_go_forward_only), STORE_TEST(many_hosts_go_forward), STORE_TEST(many_reports),
    STORE_TEST(large_reports),         STORE_TEST(many_hosts_are_seen),   STORE_TEST(a_setting_is_dropped),
};
const size_t many_tests_n = PC_ARRAY_SIZE(many_tests);
