/* Owns our nftables table, through libnftables. Must not decide who stays reachable. Addresses are parsed and written anew, so no text of others gets into a rule. */
#include "kern/nft.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

#define RULES_MAX (64u << 10)
#define TABLE "inet portcullis"

struct address {
    int family;
    char text[INET6_ADDRSTRLEN + 8];
};

static int parse_address(const char *text, struct address *out)
{
    char plain[INET6_ADDRSTRLEN];
    unsigned char raw[16];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n == 0 || n >= sizeof plain)
        return PC_E_SYNTAX;
    memcpy(plain, text, n);
    plain[n] = 0;
    out->family = strchr(plain, ':') ? AF_INET6 : AF_INET;
    uint64_t bits = out->family == AF_INET6 ? 128 : 32;
    if (inet_pton(out->family, plain, raw) != 1 || (slash && pc_parse_u64(slash + 1, 0, bits, &bits) < 0))
        return PC_E_SYNTAX;
    char again[INET6_ADDRSTRLEN];
    if (!inet_ntop(out->family, raw, again, sizeof again))
        return PC_E_SYNTAX;
    snprintf(out->text, sizeof out->text, "%s/%u", again, (unsigned)bits);
    return 0;
}

/* One rule an address: sets would have to be free of overlaps. */
static void add_addresses(struct pc_buf *b, const struct address *list, size_t n, const char *direction)
{
    for (size_t i = 0; i < n; i++)
        (void)pc_buf_addf(b, "    %s %s %s accept\n", list[i].family == AF_INET6 ? "ip6" : "ip", direction, list[i].text);
}

static void make_rules(struct pc_buf *b, const struct address *list, size_t n)
{
    /* add and delete first: then the whole table is ours to write, whether it was there or not. A failed append shows in b->failed. */
    (void)pc_buf_addf(b, "add table " TABLE "\ndelete table " TABLE "\ntable " TABLE " {\n  chain input {\n"
                         "    type filter hook input priority -300; policy drop;\n    iifname \"lo\" accept\n"
                         "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept\n");
    add_addresses(b, list, n, "saddr");
    (void)pc_buf_addf(b, "  }\n  chain output {\n    type filter hook output priority -300; policy drop;\n    oifname \"lo\" accept\n"
                         "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept\n");
    add_addresses(b, list, n, "daddr");
    (void)pc_buf_addf(b, "  }\n  chain forward {\n    type filter hook forward priority -300; policy drop;\n  }\n}\n");
}

static int run(const char *rules, char *why, size_t why_len)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!nft)
        return -ENOMEM;
    nft_ctx_buffer_error(nft);
    nft_ctx_buffer_output(nft);
    int r = nft_run_cmd_from_buffer(nft, rules);
    if (r != 0) {
        const char *text = nft_ctx_get_error_buffer(nft);
        snprintf(why, why_len, "nftables: %.*s", (int)strcspn(text ? text : "", "\n"), text ? text : "");
    }
    nft_ctx_free(nft);
    return r == 0 ? 0 : -EIO;
}

int pc_nft_isolate(const char *const *allow, size_t n, char *why, size_t why_len)
{
    struct address list[PC_NFT_ALLOW_MAX];
    if (n > PC_NFT_ALLOW_MAX)
        return PC_E_LIMIT;
    for (size_t i = 0; i < n; i++) {
        int r = parse_address(allow[i], &list[i]);
        if (r < 0) {
            snprintf(why, why_len, "%s: not an address", allow[i]);
            return r;
        }
    }
    _buf_free_ struct pc_buf rules;
    pc_buf_init(&rules, RULES_MAX);
    make_rules(&rules, list, n);
    return rules.failed ? -ENOMEM : run(rules.data, why, why_len);
}

int pc_nft_release(char *why, size_t why_len)
{
    return run("add table " TABLE "\ndelete table " TABLE "\n", why, why_len);
}
