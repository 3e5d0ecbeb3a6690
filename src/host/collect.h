#ifndef PC_HOST_COLLECT_H
#define PC_HOST_COLLECT_H
/*
 * What looks find out (class A: nothing here changes anything). Each function runs as a job, in a process of its own
 * that the runner forked: it may wait and fail as it likes. It prints one JSON object on standard output, or says on
 * standard error why not. Returns the exit status.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

int pc_look_inventory(const json_t *params);
int pc_look_metrics(const json_t *params);
int pc_look_log(const json_t *params);
int pc_look_service(const json_t *params);

/* The parts of an inventory; each a new reference (an array or object), or NULL and why it is not there. */
typedef json_t *(*pc_collect_fn)(char *why, size_t why_len);
json_t *pc_collect_packages(char *why, size_t why_len);
json_t *pc_collect_services(char *why, size_t why_len);
json_t *pc_collect_disks(char *why, size_t why_len);
json_t *pc_collect_mounts(char *why, size_t why_len);
json_t *pc_collect_addresses(char *why, size_t why_len);
json_t *pc_collect_users(char *why, size_t why_len);
json_t *pc_collect_listening(char *why, size_t why_len);

/* At most so many rows of a list; the list then ends with the number left out under "left_out" beside it. */
#define PC_COLLECT_MAX 4000

/*
 * Runs a program and takes what it prints, at most max bytes, NUL-terminated, to be freed. *status as waitpid(2). For
 * jobs only: it waits.
 */
int pc_collect_run(char *const *argv, size_t max, char **out, size_t *len, int *status);
/* Prints the object as the job's answer and gives it back. 0, or 1 after saying why not. */
int pc_collect_print(json_t *object);
/* True where systemd is the init (sd_booted(3)). */
bool pc_have_systemd(void);
/* Adds text under a key after making it valid UTF-8 (what is not becomes \xNN). */
void pc_collect_text(json_t *object, const char *key, const char *text);
#endif
