// Requests of the command line on the control socket: images now; the ranks of a node elsewhere.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/log.h"
#include "restartd/controller_private.h"

static void answer(struct client *client, const char *op, const char *error) {
  json_t *reply = json_pack("{ss sb}", "op", op, "ok", error == NULL);
  if (error) json_object_set_new(reply, "error", json_string(error));
  egd_link_send(client->link, reply);
}

// Ask for images of all ranks for which `wants` is true; answered when they are durable.
static const char *await_images(struct egd_controller *c, struct client *client,
                                bool (*wants)(const struct rank *rank, json_int_t number), json_int_t number) {
  if (!c->started) return "the job has not started up yet; try again";
  if (c->ending) return "the job ends";
  if (!(c->options.plan.flags & EGD_PLAN_CHECKPOINT)) return "its protocol takes no images";
  free(client->wanted);
  client->wanted = calloc(c->nranks, sizeof(*client->wanted));
  if (!client->wanted) return "out of memory";
  for (uint32_t r = 0; r < c->nranks; r++) {
    if (!wants(&c->ranks[r], number)) continue;
    client->wanted[r] = c->ranks[r].image + 1;
    egd_controller_send(c, c->ranks[r].home, json_pack("{ss si}", "op", "checkpoint", "rank", r));
  }
  return NULL;
}

static bool is_wanted(const struct rank *rank, json_int_t number) {
  return number < 0 || rank->number == number;
}
static bool lives_on(const struct rank *rank, json_int_t node) {
  return rank->home == node && rank->phase != RANK_FINISHED;
}

static void on_checkpoint(struct egd_controller *c, struct client *client, json_t *message) {
  json_t *number = json_object_get(message, "rank");
  json_int_t only = json_is_integer(number) ? json_integer_value(number) : -1;
  client->moves = false;
  const char *error = only >= c->nranks ? "it has no such rank" : await_images(c, client, is_wanted, only);
  if (error) answer(client, "checkpoint", error);
}

// ---- migration ------------------------------------------------------------------------------------------------------------

// By its host's name or its number; nnodes: there is none.
static uint32_t find_node(const struct egd_controller *c, const char *name) {
  char *end;
  unsigned long number = name ? strtoul(name, &end, 10) : c->nnodes;
  if (name && *name && !*end && number < c->nnodes) return (uint32_t)number;
  uint32_t n = 0;
  while (n < c->nnodes && (!name || strcmp(c->nodes[n].host, name) != 0)) n++;
  return n;
}

static const char *check_move(const struct egd_controller *c, const struct client *client, bool to_given) {
  if (!egd_controller_protects(c)) return "its protocol cannot move ranks";
  if (client->from >= c->nnodes) return "--from: it has no such node; 'egida ranks' lists them";
  if (!c->nodes[client->from].alive) return "--from: that node is lost already";
  if (to_given && client->to >= c->nnodes) return "--to: it has no such node; spares must be part of the job";
  if (to_given && (!c->nodes[client->to].alive || client->to == client->from)) return "--to: that node cannot be used";
  uint32_t ranks = 0, others = 0;
  for (uint32_t r = 0; r < c->nranks; r++) ranks += lives_on(&c->ranks[r], client->from);
  for (uint32_t n = 0; n < c->nnodes; n++) others += c->nodes[n].alive && n != client->from;
  if (ranks == 0) return "--from: that node has no ranks";
  return others == 0 ? "there is no other node" : NULL;
}

static void on_migrate(struct egd_controller *c, struct client *client, json_t *message) {
  const char *to = json_string_value(json_object_get(message, "to"));
  client->from = find_node(c, json_string_value(json_object_get(message, "from")));
  client->to = find_node(c, to);
  const char *error = check_move(c, client, to != NULL);
  client->moves = error == NULL;
  if (!error) error = await_images(c, client, lives_on, client->from);
  if (error) answer(client, "migrate", error);
}

static void move(struct egd_controller *c, struct client *client) {
  const char *error = check_move(c, client, client->to < c->nnodes);
  client->moves = false;
  if (!error) egd_controller_empty_node(c, &c->nodes[client->from], client->to);
  answer(client, "migrate", error);
}

// ---- both -----------------------------------------------------------------------------------------------------------------

void egd_controller_request(struct egd_controller *c, struct client *client, const char *op, json_t *message) {
  if (strcmp(op, "checkpoint") == 0) on_checkpoint(c, client, message);
  if (strcmp(op, "migrate") == 0) on_migrate(c, client, message);
}

void egd_controller_answer_requests(struct egd_controller *c) {
  for (struct client *client = c->clients; client; client = client->next) {
    bool waits = client->wanted != NULL;
    for (uint32_t r = 0; waits && r < c->nranks; r++)
      waits = c->ranks[r].image >= client->wanted[r] || c->ranks[r].phase == RANK_FINISHED;
    if (!client->wanted || !waits) continue;
    free(client->wanted);
    client->wanted = NULL;
    if (client->moves)
      move(c, client);
    else
      answer(client, "checkpoint", NULL);
  }
}
