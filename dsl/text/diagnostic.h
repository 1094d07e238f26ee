// Diagnostics: what is wrong with a program text, where, and what to do. In: reports with spans. Out: rendered text.
// The one idea: messages are rows of one table (diagnostics.def); a report names the row and gives its arguments, whose
// count and types are checked at compile time.
//
//   diagnostics.report<Code::expected>(span, "a size", "')'").label("the list ends here").fix("write N");
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "dsl/text/source.h"

namespace quern::dsl {

enum class Severity : std::uint8_t { error, warning };

enum class Code : std::uint16_t {
#define QUERN_DIAGNOSTIC(code, severity, format) code,
#include "dsl/text/diagnostics.def"
};

namespace detail {
struct DiagnosticRow {
  std::string_view name;
  Severity severity;
  std::string_view format;
};
inline constexpr DiagnosticRow kDiagnosticRows[] = {
#define QUERN_DIAGNOSTIC(code, severity, format) {#code, Severity::severity, format},
#include "dsl/text/diagnostics.def"
};
}  // namespace detail

inline constexpr std::size_t kDiagnosticCount = std::size(detail::kDiagnosticRows);
constexpr std::string_view name(Code code) { return detail::kDiagnosticRows[static_cast<std::size_t>(code)].name; }
constexpr Severity severity(Code code) { return detail::kDiagnosticRows[static_cast<std::size_t>(code)].severity; }
constexpr std::string_view format_of(Code code) { return detail::kDiagnosticRows[static_cast<std::size_t>(code)].format; }

/// A further line. With a span on another line than the main one, that line is shown too.
struct Note {
  std::string text;
  Span span;
};

struct Diagnostic {
  Code code{};
  std::string message;
  Span span;                // of the caret
  std::string label_text;   // beside the caret
  std::vector<Note> notes;
  std::string fix_text;     // one remedy, in the imperative: "write 'n in 0:N'"

  Diagnostic& label(std::string text) { label_text = std::move(text); return *this; }
  Diagnostic& note(std::string text, Span at = {}) { notes.push_back({std::move(text), at}); return *this; }
  Diagnostic& fix(std::string text) { fix_text = std::move(text); return *this; }
};

/// Collects diagnostics up to a limit; later ones are counted only. A second report of one code at one place is dropped.
class Diagnostics {
 public:
  explicit Diagnostics(std::size_t limit = 20) : limit_(limit) {}

  /// The returned reference is valid until the next report.
  template <Code code, typename... Args>
  Diagnostic& report(Span span, const Args&... args) {
    constexpr std::string_view kFormat = format_of(code);
    return add(code, span, fmt::format(fmt::format_string<const Args&...>(kFormat), args...));
  }

  bool has_errors() const { return errors_ > 0; }
  std::size_t error_count() const { return errors_; }
  /// True once the limit is reached: a caller may stop looking for more.
  bool full() const { return list_.size() >= limit_; }
  std::span<const Diagnostic> list() const { return list_; }

 private:
  Diagnostic& add(Code code, Span span, std::string message);

  std::size_t limit_;
  std::size_t errors_ = 0;
  std::vector<Diagnostic> list_;
  Diagnostic overflow_;
};

/// `file:line:col: error: message`, the line, the caret with its label, `note:` and `fix:` lines; ends in a newline.
std::string render(const Diagnostic& diagnostic, const Source& source);
/// All of them, and how many were left out.
std::string render(const Diagnostics& diagnostics, const Source& source);

/// The candidate nearest to `word` when it is near enough for a "did you mean", else "".
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace quern::dsl
