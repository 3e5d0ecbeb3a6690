#ifndef TESTS_SERVER_FAULTY_H
#define TESTS_SERVER_FAULTY_H
/*
 * A database that fails when it is told to, under fake.h's server: every store that is opened is wrapped (link with
 * --wrap=pc_store_connect). And an owner who hands orders in.
 */
#include "fake.h"

struct faults {
    bool away;                  /* whatever the loop reads fails, but for tokens */
    bool no_tokens;             /* tokens cannot be looked up */
    bool no_latest;             /* hosts' newest answers cannot be read */
    const char *key;            /* the loop's reading of this setting fails; NULL: of none */
    _Atomic int answers_lost;   /* commits of the writer that are done, and fail */
    _Atomic int begins_refused; /* its transactions after that, which do not begin */
    _Atomic int commits_refused; /* of the writer: nothing of them is kept */
    uint64_t later;             /* nanoseconds by which the clock is ahead */
};
extern struct faults faults;

/* The fake server, with a database in which nothing fails. Before anything else. */
struct pc_server *faulty_server(void);
/* What the server does by itself every second. */
void faulty_second(struct pc_server *s);
/* The connection of host 0, made when there is none; and whether there is one, without making it. */
struct pc_conn *faulty_host(void);
bool faulty_host_is_there(void);

/* The writer stands still where its next transaction begins; it has got there when this returns. And goes on, if it
 * stands. */
void faulty_stop_writer(struct pc_server *s);
void faulty_let_writer_go(void);
/* The most bytes that were appended to the log at once. */
size_t faulty_largest_append(void);

extern unsigned faulty_number; /* of the last order */
/* An order to host 0 of the next number, signed by owners (bits); its hash in sha, the answer's status. */
int faulty_order(const char *class_, const char *more, unsigned owners, char sha[PC_SHA256_HEX + 1]);
/* Of class C, by two owners. */
int faulty_script(char sha[PC_SHA256_HEX + 1]);
/* Of class S, by one. */
int faulty_stop(char sha[PC_SHA256_HEX + 1]);
/* A standing one; the body of a start of it. */
void faulty_standing(char body[100]);
#endif
