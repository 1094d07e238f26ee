// The syntax tree: what the text says, with the place of everything, before any meaning is given to names.
// The one idea: each syntactic form is a plain struct in a std::variant; nothing here knows of types, sizes or indices.
// Parentheses leave no node (Expr::parenthesised remembers them for the formatter); equality ignores places.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dsl/ir/expr.h"
#include "dsl/ir/program.h"
#include "dsl/text/span.h"

namespace quern::dsl::ast {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Name {
  std::string text;
  Span span;
};

/// lo:hi where both ends are given.
struct Range {
  ExprPtr begin, end;
};

// --- expressions -----------------------------------------------------------------------------------------------------

struct Number {
  std::string text;      // as written: "1e-5", "0x1F", "1'000"
  bool real = false;     // has a point or an exponent
};

/// A name, and the constants inf nan pi true false.
struct NameUse {
  std::string name;
};

struct Unary {
  ir::Op op = ir::Op::neg;  // neg or not_
  ExprPtr operand;
};

struct Binary {
  ir::Op op = ir::Op::add;  // add sub mul div floordiv mod pow eq ne lt le gt ge and_ or_
  Span op_span;
  ExprPtr left, right;
};

/// a @ b
struct MatMul {
  Span op_span;
  ExprPtr left, right;
};

/// x.T
struct Transpose {
  ExprPtr operand;
};

/// [a, b] or, where `tuple`, (a, b) as in axis=(0, 1).
struct List {
  std::vector<ExprPtr> elements;
  bool tuple = false;
};

struct Argument {
  std::optional<Name> keyword;
  ExprPtr value;
};

/// f(a, key=b): elementwise functions, casts, policies, whole-tensor functions (sum(x, axis=1)) and let functions.
struct Call {
  Name callee;
  std::vector<Argument> arguments;
};

/// lo:hi:step, every part optional.
struct Slice {
  ExprPtr begin, end, step;
};
struct NewAxis {};   // None
struct Ellipsis {};  // ...
/// (j,g): an axis that is a product of axes.
struct Pair {
  Name first, second;
};

struct SubscriptItem {
  std::variant<ExprPtr, Slice, NewAxis, Ellipsis, Pair> value;
  std::optional<Range> range;  // on a target only: i in 0:N
  Span span;
};

struct Subscript {
  ExprPtr base;  // a NameUse in index form
  std::vector<SubscriptItem> items;
};

/// n, n in 0:N, x -> j in 0:K
struct Axis {
  Name name;
  std::optional<Range> range;
  std::optional<Name> target;         // topk: the new axis
  std::optional<Range> target_range;
  Span span;
};

enum class FormKind : std::uint8_t { reduce, map, scan, topk };

/// head[axes where domain](body, key=value): a reduction, an axis map, a scan or a top-k in index form.
struct AxisForm {
  FormKind kind = FormKind::reduce;
  ir::Reducer reducer = ir::Reducer::sum;    // kind == reduce
  ir::AxisMap map = ir::AxisMap::softmax;    // kind == map
  Name head;
  std::vector<Axis> axes;
  ExprPtr domain;                            // null: everywhere
  std::vector<Argument> arguments;           // the body first; scan: init=
};

struct Einsum {
  std::string spec;  // without the quotes
  Span spec_span;    // with the quotes
  std::vector<ExprPtr> operands;
};

/// Stands where an expression could not be read; its error is reported already.
struct Invalid {};

struct Expr {
  Span span;
  std::variant<Invalid, Number, NameUse, Unary, Binary, MatMul, Transpose, List, Call, Subscript, AxisForm, Einsum> node;
  bool parenthesised = false;
  std::uint16_t depth = 1;  // height of the tree, bounded by kMaxTreeDepth (limits.h)
};

// --- statements ------------------------------------------------------------------------------------------------------

/// y[i,j], or y alone (a whole-tensor definition).
struct Target {
  Name name;
  bool bracketed = false;
  std::vector<SubscriptItem> items;
  Span span;
};

struct Assign {
  std::vector<Target> targets;
  ir::AssignOp op = ir::AssignOp::set;
  Span op_span;
  ExprPtr value;
};

struct View {
  Target target;
  ExprPtr value;
};

struct Require {
  ExprPtr condition;
};

/// let off = N - M, or let silu(x) = x * sigmoid(x)
struct Let {
  Name name;
  bool function = false;
  std::vector<Name> parameters;
  ExprPtr value;
};

struct Statement {
  Span span;
  std::variant<Assign, View, Require, Let> node;
};

// --- kernels ---------------------------------------------------------------------------------------------------------

enum class CompileTimeKind : std::uint8_t { integer, boolean, type };

/// D, causal: bool = true, T: type
struct CompileTime {
  Name name;
  CompileTimeKind kind = CompileTimeKind::integer;
  bool kind_written = false;
  ExprPtr default_value;  // null: none. For a type: a NameUse
  Span span;
};

/// f32, f16[B,H], T[N]
struct Type {
  Name element;
  bool has_shape = false;
  std::vector<ExprPtr> shape;
  Span span;
};

struct Fact {
  bool nondecreasing = false;      // else: in range
  std::optional<Range> range;
  Span span;
};

struct Parameter {
  bool inout = false;
  Name name;
  Type type;
  std::vector<Fact> facts;
  ExprPtr default_value;
  Span span;
};

struct Output {
  Name name;
  Type type;
  Span span;
};

struct Kernel {
  std::vector<Name> annotations;  // precise fast tf32 deterministic trusted fused
  Name name;
  bool has_compile_time = false;  // <...> written
  std::vector<CompileTime> compile_time;
  std::vector<Parameter> parameters;
  bool has_outputs = false;       // -> (...) written
  std::vector<Output> outputs;
  std::vector<Statement> body;
  Span span;
};

struct Item {
  Span span;
  std::variant<Kernel, Let> node;
};

struct Comment {
  std::string text;  // without # or //, trimmed
  Span span;
};

struct File {
  std::vector<Item> items;
  std::vector<Comment> comments;  // in order of place
};

/// Same structure and names, wherever they stand. Null equals null.
bool equal(const Expr* a, const Expr* b);
bool equal(const File& a, const File& b);

}  // namespace quern::dsl::ast
