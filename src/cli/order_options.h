#ifndef PC_CLI_ORDER_OPTIONS_H
#define PC_CLI_ORDER_OPTIONS_H
#include "cli/cli.h"

/*
 * The options that make an order, the same for `order new` and `stop`, in this order in both rows of the table of
 * commands. The first of them are parameters of actions: order_params.c says which goes where.
 */
enum pc_order_option {
    PC_OPT_ARGV,
    PC_OPT_SCRIPT,
    PC_OPT_INTERPRETER,
    PC_OPT_TIMEOUT,
    PC_OPT_OUTPUT,
    PC_OPT_USER,
    PC_OPT_SERVICE,
    PC_OPT_DO,
    PC_OPT_SECURITY,
    PC_OPT_PACKAGE,
    PC_OPT_INCIDENT,
    PC_OPT_VERSION,
    PC_OPT_SHA256,
    PC_OPT_URL_PATH,
    PC_OPT_PID,
    PC_OPT_START,
    PC_OPT_EXE_SHA256,
    PC_OPT_SECONDS,
    PC_OPT_ALLOW,
    PC_OPT_ORDER,
    PC_OPT_HOSTS,
    PC_OPT_HOSTS_FILE,
    PC_OPT_TENANT,
    PC_OPT_SEQUENCE,
    PC_OPT_NOT_BEFORE,
    PC_OPT_EXPIRES,
    PC_OPT_SAYS,
    PC_OPT_FILE,
    PC_OPT_OWN, /* the first of the command's own */
};
#define PC_ORDER_OPTIONS                                                                                               \
    {"--argv", "WORD", "script.run: the program by absolute path, then each argument", true},                          \
        {"--script", "FILE", "script.run: the script, which becomes part of the order"},                               \
        {"--interpreter", "WORD", "script.run: what runs the script, and its arguments (/bin/sh)", true},              \
        {"--timeout", "SECONDS", "script.run, package.update: at most so long (300; 3600)"},                           \
        {"--output", "BYTES", "script.run: so much output is kept (65536)"},                                           \
        {"--user", "NAME", "script.run: as this user (root)"}, {"--service", "NAME", "service: which"},                \
        {"--do", "WORD", "service: start, stop or restart"},                                                           \
        {"--security", NULL, "package.update: security updates only"},                                                 \
        {"--package", "NAME", "package.update: only this one", true},                                                  \
        {"--incident", "N", "guard.release, guard.rollback: which"},                                                   \
        {"--version", "X.Y.Z", "agent.upgrade: to which"},                                                             \
        {"--sha256", "HEX", "agent.upgrade, trust.replace, hash.block, hash.unblock: of the file"},                    \
        {"--url-path", "PATH", "agent.upgrade: where the server has it"}, {"--pid", "N", "actor.freeze: the process"}, \
        {"--start", "N", "actor.freeze: and its start time, as the guard reports it"},                                 \
        {"--exe-sha256", "HEX", "actor.freeze: every process of this program"},                                        \
        {"--seconds", "N", "actor.freeze, host.isolate, hash.block: how long (3600)"},                                 \
        {"--allow", "ADDR/LEN", "host.isolate: stays reachable", true},                                                \
        {"--order", "FILE", "rollout.halt: the order to halt, on its hosts unless --hosts says otherwise"},            \
        {"--hosts", "NAME,...", "the hosts: pinned names, or NAME#HOSTID", true},                                      \
        {"--hosts-file", "FILE", "the hosts, one a line"},                                                             \
        {"--tenant", "NAME", "when there is no trust.json in your folder"},                                            \
        {"--sequence", "N", "instead of one more than your last"},                                                     \
        {"--not-before", "TIME", "begins then (now): 2026-11-21T18:00:00Z, or 10m from now"},                          \
        {"--expires", "TIME", "ends then, or so long after the beginning (2h)"},                                       \
        {"--says", "TEXT", "what it is for, in plain words, for who approves it"},                                     \
    {                                                                                                                  \
        "-o", "FILE", "where to write it"                                                                              \
    }
#endif
