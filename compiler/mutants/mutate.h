// Deliberate faults, for the tests that show that the tests can fail. In: a tile module. Out: the same with one kind of
// mistake made wherever it can be made. Nothing of this is in a build without QUERN_MUTANTS.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/ir/tile.h"

namespace quern::compiler {

/// Names: "drop_domain", "short_dim", ...
std::vector<std::string_view> mutants();

/// Whether there was a place for it. requires: `name` is one of mutants().
bool mutate(tile::Module& module, std::string_view name);

}  // namespace quern::compiler
