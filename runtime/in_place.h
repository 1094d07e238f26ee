// Whether an output may be the very storage of an input. In: the tiles of a program. Out: yes, or why not. The one idea: a
// kernel may read an element before the task that owns it overwrites it, and never after; kernels run one after another.
#pragma once

#include <string>

#include "compiler/ir/tile.h"

namespace quern::runtime {

/// True when writing `written` where `read` is stored changes no result. Conservative: false when it cannot tell.
bool may_share_storage(const tile::Module& module, ir::TensorId written, ir::TensorId read, std::string* why_not);

}  // namespace quern::runtime
