#ifndef PC_SERVER_OWNERS_H
#define PC_SERVER_OWNERS_H
/*
 * The owners' documents as hosts get them: trust file, revocations, server statement, each a frame that is shared by
 * all links it is queued on. A trust file may be a third of a MiB, and goes to every host at once.
 */
#include "net/conn.h"
#include "server/policy.h"

struct pc_owners_frames {
    struct pc_server_policy *of; /* which snapshot they are of, with a reference; NULL: of none */
    struct pc_frame *frame[2 + PC_REVOKED_MAX];
    size_t n;
};
/* Makes them those of this snapshot. -ENOMEM, PC_E_CORRUPT: there are none then. */
int pc_owners_frames_get(struct pc_owners_frames *f, struct pc_server_policy *of);
void pc_owners_frames_clear(struct pc_owners_frames *f);
#endif
