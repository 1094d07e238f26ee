// CUDA C++ text made to run here: written to a file behind the shim, compiled by the system's C++ compiler, loaded, and
// launched block by block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_emulator/machine/block.h"

namespace quern::emulator {

struct Grid {
  std::int64_t blocks = 1;
  int threads = 32;
  std::size_t shared_bytes = 0;  // dynamic
};

struct How {
  Order order = Order::ascending;  // of the threads that can run, and of the blocks
  std::uint64_t seed = 1;          // of Order::random
  unsigned char poison = 0xff;     // shared memory before a block
  int multiprocessors = 3;         // few, so that persistent kernels walk several tasks
  std::function<std::string(const void*)> name_of_address = {};  // where an access that faulted went, in the caller's words
};

class Text {
 public:
  /// Compiled once per process and text. `entries` are the names of kernels with one parameter, passed by value.
  /// Throws std::runtime_error with the compiler's messages.
  static std::shared_ptr<const Text> load(const std::string& text, const std::vector<std::string>& entries);
  ~Text();
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  /// Bytes of the parameter of an entry.
  std::size_t parameter_bytes(std::size_t entry) const { return entries_[entry].bytes; }
  /// Runs every block. `parameter` has parameter_bytes. Returns what went wrong, or "". One launch at a time runs in a
  /// process; others wait.
  std::string launch(std::size_t entry, const Grid& grid, const void* parameter, const How& how = {}) const;

 private:
  struct Entry {
    std::string name;
    void (*run)(const void*) = nullptr;
    std::size_t bytes = 0;
    std::size_t static_bytes = 0;  // of its own arrays; all kernels share one window here
  };
  Text(const std::string& text, const std::vector<std::string>& entries);

  void* library_ = nullptr;
  quern_emulated::Machine** machine_ = nullptr;
  unsigned char* static_shared_ = nullptr;
  std::size_t static_bytes_ = 0;
  std::size_t dynamic_alignment_ = 16;
  std::vector<Entry> entries_;
  std::vector<std::string> lines_;
};

/// What the compiler is given for a text: the dynamic shared array becomes a pointer. Sets the alignment it asks for.
std::string rewritten(const std::string& text, std::size_t* dynamic_alignment);

}  // namespace quern::emulator
