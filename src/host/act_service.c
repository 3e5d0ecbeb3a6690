/*
 * Owns `service`: start, stop or restart one unit of systemd. When that fails, the result has what systemd and the
 * journal know of the unit: whoever ordered it has no shell here to ask. Where systemd is not the init, it says so and
 * does nothing.
 */
#include "host/collect.h"
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <stdio.h>
#include <sys/wait.h>

#define SAID_MAX (64u << 10)
#define WORD(text) ((char[]){text})

/* Runs systemctl and passes on what it says. Its exit status, or 1 when there is none. */
static int systemctl(char *const *argv)
{
    _free_ char *text = NULL;
    size_t len;
    int status = 0, r = pc_collect_run(argv, SAID_MAX, &text, &len, &status);
    if (r < 0)
        printf("systemctl: %s\n", pc_strerror(r));
    else if (len && fwrite(text, 1, len, stdout) != len)
        return 1;
    return r == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run(void *arg)
{
    const struct pc_task *t = arg;
    char *service = (char *)json_string_value(json_object_get(t->params, "service")),
         *what = (char *)json_string_value(json_object_get(t->params, "do"));
    char *act[] = {
        WORD("/usr/bin/systemctl"), WORD("--no-pager"), WORD("--no-ask-password"), what, WORD("--"), service, NULL};
    char *show[] = {WORD("/usr/bin/systemctl"),
                    WORD("--no-pager"),
                    WORD("--full"),
                    WORD("--lines=20"),
                    WORD("status"),
                    WORD("--"),
                    service,
                    NULL};
    int status = systemctl(act);
    if (status != 0) {
        fflush(stdout);
        (void)systemctl(show); /* its status tells how the unit is, which is known to be bad */
    }
    return fflush(stdout) == 0 ? status : 1;
}

enum pc_act pc_act_service(struct pc_task *t)
{
    if (!pc_have_systemd()) {
        snprintf(t->text, sizeof t->text, "systemd is not the init of this host: services are not in our hands here");
        return PC_ACT_FAILED;
    }
    t->spec.spawn.run = run;
    t->spec.spawn.arg = t;
    return PC_ACT_RUN;
}
