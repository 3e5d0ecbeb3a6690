#ifndef PC_PRESERVE_ACTS_H
#define PC_PRESERVE_ACTS_H
#include "preserve/internal.h"

/* Acts of an incident in order, with their numbers; fn returning non-zero stops and is returned. fn must not iterate
 * acts itself. */
int pc_acts_each(struct pc_store *s, uint64_t incident, int (*fn)(void *arg, uint64_t id, const struct pc_act_rec *),
                 void *arg);
/*
 * Whether somebody outside the incident modified or replaced this file after act number `after`. 1, 0 or an error. What
 * a walk found destroyed and nobody was seen doing is nobody's work: most likely the last writes of the incident
 * itself.
 */
int pc_acts_by_others(struct pc_store *s, int vol, const struct pc_fh *fh, uint64_t incident, uint64_t after);
/* Whether somebody outside the incident added, removed or renamed something in the folder since then. 1, 0 or an error.
 */
int pc_acts_by_others_in(struct pc_store *s, int vol, const struct pc_fh *folder, uint64_t incident, uint64_t since_ns);
/* Whether somebody outside the incident did anything to this file. 1, 0 or an error. */
int pc_acts_made_by_others(struct pc_store *s, int vol, const struct pc_fh *fh, uint64_t incident);
#endif
