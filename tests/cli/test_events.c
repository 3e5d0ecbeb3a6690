/* The event log: its three forms, and readers that are slow, full, gone or hostile. */
#include "agent/events.h"
#include "agent/events_format.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

struct place {
    char dir[64], ecs[96], old[96], sock[96];
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->dir, "/tmp/pc-events-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    snprintf(p->ecs, sizeof p->ecs, "%s/events.json", p->dir);
    snprintf(p->old, sizeof p->old, "%s/events.json.1", p->dir);
    snprintf(p->sock, sizeof p->sock, "%s/journal", p->dir);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    unlink(p->ecs);
    unlink(p->old);
    unlink(p->sock);
    int r = rmdir(p->dir);
    free(p);
    return r;
}

static const struct pc_event_about everything = {
    .category = "malware", .outcome = "success", .pid = 812, .executable = "/usr/bin/evil\n", .command_line = "evil --all \xff",
    .file_path = "/srv/a\x1b[2J", .incident = 3,
    .values = (const struct pc_event_value[]){{"score", NULL, 300}, {"why", "random \\ bytes\n", 0}, {0}},
};
static const struct pc_event_record record = {
    .time_ns = 1798675199123000000ULL, .level = PC_LEVEL_ALERT, .action = "freeze", .message = "froze it\nall", .about = &everything};

static void text_is_one_escaped_line(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf out = {.max = 1 << 20};
    pc_event_as_text(&record, &out);
    assert_false(out.failed);
    assert_string_equal(out.data, "2026-12-30T23:59:59.123Z alert freeze: froze it\\x0aall (incident 3, pid 812, exe "
                                  "/usr/bin/evil\\x0a, file /srv/a\\x1b[2J, score=300, why=random \\\\ bytes\\x0a)\n");
    pc_buf_reset(&out);
    pc_event_as_text(&(struct pc_event_record){.level = PC_LEVEL_INFO, .action = "start", .message = "up",
                                               .about = &(struct pc_event_about){0}}, &out);
    assert_string_equal(out.data, "1970-01-01T00:00:00.000Z info start: up\n");
}

static void journal_fields_cannot_be_forged(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf out = {.max = 1 << 20};
    pc_event_as_journal(&record, &out);
    assert_string_equal(out.data, "PRIORITY=1\nSYSLOG_IDENTIFIER=portcullis\nMESSAGE=froze it\\x0aall\n"
                                  "PORTCULLIS_ACTION=freeze\nPORTCULLIS_EXECUTABLE=/usr/bin/evil\\x0a\n"
                                  "PORTCULLIS_COMMAND_LINE=evil --all \\xff\nPORTCULLIS_FILE=/srv/a\\x1b[2J\n"
                                  "PORTCULLIS_PID=812\nPORTCULLIS_INCIDENT=3\nPORTCULLIS_SCORE=300\n"
                                  "PORTCULLIS_WHY=random \\\\ bytes\\x0a\n");
}

static const char *text_at(json_t *line, const char *object, const char *key)
{
    json_t *in = object ? json_object_get(line, object) : line;
    const char *text = json_string_value(json_object_get(in, key));
    return text ? text : "";
}

static void ecs_has_its_fields(void **state)
{
    (void)state;
    _buf_free_ struct pc_buf out = {.max = 1 << 20};
    pc_event_as_ecs(&record, &out);
    assert_false(out.failed);
    assert_int_equal(out.data[out.len - 1], '\n');
    assert_null(memchr(out.data, '\n', out.len - 1));
    json_t *line = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    assert_string_equal(text_at(line, NULL, "@timestamp"), "2026-12-30T23:59:59.123Z");
    assert_string_equal(text_at(line, "event", "kind"), "alert");
    assert_string_equal(text_at(line, "event", "action"), "freeze");
    assert_string_equal(text_at(line, "event", "outcome"), "success");
    assert_string_equal(json_string_value(json_array_get(json_object_get(json_object_get(line, "event"), "category"), 0)), "malware");
    assert_string_equal(text_at(line, NULL, "message"), "froze it\\x0aall");
    assert_string_equal(text_at(line, "log", "level"), "alert");
    assert_string_equal(text_at(line, "process", "executable"), "/usr/bin/evil\\x0a");
    assert_string_equal(text_at(line, "process", "command_line"), "evil --all \\xff");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(line, "process"), "pid")), 812);
    assert_string_equal(text_at(line, "file", "path"), "/srv/a\\x1b[2J");
    assert_string_equal(text_at(line, "portcullis", "why"), "random \\\\ bytes\\x0a");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(line, "portcullis"), "incident")), 3);
    json_decref(line);

    pc_buf_reset(&out);
    pc_event_as_ecs(&(struct pc_event_record){.level = PC_LEVEL_INFO, .action = "start", .message = "up",
                                              .about = &(struct pc_event_about){0}}, &out);
    line = json_loads(out.data, 0, NULL);
    assert_string_equal(text_at(line, "event", "kind"), "event");
    assert_null(json_object_get(line, "process"));
    assert_null(json_object_get(line, "file"));
    json_decref(line);
}

static size_t read_file(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, cap - 1);
    close(fd);
    assert_true(n >= 0);
    out[n] = 0;
    return (size_t)n;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        n++;
    return n;
}

static void file_is_private_appended_and_bounded(void **state)
{
    struct place *p = *state;
    struct pc_events *e = NULL;
    char text[4096];
    struct stat st;
    const struct pc_events_opts o = {.ecs_path = p->ecs};
    assert_int_equal(pc_events_open(&o, &e), 0);
    pc_event(e, PC_LEVEL_INFO, "one", NULL, "number %d", 1);
    pc_events_close(e);
    assert_int_equal(pc_events_open(&o, &e), 0);
    pc_event(e, PC_LEVEL_INFO, "two", NULL, "number %d", 2);
    read_file(p->ecs, text, sizeof text);
    assert_int_equal(count_lines(text), 2);
    assert_non_null(strstr(text, "\"message\":\"number 1\""));
    assert_int_equal(stat(p->ecs, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    /* At the bound (reached sparsely) it is moved aside once, and a new one begun. */
    pc_events_close(e);
    assert_int_equal(truncate(p->ecs, PC_EVENTS_FILE_MAX - 10), 0);
    assert_int_equal(pc_events_open(&o, &e), 0);
    pc_event(e, PC_LEVEL_INFO, "three", NULL, "number %d", 3);
    assert_int_equal(pc_events_dropped(e), 0);
    pc_events_close(e);
    assert_int_equal(stat(p->old, &st), 0);
    assert_int_equal(st.st_size, PC_EVENTS_FILE_MAX - 10);
    read_file(p->ecs, text, sizeof text);
    assert_int_equal(count_lines(text), 1);
    assert_non_null(strstr(text, "\"message\":\"number 3\""));
}

static void a_place_that_cannot_be_written_is_counted(void **state)
{
    struct place *p = *state;
    struct pc_events *e = NULL;
    /* A symlink is not followed, a fifo does not hang. */
    assert_int_equal(symlink("/dev/null", p->ecs), 0);
    const struct pc_events_opts o = {.ecs_path = p->ecs};
    assert_int_equal(pc_events_open(&o, &e), 0);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "lost");
    assert_int_equal(pc_events_dropped(e), 1);
    assert_int_equal(unlink(p->ecs), 0);
    assert_int_equal(mkfifo(p->ecs, 0600), 0);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "lost");
    assert_int_equal(pc_events_dropped(e), 2);
    /* When the place is good again, so is the log. */
    assert_int_equal(unlink(p->ecs), 0);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "kept");
    assert_int_equal(pc_events_dropped(e), 2);
    pc_events_close(e);
    char text[1024];
    read_file(p->ecs, text, sizeof text);
    assert_int_equal(count_lines(text), 1);

    pc_event(NULL, PC_LEVEL_INFO, "x", NULL, "no log at all");
}

static void a_stuck_journal_is_not_waited_for(void **state)
{
    struct place *p = *state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, p->sock, sizeof p->sock);
    int journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(journald, (struct sockaddr *)&addr, sizeof addr), 0);
    struct pc_events *e = NULL;
    assert_int_equal(pc_events_open(&(struct pc_events_opts){.journal = true, .journal_socket = p->sock}, &e), 0);
    for (int i = 0; i < 5000; i++) /* far more than a datagram queue holds; nobody reads */
        pc_event(e, PC_LEVEL_INFO, "flood", NULL, "number %d", i);
    assert_true(pc_events_dropped(e) > 0);
    assert_true(pc_events_dropped(e) < 5000);
    char got[1024];
    ssize_t n = recv(journald, got, sizeof got - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    got[n] = 0;
    assert_non_null(strstr(got, "MESSAGE=number 0\nPORTCULLIS_ACTION=flood\n"));
    close(journald);
    uint64_t before = pc_events_dropped(e);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "journald is gone");
    assert_int_equal(pc_events_dropped(e), before + 1);
    pc_events_close(e);
}

/* Puts fd in the place of standard output while the log is used. */
static int borrow_stdout(int fd)
{
    fflush(stdout);
    int kept = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_true(kept >= 0);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    return kept;
}

static void a_stuck_terminal_is_not_waited_for(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    struct pc_events *e = NULL;
    assert_int_equal(pc_events_open(&(struct pc_events_opts){.text = true, .least = PC_LEVEL_INFO}, &e), 0);
    int kept = borrow_stdout(pipe_fds[1]);
    pc_event(e, PC_LEVEL_DEBUG, "quiet", NULL, "below the least level");
    for (int i = 0; i < 5000; i++)
        pc_event(e, PC_LEVEL_INFO, "flood", NULL, "number %d %0999d", i, i);
    assert_int_equal(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    close(kept);
    assert_true(pc_events_dropped(e) > 0);
    char got[64];
    assert_int_equal(read(pipe_fds[0], got, sizeof got), sizeof got);
    assert_non_null(memmem(got, sizeof got, "Z info flood: number 0 000", 26));
    pc_events_close(e);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void floods_are_bounded_but_alerts_pass(void **state)
{
    struct place *p = *state;
    struct pc_events *e = NULL;
    assert_int_equal(pc_events_open(&(struct pc_events_opts){.ecs_path = p->ecs, .rate = 5}, &e), 0);
    uint64_t start_s = pc_mono_ns() / PC_NS_PER_S;
    for (int i = 0; i < 200; i++)
        pc_event(e, PC_LEVEL_WARNING, "flood", NULL, "number %d", i);
    uint64_t seconds = pc_mono_ns() / PC_NS_PER_S - start_s + 1;
    uint64_t suppressed = pc_events_suppressed(e);
    assert_true(200 - suppressed <= 5 * seconds);
    assert_true(200 - suppressed >= 5);
    for (int i = 0; i < 20; i++)
        pc_event(e, PC_LEVEL_ALERT, "freeze", NULL, "alert %d", i);
    assert_int_equal(pc_events_suppressed(e), suppressed);
    pc_events_close(e);
    char text[64 << 10];
    read_file(p->ecs, text, sizeof text);
    assert_non_null(strstr(text, " messages suppressed\""));
    assert_non_null(strstr(text, "alert 19"));
}

static void reload_changes_the_place(void **state)
{
    struct place *p = *state;
    struct pc_events *e = NULL;
    assert_int_equal(pc_events_open(&(struct pc_events_opts){.ecs_path = p->ecs}, &e), 0);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "first");
    assert_int_equal(pc_events_set(e, &(struct pc_events_opts){.ecs_path = p->old}), 0);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "second");
    assert_int_equal(pc_events_set(e, &(struct pc_events_opts){0}), 0);
    pc_event(e, PC_LEVEL_INFO, "x", NULL, "nowhere");
    pc_events_close(e);
    char text[2048];
    read_file(p->ecs, text, sizeof text);
    assert_int_equal(count_lines(text), 1);
    assert_non_null(strstr(text, "first"));
    read_file(p->old, text, sizeof text);
    assert_int_equal(count_lines(text), 1);
    assert_non_null(strstr(text, "second"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(text_is_one_escaped_line),
        TEST(journal_fields_cannot_be_forged),
        TEST(ecs_has_its_fields),
        TEST(file_is_private_appended_and_bounded),
        TEST(a_place_that_cannot_be_written_is_counted),
        TEST(a_stuck_journal_is_not_waited_for),
        TEST(a_stuck_terminal_is_not_waited_for),
        TEST(floods_are_bounded_but_alerts_pass),
        TEST(reload_changes_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
