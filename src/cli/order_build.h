#ifndef PC_CLI_ORDER_BUILD_H
#define PC_CLI_ORDER_BUILD_H
#include "cli/owner_dir.h"
#include "trust/order.h"

/* Making an order's document from a command line. Functions print why not and return an exit status; 0 is success. */

/*
 * params of an action from the options that were given; an option that the action does not have is an error.
 * json_decref it.
 */
int pc_order_params(const struct pc_action *action, const struct pc_cli_args *args, json_t **out);

struct pc_order_hosts {
    struct pc_host_ref *host; /* owned */
    uint32_t n;
};
/* --hosts and --hosts-file; plain names by the owner's pins. None given: n 0. */
int pc_order_hosts(const struct pc_owner_dir *dir, const struct pc_cli_args *args, struct pc_order_hosts *out);
void pc_order_hosts_clear(struct pc_order_hosts *h);

/* Rings, dwell, halt rule, standing hours: what only `order new` has. NULL pointers: not given. */
struct pc_order_plan {
    json_t *rings, *halt, *standing; /* borrowed */
    int64_t dwell;                   /* -1: not given */
};
/*
 * The whole document (readable JSON), checked as a host would, and what it means. *text is malloc'd; *order to be
 * cleared.
 */
struct pc_order_made {
    char *text;
    size_t len;
    struct pc_order order;
    struct pc_order_hosts hosts;
};
int pc_order_build(const struct pc_cli *cli, const struct pc_owner_dir *dir, const struct pc_action *action,
                   enum pc_class class_, const struct pc_cli_args *args, const struct pc_order_plan *plan,
                   struct pc_order_made *out);
void pc_order_made_clear(struct pc_order_made *m);
/* Writes FILE, and FILE.hosts when the order has a root; keeps the sequence number. */
int pc_order_write(const struct pc_owner_dir *dir, const struct pc_order_made *m, const char *path);

/* A file that is not there yet: what signatures lie beside is never overwritten. */
int pc_document_create(const char *path, const void *data, size_t len);
#endif
