/* The control socket's server under peers that behave and peers that do not. */
#include "agent/control.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

struct world {
    char dir[64];
    struct pc_control *c;
    struct pc_reply *held;
    int calls, leaver;
    uint64_t now_ns;
};

static void do_echo(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct world *w = ctx;
    w->calls++;
    pc_reply_done(reply, json_pack("{s:O?}", "text", json_object_get(args, "text")));
}

static void do_hold(void *ctx, const json_t *args, struct pc_reply *reply)
{
    (void)args;
    struct world *w = ctx;
    w->calls++;
    w->held = reply;
}

static void do_fail(void *ctx, const json_t *args, struct pc_reply *reply)
{
    const char *text = json_string_value(json_object_get(args, "text"));
    (void)ctx;
    pc_reply_progress(reply, json_pack("{s:i}", "done", 1));
    pc_reply_fail(reply, PC_CODE_REFUSED, "no such incident: %d%s", 7, text ? text : "");
}

/* Works for long, answering others meanwhile; whoever asked has left before it is done. */
static void do_work(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct world *w = ctx;
    (void)args;
    close(w->leaver);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pc_control_step(w->c, w->now_ns), 0);
    assert_true(pc_reply_gone(reply));
    w->calls++;
    pc_reply_done(reply, json_object());
}

static json_t *long_text(size_t len)
{
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    json_t *json = json_stringn(text, len);
    free(text);
    return json;
}

static void do_huge(void *ctx, const json_t *args, struct pc_reply *reply)
{
    (void)ctx;
    (void)args;
    pc_reply_done(reply, long_text(PC_CONTROL_QUEUE_MAX));
}

static const struct pc_command commands[] = {
    {"echo", true, {{"text", PC_ARG_TEXT, true}, {"n", PC_ARG_NUMBER, false}, {"flag", PC_ARG_BOOL, false}}, do_echo},
    {"hold", false, {{NULL, 0, false}}, do_hold},
    {"fail", false, {{"text", PC_ARG_TEXT, false}}, do_fail},
    {"huge", false, {{NULL, 0, false}}, do_huge},
    {"work", false, {{NULL, 0, false}}, do_work},
    {0},
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    strcpy(w->dir, "/tmp/pc-control-XXXXXX");
    w->now_ns = PC_NS_PER_S;
    if (!mkdtemp(w->dir) || pc_control_listen(w->dir, commands, w, &w->c) < 0)
        return -1;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char path[128];
    pc_control_close(w->c);
    snprintf(path, sizeof path, "%s/control.lock", w->dir);
    unlink(path);
    int r = rmdir(w->dir); /* fails, and with it the test, when the socket was left behind */
    free(w);
    return r;
}

static int connect_to(const struct world *w)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/control.sock", w->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        int saved = -errno;
        close(fd);
        return saved;
    }
    return fd;
}

static void step(struct world *w)
{
    assert_int_equal(pc_control_step(w->c, w->now_ns), 0);
}

/* Steps until the server closes fd (or has nothing more to do); what it sent is in out. */
static size_t answer(struct world *w, int fd, char *out, size_t cap)
{
    size_t got = 0;
    for (;;) {
        step(w);
        ssize_t n = recv(fd, out + got, cap - 1 - got, MSG_DONTWAIT);
        if (n > 0) {
            got += (size_t)n;
            continue;
        }
        struct pollfd p = {.fd = pc_control_fd(w->c), .events = POLLIN};
        if (n == 0 || errno != EAGAIN || poll(&p, 1, 0) == 0)
            break;
    }
    out[got] = 0;
    return got;
}

static void ask(struct world *w, const char *request, size_t len, char *out, size_t cap)
{
    int fd = connect_to(w);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), len);
    answer(w, fd, out, cap);
    close(fd);
    step(w);
}

static void requests_are_checked(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"{\"cmd\":\"echo\",\"text\":\"hi\"}\n", "{\"ok\":true,\"result\":{\"text\":\"hi\"}}\n"},
        {"{\"text\":\"hi\",\"n\":0,\"flag\":false,\"cmd\":\"echo\"}\n", "{\"ok\":true,\"result\":{\"text\":\"hi\"}}\n"},
        {"{\"cmd\":\"fail\"}\n",
         "{\"progress\":{\"done\":1}}\n{\"ok\":false,\"error\":\"no such incident: 7\",\"code\":4}\n"},
        {"\n", "\"not JSON: '[' or '{' expected near end of file\""},
        {"{\n", "not JSON: "},
        {"[]\n", "no \\\"cmd\\\""},
        {"{\"cmd\":3}\n", "no \\\"cmd\\\""},
        {"{\"cmd\":\"ech\"}\n", "unknown command \\\"ech\\\""},
        {"{\"cmd\":\"e\\u001b[2J\"}\n", "unknown command \\\"e\\\\x1b[2J\\\""},
        {"{\"cmd\":\"echo\"}\n", "\\\"text\\\" is missing"},
        {"{\"cmd\":\"echo\",\"text\":1}\n", "\\\"text\\\" must be text"},
        {"{\"cmd\":\"echo\",\"text\":\"\",\"n\":-1}\n", "\\\"n\\\" must be a whole number from 0"},
        {"{\"cmd\":\"echo\",\"text\":\"\",\"n\":1.0}\n", "\\\"n\\\" must be a whole number from 0"},
        {"{\"cmd\":\"echo\",\"text\":\"\",\"flag\":0}\n", "\\\"flag\\\" must be true or false"},
        {"{\"cmd\":\"echo\",\"text\":\"\",\"more\":0}\n", "unknown key \\\"more\\\""},
        {"{\"cmd\":\"echo\",\"text\":\"a\",\"text\":\"b\"}\n", "duplicate object key"},
        {"{\"cmd\":\"echo\",\"cmd\":\"hold\"}\n", "duplicate object key"},
        {"{\"cmd\":\"echo\",\"text\":\"\xff\"}\n", "not JSON: "},
        {"{\"cmd\":\"echo\",\"text\":\"a\"} x\n", "not JSON: "},
        {"{\"cmd\":\"echo\",\"text\":\"a\"}\nx", "bytes after the request"},
        {"{\"cmd\":\"huge\"}\n", "the answer is too long"},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        char out[512];
        ask(w, cases[i].request, strlen(cases[i].request), out, sizeof out);
        size_t len = strlen(out);
        if (!strstr(out, cases[i].answer) || len == 0 || out[len - 1] != '\n')
            fail_msg("%s gave %s, wanted %s", cases[i].request, out, cases[i].answer);
    }
    assert_int_equal(w->calls, 2);
    assert_int_equal(pc_control_peers(w->c), 0);
}

static void too_long_a_request_is_refused(void **state)
{
    struct world *w = *state;
    size_t len = PC_CONTROL_REQUEST_MAX + 1;
    _free_ char *request = malloc(len + 1);
    assert_non_null(request);
    static const char head[] = "{\"cmd\":\"echo\",\"text\":\"";
    memset(request, 'x', len);
    memcpy(request, head, sizeof head - 1);
    char out[512];
    ask(w, request, len, out, sizeof out);
    assert_non_null(strstr(out, "the request is too long"));
    /* One byte less than the bound, with its newline, is served. */
    _free_ char *big = malloc(PC_CONTROL_REQUEST_MAX * 2);
    assert_non_null(big);
    memcpy(request + PC_CONTROL_REQUEST_MAX - 2, "\"}\n", 3);
    ask(w, request, PC_CONTROL_REQUEST_MAX + 1, big, PC_CONTROL_REQUEST_MAX * 2);
    assert_memory_equal(big, "{\"ok\":true", 10);
}

static void bytes_may_come_one_by_one(void **state)
{
    struct world *w = *state;
    static const char request[] = "{\"cmd\":\"echo\",\"text\":\"slow\"}\n";
    int fd = connect_to(w);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_int_equal(w->calls, 0);
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        step(w);
        step(w);
    }
    char out[128];
    answer(w, fd, out, sizeof out);
    assert_string_equal(out, "{\"ok\":true,\"result\":{\"text\":\"slow\"}}\n");
    close(fd);
}

static void who_does_not_ask_is_let_go(void **state)
{
    struct world *w = *state;
    int fd = connect_to(w);
    assert_true(fd >= 0);
    step(w);
    assert_int_equal(pc_control_peers(w->c), 1);
    w->now_ns += PC_CONTROL_IDLE_NS / 2;
    assert_int_equal(send(fd, "{", 1, MSG_NOSIGNAL), 1); /* a byte now and then does not buy time */
    step(w);
    assert_int_equal(pc_control_peers(w->c), 1);
    w->now_ns += PC_CONTROL_IDLE_NS / 2 + 1;
    step(w);
    assert_int_equal(pc_control_peers(w->c), 0);
    char byte;
    assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
    close(fd);
}

/* Connects, and asks for an answer that the test keeps in its hands: w->held. */
static int connect_and_hold(struct world *w)
{
    int fd = connect_to(w);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "{\"cmd\":\"hold\"}\n", 15, MSG_NOSIGNAL), 15);
    step(w);
    step(w);
    assert_non_null(w->held);
    return fd;
}

static void a_held_reply_outlives_waiting_and_leaving(void **state)
{
    struct world *w = *state;
    int fd = connect_and_hold(w);
    w->now_ns += 100 * PC_CONTROL_IDLE_NS; /* our work may take as long as it takes */
    step(w);
    assert_false(pc_reply_gone(w->held));
    assert_int_equal(pc_reply_uid(w->held), geteuid());
    assert_int_equal(pc_reply_progress(w->held, json_pack("{s:i}", "done", 1)), 0);
    char out[128];
    assert_int_equal(recv(fd, out, sizeof out, 0), 24);
    assert_memory_equal(out, "{\"progress\":{\"done\":1}}\n", 24);
    /* Half-closing is not leaving, and costs no spinning. */
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    step(w);
    assert_false(pc_reply_gone(w->held));
    struct pollfd p = {.fd = pc_control_fd(w->c), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    close(fd);
    step(w);
    assert_true(pc_reply_gone(w->held));
    assert_true(pc_reply_keeps_up(w->held));
    assert_int_equal(pc_reply_progress(w->held, json_pack("{s:i}", "done", 2)), -EPIPE);
    assert_int_equal(pc_control_peers(w->c), 0);
    pc_reply_done(w->held, json_true());
}

static void replies_survive_the_server(void **state)
{
    struct world *w = *state;
    int fd = connect_and_hold(w);
    pc_control_close(w->c);
    w->c = NULL;
    assert_true(pc_reply_gone(w->held));
    pc_reply_fail(w->held, PC_CODE_FAILED, "shutting down");
    close(fd);
}

static void who_does_not_read_is_let_go(void **state)
{
    struct world *w = *state;
    int fd = connect_and_hold(w);
    int r = 0, sent = 0;
    bool fell_behind = false;
    while (r == 0 && sent < 1000) {
        r = pc_reply_progress(w->held, long_text(64 << 10));
        sent += r == 0;
        fell_behind |= !pc_reply_keeps_up(w->held);
    }
    assert_int_equal(r, -EPIPE);
    assert_true(fell_behind);
    assert_true(sent >= (4 << 20) / (64 << 10) - 1);
    assert_true(pc_reply_gone(w->held));
    pc_reply_done(w->held, json_true());
    w->held = NULL;
    close(fd);

    /* Less than the bound, but not read for too long. */
    fd = connect_to(w);
    assert_int_equal(send(fd, "{\"cmd\":\"hold\"}\n", 15, MSG_NOSIGNAL), 15);
    step(w);
    step(w);
    assert_non_null(w->held);
    assert_int_equal(pc_reply_progress(w->held, long_text(3 << 20)), 0);
    w->now_ns += PC_CONTROL_IDLE_NS + 1;
    step(w);
    assert_true(pc_reply_gone(w->held));
    pc_reply_done(w->held, json_true());
    close(fd);
}

static void a_slow_reader_gets_all_of_it(void **state)
{
    struct world *w = *state;
    int fd = connect_to(w);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "{\"cmd\":\"hold\"}\n", 15, MSG_NOSIGNAL), 15);
    step(w);
    step(w);
    assert_int_equal(pc_reply_progress(w->held, long_text(1 << 20)), 0);
    assert_int_equal(pc_reply_progress(w->held, long_text(1 << 20)), 0);
    pc_reply_done(w->held, json_true());
    size_t cap = 4 << 20;
    _free_ char *out = malloc(cap);
    assert_non_null(out);
    size_t got = answer(w, fd, out, cap);
    assert_int_equal(got, 2 * ((1 << 20) + strlen("{\"progress\":\"\"}\n")) + strlen("{\"ok\":true,\"result\":true}\n"));
    assert_string_equal(out + got - 26, "{\"ok\":true,\"result\":true}\n");
    close(fd);
}

static void more_peers_than_places_wait_their_turn(void **state)
{
    struct world *w = *state;
    int fds[PC_CONTROL_PEERS_MAX + 3];
    for (size_t i = 0; i < PC_ARRAY_SIZE(fds); i++) {
        fds[i] = connect_to(w);
        assert_true(fds[i] >= 0);
        step(w);
    }
    assert_int_equal(pc_control_peers(w->c), PC_CONTROL_PEERS_MAX);
    struct pollfd p = {.fd = pc_control_fd(w->c), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0); /* those who wait do not make the guard spin */
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    step(w);
    step(w);
    assert_int_equal(pc_control_peers(w->c), PC_CONTROL_PEERS_MAX);
    char out[128];
    int last = fds[PC_ARRAY_SIZE(fds) - 1];
    assert_int_equal(send(last, "{\"cmd\":\"echo\",\"text\":\"at last\"}\n", 32, MSG_NOSIGNAL), 32);
    answer(w, last, out, sizeof out);
    assert_string_equal(out, "{\"ok\":true,\"result\":{\"text\":\"at last\"}}\n");
    for (size_t i = 3; i < PC_ARRAY_SIZE(fds); i++)
        close(fds[i]);
    int pair[2];
    step(w);
    assert_int_equal(pc_control_peers(w->c), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pc_control_adopt(w->c, pair[0], w->now_ns), 0);
    assert_int_equal(pc_control_peers(w->c), 1);
    close(pair[1]);
}

static void running_out_of_descriptors_does_not_spin(void **state)
{
    struct world *w = *state;
    struct rlimit old, now;
    int first = connect_to(w);
    int second = connect_to(w);
    assert_true(first >= 0 && second >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    now = old;
    now.rlim_cur = (rlim_t)second + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    for (int i = 0; i < 4; i++)
        step(w);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(pc_control_peers(w->c), 0);
    struct pollfd p = {.fd = pc_control_fd(w->c), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    close(first);
    close(second);
    char out[128];
    ask(w, "{\"cmd\":\"echo\",\"text\":\"hi\"}\n", 27, out, sizeof out);
    assert_string_equal(out, "{\"ok\":true,\"result\":{\"text\":\"hi\"}}\n");
}

static void one_guard_a_state(void **state)
{
    struct world *w = *state;
    struct pc_control *second = NULL;
    assert_int_equal(pc_control_listen(w->dir, commands, w, &second), -EADDRINUSE);
    assert_null(second);
    int fd = connect_to(w); /* the first is as before */
    assert_true(fd >= 0);
    close(fd);
    assert_true(pc_control_listen("/nonexistent", commands, w, &second) == -ENOENT);
    /* What a killed guard leaves behind does not stop the next. */
    char path[128];
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    pc_control_close(w->c);
    w->c = NULL;
    snprintf(path, sizeof path, "%s/control.sock", w->dir);
    memcpy(addr.sun_path, path, sizeof path < sizeof addr.sun_path ? sizeof path : sizeof addr.sun_path - 1);
    int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&addr, sizeof addr), 0);
    close(dead);
    assert_int_equal(connect_to(w), -ECONNREFUSED);
    assert_int_equal(pc_control_listen(w->dir, commands, w, &w->c), 0);
    fd = connect_to(w);
    assert_true(fd >= 0);
    close(fd);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true((st.st_mode & 0777) == 0600 || ((st.st_mode & 0777) == 0660 && st.st_gid == getgrnam("portcullis")->gr_gid));
}

#define OTHER_UID 64321
#define OTHER_GID 64322
#define LOOKERS_GID 64323

/* As a stranger, with these groups, sends one request over fd; the exit status says whether that worked. */
static pid_t ask_as(int fd, gid_t primary, size_t count, const gid_t *more, const char *request)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    bool ok = setgroups(count, more) == 0 && setgid(primary) == 0 && setuid(OTHER_UID) == 0;
    struct sockaddr_un addr;
    socklen_t len = sizeof addr;
    ok = ok && getsockname(fd, (struct sockaddr *)&addr, &len) == 0;
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok = ok && connect(s, (struct sockaddr *)&addr, len) == 0 && send(s, request, strlen(request), MSG_NOSIGNAL) > 0;
    char out[512] = "";
    for (size_t got = 0; ok && got < sizeof out - 1;) {
        ssize_t n = recv(s, out + got, sizeof out - 1 - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    _exit(!ok ? 9 : strstr(out, "\"ok\":true") ? 0 : strstr(out, "may only look") ? 4 : strstr(out, "only root") ? 5 : 8);
}

static void rights_go_by_the_peer_itself(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0) {
        print_message("needs root to become somebody else\n");
        skip();
    }
    static const gid_t many[] = {1, 2, 3, LOOKERS_GID};
    static const char look[] = "{\"cmd\":\"echo\",\"text\":\"hi\"}\n", act[] = "{\"cmd\":\"hold\"}\n";
    const struct {
        gid_t primary;
        size_t count;
        const gid_t *more;
        const char *request;
        int result;
    } cases[] = {
        {LOOKERS_GID, 0, NULL, look, 0}, {LOOKERS_GID, 0, NULL, act, 4}, {OTHER_GID, 4, many, look, 0},
        {OTHER_GID, 4, many, act, 4},    {OTHER_GID, 3, many, look, 5},  {OTHER_GID, 3, many, act, 5},
    };
    /* An abstract listener of the test's own: what file modes allow is not the subject. */
    int door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    assert_int_equal(bind(door, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(door, 8), 0);
    pc_control_allow_group(w->c, LOOKERS_GID);
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        pid_t pid = ask_as(door, cases[i].primary, cases[i].count, cases[i].more, cases[i].request);
        int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_true(fd >= 0);
        assert_int_equal(pc_control_adopt(w->c, fd, w->now_ns), 0);
        int status = 0;
        while (waitpid(pid, &status, WNOHANG) == 0) {
            struct pollfd p = {.fd = pc_control_fd(w->c), .events = POLLIN};
            poll(&p, 1, 10);
            step(w);
        }
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != cases[i].result)
            fail_msg("case %zu: %d instead of %d", i, WEXITSTATUS(status), cases[i].result);
    }
    assert_null(w->held);
    close(door);
}

/* (Only a build with the address sanitizer tells, should the peer be gone too early.) */
static void who_leaves_during_the_work_is_let_go_after_it(void **state)
{
    static const char request[] = "{\"cmd\":\"work\"}\n";
    struct world *w = *state;
    for (int i = 0; i < 3; i++) {
        w->leaver = connect_to(w);
        assert_true(w->leaver >= 0);
        assert_int_equal(send(w->leaver, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
        step(w);
        step(w);
        assert_int_equal(w->calls, i + 1);
        assert_int_equal(pc_control_peers(w->c), 0);
    }
}

static void errors_are_cut_between_letters(void **state)
{
    static char request[4096], out[8192];
    struct world *w = *state;
    for (int odd = 0; odd < 2; odd++) {
        int n = snprintf(request, sizeof request, "{\"cmd\":\"fail\",\"text\":\"%s", odd ? "x" : "");
        for (int i = 0; i < 1000; i++)
            n += snprintf(request + n, sizeof request - (size_t)n, "\u00e9");
        n += snprintf(request + n, sizeof request - (size_t)n, "\"}\n");
        ask(w, request, (size_t)n, out, sizeof out);
        assert_non_null(strstr(out, "no such incident: 7"));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(requests_are_checked),
        TEST(too_long_a_request_is_refused),
        TEST(bytes_may_come_one_by_one),
        TEST(who_does_not_ask_is_let_go),
        TEST(a_held_reply_outlives_waiting_and_leaving),
        TEST(replies_survive_the_server),
        TEST(who_does_not_read_is_let_go),
        TEST(a_slow_reader_gets_all_of_it),
        TEST(more_peers_than_places_wait_their_turn),
        TEST(running_out_of_descriptors_does_not_spin),
        TEST(one_guard_a_state),
        TEST(rights_go_by_the_peer_itself),
        TEST(who_leaves_during_the_work_is_let_go_after_it),
        TEST(errors_are_cut_between_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
