/* Owns the libcurl settings that make a connection trustworthy, in one place. Keeps nothing between calls. */
#include "host/web.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "host/files.h"

#include <errno.h>
#include <string.h>

/* One item a line; what there is no memory for is looked up, or not found. */
static struct curl_slist *lines_of(const struct pc_curl *curl, const char *text)
{
    struct curl_slist *list = NULL;
    char line[PC_ADDRESSES_MAX];
    for (; *text; text += strspn(text, "\n")) {
        size_t n = strcspn(text, "\n");
        struct curl_slist *longer = snprintf(line, sizeof line, "%.*s", (int)n, text) < (int)sizeof line
                                        ? curl->slist_append(list, line)
                                        : NULL;
        list = longer ? longer : list;
        text += n;
    }
    return list;
}

CURL *pc_web_handle(const struct pc_web *w, const char *url, struct curl_slist **list)
{
    const struct pc_curl *curl = pc_curl();
    CURL *c = curl ? curl->easy_init() : NULL;
    if (!c)
        return NULL;
    bool bad = false;
#define SET(option, value) bad |= curl->easy_setopt(c, option, value) != CURLE_OK
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROXY, w->proxy ? "" : "*");
    SET(CURLOPT_PROXY, w->proxy ? w->proxy : "");
    SET(CURLOPT_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_DEFAULT));
    SET(CURLOPT_SSL_VERIFYPEER, w->ca ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, w->ca ? 2L : 0L);
    SET(CURLOPT_CAPATH, NULL); /* the system's certificate authorities have no say */
    if (w->ca)
        SET(CURLOPT_CAINFO, w->ca);
    if (w->cert && w->key) {
        SET(CURLOPT_SSLCERT, w->cert);
        SET(CURLOPT_SSLKEY, w->key);
    }
    SET(CURLOPT_CONNECTTIMEOUT, w->connect_s);
    SET(CURLOPT_TIMEOUT, w->total_s);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    if (w->addresses && (*list = lines_of(curl, w->addresses)))
        SET(CURLOPT_RESOLVE, *list);
#undef SET
    if (bad) {
        curl->easy_cleanup(c);
        curl->slist_free_all(*list);
        *list = NULL;
        return NULL;
    }
    return c;
}

struct sink {
    struct pc_buf text;
    int fd; /* -1: into text */
    uint64_t left;
    int error;
};

static size_t take(char *data, size_t one, size_t n, void *arg)
{
    struct sink *s = arg;
    (void)one; /* always 1 */
    if (n > s->left)
        s->error = PC_E_LIMIT;
    else
        s->error = s->fd >= 0 ? pc_write_all(s->fd, data, n) : pc_buf_add(&s->text, data, n);
    s->left -= s->error ? 0 : n;
    return s->error ? 0 : n;
}

static int run(CURL *c, struct sink *s, long *status, char *why, size_t why_len)
{
    const struct pc_curl *curl = pc_curl();
    char detail[CURL_ERROR_SIZE] = "";
    curl->easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    curl->easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl->easy_setopt(c, CURLOPT_WRITEDATA, s);
    CURLcode rc = curl->easy_perform(c);
    curl->easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    if (rc == CURLE_OK)
        return 0;
    snprintf(why, why_len, "%s", s->error ? pc_strerror(s->error) : detail[0] ? detail : curl->easy_strerror(rc));
    return s->error ? s->error : rc == CURLE_PEER_FAILED_VERIFICATION ? PC_E_UNVERIFIED : -EIO;
}

static int no_handle(char *why, size_t why_len)
{
    snprintf(why, why_len, "%s", pc_curl() ? "out of memory" : "libcurl (libcurl.so.4) cannot be loaded: install it");
    return pc_curl() ? -ENOMEM : PC_E_UNSUPPORTED;
}

int pc_web_ask(const struct pc_web *w, const char *url, const char *body, size_t max, long *status, char **out,
               size_t *len, char *why, size_t why_len)
{
    struct curl_slist *list = NULL, *headers = NULL;
    const struct pc_curl *curl = pc_curl();
    CURL *c = pc_web_handle(w, url, &list);
    if (!c)
        return no_handle(why, why_len);
    struct sink s = {.fd = -1, .left = max};
    pc_buf_init(&s.text, max + 1);
    if (body) {
        headers = curl->slist_append(NULL, "Content-Type: application/json");
        curl->easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl->easy_setopt(c, CURLOPT_POSTFIELDS, body);
    }
    int r = run(c, &s, status, why, why_len);
    curl->easy_cleanup(c);
    curl->slist_free_all(list);
    curl->slist_free_all(headers);
    if (r == 0 && !s.text.data && !(s.text.data = strdup("")))
        r = -ENOMEM;
    if (r < 0) {
        pc_buf_free(&s.text);
        return r;
    }
    *out = s.text.data;
    *len = s.text.len;
    return 0;
}

int pc_web_fetch(const struct pc_web *w, const char *url, int fd, uint64_t max, char *why, size_t why_len)
{
    struct curl_slist *list = NULL;
    const struct pc_curl *curl = pc_curl();
    CURL *c = pc_web_handle(w, url, &list);
    if (!c)
        return no_handle(why, why_len);
    struct sink s = {.fd = fd, .left = max};
    long status = 0;
    curl->easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    int r = run(c, &s, &status, why, why_len);
    curl->easy_cleanup(c);
    curl->slist_free_all(list);
    if (r == 0 && status != 200) {
        snprintf(why, why_len, "the server answered %ld", status);
        r = -EIO;
    }
    return r;
}
