// Several tile::Modules -> one ELF object to be linked into a program: their functions for several processors, data beside
// them, and C functions that hand their arguments on. No LLVM in this header.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/compile_cpu.h"

namespace quern::cpu {

/// One variant: `<prefix>_plan` and `<prefix>_k0`, `<prefix>_k1`, ... (abi.h), private to the object.
struct ObjectPart {
  const tile::Module* module = nullptr;
  CpuOptions options;
  std::string prefix;
};

/// An entry of a kernel's table: the address of one of those functions, or of bytes that the object holds.
struct TableEntry {
  std::string function;
  std::string bytes;   // where `function` is empty
};

/// A `quern_aot_kernel` (runtime/aot/object.h), private to the object.
struct ObjectKernel {
  std::string symbol;
  std::string image;
  std::vector<TableEntry> table;
};

/// A parameter of a C function, and where it goes among the arguments of `quern_aot_call`.
struct ObjectParameter {
  enum class Type : std::uint8_t { i64, i32, f32, f64, pointer } type = Type::i64;
  enum class Role : std::uint8_t { size, data, strides, value, value_pointer, call } role = Role::size;
  std::uint32_t position = 0;
};

/// status function(parameters...)
struct ObjectFunction {
  std::string symbol;
  std::string kernel;   // the ObjectKernel's symbol
  std::int32_t device = 0;
  std::uint32_t sizes = 0, tensors = 0, scalars = 0;
  std::vector<ObjectParameter> parameters;
};

struct ObjectRequest {
  std::vector<ObjectPart> parts;
  std::vector<ObjectKernel> kernels;
  std::vector<ObjectFunction> functions;
};

struct CompiledObject {
  std::string object;  // ELF, position independent; refers to quern_aot_call alone
  std::string error;   // not empty: a fault of the compiler, with what it was doing
};

/// The same request gives the same bytes.
CompiledObject compile_object(const ObjectRequest& request);

}  // namespace quern::cpu
