#ifndef PC_TESTS_LIB_FAIL_ALLOC_H
#define PC_TESTS_LIB_FAIL_ALLOC_H
/*
 * The N-th allocation fails: a malloc, calloc, realloc and free of the program's own over those of glibc, which count.
 * For programs of one file (it defines the functions) and one thread. A sanitizer brings its own allocator, and musl has
 * no second name for its: there FAIL_ALLOC_WORKS is 0, nothing is replaced, and main returns fail_alloc_skip().
 */
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define FAIL_ALLOC_WORKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define FAIL_ALLOC_WORKS 0
#endif
#endif
#ifndef FAIL_ALLOC_WORKS
#define FAIL_ALLOC_WORKS 1
#endif

static struct {
    long fail_at; /* the call of malloc, calloc or realloc that fails, from 1; 0: none */
    long count;   /* of those calls, since fail_alloc_start() */
    long alive;   /* blocks allocated and not freed, since the program began */
} fail_alloc;

/* The n-th allocation from here fails (0: none). */
static inline void fail_alloc_start(long n)
{
    fail_alloc.count = 0;
    fail_alloc.fail_at = n;
}

/* No more failures. Returns how many allocations were asked for since fail_alloc_start(). */
static inline long fail_alloc_stop(void)
{
    fail_alloc.fail_at = 0;
    return fail_alloc.count;
}

/* What main returns when FAIL_ALLOC_WORKS is 0: skipped, and why. */
static inline int fail_alloc_skip(void)
{
    puts("skipped: the allocator here cannot be replaced (a sanitizer's, or not glibc's)");
    return 77;
}

#if FAIL_ALLOC_WORKS
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static void *fail_alloc_counted(void *p)
{
    fail_alloc.alive += p != NULL;
    return p;
}

void *malloc(size_t n)
{
    return ++fail_alloc.count == fail_alloc.fail_at ? NULL : fail_alloc_counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return ++fail_alloc.count == fail_alloc.fail_at ? NULL : fail_alloc_counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    if (++fail_alloc.count == fail_alloc.fail_at)
        return NULL;
    return p ? __libc_realloc(p, n) : fail_alloc_counted(__libc_malloc(n));
}

void free(void *p)
{
    fail_alloc.alive -= p != NULL;
    __libc_free(p);
}
#endif
#endif
