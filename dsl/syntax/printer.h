// Expressions and signatures to text with possible line breaks (layout.h); print.cpp puts lines and comments together.
// The one idea: parentheses are written where the binding strengths ask for them or the author wrote them.
#pragma once

#include <string>

#include "dsl/syntax/ast.h"

namespace quern::dsl {

class ExprPrinter {
 public:
  std::string take() { return std::move(out_); }
  void expr(const ast::Expr& expr, int weakest = 0);
  void target(const ast::Target& target);
  void subscripts(const std::vector<ast::SubscriptItem>& items);
  void range(const ast::Range& range);
  void word(std::string_view text) { out_ += text; }
  void breakable(int strength = 0);
  void type(const ast::Type& type);
  void let(const ast::Let& let);
  void open(std::string_view bracket) { out_ += bracket; ++depth_; }
  void close(std::string_view bracket) { out_ += bracket; --depth_; }

 private:
  void node(const ast::Expr& expr);
  void binary(std::string_view op, int strength, const ast::Expr& left, const ast::Expr& right);
  void arguments(const std::vector<ast::Argument>& arguments);
  void form(const ast::AxisForm& form);
  void list(const std::vector<ast::ExprPtr>& elements, std::string_view separator);
  void item(const ast::SubscriptItem& item);

  std::string out_;
  int depth_ = 0;   // open brackets
  int tight_ = 0;   // inside subscripts and sizes arithmetic is written without spaces
};

}  // namespace quern::dsl
