/* Owns `script.run`: a program with its words, or a script's own bytes, checked against the hash that the owners signed
 * and run from a sealed memory file, so that nobody can change them between the check and the run. */
#include "host/options.h"
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "host/keys.h"
#include "trust/json.h"

#include <pwd.h>
#include <string.h>

#define SCRIPT_MAX (64u << 10)

static int add_words(struct pc_task *t, const json_t *list)
{
    size_t i;
    const json_t *word;
    int e = 0;
    json_array_foreach(list, i, word)
        e = e ? e : pc_task_arg(&t->argv, json_string_value(word));
    return e;
}

/* The interpreter, told to read the sealed file by its descriptor. */
static int add_script(struct pc_task *t)
{
    _free_ char *script = NULL;
    size_t len;
    char sha256[65], path[64];
    const char *want = json_string_value(json_object_get(t->params, "sha256"));
    int e = pc_json_base64(json_object_get(t->params, "script"), SCRIPT_MAX, &script, &len);
    if (e < 0)
        return e;
    pc_key_sha256(script, len, sha256);
    if (!want || strcmp(sha256, want) != 0)
        return PC_E_UNVERIFIED;
    t->fd = pc_sealed_file("portcullis-script", script, len);
    if (t->fd < 0)
        return t->fd;
    t->spec.spawn.keep_fd = t->fd;
    const json_t *interpreter = json_object_get(t->params, "interpreter");
    e = interpreter ? add_words(t, interpreter) : pc_task_arg(&t->argv, "/bin/sh");
    snprintf(path, sizeof path, "/dev/fd/%d", t->fd);
    return e < 0 ? e : pc_task_arg(&t->argv, path);
}

static int be_user(struct pc_task *t, const char *name, char *home, size_t cap)
{
    int e = pc_identity_of(name, &t->as);
    const struct passwd *p = e == 0 ? getpwuid(t->as.uid) : NULL;
    if (e < 0)
        return e;
    snprintf(home, cap, "HOME=%s", p ? p->pw_dir : "/");
    t->spec.spawn.as = &t->as;
    return 0;
}

/* Nothing of the runner's own environment: what a program of an order sees is written down here. */
static int add_environment(struct pc_task *t, const char *home)
{
    char order[96];
    snprintf(order, sizeof order, "PORTCULLIS_ORDER=%s", t->order_sha256);
    int e = pc_task_arg(&t->envp, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if (e == 0)
        e = pc_task_arg(&t->envp, "LANG=C.UTF-8");
    if (e == 0)
        e = pc_task_arg(&t->envp, home);
    return e < 0 ? e : pc_task_arg(&t->envp, order);
}

enum pc_act pc_act_script(struct pc_task *t)
{
    const json_t *argv = json_object_get(t->params, "argv");
    const char *user = json_string_value(json_object_get(t->params, "user"));
    char home[4200] = "HOME=/root";
    int e = user ? be_user(t, user, home, sizeof home) : 0;
    if (e < 0) {
        snprintf(t->text, sizeof t->text, "user %s: %s", user,
                 e == PC_E_NOTFOUND ? "not on this host" : pc_strerror(e));
        return PC_ACT_FAILED;
    }
    e = argv ? add_words(t, argv) : add_script(t);
    if (e == 0)
        e = add_environment(t, home);
    if (e < 0) {
        snprintf(t->text, sizeof t->text, "%s",
                 e == PC_E_UNVERIFIED ? "the script is not the one that its sha256 names" : pc_strerror(e));
        return e == PC_E_UNVERIFIED ? PC_ACT_REFUSED : PC_ACT_FAILED;
    }
    t->spec.timeout_s = (uint64_t)json_integer_value(json_object_get(t->params, "timeout"));
    uint64_t output = (uint64_t)json_integer_value(json_object_get(t->params, "output"));
    t->spec.output_limit = output < PC_JOB_OUTPUT_MAX ? (size_t)output : PC_JOB_OUTPUT_MAX;
    return PC_ACT_RUN;
}
