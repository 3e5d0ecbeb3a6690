/*
 * Owns our two nftables tables, through libnftables. Must not decide who stays reachable. Addresses are parsed and
 * written anew, so no text of others gets into a rule.
 */
#include "kern/nft.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

#define RULES_MAX (64u << 10)
#define TABLE "inet portcullis"
#define SHARE_TABLE "inet portcullis_share"

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
        (void)pc_buf_addf(b, "    %s %s %s accept\n", list[i].family == AF_INET6 ? "ip6" : "ip", direction,
                          list[i].text);
}

static void make_rules(struct pc_buf *b, const struct address *list, size_t n)
{
    /*
     * add and delete first: then the whole table is ours to write, whether it was there or not. A failed append shows
     * in b->failed.
     */
    (void)pc_buf_addf(
        b, "add table " TABLE "\ndelete table " TABLE "\ntable " TABLE " {\n  chain input {\n"
           "    type filter hook input priority -300; policy drop;\n    iifname \"lo\" accept\n"
           "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept\n");
    add_addresses(b, list, n, "saddr");
    (void)pc_buf_addf(
        b, "  }\n  chain output {\n    type filter hook output priority -300; policy drop;\n    oifname \"lo\" accept\n"
           "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept\n");
    add_addresses(b, list, n, "daddr");
    (void)pc_buf_addf(b, "  }\n  chain forward {\n    type filter hook forward priority -300; policy drop;\n  }\n}\n");
}

/* Loaded when a host is isolated, and only then: the guard shares this program, and has no use for it. */
#define NFT_FUNCTIONS(X)                                                                                               \
    X(ctx_new) X(ctx_free) X(ctx_buffer_error) X(ctx_buffer_output) X(ctx_get_error_buffer) X(run_cmd_from_buffer)
struct nft {
#define NFT_FIELD(name) __typeof__(nft_##name) *name;
    NFT_FUNCTIONS(NFT_FIELD)
#undef NFT_FIELD
};
static const char *const names[] = {
#define NFT_NAME(name) "nft_" #name,
    NFT_FUNCTIONS(NFT_NAME)
#undef NFT_NAME
};
_Static_assert(sizeof(struct nft) == PC_ARRAY_SIZE(names) * sizeof(void *), "one name a function");

static int load(struct nft *out, char *why, size_t why_len)
{
    void *found[PC_ARRAY_SIZE(names)];
    void *library = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; i < PC_ARRAY_SIZE(names); i++) {
        if (library && (found[i] = dlsym(library, names[i])))
            continue;
        snprintf(why, why_len, "libnftables (libnftables.so.1) cannot be loaded: install it");
        return PC_E_UNSUPPORTED;
    }
    memcpy(out, found, sizeof *out); /* POSIX: a pointer of dlsym may be a function's */
    return 0;
}

static int run(const char *rules, char *why, size_t why_len)
{
    struct nft nft;
    int r = load(&nft, why, why_len);
    struct nft_ctx *ctx = r == 0 ? nft.ctx_new(NFT_CTX_DEFAULT) : NULL;
    if (!ctx)
        return r < 0 ? r : -ENOMEM;
    nft.ctx_buffer_error(ctx);
    nft.ctx_buffer_output(ctx);
    r = nft.run_cmd_from_buffer(ctx, rules);
    if (r != 0) {
        const char *text = nft.ctx_get_error_buffer(ctx);
        snprintf(why, why_len, "nftables: %.*s", (int)strcspn(text ? text : "", "\n"), text ? text : "");
    }
    nft.ctx_free(ctx);
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

int pc_nft_block(const struct pc_nft_block *list, size_t n, char *why, size_t why_len)
{
    if (n > PC_NFT_BLOCK_MAX)
        return PC_E_LIMIT;
    _buf_free_ struct pc_buf rules;
    pc_buf_init(&rules, RULES_MAX);
    (void)pc_buf_addf(&rules, "add table " SHARE_TABLE "\ndelete table " SHARE_TABLE "\n");
    if (n)
        (void)pc_buf_addf(&rules, "table " SHARE_TABLE
                                  " {\n  chain input {\n    type filter hook input priority -300; policy accept;\n");
    for (size_t i = 0; i < n; i++) {
        struct address a;
        int r = parse_address(list[i].address, &a);
        if (r < 0) {
            snprintf(why, why_len, "%s: not an address", list[i].address);
            return r;
        }
        (void)pc_buf_addf(&rules, "    %s saddr %s tcp dport %u drop\n", a.family == AF_INET6 ? "ip6" : "ip", a.text,
                          (unsigned)list[i].port);
    }
    if (n)
        (void)pc_buf_addf(&rules, "  }\n}\n");
    return rules.failed ? -ENOMEM : run(rules.data, why, why_len);
}
