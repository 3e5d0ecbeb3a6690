/*
 * Owns what all looks share: running a program for its output, printing the answer. Runs in jobs only, never in the
 * runner itself.
 */
#include "host/collect.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "proc/spawn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

bool pc_have_systemd(void)
{
    struct stat st;
    return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

static int read_all(int fd, struct pc_buf *out)
{
    for (;;) {
        char chunk[16 << 10];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0)
            return 0;
        if (n > 0) {
            if (pc_buf_add(out, chunk, (size_t)n) < 0)
                return PC_E_LIMIT;
        } else if (errno == EAGAIN) {
            struct pollfd p = {fd, POLLIN, 0};
            (void)poll(&p, 1, -1); /* the job's own time limit ends this */
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

int pc_collect_run(char *const *argv, size_t max, char **out, size_t *len, int *status)
{
    char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, (char[]){"LC_ALL=C"}, (char[]){"SYSTEMD_COLORS=0"},
                    NULL};
    struct pc_spawn s = {.argv = argv, .envp = envp, .group_fd = -1, .out_fd = -1, .keep_fd = -1};
    struct pc_child c;
    int r = pc_spawn(&s, &c);
    if (r < 0)
        return r;
    struct pc_buf text;
    pc_buf_init(&text, max);
    r = read_all(c.out_fd, &text);
    close(c.out_fd); /* after a failure the program gets SIGPIPE */
    if (waitpid(c.pid, status, 0) < 0 && r == 0)
        r = -errno;
    close(c.pid_fd);
    if (r == 0 && text.len == 0)
        r = pc_buf_addf(&text, "%s", "");
    if (r < 0) {
        pc_buf_free(&text);
        return r;
    }
    *len = text.len;
    *out = text.data ? text.data : strdup("");
    return *out ? 0 : -ENOMEM;
}

int pc_collect_print(json_t *object)
{
    int r = object ? json_dumpf(object, stdout, JSON_COMPACT) : -1;
    json_decref(object);
    if (r < 0 || fflush(stdout) != 0) {
        fputs("the answer could not be written: out of memory\n", stderr);
        return 1;
    }
    return 0;
}

void pc_collect_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    if (!value) { /* not UTF-8 */
        char shown[1024];
        pc_escape_name(text, strlen(text), shown, sizeof shown);
        value = json_string(shown);
    }
    json_object_set_new(object, key, value);
}
