// Devices, their contexts, and what the driver's results mean. See gpu.h.
#include "runtime/cuda/gpu.h"

#include <array>
#include <memory>

#include <fmt/format.h>

#include <quern/error.h>

namespace quern::runtime::gpu {
namespace {

/// After these the context is unusable for the rest of the process.
bool is_fatal(Result result) {
  switch (result) {
    case 214:  // ECC_UNCORRECTABLE
    case 220:  // NVLINK_UNCORRECTABLE
    case 700:  // ILLEGAL_ADDRESS
    case 702:  // LAUNCH_TIMEOUT
    case 709:  // CONTEXT_IS_DESTROYED
    case 710:  // ASSERT
    case 714:  // HARDWARE_STACK_ERROR
    case 715:  // ILLEGAL_INSTRUCTION
    case 716:  // MISALIGNED_ADDRESS
    case 717:  // INVALID_ADDRESS_SPACE
    case 718:  // INVALID_PC
    case 719:  // LAUNCH_FAILED
    case 721:  // EXTERNAL_DEVICE
      return true;
    default: return false;
  }
}

bool is_capture(Result result) { return result >= 900 && result <= 909; }

int attribute(const Driver& driver, int which, DeviceId id) {
  int value = 0;
  driver.cuDeviceGetAttribute(&value, which, id);
  return value;
}

}  // namespace

Gpu::Gpu(int ordinal, const Driver& driver) : driver_(driver), ordinal_(ordinal) {
  require(driver_.cuDeviceGet(&id_, ordinal), "finding the GPU");
  char name[256] = {};
  require(driver_.cuDeviceGetName(name, sizeof name, id_), "asking for the GPU's name");
  name_ = name;
  driver_.cuDeviceTotalMem(&memory_bytes_, id_);
  target_.sm = attribute(driver_, kComputeMajor, id_) * 10 + attribute(driver_, kComputeMinor, id_);
  target_.accelerated = target_.sm == 90;
  target_.shared_bytes = attribute(driver_, kSharedBytesOptin, id_);
  target_.multiprocessors = attribute(driver_, kMultiprocessorCount, id_);
  has_pools_ = attribute(driver_, kMemoryPools, id_) != 0;
}

Context Gpu::context() {
  if (Context context = context_.load(std::memory_order_acquire)) return context;
  std::lock_guard lock(mutex_);
  Context context = context_.load(std::memory_order_acquire);
  if (!context) {
    if (const Result result = driver_.cuDevicePrimaryCtxRetain(&context, id_); result != kSuccess)
      throw Error(result == kOutOfMemory ? Code::out_of_memory : Code::unsupported,
                  fmt::format("error: GPU {} ({}) cannot be used: {}", ordinal_, name_, text_of(driver_, result)));
    context_.store(context, std::memory_order_release);
  }
  return context;
}

void Gpu::fail(Result result, const std::string& what) {
  const std::string text = text_of(driver_, result);
  if (is_fatal(result)) {
    std::unique_lock lock(mutex_);
    if (lost_.load()) {
      lock.unlock();
      fail_lost();
    }
    lost_by_ = fmt::format("{}, noticed in {}", text, what);
    lost_.store(true);
    throw Error(Code::device_lost, fmt::format("error: GPU {} ({}) failed: {}, noticed in {}; this process cannot use it any more", ordinal_, name_, text, what));
  }
  if (result == kOutOfMemory) throw Error(Code::out_of_memory, fmt::format("error: no memory on GPU {} ({}) for {}", ordinal_, name_, what));
  if (is_capture(result))
    throw Error(Code::not_prepared, fmt::format("error: {} is not possible while the stream is captured into a graph ({})", what, text));
  throw Error(Code::internal, fmt::format("error: GPU {} ({}), {}: {}", ordinal_, name_, what, text));
}

void Gpu::fail_lost() {
  std::lock_guard lock(mutex_);
  throw Error(Code::device_lost, fmt::format("error: GPU {} ({}) was lost earlier ({}); start a new process to use it again", ordinal_, name_, lost_by_));
}

bool is_refusal(Result result) {
  switch (result) {
    case 1:    // INVALID_VALUE: not even an image
    case 200:  // INVALID_IMAGE
    case 209:  // NO_BINARY_FOR_GPU
    case 218:  // INVALID_PTX
    case 221:  // JIT_COMPILER_NOT_FOUND
    case 222:  // UNSUPPORTED_PTX_VERSION
    case 223:  // JIT_COMPILATION_DISABLED
    case 300:  // INVALID_SOURCE
    case 500:  // NOT_FOUND: a kernel of that name
      return true;
    default: return false;
  }
}

int gpu_count() {
  int count = 0;
  if (const Driver& d = driver(); d.cuDeviceGetCount(&count) != kSuccess) return 0;
  return count;
}

Gpu& gpu_at(int ordinal) {
  static std::array<std::atomic<Gpu*>, kMostGpus> gpus{};
  static std::mutex mutex;
  const Driver& d = driver();
  if (ordinal >= 0 && ordinal < kMostGpus)
    if (Gpu* gpu = gpus[static_cast<std::size_t>(ordinal)].load(std::memory_order_acquire)) return *gpu;
  const int count = gpu_count();
  if (count == 0) throw Error(Code::unsupported, fmt::format("error: the CUDA driver (CUDA {}) finds no GPU", version_text(d.version)));
  if (ordinal < 0 || ordinal >= std::min(count, kMostGpus))
    throw Error(Code::invalid_argument, fmt::format("error: no GPU {}; GPUs are numbered from 0 and there {} {}", ordinal, count == 1 ? "is" : "are", count));
  std::lock_guard lock(mutex);
  std::atomic<Gpu*>& place = gpus[static_cast<std::size_t>(ordinal)];
  if (!place.load()) place.store(new Gpu(ordinal, d), std::memory_order_release);  // never freed: kernels refer to it at exit
  return *place.load();
}

Current::Current(Gpu& gpu) : gpu_(gpu) {
  Context now = nullptr;
  const Context wanted = gpu.context();
  if (gpu.driver().cuCtxGetCurrent(&now) == kSuccess && now == wanted) return;
  gpu.require(gpu.driver().cuCtxPushCurrent(wanted), "making the GPU current");
  pushed_ = true;
}

Current::~Current() {
  Context popped = nullptr;
  if (pushed_) gpu_.driver().cuCtxPopCurrent(&popped);
}

std::uint64_t capture_of(Gpu& gpu, Stream stream) {
  int status = kCaptureNone;
  std::uint64_t id = 0;
  gpu.require(gpu.driver().cuStreamGetCaptureInfo(stream, &status, &id, nullptr, nullptr, nullptr), "asking whether the stream is captured");
  return status == kCaptureActive ? id : 0;
}

}  // namespace quern::runtime::gpu
