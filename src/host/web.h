#ifndef PC_HOST_WEB_H
#define PC_HOST_WEB_H
/*
 * Talking to the server with libcurl: TLS 1.3 against the pinned CA and nothing else, through a proxy where one is set,
 * bounded in size and time. Every byte that comes back is the attacker's. Waits: for enrolment, fetches and the link,
 * never for the runner.
 */
#include "host/curl_api.h"

#include <stddef.h>
#include <stdint.h>

struct pc_web {
    const char *ca;        /* path of the pinned CA, or NULL: the certificate is not checked (server statements only) */
    const char *cert, *key; /* paths of the client's, or NULL */
    const char *proxy;     /* NULL: none, also not from the environment */
    /* lines "HOST:PORT:ADDR[,ADDR]" of servers and proxies, instead of asking a resolver; or NULL */
    const char *addresses;
    long connect_s, total_s; /* time limits; total 0: none */
};
/* A handle with all of it set, or NULL. To be freed with curl_easy_cleanup, *list with curl_slist_free_all. */
CURL *pc_web_handle(const struct pc_web *w, const char *url, struct curl_slist **list);

/* GET (body NULL) or POST of JSON. *status: HTTP's. *out malloc'd, at most max bytes, NUL-terminated. PC_E_LIMIT: more
 * came. PC_E_UNVERIFIED: the server's certificate is not of the pinned CA; -EIO and why for the rest. No redirects are
 * followed. */
int pc_web_ask(const struct pc_web *w, const char *url, const char *body, size_t max, long *status, char **out,
               size_t *len, char *why, size_t why_len);
/* GET into a descriptor. */
int pc_web_fetch(const struct pc_web *w, const char *url, int fd, uint64_t max, char *why, size_t why_len);
#endif
