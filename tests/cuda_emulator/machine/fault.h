// Accesses that the processor refuses: a guard page, a wild pointer, the end of a stack. While a guard lives, such a
// fault in this thread ends the launch with a message instead of the process.
#pragma once

#include <csetjmp>
#include <csignal>
#include <functional>

namespace quern::emulator {

class FaultGuard {
 public:
  /// `told` is called from the signal handler with the address and whether it was a write; control then goes to `back`.
  FaultGuard(sigjmp_buf& back, std::function<void(const void* address, bool write)> told);
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;
  ~FaultGuard();

  struct Current;

 private:
  struct sigaction segv_, bus_;
  stack_t stack_;
  Current* current_;
};

}  // namespace quern::emulator
