#ifndef TESTS_SERVER_FAKE_H
#define TESTS_SERVER_FAKE_H
/*
 * A whole server without a network: its own code from frames and requests on, over SQLite in memory, with connections and requests that exist only
 * here (this file has src/net's functions). For the fuzzers; deterministic but for keys, times and threads.
 */
#include "server/server.h"

#define FAKE_HOSTS 3
#define FAKE_OWNERS 3

/* Makes it, once; it ends with the process. Hosts are enrolled, the trust file has three owners (B, C, T: two of them; S: one). */
struct pc_server *fake_server(void);
/* Until nothing is on its way: everything is checked, committed, called back. */
void fake_settle(void);

/* A connection of host h (its key), which said nothing yet. */
struct pc_conn *fake_connect(unsigned h);
bool fake_open(const struct pc_conn *c); /* false: the server closed it; it must not be used again */
/* A frame from the host. It comes again when the server takes the connection off hold. */
void fake_frame(struct pc_conn *c, enum pc_frame_type type, const void *body, size_t len);
/* hello as it should be. */
void fake_hello(struct pc_conn *c);
/* The host's own document of a kind ("ack", "result", "ring"), signed by it. */
void fake_document(struct pc_conn *c, enum pc_frame_type type, const char *kind, const void *document, size_t len);
void fake_hang_up(struct pc_conn *c);
void fake_tick(void);
unsigned fake_links(void); /* connections that are open */
/* What the server sent over it: how many frames of a type. */
unsigned fake_sent(const struct pc_conn *c, enum pc_frame_type type);
/* Called for each of them, with its JSON. NULL: nobody listens. */
void fake_listen(void (*heard)(const struct pc_conn *c, enum pc_frame_type type, const char *body, size_t len));
/* How much is queued for every host: a network that takes nothing. */
extern size_t fake_queued;
const char *fake_ref(unsigned h); /* NAME#HOSTID */

/* One request; its status when everything has settled. Aborts unless it was answered exactly once, in JSON where it says so. role: "look", "operate" or NULL. */
int fake_request(bool post, const char *path, const char *role, const void *body, size_t len);
/* An envelope of a document with the signatures of those owners whose bit is set; malloc'd JSON. */
char *fake_envelope(const char *ns, unsigned owners, const void *document, size_t len);
#endif
