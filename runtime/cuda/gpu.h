// The GPUs of this machine as the runtime uses them. The one idea: a GPU that failed once (an illegal address poisons its
// context for the whole process) is remembered as lost, with the kernel that did it.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/target.h"
#include "runtime/cuda/driver.h"

namespace quern::runtime::gpu {

inline constexpr int kMostGpus = 32;

class Gpu {
 public:
  Gpu(int ordinal, const Driver& driver);

  const Driver& driver() const { return driver_; }
  int ordinal() const { return ordinal_; }
  DeviceId id() const { return id_; }
  const std::string& name() const { return name_; }
  std::size_t memory_bytes() const { return memory_bytes_; }
  const quern::cuda::Target& target() const { return target_; }
  bool has_pools() const { return has_pools_; }
  /// The primary context, retained at the first call. Throws Error.
  Context context();

  /// Throws the Error that `result` means, unless it is success. `what`: "kernel 'f'", "copying 'x' to the GPU".
  void require(Result result, const std::string& what) {
    if (result != kSuccess) fail(result, what);
  }
  [[noreturn]] void fail(Result result, const std::string& what);
  /// Throws Error(device_lost) when an earlier call lost the GPU.
  void require_alive() {
    if (lost_.load(std::memory_order_relaxed)) fail_lost();
  }

 private:
  [[noreturn]] void fail_lost();

  const Driver& driver_;
  int ordinal_ = 0;
  DeviceId id_ = 0;
  std::string name_;
  std::size_t memory_bytes_ = 0;
  quern::cuda::Target target_;
  bool has_pools_ = false;
  std::atomic<Context> context_{nullptr};
  std::atomic<bool> lost_{false};
  std::mutex mutex_;
  std::string lost_by_;
};

/// Whether a result of loading says that the driver does not take the code: of another GPU, damaged, newer than the driver.
bool is_refusal(Result result);

/// How many GPUs there are. Throws Error(unsupported) without a driver.
int gpu_count();
/// Throws Error(unsupported) without a driver, Error(invalid_argument) when there is no GPU of this number.
Gpu& gpu_at(int ordinal);

/// Makes a GPU's primary context current for a scope, where it is not already.
class Current {
 public:
  explicit Current(Gpu& gpu);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  Gpu& gpu_;
  bool pushed_ = false;
};

/// Whether work on `stream` is being captured into a graph, and into which: 0 = none.
std::uint64_t capture_of(Gpu& gpu, Stream stream);

}  // namespace quern::runtime::gpu
