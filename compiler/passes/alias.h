// May an output live in an input's storage? Asked for inout parameters and for callers who pass the same view twice.
#pragma once

#include "compiler/ir/tile.h"

namespace quern::compiler {

/// True if the kernels still compute the same when `output` is exactly the same view as `input`: every element of the
/// input is read for the last time before, or at the moment when, the element in its place is written.
bool may_share_storage(const tile::Module& module, ir::TensorId input, ir::TensorId output);

/// Gives the entry values of these inout parameters a copy of their own that all reads use, so that writing the new values
/// disturbs nobody. `tensors` are entry tensors.
void copy_entry_values(ir::Program& program, const std::vector<ir::TensorId>& tensors);

}  // namespace quern::compiler
