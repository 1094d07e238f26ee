// Visiting the direct sub-expressions of a node, in order of place. The one idea: the shape of the tree is known here once.
#pragma once

#include "dsl/syntax/ast.h"

namespace quern::dsl {

namespace detail {
template <typename F>
void visit_range(const std::optional<ast::Range>& range, F& f) {
  if (!range) return;
  if (range->begin) f(*range->begin);
  if (range->end) f(*range->end);
}
}  // namespace detail

template <typename F>
void for_each_child(const ast::SubscriptItem& item, F&& f) {
  if (const auto* value = std::get_if<ast::ExprPtr>(&item.value)) {
    if (*value) f(**value);
  } else if (const auto* slice = std::get_if<ast::Slice>(&item.value)) {
    for (const ast::ExprPtr* part : {&slice->begin, &slice->end, &slice->step}) {
      if (*part) f(**part);
    }
  }
  detail::visit_range(item.range, f);
}

template <typename F>
void for_each_child(const ast::Expr& expr, F&& f) {
  using namespace ast;
  const auto one = [&](const ExprPtr& child) {
    if (child) f(*child);
  };
  const auto many = [&](const std::vector<ExprPtr>& children) {
    for (const ExprPtr& child : children) one(child);
  };
  const auto named = [&](const std::vector<Argument>& arguments) {
    for (const Argument& argument : arguments) one(argument.value);
  };
  std::visit(
      [&](const auto& node) {
        using T = std::decay_t<decltype(node)>;
        if constexpr (std::is_same_v<T, Unary> || std::is_same_v<T, Transpose>) {
          one(node.operand);
        } else if constexpr (std::is_same_v<T, Binary> || std::is_same_v<T, MatMul>) {
          one(node.left);
          one(node.right);
        } else if constexpr (std::is_same_v<T, List>) {
          many(node.elements);
        } else if constexpr (std::is_same_v<T, Call>) {
          named(node.arguments);
        } else if constexpr (std::is_same_v<T, Subscript>) {
          one(node.base);
          for (const SubscriptItem& item : node.items) for_each_child(item, f);
        } else if constexpr (std::is_same_v<T, AxisForm>) {
          for (const Axis& axis : node.axes) {
            detail::visit_range(axis.range, f);
            detail::visit_range(axis.target_range, f);
          }
          one(node.domain);
          named(node.arguments);
        } else if constexpr (std::is_same_v<T, Einsum>) {
          many(node.operands);
        }
      },
      expr.node);
}

}  // namespace quern::dsl
