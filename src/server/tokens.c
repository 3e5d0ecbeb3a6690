/* Owns what a token looks like and how one is bound to a host's name. Must not know HTTP. */
#include "server/tokens.h"

#include "base/base64.h"
#include "base/err.h"
#include "net/pki.h"
#include "trust/envelope.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

int pc_server_token_make(char out[PC_TOKEN_SIZE])
{
    uint8_t raw[32];
    int ret = pc_random(raw, sizeof raw);
    if (ret == 0)
        pc_base64url_encode(raw, sizeof raw, out);
    OPENSSL_cleanse(raw, sizeof raw);
    return ret;
}

void pc_server_token_hash(const char *token, char out[PC_SHA256_HEX + 1])
{
    pc_sha256_text(token, strlen(token), out);
}

/* The hash under which a token for one name is kept: without the name it cannot be found. */
static void bind(const char *token_sha256, const char *host, char out[PC_SHA256_HEX + 1])
{
    char text[PC_SHA256_HEX + 1 + PC_NAME_MAX + 1];
    int len = snprintf(text, sizeof text, "%s#%s", token_sha256, host);
    pc_sha256_text(text, (size_t)len, out);
}

int pc_server_token_add_enroll(struct pc_store *s, const char *token, const char *host, int64_t expires)
{
    char sha[PC_SHA256_HEX + 1], bound[PC_SHA256_HEX + 1];
    pc_server_token_hash(token, sha);
    bind(sha, host, bound);
    return s->ops->token_add(s, *host ? bound : sha, "enroll", host, expires);
}

int pc_server_token_enroll(struct pc_store *s, const char *token_sha256, const char *host, int64_t now)
{
    char bound[PC_SHA256_HEX + 1];
    bind(token_sha256, host, bound);
    int ret = s->ops->token_use(s, bound, "enroll", now);
    return ret == PC_E_NOTFOUND ? s->ops->token_use(s, token_sha256, "enroll", now) : ret;
}
