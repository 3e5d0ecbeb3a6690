#ifndef PC_PRESERVE_JOURNAL_H
#define PC_PRESERVE_JOURNAL_H
#include "preserve/internal.h"

/*
 * What a rollback is about to do, written down and synced before it does it. A row tells where things go; handles tell
 * whether they went: a row is done when the inode it names is where the row puts it. So a row whose act never happened
 * is harmless.
 */
enum pc_jkind {
    PC_J_TIMES = 1, /* folder fh had these times (first in the journal: undone last) */
    PC_J_MOVED,     /* fh: from parent/name to parent2/name2 */
    PC_J_ASIDE,     /* fh: from parent/name to aside */
    PC_J_UNASIDE,   /* fh: from aside to parent2/name2 */
    PC_J_PLACED,  /* parent2 (an inode): from aside to parent/name; and fh (what was there; len 0: nothing) to aside */
    PC_J_INPLACE, /* fh at parent/name restored in place; version is what it was */
    PC_J_META,    /* the same, metadata alone */
};
struct pc_jrow {
    uint64_t id, rollback, aside, version;
    uint8_t kind;
    int vol;
    struct pc_fh fh, parent, parent2;
    char name[PC_NAME_CAP], name2[PC_NAME_CAP];
    int64_t atime_ns, mtime_ns; /* PC_J_TIMES; else atime_ns holds fh's chattr flags (enum pc_attr) */
};

/* The newest rollback of the incident that was not undone. 0 or PC_E_NOTFOUND. */
int pc_journal_find(struct pc_store *s, uint64_t incident, uint64_t *rollback, bool *finished);
int pc_journal_begin(struct pc_store *s, uint64_t incident, uint64_t *rollback);
int pc_journal_finished(struct pc_store *s, uint64_t rollback);
int pc_journal_undone(struct pc_store *s, uint64_t rollback);
int pc_journal_add(struct pc_store *s, struct pc_jrow *row); /* fills row->id */
/* PC_J_PLACED: the inode that was made for it, once it exists. */
int pc_journal_ours(struct pc_store *s, uint64_t row, const struct pc_fh *ours);
/* The row before `before` (INT64_MAX: the last one). PC_E_NOTFOUND at the start. */
int pc_journal_prev(struct pc_store *s, uint64_t rollback, uint64_t before, struct pc_jrow *out);
/* asides.c: one bounded step of removing what rollbacks finished before `limit` (real time) set aside. 1: more to do.
 */
int pc_asides_tend(struct pc_store *s, int64_t limit_ns);
#endif
