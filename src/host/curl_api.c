/* Owns loading libcurl. Never unloaded: whoever needs it once needs it until it ends. */
#include "host/curl_api.h"

#include "base/cleanup.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

static const char *const names[] = {
#define PC_CURL_NAME(name) "curl_" #name,
    PC_CURL_FUNCTIONS(PC_CURL_NAME)
#undef PC_CURL_NAME
};
_Static_assert(sizeof(struct pc_curl) == PC_ARRAY_SIZE(names) * sizeof(void *), "one name a function");

static bool load(struct pc_curl *out)
{
    void *found[PC_ARRAY_SIZE(names)];
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
    for (size_t i = 0; i < PC_ARRAY_SIZE(names); i++)
        if (!(found[i] = dlsym(library, names[i])))
            return false;
    memcpy(out, found, sizeof *out); /* POSIX: a pointer of dlsym may be a function's */
    return true;
}

const struct pc_curl *pc_curl(void)
{
    static struct pc_curl api;
    static bool tried, there;
    if (!tried) {
        tried = true;
        there = load(&api) && api.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    }
    return there ? &api : NULL;
}
