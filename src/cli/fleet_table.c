/*
 * The commands of an owner of a fleet: one row each, from which parser, usage and help are made. Does nothing itself: the commands
 * that need only the owner's own disk are beside this file, those that talk to the server are in net/.
 */
#include "cli/cli.h"

const struct pc_cli_command pc_fleet_commands[] = {
    {0},
};
