// SPDX-License-Identifier: Apache-2.0
#include "modules/health/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_MS = 100 }; // a shorter look says nothing of a quota of 100 ms periods

// v1 writes a number near 2^63 for "no limit".
static const int64_t no_limit = INT64_C(1) << 60;

// --- small files ---

static bool read_text(const char *dir, const char *file, char *out, size_t size) {
    char path[CGROUP_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = *dir ? fopen(path, "re") : NULL;
    if (!f)
        return false;
    size_t n = fread(out, 1, size - 1, f);
    fclose(f);
    out[n] = '\0';
    return n > 0;
}

// The number at `*text`, which moves behind it; -1: none ("max").
static int64_t take_number(const char **text) {
    char *end;
    errno = 0;
    long long v = strtoll(*text, &end, 10);
    bool ok = end != *text && errno == 0;
    *text = end;
    return ok ? v : -1;
}

// The first number of a file; -1: none.
static int64_t read_number(const char *dir, const char *file) {
    char text[64];
    const char *p = text;
    return read_text(dir, file, text, sizeof text) ? take_number(&p) : -1;
}

// The number behind `key` at a line's beginning; -1: none.
static int64_t read_key(const char *dir, const char *file, const char *key) {
    char text[8192];
    size_t n = strlen(key);
    if (!read_text(dir, file, text, sizeof text))
        return -1;
    for (char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ' ') {
            const char *value = line + n;
            return take_number(&value);
        }
    return -1;
}

// --- where the group's files are ---

static bool has(const char *dir, const char *file) {
    char path[CGROUP_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    return access(path, R_OK) == 0;
}

// Inside a container the path of /proc/self/cgroup is often the host's: then the mount's root is the group.
static void choose(char out[CGROUP_PATH], const char *root, const char *mount, const char *path, const char *file) {
    int n = snprintf(out, CGROUP_PATH, "%s/sys/fs/cgroup%s%s", root, mount, strcmp(path, "/") == 0 ? "" : path);
    if (n < CGROUP_PATH && has(out, file))
        return;
    n = snprintf(out, CGROUP_PATH, "%s/sys/fs/cgroup%s", root, mount);
    if (n >= CGROUP_PATH || !has(out, file))
        *out = '\0';
}

// Does the comma-separated `list` hold `word`?
static bool lists(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    return false;
}

// A line of /proc/self/cgroup: "0::/path" (v2), "4:memory:/path" (v1).
static void read_line(struct cgroup *c, const char *root, char *line) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return;
    *path++ = '\0';
    controllers++;
    path[strcspn(path, "\n")] = '\0';
    if (strncmp(line, "0:", 2) == 0 && *controllers == '\0') {
        char dir[CGROUP_PATH];
        choose(dir, root, "", path, "cgroup.controllers");
        c->v2 = *dir != '\0' && (has(dir, "memory.current") || has(dir, "cpu.stat"));
        if (c->v2) {
            memcpy(c->memory, dir, sizeof dir);
            memcpy(c->cpu, dir, sizeof dir);
        }
    } else if (lists(controllers, "memory")) {
        choose(c->memory, root, "/memory", path, "memory.usage_in_bytes");
    } else if (lists(controllers, "cpuacct") || lists(controllers, "cpu")) {
        choose(c->cpu, root, "/cpu,cpuacct", path, "cpuacct.usage");
    }
}

void cgroup_find(struct cgroup *c, const char *root) {
    char path[CGROUP_PATH], line[CGROUP_PATH];
    *c = (struct cgroup){.cpu_percent = -1};
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (!c->v2)
            read_line(c, root, line);
    if (f)
        fclose(f);
    c->pressure_v2 = c->v2 && has(c->memory, "memory.pressure");
    if (c->pressure_v2)
        memcpy(c->pressure, c->memory, sizeof c->pressure);
    else
        snprintf(c->pressure, sizeof c->pressure, "%s/proc/pressure", root);
}

// --- what they say ---

int cgroup_memory(const struct cgroup *c) {
    int64_t limit = read_number(c->memory, c->v2 ? "memory.max" : "memory.limit_in_bytes");
    int64_t used = read_number(c->memory, c->v2 ? "memory.current" : "memory.usage_in_bytes");
    int64_t cache = read_key(c->memory, "memory.stat", c->v2 ? "inactive_file" : "total_inactive_file");
    if (limit <= 0 || limit >= no_limit || used < 0)
        return -1;
    used -= cache > 0 && cache < used ? cache : 0;
    return (int)(used * 100 / limit);
}

// The quota in microseconds of CPU time a second; -1: none.
static int64_t cpu_quota(const struct cgroup *c) {
    int64_t quota = -1, period = -1;
    char text[64];
    if (!c->v2) {
        quota = read_number(c->cpu, "cpu.cfs_quota_us");
        period = read_number(c->cpu, "cpu.cfs_period_us");
    } else if (read_text(c->cpu, "cpu.max", text, sizeof text)) { // "50000 100000", "max 100000"
        const char *p = text;
        quota = take_number(&p);
        period = take_number(&p);
    }
    return quota > 0 && period > 0 ? quota * 1000000 / period : -1;
}

// CPU time so far in microseconds; -1: not known.
static int64_t cpu_usage(const struct cgroup *c) {
    if (c->v2)
        return read_key(c->cpu, "cpu.stat", "usage_usec");
    int64_t ns = read_number(c->cpu, "cpuacct.usage");
    return ns < 0 ? -1 : ns / 1000;
}

int cgroup_cpu(struct cgroup *c, int64_t now) {
    int64_t quota = cpu_quota(c), usage = cpu_usage(c);
    int64_t before = c->cpu_usage, elapsed = now - c->cpu_at, allowed = quota * elapsed / 1000;
    bool first = c->cpu_at == 0;
    if (quota < 0 || usage < 0)
        return -1;
    if (!first && elapsed < LOOK_MS)
        return c->cpu_percent;
    c->cpu_usage = usage;
    c->cpu_at = now;
    c->cpu_percent = first || usage < before || allowed <= 0 ? -1 : (int)((usage - before) * 100 / allowed);
    return c->cpu_percent;
}

static int pressure_of(const struct cgroup *c, const char *what) {
    static const char mark[] = "some avg10=";
    char file[32], text[256];
    snprintf(file, sizeof file, "%s%s", what, c->pressure_v2 ? ".pressure" : "");
    const char *number = text + sizeof mark - 1; // "some avg10=12.34 avg60=…": the whole part
    bool ok = read_text(c->pressure, file, text, sizeof text) && strncmp(text, mark, sizeof mark - 1) == 0;
    return ok ? (int)take_number(&number) : -1;
}

int cgroup_pressure(const struct cgroup *c) {
    int memory = pressure_of(c, "memory"), cpu = pressure_of(c, "cpu");
    return memory > cpu ? memory : cpu;
}
