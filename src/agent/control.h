#ifndef PC_AGENT_CONTROL_H
#define PC_AGENT_CONTROL_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The guard's side of the control socket (CONTROL.md), for its single-threaded poll loop. Never blocks, and no peer can
 * make it: everything is bounded, and what breaks a bound costs that peer its connection, nothing else.
 */
#define PC_CONTROL_PEERS_MAX 32
#define PC_CONTROL_REQUEST_MAX (64u << 10)
#define PC_CONTROL_QUEUE_MAX (4u << 20) /* bytes waiting for one slow reader; beyond: closed */
#define PC_CONTROL_IDLE_NS (10ULL * 1000000000ULL)
#define PC_CONTROL_ARGS_MAX 8
#define PC_CONTROL_GROUP "portcullis"

/* "code" of a failed answer; also the exit status of `portcullis`. */
enum pc_code { PC_CODE_FAILED = 1, PC_CODE_USAGE = 2, PC_CODE_REFUSED = 4 };

enum pc_arg_type { PC_ARG_TEXT = 1, PC_ARG_NUMBER, PC_ARG_BOOL }; /* NUMBER: an integer >= 0 */
struct pc_arg {
    const char *name; /* NULL ends the list */
    enum pc_arg_type type;
    bool required;
};

struct pc_reply; /* one request's answer; outlives its peer */
typedef void (*pc_command_fn)(void *ctx, const json_t *args, struct pc_reply *reply);

/* args given to the handler is the request object, checked: only known keys, right types, required ones present. */
struct pc_command {
    const char *name; /* NULL ends the table */
    bool read_only;   /* members of group portcullis may use it */
    struct pc_arg args[PC_CONTROL_ARGS_MAX + 1];
    pc_command_fn handler;
};

struct pc_control;
/*
 * Makes <state_dir>/control.sock, 0660 root:portcullis (0600 when there is no such group). A dead guard's socket is
 * replaced; a living one's is -EADDRINUSE. commands and ctx must outlive the control.
 */
int pc_control_listen(const char *state_dir, const struct pc_command *commands, void *ctx, struct pc_control **out);
/* Closes everything and removes the socket. Replies still open stay valid (their peer is gone). NULL is fine. */
void pc_control_close(struct pc_control *c);
/* One descriptor to poll for POLLIN; when it is ready, call pc_control_step. */
int pc_control_fd(const struct pc_control *c);
/*
 * Accepts, reads, runs handlers, writes: all that is possible without waiting. Call it too, at least once a second,
 * while pc_control_peers() > 0, so that idle peers are let go. now_ns: pc_mono_ns(). 0, or an error of epoll itself.
 * A handler that works for long calls it, too: then other handlers run within it.
 */
int pc_control_step(struct pc_control *c, uint64_t now_ns);
/* Members of this group may look, instead of those of group portcullis. Does not change the socket's own group. */
void pc_control_allow_group(struct pc_control *c, gid_t gid);
uint32_t pc_control_peers(const struct pc_control *c);
/*
 * Takes over a connected socket as if it had been accepted (tests, socket activation). PC_E_LIMIT at 32; fd is not
 * taken on failure.
 */
int pc_control_adopt(struct pc_control *c, int fd, uint64_t now_ns);

/*
 * A handler answers with any number of progress messages and exactly one done or fail, then or later. json is taken
 * over (also on failure; NULL counts as -ENOMEM). Done and fail end the reply: the pointer is dead afterwards, whether
 * or not the peer is there. progress returns -EPIPE once the peer is gone (-ENOMEM: this message is lost); the work may
 * go on, and must still end with done or fail.
 */
int pc_reply_progress(struct pc_reply *reply, json_t *json);
void pc_reply_done(struct pc_reply *reply, json_t *result);
void pc_reply_fail(struct pc_reply *reply, enum pc_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* True when nobody will read the answer any more. */
bool pc_reply_gone(const struct pc_reply *reply);
/* True while the peer keeps up (less than 1 MiB waits, or it is gone): a handler that streams goes on only then. */
bool pc_reply_keeps_up(const struct pc_reply *reply);
/* Who asks (for log lines: "released by UID"). */
uid_t pc_reply_uid(const struct pc_reply *reply);

/* Pure parts, for tests and the fuzzer. */
/* Parses and checks one request line. 0 and *cmd, *args (json_decref it); else PC_E_SYNTAX and err in plain words. */
int pc_control_parse(const struct pc_command *commands, const char *line, size_t len, const struct pc_command **cmd,
                     json_t **args, char *err, size_t cap);
#endif
