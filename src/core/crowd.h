#ifndef PC_CORE_CROWD_H
#define PC_CORE_CROWD_H
#include "core/lineage.h"

/*
 * Who has made so many processes or threads lately that all of them may have a file open before the first has changed
 * one. Private to the core. It is no evidence: builds and servers do so, too. It says where opens are worth asking
 * about in time.
 *
 * A ring of the last births; a birth that was pushed out of it counts no longer. Counted anew now and then (judge.h),
 * not at each birth: a count looks at the whole ring.
 */
#define PC_CROWD_PROCESSES 12u
#define PC_CROWD_NS 60000000000ULL
#define PC_CROWD_RING 1024u
/* Births after which a count is worth its time. */
#define PC_CROWD_COUNT_AT 8u
#define PC_CROWDS_MAX 16u

struct pc_birth {
    pc_actor actor; /* 0: free */
    pid_t tid;      /* of a thread of the actor; 0: the actor itself */
    uint64_t time_ns;
};

struct pc_crowds {
    struct pc_birth ring[PC_CROWD_RING];
    uint32_t at, uncounted;
    pc_actor group[PC_CROWDS_MAX]; /* as of the last count */
    uint32_t groups;
};

/* tid: a thread of the actor; 0: the actor itself. */
void pc_crowds_born(struct pc_crowds *c, pc_actor actor, pid_t tid, uint64_t now_ns);
/* A thread has ended. */
void pc_crowds_ended(struct pc_crowds *c, pid_t tid);
/*
 * A group (pc_lineage_group) is a crowd while PC_CROWD_PROCESSES of its living processes and threads are younger than
 * PC_CROWD_NS. Of more than PC_CROWDS_MAX crowds, and of births in more than 64 groups, some are not seen.
 */
void pc_crowds_count(struct pc_crowds *c, const struct pc_lineage *l, uint64_t now_ns);
/* The crowd that slot belongs to; 0: none. */
pc_actor pc_crowds_of(const struct pc_crowds *c, const struct pc_lineage *l, uint32_t slot);
#endif
