#ifndef PC_CORE_TWINS_H
#define PC_CORE_TWINS_H
#include "core/lineage.h"

/*
 * What was made and what was deleted lately, so that the one can be known as what became of the other. Private to the
 * core. Four bounded memories, allocated once; the oldest (or, in made, whatever hashed to the same place) is forgotten
 * when one is full:
 * - credits: files made that look like ciphertext or are blank; a deletion is held against one of them;
 * - sounds: files made that mean something; a deletion of what they pack, or were packed in, is explained by them;
 * - gone: files of older meaning that were deleted, for programs that delete first and write after, or that write the
 *   same name anew;
 * - made: new files that never took the place of an older one, with the time of their making. Forgetting one is safe:
 *   a file that is not in there is judged as if it had always been.
 */
#define PC_TWINS_CREDITS 2048u
#define PC_TWINS_SOUNDS 512u
#define PC_TWINS_GONE 512u
#define PC_TWINS_MADE 16384u
#define PC_TWINS_WAYS 4u /* places in made that a file may have; the oldest gives way */

enum pc_twin {
    PC_TWIN_NONE,
    PC_TWIN_BLANK,    /* one value all over: what is left of a wiped file */
    PC_TWIN_DOUBTFUL, /* random in part, or random bytes in the frame of a known kind */
    PC_TWIN_ENCODED,  /* random bytes in a text encoding: ciphertext, or a list of hashes */
    PC_TWIN_CIPHER,   /* random bytes of no known kind */
    PC_TWIN_BOX,      /* says itself that it is encrypted (gpg, openssl, age) */
    PC_TWIN_ARCHIVE,  /* the same, and holds many (zip -P, 7z -p) */
};
/* What a new file of this look may stand for. */
enum pc_twin pc_twin_of(const struct pc_look *look, uint64_t size);

struct pc_credit {
    uint64_t file, folder, size, time_ns;
    uint64_t left; /* bytes of deletions it can still stand for as a container of many */
    struct pc_gist gist;
    uint32_t owner; /* 0: entry is free */
    uint8_t twin;
    bool used; /* for one file of its size; stays as a sign that this lineage makes ciphertext */
};

struct pc_sound {
    struct pc_gist gist;
    pc_actor actor; /* 0: free */
};

struct pc_gone {
    uint64_t file, folder, name_hash, size, time_ns;
    uint64_t base; /* the version that holds its content; 0: not known */
    struct pc_gist gist;
    pc_actor actor; /* 0: free */
    uint64_t credit_file;
    uint32_t credit; /* held against this one (index + 1; 0: none) */
    uint8_t kind;
    bool read;       /* its content was looked at: kind, gist and structured are known */
    bool structured; /* it meant something */
    bool settled;    /* held against a credit, or explained */
};

struct pc_made {
    uint64_t file, time_ns;
    pc_actor maker;
    bool young; /* counted in the maker's sums */
};

/* A file whose place a sound newer one took: what it still has is a backup's name. */
struct pc_succeeded {
    uint64_t file, time_ns;
    pc_actor actor; /* who put the newer one there; 0: free */
};

struct pc_twins {
    struct pc_lineage *lin;
    struct pc_credit *credit;
    uint16_t *credit_of; /* index + 1 by a file's hash: a hint, checked against credit.file */
    struct pc_sound *sound;
    struct pc_gone *gone;
    struct pc_made *made;
    struct pc_succeeded *succeeded; /* by a file's hash; of two in one place the later one stays */
    uint32_t credit_at, sound_at, gone_at, gone_held;
    uint64_t swept_ns;
    uint64_t searched_ns; /* when a deletion was last matched */
};

int pc_twins_init(struct pc_twins *t, struct pc_lineage *lin); /* -ENOMEM */
void pc_twins_fini(struct pc_twins *t);
void pc_twins_expire(struct pc_twins *t, uint64_t now_ns, uint64_t window_ns);
void pc_twins_absolve(struct pc_twins *t, uint32_t root);
void pc_twins_inherit(struct pc_twins *t, uint32_t slot, uint32_t parent);

/* Remembers a new (or changed) file as what a deleted one may have become; PC_TWIN_NONE forgets it. */
void pc_twins_credit(struct pc_twins *t, uint32_t owner, const struct pc_act *act, uint64_t file, enum pc_twin twin,
                     const struct pc_gist *gist);
void pc_twins_sound(struct pc_twins *t, uint32_t owner, const struct pc_gist *gist);

/* The file stands for nothing any more; it stays as a sign that its lineage makes ciphertext. */
void pc_twins_spend(struct pc_twins *t, uint64_t file);

/* A deletion (or emptying) looking for what became of the file. */
struct pc_search {
    uint64_t folder, size, now_ns;
    const struct pc_gist *gist; /* NULL: not known */
    bool document; /* of a known kind, and not a database's: those make and remove blank files all the time */
    uint32_t actor;
    uint32_t maker; /* who made the deleted file, when that is the actor's own lineage; 0: of older meaning */
};
struct pc_match {
    uint8_t score;   /* 0: none */
    bool explained;  /* nothing is lost: the file lives on packed or unpacked */
    uint32_t credit; /* index + 1 */
    uint64_t file;   /* of the credit */
};
/* Uses the best match up. */
struct pc_match pc_twins_match(struct pc_twins *t, const struct pc_search *s);
/* The deletion was not one after all: what it was held against is free again. */
void pc_twins_give_back(struct pc_twins *t, const struct pc_gone *gone);

/* The entry is valid until the next call of this function. */
struct pc_gone *pc_twins_gone(struct pc_twins *t, uint32_t actor, const struct pc_act *act);
/* The file of that name deleted in that folder by this lineage a moment ago; NULL: none. */
struct pc_gone *pc_twins_gone_named(struct pc_twins *t, uint32_t actor, const struct pc_act *act);
/* A meaningful file deleted a moment ago in the folder of a new one of about its size; NULL: none. */
struct pc_gone *pc_twins_gone_near(struct pc_twins *t, uint32_t actor, const struct pc_act *act);
/*
 * The file that a new one has to be compared with: of that name, or else the closest in size of those deleted in its
 * folder a moment ago that nothing was held against yet; NULL: none.
 */
struct pc_gone *pc_twins_gone_heir(struct pc_twins *t, uint32_t actor, const struct pc_act *act);
/* The next file (from *at, 0 at first) deleted by this very process a moment ago that nobody held against it yet. */
struct pc_gone *pc_twins_gone_by(struct pc_twins *t, uint32_t actor, uint64_t now_ns, uint32_t *at);
/* How many files of older meaning this group deleted within span_ns, up to limit. */
uint32_t pc_twins_gone_count(const struct pc_twins *t, uint32_t group, uint64_t now_ns, uint64_t span_ns,
                             uint32_t limit);
/* Takes a deleted file of that size out of what the container stands for. False: there is not enough left. */
bool pc_twins_draw(struct pc_twins *t, uint64_t file, uint64_t size);

void pc_twins_succeeded(struct pc_twins *t, uint32_t actor, uint64_t file, uint64_t now_ns);
/* The actor's lineage put a sound newer file in this one's place within span_ns. */
bool pc_twins_is_succeeded(const struct pc_twins *t, uint32_t actor, uint64_t file, uint64_t now_ns, uint64_t span_ns);

/* The moment it was first said counts. */
void pc_twins_made(struct pc_twins *t, uint32_t maker, uint64_t file, uint64_t now_ns);
struct pc_made *pc_twins_made_find(const struct pc_twins *t, uint64_t file); /* NULL: not new, or forgotten */
void pc_twins_made_forget(struct pc_twins *t, uint64_t file);
#endif
