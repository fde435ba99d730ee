// Faults that the user asked for.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/log.h"
#include "common/size.h"
#include "common/status.h"
#include "restartd/controller_private.h"

static const struct {
  const char *name;
  uint32_t point;
  bool counts;
} points[] = {
    {"send", EGD_FAULT_SEND, true},
    {"recv", EGD_FAULT_RECEIVE, true},
    {"checkpoint", EGD_FAULT_CHECKPOINT, false},
    {"recovery", EGD_FAULT_RECOVERY, false},
    {"init", EGD_FAULT_INIT, false},
    {"finalize", EGD_FAULT_FINALIZE, false},
};

static int parse_when(const char *when, struct egd_injection *injection) {
  for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
    size_t n = strlen(points[i].name);
    if (strncmp(when, points[i].name, n) != 0 || (when[n] && when[n] != '#')) continue;
    if (points[i].counts != (when[n] == '#') || injection->kind != INJECT_KILL) return EGD_ERR_INVALID;
    injection->kind = INJECT_POINT;
    injection->point = points[i].point;
    injection->pending = true;
    if (!points[i].counts) return EGD_OK;
    char *end;
    injection->count = strtoull(when + n + 1, &end, 10);
    return *end || end == when + n + 1 ? EGD_ERR_INVALID : EGD_OK;
  }
  return egd_duration_parse(when, &injection->delay_ns);
}

static int parse_random(const char *text, struct egd_injection *injection) {
  char copy[128], *save, *word;
  snprintf(copy, sizeof(copy), "%s", text);
  injection->seed = 1;
  for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
    if (strncasecmp(word, "mtbf=", 5) == 0) {
      if (egd_duration_parse(word + 5, &injection->delay_ns) != EGD_OK) return EGD_ERR_INVALID;
    } else if (strncasecmp(word, "seed=", 5) == 0) {
      char *end;
      injection->seed = strtoull(word + 5, &end, 10);
      if (*end) return EGD_ERR_INVALID;
    } else {
      return EGD_ERR_INVALID;
    }
  }
  return injection->delay_ns > 0 ? EGD_OK : EGD_ERR_INVALID;
}

int egd_injection_parse(const char *text, uint32_t nranks, uint32_t nnodes, struct egd_injection **list, char *why,
                        size_t why_size) {
  static const struct {
    const char *name;
    int kind;
  } kinds[] = {
      {"kill:", INJECT_KILL}, {"watchdog:", INJECT_WATCHDOG}, {"node:", INJECT_NODE}, {"agent:", INJECT_AGENT}};
  struct egd_injection parsed = {.kind = INJECT_RANDOM};
  int status = EGD_ERR_INVALID;
  if (strncmp(text, "random:", 7) == 0) status = parse_random(text + 7, &parsed);
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    size_t n = strlen(kinds[i].name);
    if (strncmp(text, kinds[i].name, n) != 0) continue;
    char *end;
    parsed.kind = kinds[i].kind;
    unsigned long target = strtoul(text + n, &end, 10);
    parsed.target = (uint32_t)target;
    bool node = parsed.kind == INJECT_NODE || parsed.kind == INJECT_AGENT;
    if (end == text + n || *end != '@') break;
    if (target >= (node ? nnodes : nranks)) {
      snprintf(why, why_size, "--inject %s: there is no %s %lu; the job has %u of them, counted from 0", text,
               node ? "node" : "rank", target, node ? nnodes : nranks);
      return EGD_ERR_INVALID;
    }
    status = parse_when(end + 1, &parsed);
  }
  if (status != EGD_OK) {
    snprintf(why, why_size,
             "--inject %s is not understood; e.g. kill:1@2s, kill:1@send#1000, kill:1@recv#10, kill:1@checkpoint, "
             "kill:1@recovery, kill:1@init, kill:1@finalize, node:1@3s, agent:0@1s, random:MTBF=5s,seed=7",
             text);
    return EGD_ERR_INVALID;
  }
  struct egd_injection *injection = malloc(sizeof(*injection)), **last = list;
  if (!injection) return EGD_ERR_NO_MEMORY;
  *injection = parsed;
  while (*last) last = &(*last)->next;
  *last = injection;
  return EGD_OK;
}

void egd_injection_free(struct egd_injection *list) {
  while (list) {
    struct egd_injection *next = list->next;
    free(list);
    list = next;
  }
}

static void kill_rank(struct egd_controller *c, uint32_t r) {
  const struct rank *rank = &c->ranks[r];
  if (rank->phase != RANK_UP) return;
  egd_controller_send(c, rank->home, json_pack("{ss si si}", "op", "kill", "rank", r, "signal", SIGKILL));
}

static uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static void fire(void *arg);

static void schedule_random(struct egd_injection *injection) {
  double uniform = ((double)(next_random(&injection->seed) >> 11) + 1.0) / 9007199254740993.0;
  uint64_t delay_ns = (uint64_t)(-log(uniform) * (double)injection->delay_ns);
  egd_reactor_after(injection->controller->reactor, delay_ns, fire, injection);
}

static void fire(void *arg) {
  struct egd_injection *injection = arg;
  struct egd_controller *c = injection->controller;
  if (c->ending) return;
  char path[4200];
  switch (injection->kind) {
  case INJECT_KILL:
    kill_rank(c, injection->target);
    break;
  case INJECT_WATCHDOG: {
    snprintf(path, sizeof(path), "%s/node-%u/watchdog-%u.pid", c->job_dir, c->ranks[injection->target].home,
             injection->target);
    FILE *file = fopen(path, "re");
    int pid = 0;
    if (file && fscanf(file, "%d", &pid) == 1 && pid > 1) kill(pid, SIGKILL);
    if (file) fclose(file);
    break;
  }
  case INJECT_NODE:
    egd_controller_kill_node(c, &c->nodes[injection->target]);
    break;
  case INJECT_AGENT:
    if (c->nodes[injection->target].alive && c->nodes[injection->target].agent_pid > 0)
      kill(c->nodes[injection->target].agent_pid, SIGKILL);
    break;
  case INJECT_RANDOM:
    kill_rank(c, (uint32_t)(next_random(&injection->seed) % c->nranks));
    schedule_random(injection);
    break;
  case INJECT_POINT:
    break;
  }
}

void egd_injections_start(struct egd_controller *c) {
  for (struct egd_injection *i = c->options.injections; i; i = i->next) {
    i->controller = c;
    if (i->kind == INJECT_RANDOM)
      schedule_random(i);
    else if (i->kind != INJECT_POINT)
      egd_reactor_after(c->reactor, i->delay_ns, fire, i);
  }
}

static struct egd_injection *next_point(struct egd_controller *c, const struct rank *rank) {
  for (struct egd_injection *i = c->options.injections; i; i = i->next)
    if (i->kind == INJECT_POINT && i->pending && i->target == rank->number) return i;
  return NULL;
}

void egd_injections_arm(struct egd_controller *c, struct rank *rank) {
  const struct egd_injection *point = next_point(c, rank);
  if (!point) return;
  egd_controller_send(c, rank->home,
                      json_pack("{ss si si sI}", "op", "fault", "rank", rank->number, "point", point->point, "count",
                                (json_int_t)point->count));
}

void egd_injections_fired(struct egd_controller *c, struct rank *rank) {
  struct egd_injection *point = next_point(c, rank);
  if (point) point->pending = false;
}
