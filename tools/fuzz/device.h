// One call of a kernel on a device through the public interface. In: the program's text and its arguments. Out: every
// written tensor, in the order in which the interpreter lists outputs.
#pragma once

#include <string>
#include <vector>

#include "tools/fuzz/arguments.h"
#include "tools/fuzz/judge.h"

namespace quern::fuzz {

/// Whether this build has this device to compare.
bool has_device(Device device);

/// Memory is `poison` before the call. Returns what went wrong, or "".
std::string run_device(const std::string& text, const Case& which, const ir::Program& program, const CaseArguments& arguments,
                       const JudgeOptions& options, unsigned char poison, std::vector<TensorArgument>& written);

}  // namespace quern::fuzz
