/*
 * Owns how owners' documents are found on disk: a document, the signatures beside it, and the hosts of a large order.
 * Judges nothing but form: src/trust says what signatures are worth.
 */
#include "cli/documents.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "cli/cli.h"
#include "cli/owner_dir.h"
#include "trust/json.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#define FOLDER_ENTRIES_MAX 100000 /* a folder of more files is not one that documents are kept in */

/* --- signatures beside the document ------------------------------------------------------------------------------- */

struct names {
    char *name[PC_SIGNATURES_MAX + 1];
    size_t n;
};

static void names_clear(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->name[i]);
    l->n = 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "FILE.NAME.sig", and "FILE.sig" as ssh-keygen names it. */
static bool is_signature_of(const char *name, const char *file)
{
    size_t n = strlen(file), len = strlen(name);
    return len >= n + 4 && strncmp(name, file, n) == 0 && name[n] == '.' && strcmp(name + len - 4, ".sig") == 0;
}

static int list_signatures(const char *folder, const char *file, struct names *out)
{
    _closedir_ DIR *d = opendir(folder);
    if (!d)
        return -errno;
    const struct dirent *e;
    for (int seen = 0; (errno = 0, e = readdir(d)); seen++) {
        if (seen == FOLDER_ENTRIES_MAX)
            return PC_E_LIMIT;
        if (!is_signature_of(e->d_name, file))
            continue;
        if (out->n == PC_SIGNATURES_MAX)
            return PC_E_LIMIT;
        out->name[out->n] = strdup(e->d_name);
        if (!out->name[out->n])
            return -ENOMEM;
        out->n++;
    }
    if (errno)
        return -errno;
    if (out->n)
        qsort(out->name, out->n, sizeof *out->name, by_text);
    return 0;
}

static int add_signature(const char *folder, const char *name, struct pc_envelope *e)
{
    _free_ char *path = NULL, *text = NULL;
    size_t len;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        path = NULL;
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    int r = pc_cli_file_read(path, PC_SIGNATURE_TEXT_MAX, &text, &len);
    if (r == 0 && strlen(text) != len)
        r = PC_E_SYNTAX;
    if (r == 0)
        r = pc_envelope_add(e, text, len);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(r)) : 0;
}

static int add_signatures(const char *path, struct pc_envelope *e)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    _free_ char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    struct names names = {0};
    int r = folder ? list_signatures(folder, file, &names) : -ENOMEM;
    int status = 0;
    if (r == PC_E_LIMIT)
        status = pc_cli_fail(PC_EXIT_FAILED,
                             "%s: more than %d signatures beside it: take away those that are not needed", path,
                             PC_SIGNATURES_MAX);
    else if (r < 0)
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: looking for signatures beside it: %s", path, pc_strerror(r));
    for (size_t i = 0; i < names.n && status == 0; i++)
        status = add_signature(folder, names.name[i], e);
    names_clear(&names);
    return status;
}

/* --- FILE.hosts --------------------------------------------------------------------------------------------------- */

static int parse_hosts(const char *path, char *text, struct pc_owners_file *f)
{
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    f->host = calloc(lines + 1, sizeof *f->host);
    if (!f->host)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    for (char *line = text; *line;) {
        char *end = strchrnul(line, '\n');
        bool last = *end == 0;
        *end = 0;
        if (f->hosts == PC_ORDER_HOSTS_MAX || pc_host_ref_parse(line, &f->host[f->hosts]) < 0)
            return pc_cli_fail(PC_EXIT_FAILED, "%s: line %u: one NAME#HOSTID a line is wanted, at most %d", path,
                               f->hosts + 1, PC_ORDER_HOSTS_MAX);
        f->hosts++;
        line = last ? end : end + 1;
    }
    return 0;
}

static int load_hosts(const char *document, struct pc_owners_file *f)
{
    _free_ char *path = NULL, *text = NULL;
    size_t len;
    if (asprintf(&path, "%s.hosts", document) < 0) {
        path = NULL;
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    int r = pc_cli_file_read(path, PC_HOSTS_FILE_MAX, &text, &len);
    if (r == -ENOENT)
        return 0;
    if (r == 0 && strlen(text) != len)
        r = PC_E_SYNTAX;
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(r)) : parse_hosts(path, text, f);
}

/* --- together ----------------------------------------------------------------------------------------------------- */

static int load_document(const char *path, struct pc_owners_file *f)
{
    _free_ char *text = NULL;
    size_t len;
    int r = pc_cli_file_read(path, PC_DOCUMENT_MAX, &text, &len);
    if (r == 0)
        r = pc_envelope_make(text, len, &f->envelope);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(r));
    if (pc_document_kind(text, len, PC_DOCUMENT_MAX, f->kind, sizeof f->kind) < 0)
        f->kind[0] = 0;
    return 0;
}

int pc_owners_file_load(const char *path, struct pc_owners_file *out)
{
    struct pc_owners_file f = {0};
    int status = load_document(path, &f);
    if (status == 0)
        status = add_signatures(path, &f.envelope);
    if (status == 0)
        status = load_hosts(path, &f);
    if (status)
        pc_owners_file_clear(&f);
    else
        *out = f;
    return status;
}

void pc_owners_file_clear(struct pc_owners_file *f)
{
    pc_envelope_clear(&f->envelope);
    free(f->host);
    *f = (struct pc_owners_file){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct pc_host_ref *const *)a)->name, (*(const struct pc_host_ref *const *)b)->name);
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(const struct pc_host_ref *const *)a)->id, (*(const struct pc_host_ref *const *)b)->id);
}

bool pc_hosts_distinct(const struct pc_host_ref *host, uint32_t n)
{
    int (*const orders[])(const void *, const void *) = {by_name, by_id};
    _free_ const struct pc_host_ref **sorted = calloc(n + 1, sizeof *sorted);
    bool good = sorted != NULL;
    for (size_t k = 0; k < PC_ARRAY_SIZE(orders) && good; k++) {
        for (uint32_t i = 0; i < n; i++)
            sorted[i] = &host[i];
        qsort(sorted, n, sizeof *sorted, orders[k]);
        for (uint32_t i = 1; i < n && good; i++)
            good = orders[k](&sorted[i - 1], &sorted[i]) != 0;
    }
    return good;
}

enum pc_check pc_owners_file_hosts_match(const struct pc_owners_file *f, const struct pc_order *o, char *why,
                                         size_t why_len)
{
    struct pc_host_tree *tree = NULL;
    if (!o->rooted)
        return PC_CHECK_OK;
    if (!f->host || f->hosts != o->hosts) {
        snprintf(why, why_len, "the order names a root over %u hosts, FILE.hosts has %u", o->hosts, f->hosts);
        return PC_CHECK_COUNT;
    }
    if (!pc_hosts_distinct(f->host, f->hosts)) {
        snprintf(why, why_len, "FILE.hosts: a host's name or identity is listed twice");
        return PC_CHECK_COUNT;
    }
    int r = pc_host_tree_new(f->host, f->hosts, &tree);
    bool same = r == 0 && memcmp(pc_host_tree_root(tree), o->root, sizeof o->root) == 0;
    pc_host_tree_free(tree);
    if (r == -ENOMEM)
        return PC_CHECK_MEMORY;
    if (!same)
        snprintf(why, why_len, "FILE.hosts does not have the hosts whose root the order names");
    return same ? PC_CHECK_OK : PC_CHECK_COUNT;
}
