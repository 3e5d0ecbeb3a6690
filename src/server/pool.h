#ifndef PC_SERVER_POOL_H
#define PC_SERVER_POOL_H
/*
 * A few threads for what costs the loop too much: checking what hosts signed. Tasks of one lane number run one after
 * the other and come back in the order they were given; tasks of different lanes may overtake each other.
 *
 * Bounds: PC_POOL_TASKS tasks and PC_POOL_BYTES of what they hold may be on their way, counted until they are back on
 * the loop. At the bound pc_pool_full says so and nothing more is taken: whoever feeds it stops reading and goes on
 * when the pool says that there is room again (half of it). Nothing is dropped.
 */
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_POOL_TASKS 4096
#define PC_POOL_BYTES (32u << 20)
#define PC_POOL_THREADS_MAX 8

struct pc_pool;

struct pc_task {
    void (*run)(struct pc_task *t);  /* on a worker: touches nothing but the task and what never changes */
    void (*done)(struct pc_task *t); /* on the loop's thread, once; owns the task from here on */
    size_t bytes;                    /* that it holds */
    struct pc_task *next;            /* the pool's own */
};

/*
 * Starts `threads` workers; 0: one a processor that this process may use, at most PC_POOL_THREADS_MAX. room(ctx) is
 * called on the loop's thread after tasks came back, when no more than half of the bound is taken. *out: pc_pool_stop.
 * -errno.
 */
int pc_pool_start(struct event_base *base, unsigned threads, void (*room)(void *ctx), void *ctx, struct pc_pool **out);
/* For the loop's thread, as all that follow. lane: any number; equal ones keep their order. PC_E_LIMIT: full, the task
 * is still the caller's; PC_E_STATE: it was drained. */
int pc_pool_submit(struct pc_pool *p, uint64_t lane, struct pc_task *t);
bool pc_pool_full(const struct pc_pool *p);
uint32_t pc_pool_waiting(const struct pc_pool *p); /* tasks that are not back yet */
unsigned pc_pool_threads(const struct pc_pool *p);
/* Waits until all that was submitted has run, calls back, and ends the workers. NULL is fine. */
void pc_pool_drain(struct pc_pool *p);
/* The same, and frees it. */
void pc_pool_stop(struct pc_pool *p);
#endif
