/* Fuzzes the settings parser: any bytes; what is accepted must survive being asked about and freed. */
#include "agent/settings.h"
#include "base/cleanup.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_settings s, d;
    char err[256], names[256];
    if (pc_settings_parse("fuzz", (const char *)data, size, &s, err, sizeof err) < 0) {
        if (strncmp(err, "fuzz:", 5) != 0)
            abort(); /* an error without its place */
        return 0;
    }
    if (pc_settings_default(&d) == 0) {
        pc_settings_need_restart(&s, &d, names, sizeof names);
        pc_settings_free(&d);
    }
    pc_settings_for(&s, "/srv/data/x");
    pc_settings_free(&s);
    return 0;
}
