// A whole program on the emulator: what runtime/cuda does with a driver. Memory of the module (workspace, slabs, the status
// word) lies between pages without access and is poison before each call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "compiler/codegen/cpu/abi.h"
#include "compiler/codegen/cuda/compile_cuda.h"
#include "runtime/device.h"
#include "tests/cuda_emulator/machine/text.h"

namespace quern::emulator {

/// A call, by the ids of CudaModule::program. Strides count elements.
struct Call {
  const cpu::TensorArg* tensors;
  const std::int64_t* symbols;
  const std::int64_t* scalars;  // 8 bytes each, as in codegen/cpu/abi.h
};

struct Outcome {
  std::string error;     // not empty: what the emulator found
  cpu::Status status{};  // a failed check of the data
};

/// Launch by launch. Throws std::runtime_error when the text does not compile.
Outcome run_emulated(const cuda::CudaModule& module, const Call& call, const How& how = {});

/// A program planned and printed for `target`, run on the emulator. Throws Error(internal) on a fault of the compiler;
/// so does `run` for what the emulator finds. `edit` changes the text first, to show that a fault in it would be seen.
std::shared_ptr<const runtime::Executable> compile_emulated(const runtime::CompileRequest& request, const cuda::Target& target, const How& how = {},
                                                            const std::function<void(std::string& text)>& edit = {});

}  // namespace quern::emulator
