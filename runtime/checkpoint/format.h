// Layout of an image file (docs/formats/image.md). Little-endian, natural alignment, no implicit padding: every structure is written
// as it lies in memory.
#ifndef EGIDA_RUNTIME_CHECKPOINT_FORMAT_H
#define EGIDA_RUNTIME_CHECKPOINT_FORMAT_H

#include <stdint.h>

#define EGD_IMAGE_MAGIC 0x474d494144494745ull // "EGIDAIMG"
#define EGD_IMAGE_VERSION 1u
#define EGD_IMAGE_PAGE 4096u
#define EGD_IMAGE_BLOCK (1u << 20)
#define EGD_IMAGE_NO_INDEX 0xffffffffu
#define EGD_IMAGE_MAX_THREADS 1024u

// Address windows that the two programs agree on; neither is part of an image. A rank keeps both mapped without access
// while they are not in use, so that nobody else settles there: MPICH puts windows at random addresses that it finds free.
#define EGD_SCRATCH_BASE 0x0e0000000000ull
#define EGD_SCRATCH_END 0x0f0000000000ull
#define EGD_SCRATCH_WINDOW 0x001000000000ull
#define EGD_LOADER_BASE 0x3f0000000000ull
#define EGD_LOADER_END 0x3f8000000000ull
#define EGD_USER_END 0x7ffffffff000ull

enum egd_image_section_id {
  EGD_SECTION_PROCESS = 1,
  EGD_SECTION_THREADS = 2,
  EGD_SECTION_SIGNALS = 3,
  EGD_SECTION_FILES = 4,
  EGD_SECTION_REGIONS = 5,
  EGD_SECTION_RUNS = 6,
  EGD_SECTION_FDS = 7,
  EGD_SECTION_STRINGS = 8,
  EGD_SECTION_KEPT_FDS = 9,
  EGD_SECTION_BLOCKS = 10,
  EGD_SECTION_EXTRAS = 11,
  EGD_SECTION_OBJECTS = 12,
  EGD_SECTION_POLLS = 13,
  EGD_SECTION_TIMERS = 14,
  EGD_SECTION_COUNT = 14,
};

struct egd_image_section {
  uint32_t id;
  uint32_t entry_size;
  uint64_t offset, length;
  uint64_t checksum;
};

// CPU features, masked to instruction set extensions that user code can see.
struct egd_image_cpu {
  uint32_t leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax, extended_ecx, extended_edx;
  uint64_t xcr0;
};

struct egd_image_header {
  uint64_t magic;
  uint32_t version, header_size;
  uint64_t checksum; // XXH3-64 of the EGD_IMAGE_PAGE header bytes with this field zero
  uint64_t file_size;
  uint64_t job_hash;
  uint32_t rank, number;
  uint64_t created_ns; // CLOCK_REALTIME
  uint32_t page_size, block_size;
  uint64_t data_offset, data_length;
  struct egd_image_cpu cpu;
  uint64_t vdso_checksum;
  uint32_t program; // index into the files: the main program
  uint32_t nsections;
  char kernel[64]; // for messages
  struct egd_image_section sections[EGD_SECTION_COUNT];
  unsigned char reserved[4096 - 200 - 32 * EGD_SECTION_COUNT];
};
_Static_assert(sizeof(struct egd_image_header) == EGD_IMAGE_PAGE, "the header is one page");

struct egd_image_span {
  uint64_t start, end;
};

struct egd_image_timer_value {
  int64_t interval_s, interval_sub, value_s, value_sub; // sub: µs for interval timers, ns for all others
};

struct egd_image_process {
  uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start,
      env_end;
  uint64_t auxv[64];
  uint32_t auxv_bytes, umask;
  uint32_t cwd; // string
  uint32_t dumpable;
  uint64_t pending;                              // signals pending at the calling thread
  uint64_t resume_info;                          // address of struct egd_resume_info in the image
  struct egd_image_span vvar, vvar_vclock, vdso; // empty: the kernel has none
  struct egd_image_timer_value timers[3];        // REAL, VIRTUAL, PROF
  uint32_t pid;                                  // of the process that took the image
  uint32_t thp_disable;
};

struct egd_context {
  uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
  uint32_t mxcsr, fcw;
};

#define EGD_THREAD_LEADER 1u
#define EGD_THREAD_CALLER 2u
struct egd_image_thread {
  struct egd_context context;
  uint64_t fs_base, gs_base, tid_address, robust_head, robust_length, rseq, rseq_length;
  uint64_t altstack_base, altstack_size;
  uint32_t altstack_flags, tid, flags, reserved;
  char comm[16];
};

struct egd_image_signal {
  uint64_t handler, flags, restorer, mask;
};

// A file behind mappings. With a build-id, that and the size identify it, else size and mtime.
struct egd_image_file {
  uint32_t path; // string
  uint32_t flags;
  uint64_t device, inode, size;
  int64_t mtime_s, mtime_ns;
  uint32_t build_id_length;
  unsigned char build_id[36];
};
#define EGD_FILE_CONTENT_FREE 1u // only mapped shared and writable, or a device: content may differ

enum egd_image_region_kind {
  EGD_REGION_ANONYMOUS = 1,
  EGD_REGION_PRIVATE_FILE = 2,
  EGD_REGION_SHARED_FILE = 3,
  EGD_REGION_OBJECT = 4,
};

#define EGD_REGION_GROWSDOWN 1u
#define EGD_REGION_NORESERVE 2u
#define EGD_REGION_HUGEPAGE 4u
#define EGD_REGION_NOHUGEPAGE 8u
#define EGD_REGION_DONTFORK 16u
#define EGD_REGION_DONTDUMP 32u
#define EGD_REGION_WIPEONFORK 64u
#define EGD_REGION_LOCKED 128u
#define EGD_REGION_MERGEABLE 256u
#define EGD_REGION_MAY_WRITE 512u // shared file: opened for writing
struct egd_image_region {
  uint64_t start, end;
  uint32_t kind, prot, flags;
  uint32_t index;  // file or object
  uint64_t offset; // in it
  uint64_t first_run, nruns;
};

// `length` bytes for address (or offset in an object) `where` at file offset `data`.
struct egd_image_run {
  uint64_t where, length, data;
};

enum egd_image_object_kind {
  EGD_OBJECT_MEMORY = 1,   // memfd, System V or anonymous shared memory: becomes a memfd
  EGD_OBJECT_UNLINKED = 2, // a regular file without a name
  EGD_OBJECT_PIPE = 3,     // bytes in a pipe
};
struct egd_image_object {
  uint32_t kind, name; // name: string; memfd name or folder of the unlinked file
  uint64_t device, inode, size;
  uint64_t first_run, nruns;
  uint32_t seals, reserved;
};

enum egd_image_fd_kind {
  EGD_FD_PATH = 1,       // file, folder, device, fifo: opened again by path
  EGD_FD_OBJECT = 2,     // argument[0]: object
  EGD_FD_PIPE = 3,       // argument[0]: identity of the pipe, argument[1]: object with its bytes, argument[2]: capacity
  EGD_FD_BROKEN = 4,     // a connection whose other end is gone
  EGD_FD_EVENT = 5,      // argument[0]: counter, argument[1]: 1 = semaphore
  EGD_FD_POLL = 6,       // see the polls
  EGD_FD_TIMER = 7,      // argument[0]: clock, argument[1]: settime flags, timer
  EGD_FD_SIGNAL = 8,     // argument[0]: mask
  EGD_FD_WATCH = 9,      // inotify, without its watches
  EGD_FD_INHERITED = 10, // terminal, pipe or socket on 0, 1, 2: that of the new process
};
struct egd_image_fd {
  int32_t fd;
  uint32_t kind;
  uint32_t status_flags, fd_flags;
  uint32_t path;        // string
  int32_t duplicate_of; // descriptor with the same open file, or -1
  uint64_t mode, device, inode, offset;
  uint64_t argument[3];
  struct egd_image_timer_value timer;
};

struct egd_image_poll {
  int32_t poll_fd, fd;
  uint32_t events, reserved;
  uint64_t data;
};

struct egd_image_timer {
  int32_t id, clock, signal, notify; // notify as in struct sigevent
  uint32_t thread, reserved;         // SIGEV_THREAD_ID: the thread at the time of the image
  uint64_t value_pointer;
  struct egd_image_timer_value value;
};

struct egd_image_extra_entry {
  uint64_t tag, data, length;
};

// In the image's memory; the loader writes it before it jumps.
struct egd_resume_info {
  uint32_t threads; // all threads of the process
  uint32_t reserved;
};

#endif
