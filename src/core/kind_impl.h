#ifndef PC_CORE_KIND_IMPL_H
#define PC_CORE_KIND_IMPL_H
#include "core/kind.h"

/*
 * Shared by the kind_*.c files alone. A check sees the head of a file whose magic matched and says how well the rest
 * agrees; it may replace *sight (zip becomes docx). Returning PC_PROOF_NONE means: not this kind after all.
 */
struct pc_view {
    const struct pc_content *c;
    const uint8_t *head, *tail; /* never NULL; tail ends where the file ends, when the plan reached it */
    uint32_t head_len, tail_len;
    uint64_t size, tail_off;
    bool whole; /* head is the whole file */
};
typedef enum pc_proof (*pc_kind_check)(const struct pc_view *v, struct pc_sight *sight);

enum pc_proof pc_check_text(const struct pc_view *v, struct pc_sight *sight);
#endif
