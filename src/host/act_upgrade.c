/*
 * Owns `agent.upgrade`: fetches a newer portcullisd, checks it against the hash that the owners signed, asks it for its
 * version, leaves it for its trial (trial.c), and tells the result at the next start, by which version it is that
 * starts. Never to a lower version: an old hole must not come back with valid signatures. The order's row says
 * `running` until then, so that no crash makes it run again.
 */
#include "host/runner.h"
#include "host/trial.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "host/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

int pc_fetch_words(const struct pc_runner *r, const char *path, char ***argv)
{
    const char *words[] = {
        "/proc/self/exe", "fetch", "--fleet-state", r->dir.path, "--path", path, r->config ? "--config" : NULL,
        r->config};
    int e = 0;
    for (size_t i = 0; e == 0 && i < PC_ARRAY_SIZE(words) && words[i]; i++)
        e = pc_task_arg(argv, words[i]);
    return e;
}

/* 1.2.3 as one number; the parameters were checked, PC_VERSION is ours. */
static uint64_t number_of(const char *version)
{
    unsigned v[3] = {0};
    (void)sscanf(version, "%9u.%9u.%9u", &v[0], &v[1], &v[2]);
    return ((uint64_t)v[0] << 42) + ((uint64_t)v[1] << 21) + v[2];
}

static int wait_child(const struct pc_child *c)
{
    char text[512];
    int status = 0;
    struct pollfd p = {c->out_fd, POLLIN, 0};
    for (;;) { /* what the fetch says on standard error is what we say */
        (void)poll(&p, 1, -1);
        ssize_t n = read(c->out_fd, text, sizeof text);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            break;
        if (n > 0)
            fprintf(stderr, "%.*s", (int)n, text);
    }
    if (waitpid(c->pid, &status, 0) < 0)
        return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int fetch(const struct pc_task *t, int fd)
{
    struct pc_spawn s = {.argv = t->argv, .envp = t->envp, .group_fd = -1, .out_fd = fd, .keep_fd = -1};
    struct pc_child c;
    int r = pc_spawn(&s, &c);
    if (r < 0)
        return r;
    r = wait_child(&c);
    close(c.out_fd);
    close(c.pid_fd);
    return r;
}

/* Runs the new file's --version: it must start on this host, and be what it is called. */
static int check_version(const char *path, const char *version)
{
    char program[4200], want[64];
    snprintf(program, sizeof program, "%s", path);
    snprintf(want, sizeof want, "portcullisd %s\n", version);
    char *argv[] = {program, (char[]){"--version"}, NULL};
    _free_ char *text = NULL;
    size_t len;
    int status = 0, r = pc_collect_run(argv, 4096, &text, &len, &status);
    if (r < 0)
        return r;
    if (status == 0 && strcmp(text, want) == 0)
        return 0;
    printf("the fetched program does not call itself version %s: %.100s\n", version, text);
    return PC_E_UNVERIFIED;
}

static int check_hash(int fd, const json_t *params)
{
    uint8_t digest[32];
    char hex[65];
    int r = pc_hash_file(fd, NULL, NULL, digest);
    if (r < 0)
        return r;
    pc_hex(digest, sizeof digest, hex);
    if (strcmp(hex, json_string_value(json_object_get(params, "sha256"))) == 0)
        return 0;
    printf("the fetched file is not the one that the owners signed: its SHA-256 is %s\n", hex);
    return PC_E_UNVERIFIED;
}

static int upgrade(const struct pc_task *t, const char *fresh)
{
    const char *version = json_string_value(json_object_get(t->params, "version"));
    _close_ int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : fetch(t, fd);
    if (r == 0)
        r = check_hash(fd, t->params);
    if (r == 0 && (fchmod(fd, 0755) < 0 || fsync(fd) < 0))
        r = -errno;
    if (fd >= 0)
        close(TAKE_FD(fd)); /* a file open for writing cannot be started */
    return r < 0 ? r : check_version(fresh, version);
}

static int work(void *arg)
{
    const struct pc_task *t = arg;
    char fresh[4200];
    pc_trial_path(t->r->program, fresh, sizeof fresh);
    (void)unlink(fresh); /* of an upgrade that was interrupted */
    int r = upgrade(t, fresh);
    if (r < 0) {
        (void)unlink(fresh);
        printf("upgrade: %s; nothing was changed\n", pc_strerror(r));
        return 1;
    }
    return 0;
}

static int remember(struct pc_runner *r, const char *order_sha256, const char *version)
{
    char text[160];
    int n = snprintf(text, sizeof text, "%s %s", order_sha256, version);
    return pc_memory_put(r->file, "upgrade", text, (size_t)n);
}

static void after(struct pc_task *t, struct pc_outcome *how)
{
    const char *version = json_string_value(json_object_get(t->params, "version"));
    if (strcmp(how->word, "ok") != 0)
        return;
    if (remember(t->r, t->order_sha256, version) < 0) {
        how->word = "failed";
        how->text =
            "that a new program waits for its trial cannot be written down (is the disk full?); nothing was changed";
        return;
    }
    pc_tell_event(t->r, PC_LEVEL_NOTICE, "upgrade", "order %.12s: version %s is fetched and checked; now its trial",
                  t->order_sha256, version);
    how->later = true;
    t->r->exit_status = PC_EXIT_UPGRADED; /* the loop ends once nothing runs any more; `host` tries the new program */
}

/* The trial's failure in words, as the host left it. */
static void read_why(const struct pc_runner *r, char *out, size_t cap)
{
    _free_ char *text = NULL;
    size_t len;
    if (pc_fleet_read(r->dir.fd, PC_FILE_TRIAL, 512, &text, &len) == 0)
        snprintf(out, cap, "%s", text);
    else
        snprintf(out, cap, "the host ended before its trial was over");
}

bool pc_upgrade_settle(struct pc_runner *r, const struct pc_kept_order *k)
{
    _free_ char *kept = NULL;
    size_t len;
    char why[520] = "", text[1024];
    if (pc_memory_get(r->file, "upgrade", &kept, &len) < 0 || len < 66 || strncmp(kept, k->sha256, 64) != 0)
        return false;
    if (r->trial)
        return true;
    const char *version = kept + 65;
    struct pc_outcome how = {.word = strcmp(version, PC_VERSION) == 0 ? "ok" : "failed", .text = text};
    if (how.word[0] == 'o') {
        snprintf(text, sizeof text, "%s is version %s now; the one before is %s.previous", r->program, version,
                 r->program);
    } else {
        char fresh[4200];
        pc_trial_path(r->program, fresh, sizeof fresh);
        (void)unlink(fresh);
        read_why(r, why, sizeof why);
        snprintf(text, sizeof text, "version %s is not taken: %s; version %s goes on, nothing was changed", version,
                 why, PC_VERSION);
    }
    pc_order_over(r, k->sha256, &how);
    return true;
}

enum pc_act pc_act_upgrade(struct pc_task *t)
{
    const char *version = json_string_value(json_object_get(t->params, "version"));
    if (number_of(version) <= number_of(PC_VERSION)) {
        snprintf(t->text, sizeof t->text, "version %s is not higher than %s, which runs here", version, PC_VERSION);
        return PC_ACT_REFUSED;
    }
    if (!t->r->watched) {
        snprintf(t->text, sizeof t->text,
                 "no `portcullisd host` watches this runner, so nobody would try the new version: start it that way");
        return PC_ACT_REFUSED;
    }
    if (strcmp(t->r->program, "/proc/self/exe") == 0) {
        snprintf(t->text, sizeof t->text, "the file of the running program is gone: it cannot be replaced");
        return PC_ACT_FAILED;
    }
    if (pc_fetch_words(t->r, json_string_value(json_object_get(t->params, "url_path")), &t->argv) < 0 ||
        pc_task_arg(&t->envp, "PATH=/usr/bin:/bin") < 0)
        return PC_ACT_FAILED;
    t->spec.spawn.run = work;
    t->spec.spawn.arg = t;
    t->after = after;
    return PC_ACT_RUN;
}
