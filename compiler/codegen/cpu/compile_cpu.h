// tile::Module -> object code -> function pointers. The only header of this folder that others need beside abi.h and
// target.h; no LLVM in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/abi.h"
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

/// Loaded code; destroying it unmaps the code (no thread may be inside).
class LoadedCpu {
 public:
  LoadedCpu(LoadedCpu&&) noexcept;
  LoadedCpu& operator=(LoadedCpu&&) noexcept;
  ~LoadedCpu();

  PlanFunction plan() const;
  RunFunction run(std::size_t kernel) const;
  std::size_t kernels() const;

 private:
  friend class CpuSession;
  struct Code;
  explicit LoadedCpu(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

/// One ORC session: maps objects into the process. Thread-safe; outlives what it loaded.
class CpuSession {
 public:
  CpuSession();
  ~CpuSession();
  /// `error` is filled and null returned when the object cannot be loaded (damaged, undefined symbols).
  std::unique_ptr<LoadedCpu> load(const std::string& object, const std::string& plan_symbol,
                                  const std::vector<std::string>& run_symbols, std::string* error);

 private:
  struct State;
  std::shared_ptr<State> state_;
  friend struct LoadedCpu::Code;
};

/// The functions that kernels call through Args.
const Helpers& default_helpers();

/// Version of LLVM and of the host CPU, for cache keys.
std::string compiler_version();

}  // namespace quern::cpu
