// Bytes to tokens, longest mark first. Runs of bytes that start no token are reported once and skipped.
#include "dsl/syntax/lexer.h"

#include <algorithm>

#include "dsl/syntax/limits.h"
#include "dsl/syntax/number.h"

namespace quern::dsl {
namespace {

// Longer marks first. Some belong to other languages only: the parser refuses them with a hint.
constexpr std::string_view kMarks[] = {"...", "**", "->", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", ":=", "&&", "||",
                                       "=>",  "(",  ")",  "[",  "]",  "{",  "}",  "<",  ">",  "=",  "+",  "-",  "*",  "/",
                                       "@",   ",",  ";",  ":",  ".",  "^",  "%",  "!",  "&",  "|",  "~",  "?"};

struct Lookalike {
  std::string_view bytes, text;
};
constexpr Lookalike kLookalikes[] = {
    {"\xC3\x97", "*"},      {"\xC2\xB7", "*"},      {"\xE2\x88\x99", "*"},  {"\xE2\x88\x92", "-"}, {"\xE2\x80\x93", "-"},
    {"\xE2\x89\xA4", "<="}, {"\xE2\x89\xA5", ">="}, {"\xE2\x89\xA0", "!="}, {"\xE2\x86\x92", "->"}, {"\xE2\x80\x9C", "\""},
    {"\xE2\x80\x9D", "\""}, {"\xE2\x88\x9E", "inf"}, {"\xCF\x80", "pi"},    {"\xC3\xB7", "/"},
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool continues_name(char c) { return starts_name(c) || is_digit(c); }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

class Lexer {
 public:
  Lexer(const Source& source, Diagnostics& diagnostics) : text_(source.text()), diagnostics_(diagnostics) {}

  Tokens run() {
    if (text_.size() > kMaxFileBytes) {
      diagnostics_.report<Code::file_too_large>({0, 1}, text_.size(), kMaxFileBytes);
      return finish(0);
    }
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = 3;  // byte order mark
    while (at_ < text_.size()) {
      if (tokens_.list.size() >= kMaxTokens) {
        diagnostics_.report<Code::too_many_tokens>(span(at_, at_ + 1), kMaxTokens);
        break;
      }
      step();
    }
    return finish(at_);
  }

 private:
  static Span span(std::size_t begin, std::size_t end) {
    return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  Tokens finish(std::size_t end) {
    Token token;
    token.starts_line = true;
    token.span = span(end, end);
    tokens_.list.push_back(token);
    return std::move(tokens_);
  }

  void push(TokenKind kind, std::size_t begin, bool real = false) {
    tokens_.list.push_back({kind, starts_line_, real, span(begin, at_)});
    starts_line_ = false;
  }

  void step() {
    const char c = peek();
    if (c == '\n') {
      starts_line_ = true;
      ++at_;
    } else if (is_space(c)) {
      ++at_;
    } else if (c == '#' || (c == '/' && peek(1) == '/')) {
      comment();
    } else if (starts_name(c)) {
      word();
    } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      number();
    } else if (c == '"' || c == '\'') {
      string(c);
    } else {
      mark();
    }
  }

  void comment() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    std::size_t end = at_;
    while (end > begin && is_space(text_[end - 1])) --end;
    tokens_.comments.push_back({std::string(text_.substr(begin, end - begin)), span(begin, end)});
    warn_of_division(begin, end);
  }

  /// "x[i] // 2": a comment that is nothing but a number, behind an operand, was hardly meant as a comment.
  void warn_of_division(std::size_t begin, std::size_t end) {
    if (text_[begin] != '/' || starts_line_ || tokens_.list.empty()) return;
    const Token& last = tokens_.list.back();
    const char closing = text_[last.span.end - 1];
    if (last.kind == TokenKind::mark && closing != ')' && closing != ']') return;
    std::string_view rest = text_.substr(begin + 2, end - begin - 2);
    while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    if (rest.empty() || !std::all_of(rest.begin(), rest.end(), is_digit)) return;
    diagnostics_.report<Code::comment_like_division>(span(begin, end)).label("this is a comment").fix(
        fmt::format("write 'div {}' for a floor division, or use '#' for the comment", rest));
  }

  void word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && continues_name(text_[at_])) ++at_;
    if (at_ - begin > kMaxNameLength) {
      diagnostics_.report<Code::name_too_long>(span(begin, begin + 16), at_ - begin, kMaxNameLength);
    }
    push(TokenKind::name, begin);
  }

  void number() {
    const std::size_t begin = at_;
    const bool hex = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X');
    bool real = false;
    // A maximal run first, then its reading is judged as a whole: "1.2.3" and "12ab" are one mistake each.
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const char before = at_ > begin ? text_[at_ - 1] : '\0';
      if (c == '.') {
        if (peek(1) == '.') break;  // 0:2...
        real = true;
      } else if (c == '+' || c == '-') {
        const char exponent = static_cast<char>(before | 0x20);
        if (at_ == begin || exponent != (hex ? 'p' : 'e')) break;
        real = true;
      } else if (c == '\'') {
        if (!continues_name(peek(1))) break;
      } else if (!continues_name(c)) {
        break;
      } else if ((c | 0x20) == (hex ? 'p' : 'e')) {
        real = true;
      }
      ++at_;
    }
    std::string_view written = text_.substr(begin, at_ - begin);
    if (real && !hex && (written.back() | 0x20) == 'f') written.remove_suffix(1);
    const bool valid = real ? real_value(written).has_value() : integer_value(written).has_value();
    if (!valid) refuse_number(span(begin, at_), written, real);
    push(TokenKind::number, begin, real);
  }

  void refuse_number(Span where, std::string_view written, bool real) {
    const bool digits = std::all_of(written.begin(), written.end(), [](char c) { return is_digit(c) || c == '\''; });
    Diagnostic& diagnostic = diagnostics_.report<Code::bad_number>(where, written.substr(0, 40));
    if (digits && written.size() > 1 && written[0] == '0') {
      diagnostic.label("a leading zero").fix("drop the leading zeros, or write 0x for hexadecimal");
    } else if (digits) {
      diagnostic.label("does not fit into i64").fix("write a real number, with a point or an exponent");
    } else if (real) {
      diagnostic.label("not a number that f64 can hold");
    } else {
      diagnostic.label("digits and letters run together").fix("write '*' between a number and a name; suffixes as in 10u are not used");
    }
  }

  void string(char quote) {
    const std::size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n') ++at_;
    if (peek() == quote && at_ < text_.size()) {
      ++at_;
    } else {
      diagnostics_.report<Code::unterminated_string>(span(begin, begin + 1)).label("starts here").fix(
          fmt::format("close it with {}", quote));
    }
    push(TokenKind::string, begin);
  }

  void mark() {
    const std::size_t begin = at_;
    for (const std::string_view candidate : kMarks) {
      if (text_.substr(at_, candidate.size()) == candidate) {
        at_ += candidate.size();
        push(TokenKind::mark, begin);
        return;
      }
    }
    bad_bytes();
  }

  void bad_bytes() {
    const std::size_t begin = at_;
    for (const Lookalike& lookalike : kLookalikes) {
      if (text_.substr(at_, lookalike.bytes.size()) == lookalike.bytes) {
        at_ += lookalike.bytes.size();
        diagnostics_.report<Code::bad_character>(span(begin, at_), fmt::format("character '{}'", lookalike.bytes))
            .fix(fmt::format("write {}", lookalike.text));
        return;
      }
    }
    const auto bad = [&](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte >= 0x80 || (byte < 0x20 && byte != '\n' && !is_space(c)) || byte == 0x7F || c == '$' || c == '`' || c == '\\';
    };
    ++at_;
    while (at_ < text_.size() && bad(text_[at_])) ++at_;
    const auto first = static_cast<unsigned char>(text_[begin]);
    const std::string what = first >= 0x80 || first < 0x20 || first == 0x7F ? fmt::format("byte 0x{:02X}", first)
                                                                           : fmt::format("character '{}'", text_[begin]);
    Diagnostic& diagnostic = diagnostics_.report<Code::bad_character>(span(begin, at_), what);
    if (first >= 0x80) diagnostic.label("names and operators are ASCII; anything may stand in comments");
    if (first == '\\') diagnostic.label("a statement goes on over lines while a bracket is open");
  }

  std::string_view text_;
  Diagnostics& diagnostics_;
  Tokens tokens_;
  std::size_t at_ = 0;
  bool starts_line_ = true;
};

}  // namespace

Tokens tokenize(const Source& source, Diagnostics& diagnostics) { return Lexer(source, diagnostics).run(); }

}  // namespace quern::dsl
