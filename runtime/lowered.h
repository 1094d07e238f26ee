// What devices share that run lowered programs: how layouts of a call's slots become layouts of the program's tensors, and
// the error that a failed data check becomes.
#pragma once

#include <vector>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "runtime/device.h"

namespace quern::runtime {

/// The layouts of the slots, by the tensor ids of the program that `binding` is of.
std::vector<cpu::TensorLayout> layouts_of(const Binding& binding, const CompileRequest& request);

/// Throws Error(data) that describes the first failed check; `program` is the lowered one.
[[noreturn]] void throw_data_error(const ir::Program& program, const cpu::Status& status);

/// [written slot][read slot]: whether the two may be the same storage. `binding` is of module.program.
std::vector<std::vector<std::uint8_t>> sharing_of(const tile::Module& module, const Binding& binding);
/// Why not.
std::string sharing_refused(const Binding& binding, std::size_t read);

}  // namespace quern::runtime
