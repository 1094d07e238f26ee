// What the emulated driver remembers: memory that it gave out, loaded texts, captures, and failures asked for by a test.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/cuda/driver_api.h"
#include "tests/cuda_emulator/machine/text.h"
#include "tests/cuda_runtime/driver/control.h"

namespace quern::runtime::gpu {

// The opaque types of the driver, as they are here.
struct CUctx_st {
  int device;
};
struct CUstream_st {
  int number;
};
struct CUevent_st {
  double at;
};
struct CUkern_st {
  CUlib_st* library;
  std::size_t entry;
  int most_shared = 48 * 1024;
};
struct CUlib_st {
  std::shared_ptr<const quern::emulator::Text> text;
  std::vector<std::string> entries;
  std::vector<std::unique_ptr<CUkern_st>> kernels;
};

}  // namespace quern::runtime::gpu

namespace quern_test {

using namespace quern::runtime::gpu;

inline constexpr int kGpus = 2;

struct Allocation {
  std::size_t bytes = 0;
  void* mapping = nullptr;
  std::size_t mapped = 0;
};

struct RecordedLaunch {
  Kernel kernel;
  quern::emulator::Grid grid;
  std::vector<char> parameter;
};

struct State {
  std::recursive_mutex mutex;
  EmulatedCounters counters{};
  std::map<DevicePointer, Allocation> memory;      // by first byte
  std::map<std::string, std::pair<int, int>> failures;  // result, times
  Result lost = 0;                                 // an illegal access: every later call returns it
  std::vector<Context> current;
  Stream captured = nullptr;
  std::uint64_t capture = 0;                       // of the one under way, 0 = none
  std::uint64_t captures = 0;
  std::vector<RecordedLaunch> recorded;
  RecordedLaunch last;

  /// A failure that is due for `function`, or success.
  Result due(const char* function);
  bool holds(DevicePointer p, std::size_t bytes) const;
  Result run(const RecordedLaunch& launch);
};

State& state();

}  // namespace quern_test
