#ifndef PC_CLI_NET_ORDER_VIEW_H
#define PC_CLI_NET_ORDER_VIEW_H
#include "cli/net/fleet.h"
#include "trust/order.h"

/*
 * An order as the server tells of it, weighed. The answer of GET /v1/orders/ID becomes an object of the same shape in
 * which everything that a signature can prove was checked:
 *
 *     approved_by   names of the owners whose approval verifies against trust.json; null: there is no trust.json to ask
 *     hosts[]       "proven": the host's own signed result says so; then outcome, exit, signal, output ... are the
 *                   signed ones, and where the server said something else, "server_says" is what it said.
 *                   "ack": the host's signed word on taking the order, or null.
 *                   "report": its signed ring report, {"ring", "run", "outcome", "incidents", "soaked"}, or null.
 *                   "problem": in words, when something is wrong with what the server shows of this host
 *     reported[]    of each ring whose hosts reported: {"ring", "reports", "failures", "incidents"}, by those signed
 *                   reports; what halts an order
 *     halt          {"failures", "incidents"}: more than so many in a ring halt it, as the owners signed
 *     problem       what the server conceals of the whole order
 *     problems      how many hosts have one, and the order's
 */
struct pc_order_question {
    const char *id;          /* of the order, or its SHA-256 */
    const char *sha256;      /* what the document must hash to, or NULL: nobody knows */
};
/*
 * Asks and weighs. *out to be released. An exit status; the answer's problems are not failures here:
 * pc_order_view_problems counts them.
 */
int pc_order_view(struct pc_fleet *f, const struct pc_order_question *q, json_t **out);
json_int_t pc_order_view_problems(const json_t *view);
/* Is there nothing to wait for any more: the order is over, or every host has an outcome? */
bool pc_order_view_over(const json_t *view);
/* Every host took it or refused it (or is past that). */
bool pc_order_view_taken(const json_t *view);
/* Hosts that have not signed how it ended; or, with taken, that they took or refused it: that is hearsay. */
size_t pc_order_view_unsigned(const json_t *view, bool taken);
/* Hosts that refused it, or where it did not end well. */
size_t pc_order_view_wrong(const json_t *view);
/* For people; output: with what the programs wrote. */
void pc_order_view_print(const struct pc_cli *cli, const json_t *view, bool output);
/* What this host's line would say: state, outcome, proof. Free it. */
char *pc_order_view_line(const struct pc_cli *cli, const json_t *host);
#endif
