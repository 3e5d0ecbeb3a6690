#ifndef PC_AGENT_EVENTS_FORMAT_H
#define PC_AGENT_EVENTS_FORMAT_H
#include "agent/events.h"
#include "base/buf.h"

/* One event, and what it looks like in each sink (events_format.c). Each function appends to out; see out->failed. */
struct pc_event_record {
    uint64_t time_ns; /* real time */
    enum pc_level level;
    const char *action, *message;
    const struct pc_event_about *about;
};
/* "2026-11-21T18:03:00.123Z alert freeze: message (incident 3, pid 812, exe /bin/x, file /srv/a, key=value)\n" */
void pc_event_as_text(const struct pc_event_record *rec, struct pc_buf *out);
/* A datagram of the journal's native protocol. */
void pc_event_as_journal(const struct pc_event_record *rec, struct pc_buf *out);
/* One JSON line in Elastic Common Schema 8.11 fields. */
void pc_event_as_ecs(const struct pc_event_record *rec, struct pc_buf *out);
#endif
