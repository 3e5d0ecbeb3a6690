#ifndef PC_TRUST_NOTE_KEY_H
#define PC_TRUST_NOTE_KEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Keys of signed notes. A verifier key is text, "NAME+ID+base64(algorithm byte || public key)" (C2SP signed-note); a
 * private one, "PRIVATE+KEY+NAME+ID+base64(algorithm byte || seed)" (golang.org/x/mod/sumdb/note). NAME is 1 to
 * PC_NOTE_NAME_MAX bytes of UTF-8 without white space and "+"; ID, 8 hex digits, is the beginning of
 * SHA-256(NAME "\n" algorithm byte, public key).
 */
#define PC_NOTE_NAME_MAX 255
/* Room for the longest of either text with its NUL. */
#define PC_NOTE_KEY_TEXT_MAX (PC_NOTE_NAME_MAX + 80)

enum pc_sig_alg {
    PC_SIG_ED25519 = 1,     /* over the note's text: a log's own signature */
    PC_SIG_COSIGNATURE = 4, /* cosignature/v1, Ed25519 with a time: a witness's */
};
struct pc_vkey {
    char name[PC_NOTE_NAME_MAX + 1];
    uint32_t id;
    enum pc_sig_alg alg;
    uint8_t key[32]; /* raw Ed25519 public key */
};
/* Secret: clear it with OPENSSL_cleanse when done. */
struct pc_skey {
    struct pc_vkey pub;
    uint8_t seed[32]; /* raw Ed25519 private key of RFC 8032 */
};

/* May this be the name of a key? */
bool pc_note_name_valid(const char *name, size_t len);
/* PC_E_SYNTAX: bad name. PC_E_UNSUPPORTED: another algorithm. */
int pc_vkey_make(const char *name, enum pc_sig_alg alg, const uint8_t key[32], struct pc_vkey *out);
/* PC_E_SYNTAX: no such text, or the id is not that of name and key. PC_E_UNSUPPORTED: another algorithm. */
int pc_vkey_parse(const char *text, struct pc_vkey *out);
/* The text, NUL-terminated. Its length, or PC_E_LIMIT when cap is too small. */
int pc_vkey_format(const struct pc_vkey *key, char *out, size_t cap);
/* The same for private keys. All may answer -ENOMEM. */
int pc_skey_make(const char *name, enum pc_sig_alg alg, const uint8_t seed[32], struct pc_skey *out);
int pc_skey_parse(const char *text, struct pc_skey *out);
int pc_skey_format(const struct pc_skey *key, char *out, size_t cap);
#endif
