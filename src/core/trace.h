#ifndef PC_CORE_TRACE_H
#define PC_CORE_TRACE_H
#include "base/buf.h"
#include "core/judge.h"

/*
 * A recorded day: everything the judge was told, in order, without any file content. The guard writes records as it
 * goes; pc_replay feeds them to a new judge under any policy. Pure: buffers in, buffers out.
 *
 * Bytes (numbers little endian): "PCTRACE" and the version (1), then records of <type u8> <length u16> <body>.
 * Records of unknown type are skipped, bodies may grow at their end; so old readers read new traces. Replaying is
 * deterministic: actors get the same numbers as when recorded, provided the trace begins where the judge began.
 */
#define PC_TRACE_VERSION 1
#define PC_TRACE_BODY_MAX 512 /* longest body of ours; longer ones are read over, up to the u16's bound */

enum pc_trace_type {
    PC_TRACE_POLICY = 1, /* policy in force from here on; the first one sets the size of the lineage table */
    PC_TRACE_FORK,
    PC_TRACE_EXEC,
    PC_TRACE_EXIT,
    PC_TRACE_SEEN,
    PC_TRACE_SPARE,
    PC_TRACE_ACT,
    PC_TRACE_ABSOLVE,
    PC_TRACE_NAME, /* what a process is called, for people */
    PC_TRACE_SERVE, /* parent: the client (negative) that pid serves */
};

struct pc_trace_rec {
    uint8_t type; /* enum pc_trace_type */
    uint64_t now_ns;
    pid_t pid;    /* fork: the child */
    pid_t parent; /* fork, seen */
    pc_actor actor;                /* absolve */
    struct pc_judge_policy policy; /* policy */
    struct pc_act act;             /* act; act.facts points to facts when any were recorded */
    struct pc_facts facts;
    char name[64]; /* name; truncated, NUL-terminated */
};

/* Header of a new trace. All writers: 0, or the buffer's error (PC_E_LIMIT, -ENOMEM), after which it stays failed. */
int pc_trace_begin(struct pc_buf *b);
/* Appends one record; rec->act.before and after are not looked at. PC_E_RANGE: no such type. */
int pc_trace_write(struct pc_buf *b, const struct pc_trace_rec *rec);

/* Checks the header. PC_E_SYNTAX: not a trace; PC_E_UNSUPPORTED: of a later version. */
int pc_trace_open(struct pc_cur *c);
/* 1: a record was read into *out; 0: the end; PC_E_CORRUPT: cut off or malformed (the records before it are good). */
int pc_trace_next(struct pc_cur *c, struct pc_trace_rec *out);

struct pc_replay_stats {
    uint64_t records, acts, damaging, verdicts;
    uint64_t unread; /* acts for which this policy wanted facts that the recorded run had not read: taken as harmless */
};
/*
 * Feeds an opened trace to a new judge. policy NULL: the recorded ones. on_act (may be NULL) sees every decided act and
 * the judge; non-zero from it stops the replay and is returned. 0, -ENOMEM, PC_E_RANGE (a policy in the trace is not
 * acceptable), PC_E_CORRUPT. stats is filled as far as it went, in every case.
 */
typedef int (*pc_replay_fn)(void *arg, const struct pc_judge *j, const struct pc_act *act,
                            const struct pc_outcome *out);
int pc_replay(struct pc_cur *c, const struct pc_judge_policy *policy, pc_replay_fn on_act, void *arg,
              struct pc_replay_stats *stats);
#endif
