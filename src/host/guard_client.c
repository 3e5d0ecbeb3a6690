/*
 * Owns the runner's way to the guard of this host: its control socket (src/agent/CONTROL.md), one question, a bounded
 * wait.
 */
#include "host/runner.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define ANSWER_MAX (4u << 20)

/* Through the folder's descriptor: a state path may be longer than a socket address. */
static int connect_guard(const char *guard_dir, int wait_s)
{
    _close_ int dir = open(guard_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? PC_E_NOTFOUND : -errno;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/control.sock", dir);
    _close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval tv = {.tv_sec = wait_s};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return errno == ENOENT || errno == ECONNREFUSED ? PC_E_NOTFOUND : -errno;
    return TAKE_FD(fd);
}

/* The last line of the answer: progress lines come before it. */
static int read_answer(int fd, struct pc_buf *text)
{
    for (;;) {
        char chunk[16 << 10];
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (n == 0)
            return 0;
        if (pc_buf_add(text, chunk, (size_t)n) < 0)
            return PC_E_LIMIT;
        char *eol;
        while ((eol = memchr(text->data, '\n', text->len)) && eol + 1 < text->data + text->len) {
            size_t rest = text->len - (size_t)(eol + 1 - text->data);
            memmove(text->data, eol + 1, rest + 1);
            text->len = rest;
        }
    }
}

static int take_answer(const struct pc_buf *text, json_t **result, char *why, size_t why_len)
{
    json_t *answer = json_loadb(text->data ? text->data : "", text->len,
                                JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, NULL);
    json_t *value = json_object_get(answer, "result");
    const char *error = json_string_value(json_object_get(answer, "error"));
    int r = PC_E_SYNTAX;
    if (json_is_true(json_object_get(answer, "ok")) && value) {
        *result = json_incref(value);
        r = 0;
    } else if (error) {
        snprintf(why, why_len, "%s", error);
        r = PC_E_REFUSED;
    }
    json_decref(answer);
    return r;
}

int pc_guard_ask(const char *guard_dir, const json_t *request, int wait_s, json_t **result, char *why, size_t why_len)
{
    _close_ int fd = connect_guard(guard_dir, wait_s);
    if (fd < 0) {
        snprintf(why, why_len, "%s%s",
                 fd == PC_E_NOTFOUND ? "no guard runs on this host" : "the guard cannot be reached: ",
                 fd == PC_E_NOTFOUND ? "" : pc_strerror(fd));
        return fd;
    }
    _buf_free_ struct pc_buf text;
    pc_buf_init(&text, ANSWER_MAX);
    _free_ char *line = json_dumps(request, JSON_COMPACT);
    int r = line ? pc_buf_addf(&text, "%s\n", line) : -ENOMEM;
    if (r == 0)
        r = pc_write_all(fd, text.data, text.len);
    pc_buf_reset(&text);
    if (r == 0)
        r = read_answer(fd, &text);
    if (r == 0)
        return take_answer(&text, result, why, why_len);
    snprintf(why, why_len, "the guard did not answer: %s", pc_strerror(r));
    return r;
}

int64_t pc_guard_incidents(const struct pc_runner *r)
{
    char why[256];
    json_t *status, *request = json_pack("{s:s}", "cmd", "status");
    int e = request ? pc_guard_ask(r->guard_dir, request, 2, &status, why, sizeof why) : -ENOMEM;
    json_decref(request);
    if (e < 0)
        return -1;
    int64_t n = json_integer_value(json_object_get(json_object_get(status, "incidents"), "total"));
    json_decref(status);
    return n;
}
