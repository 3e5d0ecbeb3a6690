/*
 * Owns `package.update` with apt: the same selection first as a dry run, then for real. Security only means what comes
 * from an origin that calls itself security (Debian-Security, Ubuntu's *-security): apt's dry run names the origin of
 * each package, and just those are given to the real run by name. What is about to change is printed first, so that it
 * is in the result whatever comes after it.
 */
#include "host/collect.h"
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define APT "/usr/bin/apt-get"
#define PACKAGES_MAX 4096
#define LOCK_WAIT_MAX_S                                                                                                \
    300 /* for somebody else's apt to end; never so long that the order's own time is over before it says who that is  \
         */

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
static void begin(struct apt *a, const char *mode, const json_t *params)
{
    json_int_t half = json_integer_value(json_object_get(params, "timeout")) / 2;
    char lock[64];
    static const char *const words[] = {"-q", "-y",
                                        "-o", "Dpkg::Options::=--force-confdef",
                                        "-o", "Dpkg::Options::=--force-confold",
                                        "-o", "APT::Get::Allow-Downgrades=false",
                                        "-o"};
    word(a, APT);
    word(a, mode);
    for (size_t i = 0; i < PC_ARRAY_SIZE(words); i++)
        word(a, words[i]);
    snprintf(lock, sizeof lock, "DPkg::Lock::Timeout=%d", (int)(half < LOCK_WAIT_MAX_S ? half : LOCK_WAIT_MAX_S));
    word(a, lock);
}

static void finish(struct apt *a)
{
    for (size_t i = 0; a->argv && a->argv[i]; i++)
        free(a->argv[i]);
    free(a->argv);
    *a = (struct apt){0};
}

/*
 * "Inst NAME [OLD] (NEW ORIGIN...)": what the dry run would install. what: "[OLD] (NEW ORIGIN...)"; a version may call
 * itself anything, so only origins count.
 */
static bool install_line(char *line, char **name, char **what, bool *security)
{
    if (strncmp(line, "Inst ", 5) != 0)
        return false;
    *name = line + 5;
    char *end = strchr(*name, ' '), *fresh = end ? strchr(end, '(') : NULL, *origin = fresh ? strchr(fresh, ' ') : NULL;
    if (!origin)
        return false;
    *end = 0;
    *what = end + 1;
    *security = strstr(origin, "-security") || strstr(origin, "-Security") || strstr(origin, "Security:");
    return true;
}

static int update_lists(const json_t *params)
{
    struct apt a = {0};
    _free_ char *text = NULL;
    size_t len;
    int status = 0;
    begin(&a, "update", params);
    int r = a.error ? a.error : pc_collect_run(a.argv, 1u << 20, &text, &len, &status);
    if (r == 0 && status != 0) {
        printf("apt-get update failed; what is known from before is used:\n%.4000s\n", text);
        fflush(stdout);
    }
    finish(&a);
    return r;
}

/* dpkg's journal of a run that was cut off (a time limit, a power cut): numbered files, here as apt looks for them. */
static bool was_interrupted(void)
{
    _closedir_ DIR *d = opendir("/var/lib/dpkg/updates");
    const struct dirent *e;
    bool found = false;
    while (d && (e = readdir(d)))
        found |= e->d_name[0] && strspn(e->d_name, "0123456789") == strlen(e->d_name);
    return found;
}

/*
 * Else apt would refuse every further update until somebody comes with a shell. What cannot be finished is told, and
 * apt says the rest.
 */
static int finish_interrupted(void)
{
    char *argv[] = {(char[]){"/usr/bin/dpkg"},
                    (char[]){"--force-confdef"},
                    (char[]){"--force-confold"},
                    (char[]){"--configure"},
                    (char[]){"-a"},
                    NULL};
    _free_ char *text = NULL;
    size_t len;
    int status = 0;
    if (!was_interrupted())
        return 0;
    puts("an update before was cut off: dpkg --configure -a first");
    fflush(stdout);
    int r = pc_collect_run(argv, 1u << 20, &text, &len, &status);
    if (r == 0)
        printf("%.16000s", text);
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
    begin(&a, "-s", params);
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
        char *name, *what;
        bool from_security;
        if (!install_line(line, &name, &what, &from_security) || (security && !from_security))
            continue;
        printf("%s %s\n", name, what);
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
    int r = finish_interrupted();
    if (r == 0)
        r = update_lists(t->params);
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
    begin(&a, "install", t->params);
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
