// A kernel written by hand, run on the emulator: text and arguments in, what went wrong out.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "tests/cuda_emulator/machine/text.h"

namespace quern_test {

inline constexpr quern::emulator::Order kOrders[] = {quern::emulator::Order::ascending, quern::emulator::Order::descending,
                                                     quern::emulator::Order::random};

/// Runs entry `kernel` of the text with a parameter that holds the addresses of the given buffers.
template <class... Buffers>
std::string run_text(const std::string& text, const quern::emulator::Grid& grid, quern::emulator::How how, Buffers*... buffers) {
  void* addresses[] = {static_cast<void*>(buffers)..., nullptr};
  const auto loaded = quern::emulator::Text::load(text, {"kernel"});
  if (loaded->parameter_bytes(0) != sizeof...(buffers) * sizeof(void*)) return "the parameter has another size";
  return loaded->launch(0, grid, addresses, how);
}

}  // namespace quern_test
