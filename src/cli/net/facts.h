#ifndef PC_CLI_NET_FACTS_H
#define PC_CLI_NET_FACTS_H
#include "cli/net/fleet.h"

/*
 * A host's answer to a look: {"proven": true, "outcome", "exit", "data", "output", "started", "ended"} as it signed
 * them, or {"proven": false, "problem": why} for one that it did not give. look: its id, or NULL for the newest of
 * whichever look. A new reference; null when there is no envelope.
 */
json_t *pc_facts_weigh(struct pc_fleet *f, const struct pc_host_ref *host, const char *look, const json_t *envelope);
/* The rest of a line that began with what was asked, and the data beneath it. */
void pc_facts_print(const struct pc_cli *cli, const json_t *weighed);
#endif
