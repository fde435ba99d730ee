// Growth of the matching tables; the rest is inline.
#include "runtime/ucp/match.h"
#include "runtime/rank.h"

#define FIRST_BITS 8u

void egd_match_grow(struct egd_match_table *table) {
  struct egd_match_table grown = {.count = table->count, .bits = table->lists ? table->bits + 2 : FIRST_BITS};
  grown.lists = egd_calloc(sizeof(*grown.lists) << grown.bits);
  if (table->lists) {
    // Equal keys share a list before and after, so walking each list in order keeps their order.
    for (size_t i = 0; i < (size_t)1 << table->bits; i++)
      for (struct egd_match_node *node = table->lists[i].first, *next; node; node = next) {
        next = node->next;
        egd_match_append(egd_match_list_of(&grown, node->key), node);
      }
    egd_free(table->lists, sizeof(*table->lists) << table->bits);
  }
  *table = grown;
}
