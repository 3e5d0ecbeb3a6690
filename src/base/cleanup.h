#ifndef PC_BASE_CLEANUP_H
#define PC_BASE_CLEANUP_H
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Scope-bound ownership: _free_, _close_, _fclose_, _closedir_ release on leaving the scope; TAKE_* hands ownership
 * out.
 */
static inline void pc_freep(void *p)
{
    free(*(void **)p);
}
static inline void pc_closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
static inline void pc_fclosep(FILE **f)
{
    if (*f)
        fclose(*f);
}
static inline void pc_closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}
#define _free_ __attribute__((cleanup(pc_freep)))
#define _close_ __attribute__((cleanup(pc_closep)))
#define _fclose_ __attribute__((cleanup(pc_fclosep)))
#define _closedir_ __attribute__((cleanup(pc_closedirp)))

#define TAKE_PTR(p)                  \
    ({                               \
        __typeof__(p) taken_ = (p);  \
        (p) = NULL;                  \
        taken_;                      \
    })
#define TAKE_FD(fd)        \
    ({                     \
        int taken_ = (fd); \
        (fd) = -1;         \
        taken_;            \
    })
#define PC_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
