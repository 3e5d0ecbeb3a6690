#ifndef PC_AGENT_ANSWERS_H
#define PC_AGENT_ANSWERS_H
#include "agent/guard.h"

#include "base/clock.h"

/* What the handlers of commands share. JSON is made for pc_reply_*, which take it over; NULL is out of memory. */
static inline json_t *time_json(uint64_t real_ns)
{
    if (!real_ns)
        return json_null();
    char text[32];
    pc_format_time(real_ns, text, sizeof text);
    return json_string(text);
}

/*
 * Whether this command may begin to change files; else its reply is ended. A command at work answers others meanwhile
 * (pc_control_step), and a second rollback would take what the first has put back for somebody else's work.
 */
bool pc_answer_begin(struct pc_guard *g, const char *command, struct pc_reply *reply);

static inline json_t *text_json(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

/* Arguments are checked before (control_parse.c); 0 and "" when absent. */
static inline uint64_t number_arg(const json_t *args, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(args, name));
}

static inline const char *text_arg(const json_t *args, const char *name)
{
    const char *text = json_string_value(json_object_get(args, name));
    return text ? text : "";
}

/* answers_rollback.c */
const char *pc_answer_step_kind(uint8_t kind); /* enum pc_step_kind, as in CONTROL.md */
void pc_answer_rollback(void *ctx, const json_t *args, struct pc_reply *reply);

/* answers_files.c: handlers */
void pc_answer_history(void *ctx, const json_t *args, struct pc_reply *reply);
void pc_answer_restore(void *ctx, const json_t *args, struct pc_reply *reply);
/* answers_deleted.c */
void pc_answer_deleted(void *ctx, const json_t *args, struct pc_reply *reply);

/* answers_files.c: where a path lies. */
struct pc_spot {
    int vol;
    struct pc_fh folder; /* the deepest folder of the path that is there */
    int folder_fd;       /* to be closed */
    char path[PATH_MAX]; /* raw */
    const char *rest;    /* what of path is beneath that folder, "" for itself; points into path */
};
/* shown: escaped, absolute. 0, -EINVAL, PC_E_NOTFOUND (on no guarded file system) or -errno. */
int pc_answer_spot(struct pc_guard *g, const char *shown, struct pc_spot *out);
#endif
