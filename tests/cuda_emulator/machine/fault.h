// What the processor refuses: a guard page, a wild pointer, the end of a stack, a division by zero. While a guard lives,
// such a fault in this thread ends the launch with a message instead of the process.
#pragma once

#include <csetjmp>
#include <csignal>
#include <functional>

namespace quern::emulator {

class FaultGuard {
 public:
  enum class Kind { read, write, division };
  /// `told` is called from the signal handler, with the address of a memory access; control then goes to `back`.
  FaultGuard(sigjmp_buf& back, std::function<void(Kind kind, const void* address)> told);
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;
  ~FaultGuard();

  struct Current;

 private:
  struct sigaction segv_, bus_, fpe_;
  stack_t stack_;
  Current* current_;
};

}  // namespace quern::emulator
