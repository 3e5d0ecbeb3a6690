/*
 * Owns the event log: rate bound, and the three sinks (standard output, journal, ECS file), each of which may fail or
 * be slow without anybody waiting. What an event looks like in each is events_format.c. Must never be called by the
 * thread that answers the kernel: it opens and writes files.
 */
#include "agent/events.h"

#include "agent/events_format.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MESSAGE_BYTES_MAX 2048
#define LINE_BYTES_MAX (64u << 10)

struct pc_events {
    struct pc_events_opts opts; /* ecs_path is ours */
    char *ecs_path;
    int ecs_fd, journal_fd;
    uint64_t ecs_size;
    bool stdout_is_journal;
    struct sockaddr_un journal;
    uint64_t second; /* of the rate bound */
    uint32_t in_second, held_back; /* events passed, and held back, in that second */
    uint64_t dropped, suppressed;
    struct pc_buf line;
};

/* systemd names the device and inode of the stream it gave us (sd_journal_stream(3), $JOURNAL_STREAM). */
static bool stdout_goes_to_journal(void)
{
    unsigned long long dev, ino;
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDOUT_FILENO, &st) == 0 &&
           st.st_dev == dev && st.st_ino == ino;
}

/* Opens the file; its folder must exist. Leaves ecs_fd -1 when that fails: write_ecs tries again and counts. */
static void open_ecs(struct pc_events *e)
{
    struct stat st;
    _close_ int fd = open(e->ecs_path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
                          0600);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    e->ecs_size = (uint64_t)st.st_size;
    e->ecs_fd = TAKE_FD(fd);
}

static void close_sinks(struct pc_events *e)
{
    pc_closep(&e->ecs_fd);
    pc_closep(&e->journal_fd);
    e->ecs_fd = e->journal_fd = -1;
}

static void open_sinks(struct pc_events *e)
{
    e->stdout_is_journal = stdout_goes_to_journal();
    if (e->opts.journal && access(e->journal.sun_path, W_OK) == 0)
        e->journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (e->ecs_path)
        open_ecs(e);
}

int pc_events_set(struct pc_events *e, const struct pc_events_opts *o)
{
    char *path = NULL;
    if (o->ecs_path && !(path = strdup(o->ecs_path)))
        return -ENOMEM;
    close_sinks(e);
    free(e->ecs_path);
    e->ecs_path = path;
    e->opts = *o;
    e->opts.ecs_path = e->opts.journal_socket = NULL;
    e->journal = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(e->journal.sun_path, sizeof e->journal.sun_path, "%s",
             o->journal_socket ? o->journal_socket : "/run/systemd/journal/socket");
    open_sinks(e);
    return 0;
}

int pc_events_open(const struct pc_events_opts *o, struct pc_events **out)
{
    struct pc_events *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->ecs_fd = e->journal_fd = -1;
    pc_buf_init(&e->line, LINE_BYTES_MAX);
    int r = pc_events_set(e, o);
    if (r < 0) {
        free(e);
        return r;
    }
    *out = e;
    return 0;
}

uint64_t pc_events_dropped(const struct pc_events *e)
{
    return e->dropped;
}

uint64_t pc_events_suppressed(const struct pc_events *e)
{
    return e->suppressed;
}

/*
 * Standard output is shared with whoever gave it to us, so it cannot be made non-blocking. A pipe that polls writable
 * takes PIPE_BUF bytes without waiting, and a terminal that is held (Ctrl-S) does not poll writable.
 */
static void write_stdout(struct pc_events *e, const struct pc_event_record *rec)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    pc_buf_reset(&e->line);
    pc_event_as_text(rec, &e->line);
    size_t len = e->line.len;
    if (len > 4096) { /* PIPE_BUF: more could block after all */
        len = 4096;
        e->line.data[len - 1] = '\n';
    }
    bool ready = poll(&p, 1, 0) == 1 && p.revents == POLLOUT; /* with POLLERR its reader is gone */
    if (e->line.failed || !ready || write(STDOUT_FILENO, e->line.data, len) < 0)
        e->dropped++;
}

/*
 * The journal's native datagram protocol, by hand: sd_journal_send() blocks when journald does not keep up, and
 * journald may be waiting for an open that the guard has yet to answer.
 */
static void write_journal(struct pc_events *e, const struct pc_event_record *rec)
{
    pc_buf_reset(&e->line);
    pc_event_as_journal(rec, &e->line);
    if (e->line.failed || sendto(e->journal_fd, e->line.data, e->line.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                                 (struct sockaddr *)&e->journal, sizeof e->journal) < 0)
        e->dropped++;
}

/* One old file is kept: at most twice PC_EVENTS_FILE_MAX of disk, ever. */
static void rotate_ecs(struct pc_events *e)
{
    _free_ char *old = NULL;
    if (asprintf(&old, "%s.1", e->ecs_path) < 0) {
        old = NULL;
        return;
    }
    if (rename(e->ecs_path, old) < 0)
        return;
    pc_closep(&e->ecs_fd);
    e->ecs_fd = -1;
    open_ecs(e);
}

static void write_ecs(struct pc_events *e, const struct pc_event_record *rec)
{
    pc_buf_reset(&e->line);
    pc_event_as_ecs(rec, &e->line);
    if (e->ecs_fd >= 0 && e->ecs_size + e->line.len > PC_EVENTS_FILE_MAX)
        rotate_ecs(e);
    if (e->ecs_fd < 0)
        open_ecs(e);
    if (e->ecs_fd < 0 || e->line.failed || e->ecs_size + e->line.len > PC_EVENTS_FILE_MAX) {
        e->dropped++;
        return;
    }
    ssize_t n = write(e->ecs_fd, e->line.data, e->line.len);
    if (n == (ssize_t)e->line.len) {
        e->ecs_size += (uint64_t)n;
        return;
    }
    e->dropped++;
    /* A full disk took part of the line: take it back, so that every line stays whole. */
    if (n > 0 && ftruncate(e->ecs_fd, (off_t)e->ecs_size) < 0)
        e->ecs_size += (uint64_t)n;
}

static void write_record(struct pc_events *e, const struct pc_event_record *rec)
{
    if (e->opts.text && !(e->stdout_is_journal && e->journal_fd >= 0))
        write_stdout(e, rec);
    if (e->journal_fd >= 0)
        write_journal(e, rec);
    if (e->ecs_path)
        write_ecs(e, rec);
}

static void report_held_back(struct pc_events *e)
{
    char text[64];
    if (e->held_back == 0)
        return;
    snprintf(text, sizeof text, "%u messages suppressed", e->held_back);
    e->held_back = 0;
    write_record(e, &(struct pc_event_record){.time_ns = pc_real_ns(),
                                              .level = PC_LEVEL_WARNING,
                                              .action = "log-suppressed",
                                              .about = &(struct pc_event_about){0},
                                              .message = text});
}

void pc_events_tick(struct pc_events *e)
{
    uint64_t second = pc_mono_ns() / PC_NS_PER_S;
    if (!e || second == e->second)
        return;
    e->second = second;
    e->in_second = 0;
    report_held_back(e);
}

void pc_events_close(struct pc_events *e)
{
    if (!e)
        return;
    report_held_back(e);
    close_sinks(e);
    pc_buf_free(&e->line);
    free(e->ecs_path);
    free(e);
}

/* Whether the rate bound lets this event pass. */
static bool admit(struct pc_events *e, enum pc_level level)
{
    pc_events_tick(e);
    if (e->opts.rate == 0 || level == PC_LEVEL_ALERT || e->in_second < e->opts.rate) {
        e->in_second++;
        return true;
    }
    e->held_back++;
    e->suppressed++;
    return false;
}

void pc_event(struct pc_events *e, enum pc_level level, const char *action, const struct pc_event_about *about,
              const char *fmt, ...)
{
    int saved = errno; /* a log line must not change what its caller reports next */
    if (!e || level < e->opts.least || !admit(e, level))
        return;
    char message[MESSAGE_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    write_record(e, &(struct pc_event_record){.time_ns = pc_real_ns(),
                                              .level = level,
                                              .action = action,
                                              .about = about ? about : &(struct pc_event_about){0},
                                              .message = message});
    errno = saved;
}
