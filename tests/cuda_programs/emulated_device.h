// The emulator as the device that the judge of tools/fuzz compares.
#pragma once

#include "tests/cuda_emulator/machine/run.h"
#include "tools/fuzz/judge.h"

namespace quern::test {

/// Judged on the emulator: the first run with threads in ascending order, the second in descending order, so that a race
/// shows as a difference. `target` is what the program is planned for; `edit` puts a fault into the text.
inline fuzz::JudgeOptions emulated(const cuda::Target& target = {}, const std::function<void(std::string& text)>& edit = {}) {
  fuzz::JudgeOptions options;
  options.compile = [target, edit](const runtime::CompileRequest& request, unsigned char poison) {
    emulator::How how;
    how.order = poison == 0xff ? emulator::Order::ascending : emulator::Order::descending;
    how.poison = poison;
    return emulator::compile_emulated(request, target, how, edit);
  };
  return options;
}

}  // namespace quern::test
