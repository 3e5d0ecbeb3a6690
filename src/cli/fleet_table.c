/*
 * The commands of an owner of a fleet: one row each, from which parser, usage and help are made. Does nothing itself: the commands
 * that need only the owner's own disk are beside this file, those that talk to the server are in net/.
 */
#include "cli/cli.h"
#include "cli/owner_commands.h"

/* `trust new` and `trust rotate` need no folder of the owner's: their --owner is another. */
const struct pc_cli_command pc_fleet_commands[] = {
    {.name = "order new", .words = "ACTION", .word_count = 1, .fleet = true, .brief = "write an order, for owners to approve",
     .options = {PC_ORDER_OPTIONS,
                 {"--ring", "HOSTS:SOAK", "the next so many hosts first, then so long quiet; the last ring has the rest", true},
                 {"--halt-failures", "N", "so many hosts of a ring may fail (0)"},
                 {"--halt-incidents", "N", "so many guard incidents may be in a ring (0)"},
                 {"--dwell", "SPAN", "wait so long on each host, more than the trust file says"},
                 {"--standing", "RULE", "package.update: again and again, as \"tue,wed 01:00-05:00 24h\""}},
     .run = pc_cmd_order_new},
    {.name = "order show", .words = "FILE", .word_count = 1, .fleet = true, .brief = "an order in plain words, and who approved it",
     .options = {{"--trust", "FILE", "by this trust file, not the one in your folder"}}, .run = pc_cmd_document_show},
    {.name = "approve", .words = "FILE", .word_count = 1, .fleet = true, .brief = "see what will happen where, and sign it with ssh-keygen",
     .options = {{"--key", "FILE", "private key, or the public one of a key in an agent (the first in ~/.ssh)"},
                 {"--yes", NULL, "do not ask"},
                 {"--trust", "FILE", "by this trust file, not the one in your folder"}},
     .run = pc_cmd_approve},
    {.name = "stop", .words = "ACTION", .word_count = 1, .fleet = true, .brief = "one owner stops something now",
     .options = {PC_ORDER_OPTIONS,
                 {"--key", "FILE", "as for approve"},
                 {"--yes", NULL, "do not ask"},
                 {"--offline", NULL, "write a file that `portcullis apply-stop` takes on the host, without any server"}},
     .run = pc_cmd_stop},
    {.name = "trust new", .words = "", .brief = "write a first trust file: whom hosts believe",
     .options = {PC_TRUST_OPTIONS, {"--tenant", "NAME", "whose fleet it is"}}, .run = pc_cmd_trust_new},
    {.name = "trust show", .words = "FILE", .word_count = 1, .fleet = true, .brief = "a trust file (or another document) in plain words",
     .options = {{"--trust", "FILE", "compared with this one, not the one in your folder"}}, .run = pc_cmd_document_show},
    {.name = "trust rotate", .words = "FILE", .word_count = 1, .brief = "write the next version of a trust file",
     .options = {PC_TRUST_OPTIONS, {"--remove", "NAME", "this owner is one no more", true}}, .run = pc_cmd_trust_rotate},
    {.name = "trust revoke", .words = "NAME", .word_count = 1, .fleet = true, .brief = "write a revocation of an owner's key",
     .options = {{"--reason", "TEXT", "why"},
                 {"--trust", "FILE", "the trust file, when it is not in your folder"},
                 {"-o", "FILE", "where to write it"}},
     .run = pc_cmd_trust_revoke},
    {.name = "trust statement", .words = "", .fleet = true, .brief = "write where the server is, for hosts that lost it",
     .options = {{"--url", "URL", "https://HOST:PORT"},
                 {"--link", "HOST:PORT", "where hosts connect"},
                 {"--ca", "FILE", "its CA's certificate"},
                 {"--version", "N", "higher than every one before"},
                 {"--tenant", "NAME", "when there is no trust.json in your folder"},
                 {"-o", "FILE", "where to write it"}},
     .run = pc_cmd_trust_statement},
    {0},
};
