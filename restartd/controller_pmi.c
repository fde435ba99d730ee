// The key-value space and the barriers of PMI, for the whole job; job_dir/pmi.json holds them for who comes later.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/log.h"
#include "common/securepath.h"
#include "common/status.h"
#include "restartd/controller_private.h"

static void reply(struct egd_controller *c, const struct rank *rank, bool ok, const char *value) {
  egd_controller_send(c, rank->home,
                      json_pack("{ss si si sb ss?}", "op", "pmi-reply", "rank", rank->number, "incarnation",
                                rank->incarnation, "ok", ok, "value", value));
}

static void save(struct egd_controller *c) {
  json_t *barriers = json_array();
  for (uint32_t r = 0; r < c->nranks; r++) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < c->ranks[r].nbarriers; i++)
      json_array_append_new(list, json_integer(c->ranks[r].barriers[i]));
    json_array_append_new(barriers, list);
  }
  json_t *root = json_pack("{si sO so}", "generation", c->barrier_generation, "kvs", c->kvs, "barriers", barriers);
  char *text = json_dumps(root, JSON_COMPACT);
  if (!text || egd_secure_write(c->job_dir, "pmi.json", text, strlen(text), false) != EGD_OK)
    egd_log("cannot write %s/pmi.json; the job goes on but cannot be resumed", c->job_dir);
  free(text);
  json_decref(root);
}

bool egd_pmi_load(struct egd_controller *c) {
  char path[PATH_MAX], *text;
  snprintf(path, sizeof(path), "%s/pmi.json", c->job_dir);
  if (egd_secure_read(path, 256u << 20, &text, NULL) != EGD_OK) return false;
  json_t *root = json_loads(text, 0, NULL), *kvs = json_object_get(root, "kvs"),
         *barriers = json_object_get(root, "barriers");
  free(text);
  bool good = json_is_object(kvs) && json_array_size(barriers) == c->nranks;
  if (good) {
    json_decref(c->kvs);
    c->kvs = json_incref(kvs);
    c->barrier_generation = (uint32_t)json_integer_value(json_object_get(root, "generation"));
    for (uint32_t r = 0; r < c->nranks; r++) {
      json_t *list = json_array_get(barriers, r);
      struct rank *rank = &c->ranks[r];
      rank->nbarriers = rank->barriers_size = (uint32_t)json_array_size(list);
      rank->barriers = calloc(rank->nbarriers + 1, sizeof(*rank->barriers));
      if (!rank->barriers) rank->nbarriers = rank->barriers_size = 0;
      for (uint32_t i = 0; i < rank->nbarriers; i++)
        rank->barriers[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
  }
  json_decref(root);
  return good;
}

static void complete_barrier(struct egd_controller *c) {
  for (uint32_t r = 0; r < c->nranks; r++)
    if (c->ranks[r].nbarriers <= c->barrier_generation) return;
  c->barrier_generation++;
  save(c);
  for (uint32_t r = 0; r < c->nranks; r++) {
    if (!c->ranks[r].in_barrier) continue;
    c->ranks[r].in_barrier = false;
    reply(c, &c->ranks[r], true, NULL);
  }
}

static void enter_barrier(struct egd_controller *c, struct rank *rank, uint32_t image) {
  if (rank->in_barrier) return; // said again to a new agent
  if (rank->nbarriers == rank->barriers_size) {
    uint32_t size = rank->barriers_size ? 2 * rank->barriers_size : 16;
    uint32_t *barriers = realloc(rank->barriers, size * sizeof(*barriers));
    if (!barriers) return;
    rank->barriers = barriers;
    rank->barriers_size = size;
  }
  rank->barriers[rank->nbarriers++] = image;
  if (rank->nbarriers <= c->barrier_generation) { // passed by an earlier incarnation
    reply(c, rank, true, NULL);
    return;
  }
  rank->in_barrier = true;
  complete_barrier(c);
}

void egd_pmi_message(struct egd_controller *c, struct node *node, struct rank *rank, json_t *message) {
  const char *cmd = json_string_value(json_object_get(message, "cmd"));
  const char *key = json_string_value(json_object_get(message, "key"));
  if (!cmd || !key || json_integer_value(json_object_get(message, "incarnation")) != rank->incarnation) return;
  if (strcmp(cmd, "put") == 0) {
    json_object_set(c->kvs, key, json_object_get(message, "value"));
    reply(c, rank, true, NULL);
  } else if (strcmp(cmd, "get") == 0) {
    const char *value = json_string_value(json_object_get(c->kvs, key));
    reply(c, rank, value != NULL, value);
  } else if (strcmp(cmd, "barrier") == 0) {
    enter_barrier(c, rank, (uint32_t)json_integer_value(json_object_get(message, "image_started")));
  } else if (strcmp(cmd, "abort") == 0) {
    int code = (int)json_integer_value(json_object_get(message, "code"));
    egd_controller_finish(c, EGD_STORE_FAILED, code & 255, "rank %u called MPI_Abort with code %d", rank->number, code);
  }
}

void egd_pmi_rank_started(struct egd_controller *c, struct rank *rank, int64_t image) {
  uint32_t kept = 0;
  while (kept < rank->nbarriers && image > 0 && rank->barriers[kept] < (uint64_t)image) kept++;
  rank->nbarriers = kept;
  rank->in_barrier = false;
}

void egd_pmi_begin_anew(struct egd_controller *c) {
  json_object_clear(c->kvs);
  c->barrier_generation = 0;
  for (uint32_t r = 0; r < c->nranks; r++) {
    c->ranks[r].nbarriers = 0;
    c->ranks[r].in_barrier = false;
  }
}
