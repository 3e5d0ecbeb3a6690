#ifndef PC_TRUST_CHECKPOINT_H
#define PC_TRUST_CHECKPOINT_H
#include "base/buf.h"
#include "trust/merkle.h"
#include "trust/note.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Checkpoints (C2SP tlog-checkpoint): what a log says its tree is, as the text of a signed note. Ours carry one
 * extension line, "time SECONDS": when the log signed (PROTOCOL.md section 2).
 *
 *     ORIGIN
 *     SIZE
 *     base64(root)
 *     extension lines, if any
 */
#define PC_CHECKPOINT_ORIGIN_MAX 255
#define PC_CHECKPOINT_EXTENSIONS_MAX 16
#define PC_CHECKPOINT_MAX 8192 /* bytes of the text, without signatures */

struct pc_checkpoint {
    char origin[PC_CHECKPOINT_ORIGIN_MAX + 1];
    uint64_t size; /* leaves, 0 .. PC_MERKLE_SIZE_MAX */
    uint8_t root[PC_HASH_LEN];
    int64_t time; /* of the "time" extension line, seconds since 1970; 0: there is none */
};

/*
 * Parses the text (with its last newline) of a checkpoint. Unknown extension lines are skipped; a second or a malformed
 * "time" line is an error. PC_E_SYNTAX; PC_E_RANGE: size above the maximum; PC_E_LIMIT: larger than the bounds above;
 * PC_E_CORRUPT: size 0 with another root than the empty tree's.
 */
int pc_checkpoint_parse(const char *text, size_t len, struct pc_checkpoint *out);
/* Appends the text, with a time line when c->time > 0. PC_E_SYNTAX: c cannot be a checkpoint; else as pc_buf_add. */
int pc_checkpoint_format(const struct pc_checkpoint *c, struct pc_buf *out);

/*
 * Everything that makes a checkpoint believable by itself: a well-formed note, signed by the log (whose key's name is
 * the origin), and cosigned by at least `needed` of the witnesses. Of witnesses with the same public key only the first
 * is asked, and the log's own key is no witness. Lines by unknown keys are ignored; a wrong signature by the log or a
 * witness spoils the note.
 *
 * Errors of pc_note_parse, pc_note_verify and pc_checkpoint_parse, and: PC_E_REFUSED: too few witnesses; PC_E_KEY: the
 * origin is not the log key's name. Whether it fits what was seen before is pc_checkpoint_follows's question.
 */
int pc_checkpoint_open(const char *note, size_t len, const struct pc_vkey *log, const struct pc_vkey *witnesses,
                       size_t n_witnesses, unsigned needed, struct pc_checkpoint *out);

/*
 * Is `next` the same log as `last`, only longer or equal, as the consistency proof shows? last->size 0: nothing seen
 * yet of a log; everything of the same origin follows (and n must be 0). 0: yes. PC_E_KEY: another origin.
 * PC_E_CHANGED: smaller than what was seen, or not its continuation: evidence of two histories, to be kept.
 * PC_E_SYNTAX: the proof has the wrong number of hashes.
 */
int pc_checkpoint_follows(const struct pc_checkpoint *last, const struct pc_checkpoint *next,
                          const uint8_t (*proof)[PC_HASH_LEN], size_t n);
#endif
