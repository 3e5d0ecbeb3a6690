/* Owns `trust.replace`: the order only says which trust file to fetch; whether it may replace the pinned one is the
 * trust file's own rule, as for one that comes by any other path. The link's user fetches it; this process only reads
 * what came. */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void after(struct pc_task *t, struct pc_outcome *how)
{
    _free_ char *text = NULL;
    size_t len = 0;
    struct pc_envelope e = {0};
    const char *word = "syntax", *want = json_string_value(json_object_get(t->params, "sha256"));
    if (strcmp(how->word, "ok") != 0)
        return;
    int x = pc_read_regular(t->fd, PC_ENVELOPE_MAX, &text, &len);
    if (x == 0)
        x = pc_envelope_parse(text, len, &e);
    if (x == 0 && strcmp(e.sha256, want) != 0) {
        x = PC_E_REFUSED;
        word = "another trust file than the order names";
    }
    if (x == 0 && strcmp(e.sha256, t->r->trust.sha256) != 0)
        x = pc_take_trust(t->r, &e, &word);
    if (x == 0)
        snprintf(t->text, sizeof t->text, "trust file version %llu is pinned", (unsigned long long)t->r->trust.version);
    else
        snprintf(t->text, sizeof t->text, "check %s: the trust file is not taken", word);
    how->word = x == 0 ? "ok" : "refused";
    how->text = t->text;
    pc_envelope_clear(&e);
}

enum pc_act pc_act_trust(struct pc_task *t)
{
    t->fd = memfd_create("portcullis-trust", MFD_CLOEXEC);
    int e = t->fd < 0 ? -errno : pc_fetch_words(t->r, "/v1/trust", &t->argv);
    if (e == 0)
        e = pc_task_arg(&t->envp, "PATH=/usr/bin:/bin");
    if (e < 0) {
        snprintf(t->text, sizeof t->text, "%s", pc_strerror(e));
        return PC_ACT_FAILED;
    }
    t->spec.spawn.out_fd = t->fd;
    t->after = after;
    return PC_ACT_RUN;
}
