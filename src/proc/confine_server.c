/*
 * Owns how the fleet's server becomes harmless: it takes bytes from everybody who can reach it, and holds the log's
 * key. Like the link (confine_link.c) it may do what is on a list; it has files to write, but no program to start and
 * nobody to trace.
 */
#include "proc/confine.h"
#include "proc/confine_impl.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* A sanitizer's own calls (it stops and traces its own threads at the end) are what the list is there to refuse. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const int server_calls[] = {
    /* connections that come in; evhttp answers files */
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(listen),
    SCMP_SYS(sendfile),
    /* a database in files: SQLite's list, with the files that it makes beside it, and their owner when it is root's */
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(openat2), /* beneath files/, and nowhere else */
    SCMP_SYS(pwrite64),
    SCMP_SYS(pwritev),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchown),
    SCMP_SYS(fadvise64),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(flock),
    SCMP_SYS(umask),
};

static int allow_files(scmp_filter_ctx ctx)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < PC_ARRAY_SIZE(server_calls); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, server_calls[i], 0);
    /* src/store makes its file with mknod: regular ones, no devices. */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mknod), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFREG));
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFREG));
    return r;
}

int pc_confine_server(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    if (capng_get_caps_process() < 0)
        return -EPERM;
    bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) < 0)
        return -EPERM;
    return SANITIZED ? PC_E_UNSUPPORTED : pc_confine_load(allow_files);
}

/* The number behind a line's name, or -1. */
static long long line_of(const char *text, const char *name, int base)
{
    const char *at = strstr(text, name);
    return at ? strtoll(at + strlen(name), NULL, base) : -1;
}

int pc_confined_get(struct pc_confined *out)
{
    char text[8192];
    int n = pc_read_file_at(AT_FDCWD, "/proc/self/status", text, sizeof text);
    if (n < 0)
        return n;
    *out = (struct pc_confined){.no_new_privs = line_of(text, "\nNoNewPrivs:", 10) == 1,
                                .seccomp = line_of(text, "\nSeccomp:", 10) == 2,
                                .no_capabilities = line_of(text, "\nCapPrm:", 16) == 0};
    return 0;
}
