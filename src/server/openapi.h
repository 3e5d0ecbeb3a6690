#ifndef PC_SERVER_OPENAPI_H
#define PC_SERVER_OPENAPI_H
#include <stddef.h>

/* src/server/openapi.json, built into the program. */
extern const char pc_openapi_json[];
extern const size_t pc_openapi_json_len;
#endif
