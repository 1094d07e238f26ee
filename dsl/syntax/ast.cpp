// Structural equality of syntax trees; places, parentheses and the spelling of quotes do not count.
#include "dsl/syntax/ast.h"

#include <algorithm>

namespace quern::dsl::ast {
namespace {

// Members of one class, so that all see one another whatever their order.
struct Compare {
  static bool same(const ExprPtr& a, const ExprPtr& b) { return equal(a.get(), b.get()); }
  static bool same(const Name& a, const Name& b) { return a.text == b.text; }
  static bool same(const Range& a, const Range& b) { return same(a.begin, b.begin) && same(a.end, b.end); }
  static bool same(const Slice& a, const Slice& b) { return same(a.begin, b.begin) && same(a.end, b.end) && same(a.step, b.step); }
  static bool same(const NewAxis&, const NewAxis&) { return true; }
  static bool same(const Ellipsis&, const Ellipsis&) { return true; }
  static bool same(const Pair& a, const Pair& b) { return same(a.first, b.first) && same(a.second, b.second); }

  template <typename T>
  static bool same(const std::optional<T>& a, const std::optional<T>& b) {
    return a.has_value() == b.has_value() && (!a || same(*a, *b));
  }
  template <typename T>
  static bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T& x, const T& y) { return same(x, y); });
  }
  template <typename... T>
  static bool same(const std::variant<T...>& a, const std::variant<T...>& b) {
    if (a.index() != b.index()) return false;
    return std::visit([&](const auto& x) { return same(x, std::get<std::decay_t<decltype(x)>>(b)); }, a);
  }

  static bool same(const Argument& a, const Argument& b) { return same(a.keyword, b.keyword) && same(a.value, b.value); }
  static bool same(const SubscriptItem& a, const SubscriptItem& b) { return same(a.value, b.value) && same(a.range, b.range); }
  static bool same(const Axis& a, const Axis& b) {
    return same(a.name, b.name) && same(a.range, b.range) && same(a.target, b.target) && same(a.target_range, b.target_range);
  }

  static bool same(const Invalid&, const Invalid&) { return true; }
  static bool same(const Number& a, const Number& b) { return a.text == b.text && a.real == b.real; }
  static bool same(const NameUse& a, const NameUse& b) { return a.name == b.name; }
  static bool same(const Unary& a, const Unary& b) { return a.op == b.op && same(a.operand, b.operand); }
  static bool same(const Binary& a, const Binary& b) { return a.op == b.op && same(a.left, b.left) && same(a.right, b.right); }
  static bool same(const MatMul& a, const MatMul& b) { return same(a.left, b.left) && same(a.right, b.right); }
  static bool same(const Transpose& a, const Transpose& b) { return same(a.operand, b.operand); }
  static bool same(const List& a, const List& b) { return a.tuple == b.tuple && same(a.elements, b.elements); }
  static bool same(const Call& a, const Call& b) { return same(a.callee, b.callee) && same(a.arguments, b.arguments); }
  static bool same(const Subscript& a, const Subscript& b) { return same(a.base, b.base) && same(a.items, b.items); }
  static bool same(const AxisForm& a, const AxisForm& b) {
    return same(a.head, b.head) && same(a.axes, b.axes) && same(a.domain, b.domain) && same(a.arguments, b.arguments);
  }
  static bool same(const Einsum& a, const Einsum& b) { return a.spec == b.spec && same(a.operands, b.operands); }

  static bool same(const Target& a, const Target& b) {
    return same(a.name, b.name) && a.bracketed == b.bracketed && same(a.items, b.items);
  }
  static bool same(const Assign& a, const Assign& b) { return a.op == b.op && same(a.targets, b.targets) && same(a.value, b.value); }
  static bool same(const View& a, const View& b) { return same(a.target, b.target) && same(a.value, b.value); }
  static bool same(const Require& a, const Require& b) { return same(a.condition, b.condition); }
  static bool same(const Let& a, const Let& b) {
    return same(a.name, b.name) && a.function == b.function && same(a.parameters, b.parameters) && same(a.value, b.value);
  }
  static bool same(const Statement& a, const Statement& b) { return same(a.node, b.node); }

  static bool same(const CompileTime& a, const CompileTime& b) {
    return same(a.name, b.name) && a.kind == b.kind && a.kind_written == b.kind_written && same(a.default_value, b.default_value);
  }
  static bool same(const Type& a, const Type& b) {
    return same(a.element, b.element) && a.has_shape == b.has_shape && same(a.shape, b.shape);
  }
  static bool same(const Fact& a, const Fact& b) { return a.nondecreasing == b.nondecreasing && same(a.range, b.range); }
  static bool same(const Parameter& a, const Parameter& b) {
    return a.inout == b.inout && same(a.name, b.name) && same(a.type, b.type) && same(a.facts, b.facts) &&
           same(a.default_value, b.default_value);
  }
  static bool same(const Output& a, const Output& b) { return same(a.name, b.name) && same(a.type, b.type); }
  static bool same(const Kernel& a, const Kernel& b) {
    return same(a.annotations, b.annotations) && same(a.name, b.name) && a.has_compile_time == b.has_compile_time &&
           same(a.compile_time, b.compile_time) && same(a.parameters, b.parameters) && a.has_outputs == b.has_outputs &&
           same(a.outputs, b.outputs) && same(a.body, b.body);
  }
  static bool same(const Item& a, const Item& b) { return same(a.node, b.node); }
};

}  // namespace

bool equal(const Expr* a, const Expr* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return Compare::same(a->node, b->node);
}

bool equal(const File& a, const File& b) { return Compare::same(a.items, b.items); }

}  // namespace quern::dsl::ast
