#ifndef PC_BASE_STR_H
#define PC_BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parses a whole string as a decimal number in [min, max]. 0, PC_E_SYNTAX or PC_E_RANGE. */
int pc_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);
/* "10", "4k", "2M", "1G", "1T" (powers of 1024) to bytes. */
int pc_parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *out);
/* "500ms", "10s", "5m", "2h", "7d" to nanoseconds; a bare number is seconds. */
int pc_parse_duration(const char *s, uint64_t min_ns, uint64_t max_ns, uint64_t *out);
/*
 * Splits "HOST:PORT" or "[V6]:PORT". host: without brackets, otherwise any bytes, or empty. *port: that part of text
 * (may be NULL). Returns its number, 1 to 65535, or PC_E_SYNTAX.
 */
int pc_split_address(const char *text, char *host, size_t host_cap, const char **port);
/* True when path is dir itself or lies beneath it; both absolute, without trailing slash except "/" itself. */
bool pc_path_beneath(const char *path, const char *dir);
/* Length of the valid UTF-8 sequence at p (1..4; left > 0), or 0. Rejects overlong forms and surrogates (RFC 3629). */
size_t pc_utf8_len(const unsigned char *p, size_t left);
/* Takes away what is left of a UTF-8 sequence at the end of text that was cut to fit: no JSON may hold it. */
void pc_utf8_cut(char *text);
/*
 * Makes any file name printable and unambiguous: backslash, control bytes and invalid UTF-8 become \\ or \xNN.
 * out is always NUL-terminated; returns the length the whole result would need.
 */
size_t pc_escape_name(const char *in, size_t len, char *out, size_t cap);
/*
 * Reverse of pc_escape_name: \\ and \xNN become bytes. out is NUL-terminated; returns the length (the result may
 * hold NUL bytes), PC_E_SYNTAX for any other backslash, or PC_E_LIMIT.
 */
int pc_unescape_name(const char *in, char *out, size_t cap);
/* Lower-case hex of len bytes into out (2*len+1 bytes). */
void pc_hex(const void *data, size_t len, char *out);
/* Reverse of pc_hex. Returns the byte count, or PC_E_SYNTAX / PC_E_LIMIT. */
int pc_unhex(const char *hex, void *out, size_t cap);
/* 64-bit FNV-1a; not for anything an attacker gains by colliding. */
uint64_t pc_hash64(const void *data, size_t len);
#endif
