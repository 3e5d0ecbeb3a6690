/*
 * Owns `package.update` with apt: the same selection first as a dry run, then for real. Security only means what comes from an origin that calls itself
 * security (Debian-Security, Ubuntu's *-security): apt's dry run names the origin of each package, and just those are given to the real run by name.
 */
#include "host/collect.h"
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define APT "/usr/bin/apt-get"
#define PACKAGES_MAX 4096

struct apt {
    char **argv;
    int error;
};

static void word(struct apt *a, const char *text)
{
    if (a->error == 0)
        a->error = pc_task_arg(&a->argv, text);
}

/* Questions have answers: keep the configuration file that the administrator changed. */
static void begin(struct apt *a, const char *mode)
{
    static const char *const words[] = {"-q", "-y", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
                                        "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Get::Allow-Downgrades=false"};
    word(a, APT);
    if (mode)
        word(a, mode);
    for (size_t i = 0; i < PC_ARRAY_SIZE(words); i++)
        word(a, words[i]);
}

static void finish(struct apt *a)
{
    for (size_t i = 0; a->argv && a->argv[i]; i++)
        free(a->argv[i]);
    free(a->argv);
    *a = (struct apt){0};
}

/* "Inst NAME [OLD] (NEW ORIGIN...)": what the dry run would install. */
static bool install_line(char *line, char **name, bool *security)
{
    if (strncmp(line, "Inst ", 5) != 0)
        return false;
    *name = line + 5;
    char *end = strchr(*name, ' '), *origin = end ? strchr(end, '(') : NULL;
    if (!origin)
        return false;
    *end = 0;
    *security = strstr(origin, "-security") || strstr(origin, "-Security") || strstr(origin, "Security:");
    return true;
}

static int update_lists(void)
{
    struct apt a = {0};
    _free_ char *text = NULL;
    size_t len;
    int status = 0;
    begin(&a, "update");
    int r = a.error ? a.error : pc_collect_run(a.argv, 1u << 20, &text, &len, &status);
    if (r == 0 && status != 0) {
        printf("apt-get update failed; what is known from before is used:\n%.4000s\n", text);
        fflush(stdout);
    }
    finish(&a);
    return r;
}

/* Runs the dry run. *names: what is to be installed (a NULL-terminated list), *n how many. */
static int dry_run(const json_t *params, char ***names, uint32_t *n)
{
    bool security = json_is_true(json_object_get(params, "security"));
    const json_t *packages = json_object_get(params, "packages"), *package;
    struct apt a = {0};
    _free_ char *text = NULL;
    size_t len, i;
    int status = 0;
    begin(&a, "-s");
    word(&a, packages ? "install" : "upgrade");
    word(&a, packages ? "--only-upgrade" : "--with-new-pkgs");
    json_array_foreach(packages, i, package)
        word(&a, json_string_value(package));
    int r = a.error ? a.error : pc_collect_run(a.argv, 4u << 20, &text, &len, &status);
    finish(&a);
    if (r < 0)
        return r;
    if (status != 0) {
        printf("the dry run failed, so nothing was changed:\n%.8000s\n", text);
        return PC_E_REFUSED;
    }
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line && r == 0; line = strtok_r(NULL, "\n", &save)) {
        char *name;
        bool from_security;
        if (!install_line(line, &name, &from_security) || (security && !from_security))
            continue;
        r = *n == PACKAGES_MAX ? PC_E_LIMIT : pc_task_arg(names, name);
        *n += r == 0;
    }
    return r;
}

static int update(void *arg)
{
    const struct pc_task *t = arg;
    struct apt a = {0};
    char **names = NULL;
    uint32_t n = 0;
    if (access(APT, X_OK) < 0) {
        puts("refused: " APT " is not on this host: updates by another package manager are not built in");
        return 1;
    }
    setenv("DEBIAN_FRONTEND", "noninteractive", 1);
    int r = update_lists();
    if (r == 0)
        r = dry_run(t->params, &names, &n);
    if (r < 0) {
        printf("package update: %s\n", pc_strerror(r));
        return 1;
    }
    printf("%u packages to update\n", n);
    fflush(stdout);
    if (n == 0)
        return 0;
    begin(&a, "install");
    word(&a, "--only-upgrade");
    word(&a, "--");
    for (uint32_t i = 0; i < n; i++)
        word(&a, names[i]);
    if (a.error == 0)
        execv(APT, a.argv); /* the job's first process is apt from here on: its exit status is the job's */
    printf(APT ": %s\n", a.error ? pc_strerror(a.error) : strerror(errno));
    return 1;
}

enum pc_act pc_act_packages(struct pc_task *t)
{
    t->spec.timeout_s = (uint64_t)json_integer_value(json_object_get(t->params, "timeout"));
    t->spec.leave_rest = true; /* services that the packages restart where no systemd keeps them */
    t->spec.spawn.run = update;
    t->spec.spawn.arg = t;
    return PC_ACT_RUN;
}
