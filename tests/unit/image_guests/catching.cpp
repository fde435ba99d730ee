// An image inside a catch block, with an exception in flight, and after it rethrown.
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
#include "tests/unit/image_harness.h"

struct Trace {
  std::vector<std::string> &log;
  std::string name;
  ~Trace() { log.push_back("left " + name); }
};

int main() {
  std::vector<std::string> log;
  std::map<int, std::string> names;
  for (int round = 0; round < 8; round++) {
    names[round] = std::string(100, static_cast<char>('a' + round));
    try {
      Trace outer{log, "outer " + std::to_string(round)};
      try {
        Trace inner{log, "inner"};
        throw std::runtime_error("thrown in round " + std::to_string(round));
      } catch (const std::runtime_error &error) {
        image_point();
        log.push_back(std::string("caught ") + error.what());
        throw;
      }
    } catch (const std::exception &error) {
      image_point();
      log.push_back(std::string("again ") + error.what());
    }
    std::cout << "round " << round << ' ' << log.size() << std::endl;
  }
  for (const auto &line : log) std::cout << line << '\n';
  for (const auto &entry : names) std::cout << entry.first << entry.second << '\n';
}
