// The parser's state and its functions, one per rule of the grammar; their bodies are in parse.cpp (files and kernels),
// parse_statement.cpp and parse_expression.cpp. The one idea: the first error of a statement raises `panic_`, every
// function then returns at once, and the loop over statements finds the next place to go on. One mistake, one message.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "dsl/syntax/ast.h"
#include "dsl/syntax/lexer.h"
#include "dsl/syntax/limits.h"
#include "dsl/text/diagnostic.h"

namespace quern::dsl {

class Parser {
 public:
  Parser(const Source& source, Diagnostics& diagnostics);
  ast::File file();

 private:
  // Binding strength of infix operators, weakest first.
  enum Strength : int { kAny = 0, kOr = 1, kAnd = 2, kCompare = 3, kSum = 4, kProduct = 5, kUnary = 6, kPower = 7 };

  // --- tokens (parse.cpp)
  const Token& peek(std::size_t ahead = 0) const;
  const Token& previous() const;
  std::string_view text(const Token& token) const { return source_.slice(token.span); }
  std::string_view text(std::size_t ahead = 0) const { return text(peek(ahead)); }
  bool at(std::string_view mark_or_word, std::size_t ahead = 0) const;
  bool at_name(std::size_t ahead = 0) const { return peek(ahead).kind == TokenKind::name; }
  bool at_end() const { return peek().kind == TokenKind::end; }
  Token take();
  bool accept(std::string_view mark_or_word);
  bool expect(std::string_view mark_or_word, std::string_view what);
  /// Closes the bracket opened by `opener`; a line that starts anew means that it was forgotten.
  bool close(const Token& opener, std::string_view mark);
  std::string describe(const Token& token) const;
  Diagnostic& fail_expected(std::string_view what);
  void fail() { panic_ = true; }
  /// A comment '//' between `begin` and here, where an operand may be missing.
  void note_comment(Diagnostic& diagnostic, std::uint32_t begin) const;
  ast::Name name(std::string_view what, std::string_view role);
  Span since(std::uint32_t begin) const;

  // --- files and kernels (parse.cpp)
  void skip_to_item();
  ast::Kernel kernel();
  void annotation(ast::Kernel& kernel);
  ast::CompileTime compile_time();
  ast::Parameter parameter();
  ast::Output output();
  ast::Type type();
  ast::Range range();
  void body(ast::Kernel& kernel);

  // --- statements (parse_statement.cpp)
  bool at_statement_end() const;
  void end_statement();
  void skip_to_statement(std::size_t first_token);
  bool looks_like_statement(std::size_t token) const;
  std::optional<ast::Statement> statement();
  ast::Let let();
  ast::Assign assign();
  ast::Target target();
  void refuse_statement();

  // --- expressions (parse_expression.cpp)
  struct Infix {
    Strength strength;
    ir::Op op;
    bool matmul = false;
    std::string_view foreign;  // the spelling to use instead
  };
  static std::optional<Infix> infix(std::string_view word);
  ast::ExprPtr expression(int weakest = kAny);
  ast::ExprPtr continue_expression(ast::ExprPtr left, int weakest);
  ast::ExprPtr unary();
  ast::ExprPtr postfix();
  ast::ExprPtr primary();
  ast::ExprPtr named();
  ast::ExprPtr form();
  ast::ExprPtr call();
  ast::ExprPtr einsum();
  ast::ExprPtr bracketed();
  ast::Axis axis();
  std::vector<ast::Argument> arguments();
  std::vector<ast::SubscriptItem> subscripts(bool on_target);
  ast::SubscriptItem subscript(bool on_target);
  bool brackets_then_call() const;
  ast::ExprPtr make(Span span, decltype(ast::Expr::node) node);
  ast::ExprPtr invalid();
  template <typename List>
  bool within(const List& list, std::size_t limit, std::string_view what);

  const Source& source_;
  Diagnostics& diagnostics_;
  Tokens tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;  // open brackets of the statement: a new line ends it only at 0
  int depth_ = 0;    // of the recursion
  bool panic_ = false;
};

template <typename List>
bool Parser::within(const List& list, std::size_t limit, std::string_view what) {
  if (list.size() < limit) return true;
  diagnostics_.report<Code::too_many_items>(peek().span, limit, what);
  fail();
  return false;
}

}  // namespace quern::dsl
