// Tile IR as text: one statement a line, loops indented, shapes of tiles beside them.
#pragma once

#include <string>

#include "compiler/ir/tile.h"

namespace quern::tile {

std::string print_module(const Module& module);
std::string print_kernel(const Module& module, const Kernel& kernel);

}  // namespace quern::tile
