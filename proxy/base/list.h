// SPDX-License-Identifier: Apache-2.0
// An intrusive circular list: the head is a node that points to itself when the list is empty.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct lt_list {
    struct lt_list *next, *prev;
};

// The structure of type `type` whose member `member` is at `node`.
#define LT_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void lt_list_init(struct lt_list *l) {
    l->next = l->prev = l;
}

static inline bool lt_list_empty(const struct lt_list *l) {
    return l->next == l;
}

static inline void lt_list_insert(struct lt_list *before, struct lt_list *node) {
    node->prev = before->prev;
    node->next = before;
    before->prev->next = node;
    before->prev = node;
}

static inline void lt_list_push(struct lt_list *l, struct lt_list *node) {
    lt_list_insert(l->next, node);
}

static inline void lt_list_append(struct lt_list *l, struct lt_list *node) {
    lt_list_insert(l, node);
}

// Takes the node out of its list; a node that is in none (points to itself) is left as it is.
static inline void lt_list_remove(struct lt_list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    lt_list_init(node);
}
