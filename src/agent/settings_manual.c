/* Build-time program: prints portcullis.conf(5), so that the manual and the parser cannot differ. */
#include "agent/settings.h"

int main(void)
{
    pc_settings_write_manual(stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
