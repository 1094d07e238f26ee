// tile::Module -> object code. No LLVM in this header. load_object.h makes functions of the object; who must not link LLVM
// reaches compile_cpu through code_generator.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/abi.h"
#include "compiler/codegen/cpu/helpers.h"
#include "compiler/codegen/cpu/target.h"
#include "compiler/ir/tile.h"

namespace quern::cpu {

/// What is known of an argument's strides when compiling; part of the kernel's key.
enum class StrideClass : std::uint8_t { any, one, zero };

struct TensorLayout {
  bool dense = false;                // row-major without gaps: strides follow from the shape and are not read
  std::vector<StrideClass> strides;  // per axis; empty = all `any`
};

struct CpuOptions {
  Target target = host_target();
  std::vector<TensorLayout> layouts;  // by TensorId; missing entries = nothing known. Temps are dense anyway.
  bool want_ir = false;               // keep LLVM IR text
  bool want_assembly = false;
  bool verify = true;                 // run LLVM's verifier on what was generated
};

struct CompiledCpu {
  std::string object;                    // ELF, position independent, no undefined symbols
  std::string plan_symbol;
  std::vector<std::string> run_symbols;  // per kernel
  std::string ir, assembly;              // on request
  std::string error;                     // not empty: a fault of the compiler, with what it was doing
  double build_ms = 0, codegen_ms = 0;
};

/// Thread-safe. Never throws on a well-formed module; `error` says what went wrong otherwise.
CompiledCpu compile_cpu(const tile::Module& module, const CpuOptions& options = {});

/// Of LLVM and of the ABI, and LLVM's name of this processor: "llvm 22.1.8 abi 1 for znver5".
std::string compiler_version();

}  // namespace quern::cpu
