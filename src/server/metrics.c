/* Owns /metrics (Prometheus text format 0.0.4) and what "healthy" means. */
#include "server/server.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STILL_S 10 /* a write that takes so long is none that a healthy database has */

static void counter(struct pc_buf *b, const char *name, const char *help, uint64_t value)
{
    pc_buf_addf(b, "# HELP portcullis_%s %s\n# TYPE portcullis_%s counter\nportcullis_%s %" PRIu64 "\n", name, help,
                name, name, value);
}

static void gauge(struct pc_buf *b, const char *name, const char *help, double value)
{
    pc_buf_addf(b, "# HELP portcullis_%s %s\n# TYPE portcullis_%s gauge\nportcullis_%s %.17g\n", name, help, name, name,
                value);
}

static void link_metrics(struct pc_server *s, struct pc_buf *b)
{
    const struct pc_conn_counters *c = pc_hub_counters(s->hub);
    gauge(b, "hosts_online", "Hosts that are linked to this process", pc_hub_online(s->hub));
    gauge(b, "links_open", "Connections of the link, also those that have not said who they are", c->open);
    gauge(b, "links_pending", "Connections that have not said who they are", c->pending);
    counter(b, "links_accepted_total", "Connections accepted", c->accepted);
    counter(b, "links_refused_address_total", "Connections refused because their address had too many",
            c->refused_address);
    counter(b, "links_accept_failed_total", "Times that no connection could be accepted (descriptors, memory)",
            c->accept_failed);
    counter(b, "link_handshakes_total", "TLS handshakes completed", c->handshakes);
    counter(b, "link_frames_received_total", "Frames from hosts", c->frames_in);
    counter(b, "link_frames_sent_total", "Frames to hosts", c->frames_out);
    counter(b, "link_bytes_received_total", "Bytes from hosts", c->bytes_in);
    counter(b, "link_bytes_sent_total", "Bytes to hosts", c->bytes_out);
    pc_buf_addf(
        b, "# HELP portcullis_links_closed_total Ended, by reason\n# TYPE portcullis_links_closed_total counter\n");
    for (unsigned i = 0; i < PC_ENDS; i++)
        pc_buf_addf(b, "portcullis_links_closed_total{reason=\"%s\"} %" PRIu64 "\n", pc_conn_end_name(i), c->ends[i]);
}

static void writer_metrics(struct pc_server *s, struct pc_buf *b)
{
    struct pc_writer_counters w;
    pc_writer_counters(s->writer, &w);
    counter(b, "commits_total", "Groups committed or failed", w.groups);
    counter(b, "commits_failed_total", "Groups that could not be committed", w.failed_groups);
    counter(b, "commit_retries_total", "Groups done again because another process was faster", w.retries);
    counter(b, "jobs_total", "Writes", w.jobs);
    counter(b, "log_entries_added_total", "Entries that this process appended to the log", w.entries);
    pc_buf_addf(
        b,
        "# HELP portcullis_commit_seconds_total Time spent in commits\n# TYPE portcullis_commit_seconds_total counter\n"
        "portcullis_commit_seconds_total %.6f\n",
        (double)w.commit_ns / 1e9);
    gauge(b, "jobs_waiting", "Writes that wait for their turn", w.waiting);
    gauge(b, "log_size", "Entries in the tree that hosts get", (double)pc_logview_size(s->log));
    gauge(b, "checkpoint_time_seconds", "When the checkpoint that hosts get was signed",
          (double)pc_logview_time(s->log));
}

static void http_metrics(struct pc_server *s, struct pc_buf *b)
{
    const struct pc_http_counters *h = pc_http_counters(s->http);
    gauge(b, "api_connections", "API connections", h->open);
    gauge(b, "api_streams", "Watchers", h->streams);
    counter(b, "api_requests_total", "API requests", h->requests);
    counter(b, "api_refused_address_total", "API connections refused because their address had too many",
            h->refused_address);
    counter(b, "api_timeouts_total", "API connections cut because no whole request came in time", h->timeouts);
    counter(b, "api_streams_dropped_total", "Watchers that did not keep up", h->streams_dropped);
    pc_buf_addf(
        b, "# HELP portcullis_api_answers_total API answers by class\n# TYPE portcullis_api_answers_total counter\n");
    for (int i = 2; i < 6; i++)
        pc_buf_addf(b, "portcullis_api_answers_total{status=\"%dxx\"} %" PRIu64 "\n", i, h->status[i]);
}

static double resident(void)
{
    char text[128];
    unsigned long pages, rest;
    if (pc_read_file_at(AT_FDCWD, "/proc/self/statm", text, sizeof text) < 0 ||
        sscanf(text, "%lu %lu", &rest, &pages) != 2)
        return 0;
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

void pc_api_metrics(struct pc_server *s, struct pc_http_request *r)
{
    struct pc_buf b _buf_free_;
    uint32_t checking, held;
    unsigned threads;
    pc_buf_init(&b, 256u << 10);
    link_metrics(s, &b);
    writer_metrics(s, &b);
    http_metrics(s, &b);
    pc_inspection_facts(s->inspection, &checking, &held, &threads);
    gauge(&b, "reports_checking", "Documents of hosts that are being checked", checking);
    gauge(&b, "links_held", "Hosts that are not read from until there is room for their documents", held);
    gauge(&b, "check_threads", "Threads that check documents of hosts", threads);
    counter(&b, "reports_taken_total", "Documents of hosts stored", pc_server_reports_taken);
    counter(&b, "reports_forged_total", "Documents of hosts with a bad signature or another host's",
            pc_server_reports_forged);
    counter(&b, "reports_unstored_total", "Documents of hosts that could not be stored; they come again",
            pc_server_reports_unstored);
    gauge(&b, "resident_bytes", "Memory of this process", resident());
    gauge(&b, "start_time_seconds", "When this process started", (double)s->started);
    pc_http_answer(r, 200, "text/plain; version=0.0.4", NULL, b.data, b.len);
}

static bool stands_still(const struct pc_writer_counters *w, unsigned *seconds)
{
    uint64_t now = pc_mono_ns();
    *seconds = w->since && now > w->since ? (unsigned)((now - w->since) / 1000000000u) : 0;
    return *seconds >= STILL_S;
}

bool pc_api_healthy(struct pc_server *s, char *why, size_t why_len)
{
    struct pc_writer_counters w;
    uint64_t size;
    unsigned seconds;
    int ret = s->store->ops->log_size(s->store, &size);
    pc_writer_counters(s->writer, &w);
    if (ret < 0)
        snprintf(why, why_len, "the database cannot be read: %s", pc_strerror(ret));
    else if (stands_still(&w, &seconds))
        snprintf(why, why_len, "the database has not answered a write for %u seconds", seconds);
    else if (w.last_error < 0)
        snprintf(why, why_len,
                 "the last write failed: %s; nothing that was acknowledged is lost, hosts keep their results",
                 pc_strerror(w.last_error));
    else if (s->deaf)
        snprintf(why, why_len, "what other servers say cannot be heard: what they log reaches hosts here later");
    else if (w.waiting >= PC_JOBS_MAX)
        snprintf(why, why_len, "%u writes wait: the database does not keep up", w.waiting);
    else
        return true;
    return false;
}
