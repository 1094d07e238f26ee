// Statements, and where to go on after a mistake in one.
#include <algorithm>

#include "dsl/syntax/parser.h"
#include "dsl/syntax/words.h"

namespace quern::dsl {

using namespace ast;

bool Parser::at_statement_end() const { return at_end() || peek().starts_line || at(";") || at("}"); }

void Parser::end_statement() {
  if (at_statement_end()) return;
  if (at("if") || at("?")) {
    fail_expected("the end of the statement").fix("choose values with where(condition, a, b)");
  } else {
    Diagnostic& diagnostic = fail_expected("an operator or the end of the statement");
    if (at("=")) diagnostic.fix("compare with '=='; a statement assigns once");
    else if (at_name() || peek().kind == TokenKind::number) diagnostic.fix("write '*' for a product; begin another statement on a new line or after ';'");
  }
}

/// A line that can only be the start of a statement: a keyword, or  name [..] =  with its brackets on one line.
bool Parser::looks_like_statement(std::size_t token) const {
  const auto word = [&](std::size_t i) { return i < tokens_.list.size() ? text(tokens_.list[i]) : std::string_view{}; };
  const std::string_view first = word(token);
  if (first == "let" || first == "view" || first == "require" || first == "}" || first == "kernel") return true;
  if (tokens_.list[token].kind != TokenKind::name) return false;
  std::size_t i = token + 1;
  int open = 0;
  for (; i < tokens_.list.size() && i < token + 64 && !tokens_.list[i].starts_line; ++i) {
    const std::string_view w = word(i);
    if (w == "[" || w == "(") ++open;
    else if (w == "]" || w == ")") --open;
    else if (open == 0) break;
    if (open < 0) return false;
  }
  const std::string_view w = word(i);
  return open == 0 && (w == "=" || w == "+=" || ((w == "max" || w == "min") && word(i + 1) == "="));
}

void Parser::skip_to_statement(std::size_t first_token) {
  int open = 0;
  for (std::size_t i = first_token; i < at_; ++i) {
    const std::string_view w = text(tokens_.list[i]);
    if (w == "(" || w == "[") ++open;
    if (w == ")" || w == "]") --open;
  }
  while (!at_end()) {
    if (at_ > first_token && peek().starts_line && (open <= 0 || looks_like_statement(at_))) return;
    if (at("}") || (open <= 0 && at(";"))) return;
    if (at("(") || at("[")) ++open;
    if (at(")") || at("]")) --open;
    take();
  }
}

std::optional<Statement> Parser::statement() {
  const std::uint32_t begin = peek().span.begin;
  Statement result;
  if (at("let")) {
    result.node = let();
  } else if (accept("view")) {
    View view;
    view.target = target();
    expect("=", "'='");
    view.value = expression();
    result.node = std::move(view);
  } else if (accept("require")) {
    result.node = Require{expression()};
  } else if (at_name() && (at("[", 1) || at("=", 1) || at(",", 1) || at("+=", 1) || ((at("max", 1) || at("min", 1)) && at("=", 2)))) {
    result.node = assign();
  } else {
    refuse_statement();
  }
  if (panic_) return std::nullopt;
  result.span = since(begin);
  return result;
}

void Parser::refuse_statement() {
  constexpr std::string_view kWords[] = {"let", "view", "require"};
  if (!at_name()) {
    fail_expected("a statement");
    return;
  }
  const std::string_view word = text();
  const std::string_view remedy = foreign_statement_remedy(word);
  const std::string_view near = at_name(1) && !peek(1).starts_line ? nearest(word, kWords) : std::string_view{};
  if (!remedy.empty() || !near.empty()) {
    fail();
    diagnostics_.report<Code::unknown_statement>(peek().span, word)
        .fix(near.empty() ? std::string(remedy) : fmt::format("did you mean '{}'?", near));
    return;
  }
  take();
  Diagnostic& diagnostic = fail_expected("'='");
  diagnostic.label(fmt::format("'{}' is not assigned", word.substr(0, 40)));
  if (at("==") || at(":=")) diagnostic.fix("write '='");
  else if (at("-=")) diagnostic.fix("write += -(...): a scatter adds");
  else diagnostic.fix("a statement is  name = ...,  name[i,j] = ...,  let,  view  or  require");
}

Let Parser::let() {
  Let result;
  take();
  result.name = name("a name", "a function or scalar");
  if (!panic_ && at("(")) {
    const Token opener = take();
    result.function = true;
    do {
      if (!within(result.parameters, 64, "parameters of one function")) break;
      result.parameters.push_back(name("a parameter", "a parameter"));
    } while (accept(","));
    close(opener, ")");
  }
  if (expect("=", "'='")) result.value = expression();
  return result;
}

Assign Parser::assign() {
  Assign result;
  do {
    if (!within(result.targets, kMaxRank, "targets of one statement")) break;
    result.targets.push_back(target());
  } while (accept(","));
  if (panic_) return result;
  const std::uint32_t begin = peek().span.begin;
  if (accept("+=")) {
    result.op = ir::AssignOp::add;
  } else if ((at("max") || at("min")) && at("=", 1)) {
    result.op = at("max") ? ir::AssignOp::max : ir::AssignOp::min;
    take();
    take();
  } else if (at("-=") || at("*=") || at("/=")) {
    const std::string_view word = text();
    fail();
    diagnostics_.report<Code::foreign_operator>(peek().span, word)
        .fix(word == "-=" ? "write += -(...): a scatter adds" : "a scatter combines with +=, max= or min=");
    return result;
  } else if (at("==") || at(":=")) {
    fail_expected("'='").fix("write '='");
    return result;
  } else if (!expect("=", "'=', '+=', 'max=' or 'min='")) {
    return result;
  }
  result.op_span = since(begin);
  result.value = expression();
  return result;
}

Target Parser::target() {
  Target result;
  const std::uint32_t begin = peek().span.begin;
  result.name = name("a name", "a tensor");
  if (!panic_ && at("[")) {
    result.bracketed = true;
    result.items = subscripts(true);
  }
  result.span = since(begin);
  return result;
}

}  // namespace quern::dsl
