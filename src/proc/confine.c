/*
 * Owns giving up rights. The guard is root and must read and restore everybody's files, so what it can give up is what
 * an attacker would want next: the network, other programs, the kernel.
 */
#include "proc/confine.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

static const unsigned kept[] = {
    CAP_SYS_ADMIN,                                       /* fanotify, open_tree, trusted.* xattrs */
    CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE,               /* open_by_handle_at, everybody's files */
    CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP,      /* restoring owner, mode, ACL, file capabilities */
    CAP_MKNOD, CAP_LINUX_IMMUTABLE,                      /* restoring devices; objects nobody changes by mistake */
    CAP_KILL, CAP_SYS_PTRACE,                            /* stopping; /proc/<tid>/syscall of other users */
    CAP_SYS_NICE, CAP_NET_ADMIN, CAP_SYS_RESOURCE,       /* urgency; process connector; reserved blocks, limits */
};

static int drop_capabilities(void)
{
    bool had[PC_ARRAY_SIZE(kept)];
    for (size_t i = 0; i < PC_ARRAY_SIZE(kept); i++)
        had[i] = capng_have_capability(CAPNG_PERMITTED,
                                       kept[i]); /* one not had (a container): whoever needs it says so */
    capng_clear(CAPNG_SELECT_BOTH);
    for (size_t i = 0; i < PC_ARRAY_SIZE(kept); i++)
        if (had[i] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, kept[i]) < 0)
            return -EINVAL;
    return capng_apply(CAPNG_SELECT_BOTH) < 0 ? -EPERM : 0;
}

static int deny_calls(scmp_filter_ctx ctx)
{
    static const int calls[] = {
        SCMP_SYS(execve),     SCMP_SYS(execveat),        SCMP_SYS(ptrace),       SCMP_SYS(process_vm_writev),
        SCMP_SYS(bpf),        SCMP_SYS(init_module),     SCMP_SYS(finit_module), SCMP_SYS(delete_module),
        SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),       SCMP_SYS(swapon),
        SCMP_SYS(swapoff),
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
        if (r < 0)
            return r;
    }
    static const unsigned families[] = {AF_INET, AF_INET6, AF_PACKET, AF_VSOCK, AF_BLUETOOTH, AF_ALG};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));
        if (r < 0)
            return r;
    }
    return 0;
}

static int filter_calls(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return PC_E_UNSUPPORTED;
    int r = deny_calls(ctx);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}

int pc_confine_guard(void)
{
    if (capng_get_caps_process() < 0)
        return -EPERM;
    int r = drop_capabilities();
    if (r < 0)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return filter_calls();
}
