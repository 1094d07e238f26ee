// Threads of a block as fibers of one thread of the process: a stack each, switched by hand at the points where CUDA
// threads meet, so that the order in which they run is ours to choose.
#pragma once

#include <cstddef>
#include <memory>

namespace quern::emulator {

/// Stacks with a page without access below each; kept for all blocks of a launch.
class Stacks {
 public:
  explicit Stacks(std::size_t count);
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks();
  /// One past the highest byte of a stack.
  char* top(std::size_t i) const { return base_ + (i + 1) * kStride; }
  std::size_t size() const { return count_; }
  /// Whether the address lies in a stack's lower guard.
  bool overflowed(const void* address) const;

  static constexpr std::size_t kBytes = 128 * 1024, kGuard = 4096 * 4, kStride = kBytes + kGuard;

 private:
  char* base_ = nullptr;
  std::size_t count_ = 0;
};

/// A place to go on from. Empty before `start` and after the fiber's function has returned to no one: it must not return.
class Fiber {
 public:
  /// The next `switch_to` of this fiber calls entry(argument) on the stack that ends at `top`.
  void start(char* top, void (*entry)(void*), void* argument);
  /// Saves the running fiber in `from` and goes on in `to`.
  static void switch_to(Fiber& from, Fiber& to);
  /// This fiber is what runs now, on the stack of the process's thread: to be said of the one that others return to.
  void is_thread();

  // The address sanitizer wants to know of stacks; nothing otherwise.
  /// First thing on a new stack.
  static void has_entered();
  /// A jump out of a fiber has led back to this one.
  void has_landed();

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

 private:
  void set_stack(char* top);

  void* stack_pointer_ = nullptr;         // x86-64
  struct Context;
  std::unique_ptr<Context> context_;      // elsewhere
  const void* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
};

}  // namespace quern::emulator
