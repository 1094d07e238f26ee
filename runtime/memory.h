// Memory for tensors and workspace: 64-byte aligned; from 4 MiB on whole huge pages, kept for reuse when freed, because
// faulting in fresh pages costs more than most kernels. Returns null when there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace quern::runtime {

inline constexpr std::size_t kAlignment = 64;
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;
inline constexpr std::size_t kHugeFrom = std::size_t{4} << 20;

/// At least one byte; null when out of memory. Contents are unset.
void* allocate(std::size_t bytes) noexcept;
void release(void* memory, std::size_t bytes) noexcept;

/// Replaces the allocator beneath (tests that fail the k-th allocation); null restores it. Returns false to fail.
using AllocationGate = bool (*)(std::size_t bytes);
void set_allocation_gate(AllocationGate gate) noexcept;

/// Owned memory that grows and never shrinks: the scratch and workspace of a thread.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& o) noexcept : memory_(std::exchange(o.memory_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    std::swap(memory_, o.memory_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~Buffer() { release(memory_, bytes_); }
  /// At least `bytes`, contents unset, or zeros where the memory is new and `zeroed`; null when out of memory.
  void* reserve(std::size_t bytes, bool zeroed = false) noexcept {
    if (bytes <= bytes_ && memory_) return memory_;
    release(std::exchange(memory_, nullptr), std::exchange(bytes_, 0));
    memory_ = allocate(bytes);
    bytes_ = memory_ ? bytes : 0;
    if (memory_ && zeroed) std::memset(memory_, 0, bytes);
    return memory_;
  }

 private:
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace quern::runtime
