#ifndef PC_TRUST_NOTE_H
#define PC_TRUST_NOTE_H
#include "base/buf.h"
#include "trust/note_key.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Signed notes (C2SP signed-note) and cosignatures (C2SP tlog-cosignature, cosignature/v1):
 *
 *     text, one or more lines, each with its newline
 *     (an empty line)
 *     — NAME base64(key id, 4 bytes big endian || signature)
 *     ...
 */
#define PC_NOTE_MAX (256u << 10) /* bytes of a whole note */
#define PC_NOTE_SIGS_MAX 64
#define PC_NOTE_SIG_MAX 8192 /* bytes of one signature; the largest kind in use (ML-DSA-44) has 2432 */

/* One signature line, inside the note's bytes. base64 is well formed and holds at least the key id. */
struct pc_note_sig {
    const char *name, *base64;
    size_t name_len, base64_len;
    uint32_t id;
};
/* A parsed note. Points into the bytes that were parsed, which must live as long. */
struct pc_note {
    const char *text; /* what is signed, with its last newline */
    size_t text_len;
    size_t n_sigs;
    struct pc_note_sig sig[PC_NOTE_SIGS_MAX];
};

/*
 * Takes a note apart; says nothing about who signed it. The text must not be used before a signature of a known key was
 * verified. PC_E_SYNTAX: not a note (also: not UTF-8, control characters, no signature). PC_E_LIMIT: larger than the
 * bounds above.
 */
int pc_note_parse(const char *note, size_t len, struct pc_note *out);

/*
 * Is the text signed by this key? Lines by other keys are ignored, also such with the same name or the same id. Of
 * lines with both, every one must verify: a wrong signature by a known key spoils the note. key->alg is PC_SIG_ED25519,
 * or PC_E_UNSUPPORTED. 0: yes. PC_E_NOTFOUND: no line by this key. PC_E_SIGNATURE: a line that does not verify.
 * -ENOMEM.
 */
int pc_note_verify(const struct pc_note *note, const struct pc_vkey *key);
/*
 * Likewise for a cosignature: key->alg is PC_SIG_COSIGNATURE. *time (may be NULL) becomes the newest time at which this
 * witness says it saw the checkpoint, seconds since 1970, 0 .. INT64_MAX; the caller decides what is too old.
 */
int pc_note_verify_cosignature(const struct pc_note *note, const struct pc_vkey *key, int64_t *time);

/*
 * Appends a whole note to out: the text (well-formed UTF-8 lines, ends in a newline) and one signature. key->alg is
 * PC_SIG_ED25519, or PC_E_UNSUPPORTED. PC_E_SYNTAX: the text cannot be a note's; PC_E_LIMIT; -ENOMEM.
 */
int pc_note_sign(const char *text, size_t len, const struct pc_skey *key, struct pc_buf *out);
/*
 * Appends one signature line, to be added at the end of a note with this text: what a witness answers. key->alg is
 * PC_SIG_COSIGNATURE; time >= 0, in seconds since 1970, or PC_E_RANGE.
 */
int pc_note_cosign(const char *text, size_t len, const struct pc_skey *key, int64_t time, struct pc_buf *out);
#endif
