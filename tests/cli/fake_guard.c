/*
 * A guard that guards nothing: the real control socket, with answers read from files. `fake-guard STATE ANSWERS` answers
 * command C about incident I from file number F with the lines of ANSWERS/C[-I][-F], each {"progress": ...} or the
 * final line, and adds every request to STATE/requests. Ends when its standard input does.
 */
#include "agent/control.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

struct fake {
    const char *state, *answers;
};

static void note_request(const struct fake *f, const json_t *args)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/requests", f->state);
    _fclose_ FILE *log = fopen(path, "ae");
    if (log) {
        json_dumpf(args, log, JSON_COMPACT);
        fputc('\n', log);
    }
}

static FILE *open_answer(const struct fake *f, const json_t *args)
{
    char path[4400];
    const json_t *id = json_object_get(args, "id"), *from = json_object_get(args, "from");
    int n = snprintf(path, sizeof path, "%s/%s", f->answers, json_string_value(json_object_get(args, "cmd")));
    if (id)
        n += snprintf(path + n, sizeof path - (size_t)n, "-%lld", (long long)json_integer_value(id));
    if (json_integer_value(from) > 0)
        snprintf(path + n, sizeof path - (size_t)n, "-%lld", (long long)json_integer_value(from));
    return fopen(path, "re");
}

/* True when this was the final line. */
static bool send_line(struct pc_reply *reply, const char *text)
{
    json_t *line = json_loads(text, 0, NULL);
    json_t *progress = json_object_get(line, "progress"), *result = json_object_get(line, "result");
    if (progress)
        pc_reply_progress(reply, json_incref(progress));
    else if (result)
        pc_reply_done(reply, json_incref(result));
    else
        pc_reply_fail(reply, (enum pc_code)json_integer_value(json_object_get(line, "code")), "%s",
                      json_string_value(json_object_get(line, "error")));
    json_decref(line);
    return !progress;
}

static void answer(void *ctx, const json_t *args, struct pc_reply *reply)
{
    const struct fake *f = ctx;
    note_request(f, args);
    _fclose_ FILE *file = open_answer(f, args);
    _free_ char *line = NULL;
    size_t cap = 0;
    bool done = false;
    while (file && !done && getline(&line, &cap, file) > 0)
        done = send_line(reply, line);
    if (!done)
        pc_reply_fail(reply, PC_CODE_FAILED, "no such incident");
}

static void vanish(void *ctx, const json_t *args, struct pc_reply *reply)
{
    (void)ctx;
    (void)args;
    (void)reply;
    _exit(0); /* a guard that dies while somebody waits for it */
}

static const struct pc_command commands[] = {
    {"status", true, {{NULL, 0, false}}, answer},
    {"incidents", true, {{NULL, 0, false}}, answer},
    {"incident", true, {{"id", PC_ARG_NUMBER, true}, {"from", PC_ARG_NUMBER, false}}, answer},
    {"rollback", false, {{"id", PC_ARG_NUMBER, true}, {"dry_run", PC_ARG_BOOL, false}, {"undo", PC_ARG_BOOL, false}}, answer},
    {"release", false, {{"id", PC_ARG_NUMBER, true}}, answer},
    {"end", false, {{"id", PC_ARG_NUMBER, true}}, vanish},
    {"history", true, {{"path", PC_ARG_TEXT, true}}, answer},
    {"restore", false, {{"path", PC_ARG_TEXT, true}, {"at", PC_ARG_NUMBER, false}, {"to", PC_ARG_TEXT, false}}, answer},
    {"deleted",
     false,
     {{"path", PC_ARG_TEXT, true}, {"since", PC_ARG_NUMBER, false}, {"to", PC_ARG_TEXT, false}, {"dry_run", PC_ARG_BOOL, false}},
     answer},
    {0},
};

int main(int argc, char **argv)
{
    struct pc_control *c;
    if (argc != 3)
        return 2;
    struct fake f = {argv[1], argv[2]};
    signal(SIGPIPE, SIG_IGN);
    int r = pc_control_listen(f.state, commands, &f, &c);
    if (r < 0) {
        fprintf(stderr, "fake-guard: %s: %s\n", f.state, pc_strerror(r));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    struct pollfd p[] = {{.fd = pc_control_fd(c), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (r == 0 && (poll(p, 2, 1000) >= 0) && !p[1].revents)
        r = pc_control_step(c, pc_mono_ns());
    pc_control_close(c);
    return r < 0;
}
