#include "restartd/store_process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t read_text(const char *path, char *text, size_t size) {
  text[0] = '\0';
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, size - 1);
  close(fd);
  text[length > 0 ? length : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return strlen(text);
}

// Start time of a live process, -1 if there is none (or only a zombie).
static int64_t start_of(int64_t pid) {
  char path[64], stat[1024];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  if (!read_text(path, stat, sizeof stat)) return -1;
  const char *at = strrchr(stat, ')'); // the name before it may hold anything
  if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') return -1;
  for (unsigned field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoll(at, NULL, 10) : -1;
}

void egd_store_process_self(struct egd_store_process *ret_process) {
  memset(ret_process, 0, sizeof *ret_process);
  ret_process->pid = getpid();
  ret_process->start = start_of(ret_process->pid);
  if (gethostname(ret_process->host, sizeof ret_process->host - 1) != 0) ret_process->host[0] = '\0';
  read_text("/proc/sys/kernel/random/boot_id", ret_process->boot, sizeof ret_process->boot);
}

enum egd_store_life egd_store_process_life(const struct egd_store_process *process) {
  struct egd_store_process self;
  egd_store_process_self(&self);
  if (strcmp(self.boot, process->boot) != 0)
    return strcmp(self.host, process->host) == 0 ? EGD_STORE_DEAD : EGD_STORE_ELSEWHERE;
  return process->pid > 0 && start_of(process->pid) == process->start ? EGD_STORE_ALIVE : EGD_STORE_DEAD;
}
