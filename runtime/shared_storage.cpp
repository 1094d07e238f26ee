// See shared_storage.h.
#include "runtime/shared_storage.h"

#include <fmt/format.h>

#include "runtime/overlap.h"

namespace quern::runtime {
namespace {

bool written(const Binding& binding, std::size_t slot) { return slot >= binding.inputs() || binding.slots()[slot].result; }

}  // namespace

void find_shared(const Binding& binding, const CallArguments& call, SmallArray<Shared, 8>& shared, std::size_t& count) {
  const std::size_t slots = binding.slots().size();
  count = 0;
  for (std::size_t w = 0; w < slots; ++w) {
    const TensorView* out = call.tensors[w];
    if (!out || !out->data() || !written(binding, w)) continue;
    if (overlaps_itself(*out))
      throw Error(Code::overlap, fmt::format("error: the strides of '{}' make two of its elements share memory; an output needs memory of its own for each",
                                             binding.slots()[w].name));
    for (std::size_t r = 0; r < slots; ++r) {
      const TensorView* other = call.tensors[r];
      if (r == w || !other || !other->data() || (written(binding, r) && r < w)) continue;
      const Overlap overlap = overlap_of(*out, *other);
      if (overlap == Overlap::none) continue;
      if (written(binding, r))
        throw Error(Code::overlap, fmt::format("error: '{}' and '{}' are both written and share memory", binding.slots()[w].name, binding.slots()[r].name));
      if (overlap == Overlap::partial)
        throw Error(Code::overlap, fmt::format("error: '{}' shares memory with '{}' without being the same view; copy one of them", binding.slots()[w].name, binding.slots()[r].name));
      if (count == shared.size()) throw Error(Code::overlap, "error: too many arguments share memory");
      shared[count++] = {w, r};
    }
  }
}

void require_data(const Binding& binding, const CallArguments& call) {
  for (std::size_t slot = 0; slot < binding.slots().size(); ++slot) {
    const TensorView* v = call.tensors[slot];
    if (v && !v->data() && v->count() != 0)
      throw Error(Code::invalid_argument, fmt::format("error: the data pointer of '{}' is null", binding.slots()[slot].name));
  }
}

}  // namespace quern::runtime
