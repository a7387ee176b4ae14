// SPDX-License-Identifier: Apache-2.0
// Targets by name. One thread for the process asks the system's resolver (/etc/hosts, DNS, whatever nsswitch.conf
// says) for every name that is no address, every few seconds; who connects reads the last answer.
#include "net/address.h"

#include "base/list.h"
#include "base/log.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { ADDRESSES_MAX = 16, REFRESH_S = 5, RETRY_S = 1 };

struct lt_target {
    struct lt_list node;
    unsigned references;
    bool is_name, failed;
    unsigned n;
    struct lt_address addresses[ADDRESSES_MAX];
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // guards all below and every target's fields
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct lt_list targets = {&targets, &targets};
static bool running;
static pthread_mutex_t lifecycle = PTHREAD_MUTEX_INITIALIZER; // one get or put at a time: the last put ends the thread
static pthread_t thread;

// Asks for one name. Called without the lock: `text` is a copy.
static unsigned ask(const char *text, struct lt_address *out) {
    struct lt_span host, port;
    char name[256], service[8];
    if (!lt_host_port(lt_span_cstr(text), &host, &port) || host.n >= sizeof name || port.n >= sizeof service)
        return 0;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    memcpy(service, port.p, port.n);
    service[port.n] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    if (getaddrinfo(name, service, &hints, &list) != 0)
        return 0;
    unsigned n = 0;
    for (struct addrinfo *a = list; a && n < ADDRESSES_MAX; a = a->ai_next)
        if (a->ai_addrlen <= sizeof out[n].u) {
            memset(&out[n], 0, sizeof out[n]);
            memcpy(&out[n].u, a->ai_addr, a->ai_addrlen);
            out[n++].size = a->ai_addrlen;
        }
    freeaddrinfo(list);
    return n;
}

// Takes over an answer; an empty one keeps the last good addresses: a name server's absence is not the target's.
static void take(struct lt_target *t, const struct lt_address *addresses, unsigned n) {
    bool failed = n == 0;
    if (failed != t->failed || (failed && t->n == 0 && !t->failed))
        LT_LOG(failed ? LT_LOG_WARN : LT_LOG_INFO, failed ? "resolve_failed" : "resolved", lt_fs("target", t->text));
    t->failed = failed;
    if (failed)
        return;
    memcpy(t->addresses, addresses, n * sizeof *addresses);
    t->n = n;
}

// Under the lock on entry and exit. Returns true when some name still has no address.
static bool refresh_all(void) {
    bool missing = false;
    for (struct lt_list *node = targets.next; node != &targets; node = node->next) {
        struct lt_target *t = LT_ENTRY(node, struct lt_target, node);
        if (!t->is_name)
            continue;
        struct lt_address found[ADDRESSES_MAX];
        t->references++;
        pthread_mutex_unlock(&lock);
        unsigned n = ask(t->text, found);
        pthread_mutex_lock(&lock);
        t->references--; // zero is freed by the next put or at the end; the node is still linked
        take(t, found, n);
        missing = missing || t->n == 0;
    }
    return missing;
}

static void *resolver(void *arg) {
    (void)arg;
    pthread_mutex_lock(&lock);
    while (running) {
        bool missing = refresh_all();
        for (struct lt_list *node = targets.next, *next; node != &targets; node = next) {
            next = node->next;
            struct lt_target *t = LT_ENTRY(node, struct lt_target, node);
            if (t->references == 0) {
                lt_list_remove(node);
                free(t);
            }
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += missing ? RETRY_S : REFRESH_S;
        if (running && !lt_list_empty(&targets))
            pthread_cond_timedwait(&changed, &lock, &until);
        else if (running)
            pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

struct lt_target *lt_target_get(struct lt_span text) {
    pthread_mutex_lock(&lifecycle);
    pthread_mutex_lock(&lock);
    struct lt_target *t = NULL;
    for (struct lt_list *node = targets.next; node != &targets; node = node->next)
        if (lt_span_eq(text, lt_span_cstr(LT_ENTRY(node, struct lt_target, node)->text)))
            t = LT_ENTRY(node, struct lt_target, node);
    if (!t && (t = calloc(1, sizeof *t + text.n + 1))) {
        memcpy(t->text, text.p, text.n);
        t->is_name = !lt_address_parse(text, &t->addresses[0]);
        t->n = t->is_name ? 0 : 1;
        lt_list_append(&targets, &t->node);
        if (t->is_name && !running)
            running = pthread_create(&thread, NULL, resolver, NULL) == 0;
        if (t->is_name)
            pthread_cond_signal(&changed);
    }
    if (t)
        t->references++;
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&lifecycle);
    return t;
}

static void put(struct lt_target *t) {
    pthread_mutex_lock(&lock);
    bool last = --t->references == 0;
    if (last && !running) {
        lt_list_remove(&t->node);
        free(t);
    }
    bool none = true;
    for (struct lt_list *node = targets.next; node != &targets; node = node->next)
        none = none && LT_ENTRY(node, struct lt_target, node)->references == 0;
    bool stop = running && none;
    if (stop) {
        running = false;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    if (!stop)
        return;
    pthread_join(thread, NULL);
    while (!lt_list_empty(&targets)) {
        struct lt_list *node = targets.next;
        lt_list_remove(node);
        free(LT_ENTRY(node, struct lt_target, node));
    }
}

void lt_target_put(struct lt_target *t) {
    if (!t)
        return;
    pthread_mutex_lock(&lifecycle);
    put(t);
    pthread_mutex_unlock(&lifecycle);
}

enum lt_err lt_target_address(struct lt_target *t, unsigned turn, struct lt_address *out) {
    pthread_mutex_lock(&lock);
    enum lt_err e = t->n ? LT_OK : LT_ERR_RESOLVE;
    if (t->n)
        *out = t->addresses[turn % t->n];
    pthread_mutex_unlock(&lock);
    return e;
}

unsigned lt_target_count(struct lt_target *t) {
    pthread_mutex_lock(&lock);
    unsigned n = t->n;
    pthread_mutex_unlock(&lock);
    return n;
}

const char *lt_target_text(const struct lt_target *t) {
    return t->text;
}
