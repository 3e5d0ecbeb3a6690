#ifndef PC_SERVER_REPORT_H
#define PC_SERVER_REPORT_H
/*
 * A host's document on its way: from a link to the pool that checks it (inspect.c), from there to store and log
 * (reports.c). At any moment one thread has it: the loop, a worker of the pool, the writer.
 */
#include "server/pool.h"
#include "server/server.h"
#include "trust/envelope.h"

enum pc_report_kind { PC_REPORT_ACK, PC_REPORT_RESULT, PC_REPORT_RING };

struct pc_report {
    struct pc_task task;
    struct pc_job job;
    struct pc_server *server;
    struct pc_host_ref host; /* whose link it came over */
    uint64_t link;           /* serial of that link: it may be gone, and the host back with another */
    enum pc_report_kind type;
    int verdict; /* of the check: 0; PC_E_SIGNATURE: not signed by this host; PC_E_SYNTAX; -ENOMEM */
    struct pc_host_envelope e;
    struct pc_store_order_host state; /* what becomes of the host's part in the order; sha256 "": nothing */
    char key[PC_SHA256_HEX + 1];      /* order, or look */
    const char *kind, *entry;         /* of the store's report; of the log's entry, NULL: none */
    bool look, good;                  /* an answer to a look; its outcome is ok */
    char action[32];                  /* of a look, whose newest answer is kept; "": none */
    int64_t time;
    bool fresh; /* not in the store yet, in this run */
    bool news;  /* nor before this job: a run whose commit got no answer may have stored it all the same */
    size_t len;
    char json[]; /* the envelope as it came */
};

/* reports.c: a report that was found good, to store and log; `got` after the commit. Takes it over. */
void pc_report_store(struct pc_report *r);
void pc_report_free(struct pc_report *r);

/* inspect.c. It is with the writer; the writer has done with it. */
void pc_inspect_storing(struct pc_report *r);
void pc_inspect_stored(struct pc_report *r);
/* inspect.c. A document of a host: taken to be checked, or the link is held until there is room. false: the link must
 * be closed. */
bool pc_inspect(struct pc_link *l, enum pc_report_kind type, const uint8_t *body, size_t len);
#endif
