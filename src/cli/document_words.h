#ifndef PC_CLI_DOCUMENT_WORDS_H
#define PC_CLI_DOCUMENT_WORDS_H
#include "cli/documents.h"
#include "cli/owner_dir.h"
#include "cli/render.h"

/*
 * What documents say, for the person who is asked to sign them: everything that will happen, where, when and who wants
 * it.
 */

/* A document as it lies on disk, and what this owner knows to judge it by. */
struct pc_paper {
    const char *path;
    struct pc_owners_file file;
    struct pc_trust trust; /* of the owner's folder, or the document itself when it is a first trust file */
    bool trusted;          /* there is one */
    bool own_trust;        /* ... and it is the document itself */
    struct pc_pins pins;
};
/*
 * Reads all of it, and checks the document alone as every host would. trust_path: another trust file, or NULL. Prints
 * why not and returns an exit status.
 */
int pc_paper_open(const struct pc_cli *cli, const char *path, const char *trust_path, struct pc_paper *out);
void pc_paper_close(struct pc_paper *p);
/* What the signatures of its kind are made for; NULL for a kind that nobody signs. */
const char *pc_paper_namespace(const struct pc_paper *p);

/* The order in it, checked as when it was opened; to be cleared. Prints why not and returns an exit status. */
int pc_paper_order(const struct pc_paper *p, struct pc_order *out);
/* Prints it; all of it is somebody else's text. 0, or an exit status after saying why hosts would refuse it. */
int pc_paper_put(const struct pc_cli *cli, const struct pc_paper *p);
/* The same as JSON, to be decref'd; NULL after saying why not, with the exit status in *status. */
json_t *pc_paper_json(const struct pc_paper *p, int *status);

/* Name of the owner with this key in the trust file; NULL: nobody, or no trust file. */
const char *pc_paper_owner(const struct pc_paper *p, const struct pc_sshkey *key);
#endif
