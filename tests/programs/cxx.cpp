// C++: exceptions thrown across frames with messages in them, containers, streams, random_device, static and thread_local objects.
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mpi.h>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Logbook {
  std::vector<std::string> lines;
  ~Logbook() { std::cout << std::flush; }
};
Logbook logbook;
thread_local std::map<int, std::string> names;

int rank, size;

class Trouble : public std::runtime_error {
public:
  Trouble(const std::string &what, std::uint64_t value) : std::runtime_error(what), value(value) {}
  std::uint64_t value;
};

std::uint64_t exchange(std::uint64_t value) {
  std::uint64_t got = 0;
  MPI_Sendrecv(&value, 1, MPI_UINT64_T, (rank + 1) % size, 1, &got, 1, MPI_UINT64_T, (rank + size - 1) % size, 1,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return got;
}

std::uint64_t descend(int depth, std::uint64_t value) {
  std::unique_ptr<std::string> held = std::make_unique<std::string>(std::to_string(value));
  if (depth == 0) throw Trouble("bottom of " + *held, exchange(value));
  try {
    return descend(depth - 1, value * 31 + 7);
  } catch (Trouble &trouble) {
    // a message from inside a catch block: an image may be taken here
    if (depth % 3 == 0) trouble.value += exchange(trouble.value);
    if (depth == 6) throw;
    throw Trouble(trouble.what() + *held, trouble.value + depth);
  }
}

[[noreturn]] void fail(const std::string &why) {
  std::cerr << "cxx: rank " << rank << ": FAILED: " << why << std::endl;
  MPI_Abort(MPI_COMM_WORLD, 99);
  _exit(99);
}

} // namespace

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const int iterations = argc > 1 ? std::stoi(argv[1]) : 40;
  const long pace_us = argc > 2 ? std::stol(argv[2]) : 0;
  std::uint64_t sum = 0;
  for (int step = 0; step < iterations; step++) {
    try {
      descend(12, static_cast<std::uint64_t>(rank * 1000 + step));
      fail("no exception");
    } catch (const Trouble &trouble) {
      sum = sum * 131 + trouble.value + std::string(trouble.what()).size();
    }
    names[step % 17] = "step " + std::to_string(step);
    logbook.lines.push_back(names[step % 17]);

    // random numbers: all must agree on what rank 0 drew, and each on what it told its neighbour
    std::random_device device;
    std::mt19937_64 generator(device());
    std::uint64_t drawn = generator(), common = drawn;
    MPI_Bcast(&common, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    std::vector<std::uint64_t> all(static_cast<std::size_t>(size));
    MPI_Allgather(&drawn, 1, MPI_UINT64_T, all.data(), 1, MPI_UINT64_T, MPI_COMM_WORLD);
    if (all[0] != common || all[static_cast<std::size_t>(rank)] != drawn) fail("rank 0 drew two numbers at once");

    std::ostringstream text;
    text << "cxx " << rank << ' ' << step << ' ' << std::hex << sum;
    std::ofstream file("cxx-" + std::to_string(rank) + ".log", step == 0 ? std::ios::trunc : std::ios::app);
    file << text.str() << '\n';
    file.close();
    if (!file) fail("writing the log file");
    if (pace_us > 0) usleep(static_cast<useconds_t>(pace_us));
  }
  std::ifstream file("cxx-" + std::to_string(rank) + ".log");
  int lines = 0;
  for (std::string line; std::getline(file, line);) lines++;
  if (lines != iterations) fail("the log file has " + std::to_string(lines) + " lines");
  std::uint64_t total = 0;
  MPI_Reduce(&sum, &total, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0) std::cout << "cxx: ok " << std::hex << total << std::dec << ' ' << logbook.lines.size() << '\n';
  MPI_Finalize();
  return 0;
}
