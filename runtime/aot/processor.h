// Which of the x86-64 levels this processor has: what the choice among CPU variants rests on.
#pragma once

#include <string_view>

namespace quern::runtime::aot {

/// "x86-64-v2" -> 2. 0: not the name of a level.
int level_named(std::string_view name);
/// 1 to 4: the highest whose instructions the processor and the system offer.
int level_of_processor();

}  // namespace quern::runtime::aot
