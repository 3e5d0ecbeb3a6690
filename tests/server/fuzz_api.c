/*
 * Fuzzes the API: requests as they come out of HTTP, up to the database and back. An input: a byte (1: POST; 2, 4: the token's role, none, look,
 * operate; 8: the body is a document that the owners of the bits 16, 32, 64 sign), the path with its query up to a line end, the body, in which $0, $1,
 * $2 are the hosts. Several requests are separated by a zero byte. make_corpus.py has examples.
 */
#include "fake.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 8
#define DOCUMENT_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *with_names(const char *text, size_t n, size_t *len)
{
    char *out = malloc(n / 2 * 100 + n + 1);
    size_t used = 0;
    if (!out)
        abort();
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '$' && i + 1 < n && text[i + 1] >= '0' && text[i + 1] < '0' + FAKE_HOSTS) {
            const char *ref = fake_ref((unsigned)(text[++i] - '0'));
            memcpy(out + used, ref, strlen(ref));
            used += strlen(ref);
        } else {
            out[used++] = text[i];
        }
    }
    out[used] = 0;
    *len = used;
    return out;
}

static const char *namespace_of(const char *path)
{
    return strncmp(path, "/v1/trust", 9) == 0              ? "trust@portcullis"
           : strncmp(path, "/v1/revoke", 10) == 0           ? "revoke@portcullis"
           : strncmp(path, "/v1/server-statement", 20) == 0 ? "server@portcullis"
                                                            : "order@portcullis";
}

static void request(unsigned flags, char *path, const char *text, size_t n)
{
    static const char *const roles[] = {NULL, "look", "operate", "operate"};
    size_t len;
    _free_ char *body = with_names(text, n, &len);
    if (flags & 8 && len <= DOCUMENT_MAX) {
        char *sealed = fake_envelope(namespace_of(path), flags >> 4 & 7, body, len);
        free(body);
        body = sealed;
        len = strlen(sealed);
    }
    fake_request(flags & 1, path, roles[flags >> 1 & 3], body, len);
}

/* One request at the front; how much of the data it was. */
static size_t take_request(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data + 1, 0, size - 1), *line = memchr(data + 1, '\n', size - 1);
    size_t whole = end ? (size_t)(end - data) + 1 : size;
    const uint8_t *stop = end ? end : data + size;
    if (!line || line > stop || line - data > 2000 || data[1] != '/')
        return whole;
    _free_ char *path = strndup((const char *)data + 1, (size_t)(line - data - 1));
    request(data[0], path, (const char *)line + 1, (size_t)(stop - line - 1));
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake_server();
    for (unsigned n = 0; n < REQUESTS_MAX && size > 1; n++) {
        size_t used = take_request(data, size);
        data += used;
        size -= used;
    }
    return 0;
}
