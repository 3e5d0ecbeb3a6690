#ifndef PC_KERN_NFT_H
#define PC_KERN_NFT_H
#include <stddef.h>
#include <stdint.h>

/*
 * Cutting a host off with nftables: one table of our own, `inet portcullis`, that drops everything but loopback, the
 * given addresses and what IPv6 needs to find its neighbours. Nobody else's rules are read or changed; what theirs drop
 * stays dropped. One kernel transaction: all of it or nothing.
 */
#define PC_NFT_ALLOW_MAX 64
/*
 * allow: "ADDR" or "ADDR/LEN", IPv4 or IPv6. Replaces our table if it is there. 0; PC_E_SYNTAX: no such address;
 * PC_E_LIMIT; -EIO and why.
 */
int pc_nft_isolate(const char *const *allow, size_t n, char *why, size_t why_len);
/* Removes our table; also when there is none. 0 or -EIO and why. */
int pc_nft_release(char *why, size_t why_len);

/*
 * Keeping single addresses from single TCP ports of this host: a table of its own, `inet portcullis_share`, which has
 * nothing but these drops. Replaces what it held; n 0 removes it. 0; PC_E_SYNTAX: no such address; PC_E_LIMIT: more
 * than PC_NFT_BLOCK_MAX; -EIO and why.
 */
#define PC_NFT_BLOCK_MAX 256
struct pc_nft_block {
    const char *address;
    uint16_t port;
};
int pc_nft_block(const struct pc_nft_block *list, size_t n, char *why, size_t why_len);
#endif
