// What devices share that compile programs: how layouts of a call's slots become layouts of the program's tensors, and which
// of them may be one storage.
#pragma once

#include <vector>

#include "compiler/codegen/cpu/compile_cpu.h"
#include "runtime/data_error.h"
#include "runtime/device.h"

namespace quern::runtime {

/// The layouts of the slots, by the tensor ids of the program that `binding` is of.
std::vector<cpu::TensorLayout> layouts_of(const Binding& binding, const CompileRequest& request);

/// The request's program after all passes: what tiles are made from. Its tensors keep their numbers in the lowered program.
std::shared_ptr<const ir::Program> settled_program(const CompileRequest& request);

/// [written slot][read slot]: whether the two may be the same storage. `binding` is of module.program.
std::vector<std::vector<std::uint8_t>> sharing_of(const tile::Module& module, const Binding& binding);

/// A program whose equations are gone: what binding, checks and launches read of it. Only inputs, outputs and `workspace` keep shapes.
ir::Program described(const ir::Program& program, const std::vector<ir::TensorId>& workspace);

}  // namespace quern::runtime
