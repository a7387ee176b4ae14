// SPDX-License-Identifier: Apache-2.0
#include "modules/session/lock_queue.h"

#include <string.h>

void lock_queue_init(struct lock_queue *q) {
    for (unsigned i = 0; i < LOCK_BUCKETS; i++)
        lt_list_init(&q->buckets[i]);
}

// The hash is base64url of a keyed hash: any of its characters is as good as random.
static struct lt_list *bucket(struct lock_queue *q, const char *hash) {
    unsigned char a = (unsigned char)hash[0], b = (unsigned char)hash[1];
    return &q->buckets[(a * 31u + b) % LOCK_BUCKETS];
}

bool lock_enter(struct lock_queue *q, struct lock_place *p) {
    struct lt_list *b = bucket(q, p->hash);
    lt_list_init(&p->line);
    p->queued = true;
    for (struct lt_list *n = b->next; n != b; n = n->next) {
        struct lock_place *first = LT_ENTRY(n, struct lock_place, node);
        if (strcmp(first->hash, p->hash) == 0) {
            p->first = false;
            lt_list_append(&first->line, &p->node);
            return false;
        }
    }
    p->first = true;
    lt_list_append(b, &p->node);
    return true;
}

void lock_leave(struct lock_queue *q, struct lock_place *p) {
    if (!p->queued)
        return;
    p->queued = false;
    lt_list_remove(&p->node);
    if (!p->first || lt_list_empty(&p->line))
        return;
    struct lock_place *next = LT_ENTRY(p->line.next, struct lock_place, node);
    lt_list_remove(&next->node);
    lt_list_init(&next->line);
    while (!lt_list_empty(&p->line)) {
        struct lt_list *n = p->line.next;
        lt_list_remove(n);
        lt_list_append(&next->line, n);
    }
    next->first = true;
    lt_list_append(bucket(q, next->hash), &next->node);
    next->turn(next);
}
