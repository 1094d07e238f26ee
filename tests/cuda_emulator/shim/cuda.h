// Stands before a generated text: the CUDA C++ language as the system's compiler understands it. The text itself includes
// nothing, and neither does this.
#pragma once

#include "machine.h"

extern "C" {
/// The block that runs; set by the emulator.
__attribute__((visibility("default"))) quern_emulated::Machine* quern_machine = nullptr;
/// 1: an extern __shared__ array was asked for before any kernel ran.
__attribute__((visibility("default"))) int quern_namespace_scope = 0;
}

namespace quern_emulated {
[[noreturn]] inline void fail(const char* what, int line) {
  quern_machine->fail(quern_machine, what, line);
  __builtin_unreachable();
}
}  // namespace quern_emulated

using size_t = decltype(sizeof(0));

#include "keywords.h"
#include "sanitize.h"
#include "vectors.h"
#include "arithmetic.h"
#include "warp.h"
#include "atomics.h"
#include "conversions.h"
#include "tensor.h"
#include "hopper.h"
