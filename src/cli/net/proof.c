/* Owns the difference between what a host signed and what the server says (proof.h). */
#include "cli/net/proof.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void host_envelope_clear(struct pc_host_envelope *e)
{
    pc_host_envelope_clear(e);
}
#define _envelope_ __attribute__((cleanup(host_envelope_clear)))

static enum pc_proof forged(char *why, size_t cap, const char *text)
{
    snprintf(why, cap, "%s", text);
    return PC_PROOF_FORGED;
}

/* The envelope itself: well formed, of this kind, by this host's key. */
static enum pc_proof open_envelope(const json_t *envelope, const char *kind, const struct pc_about *about,
                                   struct pc_host_envelope *out, char *why, size_t cap)
{
    if (!envelope || json_is_null(envelope))
        return PC_PROOF_NONE;
    _free_ char *text = json_dumps(envelope, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return PC_PROOF_MEMORY;
    int r = pc_host_envelope_open(text, strlen(text), kind, out);
    if (r == -ENOMEM)
        return PC_PROOF_MEMORY;
    if (r < 0)
        return forged(why, cap, r == PC_E_SIGNATURE ? "the signature does not verify" : "not an envelope of a host");
    if (strcmp(out->id, about->host->id) != 0)
        return forged(why, cap, "another key than this host's signed it");
    return PC_PROOF_GOOD;
}

static bool same_host(const struct pc_host_ref *a, const struct pc_host_ref *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->id, b->id) == 0;
}

/* The right host signed it: did it sign this, about that? */
static enum pc_proof about_this(const struct pc_about *about, const char *tenant, const struct pc_host_ref *host,
                                const char *order, const char *look, char *why, size_t cap)
{
    if (strcmp(tenant, about->tenant) != 0 || !same_host(host, about->host))
        return forged(why, cap, "it is about another host or tenant");
    if (strcmp(order, about->order_sha256 ? about->order_sha256 : "") != 0 ||
        strcmp(look, about->look ? about->look : "") != 0)
        return forged(why, cap, "it is about another order");
    return PC_PROOF_GOOD;
}

enum pc_proof pc_proof_result(const json_t *envelope, const struct pc_about *about, struct pc_result *out, char *why,
                              size_t why_len)
{
    _envelope_ struct pc_host_envelope e = {0};
    struct pc_result result;
    enum pc_proof p = open_envelope(envelope, "result", about, &e, why, why_len);
    if (p != PC_PROOF_GOOD)
        return p;
    int r = pc_result_parse(e.document, e.len, &result);
    if (r < 0)
        return r == -ENOMEM ? PC_PROOF_MEMORY : forged(why, why_len, "signed, but not a result");
    p = about_this(about, result.tenant, &result.host, result.order_sha256, result.look, why, why_len);
    if (p == PC_PROOF_GOOD)
        *out = result;
    else
        pc_result_clear(&result);
    return p;
}

enum pc_proof pc_proof_ack(const json_t *envelope, const struct pc_about *about, struct pc_ack *out, char *why,
                           size_t why_len)
{
    _envelope_ struct pc_host_envelope e = {0};
    struct pc_ack ack;
    enum pc_proof p = open_envelope(envelope, "ack", about, &e, why, why_len);
    if (p != PC_PROOF_GOOD)
        return p;
    int r = pc_ack_parse(e.document, e.len, &ack);
    if (r < 0)
        return r == -ENOMEM ? PC_PROOF_MEMORY : forged(why, why_len, "signed, but not an acknowledgement");
    p = about_this(about, ack.tenant, &ack.host, ack.order_sha256, "", why, why_len);
    if (p == PC_PROOF_GOOD)
        *out = ack;
    return p;
}

enum pc_proof pc_proof_ring(const json_t *envelope, const struct pc_about *about, struct pc_ring_report *out, char *why,
                            size_t why_len)
{
    _envelope_ struct pc_host_envelope e = {0};
    struct pc_ring_report report;
    enum pc_proof p = open_envelope(envelope, "ring", about, &e, why, why_len);
    if (p != PC_PROOF_GOOD)
        return p;
    int r = pc_ring_report_parse(e.document, e.len, &report);
    if (r < 0)
        return r == -ENOMEM ? PC_PROOF_MEMORY : forged(why, why_len, "signed, but not a ring report");
    p = about_this(about, report.tenant, &report.host, report.order_sha256, "", why, why_len);
    if (p == PC_PROOF_GOOD)
        *out = report;
    return p;
}
