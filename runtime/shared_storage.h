// What a call's tensors must be whatever runs it: data where there are elements, and outputs with memory of their own or
// exactly that of an input.
#pragma once

#include "runtime/bind.h"

namespace quern::runtime {

/// A pair of a written slot and an input slot that are the same storage.
struct Shared {
  std::size_t written, read;
};

/// Refuses overlaps that no program allows; collects storage that an output shares with an input.
void find_shared(const Binding& binding, const CallArguments& call, SmallArray<Shared, 8>& shared, std::size_t& count);
/// Throws Error(invalid_argument) for a null pointer to elements.
void require_data(const Binding& binding, const CallArguments& call);

}  // namespace quern::runtime
