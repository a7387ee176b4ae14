// SPDX-License-Identifier: Apache-2.0
// Loads all option groups from file, environment and flags (in rising precedence) and prints them.
#pragma once

#include "config/option.h"

#include <stdio.h>

struct lt_config {
    struct lt_arena arena;
    const struct lt_option_group *groups; // borrowed
    unsigned n_groups;
    void **values;            // values[i]: the structure of groups[i], in the arena
    struct lt_config_source { // one per option, flat in group order: where its value stands
        enum lt_origin origin;
        int line; // of the file
    } * sources;
    struct lt_span path; // of the configuration file, or empty
};

struct lt_config_input {
    const char *path;         // configuration file, or NULL
    char *const *environment; // like environ; every LETHE_* that is no option is a finding; NULL: none
    char *const *flags; // "--name=value", "--name", "value" … (a bool flag may stand alone); "--config"/-c is taken out before
    unsigned n_flags;
    bool for_tool; // what is required to run may be missing
};

// Fills `c`. False: diag holds at least one finding; c must still be given to lt_config_fini(). An unknown option names the nearest known
// one. Every finding begins with its place: "lethe.conf:35: ", "environment: LETHE_X: ", "flag --x: ". A value that the file gives twice is an error.
// Groups' check() functions run when every single value was right.
bool lt_config_load(struct lt_config *c, const struct lt_option_group *groups, unsigned n,
                    const struct lt_config_input *in, struct lt_diag *diag) __attribute__((warn_unused_result));
void lt_config_fini(struct lt_config *c);

// The structure of the group with this prefix; NULL: no such group.
const void *lt_config_group(const struct lt_config *c, const char *prefix);

// The text of a STRING option by its full name ("store"): for a module that must know another part's option. Empty: no such option.
struct lt_span lt_config_text(const struct lt_config *c, const char *name);

// The same of a BOOL option ("sticky.enabled"): false when there is no such option; and of a LIST: NULL then, otherwise borrowed.
bool lt_config_bool(const struct lt_config *c, const char *name);
const struct lt_option_list *lt_config_list(const struct lt_config *c, const char *name);

// The value of an INT, DURATION or SIZE option by its full name ("session.idle_ttl"), or the index of an ENUM's. 0: no such option.
int64_t lt_config_number(const struct lt_config *c, const char *name);

// `lethe config`: every option, its effective value as one would write it in the file, and its origin ("default", "lethe.conf:12",
// "LETHE_SESSION_IDLE_TTL", "--session.idle_ttl"); secrets as "(hidden)" when set.
void lt_config_print(const struct lt_config *c, FILE *out);

// `lethe reference`: the option part of the manual, Markdown: a section a group, a table row an option with default, range, environment, flag.
void lt_config_reference(const struct lt_option_group *groups, unsigned n, FILE *out);

// The same as troff with man(7)'s macros: what follows lethe.conf(5)'s heading.
void lt_config_man(const struct lt_option_group *groups, unsigned n, FILE *out);

// What a value of this option is: "duration", "address", …
const char *lt_option_unit(const struct lt_option *o);

// A one-line list of flags for `lethe help`.
void lt_config_usage(const struct lt_option_group *groups, unsigned n, FILE *out);
