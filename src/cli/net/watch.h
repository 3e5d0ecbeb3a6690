#ifndef PC_CLI_NET_WATCH_H
#define PC_CLI_NET_WATCH_H
#include "cli/net/order_view.h"

struct pc_watching {
    unsigned seconds; /* give up after so long; 1 .. */
    bool taken;       /* until every host took it, not until it is over */
    bool output;      /* with what the programs wrote, at the end */
};
/*
 * Asks for an order again and again and prints each host's line when it changes; at the end the whole (with --json only
 * that). A server that does not answer is asked again. An exit status: 0 only when every host signed that it took it
 * (or, without taken, that it ended well); PC_EXIT_FAILED when one refused or failed, when the server alone says so,
 * when time ran out, or when the server showed something that is not so.
 */
int pc_order_watch(struct pc_fleet *f, const struct pc_order_question *q, const struct pc_watching *w);
#endif
