#ifndef PC_CLI_PROCESS_TREE_H
#define PC_CLI_PROCESS_TREE_H
#include "cli/render.h"

/* Draws "processes" of an incident as a tree, at most `most` of them, convicted ones marked. */
void pc_put_process_tree(const struct pc_cli *cli, const json_t *processes, size_t most);
#endif
