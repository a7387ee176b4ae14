// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/config/schema.h"

static const char *check_place(struct lt_span text) {
    return text.n && text.p[0] == '/' ? NULL : "write \"/place\"";
}

static const struct lt_option top[] = {
    {.name = "name",
     .type = LT_OPT_STRING,
     .offset = offsetof(struct schema_top, name),
     .fallback = "",
     .required = true,
     .doc = "Who."},
    {.name = "password",
     .type = LT_OPT_STRING,
     .offset = offsetof(struct schema_top, password),
     .fallback = "",
     .secret = true,
     .check = check_place,
     .doc = "What."},
    {.name = "places",
     .type = LT_OPT_LIST,
     .offset = offsetof(struct schema_top, places),
     .fallback = "/a, /b",
     .min = 1,
     .max = 3,
     .unit = "places",
     .check = check_place,
     .doc = "Where."},
};

static const char *const colors[] = {"red", "green", NULL};

static const struct lt_option part[] = {
    {.name = "count",
     .type = LT_OPT_INT,
     .offset = offsetof(struct schema_part, count),
     .fallback = "3",
     .min = -5,
     .max = 100},
    {.name = "time",
     .type = LT_OPT_DURATION,
     .offset = offsetof(struct schema_part, time),
     .fallback = "30m",
     .min = 10,
     .max = 24 * 3600 * 1000,
     .doc = "When."},
    {.name = "size", .type = LT_OPT_SIZE, .offset = offsetof(struct schema_part, size), .fallback = "32k"},
    {.name = "color",
     .type = LT_OPT_ENUM,
     .offset = offsetof(struct schema_part, color),
     .fallback = "green",
     .choices = colors},
    {.name = "on", .type = LT_OPT_BOOL, .offset = offsetof(struct schema_part, on), .fallback = "no"},
};

static bool check_part(const void *values, struct lt_diag *diag) {
    const struct schema_part *p = values;
    if (p->count != 13)
        return true;
    lt_diag_add(diag, "part.count: 13 brings bad luck; write 12");
    return false;
}

const struct lt_option_group schema_groups[SCHEMA_GROUPS] = {
    {"", top, sizeof top / sizeof *top, sizeof(struct schema_top), NULL},
    {"part", part, sizeof part / sizeof *part, sizeof(struct schema_part), check_part},
};
