/*
 * Owns how the command line talks HTTPS (https.h). Must not believe the server in anything, know what is asked or
 * print. The bounds are against a server that sends for ever, or nothing for ever.
 */
#include "cli/net/https.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#define CONNECT_SECONDS 10L
#define SILENT_SECONDS 20L /* less than SLOW_BYTES a second for so long ends the transfer */
#define SLOW_BYTES 16L
#define TOTAL_SECONDS 300L
#define HEADERS_MAX (64u << 10)

struct pc_https {
    CURL *curl;
    struct curl_slist *auth;
    char *url, *ca, *token;
    char why[CURL_ERROR_SIZE + PC_HTTPS_URL_MAX + 64];
};

/* Only what the rest of this file can append a path to: scheme, host, port; no user, path, query. */
static bool url_valid(const char *url)
{
    static const char scheme[] = "https://";
    size_t n = strlen(url);
    if (n >= PC_HTTPS_URL_MAX || strncmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *host = url + sizeof scheme - 1;
    size_t good = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]");
    return good > 0 && (host[good] == 0 || strcmp(host + good, "/") == 0);
}

int pc_https_new(const struct pc_https_settings *s, struct pc_https **out)
{
    if (!url_valid(s->url))
        return PC_E_SYNTAX;
    struct pc_https *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->curl = curl_easy_init();
    h->url = strdup(s->url);
    h->ca = strdup(s->ca);
    h->token = s->token ? strdup(s->token) : NULL;
    if (!h->curl || !h->url || !h->ca || (s->token && !h->token)) {
        pc_https_free(h);
        return -ENOMEM;
    }
    size_t n = strlen(h->url);
    if (h->url[n - 1] == '/')
        h->url[n - 1] = 0;
    *out = h;
    return 0;
}

void pc_https_free(struct pc_https *h)
{
    if (!h)
        return;
    if (h->curl)
        curl_easy_cleanup(h->curl);
    curl_slist_free_all(h->auth);
    free(h->url);
    free(h->ca);
    if (h->token)
        explicit_bzero(h->token, strlen(h->token));
    free(h->token);
    free(h);
}

const char *pc_https_why(const struct pc_https *h)
{
    return h->why;
}

const char *pc_https_url(const struct pc_https *h)
{
    return h->url;
}

/* --- one exchange ------------------------------------------------------------------------------------------------- */

struct sink {
    struct pc_buf body;
    size_t headers;
    bool too_much;
};

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct sink *s = ctx;
    if (pc_buf_add(&s->body, data, size * n) == 0)
        return size * n;
    s->too_much = true;
    return 0;
}

static size_t take_header(char *data, size_t size, size_t n, void *ctx)
{
    struct sink *s = ctx;
    s->headers += size * n;
    if (s->headers <= HEADERS_MAX)
        return size * n;
    s->too_much = true;
    return 0;
}

static struct curl_slist *headers(const struct pc_https *h, const char *type)
{
    _free_ char *auth = NULL, *content = NULL;
    struct curl_slist *list = NULL;
    const char *lines[3] = {"Expect:", NULL, NULL}; /* no waiting for "100 Continue" */
    size_t n = 1;
    if (h->token && asprintf(&auth, "Authorization: Bearer %s", h->token) < 0)
        return NULL;
    if (type && asprintf(&content, "Content-Type: %s", type) < 0)
        return NULL;
    if (auth)
        lines[n++] = auth;
    if (content)
        lines[n++] = content;
    for (size_t i = 0; i < n; i++) {
        struct curl_slist *longer = curl_slist_append(list, lines[i]);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

/*
 * Everything but the request itself. Every option here is known to the libcurl that we build with; a failure is lack of
 * memory.
 */
static bool set_up(struct pc_https *h, const char *url, struct sink *sink)
{
    CURL *c = h->curl;
    CURLcode r = CURLE_OK;
    curl_easy_reset(c); /* keeps the connection */
    h->why[0] = 0;
#define SET(option, value) r = r == CURLE_OK ? curl_easy_setopt(c, option, value) : r
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    SET(CURLOPT_CAINFO, h->ca);
    SET(CURLOPT_CAPATH, NULL); /* the machine's own CAs vouch for nobody here */
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_ERRORBUFFER, h->why);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    SET(CURLOPT_TIMEOUT, TOTAL_SECONDS);
    SET(CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, SILENT_SECONDS);
    SET(CURLOPT_USERAGENT, "portcullis/" PC_VERSION);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, sink);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, sink);
#undef SET
    return r == CURLE_OK;
}

static bool set_body(struct pc_https *h, const void *body, size_t len)
{
    return curl_easy_setopt(h->curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len) == CURLE_OK &&
           curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body) == CURLE_OK;
}

/* What curl says, as one of the errors of http.h. */
static int failed(struct pc_https *h, CURLcode r, bool too_much)
{
    static const struct {
        CURLcode code;
        int error;
    } known[] = {
        {CURLE_OUT_OF_MEMORY, -ENOMEM},
        {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT},
        {CURLE_PEER_FAILED_VERIFICATION, PC_E_KEY},
        {CURLE_SSL_CACERT_BADFILE, -ENOENT},
        {CURLE_SSL_ISSUER_ERROR, PC_E_KEY},
    };
    if (too_much) {
        snprintf(h->why, sizeof h->why, "the answer is larger than anything this question needs");
        return PC_E_LIMIT;
    }
    if (!h->why[0])
        snprintf(h->why, sizeof h->why, "%s", curl_easy_strerror(r));
    for (size_t i = 0; i < PC_ARRAY_SIZE(known); i++)
        if (known[i].code == r)
            return known[i].error;
    return -EIO;
}

int pc_https_ask(struct pc_https *h, const char *path, const char *type, const void *body, size_t len, size_t max,
                 struct pc_https_answer *out)
{
    struct sink sink = {0};
    _free_ char *url = NULL;
    if (asprintf(&url, "%s%s", h->url, path) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    pc_buf_init(&sink.body, max);
    curl_slist_free_all(h->auth);
    h->auth = headers(h, body ? type ? type : "application/json" : NULL);
    if (!h->auth || !set_up(h, url, &sink) || (body && !set_body(h, body, len)) ||
        curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->auth) != CURLE_OK)
        return -ENOMEM;
    CURLcode r = curl_easy_perform(h->curl);
    if (r != CURLE_OK) {
        pc_buf_free(&sink.body);
        return failed(h, r, sink.too_much);
    }
    out->body = sink.body;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &out->status);
    return 0;
}
