// Data for a checked program. In: the program, a case, a seed. Out: memory for every parameter and output.
// The one idea: every tensor lies at the very edge of a page that may not be touched, in the layout that the case names,
// and what lies between its elements is poison.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compiler/interpreter/interpret.h"
#include "dsl/ir/program.h"
#include "tools/fuzz/case.h"

namespace quern::fuzz {

/// Memory whose first or last byte borders on a page without access.
class GuardedBytes {
 public:
  explicit GuardedBytes(std::size_t bytes, bool at_end = true);
  ~GuardedBytes();
  GuardedBytes(GuardedBytes&& o) noexcept;
  GuardedBytes& operator=(GuardedBytes&& o) noexcept;
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

struct TensorArgument {
  std::string name;
  DType type = DType::f32;
  std::vector<std::int64_t> shape, strides;  // in elements
  std::size_t origin = 0;                    // of element [0, 0, ..] in `bytes`, in bytes
  GuardedBytes bytes{0};

  std::byte* at() const { return bytes.data() + origin; }
  compiler::TensorView view() const { return {at(), shape, strides}; }
  std::int64_t count() const;
  /// For each of `bytes`: it belongs to an element.
  std::vector<bool> covered() const;
  /// The same tensor in memory of its own.
  TensorArgument clone() const;
};

struct ScalarArgument {
  std::string name;
  double value = 0;
  bool given = false;
};

struct CaseArguments {
  std::vector<std::int64_t> symbols;     // by SymbolId
  std::vector<TensorArgument> inputs;    // by Program::parameters
  std::vector<ScalarArgument> scalars;   // by ScalarId
};

/// Throws std::runtime_error when the case lacks a size.
CaseArguments make_arguments(const ir::Program& program, const Case& which, std::uint64_t seed);

/// Memory for a tensor of the program, every byte `poison`; dense, unless the case names a layout for it (`y=/strided`).
TensorArgument make_output(const ir::Program& program, ir::TensorId tensor, const Case& which, const std::vector<std::int64_t>& symbols, unsigned char poison);

/// What the interpreter takes.
compiler::Arguments interpreter_arguments(const ir::Program& program, const CaseArguments& arguments);

}  // namespace quern::fuzz
