#ifndef PC_CORE_JUDGE_H
#define PC_CORE_JUDGE_H
#include "core/content.h"
#include "core/gist.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The decision core: lineage + acts in, verdict out. Pure: no clock (times are handed in), no I/O, no allocation after
 * pc_judge_new. One struct pc_judge lives in one thread.
 *
 * Lineage is CREATION ancestry (who forked whom), not the live parent: an orphan still belongs to whoever made it. A
 * process is named by its actor id, a number never reused, handed out by this module. A dead process stays as long as
 * it has living descendants or evidence younger than policy.window_ns; at capacity the oldest dead leaf without
 * evidence goes first, and its evidence, if any, has been folded into its parent.
 */
struct pc_judge;
typedef uint64_t pc_actor; /* 0: unknown */

struct pc_judge_policy {
    uint32_t convict_score;  /* sum of file scores over a subtree that convicts it; default 270: three certain files */
    uint32_t min_files;      /* and at least this many distinct files; default 3 */
    uint64_t window_ns;      /* evidence older than this no longer counts towards a verdict; default 10 minutes */
    uint32_t max_actors;     /* capacity of the lineage table; default 32768 */
    uint32_t note_folders;   /* same new text in this many folders is evidence; default 3 */
    /* deletions within a minute that are told (no verdict); 0: never; default 50; at most 1024 */
    uint32_t bulk_files;
};
void pc_judge_policy_default(struct pc_judge_policy *p);
int pc_judge_new(const struct pc_judge_policy *p, struct pc_judge **out); /* -ENOMEM, PC_E_RANGE */
void pc_judge_free(struct pc_judge *j);
void pc_judge_set_policy(struct pc_judge *j, const struct pc_judge_policy *p); /* max_actors is fixed at creation */

/* Lineage. start_ns: process start time in any one clock, tells a reused pid from the old one; 0 if unknown. */
pc_actor pc_judge_fork(struct pc_judge *j, pid_t parent, pid_t child, uint64_t now_ns);
void pc_judge_exec(struct pc_judge *j, pid_t pid, uint64_t now_ns);
void pc_judge_exit(struct pc_judge *j, pid_t pid, uint64_t now_ns);
/* A process found by scanning /proc (start-up, or after lost messages). parent 0: a root. */
pc_actor pc_judge_seen(struct pc_judge *j, pid_t pid, pid_t parent, uint64_t now_ns);
/*
 * This process itself is never convicted and no subtree that contains it is (pid 1, kernel threads, service managers,
 * the guard and all its ancestors): the verdict then names those of its children's subtrees that hold evidence,
 * and asks for more: two children at least, and twice the policy's score and files, because programs that have nothing
 * but such an ancestor in common are seldom one piece of work. A child named in a verdict does not count again.
 */
void pc_judge_spare(struct pc_judge *j, pid_t pid);
/*
 * A file server (smbd) started this process, its child, to serve a client on the network. All that serve the same
 * client count as one, however many connections it makes: a node of its own between the server and them, which is what
 * a verdict names. The server itself is spared from now on: what its clients do is not its doing, and no verdict may
 * take the share from the others. client: the caller's number for it, negative (no process has it). 0: no such process,
 * or its parent is not known; else the client's actor.
 */
pc_actor pc_judge_serve(struct pc_judge *j, pid_t pid, pid_t client, uint64_t now_ns);
pc_actor pc_judge_actor_of(const struct pc_judge *j, pid_t pid); /* 0: not known */
bool pc_judge_is_beneath(const struct pc_judge *j, pc_actor actor, pc_actor root); /* true when equal, too */
/* Is the maker of one family with this process (its group, beneath a spared ancestor, or an ancestor of it)? */
bool pc_judge_is_kin(const struct pc_judge *j, pc_actor maker, pid_t pid);
pc_actor pc_judge_parent(const struct pc_judge *j, pc_actor actor);                 /* 0: none */
/* Also of a dead one; 0 unknown; negative: not a process but the client of a file server (pc_judge_serve). */
pid_t pc_judge_pid(const struct pc_judge *j, pc_actor actor);
/* The largest group that is held answerable together: the highest ancestor below every spared one. 0: not known. */
pc_actor pc_judge_group_of(const struct pc_judge *j, pc_actor actor);
pc_actor pc_judge_group_of_pid(const struct pc_judge *j, pid_t pid);
bool pc_judge_alive(const struct pc_judge *j, pc_actor actor);

enum pc_op {
    PC_OP_MODIFY = 1,
    PC_OP_CREATE,
    PC_OP_DELETE,
    PC_OP_RENAME,
    PC_OP_REPLACE,
    PC_OP_META,
    PC_OP_DECOY,
    PC_OP_VAULT
};

/*
 * What reading a file's content told, without the content: what the guard writes into a trace, so that a replay under
 * another policy needs no files.
 */
enum pc_have { PC_HAVE_FINDING = 1 << 0, PC_HAVE_BEFORE = 1 << 1, PC_HAVE_AFTER = 1 << 2 };
struct pc_facts {
    uint8_t have; /* enum pc_have: which of the following are filled */
    struct pc_finding finding;
    struct pc_look before, after;
    uint64_t text_hash; /* of a small text file (after), to know the same note again; else 0 */
    struct pc_gist gist_before, gist_after; /* of a single look: DELETE's before, CREATE's after */
};

struct pc_act {
    uint64_t now_ns;
    pid_t pid;
    pc_actor actor;        /* whose number pid was when it may be another's by now; else 0: whoever has it */
    uint8_t op;            /* enum pc_op. REPLACE: a rename (or exchange) put another file over this one */
    bool is_dir;
    uint64_t file;         /* identity of the file acted on (hash of its handle); REPLACE: of the file replaced */
    uint64_t folder;       /* identity of its folder; 0: outside every guarded folder (CREATE only) */
    uint64_t name_hash;    /* of the file's own name, after the act */
    uint64_t size_before;  /* of the pre-image; 0 when none */
    uint64_t size_after;
    pc_actor creator;      /* who made the file, if it was made while we watched; else 0 */
    bool has_pre_image;    /* false with a size_before: there was a file, but what it held is not kept */
    uint64_t base;         /* which pre-image it is compared with; 0: not known */
    bool closed;           /* the writer is done: MODIFY at a close, not in the middle of a rewrite */
    bool moved_out;        /* DELETE: it lives on outside the guarded folders */
    uint64_t successor;    /* REPLACE: identity of the file that took this one's place; 0: not known */
    /*
     * Facts, filled when asked for. MODIFY: before+after (same plan). CREATE (first close of a new file): after alone.
     * DELETE: before alone, or with after when outcome.heir names a file made beside it; when that cannot be read,
     * before alone is enough. CREATE with outcome.heir_of: before as well, or after alone. REPLACE: before = the
     * replaced file, after = the file now in its place (same plan).
     */
    const struct pc_content *before, *after;
    const struct pc_facts *facts; /* replay: used instead of before and after when not NULL */
};
/* The facts in an act's before and after (whichever are not NULL). Pure; pc_judge_act does this by itself. */
void pc_judge_facts(const struct pc_act *act, struct pc_facts *out);

enum pc_answer { PC_DECIDED = 0, PC_NEED_BOTH, PC_NEED_BEFORE, PC_NEED_AFTER };

struct pc_outcome {
    struct pc_finding finding; /* of this file; score 0 when harmless */
    pc_actor actor;            /* who did it */
    bool gate;                 /* this act is damage: bring the gate down for its file system */
    bool convicted;            /* a verdict was reached by this act ... */
    uint32_t root_count;       /* ... naming these subtrees (more than one only when their common ancestor is spared) */
    pc_actor roots[64];
    uint32_t evidence_files;   /* distinct files counted in the verdict */
    uint32_t evidence_score;
    uint64_t evidence_since_ns; /* the oldest of it, as pc_act.now_ns; what was withdrawn since does not count */
    pc_actor bulk_root;        /* DELETE: the smallest subtree that deleted policy.bulk_files lately; 0: none */
    /*
     * What else is to be compared when PC_NEED_BOTH is answered; 0: nothing. The plan then is of the sizes of the two.
     */
    /* DELETE: after is this file (pc_act.file of its CREATE): it may be what became of the deleted one */
    uint64_t heir;
    /* CREATE: before is this version (pc_act.base of its DELETE): the new file may be what became of it */
    uint64_t heir_of;
    struct pc_facts facts; /* what the content told (have is 0 when nothing was read); goes into the trace */
};

/*
 * PC_DECIDED fills out; PC_NEED_* fills heir and heir_of alone: fetch the facts for this act and call again with them
 * (nothing was recorded yet).
 */
enum pc_answer pc_judge_act(struct pc_judge *j, const struct pc_act *act, struct pc_outcome *out);

/*
 * Evidence now held by the smallest group around this actor that has any, below any spared ancestor: 0 means its opens
 * need not wait.
 */
uint32_t pc_judge_suspicion(const struct pc_judge *j, pc_actor actor);
/* The group (subtree root) that suspicion belongs to, so that co-operating workers share one allowance. */
pc_actor pc_judge_suspect_root(const struct pc_judge *j, pc_actor actor);
/*
 * What this process is part of was not learnt in time (whom a file server's process served): from now on it is a stray.
 * Nothing if it is not known.
 */
void pc_judge_lose(struct pc_judge *j, pid_t pid);
/*
 * Strays that destroyed files within the window: processes that had ended before they could be looked up (never forked,
 * never seen), as happens where there is no process connector; and those of pc_judge_lose. No verdict can name them;
 * what they did at the time of an attack belongs to it. Each is told once. Up to max, and since when (as pc_act.now_ns;
 * untouched when there is none). Returns how many.
 */
uint32_t pc_judge_take_strays(struct pc_judge *j, pc_actor *out, uint32_t max, uint64_t *since_ns);
/*
 * A process has made a thread, or one has ended (never its first one): they count towards a crowd. An unknown process's
 * do not.
 */
void pc_judge_thread(struct pc_judge *j, pid_t pid, pid_t tid, uint64_t now_ns);
void pc_judge_thread_exit(struct pc_judge *j, pid_t tid);
/*
 * Whether some group has lately made so many processes or threads that all may have a file open before the first has
 * changed one (core/crowd.h); no evidence of anything. count: count anew; else only after many births. As of the last
 * count.
 */
bool pc_judge_crowded(struct pc_judge *j, uint64_t now_ns, bool count);
/* The crowd this actor is of; 0: none. */
pc_actor pc_judge_crowd_of(const struct pc_judge *j, pc_actor actor);
/* Forget the evidence of a subtree (after a release, or when a rolled-back incident is closed). */
void pc_judge_absolve(struct pc_judge *j, pc_actor root);
#endif
