// Cases made from cases: the same call with other layouts of its inputs, or with sizes that fit no tile.
#pragma once

#include <optional>
#include <string>

#include "tools/fuzz/case.h"

namespace quern::fuzz {

/// The case with `suffix` ("reversed") added to the kind of every tensor of its kernel.
Case with_layout(const std::string& text, Case which, const std::string& layout);

/// The case with sizes `more` larger: every run-time size, or the largest alone (the interpreter has to keep up). None where
/// that gives sizes the program refuses.
std::optional<Case> with_sizes(const std::string& text, Case which, int more, bool largest_alone);

}  // namespace quern::fuzz
