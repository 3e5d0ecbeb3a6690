#ifndef PC_CLI_ORDER_WORDS_H
#define PC_CLI_ORDER_WORDS_H
#include "cli/document_words.h"

/*
 * An order in plain words: what, with which parameters and whole script, on which hosts in which rings, when. As
 * pc_paper_put.
 */
int pc_order_paper_put(const struct pc_cli *cli, const struct pc_paper *p);
#endif
