// The emulated driver in this process (driver/), and its controls.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/cuda_runtime/driver/control.h"

namespace quern_test {

struct Controls {
  EmulatedCounters (*counters)();
  void (*fail)(const char* function, int result, int times);
  void (*begin_capture)(void* stream);
  int (*end_capture)();
  void (*replay)();
  int (*last_launch)(std::uint64_t* words, int most, unsigned* grid, unsigned* threads, unsigned* shared);
};
const Controls& controls();

/// A CUstream of its own for as long as the object lives.
class OwnStream {
 public:
  OwnStream();
  ~OwnStream();
  void* get() const { return stream_; }

 private:
  void* stream_ = nullptr;
};

/// Runs `test` in a child process, for what poisons a process or must come first in it. Returns its text, "" = passed.
std::string in_child(const std::function<std::string()>& test);

}  // namespace quern_test
