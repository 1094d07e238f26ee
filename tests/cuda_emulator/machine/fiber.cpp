// Switching stacks: a dozen instructions on x86-64, ucontext elsewhere.
#include "tests/cuda_emulator/machine/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <stdexcept>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define QUERN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUERN_ASAN 1
#endif
#endif
#if QUERN_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace quern::emulator {

Stacks::Stacks(std::size_t count) : count_(count) {
  base_ = static_cast<char*>(mmap(nullptr, count * kStride, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (base_ == MAP_FAILED) throw std::runtime_error("no memory for the stacks of a block");
  for (std::size_t i = 0; i < count; ++i)
    if (mprotect(base_ + i * kStride + kGuard, kBytes, PROT_READ | PROT_WRITE) != 0) {
      munmap(base_, count * kStride);
      throw std::runtime_error("no memory for the stacks of a block");
    }
}

Stacks::~Stacks() { munmap(base_, count_ * kStride); }

bool Stacks::overflowed(const void* address) const {
  const auto a = reinterpret_cast<std::uintptr_t>(address), b = reinterpret_cast<std::uintptr_t>(base_);
  return a >= b && a < b + count_ * kStride && (a - b) % kStride < kGuard;
}

void Fiber::set_stack(char* top) {
  stack_ = top - Stacks::kBytes;
  stack_bytes_ = Stacks::kBytes;
#if QUERN_ASAN
  __asan_unpoison_memory_region(stack_, stack_bytes_);  // what ran here before has not returned
#endif
}

void Fiber::is_thread() {
  pthread_attr_t attributes;
  void* bottom = nullptr;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  pthread_attr_getstack(&attributes, &bottom, &stack_bytes_);
  pthread_attr_destroy(&attributes);
  stack_ = bottom;
}

#if QUERN_ASAN
void Fiber::has_entered() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }
void Fiber::has_landed() {
  __sanitizer_start_switch_fiber(nullptr, stack_, stack_bytes_);
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}
#else
void Fiber::has_entered() {}
void Fiber::has_landed() {}
#endif

namespace {

/// Runs `change`, which comes back when somebody switches here again.
template <class Change>
void switching([[maybe_unused]] const void* stack, [[maybe_unused]] std::size_t bytes, Change change) {
#if QUERN_ASAN
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack, bytes);
#endif
  change();
#if QUERN_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

}  // namespace

#if defined(__x86_64__)

// void quern_emulator_switch(void** save, void* load): what the ABI lets a callee keep goes on the old stack.
extern "C" void quern_emulator_switch(void** save, void* load);
extern "C" void quern_emulator_enter();
asm(R"(
.text
.type quern_emulator_switch,@function
quern_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size quern_emulator_switch,.-quern_emulator_switch
.type quern_emulator_enter,@function
quern_emulator_enter:
  movq %r12, %rdi
  callq *%r13
  ud2
.size quern_emulator_enter,.-quern_emulator_enter
)");

struct Fiber::Context {};
Fiber::Fiber() = default;
Fiber::~Fiber() = default;

void Fiber::start(char* top, void (*entry)(void*), void* argument) {
  set_stack(top);
  auto* sp = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(top) & ~std::uintptr_t{15});
  *--sp = nullptr;
  *--sp = nullptr;  // the ret below leaves the stack aligned to 16, as before a call
  *--sp = reinterpret_cast<void*>(&quern_emulator_enter);
  *--sp = nullptr;                                 // rbp
  *--sp = nullptr;                                 // rbx
  *--sp = argument;                                // r12
  *--sp = reinterpret_cast<void*>(entry);          // r13
  *--sp = nullptr;                                 // r14
  *--sp = nullptr;                                 // r15
  stack_pointer_ = sp;
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  switching(to.stack_, to.stack_bytes_, [&] { quern_emulator_switch(&from.stack_pointer_, to.stack_pointer_); });
}

#else

struct Fiber::Context {
  ucontext_t context;
};

Fiber::Fiber() : context_(std::make_unique<Context>()) {}
Fiber::~Fiber() = default;

void Fiber::start(char* top, void (*entry)(void*), void* argument) {
  set_stack(top);
  getcontext(&context_->context);
  context_->context.uc_stack.ss_sp = top - Stacks::kBytes;
  context_->context.uc_stack.ss_size = Stacks::kBytes;
  context_->context.uc_link = nullptr;
  const auto bits = reinterpret_cast<std::uintptr_t>(argument), code = reinterpret_cast<std::uintptr_t>(entry);
  void (*call)(unsigned, unsigned, unsigned, unsigned) = [](unsigned a, unsigned b, unsigned c, unsigned d) {
    const auto join = [](unsigned high, unsigned low) { return static_cast<std::uintptr_t>(std::uint64_t{high} << 32 | low); };
    reinterpret_cast<void (*)(void*)>(join(c, d))(reinterpret_cast<void*>(join(a, b)));
  };
  makecontext(&context_->context, reinterpret_cast<void (*)()>(call), 4, static_cast<unsigned>(std::uint64_t{bits} >> 32),
              static_cast<unsigned>(bits), static_cast<unsigned>(std::uint64_t{code} >> 32), static_cast<unsigned>(code));
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  switching(to.stack_, to.stack_bytes_, [&] { swapcontext(&from.context_->context, &to.context_->context); });
}

#endif

}  // namespace quern::emulator
