#ifndef PC_TRUST_PARTS_H
#define PC_TRUST_PARTS_H
/* Inside the trust layer: pieces that several documents hold, read from JSON that was parsed already. */
#include "trust/envelope.h"
#include "trust/json.h"

/* As pc_envelope_parse and pc_host_envelope_open, for an object inside another. */
int pc_envelope_read(const json_t *object, struct pc_envelope *out, struct pc_why why);
int pc_host_envelope_read(const json_t *object, const char *kind, struct pc_host_envelope *out, struct pc_why why);
#endif
