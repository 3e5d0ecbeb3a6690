/*
 * Owns the client's side of the control socket (src/agent/CONTROL.md): connect, one request, a stream of answers. Turns
 * every way this can fail into one line on standard error and an exit status.
 */
#include "cli/cli.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The guard sends at most 4 MiB at a time. */
#define LINE_BYTES_MAX (8u << 20)

static int no_guard(const struct pc_cli *cli, int error)
{
    if (error == EACCES || error == EPERM)
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: not allowed: be root or a member of group portcullis", cli->state_dir);
    if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR)
        return pc_cli_fail(
            PC_EXIT_NO_GUARD,
            "%s: no guard is running here: start it with `portcullisd guard`, or name its folder with --state",
            cli->state_dir);
    return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot reach the guard: %s", cli->state_dir, pc_strerror(-error));
}

/* Through the folder's descriptor: a state path may be longer than a socket address. Descriptor or -errno. */
static int open_socket(const char *folder)
{
    _close_ int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/control.sock", dir);
    _close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int send_request(int fd, json_t *request)
{
    _free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text)
        return -ENOMEM;
    int r = pc_write_all(fd, text, strlen(text));
    return r < 0 ? r : pc_write_all(fd, "\n", 1);
}

/* Reads on until line holds a whole one. 1; 0 at the end; or an error. */
static int read_line(int fd, struct pc_buf *pending, struct pc_buf *line)
{
    pc_buf_reset(line);
    for (;;) {
        char *eol = pending->len ? memchr(pending->data, '\n', pending->len) : NULL;
        size_t take = eol ? (size_t)(eol - pending->data) : pending->len;
        if (pc_buf_add(line, pending->data, take) < 0)
            return PC_E_LIMIT;
        if (eol) {
            memmove(pending->data, eol + 1, pending->len - take - 1);
            pending->len -= take + 1;
            return 1;
        }
        pc_buf_reset(pending);
        char chunk[64 << 10];
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        if (pc_buf_add(pending, chunk, (size_t)n) < 0)
            return PC_E_LIMIT;
    }
}

/* Why not, in the guard's own words, with an exit status it may choose among ours. */
static int refused(const json_t *answer)
{
    const char *why = json_string_value(json_object_get(answer, "error"));
    json_int_t code = json_integer_value(json_object_get(answer, "code"));
    enum pc_exit status = code == PC_EXIT_USAGE || code == PC_EXIT_REFUSED ? (enum pc_exit)code : PC_EXIT_FAILED;
    return pc_cli_fail(status, "%s%s", status == PC_EXIT_REFUSED ? "refused: " : "",
                       why ? why : "the guard gave no reason");
}

/* Takes one answer line. *status becomes >= 0 when it was the last. */
static int take_answer(const struct pc_buf *line, pc_cli_progress_fn progress, void *arg, json_t **result, int *status)
{
    json_t *answer = json_loadb(line->data ? line->data : "", line->len, JSON_REJECT_DUPLICATES, NULL);
    json_t *step = json_object_get(answer, "progress"), *ok = json_object_get(answer, "ok");
    json_t *value = json_object_get(answer, "result");
    int r = 0;
    if (step) {
        if (progress)
            progress(arg, step);
    } else if (json_is_true(ok) && value) {
        *result = json_incref(value);
        *status = PC_EXIT_OK;
    } else if (json_is_false(ok)) {
        *status = refused(answer);
    } else {
        r = PC_E_SYNTAX;
    }
    json_decref(answer);
    return r;
}

/* One question on a connected socket. */
static int ask_on(int fd, const struct pc_cli *cli, json_t *request, pc_cli_progress_fn progress, void *arg,
                  json_t **result)
{
    _buf_free_ struct pc_buf pending, line;
    pc_buf_init(&pending, LINE_BYTES_MAX);
    pc_buf_init(&line, LINE_BYTES_MAX);
    int status = -1;
    int r = send_request(fd, request);
    if (r == -EPIPE)
        r = 0; /* refused before it was read: the reason is waiting */
    while (r == 0 && status < 0) {
        r = read_line(fd, &pending, &line);
        if (r > 0)
            r = take_answer(&line, progress, arg, result, &status);
        else if (r == 0)
            return pc_cli_fail(PC_EXIT_FAILED, "the guard stopped before it answered: see its log, then ask again");
    }
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: the guard's answer was not understood: %s", cli->state_dir,
                           pc_strerror(r));
    return status;
}

int pc_cli_ask(const struct pc_cli *cli, json_t *request, pc_cli_progress_fn progress, void *arg, json_t **result)
{
    _close_ int fd = open_socket(cli->state_dir);
    if (fd < 0) {
        json_decref(request);
        return no_guard(cli, -fd);
    }
    return ask_on(fd, cli, request, progress, arg, result);
}

int pc_cli_ask_runner(const struct pc_cli *cli, const char *fleet_dir, json_t *request, json_t **result)
{
    _close_ int fd = open_socket(fleet_dir);
    if (fd < 0) {
        json_decref(request);
        return fd == -EACCES || fd == -EPERM ? PC_EXIT_REFUSED : PC_EXIT_NO_GUARD;
    }
    return ask_on(fd, cli, request, NULL, NULL, result);
}
