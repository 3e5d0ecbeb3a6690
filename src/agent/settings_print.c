/*
 * Build-time program: `settings-print manual` prints portcullis.conf(5), `settings-print sample` the documented sample
 * file, so that neither can differ from the parser.
 */
#include "agent/settings.h"

#include <string.h>

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (strcmp(what, "manual") == 0)
        pc_settings_write_manual(stdout);
    else if (strcmp(what, "sample") == 0)
        pc_settings_write_sample(stdout);
    else
        return 2;
    return fflush(stdout) == 0 ? 0 : 1;
}
