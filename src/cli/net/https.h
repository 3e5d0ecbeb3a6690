#ifndef PC_CLI_NET_HTTPS_H
#define PC_CLI_NET_HTTPS_H
#include "base/buf.h"

#include <stddef.h>

/*
 * One HTTPS server, asked with libcurl: TLS 1.3, its certificate from the CA that the owner pinned and from no other,
 * no redirects, every answer bounded in size and time. What comes back is the attacker's until somebody's signature
 * says otherwise. A proxy is taken from the environment as curl(1) does (https_proxy, no_proxy); it sees a TLS
 * connection only.
 */
struct pc_https;

struct pc_https_settings {
    const char *url;   /* https://HOST:PORT */
    const char *ca;    /* path of the CA's certificate, PEM */
    const char *token; /* the bearer token itself, or NULL */
};
/* 0 and *out, PC_E_SYNTAX for a URL that is not https://HOST[:PORT], -ENOMEM. Strings are copied. */
int pc_https_new(const struct pc_https_settings *s, struct pc_https **out);
void pc_https_free(struct pc_https *h); /* NULL is fine */
#define PC_HTTPS_URL_MAX 512

struct pc_https_answer {
    long status;        /* of HTTP, 100 .. 599 */
    struct pc_buf body; /* whole; at most what was asked for */
};
/*
 * GET of path ("/v1/hosts?max=2"), or POST when there is a body (of type "application/json" unless type says
 * otherwise). At most max bytes are taken. *out is to be released with pc_buf_free(&out->body). Whatever status the
 * server gives is success; failures, with the reason in pc_https_why: PC_E_LIMIT (more than max bytes), PC_E_KEY (the
 * certificate is not one of the CA), -ENOENT (the CA's file cannot be read), -ETIMEDOUT, -EIO (everything else that
 * keeps an answer from arriving), -ENOMEM.
 */
int pc_https_ask(struct pc_https *h, const char *path, const char *type, const void *body, size_t len, size_t max,
                 struct pc_https_answer *out);
const char *pc_https_why(const struct pc_https *h);
const char *pc_https_url(const struct pc_https *h);
#endif
