#ifndef PC_BASE_BUF_H
#define PC_BASE_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Growing byte buffer, bounded by `max` (bytes). After a failed append the buffer is `failed` and every later append is
 * a no-op that fails too, so callers may check once at the end. data is always NUL-terminated past len when non-NULL.
 */
struct pc_buf {
    char *data;
    size_t len, cap, max;
    bool failed;
};
void pc_buf_init(struct pc_buf *b, size_t max); /* allocates nothing */
void pc_buf_free(struct pc_buf *b);             /* empty afterwards, and may be used again */
void pc_buf_reset(struct pc_buf *b);            /* empty and not failed; keeps its memory */
/* All appends: 0, PC_E_LIMIT beyond max and after any failure, -ENOMEM. */
int pc_buf_add(struct pc_buf *b, const void *data, size_t len);
int pc_buf_addf(struct pc_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int pc_buf_add_u16(struct pc_buf *b, uint16_t v); /* little endian, like all our own binary formats */
int pc_buf_add_u32(struct pc_buf *b, uint32_t v);
int pc_buf_add_u64(struct pc_buf *b, uint64_t v);
#define _buf_free_ __attribute__((cleanup(pc_buf_free)))

/*
 * Bounded read cursor over memory it does not own. A read past the end sets `failed`, returns zeros, and stays failed.
 */
struct pc_cur {
    const uint8_t *p;
    size_t left;
    bool failed;
};
void pc_cur_init(struct pc_cur *c, const void *data, size_t len);
uint8_t pc_cur_u8(struct pc_cur *c);
uint16_t pc_cur_u16(struct pc_cur *c);
uint32_t pc_cur_u32(struct pc_cur *c);
uint64_t pc_cur_u64(struct pc_cur *c);
/* Pointer to the next len bytes (inside the caller's memory), or NULL. */
const void *pc_cur_take(struct pc_cur *c, size_t len);
/* 0 when everything was read and nothing is left; PC_E_SYNTAX when a read failed; PC_E_TRAILING when bytes remain. */
int pc_cur_end(const struct pc_cur *c);
#endif
