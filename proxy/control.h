// SPDX-License-Identifier: Apache-2.0
// What an operator asks of a running process: POST to the admin listener, from this machine alone. The admin thread asks, the main
// thread does it and says how it went; one at a time.
#pragma once

#include "base/span.h"

enum lt_ask {
    LT_ASK_RELOAD,  // read the configuration again
    LT_ASK_DRAIN,   // end, as SIGTERM does
    LT_ASK_QUIT,    // the same without a quiet period: nobody sends requests any more
    LT_ASK_UPGRADE, // the program that stands at our path now takes over
    LT_ASKS,
};
enum { LT_CONTROL_TEXT = 4096 };

// "reload", "drain", …; NULL-terminated, in the order of the enum.
extern const char *const lt_ask_names[LT_ASKS + 1];

// Before the threads start; and after they have ended. False: no descriptor.
bool lt_control_init(void);
void lt_control_fini(void);

// The admin thread. A ticket for lt_control_answer(), or 0: another question is not answered yet.
unsigned lt_control_ask(enum lt_ask what);
enum lt_answer { LT_ANSWER_WAITS, LT_ANSWER_DONE, LT_ANSWER_FAILED };
enum lt_answer lt_control_answer(unsigned ticket, char text[LT_CONTROL_TEXT]);

// The main thread. Readable when there is a question.
int lt_control_fd(void);
// False: there is none.
bool lt_control_next(enum lt_ask *what);
// Answers the question that lt_control_next() gave. Without one it does nothing: a signal had asked.
void lt_control_settle(bool ok, const char *text);

// The command: asks the process whose admin listener is at `address` and prints what it says. The exit code.
int lt_control_command(enum lt_ask what, struct lt_span address);
