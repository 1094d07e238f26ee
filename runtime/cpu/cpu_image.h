// What a call of a CPU kernel needs beside its arguments: code, and a few facts about the tile program that it was made from.
// No names in it: kernels that differ in names share it. Numbers of tensors are those of the settled program.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/codegen/cpu/load_object.h"
#include "compiler/ir/tile.h"
#include "runtime/bind.h"
#include "runtime/device.h"

namespace quern::runtime {

struct WorkspaceTensor {
  std::uint32_t tensor = 0;
  DType type = DType::f32;
};

struct CpuImage {
  std::unique_ptr<cpu::LoadedCpu> code;
  std::size_t tensors = 0;                            // of the tile program
  std::vector<WorkspaceTensor> workspace;
  std::vector<std::vector<std::uint8_t>> may_share;   // [written slot][read slot]
};

/// Compiles to the bytes that `load_cpu_image` reads. Throws Error. Opens libquern_llvm.so.
std::string compile_cpu_image(const ir::Program& settled, const CompileRequest& request);
/// `slots`: of the settled program. Null, with `error`, when the bytes are not such an image.
std::shared_ptr<const CpuImage> load_cpu_image(std::string_view bytes, const ir::Program& settled, std::size_t slots, std::string* error);

/// The tile program, as compiled or only to be explained.
tile::Module lower_for_cpu(const ir::Program& settled, const CompileRequest& request);

}  // namespace quern::runtime
