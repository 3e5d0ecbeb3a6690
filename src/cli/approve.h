#ifndef PC_CLI_APPROVE_H
#define PC_CLI_APPROVE_H
#include "cli/document_words.h"

/*
 * Shows a document, asks unless `yes`, and has it signed with key (NULL: a usual one). The signature is written to
 * FILE.NAME.sig, NAME the owner's in the trust file, else the key file's; *name, to be freed, is that. Prints why not
 * and returns an exit status.
 */
int pc_approve(const struct pc_cli *cli, const struct pc_paper *p, const char *key, bool yes, char **name);
#endif
