// SPDX-License-Identifier: Apache-2.0
// Does the application beside this lethe accept a connection? Asked at most once a second; whoever asks meanwhile waits for the
// same connection.
#pragma once

#include "net/address.h"
#include "net/stream.h"

struct app_check {
    struct lt_loop *loop;
    struct lt_target *target;
    bool ok;    // the last answer
    int64_t at; // when it came (mono ms); 0: never
    // while connecting
    struct lt_list waiting; // of app_wait; never empty then
    bool connecting;
    unsigned left; // further addresses to try
    struct lt_stream stream;
    struct lt_timer timer;
};

// One that waits; embedded in the asker.
struct app_wait {
    struct lt_list node;
    void (*done)(struct app_wait *w); // a->ok is the answer; the asker may do anything but app_check_fini()
};

// `upstream`: the option's text. False: no memory; app_check_fini() may be called.
bool app_check_init(struct app_check *a, struct lt_loop *loop, struct lt_span upstream)
    __attribute__((warn_unused_result));
// Nobody may wait any more.
void app_check_fini(struct app_check *a);

// True: a->ok is the answer. False: connecting; w->done is called later, once, from the loop.
bool app_check_ask(struct app_check *a, struct app_wait *w) __attribute__((warn_unused_result));

// Does not wait any more; the last one that leaves ends the connection, and nothing has been found out.
void app_check_leave(struct app_check *a, struct app_wait *w);
