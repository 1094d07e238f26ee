// A program in a literal, looked at while the C++ is compiled:
//
//   using namespace quern::literals;
//   const quern::Kernel f("kernel f(x: f32[M,N]) -> (s: f32[M]) { s[m] = sum[n](x[m,n]) }"_quern);
//
// What is found then: bytes and brackets that do not fit, every rule of the grammar of statements and expressions, names and
// free indices that nothing defines (an index on the right that the left lacks), too many or too few subscripts, the count of
// einsum's operands. The compiler's message names mistake_on_line<3> and fail("what is wrong"). Everything else (types,
// sizes, ranges, numbers) is found when the Kernel is made, as for any string. A program that a Kernel accepts is never refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace quern {
inline namespace v0 {
namespace literal {

/// What is wrong, and the byte where; null: nothing was found.
struct Mistake {
  const char* what = nullptr;
  std::uint32_t at = 0;
};

/// Words and marks as numbers: comparing text is what takes a compiler's evaluator its time.
constexpr std::uint32_t kStart = 2166136261u;
constexpr std::uint32_t mixed(std::uint32_t hash, char c) { return (hash ^ static_cast<unsigned char>(c)) * 16777619u; }
consteval std::uint32_t operator""_w(const char* text, std::size_t size) {
  std::uint32_t code = 0;
  const bool name = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z');
  if (name) code = kStart;
  for (std::size_t i = 0; i < size; ++i) code = name ? mixed(code, text[i]) : code << 8 | static_cast<unsigned char>(text[i]);
  return name ? code | 0x80000000u : code;
}

/// What a byte can begin or continue.
struct Classes {
  enum : unsigned char { other, space, letter, digit, mark };
  unsigned char of[256] = {};
  consteval Classes() {
    for (const char c : {' ', '\t', '\r', '\f', '\v'}) of[static_cast<unsigned char>(c)] = space;
    for (int c = 'a'; c <= 'z'; ++c) of[c] = of[c - 32] = letter;
    of[static_cast<unsigned char>('_')] = letter;
    for (int c = '0'; c <= '9'; ++c) of[c] = digit;
    for (const char c : std::string_view("()[]{}<>=+-*/@,;:.^%!&|~?")) of[static_cast<unsigned char>(c)] = mark;
  }
};
inline constexpr Classes kClasses;

/// Not constexpr on purpose: being reached is the error.
inline void the_program_in_this_literal_is_wrong() {}

class Reader {
 public:
  /// `refusing`: a mistake ends the evaluation.
  constexpr explicit Reader(std::string_view text, bool refusing = false) : text_(text.data()), size_(text.size()), refusing_(refusing) {}

  constexpr Mistake read() {
    tokenize();
    for (std::uint32_t i = 0; going() && i + 1 < count_; ++i)  // functions may stand behind the kernels that use them
      if (tokens_[i].kind == Kind::name && code(i) == "let"_w) declare(i + 1, kUnknown);
    shared_ = known_count_;
    while (going() && !at_end()) item();
    return given_up_ ? Mistake{} : mistake_;
  }

 private:
  enum class Kind : std::uint8_t { end, name, number, string, mark };
  struct Token {
    Kind kind;
    bool starts_line;
    std::uint32_t begin, end, code;  // of a name or mark
  };
  struct Known {
    std::uint32_t code;
    int rank;
  };
  // Beyond these, and beyond kDepth brackets, the rest is left to the Kernel: the compiler's own limits are near.
  static constexpr std::uint32_t kTokens = 2048, kNames = 256;
  static constexpr int kDepth = 40, kUnknown = -1;

  // --- bytes to tokens -------------------------------------------------------------------------------------------------
  constexpr unsigned char class_at(std::size_t i) const { return i < size_ ? kClasses.of[static_cast<unsigned char>(text_[i])] : static_cast<unsigned char>(0); }
  constexpr char byte(std::size_t i) const { return i < size_ ? text_[i] : '\0'; }

  constexpr void tokenize() {
    std::size_t i = byte(0) == '\xEF' && byte(1) == '\xBB' && byte(2) == '\xBF' ? 3 : 0;
    bool line = true;
    while (i < size_ && !mistake_.what) {
      const char c = text_[i];
      const std::size_t begin = i;
      const unsigned char kind = kClasses.of[static_cast<unsigned char>(c)];
      if (kind == Classes::space) { ++i; continue; }
      if (c == '\n') { line = true; ++i; continue; }
      if (c == '#' || (c == '/' && byte(i + 1) == '/')) {
        while (i < size_ && text_[i] != '\n') ++i;
        continue;
      }
      if (count_ + 1 >= kTokens) { given_up_ = true; return; }
      Token& t = tokens_[count_++];
      t.starts_line = line;
      t.begin = static_cast<std::uint32_t>(begin);
      t.code = 0;
      line = false;
      if (kind == Classes::letter) {
        t.kind = Kind::name;
        std::uint32_t hash = kStart;
        for (; i < size_; ++i) {
          const unsigned char k = kClasses.of[static_cast<unsigned char>(text_[i])];
          if (k != Classes::letter && k != Classes::digit) break;
          hash = (hash ^ static_cast<unsigned char>(text_[i])) * 16777619u;
        }
        t.code = hash | 0x80000000u;
      } else if (kind == Classes::digit || (c == '.' && class_at(i + 1) == Classes::digit)) {
        t.kind = Kind::number;
        i = end_of_number(i);
      } else if (c == '"' || c == '\'') {
        t.kind = Kind::string;
        for (++i; i < size_ && text_[i] != c && text_[i] != '\n'; ++i) {}
        if (byte(i) != c) fail_at("a string that is not closed", begin);
        else ++i;
      } else if (kind == Classes::mark) {
        t.kind = Kind::mark;
        for (std::size_t n = length_of_mark(i); n > 0; --n) t.code = t.code << 8 | static_cast<unsigned char>(text_[i++]);
      } else {
        t.kind = Kind::mark;
        fail_at("a character that no program has", begin);
      }
      t.end = static_cast<std::uint32_t>(i);
    }
    const auto end = static_cast<std::uint32_t>(size_);
    tokens_[count_] = {Kind::end, true, end, end, 0};
  }
  constexpr std::size_t end_of_number(std::size_t i) const {
    const std::size_t begin = i;
    const bool hex = text_[i] == '0' && (byte(i + 1) | 0x20) == 'x';
    const auto goes_on = [](unsigned char k) { return k == Classes::letter || k == Classes::digit; };
    for (; i < size_; ++i) {
      const char c = text_[i];
      if (c == '.') {
        if (byte(i + 1) == '.') break;
      } else if (c == '+' || c == '-') {
        if (i == begin || (text_[i - 1] | 0x20) != (hex ? 'p' : 'e')) break;
      } else if (c == '\'') {
        if (!goes_on(class_at(i + 1))) break;
      } else if (!goes_on(class_at(i))) {
        break;
      }
    }
    return i;
  }
  constexpr std::size_t length_of_mark(std::size_t i) const {
    const char c = text_[i], d = byte(i + 1);
    if (c == '.' && d == '.' && byte(i + 2) == '.') return 3;
    if ((c == '*' && d == '*') || (c == '-' && d == '>')) return 2;
    return d == '=' && (c == '=' || c == '!' || c == '<' || c == '>' || c == '+' || c == '-' || c == '*' || c == '/' || c == ':') ? 2 : 1;
  }

  // --- tokens ----------------------------------------------------------------------------------------------------------
  constexpr bool going() const { return !mistake_.what && !given_up_; }
  constexpr void fail_at(const char* what, std::size_t at) {
    if (refusing_) the_program_in_this_literal_is_wrong();
    if (!mistake_.what) mistake_ = {what, static_cast<std::uint32_t>(at)};
  }
  /// Always false.
  constexpr bool fail(const char* what) {
    fail_at(what, tokens_[at_].begin);
    return false;
  }
  constexpr std::uint32_t code(std::uint32_t i) const { return tokens_[i < count_ ? i : count_].code; }
  constexpr const Token& peek(std::uint32_t ahead = 0) const { return tokens_[at_ + ahead < count_ ? at_ + ahead : count_]; }
  constexpr bool at_end() const { return at_ >= count_; }
  constexpr bool at(std::uint32_t w, std::uint32_t ahead = 0) const { return tokens_[at_ + ahead < count_ ? at_ + ahead : count_].code == w; }
  constexpr bool at_name(std::uint32_t ahead = 0) const { return peek(ahead).kind == Kind::name; }
  constexpr bool accept(std::uint32_t w) {
    if (!going() || !at(w)) return false;
    ++at_;
    return true;
  }
  constexpr bool expect(std::uint32_t w, const char* what) { return going() && (accept(w) || fail(what)); }
  constexpr bool new_statement() const { return peek().starts_line && nesting_ == 0; }

  // --- names -----------------------------------------------------------------------------------------------------------
  constexpr void declare(std::uint32_t token, int rank) {
    if (tokens_[token].kind != Kind::name) return;
    if (known_count_ == kNames) { given_up_ = true; return; }
    known_[known_count_++] = {tokens_[token].code, rank};
  }
  /// The latest declaration.
  constexpr const Known* find(std::uint32_t hash) const {
    for (std::uint32_t i = known_count_; i-- > 0;)
      if (known_[i].code == hash) return &known_[i];
    return nullptr;
  }
  constexpr bool is_index(std::uint32_t hash) const {
    for (std::uint32_t i = 0; i < index_count_; ++i)
      if (indices_[i] == hash) return true;
    return false;
  }
  constexpr void bind_index(std::uint32_t token) {
    if (tokens_[token].kind != Kind::name) return;
    if (index_count_ == kNames) { given_up_ = true; return; }
    indices_[index_count_++] = tokens_[token].code;
  }
  static constexpr bool is_form(std::uint32_t w) {
    switch (w) {
      case "sum"_w: case "prod"_w: case "max"_w: case "min"_w: case "any"_w: case "all"_w: case "argmax"_w: case "argmin"_w: case "count"_w:
      case "mean"_w: case "var"_w: case "std"_w: case "norm"_w: case "logsumexp"_w: case "softmax"_w: case "log_softmax"_w: case "cumsum"_w:
      case "cumprod"_w: case "cummax"_w: case "cummin"_w: case "sort"_w: case "argsort"_w: case "scan"_w: case "topk"_w: return true;
      default: return false;
    }
  }
  /// Words that stand for a value without being defined.
  static constexpr bool is_value(std::uint32_t w) {
    switch (w) {
      case "inf"_w: case "nan"_w: case "pi"_w: case "true"_w: case "false"_w: case "prev"_w: case "f64"_w: case "f32"_w: case "f16"_w:
      case "bf16"_w: case "e4m3"_w: case "e5m2"_w: case "i64"_w: case "i32"_w: case "i16"_w: case "i8"_w: case "u8"_w: case "bool"_w: return true;
      default: return false;
    }
  }
  static constexpr bool is_keyword(std::uint32_t w) {
    switch (w) {
      case "kernel"_w: case "let"_w: case "view"_w: case "require"_w: case "inout"_w: case "in"_w: case "where"_w: case "einsum"_w:
      case "and"_w: case "or"_w: case "not"_w: case "div"_w: case "mod"_w: case "None"_w: return true;
      default: return false;
    }
  }

  // --- files and signatures --------------------------------------------------------------------------------------------
  constexpr void item() {
    known_count_ = shared_;
    index_count_ = 0;
    nesting_ = 0;
    checking_ = declaring_ = false;
    if (at("let"_w)) return let();
    nesting_ = 1;
    while (accept("@"_w)) {
      if (!at_name()) { fail("'@' and no annotation"); return; }
      ++at_;
    }
    if (!expect("kernel"_w, "'kernel', 'let' or '@' is missing")) return;
    if (!at_name()) { fail("a kernel without a name"); return; }
    ++at_;
    checking_ = false;
    declaring_ = true;  // sizes are defined by being written
    if (accept("<"_w)) {
      do {
        if (!at_name()) { fail("a compile-time name is missing"); return; }
        declare(at_++, kUnknown);
        if (accept(":"_w) && !accept("int"_w) && !accept("bool"_w) && !accept("type"_w)) fail("'int', 'bool' or 'type' is missing");
        if (accept("="_w)) expression(kSum);
      } while (accept(","_w));
      expect(">"_w, "',' or '>' is missing");
    }
    if (!expect("("_w, "'(' and the parameters are missing")) return;
    if (!at(")"_w)) {
      do parameter();
      while (accept(","_w));
    }
    expect(")"_w, "',' or ')' is missing");
    if (accept("->"_w)) {
      if (!expect("("_w, "'(' and the outputs are missing")) return;
      do parameter();
      while (accept(","_w));
      expect(")"_w, "',' or ')' is missing");
    }
    if (!expect("{"_w, "'{' and the statements are missing")) return;
    checking_ = true;
    declaring_ = false;
    nesting_ = 0;
    while (going()) {
      if (accept(";"_w)) continue;
      if (accept("}"_w)) return;
      if (at_end()) { fail("'}' is missing"); return; }
      statement();
      if (going() && !at_end() && !peek().starts_line && !at(";"_w) && !at("}"_w)) fail("an operator or the end of the statement is missing");
    }
  }

  /// name: type facts = default; an output is one without the rest.
  constexpr void parameter() {
    accept("inout"_w);
    if (!at_name()) { fail("a parameter's or output's name is missing"); return; }
    const std::uint32_t name = at_++;
    if (!expect(":"_w, "':' and a type are missing")) return;
    if (!at_name()) { fail("an element type is missing"); return; }
    ++at_;
    int rank = 0;
    if (at("["_w) && !peek().starts_line) {
      ++at_;
      do {
        expression(kSum);
        ++rank;
      } while (accept(","_w));
      expect("]"_w, "',' or ']' is missing");
    }
    declare(name, rank);
    while (going() && (at("in"_w) || at("nondecreasing"_w))) {
      if (accept("nondecreasing"_w)) continue;
      ++at_;
      range();
    }
    if (accept("="_w)) expression(kOr);
  }
  constexpr void range() {
    expression(kSum);
    if (expect(":"_w, "':' and the end of the range are missing")) expression(kSum);
  }

  // --- statements ------------------------------------------------------------------------------------------------------
  constexpr void let() {
    ++at_;
    if (!at_name()) { fail("'let' and no name"); return; }
    ++at_;
    if (accept("("_w)) {
      do {
        if (!at_name()) { fail("a parameter's name is missing"); return; }
        ++at_;
      } while (accept(","_w));
      expect(")"_w, "',' or ')' is missing");
    }
    const bool before = checking_;
    checking_ = false;  // a function may mention what stands where it is used
    if (expect("="_w, "'=' is missing")) expression(kOr);
    checking_ = before;
  }

  constexpr void statement() {
    index_count_ = 0;
    if (at("let"_w)) return let();
    if (accept("require"_w)) return expression(kOr);
    const bool view = accept("view"_w);
    if (!at_name()) { fail("a statement is missing"); return; }
    do target();
    while (!view && accept(","_w));
    if (!going()) return;
    if (!view && accept("+="_w)) {}
    else if (!view && (at("max"_w) || at("min"_w)) && at("="_w, 1)) at_ += 2;
    else if (!expect("="_w, "'=' is missing")) return;
    expression(kOr);
  }

  constexpr void target() {
    if (!at_name() || is_keyword(code(at_))) { fail("a name to assign to is missing"); return; }
    const std::uint32_t name = at_++;
    const Known* before = find(tokens_[name].code);
    const int rank = before ? before->rank : kUnknown;
    int items = kUnknown;
    if (going() && at("["_w)) {
      // Indices first: a subscript may be an expression of those behind it.
      int open = 0;
      for (std::uint32_t i = at_; i < count_; ++i) {
        const std::uint32_t w = code(i);
        if (w == "["_w || w == "("_w) ++open;
        else if (w == "]"_w || w == ")"_w) { if (--open == 0) break; }
        else if (tokens_[i].kind == Kind::name && !find(tokens_[i].code) && !is_keyword(w)) bind_index(i);
      }
      items = subscripts(true).plain;
      if (going() && rank >= 0 && items >= 0 && items != rank) fail_at("the target has another number of axes", tokens_[name].begin);
    }
    if (!before) declare(name, items);
    else if (rank < 0 || items < 0) declare(name, kUnknown);
  }

  // --- expressions -----------------------------------------------------------------------------------------------------
  enum Strength { kOr = 1, kAnd, kCompare, kSum, kProduct };
  static constexpr int strength(std::uint32_t w) {
    switch (w) {
      case "or"_w: return kOr;
      case "and"_w: return kAnd;
      case "<"_w: case "<="_w: case ">"_w: case ">="_w: case "=="_w: case "!="_w: return kCompare;
      case "+"_w: case "-"_w: return kSum;
      case "*"_w: case "/"_w: case "@"_w: case "div"_w: case "mod"_w: return kProduct;
      default: return 0;
    }
  }

  constexpr void expression(int weakest) {
    if (!going()) return;
    if (++depth_ > kDepth) { given_up_ = true; return; }
    unary();
    bool compared = false;
    while (going()) {
      const int s = strength(peek().code);
      if (s == 0 || s < weakest || new_statement()) break;
      if (s == kCompare) {
        if (compared) { fail("a comparison of a comparison"); break; }
        compared = true;
      }
      ++at_;
      expression(s + 1);
    }
    --depth_;
  }

  constexpr void unary() {
    while (accept("-"_w) || accept("not"_w)) {}
    postfix();
    if (going() && at("**"_w) && !new_statement()) {
      ++at_;
      if (++depth_ > kDepth) { given_up_ = true; return; }
      unary();
      --depth_;
    }
  }

  constexpr void postfix() {
    const std::uint32_t name = at_;
    const bool bare = primary();
    bool first = true;
    while (going() && !new_statement()) {
      if (at("["_w)) {
        const Known* known = bare && first ? find(tokens_[name].code) : nullptr;
        const Subscripts s = subscripts(false);
        if (known && known->rank >= 0 && s.plain >= 0 && going()) {
          if (s.axes > known->rank) fail_at("more subscripts than the tensor has axes", tokens_[name].begin);
          else if (s.indices == s.axes && s.axes < known->rank) fail_at("fewer indices than the tensor has axes", tokens_[name].begin);
        }
      } else if (at("."_w)) {
        ++at_;
        if (!accept("T"_w)) fail("only '.T' stands behind a tensor");
      } else if (at("("_w)) {
        fail("only names are called");
      } else {
        break;
      }
      first = false;
    }
  }

  /// Whether it was a name alone.
  constexpr bool primary() {
    if (!going()) return false;
    const Kind kind = peek().kind;
    if (kind == Kind::number) return ++at_, false;
    if (kind == Kind::name) return named();
    if (!at("("_w) && !at("["_w)) return fail("an expression is missing");
    const std::uint32_t closer = at("("_w) ? ")"_w : "]"_w;
    ++at_;
    ++nesting_;
    do expression(kOr);
    while (accept(","_w));
    expect(closer, "a bracket is not closed");
    --nesting_;
    return false;
  }

  constexpr bool named() {
    const std::uint32_t token = at_;
    const std::uint32_t w = code(token);
    const bool same_line = !peek(1).starts_line || nesting_ > 0;
    if (w == "einsum"_w) return einsum();
    if (at("["_w, 1) && same_line && (is_form(w) || brackets_then_call())) {
      if (!is_form(w)) return fail("neither a reduction nor an axis map");
      return form();
    }
    if (at("("_w, 1) && same_line) {
      if (is_keyword(w) && w != "where"_w) return fail("an expression is missing");
      ++at_;
      arguments();
      return false;
    }
    ++at_;
    if (is_keyword(w) || is_form(w)) { fail_at("a word of the language where a value is missing", tokens_[token].begin); return false; }
    if (declaring_ && !is_value(w) && !find(tokens_[token].code)) declare(token, kUnknown);
    if (checking_ && !is_value(w) && !find(tokens_[token].code) && !is_index(tokens_[token].code))
      fail_at(subscript_depth_ > 0 ? "an index that is neither on the left side nor bound by a reduction" : "a name that nothing defines", tokens_[token].begin);
    return true;
  }

  constexpr bool brackets_then_call() const {
    int open = 0;
    for (std::uint32_t ahead = 1; ahead < 256; ++ahead) {
      if (peek(ahead).kind == Kind::end) return false;
      if (at("["_w, ahead) || at("("_w, ahead)) ++open;
      if (at("]"_w, ahead) || at(")"_w, ahead)) --open;
      if (open == 0) return at("("_w, ahead + 1) && !peek(ahead + 1).starts_line;
    }
    return false;
  }

  /// head[axes where domain](body, ...)
  constexpr bool form() {
    at_ += 2;
    ++nesting_;
    const std::uint32_t before = index_count_;
    do {
      if (!at_name()) return fail("the name of an axis is missing");
      bind_index(at_++);
      if (accept("in"_w)) range();
      if (accept("->"_w)) {
        if (!at_name()) return fail("the name of an axis is missing");
        bind_index(at_++);
        if (expect("in"_w, "'in' and a range are missing")) range();
      }
    } while (accept(","_w));
    const int depth = subscript_depth_;
    subscript_depth_ = 0;
    if (accept("where"_w)) expression(kOr);
    expect("]"_w, "',' or ']' is missing");
    --nesting_;
    if (going() && !at("("_w)) fail("'(' and what the reduction acts on are missing");
    arguments();
    subscript_depth_ = depth;
    index_count_ = before;
    return false;
  }

  constexpr int arguments() {
    if (!expect("("_w, "'(' is missing")) return 0;
    ++nesting_;
    int count = 0;
    if (!at(")"_w)) {
      do {
        if (at_name() && at("="_w, 1)) at_ += 2;
        expression(kOr);
        ++count;
      } while (accept(","_w));
    }
    expect(")"_w, "',' or ')' is missing");
    --nesting_;
    return count;
  }

  constexpr bool einsum() {
    const std::uint32_t start = at_++;
    if (!expect("("_w, "'(' and the subscripts of einsum are missing")) return false;
    ++nesting_;
    if (peek().kind != Kind::string) return fail("einsum begins with its subscripts in quotes");
    const std::string_view spec(text_ + peek().begin, peek().end - peek().begin);
    ++at_;
    const std::size_t arrow = spec.find("->");
    int terms = 1, operands = 0;
    for (std::size_t i = 0; i < spec.size() && i < arrow; ++i) terms += spec[i] == ',';
    while (accept(","_w)) {
      expression(kOr);
      ++operands;
    }
    expect(")"_w, "',' or ')' is missing");
    --nesting_;
    if (going() && arrow != std::string_view::npos && terms != operands) fail_at("einsum's subscripts are of another number of operands", tokens_[start].begin);
    return false;
  }

  struct Subscripts {
    int axes = 0;      // that the subscripts take
    int indices = 0;   // subscripts that are one index alone
    int plain = 0;     // as axes; -1 with '...'
  };
  constexpr Subscripts subscripts(bool on_target) {
    Subscripts s;
    ++at_;
    ++nesting_;
    ++subscript_depth_;
    do {
      const std::uint32_t begin = at_;
      const auto ends = [&] { return at(":"_w) || at(","_w) || at("]"_w); };
      if (accept("None"_w)) continue;
      if (accept("..."_w)) {
        s.plain = -1000;
        continue;
      }
      ++s.axes;
      if (at("("_w) && at_name(1) && at(","_w, 2) && at_name(3) && at(")"_w, 4)) {
        for (const std::uint32_t name : {at_ + 1, at_ + 3})
          if (checking_ && !is_index(tokens_[name].code) && !find(tokens_[name].code)) fail_at("an index that is neither on the left side nor bound by a reduction", tokens_[name].begin);
        at_ += 5;
        ++s.indices;
      } else {
        bool slice = false;
        if (!ends()) expression(kOr);
        else if (!at(":"_w)) { fail("a subscript is missing"); break; }
        if (going() && accept(":"_w)) {
          slice = true;
          if (!ends()) expression(kOr);
          if (accept(":"_w) && !ends()) expression(kOr);
        }
        if (!slice && at_ == begin + 1 && tokens_[begin].kind == Kind::name && is_index(tokens_[begin].code) && !find(tokens_[begin].code)) ++s.indices;
      }
      if (on_target && accept("in"_w)) range();
    } while (accept(","_w));
    expect("]"_w, "',' or ']' is missing");
    --subscript_depth_;
    --nesting_;
    s.plain = s.plain < 0 ? -1 : s.axes;
    return s;
  }

  const char* text_;
  std::size_t size_;
  bool refusing_;
  Token tokens_[kTokens];
  Known known_[kNames];
  std::uint32_t indices_[kNames];
  std::uint32_t count_ = 0, at_ = 0, known_count_ = 0, shared_ = 0, index_count_ = 0;
  int nesting_ = 0, depth_ = 0, subscript_depth_ = 0;
  bool checking_ = false, declaring_ = false, given_up_ = false;
  Mistake mistake_;
};

/// The first mistake of a program, at compile time or at run time.
constexpr Mistake find_mistake(std::string_view text) { return Reader(text).read(); }

/// Reads again, and what finds the mistake calls what no constant may call: the compiler's trace then names the line (here)
/// and the mistake (the argument of `fail`).
template <int Line>
constexpr void mistake_on_line(std::string_view text) {
  Reader(text, true).read();
}
/// g++ names what is called directly.
template <int Line>
constexpr void go_to_line(std::string_view text) {
  mistake_on_line<Line>(text);
}
inline constexpr int kLines = 200;  // later ones are called that
template <int... Line>
constexpr void refuse(std::string_view text, int line, std::integer_sequence<int, Line...>) {
  constexpr void (*on_line[])(std::string_view) = {go_to_line<Line>...};
  on_line[line < kLines ? line : kLines - 1](text);
}

/// A program that was looked at. Converts to what a Kernel takes.
struct Program {
  std::string_view text;
  constexpr operator std::string_view() const noexcept { return text; }
};

}  // namespace literal

namespace literals {
/// Refused by the compiler where the program is wrong; see the head of this file.
consteval literal::Program operator""_quern(const char* text, std::size_t size) {
  const std::string_view program(text, size);
  if (const literal::Mistake mistake = literal::find_mistake(program); mistake.what) {
    int line = 1;
    for (std::uint32_t i = 0; i < mistake.at; ++i) line += text[i] == '\n';
    literal::refuse(program, line, std::make_integer_sequence<int, literal::kLines>());
  }
  return {program};
}
}  // namespace literals

}  // namespace v0
}  // namespace quern
