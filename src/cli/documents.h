#ifndef PC_CLI_DOCUMENTS_H
#define PC_CLI_DOCUMENTS_H
#include "trust/envelope.h"
#include "trust/order.h"

/*
 * Owners' documents as they lie on an owner's disk (PROTOCOL.md 1.2): FILE, FILE.NAME.sig for each signature,
 * FILE.hosts for a large order.
 */
struct pc_owners_file {
    char kind[32];              /* "order/1"; "" when the document does not say */
    struct pc_envelope envelope; /* signatures in the order of their files' names */
    struct pc_host_ref *host;   /* of FILE.hosts, in its order; NULL: there is no such file */
    uint32_t hosts;
};
#define PC_HOSTS_FILE_MAX ((size_t)PC_ORDER_HOSTS_MAX * PC_HOST_REF_SIZE)

/* Reads all of them. Prints what is wrong and returns an exit status, or 0. */
int pc_owners_file_load(const char *path, struct pc_owners_file *out);
void pc_owners_file_clear(struct pc_owners_file *f);
/*
 * Does FILE.hosts hold the hosts whose root the order names? An order that lists its hosts needs none. PC_CHECK_OK,
 * COUNT or MEMORY, with why.
 */
enum pc_check pc_owners_file_hosts_match(const struct pc_owners_file *f, const struct pc_order *o, char *why,
                                         size_t why_len);
/* No name and no identity twice? False also without memory. */
bool pc_hosts_distinct(const struct pc_host_ref *host, uint32_t n);
#endif
