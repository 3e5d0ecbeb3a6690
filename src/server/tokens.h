#ifndef PC_SERVER_TOKENS_H
#define PC_SERVER_TOKENS_H
/*
 * Tokens: 32 random bytes as base64url text. The store keeps SHA-256 of the text only, and looks tokens up by it: what
 * a timing could tell is about the hash of a guess, not about a token.
 */
#include "store/store.h"
#include "trust/names.h"

#define PC_TOKEN_SIZE 48 /* room for the text and its NUL */

int pc_server_token_make(char out[PC_TOKEN_SIZE]); /* -EIO */
void pc_server_token_hash(const char *token, char out[PC_SHA256_HEX + 1]);
/* An enrolment token for any host, or (host not "") for one of this name. hours from now. */
int pc_server_token_add_enroll(struct pc_store *s, const char *token, const char *host, int64_t expires);
/* Spends it. PC_E_NOTFOUND: unknown, spent, expired, or for another host. */
int pc_server_token_enroll(struct pc_store *s, const char *token_sha256, const char *host, int64_t now);
#endif
