// The index IR: a checked program as a list of equations  target[subscripts] = body  over named index ranges.
// There is no class per tensor operation: products, softmax, norms, gathers and pooling are all equations. It prints as
// the language itself in index form (print_program.h), and checking that text gives the same program again.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dsl/ir/expr.h"
#include "dsl/text/span.h"

namespace quern::ir {

using quern::Span;  // byte range in the source text

/// A size (`N`, type i64) or a compile-time value (`D`, `causal`). `value` is set when it is fixed for this kernel.
struct Symbol {
  std::string name;
  DType type = DType::i64;  // i64 or boolean
  bool compile_time = false;
  std::optional<std::int64_t> value;
};

/// One binder. Ids are unique in a program, two binders of the same name have two ids.
struct Index {
  std::string name;
  Expr begin;  // i64 over symbols
  Expr end;
};

struct Scalar {
  std::string name;
  DType type = DType::f32;
  Expr default_value;  // none: the caller must pass it
};

enum class Role : std::uint8_t {
  input,    // read only; the entry values of an inout parameter too
  output,   // written once, every element; the new values of an inout parameter too
  temp,     // an intermediate; has storage only if the compiler decides so (then: workspace, dense, row-major)
  scratch,  // tile IR only: a tile private to one thread (CPU) or block (GPU)
};

struct Tensor {
  std::string name;
  DType type = DType::f32;
  std::vector<Expr> shape;  // i64 over symbols
  Role role = Role::temp;
  std::optional<TensorId> entry;  // for the new values of an inout parameter: the tensor of its entry values
  // Declared facts about the data; each read as an index through a fact is checked, unless @trusted.
  Expr fact_begin, fact_end;  // values lie in [fact_begin, fact_end)
  bool nondecreasing = false;
  Span span;
};

enum class AssignOp : std::uint8_t { set, add, max, min };

/// `set`: defines each element of the target exactly once. Others scatter: `indices` iterate, each point combines `body`
/// into target[subscripts] (whose values at entry count), points whose subscripts are out of range do nothing.
struct Equation {
  std::vector<TensorId> targets;    // two for topk (values, positions): body is a topk_value node
  std::vector<IndexId> indices;     // free indices, in order of appearance on the left
  std::vector<Expr> subscripts;     // one per axis of the target, over `indices`; `set`: a bijection onto its shape
  Expr body;
  AssignOp op = AssignOp::set;
  bool checked = false;             // scatter whose subscripts are tested at run time
  Span span;
};

/// A condition on sizes that the call must satisfy.
struct Requirement {
  Expr condition;  // bool over symbols
  Span span;
};

struct Annotations {
  bool precise = false, fast = false, tf32 = false, deterministic = false, trusted = false, fused = false;
};

struct Program {
  std::string name;
  Annotations annotations;
  ExprPool pool;
  std::vector<Symbol> symbols;
  std::vector<Index> indices;
  std::vector<Scalar> scalars;
  std::vector<Tensor> tensors;
  std::vector<TensorId> parameters;  // in order of the signature; inout: its entry tensor
  std::vector<TensorId> outputs;     // in order: those after `->`; the new values of an inout are found by `entry`
  std::vector<ScalarId> scalar_parameters;
  std::vector<std::string> parameter_order;  // names of tensors and scalars as the signature lists them
  std::vector<Requirement> requirements;
  std::vector<Equation> equations;   // in order of definition: a body reads only earlier targets and parameters

  IndexId add_index(std::string name, Expr begin, Expr end);
  TensorId add_tensor(Tensor tensor);
};

}  // namespace quern::ir
