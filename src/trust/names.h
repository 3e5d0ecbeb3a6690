#ifndef PC_TRUST_NAMES_H
#define PC_TRUST_NAMES_H
/* Names of tenants, owners and hosts, host references, and times, as documents write them (PROTOCOL.md 1). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_HOST_ID_LEN 32 /* hex digits of a host's identity, the first half of SHA-256 over its public key */
#define PC_NAME_MAX 64    /* longest name, without the closing 0 */
#define PC_SHA256_HEX 64
#define PC_ID_LEN 32 /* hex digits of an order's or look's id */

/* [a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])? */
bool pc_name_valid(const char *name);
/* Exactly `digits` lower-case hex digits. */
bool pc_hex_valid(const char *text, size_t digits);

struct pc_host_ref {
    char name[PC_NAME_MAX + 1];
    char id[PC_HOST_ID_LEN + 1];
};
/* "NAME#HOSTID". PC_E_SYNTAX. */
int pc_host_ref_parse(const char *text, struct pc_host_ref *out);
#define PC_HOST_REF_SIZE (PC_NAME_MAX + 1 + PC_HOST_ID_LEN + 1)
void pc_host_ref_format(const struct pc_host_ref *ref, char out[PC_HOST_REF_SIZE]);

/* RFC 3339 in UTC with whole seconds and a capital Z, years 1970 to 9999; no leap second. PC_E_SYNTAX. */
int pc_time_parse(const char *text, int64_t *out);
#define PC_TIME_SIZE 24
#define PC_TIME_MAX INT64_C(253402300799)
/* Times outside 0 .. PC_TIME_MAX are written as the nearest one inside. */
void pc_time_format(int64_t t, char out[PC_TIME_SIZE]);
#endif
