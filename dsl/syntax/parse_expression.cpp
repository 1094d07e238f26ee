// Expressions, by binding strength: ** (right), unary - not, * / div mod @, + -, comparisons (not chained), and, or.
// Operators of other languages (^ % && ...) are refused with the spelling to use, then read as that.
#include <algorithm>

#include "dsl/syntax/parser.h"
#include "dsl/syntax/walk.h"
#include "dsl/syntax/words.h"

namespace quern::dsl {

using namespace ast;
using ir::Op;

std::optional<Parser::Infix> Parser::infix(std::string_view word) {
  struct Row {
    std::string_view word;
    Infix infix;
  };
  static constexpr Row kRows[] = {
      {"**", {kPower, Op::pow, false, {}}},      {"*", {kProduct, Op::mul, false, {}}},
      {"/", {kProduct, Op::div, false, {}}},     {"div", {kProduct, Op::floordiv, false, {}}},
      {"mod", {kProduct, Op::mod, false, {}}},   {"@", {kProduct, Op::mul, true, {}}},
      {"+", {kSum, Op::add, false, {}}},         {"-", {kSum, Op::sub, false, {}}},
      {"==", {kCompare, Op::eq, false, {}}},     {"!=", {kCompare, Op::ne, false, {}}},
      {"<", {kCompare, Op::lt, false, {}}},      {"<=", {kCompare, Op::le, false, {}}},
      {">", {kCompare, Op::gt, false, {}}},      {">=", {kCompare, Op::ge, false, {}}},
      {"and", {kAnd, Op::and_, false, {}}},      {"or", {kOr, Op::or_, false, {}}},
      {"^", {kPower, Op::pow, false, "**"}},     {"%", {kProduct, Op::mod, false, "mod"}},
      {"&&", {kAnd, Op::and_, false, "and"}},    {"||", {kOr, Op::or_, false, "or"}},
      {"&", {kAnd, Op::and_, false, "and"}},     {"|", {kOr, Op::or_, false, "or"}},
  };
  for (const Row& row : kRows) {
    if (row.word == word) return row.infix;
  }
  return std::nullopt;
}

ExprPtr Parser::invalid() {
  auto result = std::make_unique<Expr>();
  result->span = peek().span;
  return result;
}

ExprPtr Parser::make(Span span, decltype(Expr::node) node) {
  auto result = std::make_unique<Expr>();
  result->span = span;
  result->node = std::move(node);
  int depth = 0;
  for_each_child(*result, [&](const Expr& child) { depth = std::max<int>(depth, child.depth); });
  if (depth >= kMaxTreeDepth && !panic_) {
    fail();
    diagnostics_.report<Code::nested_too_deeply>(span, kMaxTreeDepth).label("one expression").fix("give parts of it names of their own");
  }
  result->depth = static_cast<std::uint16_t>(std::min(depth + 1, kMaxTreeDepth));
  return result;
}

ExprPtr Parser::expression(int weakest) {
  if (panic_) return invalid();
  ExprPtr left = unary();
  return continue_expression(std::move(left), weakest);
}

ExprPtr Parser::continue_expression(ExprPtr left, int weakest) {
  bool compared = false;
  while (!panic_) {
    const Token& token = peek();
    if (token.kind != TokenKind::mark && token.kind != TokenKind::name) break;
    const auto op = infix(text(token));
    if (!op || op->strength < weakest || op->strength == kPower) break;
    // A new line outside brackets ends the statement, whatever it starts with.
    if (token.starts_line && nesting_ == 0) break;
    const Token written = take();
    if (!op->foreign.empty()) {
      diagnostics_.report<Code::foreign_operator>(written.span, text(written)).fix(fmt::format("write '{}'", op->foreign));
    }
    if (op->strength == kCompare) {
      if (compared) {
        const auto* chain = std::get_if<Binary>(&left->node);
        const std::string middle = chain != nullptr && chain->right ? std::string(source_.slice(chain->right->span)) : "b";
        diagnostics_.report<Code::chained_comparison>(written.span).label("a second comparison").fix(
            fmt::format("write 'and {} {} ...'", middle.size() < 40 ? middle : "b", text(written)));
        fail();
        break;
      }
      compared = true;
      const auto* negation = std::get_if<Unary>(&left->node);
      if (negation != nullptr && negation->op == Op::not_ && !left->parenthesised) {
        diagnostics_.report<Code::negated_comparison>(left->span, text(written)).fix("write 'not (a < b)', or turn the comparison round");
      }
    } else {
      compared = false;
    }
    ExprPtr right = expression(op->strength + 1);
    const Span span = join(left->span, right->span);
    if (op->matmul) left = make(span, MatMul{written.span, std::move(left), std::move(right)});
    else left = make(span, Binary{op->op, written.span, std::move(left), std::move(right)});
  }
  return left;
}

ExprPtr Parser::unary() {
  if (panic_) return invalid();
  struct Level {
    int& nesting;
    explicit Level(int& n) : nesting(n) { ++nesting; }
    ~Level() { --nesting; }
  };
  if (depth_ >= kMaxNesting) {
    fail();
    diagnostics_.report<Code::nested_too_deeply>(peek().span, kMaxNesting).fix("give the inner part a name of its own");
    return invalid();
  }
  const Level level(depth_);
  const Token token = peek();
  const std::uint32_t begin = token.span.begin;
  if (at("-") || at("not") || at("!") || at("~")) {
    const Op op = at("-") ? Op::neg : Op::not_;
    if (at("!") || at("~")) diagnostics_.report<Code::foreign_operator>(token.span, text()).fix("write 'not'");
    take();
    ExprPtr operand = unary();
    const Span span{begin, operand->span.end};
    return make(span, Unary{op, std::move(operand)});
  }
  ExprPtr base = postfix();
  if (!panic_ && (at("**") || at("^")) && !(peek().starts_line && nesting_ == 0)) {
    const Token written = take();
    if (text(written) == "^") diagnostics_.report<Code::foreign_operator>(written.span, "^").fix("write '**'");
    ExprPtr exponent = unary();
    const Span span = join(base->span, exponent->span);
    return make(span, Binary{Op::pow, written.span, std::move(base), std::move(exponent)});
  }
  return base;
}

ExprPtr Parser::postfix() {
  ExprPtr result = primary();
  while (!panic_ && !(peek().starts_line && nesting_ == 0)) {
    const std::uint32_t begin = result->span.begin;
    if (at("[")) {
      std::vector<SubscriptItem> items = subscripts(false);
      result = make(since(begin), Subscript{std::move(result), std::move(items)});
    } else if (at(".")) {
      const Token dot = take();
      if (accept("T")) {
        result = make(since(begin), Transpose{std::move(result)});
        continue;
      }
      const std::string_view word = at_name() ? text() : std::string_view{};
      Diagnostic& diagnostic = diagnostics_.report<Code::unknown_attribute>(at_name() ? peek().span : dot.span, word.substr(0, 40));
      if (at("(", 1)) diagnostic.fix(fmt::format("write a function: {}(x, ...)", word.substr(0, 40)));
      else if (word == "shape" || word == "size") diagnostic.fix("sizes are the names in the signature, as N in x: f32[N]");
      else diagnostic.fix("only '.T' (the transpose) stands behind a tensor");
      fail();
    } else if (at("(") && !std::holds_alternative<Number>(result->node)) {
      fail_expected("an operator").fix("only names are called: f(x)");
    } else {
      break;
    }
  }
  return result;
}

ExprPtr Parser::primary() {
  if (panic_) return invalid();
  const Token token = peek();
  if (token.kind == TokenKind::number) {
    take();
    std::string written(text(token));
    const bool hex = written.size() > 1 && (written[1] == 'x' || written[1] == 'X');
    if (token.real && !hex && (written.back() == 'f' || written.back() == 'F')) written.pop_back();
    return make(token.span, Number{std::move(written), token.real});
  }
  if (token.kind == TokenKind::name) return named();
  if (at("(") || at("[")) return bracketed();
  if (token.kind == TokenKind::string) {
    fail_expected("an expression").fix("strings stand only in einsum(\"ij,jk->ik\", a, b)");
  } else if (at(":") || at("...")) {
    diagnostics_.report<Code::misplaced_slice>(token.span, at(":") ? "':'" : "'...'").label("not an expression");
    fail();
  } else if (at_statement_end()) {
    // The line ended too early: point at its end, not at the next line.
    fail();
    const Span last = previous().span;
    Diagnostic& diagnostic = diagnostics_.report<Code::expected>(last, "an expression after this", at_end() ? "the end of the text" : "the end of the line");
    note_comment(diagnostic, last.end);
    if (nesting_ == 0 && peek().starts_line) diagnostic.note("a statement goes on over lines only inside brackets");
  } else {
    Diagnostic& diagnostic = fail_expected("an expression");
    if (at("+")) diagnostic.fix("leave the sign '+' out");
  }
  return invalid();
}

ExprPtr Parser::named() {
  const Token token = peek();
  const std::string_view word = text();
  if (word == "einsum") return einsum();
  const bool head = form_word(word) != nullptr;
  const bool same_line = !peek(1).starts_line || nesting_ > 0;
  if (at("[", 1) && same_line && (head || brackets_then_call())) return form();
  if (at("(", 1) && same_line) return call();
  take();
  if (word == "None") {
    diagnostics_.report<Code::misplaced_slice>(token.span, "None");
    fail();
    return invalid();
  }
  static constexpr std::string_view kConstants[] = {"inf", "nan", "pi", "true", "false"};
  const bool constant = std::find(std::begin(kConstants), std::end(kConstants), word) != std::end(kConstants);
  if (!constant && is_reserved(word)) {
    fail();
    Diagnostic& diagnostic = diagnostics_.report<Code::expected>(token.span, "an expression", fmt::format("the word '{}'", word));
    if (head) diagnostic.fix(fmt::format("write {0}[n](x[n]) or {0}(x, axis=0)", word));
    return invalid();
  }
  const std::string_view kept = word.substr(0, kMaxNameLength);
  return make(token.span, NameUse{std::string(kept)});
}

/// name[...](  is an axis form even when its head is misspelt.
bool Parser::brackets_then_call() const {
  int open = 0;
  for (std::size_t ahead = 1; ahead < 256; ++ahead) {
    if (peek(ahead).kind == TokenKind::end) return false;
    if (at("[", ahead) || at("(", ahead)) ++open;
    if (at("]", ahead) || at(")", ahead)) --open;
    if (open == 0) return at("(", ahead + 1) && !peek(ahead + 1).starts_line;
  }
  return false;
}

ExprPtr Parser::form() {
  AxisForm result;
  const Token head = take();
  result.head = {std::string(text(head)), head.span};
  if (const FormWord* word = form_word(result.head.text)) {
    result.kind = word->kind;
    result.reducer = word->reducer;
    result.map = word->map;
  } else {
    const std::string_view near = nearest(result.head.text, form_words());
    Diagnostic& diagnostic = diagnostics_.report<Code::unknown_form>(head.span, result.head.text.substr(0, 40));
    if (!near.empty()) diagnostic.fix(fmt::format("did you mean '{}'?", near));
    else diagnostic.note("name[axes](...) is a reduction or an axis map; name(...) calls a function");
  }
  const Token opener = take();
  ++nesting_;
  if (at("]")) {
    diagnostics_.report<Code::empty_brackets>(join(head.span, peek().span), result.head.text)
        .fix(fmt::format("name the axis: {}[n](...)", result.head.text));
    fail();
  }
  do {
    if (!within(result.axes, kMaxRank, "axes of one reduction")) break;
    result.axes.push_back(axis());
  } while (accept(","));
  if (accept("where")) result.domain = expression();
  close(opener, "]");
  --nesting_;
  if (!panic_ && !at("(")) {
    fail_expected(fmt::format("'(' and what {} acts on", result.head.text));
  } else {
    result.arguments = arguments();
  }
  if (panic_) return invalid();
  return make(since(head.span.begin), std::move(result));
}

Axis Parser::axis() {
  Axis result;
  const std::uint32_t begin = peek().span.begin;
  result.name = name("the name of an axis", "an axis");
  if (accept("in")) result.range = range();
  if (accept("->")) {
    result.target = name("the name of the new axis", "an axis");
    if (accept("in")) result.target_range = range();
  }
  result.span = since(begin);
  return result;
}

ExprPtr Parser::call() {
  Call result;
  const Token callee = take();
  result.callee = {std::string(text(callee)), callee.span};
  if (is_reserved(result.callee.text) && form_word(result.callee.text) == nullptr && result.callee.text != "where") {
    fail();
    diagnostics_.report<Code::expected>(callee.span, "an expression", fmt::format("the word '{}'", result.callee.text));
    return invalid();
  }
  result.arguments = arguments();
  if (panic_) return invalid();
  return make(since(callee.span.begin), std::move(result));
}

std::vector<Argument> Parser::arguments() {
  std::vector<Argument> result;
  const Token opener = peek();
  if (!expect("(", "'('")) return result;
  ++nesting_;
  if (!at(")")) {
    bool keywords = false;
    do {
      if (!within(result, kMaxItems, "arguments")) break;
      Argument argument;
      if (at_name() && at("=", 1)) {
        const Token keyword = take();
        argument.keyword = Name{std::string(text(keyword)), keyword.span};
        take();
        keywords = true;
      } else if (keywords) {
        diagnostics_.report<Code::positional_after_keyword>(peek().span).fix("put it before the named ones, or name it");
      }
      argument.value = expression();
      result.push_back(std::move(argument));
    } while (accept(","));
  }
  close(opener, ")");
  --nesting_;
  return result;
}

ExprPtr Parser::einsum() {
  Einsum result;
  const Token word = take();
  const Token opener = peek();
  if (!expect("(", "'(' and the subscripts of einsum")) return invalid();
  ++nesting_;
  const Token spec = peek();
  if (spec.kind != TokenKind::string) {
    fail_expected("the subscripts in quotes").fix("write einsum(\"ij,jk->ik\", a, b)");
  } else {
    take();
    std::string_view quoted = text(spec);
    const char quote = quoted.front();
    quoted.remove_prefix(1);
    if (!quoted.empty() && quoted.back() == quote) quoted.remove_suffix(1);
    result.spec = std::string(quoted);
    result.spec_span = spec.span;
    while (accept(",")) {
      if (!within(result.operands, 64, "operands of one einsum")) break;
      result.operands.push_back(expression());
    }
  }
  close(opener, ")");
  --nesting_;
  if (panic_) return invalid();
  return make(since(word.span.begin), std::move(result));
}

/// ( expression ), ( a, b ) or [ a, b ].
ExprPtr Parser::bracketed() {
  const Token opener = take();
  const bool round = text(opener) == "(";
  const std::string_view closer = round ? ")" : "]";
  List list;
  list.tuple = round;
  bool commas = false;
  ++nesting_;
  if (at(closer)) {
    diagnostics_.report<Code::empty_brackets>(join(opener.span, peek().span), round ? "()" : "[]").label("nothing inside");
    fail();
  }
  do {
    if (!within(list.elements, kMaxItems, "elements of one list")) break;
    list.elements.push_back(expression());
    commas = commas || at(",");
  } while (accept(","));
  close(opener, closer);
  --nesting_;
  if (panic_) return invalid();
  if (round && !commas) {
    ExprPtr inner = std::move(list.elements.front());
    inner->parenthesised = true;
    inner->span = since(opener.span.begin);
    return inner;
  }
  return make(since(opener.span.begin), std::move(list));
}

std::vector<SubscriptItem> Parser::subscripts(bool on_target) {
  std::vector<SubscriptItem> result;
  const Token opener = take();
  ++nesting_;
  if (at("]")) {
    diagnostics_.report<Code::empty_brackets>(join(opener.span, peek().span), "[]").fix("leave the brackets out for a single value");
    fail();
  }
  do {
    if (!within(result, kMaxRank, "subscripts")) break;
    result.push_back(subscript(on_target));
  } while (accept(","));
  close(opener, "]");
  --nesting_;
  return result;
}

SubscriptItem Parser::subscript(bool on_target) {
  SubscriptItem result;
  const std::uint32_t begin = peek().span.begin;
  if (panic_) return result;
  if (accept("None")) {
    result.value = NewAxis{};
  } else if (accept("...")) {
    result.value = Ellipsis{};
  } else if (at("(") && at_name(1) && at(",", 2) && at_name(3) && at(")", 4)) {
    take();
    Pair pair;
    pair.first = name("an index", "an index");
    take();
    pair.second = name("an index", "an index");
    take();
    result.value = std::move(pair);
  } else {
    const auto part_ends = [&] { return at(":") || at(",") || at("]"); };
    ExprPtr first = part_ends() ? nullptr : expression();
    if (!panic_ && at(":")) {
      Slice slice;
      slice.begin = std::move(first);
      take();
      if (!part_ends()) slice.end = expression();
      if (accept(":") && !part_ends()) slice.step = expression();
      result.value = std::move(slice);
    } else if (first == nullptr) {
      fail_expected("a subscript");
      result.value = invalid();
    } else {
      result.value = std::move(first);
    }
  }
  if (on_target && accept("in")) result.range = range();
  if (!on_target && !panic_ && at("in")) {
    fail_expected("',' or ']'").fix("a range stands on the left side, or with a reducer: sum[n in 0:N](...)");
  }
  result.span = since(begin);
  return result;
}

}  // namespace quern::dsl
