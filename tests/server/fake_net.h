#ifndef TESTS_SERVER_FAKE_NET_H
#define TESTS_SERVER_FAKE_NET_H
/* What fake.c and fake_net.c share: what a connection and a request are here. */
#include "fake.h"

#include "net/conn.h"
#include "net/http.h"

#include <unistd.h>

struct waiting {
    struct waiting *next;
    enum pc_frame_type type;
    size_t len;
    uint8_t body[];
};
struct pc_conn {
    struct pc_conn *next;
    struct pc_conn_set *set;
    void *user;
    bool closed, held, admitted;
    unsigned busy, host; /* calls on the stack that use it; which host it is */
    uint8_t key[32];
    struct waiting *waiting; /* frames that were not taken yet */
    struct pc_conn **slot;   /* emptied when it goes; NULL: none */
    unsigned sent[PC_FRAME_TYPES];
};
struct pc_conn_set {
    struct pc_conn_ops ops;
    struct pc_conn_counters counters;
    void *user;
    struct pc_conn *first;
};
struct pc_http_request {
    bool post;
    const char *path, *query;
    char authorization[80];
    const void *body;
    size_t len;
    int status; /* 0: not answered yet */
};
struct pc_conn *fake_net_connect(const uint8_t key[32], unsigned host);
#endif
