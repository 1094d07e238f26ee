// Scalar expressions: one interned, immutable node type. Equal expressions have equal ids within one pool, so
// comparison is an integer compare and a table indexed by id is a map.
//
// After checking, every node is explicitly typed: arithmetic nodes compute in f64, f32, i64, i32, i16, i8, u8 or bool
// (never in f16, bf16, e4m3 or e5m2, which appear only as the type of a `read` and as the target of a `cast`), and both
// operands of an operator have the same type. `cast` to a small float means "round to it": its value is used in f32.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dsl/ir/dtype.h"

namespace quern::ir {

enum class Op : std::uint8_t {
  // Leaves.
  constant,     // payload: the bits of an f64 (float types) or an i64 (integers and bool)
  index,        // payload: IndexId; type i64
  symbol,       // payload: SymbolId, a size or a compile-time value; type i64 or bool
  scalar,       // payload: ScalarId, a scalar parameter
  previous,     // `prev` inside the body of a scan
  accumulator,  // tile IR only: the finished accumulator inside Update::result; payload 0 (value) or 1 (position)
  // Access and conversion.
  read,  // payload: TensorId; args: one i64 subscript per axis; flag kChecked: bounds are tested at run time
  cast,  // to `type`
  // Forms that bind axes. args: {body, domain} (domain is a bool expression; the constant true when absent).
  reduce,         // payload: Reducer; axes: reduced
  map,            // payload: AxisMap; axes: {n}, bound inside and free outside
  scan,           // axes: {t}; args: {body (uses previous and t), domain (true), init}
  topk_value,     // axes: {x (bound), j (free)}; args: {body over x, domain over x}; j runs over 0:K
  topk_position,  // same, the i32 position along x
#define QUERN_OP(name, arity, rule, spelling) name,
#include "dsl/ir/operators.def"
};

enum class Reducer : std::uint8_t {
  sum, prod, max, min, any, all, argmax, argmin,      // primitive: survive into tile IR
  count, mean, var, std, norm, logsumexp,             // composite: `expand_composites` rewrites them
};
enum class AxisMap : std::uint8_t { softmax, log_softmax, cumsum, cumprod, cummax, cummin, sort, argsort };

enum class TypeRule : std::uint8_t { Same, Real, Integer, Compare, Logic, Test, Choose };

struct OperatorInfo {
  std::string_view name;   // as called: exp(x), or as written infix when `infix` is not empty
  int arity;
  TypeRule rule;
  std::string_view infix;  // "" when written as a call
};
/// Row of the operator table; nullptr-free: valid for elementwise operators only (op >= Op::neg).
const OperatorInfo& info(Op op);
bool is_elementwise(Op op);
std::string_view name(Op op);
std::string_view name(Reducer reducer);
std::string_view name(AxisMap map);

using IndexId = std::uint32_t;
using SymbolId = std::uint32_t;
using ScalarId = std::uint32_t;
using TensorId = std::uint32_t;

/// Handle of an interned node; id 0 is "none".
struct Expr {
  std::uint32_t id = 0;
  explicit operator bool() const { return id != 0; }
  auto operator<=>(const Expr&) const = default;
};

// Node::flags
inline constexpr std::uint8_t kChecked = 1;  // read: the subscripts are tested when it runs
inline constexpr std::uint8_t kAllowed = 2;  // cast: rounding to the type is permitted, not required (contraction factors)

struct Node {
  Op op = Op::constant;
  DType type = DType::f32;
  std::uint8_t flags = 0;
  std::int64_t payload = 0;
  std::vector<Expr> args;
  std::vector<IndexId> axes;
  bool operator==(const Node&) const = default;
};

class ExprPool {
 public:
  ExprPool();

  const Node& operator[](Expr e) const { return nodes_[e.id]; }
  std::size_t size() const { return nodes_.size(); }

  Expr intern(Node node);

  // Leaves. `real` makes a float constant of `type`; `integer` an integer or bool constant.
  Expr real(double value, DType type = DType::f32);
  Expr integer(std::int64_t value, DType type = DType::i64);
  Expr boolean(bool value) { return integer(value ? 1 : 0, DType::boolean); }
  Expr index(IndexId id);
  Expr symbol(SymbolId id, DType type = DType::i64);
  Expr scalar(ScalarId id, DType type);
  Expr previous(DType type);
  Expr accumulator(DType type, int which = 0);

  Expr read(TensorId tensor, DType type, std::vector<Expr> subscripts, bool checked = false);
  /// No node when the type is the same already; folds constants.
  Expr cast(Expr e, DType type, std::uint8_t flags = 0);
  /// Applies an elementwise operator. Operands must have one common type already (`where`: args[1] and args[2]), small
  /// floats are widened to f32 here; the result type follows the table. Folds constants and the identities x+0, x*1,
  /// x*0 (integers), min/max of equals, not not x, x and true, where(true, a, b).
  Expr apply(Op op, std::span<const Expr> args);
  Expr apply(Op op, std::initializer_list<Expr> args) { return apply(op, std::span<const Expr>(args.begin(), args.size())); }
  Expr reduce(Reducer reducer, std::vector<IndexId> axes, Expr body, Expr domain, DType type);
  Expr map(AxisMap map, IndexId axis, Expr body, Expr domain, DType type);
  Expr scan(IndexId axis, Expr body, Expr init, DType type);

  // Shorthand for index and size arithmetic and other binary operators.
  Expr add(Expr a, Expr b) { return apply(Op::add, {a, b}); }
  Expr sub(Expr a, Expr b) { return apply(Op::sub, {a, b}); }
  Expr mul(Expr a, Expr b) { return apply(Op::mul, {a, b}); }
  Expr div(Expr a, Expr b) { return apply(Op::div, {a, b}); }
  Expr min(Expr a, Expr b) { return apply(Op::min, {a, b}); }
  Expr max(Expr a, Expr b) { return apply(Op::max, {a, b}); }
  Expr both(Expr a, Expr b) { return apply(Op::and_, {a, b}); }
  Expr where(Expr c, Expr a, Expr b) { return apply(Op::where, {c, a, b}); }
  Expr less(Expr a, Expr b) { return apply(Op::lt, {a, b}); }

  DType type(Expr e) const { return nodes_[e.id].type; }
  bool is_constant(Expr e) const { return nodes_[e.id].op == Op::constant; }
  /// Value of an integer or bool constant / of a float constant.
  bool is_integer_constant(Expr e, std::int64_t* value = nullptr) const;
  bool is_real_constant(Expr e, double* value = nullptr) const;
  bool is_true(Expr e) const;

  /// Indices that occur free, ascending, without repeats. Kept per node.
  const std::vector<IndexId>& free_indices(Expr e) const { return free_[e.id]; }
  bool depends_on(Expr e, IndexId index) const;
  bool depends_on_any(Expr e, std::span<const IndexId> indices) const;

  /// Rebuilds `e` with every node replaced by `rule(node)` where it returns something; children first otherwise.
  /// Binding forms are rebuilt as they are: the rule must not replace their own axes (use `substitute`).
  Expr rewrite(Expr e, const std::function<Expr(Expr)>& rule);
  /// Replaces free occurrences of indices. Bound axes are left alone (ids are unique per binder, so nothing is captured).
  Expr substitute(Expr e, const std::unordered_map<IndexId, Expr>& values);

 private:
  struct Hash { std::size_t operator()(const Node& n) const; };
  std::deque<Node> nodes_;
  std::deque<std::vector<IndexId>> free_;
  std::unordered_multimap<std::size_t, std::uint32_t> table_;
  std::vector<IndexId> compute_free(const Node& node) const;
};

}  // namespace quern::ir

template <>
struct std::hash<quern::ir::Expr> {
  std::size_t operator()(quern::ir::Expr e) const noexcept { return e.id; }
};
