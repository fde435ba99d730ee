// Private files and folders; sockets in folders with long names.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/link.h"
#include "common/securepath.h"
#include "common/status.h"
#include "tests/unit/tap_store.h"

static char top[64] = "/tmp/egida-files.XXXXXX";

static const char *in(const char *name) {
  static char path[8][PATH_MAX];
  static int turn;
  char *p = path[turn++ % 8];
  snprintf(p, PATH_MAX, "%s/%s", top, name);
  return p;
}

int main(void) {
  if (!mkdtemp(top)) return 1;
  struct stat st;
  char *data = NULL;
  size_t length = 0;
  ok(egd_secure_mkdir(in("a")) == EGD_OK && stat(in("a"), &st) == 0 && (st.st_mode & 0777) == 0700,
     "a folder is made 0700");
  ok(egd_secure_mkdir(in("a")) == EGD_OK, "and accepted when it is there");
  chmod(in("a"), 0750);
  ok(egd_secure_mkdir(in("a")) == EGD_ERR_PERMISSION, "open to the group: refused");
  chmod(in("a"), 0700);
  if (symlink("a", in("link")) != 0) return 1;
  ok(egd_secure_mkdir(in("link")) != EGD_OK, "a link to a folder: refused");
  ok(egd_secure_mkdir(in("no/where")) == EGD_ERR_NOT_FOUND, "no parent: not found");
  ok(egd_secure_write(in("a"), "f", "hello", 5, true) == EGD_OK && stat(in("a/f"), &st) == 0 &&
         (st.st_mode & 0777) == 0600,
     "a file is written 0600");
  ok(egd_secure_write(in("a"), "f", "second", 6, false) == EGD_OK, "and replaced");
  ok(egd_secure_read(in("a/f"), 100, &data, &length) == EGD_OK && length == 6 && strcmp(data, "second") == 0,
     "and read back");
  free(data);
  ok(egd_secure_read(in("a/f"), 3, &data, &length) == EGD_ERR_INVALID, "larger than allowed: refused");
  ok(access(in("a/.f.tmp"), F_OK) != 0, "no temporary file is left");
  if (symlink("f", in("a/l")) != 0 || link(in("a/f"), in("a/h")) != 0) return 1;
  ok(egd_secure_open(in("a/l")) < 0 && errno == ELOOP, "a symbolic link is not followed");
  ok(egd_secure_open(in("a/f")) < 0 && errno == EPERM, "a file with two names is refused");
  unlink(in("a/h"));
  chmod(in("a/f"), 0620);
  ok(egd_secure_open(in("a/f")) < 0 && errno == EPERM, "a file that others may write is refused");
  mkfifo(in("a/p"), 0600);
  ok(egd_secure_open(in("a/p")) < 0, "a pipe is refused, without waiting");
  char deep[PATH_MAX];
  snprintf(deep, sizeof(deep), "%s/%0100d", top, 0);
  egd_secure_mkdir(deep);
  strcat(deep, "/0123456789012345678901234567890123456789");
  egd_secure_mkdir(deep);
  int listener = egd_unix_listen(deep, "s.sock"), client = egd_unix_connect(deep, "s.sock");
  int server = listener >= 0 ? egd_unix_accept(listener) : -1;
  ok(client >= 0 && server >= 0, "a socket in a folder with a long path");
  close(listener);
  ok(egd_unix_connect(deep, "s.sock") < 0 && errno == ECONNREFUSED, "nobody listens: refused");
  ok(egd_unix_connect(deep, "t.sock") < 0 && errno == ENOENT, "no such socket");
  egd_secure_mkdir(in("kept"));
  egd_secure_write(in("kept"), "f", "x", 1, false);
  if (symlink("../kept", in("a/out")) != 0) return 1;
  ok(egd_remove_tree(in("a")) && access(in("a"), F_OK) != 0, "a folder is removed with all in it");
  ok(access(in("kept/f"), F_OK) == 0, "links out of it are not followed");
  ok(egd_remove_tree(in("a")), "what is not there is removed");
  ok(egd_remove_tree(top), "the rest");
  return done();
}
