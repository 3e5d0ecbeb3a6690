/* The host's parts that need no server and no rights: waiting, queues, rates, addresses, memory, starting programs. */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "host/backoff.h"
#include "host/files.h"
#include "host/memory.h"
#include "host/queue.h"
#include "host/runner.h"
#include "proc/spawn.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { MOST_MS = 300000 };

static void test_backoff(void **state)
{
    (void)state;
    assert_int_equal(pc_backoff_ms(0, MOST_MS, 0), 0);
    assert_int_equal(pc_backoff_ms(0, MOST_MS, UINT32_MAX), PC_BACKOFF_FIRST_MS - 1);
    for (uint32_t failed = 0; failed < 40; failed++) {
        uint32_t most = failed < 9 ? PC_BACKOFF_FIRST_MS << failed : MOST_MS;
        most = most > MOST_MS ? MOST_MS : most;
        assert_in_range(pc_backoff_ms(failed, MOST_MS, UINT32_MAX), most - 1 - most / 1000, most);
        assert_in_range(pc_backoff_ms(failed, MOST_MS, UINT32_MAX / 2), most / 2 - 1, most / 2);
    }
}

static void test_bucket(void **state)
{
    (void)state;
    struct pc_bucket b = {10, 10, 1, 1000};
    for (int i = 0; i < 10; i++)
        assert_true(pc_bucket_take(&b, 1000, 1));
    assert_false(pc_bucket_take(&b, 1000, 1));
    assert_false(pc_bucket_take(&b, 1000 + 900000000, 1));
    assert_true(pc_bucket_take(&b, 1000 + 1100000000, 1));
    assert_false(pc_bucket_take(&b, 1000 + 1100000000, 1));
    int taken = 0;
    while (pc_bucket_take(&b, 1000 + 3600000000000, 1)) /* an hour later: full, not more */
        taken++;
    assert_int_equal(taken, 10);
}

static void test_addresses(void **state)
{
    (void)state;
    char host[64] = "untouched";
    uint16_t port = 7;
    static const char *const bad[] = {"", ":", "a", "a:", ":1", "a:0", "a:65536", "a:1x", "a b:1", "a/b:1", "fe80::1:1", "[::1]", "[]:1", "a\n:1", "-:-1"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
        assert_int_equal(pc_split_checked(bad[i], host, sizeof host, &port), PC_E_SYNTAX);
    assert_string_equal(host, "untouched");
    assert_int_equal(port, 7);
    assert_int_equal(pc_split_checked("host.example:7444", host, sizeof host, &port), 0);
    assert_string_equal(host, "host.example");
    assert_int_equal(port, 7444);
    assert_int_equal(pc_split_checked("[2001:db8::1]:1", host, sizeof host, &port), 0);
    assert_string_equal(host, "2001:db8::1");
    assert_int_equal(pc_split_checked("abcdefgh:1", host, 8, &port), PC_E_SYNTAX);
    /* The splitting alone: any host, or none; the port's own digits. */
    const char *digits = "untouched";
    static const char *const none[] = {"", ":", "a", "a:", "a:0", "a:65536", "a:1x", "fe80::1:1", "[::1]", "abcdefgh:1"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(none); i++)
        assert_int_equal(pc_split_address(none[i], host, 8, &digits), PC_E_SYNTAX);
    assert_string_equal(digits, "untouched");
    assert_string_equal(host, "2001:db8::1");
    assert_int_equal(pc_split_address(":1", host, sizeof host, NULL), 1);
    assert_string_equal(host, "");
    assert_int_equal(pc_split_address("[::]:07444", host, sizeof host, &digits), 7444);
    assert_string_equal(host, "::");
    assert_string_equal(digits, "07444");
    assert_int_equal(pc_split_address("a b:1", host, sizeof host, NULL), 1);
    assert_string_equal(host, "a b");
}

static void test_queue(void **state)
{
    (void)state;
    struct pc_queue q;
    enum pc_frame_type type;
    const uint8_t *body;
    uint32_t len;
    pc_queue_init(&q, 100);
    assert_int_equal(pc_queue_frame(&q, 100, &type, &body, &len), 0);
    for (int round = 0; round < 50; round++) { /* the start wanders through the memory */
        assert_int_equal(pc_queue_add_frame(&q, PC_FRAME_LOOK, "twelve bytes", 12), 0);
        assert_int_equal(pc_queue_add_frame(&q, PC_FRAME_PING, NULL, 0), 0);
        assert_int_equal(pc_queue_frame(&q, 100, &type, &body, &len), 1);
        assert_int_equal(type, PC_FRAME_LOOK);
        assert_int_equal(len, 12);
        assert_memory_equal(body, "twelve bytes", 12);
        pc_queue_take(&q, PC_FRAME_HEAD + len);
        assert_int_equal(pc_queue_frame(&q, 100, &type, &body, &len), 1);
        assert_int_equal(type, PC_FRAME_PING);
        pc_queue_take(&q, PC_FRAME_HEAD);
    }
    char large[96] = "";
    assert_int_equal(pc_queue_add_frame(&q, PC_FRAME_LOOK, large, sizeof large), PC_E_LIMIT);
    assert_int_equal(q.len, 0);
    assert_int_equal(pc_queue_add_frame(&q, PC_FRAME_LOOK, large, 95), 0);
    assert_int_equal(pc_queue_add(&q, "x", 1), PC_E_LIMIT);
    assert_int_equal(pc_queue_frame(&q, 50, &type, &body, &len), PC_E_LIMIT);
    pc_queue_free(&q);
    assert_int_equal(pc_queue_add(&q, "\0\0\0\1\xff", 5), 0);
    assert_int_equal(pc_queue_frame(&q, 50, &type, &body, &len), PC_E_SYNTAX);
    pc_queue_free(&q);
}

static void test_queue_and_sockets(void **state)
{
    (void)state;
    int pair[2];
    struct pc_queue out, in;
    pc_queue_init(&out, 1u << 20);
    pc_queue_init(&in, 1u << 20);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pc_queue_receive(&in, pair[1]), 0);
    char *data = calloc(1, 500000);
    memset(data, 'x', 500000);
    assert_int_equal(pc_queue_add(&out, data, 500000), 0);
    while (in.len < 500000) {
        assert_true(pc_queue_send(&out, pair[0]) >= 0);
        assert_true(pc_queue_receive(&in, pair[1]) >= 0);
    }
    assert_memory_equal(pc_queue_front(&in), data, 500000);
    close(pair[0]);
    assert_int_equal(pc_queue_receive(&in, pair[1]), -EPIPE);
    assert_int_equal(pc_queue_add(&out, "x", 1), 0);
    assert_true(pc_queue_send(&out, pair[1]) < 0);
    close(pair[1]);
    free(data);
    pc_queue_free(&in);
    pc_queue_free(&out);
}

static int count_one(void *ctx, const struct pc_kept_order *o)
{
    (void)o;
    ++*(int *)ctx;
    return 0;
}

static int set_up_memory(void **state)
{
    char *folder = strdup("/tmp/portcullis-parts-XXXXXX"), why[256];
    struct pc_memory_file *m;
    if (!folder || !mkdtemp(folder) || pc_memory_open(folder, &m, why, sizeof why) < 0)
        return -1;
    pc_memory_close(m); /* and open what is there already */
    if (pc_memory_open(folder, &m, why, sizeof why) < 0)
        return -1;
    void **both = malloc(2 * sizeof *both);
    both[0] = m;
    both[1] = folder;
    *state = both;
    return 0;
}

static int tear_down_memory(void **state)
{
    void **both = *state;
    static const char *const files[] = {"fleet.db", "fleet.db-wal", "fleet.db-shm"};
    char path[128];
    pc_memory_close(both[0]);
    for (size_t i = 0; i < PC_ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof path, "%s/%s", (char *)both[1], files[i]);
        (void)unlink(path);
    }
    int r = rmdir(both[1]);
    free(both[1]);
    free(both);
    return r;
}

/* Member by member: what lies between them is nobody's. */
static void assert_same_order(const struct pc_kept_order *a, const struct pc_kept_order *b)
{
    assert_string_equal(a->sha256, b->sha256);
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->action, b->action);
    assert_string_equal(a->class_, b->class_);
    assert_string_equal(a->outcome, b->outcome);
    assert_string_equal(a->boot, b->boot);
    assert_int_equal(a->state, b->state);
    assert_true(a->sequence == b->sequence && a->run == b->run && a->since_boot == b->since_boot);
    assert_true(a->accepted == b->accepted && a->started == b->started && a->ended == b->ended && a->expires == b->expires);
    assert_true(a->ring == b->ring && a->soak == b->soak && a->incidents == b->incidents && a->ring_open == b->ring_open);
}

static void test_memory_of_orders(void **state)
{
    struct pc_memory_file *m = ((void **)*state)[0];
    struct pc_kept_order o = {.sha256 = "aa", .id = "1", .action = "script.run", .class_ = "C", .state = PC_ORDER_WAITING, .sequence = 5, .expires = 100}, got;
    char *text;
    size_t len;
    int n = 0;
    assert_int_equal(pc_memory_order_get(m, "aa", &got), PC_E_NOTFOUND);
    assert_int_equal(pc_memory_order_add(m, &o, "envelope", 8), 0);
    assert_int_equal(pc_memory_order_add(m, &o, "envelope", 8), PC_E_STATE);
    o.state = PC_ORDER_RUNNING;
    o.run = 1;
    o.ring_open = true;
    snprintf(o.outcome, sizeof o.outcome, "ok");
    assert_int_equal(pc_memory_order_set(m, &o), 0);
    assert_int_equal(pc_memory_order_get(m, "aa", &got), 0);
    assert_same_order(&got, &o);
    assert_int_equal(pc_memory_order_envelope(m, "aa", &text, &len), 0);
    assert_string_equal(text, "envelope");
    free(text);
    assert_int_equal(pc_memory_orders(m, PC_ORDER_WAITING, count_one, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(pc_memory_orders(m, PC_ORDER_RUNNING, count_one, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(pc_memory_orders_forget(m, 1000), 0); /* not done: stays */
    assert_int_equal(pc_memory_order_count(m, PC_ORDER_RUNNING), 1);
    o.state = PC_ORDER_DONE;
    assert_int_equal(pc_memory_order_set(m, &o), 0);
    assert_int_equal(pc_memory_orders_forget(m, 1000), 0);
    assert_int_equal(pc_memory_order_get(m, "aa", &got), PC_E_NOTFOUND);
}

static int count_bytes(void *ctx, int type, const char *json, size_t len)
{
    (void)json;
    *(size_t *)ctx += type == 13 ? len : 1;
    return 0;
}

/* A year of orders with long results, or one owner's flood of stops, must not leave a host without room for the next. */
static void test_done_orders_make_room(void **state)
{
    struct pc_memory_file *m = ((void **)*state)[0];
    struct pc_kept_order o = {.id = "1", .action = "script.run", .class_ = "C", .state = PC_ORDER_DONE, .expires = 100}, got;
    char *big = calloc(1, 60000), *text;
    size_t len, bytes = 0;
    for (int i = 0; i < 40; i++) {
        snprintf(o.sha256, sizeof o.sha256, "%d", i);
        o.ended = i;
        o.state = i == 0 ? PC_ORDER_WAITING : PC_ORDER_DONE;
        assert_int_equal(pc_memory_order_add(m, &o, big, 60000), 0);
        assert_int_equal(pc_memory_order_answer(m, o.sha256, 12, big, 1000), 0);
        assert_int_equal(pc_memory_order_answer(m, o.sha256, 13, big, 60000), 0);
    }
    free(big);
    assert_int_equal(pc_memory_orders_trim(m, 1000000), 0); /* there is room: nothing goes */
    assert_int_equal(pc_memory_order_envelope(m, "39", &text, &len), 0);
    free(text);
    assert_int_equal(len, 60000);
    assert_int_equal(pc_memory_orders_trim(m, 100), 0);
    assert_int_equal(pc_memory_order_envelope(m, "39", &text, &len), 0);
    free(text);
    assert_int_equal(len, 0);
    assert_int_equal(pc_memory_order_get(m, "39", &got), 0); /* and it is known */
    assert_int_equal(pc_memory_order_answers(m, "39", count_bytes, &bytes), 0);
    assert_int_equal(bytes, 1);
    assert_int_equal(pc_memory_order_envelope(m, "0", &text, &len), 0); /* not done: as it was */
    free(text);
    assert_int_equal(len, 60000);
    assert_int_equal(pc_memory_order_answers(m, "0", count_bytes, &bytes), 0);
    assert_int_equal(bytes, 60002);
}

static void test_memory_takes_back(void **state)
{
    struct pc_memory_file *m = ((void **)*state)[0];
    assert_int_equal(pc_memory_put_number(m, "sequence", 1), 0);
    assert_int_equal(pc_memory_begin(m), 0);
    assert_int_equal(pc_memory_put_number(m, "sequence", 2), 0);
    assert_int_equal(pc_memory_end(m, -ENOSPC), -ENOSPC);
    assert_int_equal(pc_memory_number(m, "sequence"), 1);
    assert_int_equal(pc_memory_begin(m), 0);
    assert_int_equal(pc_memory_put_number(m, "sequence", 3), 0);
    assert_int_equal(pc_memory_end(m, 0), 0);
    assert_int_equal(pc_memory_number(m, "sequence"), 3);
    assert_false(pc_memory_halted(m, "x"));
    assert_int_equal(pc_memory_halt(m, "x"), 0);
    assert_true(pc_memory_halted(m, "x"));
}

static void test_outbox_is_bounded(void **state)
{
    struct pc_memory_file *m = ((void **)*state)[0];
    char name[16], *json;
    size_t len;
    uint64_t number;
    int type;
    assert_int_equal(pc_memory_begin(m), 0);
    assert_int_equal(pc_memory_outbox_add(m, 13, "kept", "{}", 2, true), 0);
    for (int i = 0; i < 1000; i++) { /* of those that may be lost, the oldest go */
        snprintf(name, sizeof name, "lost%d", i);
        assert_int_equal(pc_memory_outbox_add(m, 12, name, "{}", 2, false), 0);
    }
    assert_int_equal(pc_memory_outbox_count(m), 257);
    for (int i = 0; pc_memory_outbox_count(m) < PC_OUTBOX_MAX; i++) {
        snprintf(name, sizeof name, "kept%d", i);
        assert_int_equal(pc_memory_outbox_add(m, 13, name, "{}", 2, true), 0);
    }
    assert_int_equal(pc_memory_outbox_add(m, 12, "one more", "{}", 2, false), PC_E_LIMIT);
    for (int i = 0; pc_memory_outbox_count(m) < PC_OUTBOX_KEPT_MAX; i++) { /* room for what was begun, and for stops */
        snprintf(name, sizeof name, "more%d", i);
        assert_int_equal(pc_memory_outbox_add(m, 13, name, "{}", 2, true), 0);
    }
    assert_int_equal(pc_memory_outbox_add(m, 13, "one more", "{}", 2, true), PC_E_LIMIT);
    assert_int_equal(pc_memory_end(m, 0), 0);
    assert_int_equal(pc_memory_outbox_next(m, 0, &number, &type, &json, &len), 0);
    assert_int_equal(type, 13);
    free(json);
    assert_int_equal(pc_memory_outbox_done(m, "kept"), 0);
    assert_int_equal(pc_memory_outbox_next(m, 0, &number, &type, &json, &len), 0);
    assert_int_equal(type, 12);
    free(json);
}

/* A metrics look once held fractions: the server closed the link at it, and the host sent it again for ever. */
static void test_a_result_that_nobody_reads_is_never_made(void **state)
{
    (void)state;
    struct pc_result r = {.tenant = "city", .look = "0123456789abcdef0123456789abcdef", .outcome = "ok", .exit = -1, .signal = -1, .output = ""}, again;
    _free_ char *document = NULL;
    size_t len;
    assert_int_equal(pc_host_ref_parse("web1#0123456789abcdef0123456789abcdef", &r.host), 0);
    pc_sha256_text("", 0, r.output_sha256);
    json_t *data = json_pack("{s:f}", "load", 0.5);
    r.data = data;
    assert_int_equal(pc_result_text(&r, &document, &len), 0);
    json_decref(data);
    assert_int_equal(pc_result_parse(document, len, &again), 0);
    assert_string_equal(again.outcome, "failed");
    assert_null(again.data);
    pc_result_clear(&again);
}

static int wait_exit(const struct pc_child *c)
{
    int status;
    struct pollfd p = {c->pid_fd, POLLIN, 0};
    (void)poll(&p, 1, 10000);
    assert_int_equal(pc_child_reap(c, &status), 0);
    close(c->pid_fd);
    close(c->out_fd);
    return status;
}

static int count_descriptors(void *arg)
{
    (void)arg;
    int n = 0;
    for (int fd = 3; fd < 256; fd++)
        n += lseek(fd, 0, SEEK_CUR) >= 0 || errno != EBADF;
    return n;
}

static void test_spawn(void **state)
{
    (void)state;
    char *envp[] = {NULL};
    char *missing[] = {(char[]){"/nowhere/at-all"}, NULL}, *good[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"exit 7"}, NULL};
    struct pc_spawn s = {.argv = missing, .envp = envp, .group_fd = -1, .out_fd = -1, .keep_fd = -1};
    struct pc_child c = {.pid = 42};
    assert_int_equal(pc_spawn(&s, &c), -ENOENT);
    assert_int_equal(c.pid, 42);
    s.argv = good;
    assert_int_equal(pc_spawn(&s, &c), 0);
    assert_int_equal(WEXITSTATUS(wait_exit(&c)), 7);
    int held = dup(0);
    s = (struct pc_spawn){.run = count_descriptors, .group_fd = -1, .out_fd = -1, .keep_fd = -1};
    assert_int_equal(pc_spawn(&s, &c), 0);
    assert_int_equal(WEXITSTATUS(wait_exit(&c)), 0); /* it inherits none of ours */
    s.keep_fd = held;
    assert_int_equal(pc_spawn(&s, &c), 0);
    assert_int_equal(WEXITSTATUS(wait_exit(&c)), 1);
    close(held);
}

static void test_sealed(void **state)
{
    (void)state;
    char text[8] = "";
    _close_ int fd = pc_sealed_file("test", "script", 6);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, text, sizeof text, 0), 6);
    assert_string_equal(text, "script");
    assert_true(pwrite(fd, "x", 1, 0) < 0);
    assert_true(ftruncate(fd, 0) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_and_sockets),
        cmocka_unit_test_setup_teardown(test_memory_of_orders, set_up_memory, tear_down_memory),
        cmocka_unit_test_setup_teardown(test_done_orders_make_room, set_up_memory, tear_down_memory),
        cmocka_unit_test_setup_teardown(test_memory_takes_back, set_up_memory, tear_down_memory),
        cmocka_unit_test_setup_teardown(test_outbox_is_bounded, set_up_memory, tear_down_memory),
        cmocka_unit_test(test_a_result_that_nobody_reads_is_never_made),
        cmocka_unit_test(test_spawn),
        cmocka_unit_test(test_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
