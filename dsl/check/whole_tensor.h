// Whole-tensor expressions (x[:, None] * w, sum(x, axis=-1), einsum, ...) translated into index form.
// The one idea: a whole tensor is a list of axes, each with an index of its own, and an ordinary index-form value over
// those indices. Broadcasting makes two axes share an index, slicing replaces an index by an expression, a reduction
// binds one; nothing of the whole-tensor form is left in the program.
#pragma once

#include <set>
#include <unordered_map>

#include "dsl/check/elaborate.h"

namespace quern::dsl {

inline constexpr ir::IndexId kNoIndex = ~ir::IndexId{0};

struct WholeAxis {
  ir::IndexId index = kNoIndex;  // none: a literal 1, which stretches; the value does not depend on it
  ir::Expr extent;
  bool stretches() const { return index == kNoIndex; }
};

/// Without a value it stands for an expression whose error is reported already.
struct Whole {
  std::vector<WholeAxis> axes;
  Typed value;
  Span span;
  std::size_t rank() const { return axes.size(); }
  explicit operator bool() const { return bool(value); }
};

class WholeTensors {
 public:
  explicit WholeTensors(Elaborator& elaborator);

  void statement(const ast::Assign& assign, Span at);
  Whole expression(const ast::Expr& expr);

 private:
  using Values = std::unordered_map<ir::IndexId, ir::Expr>;

  // --- whole_tensor.cpp: axes and broadcasting
  Whole none(Span at) const;
  Whole scalar(const Typed& value) const;
  /// A new axis of this extent; the constant 1 stretches.
  WholeAxis axis(ir::Expr extent, std::string hint = {});
  WholeAxis stretched_axis();
  /// The same axis, with an index of its own even where it stretches.
  WholeAxis indexed(WholeAxis axis);
  ir::Expr position(const WholeAxis& axis);
  std::string hint_for(ir::Expr extent) const;
  Whole name(const std::string& name, Span at);
  Whole of_tensor(const Meaning& meaning, const std::string& name, Span at);
  /// Gives all the same axes, right-aligned; reports sizes that differ.
  bool broadcast(std::vector<Whole>& values, std::vector<WholeAxis>& axes, Span at);
  bool same_size(const WholeAxis& a, const WholeAxis& b, const Whole& left, const Whole& right, std::size_t from_end, Span at);
  Whole elementwise(ir::Op op, std::vector<Whole> values, Span at);
  /// `x` with indices replaced; a value that cannot be taken at another place gets a tensor of its own first.
  Whole at_values(Whole x, std::vector<WholeAxis> axes, const Values& values, Span at);
  Whole renewed(const Whole& x);
  Meaning materialised(const Whole& x, Span at, std::string& name);
  std::string shape_text(const std::vector<WholeAxis>& axes) const;

  // --- whole_tensor_names.cpp: readable indices
  void name_indices(const std::vector<WholeAxis>& axes, std::initializer_list<Typed> values);

  // --- whole_tensor_statement.cpp
  void topk(const ast::Assign& assign, const ast::Call& call, Span at);
  bool topk_arguments(const ast::Call& call, Span at, const ast::Expr*& x, const ast::Expr*& count, const ast::Expr*& axis);
  void broken(const ast::Assign& assign);

  // --- whole_tensor_subscript.cpp
  /// The condition of the `where` that a read is a branch of: it guards the read, as in index form.
  struct Guarded {
    const Whole* condition = nullptr;
    bool truth = true;
  };
  Whole subscript(const ast::Subscript& s, Span at, Guarded guard, Policy policy = Policy::proof, Typed fill = {});
  struct Cut {
    ir::Expr start, extent;
    std::int64_t step = 1;
    bool ok = false;
  };
  Cut cut(const ast::Slice& slice, ir::Expr extent, Span at);
  /// A negative number, or a size written with a minus.
  bool is_negative(const ast::Expr& e, ir::Expr value) const;
  /// A bound or position; a negative one counts from the end.
  ir::Expr from_end(const ast::Expr& e, ir::Expr value, ir::Expr extent);
  /// A condition on the call; false, with a message, where it can never hold.
  bool require_at_most(ir::Expr low, ir::Expr high, Span at);
  /// Element at `ids` along one axis of `x`, for take and its relatives.
  Whole gathered(const ast::Expr& base, Whole x, std::vector<ir::Expr> subscripts, std::vector<WholeAxis> axes, Span at,
                 Guarded guard, Policy policy, Typed fill, std::vector<Span> items);
  bool is_static(const Whole& x) const;
  ir::Expr data_index(Whole& x, Span at);

  // --- einsum.cpp
  Whole einsum(const ast::Einsum& e, Span at);
  Whole matmul(Whole a, Whole b, Span at);

  // --- whole_tensor_call.cpp: the functions
  struct Arguments;
  struct Function;
  static const Function kFunctions[];
  static const Function* function(std::string_view name);
  friend bool is_whole_tensor_function(std::string_view name);
  Whole call(const ast::Call& c, Span at);
  void report_unknown_function(const ast::Name& name);
  Whole inlined(const ast::Let& let, const ast::Call& c, Span at);
  Whole policy_call(Policy policy, const ast::Call& c, Span at);
  Arguments arguments(const ast::Call& c, std::string_view signature, Span at);
  std::optional<std::int64_t> constant(const ast::Expr& e, std::string_view what);
  /// The axis that a constant names; `rank` counts what it may name.
  std::optional<std::size_t> axis_of(const ast::Expr& e, std::size_t rank, std::string_view what);
  std::vector<std::size_t> axes_of(const ast::Expr& e, std::size_t rank, std::string_view what, bool& ok);
  Whole reduction(ir::Reducer reducer, const Arguments& a, Span at);
  Whole mapped(ir::AxisMap map, const Arguments& a, Span at);
  std::vector<const ast::Expr*> elements(const ast::Expr& e) const;
  /// The elements of a list that a function takes; reports anything else.
  std::vector<const ast::Expr*> listed(const Arguments& a);
  std::optional<std::vector<ir::Expr>> shape_argument(const ast::Expr& e);
  Whole filled(std::vector<ir::Expr> shape, Typed value, const ast::Expr* type, Span at);
  std::optional<DType> type_argument(const ast::Expr& e);
  bool needs_rank(const Whole& x, std::size_t least, std::string_view what, Span at);

  // --- whole_tensor_make.cpp
  Whole arange(const Arguments& a, Span at);
  Whole zeros(const Arguments& a, Span at);
  Whole ones(const Arguments& a, Span at);
  Whole full(const Arguments& a, Span at);
  Whole eye(const Arguments& a, Span at);
  Whole one_hot(const Arguments& a, Span at);
  Whole outer(const Arguments& a, Span at);
  Whole diagonal(const Arguments& a, Span at);
  Whole trace(const Arguments& a, Span at);
  Whole triu(const Arguments& a, Span at);
  Whole tril(const Arguments& a, Span at);
  Whole triangle(const Arguments& a, bool upper, Span at);

  // --- whole_tensor_arrange.cpp
  Whole list(const ast::List& list, Span at);
  Whole take(const Arguments& a, Span at);
  Whole take_along_axis(const Arguments& a, Span at);
  Whole gather(const Arguments& a, Span at);
  Whole along_axis(const ast::Expr& base, const ast::Expr& ids, const ast::Expr* axis, Span at);
  Whole concat(const Arguments& a, Span at);
  Whole stack(const Arguments& a, Span at);
  Whole transpose(const Arguments& a, Span at);
  Whole permute(const Arguments& a, Span at);
  Whole swapaxes(const Arguments& a, Span at);
  Whole expand_dims(const Arguments& a, Span at);
  Whole squeeze(const Arguments& a, Span at);
  Whole flip(const Arguments& a, Span at);
  Whole matmul_call(const Arguments& a, Span at);
  bool unstretched(const std::vector<Whole>& parts, const std::vector<WholeAxis>& axes);
  Whole stacked(std::vector<Whole> parts, std::size_t at_axis, Span at);
  /// parts[p] for ends[p-1] <= position < ends[p], as a balanced tree of choices.
  Typed chosen(const std::vector<Typed>& parts, const std::vector<ir::Expr>& ends, std::size_t first, std::size_t last,
               ir::Expr position, Span at);

  Elaborator& el_;
  ir::ExprPool& pool_;
  std::set<ir::IndexId> own_;                        // made here, to be named
  std::vector<std::map<std::string, Whole>> frames_; // arguments of `let` functions
  std::vector<const ast::Let*> calls_;
  Guarded guard_;                                    // for the very next expression
};

/// A `let` function with a form such as sum[i](...) in it: it takes tensors by name and gives one value.
bool is_written_in_index_form(const ast::Let& let);

/// A function that works on whole tensors only: concat, arange, ...
bool is_whole_tensor_function(std::string_view name);

}  // namespace quern::dsl
