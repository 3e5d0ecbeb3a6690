#ifndef PC_HOST_CURL_API_H
#define PC_HOST_CURL_API_H
/*
 * libcurl, loaded only by the processes that speak to a server: it and the two dozen libraries behind it would cost
 * every guard 4 MiB of memory, and put an HTTP client into the process that holds all of the host's files.
 */
#define CURL_DISABLE_TYPECHECK /* its macros stand in the way of the names below */
#include <curl/curl.h>

#define PC_CURL_FUNCTIONS(X) \
    X(global_init) X(easy_init) X(easy_cleanup) X(easy_setopt) X(easy_perform) X(easy_getinfo) X(easy_recv) X(easy_send) X(easy_strerror) \
    X(slist_append) X(slist_free_all)
struct pc_curl {
#define PC_CURL_FIELD(name) __typeof__(curl_##name) *name;
    PC_CURL_FUNCTIONS(PC_CURL_FIELD)
#undef PC_CURL_FIELD
};
/*
 * Loads and initialises it at the first call; before threads, and before system calls are filtered. NULL: libcurl 4 is
 * not on this host.
 */
const struct pc_curl *pc_curl(void);
#endif
