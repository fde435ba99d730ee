// Ordered hash tables for tag matching.
//
// UCP matches by (tag & mask). A program uses few different masks (MPICH: four), so there is one table per mask, with
// the masked tag as its key. Nodes with equal keys stay in the order in which they were added.
#ifndef EGIDA_RUNTIME_UCP_MATCH_H
#define EGIDA_RUNTIME_UCP_MATCH_H

#include <stddef.h>
#include <stdint.h>

#define EGD_MASK_GROUPS 8u // masks that have a table; others are searched one by one

struct egd_match_node {
  struct egd_match_node *next, *previous;
  uint64_t key;
};

struct egd_match_list {
  struct egd_match_node *first, *last;
};

// All zero is an empty table.
struct egd_match_table {
  struct egd_match_list *lists;
  uint32_t count;
  uint32_t bits; // 2^bits lists
};

static inline void egd_match_append(struct egd_match_list *list, struct egd_match_node *node) {
  node->next = NULL;
  node->previous = list->last;
  if (list->last)
    list->last->next = node;
  else
    list->first = node;
  list->last = node;
}

static inline void egd_match_unlink(struct egd_match_list *list, struct egd_match_node *node) {
  if (node->previous)
    node->previous->next = node->next;
  else
    list->first = node->next;
  if (node->next)
    node->next->previous = node->previous;
  else
    list->last = node->previous;
}

static inline struct egd_match_list *egd_match_list_of(const struct egd_match_table *table, uint64_t key) {
  return &table->lists[key * 0x9e3779b97f4a7c15ull >> (64 - table->bits)];
}

/// The node with `key` that was added first, or NULL.
static inline struct egd_match_node *egd_match_find(const struct egd_match_table *table, uint64_t key) {
  if (!table->count) return NULL;
  struct egd_match_node *node = egd_match_list_of(table, key)->first;
  while (node && node->key != key) node = node->next;
  return node;
}

void egd_match_grow(struct egd_match_table *table);

static inline void egd_match_add(struct egd_match_table *table, struct egd_match_node *node, uint64_t key) {
  if (!table->lists || table->count >> table->bits >= 2) egd_match_grow(table);
  node->key = key;
  egd_match_append(egd_match_list_of(table, key), node);
  table->count++;
}

static inline void egd_match_remove(struct egd_match_table *table, struct egd_match_node *node) {
  egd_match_unlink(egd_match_list_of(table, node->key), node);
  table->count--;
}

#endif
