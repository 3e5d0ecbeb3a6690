#ifndef PC_AGENT_EVENTS_H
#define PC_AGENT_EVENTS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The event log: one line of text to stdout and the journal, one JSON line in Elastic Common Schema to a file. Never
 * waits for a reader: what cannot be written at once is dropped and counted. It opens and writes files, so it must
 * never be called by the thread that answers the kernel (answer first, log after). One thread at a time.
 */
#define PC_EVENTS_FILE_MAX (64u << 20)

enum pc_level { PC_LEVEL_DEBUG = 0, PC_LEVEL_INFO, PC_LEVEL_NOTICE, PC_LEVEL_WARNING, PC_LEVEL_ERROR, PC_LEVEL_ALERT };

struct pc_events_opts {
    bool text;            /* to stdout */
    bool journal;         /* to the journal, when there is one (then stdout is left out if it is the journal itself) */
    const char *journal_socket; /* NULL: the system's */
    const char *ecs_path;       /* absolute, or NULL for none */
    uint32_t rate;        /* events a second (0: no bound); alerts always pass */
    enum pc_level least;  /* quieter levels are not logged */
};

struct pc_events;
/* -ENOMEM only: a file that cannot be opened is tried again later, and counted in dropped. */
int pc_events_open(const struct pc_events_opts *o, struct pc_events **out);
/* Applies new settings (reload). On failure the old ones stay. */
int pc_events_set(struct pc_events *e, const struct pc_events_opts *o);
void pc_events_close(struct pc_events *e); /* NULL is fine */
/* Messages that no reader got, and messages held back by the rate bound. */
uint64_t pc_events_dropped(const struct pc_events *e);
uint64_t pc_events_suppressed(const struct pc_events *e);

/* A value of our own: portcullis.<key> in ECS, PORTCULLIS_<KEY>= in the journal. text, or number when text is NULL. */
struct pc_event_value {
    const char *key; /* a-z, 0-9, _ ; NULL ends the list */
    const char *text;
    int64_t number;
};
/* What an event is about; all optional (0 / NULL: unknown). Texts are raw: escaped on the way out. */
struct pc_event_about {
    const char *category; /* ECS event.category: "process", "file", "malware", "configuration"; NULL: "host" */
    const char *outcome;  /* "success", "failure"; NULL: "unknown" */
    pid_t pid;
    const char *executable, *command_line, *file_path;
    uint64_t incident;
    const struct pc_event_value *values;
};
/*
 * Logs one event. The program must ignore SIGPIPE. action: a short fixed word ("gate-down", "freeze", "rollback").
 * about may be NULL. The message is escaped like all texts, and cut at 2 KiB. log may be NULL (nothing is logged).
 */
void pc_event(struct pc_events *log, enum pc_level level, const char *action, const struct pc_event_about *about,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Call now and then (once a second is fine): writes the "N messages suppressed" line when its second is over. */
void pc_events_tick(struct pc_events *log);
#endif
