#ifndef PC_HOST_LINK_H
#define PC_HOST_LINK_H
/*
 * Internal to link.c and link_session.c: one session is one connection to the server joined to one connection to the
 * runner.
 */
#include "agent/events.h"
#include "host/files.h"
#include "host/web.h"

enum pc_link_end {
    PC_LINK_NO_RUNNER,   /* nobody to carry orders to: try again soon, quietly */
    PC_LINK_NO_SERVER,   /* no connection, or it ended before `welcome` */
    PC_LINK_NOT_PINNED,  /* the server's certificate is not of our CA */
    PC_LINK_ENDED        /* it was up, and ended */
};
struct pc_link {
    struct pc_events *log;
    struct pc_link_facts facts;
    const char *proxy;     /* NULL: none */
    char addresses[PC_ADDRESSES_MAX]; /* pc_web.addresses, while isolated; "" none */
    char why[256];         /* why the last session ended */
};
/* Runs one session until it ends. Works in the fleet folder (the current directory). *lived_s: seconds it was up. */
enum pc_link_end pc_link_session(struct pc_link *l, uint64_t *lived_s);
/*
 * Asks the server, whoever that is now, for a statement signed by the owners, and hands it to the runner to judge. 0 or
 * an error in l->why.
 */
int pc_link_ask_statement(struct pc_link *l);
#endif
