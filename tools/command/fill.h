// Data for a parameter out of nothing: normal numbers, zeros, or 0, 1, 2, ... in any element type and shape, keeping to
// the facts that the parameter declares. The same seed gives the same bits on every machine.
#pragma once

#include <optional>
#include <utility>

#include "tools/command/spec.h"
#include "tools/npy/npy.h"

namespace quern::command {

/// What a parameter promises about its values.
struct Facts {
  std::optional<std::pair<std::int64_t, std::int64_t>> range;  // [first, second)
  bool nondecreasing = false;                                  // along the last axis
};

/// `who` opens error messages: a range without values needs an empty shape.
npy::Array filled(Filling filling, DType type, const npy::Shape& shape, const Facts& facts, std::uint64_t seed,
                  const std::string& who);

}  // namespace quern::command
