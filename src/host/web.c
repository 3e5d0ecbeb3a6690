/* Owns the libcurl settings that make a connection trustworthy, in one place. Keeps nothing between calls. */
#include "host/web.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <string.h>

CURL *pc_web_handle(const struct pc_web *w, const char *url, struct curl_slist **list)
{
    CURL *c = curl_easy_init();
    if (!c)
        return NULL;
    bool bad = false;
#define SET(option, value) bad |= curl_easy_setopt(c, option, value) != CURLE_OK
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
    if (w->addresses && (*list = curl_slist_append(NULL, w->addresses)))
        SET(CURLOPT_RESOLVE, *list);
#undef SET
    if (bad) {
        curl_easy_cleanup(c);
        curl_slist_free_all(*list);
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
    char detail[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    if (rc == CURLE_OK)
        return 0;
    snprintf(why, why_len, "%s", s->error ? pc_strerror(s->error) : detail[0] ? detail : curl_easy_strerror(rc));
    return s->error ? s->error : rc == CURLE_PEER_FAILED_VERIFICATION ? PC_E_UNVERIFIED : -EIO;
}

int pc_web_ask(const struct pc_web *w, const char *url, const char *body, size_t max, long *status, char **out, size_t *len, char *why, size_t why_len)
{
    struct curl_slist *list = NULL, *headers = NULL;
    CURL *c = pc_web_handle(w, url, &list);
    if (!c)
        return -ENOMEM;
    struct sink s = {.fd = -1, .left = max};
    pc_buf_init(&s.text, max + 1);
    if (body) {
        headers = curl_slist_append(NULL, "Content-Type: application/json");
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    }
    int r = run(c, &s, status, why, why_len);
    curl_easy_cleanup(c);
    curl_slist_free_all(list);
    curl_slist_free_all(headers);
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
    CURL *c = pc_web_handle(w, url, &list);
    if (!c)
        return -ENOMEM;
    struct sink s = {.fd = fd, .left = max};
    long status = 0;
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    int r = run(c, &s, &status, why, why_len);
    curl_easy_cleanup(c);
    curl_slist_free_all(list);
    if (r == 0 && status != 200) {
        snprintf(why, why_len, "the server answered %ld", status);
        r = -EIO;
    }
    return r;
}
