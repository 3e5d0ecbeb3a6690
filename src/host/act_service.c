/* Owns `service`: start, stop or restart one unit of systemd. Where systemd is not the init, it says so and does nothing. */
#include "host/collect.h"
#include "host/runner.h"

#include "base/err.h"

#include <string.h>

enum pc_act pc_act_service(struct pc_task *t)
{
    const char *service = json_string_value(json_object_get(t->params, "service")), *what = json_string_value(json_object_get(t->params, "do"));
    if (!pc_have_systemd()) {
        snprintf(t->text, sizeof t->text, "systemd is not the init of this host: services are not in our hands here");
        return PC_ACT_FAILED;
    }
    const char *const words[] = {"/usr/bin/systemctl", "--no-pager", "--no-ask-password", what, "--", service};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (pc_task_arg(&t->argv, words[i]) < 0)
            return PC_ACT_FAILED;
    return pc_task_arg(&t->envp, "PATH=/usr/sbin:/usr/bin:/sbin:/bin") < 0 ? PC_ACT_FAILED : PC_ACT_RUN;
}
