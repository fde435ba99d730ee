// The C++ library's ways to files, time and chance.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <thread>

int main() {
  std::random_device device, named("/dev/urandom");
  std::cout << device() << " " << named() << "\n";
  std::mt19937_64 engine(device());
  std::cout << engine() << "\n";
  std::cout << std::chrono::system_clock::now().time_since_epoch().count() << " "
            << std::chrono::steady_clock::now().time_since_epoch().count() << std::endl;
  {
    std::ofstream out("cxx-file");
    for (int i = 0; i < 500; i++) out << i << " " << engine() << "\n";
  }
  {
    std::fstream both("cxx-file", std::ios::in | std::ios::out | std::ios::ate);
    both << "the end\n";
    both.seekg(0);
    std::string word;
    both >> word >> word;
    std::cout << word << "\n";
  }
  std::filesystem::create_directories("a/b/c");
  std::filesystem::copy_file("cxx-file", "a/b/c/copy");
  std::filesystem::rename("a/b/c/copy", "a/renamed");
  std::filesystem::remove_all("a/b");
  std::cout << std::filesystem::file_size("a/renamed") << "\n";
  int answer = 0;
  std::thread([&] { answer = 42; }).join();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  std::cerr << "to the other stream\n";
  try {
    answer += (int)std::filesystem::file_size("not there");
  } catch (const std::filesystem::filesystem_error &) {
    answer++;
  }
  std::cout << answer << "\ndone\n";
}
