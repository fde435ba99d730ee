// egida-restart: the static loader that turns an image back into a process. restart.c: arguments and messages; restart_verify.c: all
// checks, before anything is changed; restart_memory.c, restart_fds.c, restart_process.c: the rebuilding.
#ifndef EGIDA_RUNTIME_CHECKPOINT_RESTART_H
#define EGIDA_RUNTIME_CHECKPOINT_RESTART_H

#include "runtime/checkpoint/internal.h"

#define EGD_EXIT_REFUSED 74
#define EGD_EXIT_USAGE 64

// Places in the loader's address window.
#define EGD_LOADER_TABLES 0x3f1000000000ull
#define EGD_LOADER_OBJECTS 0x3f2000000000ull
#define EGD_LOADER_TIDS 0x3f3000000000ull
#define EGD_LOADER_ASIDE 0x3f7000000000ull

struct egd_special {
  struct egd_image_span vvar, vvar_vclock, vdso;
};

struct egd_loader {
  char path[4096];
  int image, messages; // descriptors
  bool has_job_hash, check_only;
  uint64_t job_hash;
  struct egd_image_header header;
  const struct egd_image_process *process;
  const struct egd_image_thread *threads;
  const struct egd_image_signal *signals;
  const struct egd_image_file *files;
  const struct egd_image_region *regions;
  const struct egd_image_run *runs;
  const struct egd_image_fd *fds;
  const struct egd_image_object *objects;
  const struct egd_image_poll *polls;
  const struct egd_image_timer *timers;
  const int32_t *kept;
  const char *strings;
  const uint64_t *blocks;
  size_t nthreads, nfiles, nregions, nruns, nfds, nobjects, npolls, ntimers, nkept, nblocks, strings_length;
  int *object_fds;
  uint32_t *tids; // of the new threads
  char text[65536];
  char small[4096];
  unsigned char block[EGD_IMAGE_BLOCK];
};
extern struct egd_loader egd_loader;

/// One line on stderr and exit status EGD_EXIT_REFUSED. `detail` may be NULL; a non-zero status is appended as an error number.
_Noreturn void egd_refuse(const char *reason, const char *detail, long status);
/// One line on stderr.
void egd_warn(const char *text, const char *detail);

/// All checks; fills in the loader's tables. Does not return if the image cannot be restored here.
void egd_loader_verify(void);
/// Where this process has its vdso.
struct egd_special egd_loader_special(void);

void egd_loader_prepare_fds(void); // closes what is not kept, moves the image out of the way
void egd_loader_make_objects(void);
void egd_loader_restore_memory(void);
void egd_loader_restore_fds(void);
_Noreturn void egd_loader_continue(void);
int egd_loader_read_text(const char *path);
/// Open file of the table, read-only or as its shared mapping needs it.
int egd_loader_open_file(const struct egd_image_file *file, int flags);
bool egd_loader_file_matches(const struct egd_image_file *file, int fd);

long egd_loader_thread(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid, uint64_t tls,
                       const void *argument);
_Noreturn void egd_loader_thread_main(const struct egd_image_thread *thread);
_Noreturn void egd_loader_main(const long *stack);

#endif
