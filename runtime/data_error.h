// Errors that only a run can find, from what lowered code reports. Needs none of the compiler.
#pragma once

#include <string>

#include "compiler/codegen/cpu/abi.h"
#include "runtime/bind.h"

namespace quern::runtime {

/// Throws Error(data) that describes the first failed check; `program` is the lowered one.
[[noreturn]] void throw_data_error(const ir::Program& program, const cpu::Status& status);

/// Why an output may not be the storage of the input at slot `read`.
std::string sharing_refused(const Binding& binding, std::size_t read);

}  // namespace quern::runtime
