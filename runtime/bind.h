// Arguments to sizes. In: a checked program and the tensors of a call. Out: the value of every symbol and scalar, or an
// error that names parameters and numbers. The one idea: which size binds a symbol and which is only compared is settled
// once, when the kernel is made, as a list of steps; a call walks the list.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <quern/kernel.h>

#include "dsl/ir/program.h"
#include "runtime/small_array.h"

namespace quern::runtime {

/// A tensor of the signature.
struct TensorSlot {
  std::string name;
  ir::TensorId tensor = 0;                // inout: the entry values
  std::optional<ir::TensorId> result;     // inout: the new values
  bool output = false;
};

struct ScalarSlot {
  std::string name;
  ir::ScalarId scalar = 0;
};

/// What a call gave, in the order of the slots. Output views are null where the library allocates.
struct CallArguments {
  SmallArray<const TensorView*, 24> tensors;   // inputs, then outputs
  SmallArray<const Argument*, 24> scalars;     // null: the default
  void* stream = nullptr;                      // given by on_stream
  bool has_stream = false;
};

/// What binding found.
struct Bound {
  SmallArray<std::int64_t, 48> symbols;        // by SymbolId
  SmallArray<double, 24> scalar_values;        // by ScalarId, as numbers
  SmallArray<std::int64_t, 24> scalars;        // by ScalarId, as 8 bytes (compiler/codegen/cpu/abi.h)
};

class Binding {
 public:
  /// Throws Error(internal) when a size of the signature can never be known: the checker accepts no such program.
  explicit Binding(const ir::Program& program);

  const std::vector<TensorSlot>& slots() const { return slots_; }      // inputs and inouts, then outputs
  std::size_t inputs() const { return inputs_; }
  const std::vector<ScalarSlot>& scalars() const { return scalar_slots_; }

  /// Sorts arguments given by position or name to slots. Throws Error.
  void match(std::span<const Argument> arguments, CallArguments& call) const;
  /// Binds sizes and scalars; checks types, ranks, sizes and conditions. Throws Error.
  void bind(const CallArguments& call, Bound& bound) const;
  /// The same where the sizes are given by SymbolId instead of read off shapes: conditions and scalars; looks at no tensor.
  void bind_sizes(const std::int64_t* sizes, const CallArguments& call, Bound& bound) const;
  /// Shape of a slot once sizes are bound. Throws Error on overflow and negative sizes.
  Sizes shape_of(std::size_t slot, const Bound& bound) const;
  /// Checks the given outputs and every memory extent. Throws Error.
  void check_outputs(const CallArguments& call, const Bound& bound) const;
  /// Reads `nondecreasing` parameters. Throws Error(data) with the first position that breaks the order.
  void check_facts(const CallArguments& call) const;
  bool has_facts() const { return !ordered_.empty(); }

  const ir::Program& program() const { return *program_; }

 private:
  struct Step {
    enum Kind { bind, divide, verify } kind = verify;
    std::size_t slot = 0;
    int axis = 0;
    ir::SymbolId symbol = 0;             // bind, divide
    std::vector<ir::Expr> factors;       // divide: the known factors
    ir::Expr size;
  };
  void plan_steps();
  std::string place(std::size_t slot, int axis) const;
  std::string origin_of(ir::Expr size, const Bound& bound) const;
  void start(Bound& bound) const;
  void check_requirements(const Bound& bound) const;
  void bind_scalars(const CallArguments& call, Bound& bound) const;
  const ir::Tensor& tensor(std::size_t slot) const { return program_->tensors[slots_[slot].tensor]; }

  const ir::Program* program_;
  std::vector<TensorSlot> slots_;
  std::size_t inputs_ = 0;
  std::vector<ScalarSlot> scalar_slots_;
  std::vector<Step> steps_;
  std::vector<int> origin_;              // by SymbolId: the step that binds it, -1 = fixed or unknown
  std::vector<std::size_t> ordered_;     // slots declared nondecreasing
};

/// Bytes that a view touches, relative to its data pointer: [low, high). False when that does not fit in 63 bits.
bool byte_range(const TensorView& view, std::int64_t* low, std::int64_t* high);

}  // namespace quern::runtime
