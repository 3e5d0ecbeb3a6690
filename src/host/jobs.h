#ifndef PC_HOST_JOBS_H
#define PC_HOST_JOBS_H
/*
 * Programs that run for the fleet: each in a cgroup of its own, with a time limit and an output limit, none waited for.
 * The runner polls their descriptors and is called back once for each job, when all of it has ended. Single-threaded.
 */
#include "proc/spawn.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_JOBS_MAX 24
#define PC_JOB_OUTPUT_MAX (256u << 10)   /* kept for a result */
#define PC_JOB_DISCARD_MAX (64u << 20)   /* a job that prints more than this is ended: nobody can have wanted it */

enum pc_job_outcome { PC_JOB_OK, PC_JOB_FAILED, PC_JOB_TIMEOUT, PC_JOB_FLOOD };
struct pc_job_end {
    enum pc_job_outcome outcome;
    int exit, signal;        /* -1: none */
    const char *output;      /* borrowed; the first `limit` bytes of standard output and error together */
    size_t output_len;
    bool truncated;
    char output_sha256[65];  /* of all of it, also of what was not kept */
    int64_t started, ended;  /* unix seconds */
};
typedef void (*pc_job_done)(void *ctx, const struct pc_job_end *end);

struct pc_job_spec {
    struct pc_spawn spawn;   /* group_fd is filled in */
    const char *name;        /* of its cgroup; [a-z0-9.-], unique among running jobs */
    uint64_t timeout_s;      /* 1.. */
    size_t output_limit;     /* <= PC_JOB_OUTPUT_MAX */
    bool leave_rest;         /* what is still alive after the first process ended is let go on instead of ended */
    pc_job_done done;
    void *ctx;
};

struct pc_jobs;
/*
 * name: tells our groups from those of another runner on this machine. Without cgroup v2: PC_E_UNSUPPORTED (then no job
 * can be ended for sure: none runs).
 */
int pc_jobs_new(const char *name, struct pc_jobs **out);
/* True: the groups lie in a scope of systemd (scope.h); false: beneath the root of the hierarchy. */
bool pc_jobs_scoped(const struct pc_jobs *j);
void pc_jobs_free(struct pc_jobs *j); /* ends all that run, without calling back */
/* Ends whatever an earlier runner left running. Number of groups found, or -errno. */
int pc_jobs_clear_old(struct pc_jobs *j);
/* False: PC_JOBS_MAX run; the next one has to wait for one of them. */
bool pc_jobs_room(const struct pc_jobs *j);
/* 0, PC_E_LIMIT (PC_JOBS_MAX run), -errno of the start. */
int pc_jobs_start(struct pc_jobs *j, const struct pc_job_spec *spec);
/* Fills in descriptors to poll (two a job at most). */
uint32_t pc_jobs_poll(const struct pc_jobs *j, struct pollfd *out, uint32_t cap);
/*
 * Reads what is there, ends what is over its limits, calls back. now_ns: pc_boot_ns(). Returns true when something was
 * done.
 */
bool pc_jobs_step(struct pc_jobs *j, uint64_t now_ns);
#endif
