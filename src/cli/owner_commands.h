#ifndef PC_CLI_OWNER_COMMANDS_H
#define PC_CLI_OWNER_COMMANDS_H
#include "cli/cli.h"

/* The owner's commands that need no server: documents are made, shown and signed on the owner's own disk. */
int pc_cmd_order_new(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_document_show(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_approve(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_stop(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_trust_new(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_trust_rotate(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_trust_revoke(struct pc_cli *cli, const struct pc_cli_args *args);
int pc_cmd_trust_statement(struct pc_cli *cli, const struct pc_cli_args *args);

/* Their own options, in the order of the table of commands. */
#include "cli/order_options.h"
enum { PC_NEW_RING = PC_OPT_OWN, PC_NEW_HALT_FAILURES, PC_NEW_HALT_INCIDENTS, PC_NEW_DWELL, PC_NEW_STANDING };
enum { PC_STOP_KEY = PC_OPT_OWN, PC_STOP_YES, PC_STOP_OFFLINE };
enum { PC_SHOW_TRUST };
enum { PC_APPROVE_KEY, PC_APPROVE_YES, PC_APPROVE_TRUST };
enum {
    PC_TRUST_OWNER,
    PC_TRUST_THRESHOLD,
    PC_TRUST_CAP,
    PC_TRUST_LOG_KEY,
    PC_TRUST_WITNESS,
    PC_TRUST_WITNESSES_NEEDED,
    PC_TRUST_DWELL,
    PC_TRUST_SILENCE,
    PC_TRUST_FILE,
    PC_TRUST_TENANT,
    PC_TRUST_REMOVE = PC_TRUST_TENANT
};
enum { PC_REVOKE_REASON, PC_REVOKE_TRUST, PC_REVOKE_FILE };
enum {
    PC_STATEMENT_URL,
    PC_STATEMENT_LINK,
    PC_STATEMENT_CA,
    PC_STATEMENT_VERSION,
    PC_STATEMENT_TENANT,
    PC_STATEMENT_FILE
};

#define PC_TRUST_OPTIONS                                                                                               \
    {"--owner", "NAME=PUB:CLASSES",                                                                                    \
     "an owner, the file of the public key, the classes (of BCST); \":hardware\" may follow", true},                   \
        {"--threshold", "B=N,C=N,...", "how many owners each class needs (B=2,C=2,S=1,T=2)", true},                    \
        {"--cap", "C=N,S=N", "how many hosts one order may name (C=10,S=10)", true},                                   \
        {"--log-key", "VKEY", "the log's verifier key, or a file with it"},                                            \
        {"--witness", "VKEY", "a witness's verifier key, or a file with it", true},                                    \
        {"--witnesses-needed", "N", "how many must cosign (0)"},                                                       \
        {"--dwell", "SECONDS", "how long an act waits on each host (600)"},                                            \
        {"--silence", "SECONDS", "how long without news from the log is too long (900)"},                              \
    {                                                                                                                  \
        "-o", "FILE", "where to write it"                                                                              \
    }
#endif
