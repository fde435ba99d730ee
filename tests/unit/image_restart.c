// Real programs are saved, killed and restarted several times; their output must be that of an undisturbed run.
#include "tests/unit/image_test.h"

struct guest {
  const char *compiler, *source, *name, *points;
  int generations;
};

static const struct guest guests[] = {
    {IMAGE_TEST_CC, "plain.c", "plain", "1,4,9,10", 4},
    {"g++", "catching.cpp", "catching", "1,6,11,16", 4},
    {"gfortran -J.", "heat.f90", "heat", "2,3,11", 3},
    {IMAGE_TEST_CC " -pthread", "threads.c", "threads", "1,2,4,8", 4},
    {IMAGE_TEST_CC " -fopenmp", "openmp.c", "openmp", "1,5,10", 3},
};

static void disturb(const struct guest *guest, const char *mode, const char *points, int generations) {
  char out[64], image[4096], program[64], reference[64];
  snprintf(out, sizeof out, "%s.out", guest->name);
  snprintf(reference, sizeof reference, "%s.reference", guest->name);
  snprintf(program, sizeof program, "./%s", guest->name);
  char *folder = getcwd(NULL, 0);
  snprintf(image, sizeof image, "%s/%s.img", folder, guest->name);
  free(folder);
  setenv("IMAGE_PATH", image, 1);
  setenv("IMAGE_POINTS", points, 1);
  setenv("IMAGE_ASYNC", mode, 1);
  int status = run((const char *const[]){program, NULL}, out, NULL), restarts = 0;
  while (status == 128 + SIGKILL && restarts < 10) {
    status = restart(image, NULL);
    restarts++;
  }
  unsetenv("IMAGE_POINTS");
  ok(status == 0 && restarts == generations, "%s, mode %s: %d restarts (%d), status %d", guest->source, mode, restarts,
     generations, status);
  ok(same_content(out, reference), "%s, mode %s: same output as undisturbed", guest->source, mode);
}

static void try_guest(const struct guest *guest) {
  char program[64], reference[64];
  if (!build_guest(guest->compiler, guest->source, guest->name)) {
    skip(7, guest->source, "no compiler for it");
    return;
  }
  snprintf(program, sizeof program, "./%s", guest->name);
  snprintf(reference, sizeof reference, "%s.reference", guest->name);
  ok(run((const char *const[]){program, NULL}, reference, NULL) == 0, "%s undisturbed", guest->source);
  disturb(guest, "0", guest->points, guest->generations);
  disturb(guest, "1", guest->points, guest->generations);
  disturb(guest, "late", "2,5", 2); // the original changes memory, files and descriptors while its copy writes
}

static void try_state(void) {
  char image[4096], *folder = getcwd(NULL, 0);
  snprintf(image, sizeof image, "%s/state.img", folder);
  setenv("IMAGE_PATH", image, 1);
  ok(build_guest(IMAGE_TEST_CC, "state.c", "state") && mkdir("inside", 0700) == 0, "state.c is built");
  for (int async = 0; async < 2; async++) {
    setenv("IMAGE_ASYNC", async ? "1" : "0", 1);
    setenv("IMAGE_POINTS", "1,2,4", 1);
    if (chdir("inside") != 0) return;
    int status = run((const char *const[]){"../state", NULL}, "../state.out", NULL), restarts = 0;
    for (; status == 128 + SIGKILL && restarts < 10; restarts++) status = restart(image, NULL);
    if (chdir("..") != 0) return;
    ok(status == 0 && restarts == 3, "state.c: 3 restarts (%d), status %d", restarts, status);
    ok(shell("! grep '^not ok' state.out | sed 's/^/# /'") || shell("! grep -q '^not ok' state.out"),
       "state.c: kernel state is restored");
  }
  unsetenv("IMAGE_POINTS");
  free(folder);
}

// A process that dies while its copy writes leaves a complete image or none.
static void try_dying(void) {
  char image[4096], *folder = getcwd(NULL, 0);
  snprintf(image, sizeof image, "%s/dying.img", folder);
  free(folder);
  setenv("IMAGE_PATH", image, 1);
  setenv("IMAGE_POINTS", "3", 1);
  setenv("IMAGE_ASYNC", "die", 1);
  int wrong = 0, complete = 0;
  for (int i = 0; i < 15; i++) {
    char delay[16];
    snprintf(delay, sizeof delay, "%d", i * 1000);
    setenv("IMAGE_DELAY_US", delay, 1);
    unlink(image);
    if (run((const char *const[]){"./plain", NULL}, "dying.out", NULL) != 128 + SIGKILL) wrong++;
    if (access(image, F_OK) != 0) continue;
    complete++;
    if (run((const char *const[]){RESTART, "--check", image, NULL}, "summary", NULL) != 0) wrong++;
  }
  unsetenv("IMAGE_POINTS");
  ok(wrong == 0, "a process dies while its copy writes: image complete (%d of 15) or absent", complete);
}

static void try_anywhere(void) {
  enum { IMAGES = 30 };
  char image[4096], *folder = getcwd(NULL, 0);
  snprintf(image, sizeof image, "%s/anywhere.img", folder);
  free(folder);
  setenv("IMAGE_PATH", image, 1);
  ok(build_guest(IMAGE_TEST_CC, "anywhere.c", "anywhere"), "anywhere.c is built");
  ok(run((const char *const[]){"./anywhere", NULL}, "anywhere.reference", NULL) == 0, "anywhere.c undisturbed");
  setenv("IMAGE_EVERY", "7", 1);
  char count[16];
  snprintf(count, sizeof count, "%d", IMAGES);
  setenv("IMAGE_COUNT", count, 1);
  int restarts = 0, status = 0;
  // The program may end before the timer has fired that often: then again.
  for (int attempt = 0; attempt < 10 && restarts < IMAGES && status == 0; attempt++) {
    setenv("IMAGE_ASYNC", attempt % 2 ? "1" : "0", 1);
    status = run((const char *const[]){"./anywhere", NULL}, "anywhere.out", NULL);
    while (status == 128 + SIGKILL) {
      status = restart(image, NULL);
      restarts++;
    }
    if (!same_content("anywhere.out", "anywhere.reference")) status = -1;
  }
  ok(status == 0 && restarts >= IMAGES, "anywhere.c: %d restarts at arbitrary moments, same output (status %d)",
     restarts, status);
}

int main(void) {
  ok(build_harness(), "the image writer is built");
  for (size_t i = 0; i < sizeof guests / sizeof guests[0]; i++) try_guest(&guests[i]);
  try_dying();
  try_state();
  try_anywhere();
  return finish();
}
