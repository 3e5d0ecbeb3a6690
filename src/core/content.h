#ifndef PC_CORE_CONTENT_H
#define PC_CORE_CONTENT_H
#include <stddef.h>
#include <stdint.h>

/*
 * Content comparison: did this change destroy what the file meant? Pure. The rim reads the windows that pc_content_plan
 * asks for, from the pre-image and from the live file, and hands both to pc_content_compare.
 */
struct pc_window {
    uint64_t off;
    uint32_t len;        /* planned length; after reading: bytes really there (short at end of file) */
    const uint8_t *data; /* caller's memory; NULL in a plan */
};
#define PC_WINDOWS_MAX 96
/* The most bytes one side of one comparison may ask for: bounds the guard's memory and its time per file. */
#define PC_CONTENT_BUDGET (1u << 20)

struct pc_content {
    uint64_t size; /* whole file, bytes */
    uint32_t count;
    struct pc_window win[PC_WINDOWS_MAX]; /* ascending, not overlapping; first one starts at 0 (unless size is 0) */
};

/*
 * Fills before/after with the same window offsets (head, tail of both sizes, random middles drawn from seed; the whole
 * file when it fits the budget). seed must not be predictable to whoever writes the file.
 */
void pc_content_plan(uint64_t size_before, uint64_t size_after, uint64_t seed, struct pc_content *before,
                     struct pc_content *after);
/* Plan for one side alone (a new file without pre-image, or a deleted file): head, tail, a few middles; <= 128 KiB. */
void pc_content_plan_one(uint64_t size, uint64_t seed, struct pc_content *out);

enum pc_evidence {
    PC_EV_STRUCTURE_GONE = 1 << 0, /* a known kind's structure (magic, trailer, text-ness) is no longer there */
    PC_EV_RANDOMISED = 1 << 1,     /* changed bytes were ordered and are now random */
    PC_EV_UNRELATED = 1 << 2,      /* almost nothing of the old content is left */
    PC_EV_PARTIAL = 1 << 3,        /* randomised in stripes, head only, or every other block */
    PC_EV_EMPTIED = 1 << 4,        /* truncated or punched to nothing / overwritten with one constant */
    PC_EV_OPAQUE_TWIN = 1 << 5,    /* old file gone while the same lineage wrote an opaque file near and of its size */
    PC_EV_ENCRYPTED_BOX = 1 << 6,  /* replaced by a container with encrypted members (zip -P, 7z -p, gpg, openssl) */
    PC_EV_ENCODED = 1 << 7,        /* random bytes in a text encoding (base64, hex) */
    PC_EV_NOTE = 1 << 8,           /* the same new text file dropped in many folders */
    PC_EV_DECOY = 1 << 9,
    PC_EV_VAULT = 1 << 10,         /* tried to open the vault */
};

struct pc_finding {
    uint32_t evidence;       /* enum pc_evidence bits */
    uint8_t score;           /* 0 nothing .. 100 certainly destroyed */
    uint16_t changed_permil; /* of the compared bytes */
    uint8_t kind_before, kind_after; /* enum pc_kind */
};

/* Compares windows of the pre-image with the live file's (same plan). Never fails: unreadable windows have len 0. */
void pc_content_compare(const struct pc_content *before, const struct pc_content *after, struct pc_finding *out);

/* What one file looks like by itself. */
struct pc_look {
    uint8_t kind;    /* enum pc_kind */
    uint8_t opaque;  /* 0..100: looks like ciphertext: random and not decodable, or an encrypted box */
    uint8_t packed;  /* 1 when it is a valid known packed format (decodes): its entropy says nothing */
    uint8_t textual; /* 1 when plain text in a known encoding */
};
void pc_content_look(const struct pc_content *c, struct pc_look *out);
/* pc_content_compare and both looks in one go (comparing needs them anyway). */
void pc_content_compare_looks(const struct pc_content *before, const struct pc_content *after, struct pc_finding *out,
                              struct pc_look *look_before, struct pc_look *look_after);
/* "randomised, structure gone" ; for reports. Returns out. */
const char *pc_evidence_text(uint32_t evidence, char *out, size_t cap);
#endif
