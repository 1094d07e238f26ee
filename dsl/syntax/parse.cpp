// Files, kernels and signatures; the handling of tokens and of errors that all rules share.
#include "dsl/syntax/parse.h"

#include <algorithm>

#include "dsl/syntax/parser.h"
#include "dsl/syntax/words.h"

namespace quern::dsl {

using namespace ast;

ast::File parse(const Source& source, Diagnostics& diagnostics) { return Parser(source, diagnostics).file(); }

Parser::Parser(const Source& source, Diagnostics& diagnostics)
    : source_(source), diagnostics_(diagnostics), tokens_(tokenize(source, diagnostics)) {}

// --- tokens ----------------------------------------------------------------------------------------------------------

const Token& Parser::peek(std::size_t ahead) const {
  return tokens_.list[std::min(at_ + ahead, tokens_.list.size() - 1)];
}

const Token& Parser::previous() const { return tokens_.list[at_ == 0 ? 0 : at_ - 1]; }

bool Parser::at(std::string_view mark_or_word, std::size_t ahead) const {
  const Token& token = peek(ahead);
  return (token.kind == TokenKind::mark || token.kind == TokenKind::name) && text(token) == mark_or_word;
}

Token Parser::take() {
  const Token token = peek();
  if (at_ + 1 < tokens_.list.size()) ++at_;
  return token;
}

bool Parser::accept(std::string_view mark_or_word) {
  if (panic_ || !at(mark_or_word)) return false;
  take();
  return true;
}

bool Parser::expect(std::string_view mark_or_word, std::string_view what) {
  if (panic_) return false;
  if (accept(mark_or_word)) return true;
  fail_expected(what);
  return false;
}

std::string Parser::describe(const Token& token) const {
  const std::string_view written = text(token).substr(0, 40);
  switch (token.kind) {
    case TokenKind::end: return "the end of the text";
    case TokenKind::string: return "a string";
    case TokenKind::number: return fmt::format("the number {}", written);
    default: return fmt::format("'{}'", written);
  }
}

Diagnostic& Parser::fail_expected(std::string_view what) {
  fail();
  // At a line's start the mistake is most often at the end of the line before.
  Diagnostic& diagnostic = diagnostics_.report<Code::expected>(peek().span, what, describe(peek()));
  note_comment(diagnostic, previous().span.end);
  return diagnostic;
}

void Parser::note_comment(Diagnostic& diagnostic, std::uint32_t begin) const {
  for (const Comment& comment : tokens_.comments) {
    if (comment.span.begin < begin || comment.span.end > peek().span.begin || comment.text[0] != '/') continue;
    diagnostic.note("'//' starts a comment", comment.span).fix("write 'div' for a floor division, '/' for a real one");
    return;
  }
}

bool Parser::close(const Token& opener, std::string_view mark) {
  if (panic_) return false;
  if (accept(mark)) return true;
  if (!peek().starts_line) {
    fail_expected(fmt::format("',' or '{}'", mark));
    return false;
  }
  fail();
  Diagnostic& diagnostic = diagnostics_.report<Code::unclosed_bracket>(opener.span, text(opener));
  diagnostic.label("opened here").note(fmt::format("found {} where '{}' is missing", describe(peek()), mark), peek().span);
  diagnostic.fix(fmt::format("add '{}'", mark));
  note_comment(diagnostic, opener.span.end);
  return false;
}

Name Parser::name(std::string_view what, std::string_view role) {
  if (panic_) return {};
  if (!at_name()) {
    fail_expected(what);
    return {};
  }
  const Token token = take();
  Name result{std::string(text(token)), token.span};
  if (result.text.size() > kMaxNameLength) result.text.resize(kMaxNameLength);
  if (is_reserved(result.text)) {
    diagnostics_.report<Code::reserved_name>(token.span, result.text, role).fix(
        fmt::format("choose another name, for instance '{}_'", result.text));
  }
  return result;
}

Span Parser::since(std::uint32_t begin) const { return {begin, std::max(begin, previous().span.end)}; }

// --- files -----------------------------------------------------------------------------------------------------------

File Parser::file() {
  File file;
  while (!at_end() && !diagnostics_.full()) {
    panic_ = false;
    nesting_ = 0;
    depth_ = 0;
    const std::uint32_t begin = peek().span.begin;
    const std::size_t first = at_;
    if (at("kernel") || at("@")) {
      Kernel kernel = this->kernel();
      kernel.span = since(begin);
      file.items.push_back({kernel.span, std::move(kernel)});
    } else if (at("let")) {
      Let function = let();
      if (!panic_) end_statement();
      file.items.push_back({since(begin), std::move(function)});
    } else {
      constexpr std::string_view kWords[] = {"kernel", "let"};
      Diagnostic& diagnostic = fail_expected("'kernel', 'let' or '@'");
      const std::string_view near = at_name() ? nearest(text(), kWords) : std::string_view{};
      const std::string_view remedy = at_name() ? foreign_statement_remedy(text()) : std::string_view{};
      if (!near.empty()) diagnostic.fix(fmt::format("did you mean '{}'?", near));
      else if (!remedy.empty()) diagnostic.fix(std::string(remedy));
      else diagnostic.fix("put statements into 'kernel name(...) -> (...) { ... }'");
    }
    if (panic_) skip_to_item();
    if (at_ == first && !at_end()) take();
  }
  file.comments = std::move(tokens_.comments);
  return file;
}

void Parser::skip_to_item() {
  // A line that starts with 'kernel', '@name' before one, or an outermost 'let'.
  while (!at_end()) {
    if (peek().starts_line && (at("kernel") || (at("@") && at_name(1)))) return;
    if (peek().starts_line && at("let") && source_.position(peek().span.begin).column == 1) return;
    take();
  }
}

void Parser::annotation(Kernel& kernel) {
  take();
  if (!at_name()) {
    fail_expected("the name of an annotation");
    return;
  }
  const Token token = take();
  const std::string_view word = text(token);
  const auto known = annotation_words();
  if (std::find(known.begin(), known.end(), word) == known.end()) {
    const std::string_view near = nearest(word, known);
    Diagnostic& diagnostic = diagnostics_.report<Code::unknown_annotation>(token.span, word.substr(0, 40));
    if (!near.empty()) diagnostic.fix(fmt::format("did you mean '@{}'?", near));
    else diagnostic.note("annotations are @precise @fast @tf32 @deterministic @trusted @fused");
    return;
  }
  for (const Name& other : kernel.annotations) {
    if (other.text == word) {
      diagnostics_.report<Code::repeated_annotation>(token.span, word).fix("keep one");
      return;
    }
  }
  kernel.annotations.push_back({std::string(word), token.span});
}

Kernel Parser::kernel() {
  Kernel kernel;
  nesting_ = 1;  // a signature may go over lines anywhere
  while (!panic_ && at("@")) annotation(kernel);
  if (!expect("kernel", "'kernel'")) return kernel;
  kernel.name = name("the kernel's name", "a kernel");
  if (!panic_ && at("<")) {
    const Token opener = take();
    kernel.has_compile_time = true;
    if (at(">")) {
      diagnostics_.report<Code::empty_brackets>(opener.span, "<>").fix("leave '<>' out");
    } else {
      do {
        if (!within(kernel.compile_time, kMaxItems, "compile-time names")) break;
        kernel.compile_time.push_back(compile_time());
      } while (accept(","));
    }
    close(opener, ">");
  }
  if (panic_) return kernel;
  const Token opener = peek();
  if (!expect("(", "'(' and the parameters")) return kernel;
  if (!at(")")) {
    do {
      if (!within(kernel.parameters, kMaxItems, "parameters")) break;
      kernel.parameters.push_back(parameter());
    } while (accept(","));
  }
  close(opener, ")");
  if (accept("->")) {
    kernel.has_outputs = true;
    const Token outputs = peek();
    if (!expect("(", "'(' and the outputs")) return kernel;
    do {
      if (!within(kernel.outputs, kMaxItems, "outputs")) break;
      kernel.outputs.push_back(output());
    } while (accept(","));
    close(outputs, ")");
  }
  if (panic_) return kernel;
  body(kernel);
  return kernel;
}

void Parser::body(Kernel& kernel) {
  const Token opener = peek();
  if (!expect("{", kernel.has_outputs ? "'{' and the statements" : "'->' and the outputs, or '{'")) return;
  while (!at_end() && !diagnostics_.full()) {
    if (accept(";")) continue;
    if (at("}")) {
      take();
      return;
    }
    if (peek().starts_line && at("kernel") && at_name(1)) break;
    const std::size_t first = at_;
    nesting_ = 0;
    if (auto statement = this->statement()) kernel.body.push_back(std::move(*statement));
    if (!panic_) end_statement();
    if (panic_) skip_to_statement(first);
    panic_ = false;
    if (at_ == first) take();
  }
  if (diagnostics_.full()) return;
  diagnostics_.report<Code::unclosed_bracket>(opener.span, "{").label("opened here").fix("add '}' after the last statement");
}

// --- signatures ------------------------------------------------------------------------------------------------------

CompileTime Parser::compile_time() {
  CompileTime result;
  const std::uint32_t begin = peek().span.begin;
  result.name = name("a compile-time name", "a compile-time value");
  if (accept(":")) {
    result.kind_written = true;
    if (accept("int")) result.kind = CompileTimeKind::integer;
    else if (accept("bool")) result.kind = CompileTimeKind::boolean;
    else if (accept("type")) result.kind = CompileTimeKind::type;
    else fail_expected("'int', 'bool' or 'type'");
  }
  // '>' closes the list, so a comparison cannot be a default.
  if (accept("=")) result.default_value = expression(kSum);
  result.span = since(begin);
  return result;
}

Type Parser::type() {
  Type result;
  const std::uint32_t begin = peek().span.begin;
  if (panic_) return result;
  if (!at_name()) {
    fail_expected("an element type");
    return result;
  }
  const Token token = take();
  result.element = {std::string(text(token)), token.span};
  if (at("[") && !peek().starts_line) {
    const Token opener = take();
    result.has_shape = true;
    if (at("]")) {
      diagnostics_.report<Code::empty_brackets>(opener.span, fmt::format("{}[]", result.element.text))
          .fix(fmt::format("write '{}' for a single value", result.element.text));
    } else {
      do {
        if (!within(result.shape, kMaxRank, "axes")) break;
        result.shape.push_back(expression(kSum));
      } while (accept(","));
    }
    close(opener, "]");
  }
  result.span = since(begin);
  return result;
}

Range Parser::range() {
  Range result;
  result.begin = expression(kSum);
  if (expect(":", "':' and the end of the range")) result.end = expression(kSum);
  return result;
}

Parameter Parser::parameter() {
  Parameter result;
  const std::uint32_t begin = peek().span.begin;
  result.inout = accept("inout");
  result.name = name("a parameter", "a parameter");
  if (!expect(":", fmt::format("':' and the type of '{}'", result.name.text))) return result;
  result.type = type();
  while (!panic_ && (at("in") || at("nondecreasing"))) {
    if (!within(result.facts, 8, "facts about one parameter")) break;
    Fact fact;
    const std::uint32_t fact_begin = peek().span.begin;
    fact.nondecreasing = at("nondecreasing");
    take();
    if (!fact.nondecreasing) fact.range = range();
    fact.span = since(fact_begin);
    result.facts.push_back(std::move(fact));
  }
  if (accept("=")) result.default_value = expression();
  result.span = since(begin);
  return result;
}

Output Parser::output() {
  Output result;
  const std::uint32_t begin = peek().span.begin;
  result.name = name("an output", "an output");
  if (expect(":", fmt::format("':' and the type of '{}'", result.name.text))) result.type = type();
  result.span = since(begin);
  return result;
}

}  // namespace quern::dsl
