// SPDX-License-Identifier: Apache-2.0
#include "modules/health/cgroup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

// The first number of a file; -1: none ("max").
static int64_t read_number(const char *dir, const char *file) {
    char text[64];
    int64_t v;
    return read_text(dir, file, text, sizeof text) && sscanf(text, "%" SCNd64, &v) == 1 ? v : -1;
}

// The number behind `key` at a line's beginning; -1: none.
static int64_t read_key(const char *dir, const char *file, const char *key) {
    char text[8192];
    size_t n = strlen(key);
    int64_t v;
    if (!read_text(dir, file, text, sizeof text))
        return -1;
    for (char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ' ' && sscanf(line + n, "%" SCNd64, &v) == 1)
            return v;
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
    *c = (struct cgroup){.v2 = false};
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
    } else if (read_text(c->cpu, "cpu.max", text, sizeof text) &&
               sscanf(text, "%" SCNd64 " %" SCNd64, &quota, &period) != 2) {
        quota = -1; // "max 100000"
    }
    return quota > 0 && period > 0 ? quota * 1000000 / period : -1;
}

int cgroup_cpu(struct cgroup *c, int64_t now) {
    int64_t quota = cpu_quota(c);
    int64_t usage = c->v2 ? read_key(c->cpu, "cpu.stat", "usage_usec") : read_number(c->cpu, "cpuacct.usage") / 1000;
    int64_t before = c->cpu_usage, elapsed = now - c->cpu_at;
    bool first = c->cpu_at == 0;
    if (quota < 0 || usage < 0)
        return -1;
    if (!first && elapsed < 100)
        return -1; // too short to say anything
    c->cpu_usage = usage;
    c->cpu_at = now;
    return first ? -1 : (int)((usage - before) * 100 / (quota * elapsed / 1000 + 1));
}

static int pressure_of(const struct cgroup *c, const char *what) {
    char file[32], text[256];
    float avg10;
    snprintf(file, sizeof file, "%s%s", what, c->pressure_v2 ? ".pressure" : "");
    return read_text(c->pressure, file, text, sizeof text) && sscanf(text, "some avg10=%f", &avg10) == 1 ? (int)avg10 : -1;
}

int cgroup_pressure(const struct cgroup *c) {
    int memory = pressure_of(c, "memory"), cpu = pressure_of(c, "cpu");
    return memory > cpu ? memory : cpu;
}
