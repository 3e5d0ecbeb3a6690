#ifndef PC_AGENT_STOPPED_H
#define PC_AGENT_STOPPED_H
#include "agent/guard.h"

/* One incident that is not closed, as stop.c (freezes) and adopt.c (takes over from an earlier guard) see it. */
#define PC_ROOTS_MAX 64

struct member {
    pid_t pid;
    uint64_t start_ticks; /* with the pid: which process */
    bool in_group; /* held by the cgroup, not by SIGSTOP */
    char home[256];
};

struct pc_stopped {
    struct pc_stopped *next;
    struct pc_incident inc;
    /* Since when this guard holds it: what has a time limit counts from here, by a clock that nobody can set. */
    uint64_t held_mono_ns;
    pc_actor root[PC_ROOTS_MAX];
    uint32_t roots;
    bool observed; /* nothing is frozen (observe mode, allow rule, released): later acts still belong to the incident */
    int group_fd;
    struct member *member;
    uint32_t members, cap;
    char folder[PATH_MAX]; /* guarded folder of the first act: what a release is scoped to */
};

/* Whether the actor descends from one that the verdict names. */
bool pc_stopped_beneath(const struct pc_guard *g, const struct pc_stopped *s, pc_actor actor);
bool pc_stopped_has(const struct pc_stopped *s, pid_t pid);
int pc_stopped_add(struct pc_stopped *s, pid_t pid); /* 0; -ESRCH: it is gone; -ENOMEM */
/* Whether it is still that process: it may have been killed while it was held, and its number be another's by now. */
bool pc_stopped_is_there(const struct member *m);
/* The one of this number of which something is frozen, or NULL. */
struct pc_stopped *pc_stopped_find(struct pc_guard *g, uint64_t incident);
/* Lets its processes go on; what they do later still belongs to it. */
void pc_stopped_let_pass(struct pc_guard *g, struct pc_stopped *s, const char *why);
/* What the rules know a program by. False: it is gone (its number may be another's), or cannot be read. */
bool pc_stopped_program(const struct pc_guard *g, pc_actor root, uint8_t sha256[32]);
bool pc_act_damages(const struct pc_act_rec *a);
void pc_stopped_absolve(struct pc_guard *g, pc_actor root);
void pc_stopped_free(struct pc_stopped *s);
void pc_stopped_unlist(struct pc_guard *g, struct pc_stopped *s);
/* The guarded folder that this path lies in becomes what a release is scoped to. */
void pc_stopped_name_folder(struct pc_guard *g, struct pc_stopped *s, const char *path);
void pc_stopped_note(struct pc_guard *g, uint64_t incident, const char *text);
void pc_stopped_update(struct pc_guard *g, struct pc_stopped *s); /* counts anew and writes it to the index */
/* Freezes what the incident names, completes its record and tells people. first_path may be NULL. */
void pc_stop_carry_out(struct pc_guard *g, struct pc_stopped *s, const char *first_path);

/* adopt.c: what a guard that was killed had recorded of its processes becomes the incident's. */
void pc_adopt_earlier_acts(struct pc_guard *g, struct pc_stopped *s);
/* The same with what was destroyed meanwhile by processes that nobody met before they ended. */
void pc_adopt_strays(struct pc_guard *g, struct pc_stopped *s);
#endif
