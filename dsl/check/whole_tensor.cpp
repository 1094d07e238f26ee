// Statements without brackets on the left. A value written in index form alone defines a tensor without axes.
#include "dsl/check/elaborate.h"

namespace quern::dsl {

bool Elaborator::has_whole_tensors(const ast::Expr& e) const {
  struct Visit {
    const Elaborator& el;
    bool operator()(const ast::ExprPtr& e) const { return e && std::visit(*this, e->node); }
    bool operator()(const ast::Invalid&) const { return false; }
    bool operator()(const ast::Number&) const { return false; }
    bool operator()(const ast::NameUse& n) const {
      const Entry* entry = el.find(n.name);
      return entry && !el.shape(entry->meaning).empty();
    }
    bool operator()(const ast::Unary& u) const { return (*this)(u.operand); }
    bool operator()(const ast::Binary& b) const { return (*this)(b.left) || (*this)(b.right); }
    bool operator()(const ast::MatMul&) const { return true; }
    bool operator()(const ast::Transpose&) const { return true; }
    bool operator()(const ast::List&) const { return true; }
    bool operator()(const ast::Einsum&) const { return true; }
    bool operator()(const ast::Call& c) const {
      for (const auto& a : c.arguments)
        if ((*this)(a.value)) return true;
      return false;
    }
    bool operator()(const ast::Subscript& s) const {
      if (s.base && !std::holds_alternative<ast::NameUse>(s.base->node)) return true;
      for (const auto& item : s.items) {
        const auto* x = std::get_if<ast::ExprPtr>(&item.value);
        if (x ? (*this)(*x) : !std::holds_alternative<ast::Pair>(item.value)) return true;
      }
      return false;
    }
    bool operator()(const ast::AxisForm&) const { return false; }
  };
  return std::visit(Visit{*this}, e.node);
}

void Elaborator::whole_tensor_statement(const ast::Assign& assign, Span) {
  diagnostics.report<Code::whole_tensor_here>(assign.value->span, "this expression").label("holds whole tensors").fix("write indices on both sides");
  for (const auto& t : assign.targets) give_up(t.name);
}

}  // namespace quern::dsl
