// Collecting and rendering diagnostics. Rendering never copies control bytes of the text, and shows a window of long lines.
#include "dsl/text/diagnostic.h"

#include <algorithm>

namespace quern::dsl {
namespace {

constexpr std::size_t kWindow = 110;  // columns of a source line that are shown
constexpr std::string_view kIndent = "    ";

/// The bytes of one line as they may be printed: one column per character, nothing that moves the cursor.
struct Line {
  std::string text;
  std::vector<std::size_t> column_of_byte;  // one more than bytes
};

std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

Line printable(std::string_view text) {
  Line line;
  std::size_t column = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const bool control = length == 1 && (static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7F);
    if (text[i] == '\t') {
      line.text += ' ';
    } else if (length == 0 || control) {
      line.text += '?';
    } else {
      line.text += text.substr(i, length);
    }
    for (std::size_t k = 0; k < std::max<std::size_t>(length, 1); ++k) line.column_of_byte.push_back(column);
    i += std::max<std::size_t>(length, 1);
    ++column;
  }
  line.column_of_byte.push_back(column);
  return line;
}

std::string place(const Source& source, Span span) {
  const Position at = source.position(span.begin);
  const std::string host = source.host().empty() ? "" : source.host() + ": ";
  return fmt::format("{}{}:{}:{}", host, source.name(), at.line, at.column);
}

/// The line of the place and a caret under it.
void show(std::string& out, const Source& source, Span span, std::string_view label) {
  const Position at = source.position(span.begin);
  std::string_view whole = source.line(at.line);
  std::size_t first = whole.find_first_not_of(" \t");
  if (first == std::string_view::npos) first = 0;
  std::size_t caret = std::min<std::size_t>(at.column - 1, whole.size());
  first = std::min(first, caret);
  bool cut_front = false;
  if (caret - first > kWindow * 2 / 3) {
    first = caret - kWindow / 2;
    while (first < caret && utf8_length(whole, first) == 0) ++first;
    cut_front = true;
  }
  std::string_view part = whole.substr(first);
  const bool cut_back = part.size() > kWindow;
  if (cut_back) {
    part = part.substr(0, kWindow);
    while (!part.empty() && (static_cast<unsigned char>(part.back()) & 0x80) != 0) part.remove_suffix(1);
  }
  const Line line = printable(part);
  caret = std::min(caret - first, line.column_of_byte.size() - 1);
  const std::size_t length = span.end > span.begin ? span.end - span.begin : 1;
  const std::size_t last = std::min(caret + length, line.column_of_byte.size() - 1);
  const std::size_t from = line.column_of_byte[caret];
  const std::size_t width = std::max<std::size_t>(line.column_of_byte[last] - from, 1);
  out += fmt::format("{}{}{}{}\n", kIndent, cut_front ? "..." : "", line.text, cut_back ? "..." : "");
  out += fmt::format("{}{:{}}^{}{}{}\n", kIndent, "", from + (cut_front ? 3 : 0), std::string(width - 1, '~'),
                     label.empty() ? "" : " ", label);
}

}  // namespace

Diagnostic& Diagnostics::add(Code code, Span span, std::string message) {
  for (const Diagnostic& old : list_) {
    if (old.code == code && old.span.begin == span.begin && old.span.end == span.end && old.message == message) {
      return overflow_ = Diagnostic{};
    }
  }
  if (severity(code) == Severity::error) ++errors_;
  overflow_ = Diagnostic{};
  if (full()) return overflow_;
  Diagnostic diagnostic;
  diagnostic.code = code;
  diagnostic.message = std::move(message);
  diagnostic.span = span;
  list_.push_back(std::move(diagnostic));
  return list_.back();
}

std::string render(const Diagnostic& diagnostic, const Source& source) {
  const std::string_view word = severity(diagnostic.code) == Severity::error ? "error" : "warning";
  std::string out = fmt::format("{}: {}: {}\n", place(source, diagnostic.span), word, diagnostic.message);
  show(out, source, diagnostic.span, diagnostic.label_text);
  for (const Note& note : diagnostic.notes) {
    out += fmt::format("{}note: {}\n", kIndent, note.text);
    const bool elsewhere = !note.span.empty() && source.position(note.span.begin).line != source.position(diagnostic.span.begin).line;
    if (elsewhere) {
      const Position at = source.position(note.span.begin);
      out += fmt::format("{}at {}:{}:{}\n", kIndent, source.name(), at.line, at.column);
      show(out, source, note.span, "");
    }
  }
  if (!diagnostic.fix_text.empty()) out += fmt::format("{}fix: {}\n", kIndent, diagnostic.fix_text);
  return out;
}

std::string render(const Diagnostics& diagnostics, const Source& source) {
  std::string out;
  std::size_t shown = 0;
  for (const Diagnostic& diagnostic : diagnostics.list()) {
    out += render(diagnostic, source);
    shown += severity(diagnostic.code) == Severity::error;
  }
  if (diagnostics.error_count() > shown) {
    out += fmt::format("{}: and {} more\n", source.name(), diagnostics.error_count() - shown);
  }
  return out;
}

}  // namespace quern::dsl
