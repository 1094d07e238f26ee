// Expressions to canonical text.
#include "dsl/syntax/printer.h"

#include <algorithm>
#include <utility>

#include "dsl/syntax/layout.h"

namespace quern::dsl {

using namespace ast;
using ir::Op;

namespace {

struct Infix {
  std::string_view word;
  int strength;  // as in Parser::Strength
};

Infix infix(Op op) {
  switch (op) {
    case Op::or_: return {"or", 1};
    case Op::and_: return {"and", 2};
    case Op::eq: return {"==", 3};
    case Op::ne: return {"!=", 3};
    case Op::lt: return {"<", 3};
    case Op::le: return {"<=", 3};
    case Op::gt: return {">", 3};
    case Op::ge: return {">=", 3};
    case Op::add: return {"+", 4};
    case Op::sub: return {"-", 4};
    case Op::mul: return {"*", 5};
    case Op::div: return {"/", 5};
    case Op::floordiv: return {"div", 5};
    case Op::mod: return {"mod", 5};
    default: return {"**", 7};
  }
}

constexpr int kProductStrength = 5, kUnaryStrength = 6, kPostfixStrength = 8;

int strength(const Expr& expr) {
  if (const auto* b = std::get_if<Binary>(&expr.node)) return infix(b->op).strength;
  if (std::holds_alternative<MatMul>(expr.node)) return kProductStrength;
  if (std::holds_alternative<Unary>(expr.node)) return kUnaryStrength;
  return kPostfixStrength;
}

/// Written inside [] without a space behind the comma: names, numbers and pairs, as index form does.
bool is_plain(const SubscriptItem& item) {
  if (item.range) return false;
  if (const auto* value = std::get_if<ExprPtr>(&item.value)) {
    return std::holds_alternative<NameUse>((*value)->node) || std::holds_alternative<Number>((*value)->node);
  }
  return std::holds_alternative<Pair>(item.value);
}

bool is_plain(const ExprPtr& size) {
  return std::holds_alternative<NameUse>(size->node) || std::holds_alternative<Number>(size->node);
}

}  // namespace

void ExprPrinter::breakable(int strength) { out_ += layout::possible_break(depth_, strength); }

void ExprPrinter::expr(const Expr& e, int weakest) {
  // A tuple brings its own parentheses.
  const auto* list = std::get_if<List>(&e.node);
  const bool keep = e.parenthesised && !(list != nullptr && list->tuple);
  if (keep || strength(e) < weakest) {
    open("(");
    node(e);
    close(")");
  } else {
    node(e);
  }
}

void ExprPrinter::binary(std::string_view op, int strength, const Expr& left, const Expr& right) {
  const bool comparison = strength == 3;
  expr(left, comparison ? strength + 1 : strength);
  const bool letters = op[0] >= 'a' && op[0] <= 'z';
  const bool spaced = letters || comparison || tight_ == 0;
  if (spaced) out_ += ' ';
  out_ += op;
  if (spaced) {
    out_ += ' ';
    breakable(strength);
  }
  expr(right, strength + 1);
}

void ExprPrinter::node(const Expr& e) {
  std::visit(
      [&](const auto& n) {
        using T = std::decay_t<decltype(n)>;
        if constexpr (std::is_same_v<T, Invalid>) {
          out_ += "<invalid>";
        } else if constexpr (std::is_same_v<T, Number>) {
          out_ += n.text;
        } else if constexpr (std::is_same_v<T, NameUse>) {
          out_ += n.name;
        } else if constexpr (std::is_same_v<T, Unary>) {
          out_ += n.op == Op::neg ? "-" : "not ";
          expr(*n.operand, kUnaryStrength);
        } else if constexpr (std::is_same_v<T, Binary>) {
          const Infix op = infix(n.op);
          if (n.op == Op::pow) {
            expr(*n.left, kPostfixStrength);
            out_ += "**";
            expr(*n.right, kUnaryStrength);
          } else {
            binary(op.word, op.strength, *n.left, *n.right);
          }
        } else if constexpr (std::is_same_v<T, MatMul>) {
          binary("@", kProductStrength, *n.left, *n.right);
        } else if constexpr (std::is_same_v<T, Transpose>) {
          expr(*n.operand, kPostfixStrength);
          out_ += ".T";
        } else if constexpr (std::is_same_v<T, List>) {
          open(n.tuple ? "(" : "[");
          list(n.elements, ", ");
          close(n.tuple ? ")" : "]");
        } else if constexpr (std::is_same_v<T, Call>) {
          out_ += n.callee.text;
          arguments(n.arguments);
        } else if constexpr (std::is_same_v<T, Subscript>) {
          expr(*n.base, kPostfixStrength);
          subscripts(n.items);
        } else if constexpr (std::is_same_v<T, AxisForm>) {
          form(n);
        } else {
          const bool double_quote = n.spec.find('"') != std::string::npos;
          out_ += "einsum";
          open("(");
          out_ += double_quote ? "'" : "\"";
          out_ += n.spec;
          out_ += double_quote ? "'" : "\"";
          if (!n.operands.empty()) {
            out_ += ", ";
            breakable();
            list(n.operands, ", ");
          }
          close(")");
        }
      },
      e.node);
}

void ExprPrinter::list(const std::vector<ExprPtr>& elements, std::string_view separator) {
  bool first = true;
  for (const ExprPtr& element : elements) {
    if (!first) {
      out_ += separator;
      if (separator.back() == ' ') breakable();
    }
    expr(*element);
    first = false;
  }
}

void ExprPrinter::arguments(const std::vector<Argument>& arguments) {
  open("(");
  bool first = true;
  for (const Argument& argument : arguments) {
    if (!first) {
      out_ += ", ";
      breakable();
    }
    if (argument.keyword) out_ += argument.keyword->text + "=";
    expr(*argument.value);
    first = false;
  }
  close(")");
}

void ExprPrinter::range(const Range& range) {
  ++tight_;
  expr(*range.begin, 4);
  out_ += ':';
  expr(*range.end, 4);
  --tight_;
}

void ExprPrinter::form(const AxisForm& form) {
  out_ += form.head.text;
  open("[");
  const bool plain = std::all_of(form.axes.begin(), form.axes.end(), [](const Axis& a) { return !a.range && !a.target; });
  bool first = true;
  for (const Axis& axis : form.axes) {
    if (!first) out_ += plain ? "," : ", ";
    first = false;
    out_ += axis.name.text;
    if (axis.range) {
      out_ += " in ";
      range(*axis.range);
    }
    if (axis.target) out_ += " -> " + axis.target->text;
    if (axis.target_range) {
      out_ += " in ";
      range(*axis.target_range);
    }
  }
  if (form.domain) {
    out_ += " where ";
    breakable(kUnaryStrength);
    expr(*form.domain);
  }
  close("]");
  // Values are spaced again, also where the form stands in a subscript.
  const int tight = std::exchange(tight_, 0);
  arguments(form.arguments);
  tight_ = tight;
}

void ExprPrinter::item(const SubscriptItem& item) {
  std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, ExprPtr>) {
          expr(*value);
        } else if constexpr (std::is_same_v<T, Slice>) {
          if (value.begin) expr(*value.begin);
          out_ += ':';
          if (value.end) expr(*value.end);
          if (value.step) {
            out_ += ':';
            expr(*value.step);
          }
        } else if constexpr (std::is_same_v<T, NewAxis>) {
          out_ += "None";
        } else if constexpr (std::is_same_v<T, Ellipsis>) {
          out_ += "...";
        } else {
          out_ += "(" + value.first.text + "," + value.second.text + ")";
        }
      },
      item.value);
  if (item.range) {
    out_ += " in ";
    range(*item.range);
  }
}

void ExprPrinter::subscripts(const std::vector<SubscriptItem>& items) {
  const bool plain = std::all_of(items.begin(), items.end(), [](const SubscriptItem& i) { return is_plain(i); });
  open("[");
  ++tight_;
  bool first = true;
  for (const SubscriptItem& i : items) {
    if (!first) {
      out_ += plain ? "," : ", ";
      if (!plain) breakable();
    }
    item(i);
    first = false;
  }
  --tight_;
  close("]");
}

void ExprPrinter::target(const Target& target) {
  out_ += target.name.text;
  if (target.bracketed) subscripts(target.items);
}

void ExprPrinter::type(const Type& type) {
  out_ += type.element.text;
  if (!type.has_shape) return;
  const bool plain = std::all_of(type.shape.begin(), type.shape.end(), [](const ExprPtr& s) { return is_plain(s); });
  open("[");
  ++tight_;
  bool first = true;
  for (const ExprPtr& size : type.shape) {
    if (!first) out_ += plain ? "," : ", ";
    expr(*size, 4);
    first = false;
  }
  --tight_;
  close("]");
}

void ExprPrinter::let(const Let& let) {
  out_ += "let " + let.name.text;
  if (let.function) {
    out_ += '(';
    for (std::size_t i = 0; i < let.parameters.size(); ++i) out_ += (i == 0 ? "" : ", ") + let.parameters[i].text;
    out_ += ')';
  }
  out_ += " = ";
  expr(*let.value);
}

}  // namespace quern::dsl
