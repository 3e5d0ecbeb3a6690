#ifndef PC_SERVER_API_H
#define PC_SERVER_API_H
/* What the files of the API share. */
#include "server/server.h"

#include <jansson.h>

/* Answers with JSON; takes j over (NULL: 500). */
void pc_api_json(struct pc_http_request *r, int status, json_t *j);
/* {"error": word, "text": "..."} */
void pc_api_error(struct pc_http_request *r, int status, const char *word, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The error of a store or writer. */
void pc_api_failed(struct pc_http_request *r, int err);
/* The token cannot be looked up. */
void pc_api_unasked(struct pc_http_request *r);
/* The body as a JSON object, at most max bytes; NULL: it was answered with 400. */
json_t *pc_api_body(struct pc_http_request *r, size_t max);
/* `rest`: what follows the route's prefix in the path. */
void pc_api_hosts(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_host(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_orders(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_order(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_report(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_sequence(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_entries(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_tile(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_log_checkpoint(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_cosign(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_trust(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_statement(struct pc_server *s, struct pc_http_request *r, const char *rest);
void pc_api_file(struct pc_server *s, struct pc_http_request *r, const char *rest);
#endif
