/*
 * `portcullis approve FILE`: shows in plain words what will happen where, asks, has ssh-keygen sign exactly the bytes
 * that were shown, and writes the signature beside the file.
 */
#include "cli/approve.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "cli/owner_commands.h"
#include "cli/sign.h"

#include <limits.h>
#include <string.h>

/* Only a plain yes is a yes. */
static int ask(const struct pc_cli *cli, const struct pc_paper *p)
{
    char answer[16];
    printf("\nSign ");
    pc_put(cli, PC_PLAIN, p->path);
    printf("? Type yes: ");
    fflush(stdout);
    if (!fgets(answer, sizeof answer, stdin) || strcmp(answer, "yes\n") != 0)
        return pc_cli_fail(PC_EXIT_REFUSED, "not signed");
    return 0;
}

/* What the signature's file is named after. */
static char *name_of(const struct pc_paper *p, const struct pc_sshkey *signer, const char *key)
{
    const char *owner = pc_paper_owner(p, signer), *slash = strrchr(key, '/');
    char name[PC_NAME_MAX + 1] = "";
    if (owner)
        return strdup(owner);
    size_t n = 0;
    for (const char *c = slash ? slash + 1 : key; *c && strcmp(c, ".pub") != 0 && n < PC_NAME_MAX; c++)
        name[n++] = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", *c) ? (char)(*c | 0x20) : *c;
    name[n] = 0;
    return strdup(pc_name_valid(name) ? name : "key");
}

static int write_signature(const struct pc_paper *p, const char *name, const char *sig, size_t len)
{
    _free_ char *path = NULL;
    if (asprintf(&path, "%s.%s.sig", p->path, name) < 0) {
        path = NULL;
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    int r = pc_cli_file_replace(path, sig, len, 0644);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be written: %s", path, pc_strerror(r)) : 0;
}

/* A signature that will not count is said before it is made into a file. */
static void warn(const struct pc_cli *cli, const struct pc_paper *p, const struct pc_sshkey *signer)
{
    if (p->trusted && !pc_paper_owner(p, signer) && !cli->json)
        pc_say(cli, PC_YELLOW,
               "This key is no owner's in the trust file: for an order, a signature by it makes every host refuse.\n");
}

/* What is signed, before it is. */
static int show(const struct pc_cli *cli, const struct pc_paper *p)
{
    int status = pc_paper_put(cli, p);
    bool shown = fflush(stdout) == 0 && !ferror(stdout);
    return status || shown ? status : pc_cli_fail(PC_EXIT_FAILED, "%s: not signed: it could not be shown", p->path);
}

int pc_approve(const struct pc_cli *cli, const struct pc_paper *p, const char *key, bool yes, char **name)
{
    _free_ char *sig = NULL;
    char used[PATH_MAX];
    size_t len;
    struct pc_sshkey *signer = NULL;
    int status = cli->json && yes ? 0 : show(cli, p);
    if (status == 0 && !yes)
        status = ask(cli, p);
    if (status == 0)
        status = pc_sign(key, pc_paper_namespace(p), p->file.envelope.document, p->file.envelope.len, &sig, &len,
                         &signer, used);
    if (status)
        return status;
    warn(cli, p, signer);
    char *made = name_of(p, signer, used);
    pc_sshkey_free(signer);
    status = made ? write_signature(p, made, sig, len) : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (status)
        free(made);
    else
        *name = made;
    return status;
}

int pc_cmd_approve(struct pc_cli *cli, const struct pc_cli_args *args)
{
    struct pc_paper p;
    _free_ char *name = NULL;
    bool yes = args->value[PC_APPROVE_YES] != NULL;
    if (cli->json && !yes)
        return pc_cli_fail(PC_EXIT_USAGE, "approve: --json asks nothing: it needs --yes");
    int status = pc_paper_open(cli, args->word[0], args->value[PC_APPROVE_TRUST], &p);
    if (status)
        return status;
    status = pc_approve(cli, &p, args->value[PC_APPROVE_KEY], yes, &name);
    if (status == 0 && cli->json) {
        json_t *answer = json_pack("{s:s, s:s, s:s, s:o}", "file", p.path, "sha256", p.file.envelope.sha256,
                                   "signed_by", name, "signature", json_sprintf("%s.%s.sig", p.path, name));
        status = pc_put_json(answer);
        json_decref(answer);
    } else if (status == 0) {
        printf("Signed: ");
        pc_put(cli, PC_PLAIN, p.path);
        printf(".%s.sig\n", name);
    }
    pc_paper_close(&p);
    return status;
}
