/* Owns how an event looks: text, journal datagram, ECS line. Pure: no I/O. All names are escaped here, once. */
#include "agent/events_format.h"

#include "base/clock.h"
#include "base/str.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

/* The longest name or command line an event carries, escaped. */
#define NAME_BYTES_MAX 4096

static const char *const level_names[] = {"debug", "info", "notice", "warning", "error", "alert"};
static const int syslog_priority[] = {7, 6, 5, 4, 3, 1};

static const char *escaped(const char *text, char out[NAME_BYTES_MAX])
{
    pc_escape_name(text, strlen(text), out, NAME_BYTES_MAX);
    return out;
}

void pc_event_as_text(const struct pc_event_record *rec, struct pc_buf *out)
{
    const struct pc_event_about *a = rec->about;
    char time[32], name[NAME_BYTES_MAX];
    const char *sep = " (";
    pc_format_time(rec->time_ns, time, sizeof time);
    pc_buf_addf(out, "%s %s %s: %s", time, level_names[rec->level], rec->action, escaped(rec->message, name));
    const struct {
        const char *label, *text;
        uint64_t number;
    } parts[] = {{"incident", NULL, a->incident},
                 {"pid", NULL, (uint64_t)a->pid},
                 {"exe", a->executable, 0},
                 {"file", a->file_path, 0}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].text)
            pc_buf_addf(out, "%s%s %s", sep, parts[i].label, escaped(parts[i].text, name));
        else if (parts[i].number)
            pc_buf_addf(out, "%s%s %llu", sep, parts[i].label, (unsigned long long)parts[i].number);
        else
            continue;
        sep = ", ";
    }
    for (const struct pc_event_value *v = a->values; v && v->key; v++) {
        if (v->text)
            pc_buf_addf(out, "%s%s=%s", sep, v->key, escaped(v->text, name));
        else
            pc_buf_addf(out, "%s%s=%lld", sep, v->key, (long long)v->number);
        sep = ", ";
    }
    pc_buf_addf(out, "%s\n", sep[0] == ',' ? ")" : "");
}

/* A field of the native protocol: KEY=value, and since all values are escaped, never one with a newline. */
static void journal_field(struct pc_buf *out, const char *key, const char *text)
{
    char name[NAME_BYTES_MAX];
    if (text)
        pc_buf_addf(out, "%s=%s\n", key, escaped(text, name));
}

void pc_event_as_journal(const struct pc_event_record *rec, struct pc_buf *out)
{
    const struct pc_event_about *a = rec->about;
    pc_buf_addf(out, "PRIORITY=%d\nSYSLOG_IDENTIFIER=portcullis\n", syslog_priority[rec->level]);
    journal_field(out, "MESSAGE", rec->message);
    journal_field(out, "PORTCULLIS_ACTION", rec->action);
    journal_field(out, "PORTCULLIS_EXECUTABLE", a->executable);
    journal_field(out, "PORTCULLIS_COMMAND_LINE", a->command_line);
    journal_field(out, "PORTCULLIS_FILE", a->file_path);
    if (a->pid)
        pc_buf_addf(out, "PORTCULLIS_PID=%d\n", (int)a->pid);
    if (a->incident)
        pc_buf_addf(out, "PORTCULLIS_INCIDENT=%llu\n", (unsigned long long)a->incident);
    for (const struct pc_event_value *v = a->values; v && v->key; v++) {
        char key[64];
        size_t n = (size_t)snprintf(key, sizeof key, "PORTCULLIS_%s", v->key);
        for (size_t i = 0; i < n && i < sizeof key - 1; i++)
            key[i] = (char)toupper((unsigned char)key[i]);
        if (v->text)
            journal_field(out, key, v->text);
        else
            pc_buf_addf(out, "%s=%lld\n", key, (long long)v->number);
    }
}

/* Sets object[key], skipping what is unknown. Out of memory shows as a missing field, never as a broken line. */
static void put_text(json_t *object, const char *key, const char *text)
{
    char name[NAME_BYTES_MAX];
    if (text)
        json_object_set_new(object, key, json_string(escaped(text, name)));
}

static void put_object(json_t *object, const char *key, json_t *value)
{
    if (json_object_size(value) > 0)
        json_object_set_new(object, key, value);
    else
        json_decref(value);
}

/* ECS wants event.kind "alert" for what a detection raised; the levels are ours. */
static json_t *ecs_event(const struct pc_event_record *rec)
{
    const struct pc_event_about *a = rec->about;
    return json_pack("{s:s, s:[s], s:[s], s:s, s:s, s:s, s:i}", "kind",
                     rec->level == PC_LEVEL_ALERT ? "alert" : "event", "category", a->category ? a->category : "host",
                     "type", rec->level >= PC_LEVEL_ERROR ? "error" : "info", "action", rec->action, "outcome",
                     a->outcome ? a->outcome : "unknown", "provider", "portcullis", "severity",
                     7 - syslog_priority[rec->level]);
}

static json_t *own_values(const struct pc_event_about *a)
{
    json_t *own = json_object();
    if (a->incident)
        json_object_set_new(own, "incident", json_integer((json_int_t)a->incident));
    for (const struct pc_event_value *v = a->values; v && v->key; v++) {
        if (v->text)
            put_text(own, v->key, v->text);
        else
            json_object_set_new(own, v->key, json_integer(v->number));
    }
    return own;
}

static int add_bytes(const char *data, size_t len, void *buf)
{
    return pc_buf_add(buf, data, len);
}

void pc_event_as_ecs(const struct pc_event_record *rec, struct pc_buf *out)
{
    const struct pc_event_about *a = rec->about;
    char time[32];
    pc_format_time(rec->time_ns, time, sizeof time);
    json_t *line = json_pack("{s:s, s:{s:s}, s:{s:s}, s:{s:s, s:s}}", "@timestamp", time, "ecs", "version", "8.11.0",
                             "log", "level", level_names[rec->level], "service", "name", "portcullis", "version",
                             PC_VERSION);
    json_t *process = json_object(), *file = json_object();
    if (!line || !process || !file) {
        out->failed = true;
    } else {
        put_object(line, "event", ecs_event(rec));
        put_text(line, "message", rec->message);
        if (a->pid)
            json_object_set_new(process, "pid", json_integer(a->pid));
        put_text(process, "executable", a->executable);
        put_text(process, "command_line", a->command_line);
        put_text(file, "path", a->file_path);
        put_object(line, "process", json_incref(process));
        put_object(line, "file", json_incref(file));
        put_object(line, "portcullis", own_values(a));
        json_dump_callback(line, add_bytes, out, JSON_COMPACT);
        pc_buf_add(out, "\n", 1);
    }
    json_decref(process);
    json_decref(file);
    json_decref(line);
}
