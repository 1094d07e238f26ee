// Lines and columns for offsets, by binary search over the starts of lines.
#include "dsl/text/source.h"

#include <algorithm>

namespace quern::dsl {

Source::Source(std::string name, std::string text, std::string host)
    : name_(std::move(name)), text_(std::move(text)), host_(std::move(host)) {
  line_starts_.push_back(0);
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') line_starts_.push_back(static_cast<std::uint32_t>(i + 1));
  }
}

Position Source::position(std::uint32_t offset) const {
  const auto after = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
  const auto line = static_cast<std::uint32_t>(after - line_starts_.begin());
  return {line, offset - line_starts_[line - 1] + 1};
}

std::string_view Source::line(std::uint32_t number) const {
  if (number == 0 || number > line_starts_.size()) return {};
  const std::size_t begin = line_starts_[number - 1];
  std::size_t end = number < line_starts_.size() ? line_starts_[number] - 1 : text_.size();
  if (end > begin && text_[end - 1] == '\r') --end;
  return std::string_view(text_).substr(begin, end - begin);
}

std::string_view Source::slice(Span span) const {
  if (span.begin >= text_.size() || span.end <= span.begin) return {};
  return std::string_view(text_).substr(span.begin, span.end - span.begin);
}

}  // namespace quern::dsl
