#ifndef PC_CLI_NET_NET_H
#define PC_CLI_NET_NET_H
#include "cli/cli.h"

/* The commands that talk to the server: one row of fleet_table.c each. */
int pc_cmd_submit(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_orders(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_order_status(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_hosts(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_host(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_look(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_log_verify(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_log_witness(struct pc_cli *cli, const struct pc_cli_args *args);

struct pc_watching;
/*
 * Checks a document on disk as hosts will, and sends it with the signatures beside it; then, with w (may be NULL),
 * shows how an order's hosts answer (watch.h). Prints; an exit status.
 */
int pc_cmd_submit_file(struct pc_cli *cli, const char *path, const struct pc_watching *w);
#endif
