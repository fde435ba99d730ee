// egida-restart [--job-hash=HEX] [--check] IMAGE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include "runtime/checkpoint/restart.h"
#include "runtime/checkpoint/text.h"
#include "runtime/syscall.h"

struct egd_loader egd_loader;

static void say(const char *line) {
  egd_sys3(SYS_write, egd_loader.messages, line, egd_text_length(line));
}

static const char *error_name(long status) {
  static const struct {
    int number;
    const char *name;
  } names[] = {{EPERM, "not permitted"},      {ENOENT, "no such file"},    {EIO, "input/output error"},
               {EACCES, "permission denied"}, {ENOMEM, "out of memory"},   {EMFILE, "too many open files"},
               {ELOOP, "symbolic link"},      {EBADMSG, "unexpected end"}, {EAGAIN, "too many processes"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (-status == names[i].number) return names[i].name;
  return NULL;
}

static void compose(char *line, size_t size, const char *reason, const char *detail, long status) {
  line[0] = '\0';
  egd_text_append(line, size, "egida-restart: ");
  if (egd_loader.path[0] != '\0') {
    egd_text_append(line, size, egd_loader.path);
    egd_text_append(line, size, ": ");
  }
  egd_text_append(line, size, reason);
  if (detail != NULL) {
    egd_text_append(line, size, ": ");
    egd_text_append(line, size, detail);
  }
  if (status != 0) {
    const char *name = error_name(status);
    egd_text_append(line, size, " (");
    if (name != NULL)
      egd_text_append(line, size, name);
    else {
      egd_text_append(line, size, "error ");
      egd_text_append_number(line, size, (uint64_t)-status, 10);
    }
    egd_text_append(line, size, ")");
  }
  egd_text_append(line, size, "\n");
}

void egd_refuse(const char *reason, const char *detail, long status) {
  compose(egd_loader.text, sizeof egd_loader.text, reason, detail, status);
  say(egd_loader.text);
  egd_sys1(SYS_exit_group, EGD_EXIT_REFUSED);
  __builtin_unreachable();
}

void egd_warn(const char *text, const char *detail) {
  static char line[9000];
  compose(line, sizeof line, text, detail, 0);
  say(line);
}

static _Noreturn void usage(const char *problem) {
  egd_loader.path[0] = '\0';
  compose(egd_loader.text, sizeof egd_loader.text, problem, "usage: egida-restart [--job-hash=HEX] [--check] IMAGE", 0);
  say(egd_loader.text);
  egd_sys1(SYS_exit_group, EGD_EXIT_USAGE);
  __builtin_unreachable();
}

static void parse_arguments(long argc, const char *const *argv) {
  const char *image = NULL;
  for (long i = 1; i < argc; i++) {
    const char *argument = argv[i];
    if (egd_text_starts(argument, "--job-hash=")) {
      const char *at = argument + egd_text_length("--job-hash=");
      if (egd_text_starts(at, "0x")) at += 2;
      const char *begin = at;
      egd_loader.job_hash = egd_text_number(&at, 16);
      egd_loader.has_job_hash = true;
      if (*at != '\0' || at == begin || at - begin > 16)
        usage("--job-hash is not a hexadecimal number of up to 16 digits");
    } else if (egd_text_equal(argument, "--check"))
      egd_loader.check_only = true;
    else if (argument[0] == '-')
      usage("unknown option");
    else if (image != NULL)
      usage("more than one image");
    else
      image = argument;
  }
  if (image == NULL) usage("no image given");
  if (!egd_text_append(egd_loader.path, sizeof egd_loader.path, image)) usage("the path is too long");
}

static void line(const char *name, uint64_t value, unsigned base) {
  char *to = egd_loader.text;
  egd_text_append(to, sizeof egd_loader.text, name);
  egd_text_append_number(to, sizeof egd_loader.text, value, base);
  egd_text_append(to, sizeof egd_loader.text, "\n");
}

static _Noreturn void summary(void) {
  const struct egd_image_header *header = &egd_loader.header;
  egd_loader.text[0] = '\0';
  line("job-hash: ", header->job_hash, 16);
  line("rank: ", header->rank, 10);
  line("number: ", header->number, 10);
  line("bytes: ", header->file_size, 10);
  line("regions: ", egd_loader.nregions, 10);
  line("threads: ", egd_loader.nthreads, 10);
  line("descriptors: ", egd_loader.nfds, 10);
  line("files: ", egd_loader.nfiles, 10);
  line("created-ns: ", header->created_ns, 10);
  egd_text_append(egd_loader.text, sizeof egd_loader.text, "kernel: ");
  egd_text_append(egd_loader.text, sizeof egd_loader.text, header->kernel);
  egd_text_append(egd_loader.text, sizeof egd_loader.text, "\nprogram: ");
  if (header->program < egd_loader.nfiles)
    egd_text_append(egd_loader.text, sizeof egd_loader.text,
                    egd_loader.strings + egd_loader.files[header->program].path);
  egd_text_append(egd_loader.text, sizeof egd_loader.text, "\n");
  egd_sys3(SYS_write, 1, egd_loader.text, egd_text_length(egd_loader.text));
  egd_sys1(SYS_exit_group, 0);
  __builtin_unreachable();
}

void egd_loader_main(const long *stack) {
  uint64_t all = ~0ull;
  egd_loader.messages = 2;
  parse_arguments(stack[0], (const char *const *)(stack + 1));
  egd_sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
  egd_loader_verify();
  if (egd_loader.check_only) summary();
  egd_loader_prepare_fds();
  egd_loader_make_objects();
  egd_loader_restore_memory();
  egd_loader_restore_fds();
  egd_loader_continue();
}
