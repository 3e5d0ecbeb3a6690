/* Owns the drill's sandbox: a seccomp filter and no capabilities, put on before the first file is damaged. */
#include "cli/drill/seal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/syscall.h>

static int deny(scmp_filter_ctx filter, int call)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
}

static int filter_calls(bool uring)
{
    static const int denied[] = {
        SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(execve), SCMP_SYS(execveat),
        SCMP_SYS(mount),  SCMP_SYS(umount2),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return -ENOMEM;
    int r = 0;
    for (size_t i = 0; r == 0 && i < PC_ARRAY_SIZE(denied); i++)
        r = deny(filter, denied[i]);
    if (r == 0 && !uring)
        r = deny(filter, SCMP_SYS(io_uring_setup));
    if (r == 0)
        r = seccomp_load(filter); /* sets no_new_privs, too */
    seccomp_release(filter);
    return r;
}

static int drop_rights(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    return syscall(SYS_capset, &head, none) == 0 ? 0 : -errno;
}

int drill_seal(bool uring, bool keep_rights)
{
    int r = filter_calls(uring);
    if (r == 0 && !keep_rights)
        r = drop_rights();
    return r;
}
