// The parts of the prelude. Inline PTX stands in one part alone, so that a host can compile the others as they are and
// check what they mean (tests/cuda_codegen).
#pragma once

#include <string_view>

namespace quern::cuda::device {

std::string_view types();         // i64, u32, ...; the layout of cpu::Status
std::string_view instructions();  // every inline PTX statement, one function each
std::string_view conversions();   // floats to integers, small floats, integers to small floats
std::string_view integers();      // floored division, powers
std::string_view real_functions();  // elementary functions that CUDA lacks or gives no fast enough form of
std::string_view threads();       // reports, exchange between lanes
std::string_view atomics();       // of every stored type; the one part that costs NVRTC much, so it comes only where it is used

}  // namespace quern::cuda::device
