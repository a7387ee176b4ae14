// SPDX-License-Identifier: Apache-2.0
#include "modules/audit/conf.h"

#include "modules/audit/allow.h"
#include "modules/audit/findings.h"

static const char *const watches[] = {"inotify", "fanotify", NULL};

static const char *check_path(struct lt_span path) {
    struct lt_span bare = lt_span_starts(path, LT_S("pid:")) ? lt_span(path.p + 4, path.n - 4) : path;
    return bare.n && bare.p[0] == '/'
               ? NULL
               : "write a directory as lethe sees it (\"/srv/uploads\"), or as the application does (\"pid:/app\")";
}

#define AT(field) offsetof(struct audit_conf, field)

// One row an option.
// clang-format off
const struct lt_option audit_options[AUDIT_OPTIONS] = {
    {.name = "enabled",
     .type = LT_OPT_BOOL,
     .offset = AT(enabled),
     .fallback = "false",
     .doc = "Looks for state outside the sessions: files that the application writes, affinity cookies, session ids that "
            "name replicas, lost sessions, growth. It only reports, unless `enforce.findings` says otherwise."},
    {.name = "paths",
     .type = LT_OPT_LIST,
     .offset = AT(paths),
     .fallback = "",
     .max = AUDIT_PATHS,
     .unit = "paths",
     .check = check_path,
     .doc = "Directories in which the application should write nothing, with all below them: `/srv/uploads` on a volume "
            "that it shares with this lethe, or `pid:/app` as the application sees it, through `/proc/PID/root` (a shared "
            "process namespace, and the right to look into the process)."},
    {.name = "pid",
     .type = LT_OPT_INT,
     .offset = AT(pid),
     .fallback = "0",
     .max = 4194304,
     .unit = "process id",
     .doc = "The application's process for `pid:` paths. 0: the one that listens at `upstream`."},
    {.name = "allow",
     .type = LT_OPT_LIST,
     .offset = AT(allow),
     .fallback = "/tmp, /var/tmp, /run, /var/run, /var/log, /dev, /proc, /sys, *.log, *.pid",
     .max = 64,
     .unit = "paths",
     .check = audit_check_allow,
     .doc = "Where it may write all the same: a directory with all below it, or a pattern whose `*` goes across slashes. "
            "`files.dir` is allowed by itself."},
    {.name = "watch",
     .type = LT_OPT_ENUM,
     .offset = AT(watch),
     .fallback = "inotify",
     .choices = watches,
     .doc = "How writes are seen. `inotify` watches each directory. `fanotify` marks the mount that the path is in, for trees of "
            "very many directories; it needs CAP_SYS_ADMIN, without which it is `inotify` all the same, and does not see what is "
            "renamed into the path."},
    {.name = "max_watches",
     .type = LT_OPT_INT,
     .offset = AT(max_watches),
     .fallback = "8192",
     .min = 1,
     .max = 1000000,
     .unit = "directories",
     .doc = "The most directories that inotify watches below one path. What is beyond is not seen, and the report says so."},
    {.name = "max_findings",
     .type = LT_OPT_INT,
     .offset = AT(max_findings),
     .fallback = "64",
     .min = 2 * AUDIT_KINDS,
     .max = AUDIT_ROWS,
     .unit = "rows",
     .doc = "The most findings that are kept, a row a kind, route and place. Further ones are counted as `other`."},
    {.name = "max_growth",
     .type = LT_OPT_SIZE,
     .offset = AT(max_growth),
     .fallback = "64m",
     .max = INT64_C(1) << 50,
     .doc = "A finding when the files below a watched path, allowed or not, have grown by more than this since lethe first "
            "measured them. 0: not measured."},
    {.name = "measure_every",
     .type = LT_OPT_DURATION,
     .offset = AT(measure_every),
     .fallback = "1m",
     .min = 100,
     .max = 24 * 3600 * 1000,
     .doc = "How long after the end of one measurement the next begins."},
};
// clang-format on

bool audit_names(const struct lt_option_list *names, struct lt_span name, bool all) {
    for (unsigned i = 0; names && i < names->n; i++) {
        struct lt_span p = names->v[i];
        bool prefix = p.n && p.p[p.n - 1] == '*';
        if (prefix ? (all || p.n > 1) && lt_span_starts(name, lt_span(p.p, p.n - 1)) : lt_span_eq(name, p))
            return true;
    }
    return false;
}
