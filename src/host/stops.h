#ifndef PC_HOST_STOPS_H
#define PC_HOST_STOPS_H
/* Stops that undo themselves: one row a kind, behind the dead-man timers (timers.c). `data` is the timer's own JSON. */
#include "host/runner.h"

struct pc_stop {
    const char *kind;
    /* Makes it hold again after the runner (or the host) started anew. 0 or an error. */
    int (*again)(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data);
    /* Takes it back; also when it is not (or no longer) in force. 0, or an error: tried again a second later. */
    int (*undo)(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data);
};
const struct pc_stop *pc_stop_find(const char *kind);
/* Once a second: looks after helpers that a stop needs. */
void pc_stops_step(struct pc_runner *r);

/*
 * Ends the process that holds hash.block (at the end of the runner; when it is gone, the kernel lets every exec
 * through).
 */
void pc_blocker_stop(struct pc_runner *r);
extern const struct pc_stop pc_stop_freeze, pc_stop_isolate, pc_stop_block;
#endif
