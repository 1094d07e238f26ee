// SIGSEGV, SIGBUS and SIGFPE on a stack of their own, since the stack that faulted may be the full one.
#include "tests/cuda_emulator/machine/fault.h"

#include <ucontext.h>

#include <memory>

namespace quern::emulator {

struct FaultGuard::Current {
  sigjmp_buf* back;
  std::function<void(FaultGuard::Kind, const void*)> told;
  std::unique_ptr<char[]> stack;
};

namespace {

thread_local FaultGuard::Current* current = nullptr;
constexpr std::size_t kStackBytes = 64 * 1024;

void handle(int signal, siginfo_t* info, [[maybe_unused]] void* context) {
  if (!current) {  // not ours: as if we were not there
    std::signal(signal, SIG_DFL);
    return;
  }
  auto kind = signal == SIGFPE ? FaultGuard::Kind::division : FaultGuard::Kind::read;
#if defined(__x86_64__)
  if (signal == SIGSEGV && (static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & 2)) kind = FaultGuard::Kind::write;
#endif
  current->told(kind, info->si_addr);
  siglongjmp(*current->back, 1);
}

}  // namespace

FaultGuard::FaultGuard(sigjmp_buf& back, std::function<void(Kind, const void*)> told)
    : current_(new Current{&back, std::move(told), std::make_unique<char[]>(kStackBytes)}) {
  stack_t own{};
  own.ss_sp = current_->stack.get();
  own.ss_size = kStackBytes;
  sigaltstack(&own, &stack_);
  struct sigaction action {};
  action.sa_sigaction = &handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  current = current_;
  sigaction(SIGSEGV, &action, &segv_);
  sigaction(SIGBUS, &action, &bus_);
  sigaction(SIGFPE, &action, &fpe_);
}

FaultGuard::~FaultGuard() {
  sigaction(SIGSEGV, &segv_, nullptr);
  sigaction(SIGBUS, &bus_, nullptr);
  sigaction(SIGFPE, &fpe_, nullptr);
  sigaltstack(&stack_, nullptr);
  current = nullptr;
  delete current_;
}

}  // namespace quern::emulator
