// A program text with its name. In: file name and bytes. Out: lines and columns for offsets.
// The one idea: a Source is immutable and outlives everything that points into it by Span.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dsl/text/span.h"

namespace quern::dsl {

struct Position {
  std::uint32_t line = 1;    // from 1
  std::uint32_t column = 1;  // in bytes, from 1
};

class Source {
 public:
  /// `host` is where the string stands in the caller's program ("main.cpp:12"), empty for files.
  Source(std::string name, std::string text, std::string host = {});

  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }
  const std::string& host() const { return host_; }

  Position position(std::uint32_t offset) const;
  /// The text of a line (numbered from 1) without its end of line.
  std::string_view line(std::uint32_t number) const;
  std::string_view slice(Span span) const;

 private:
  std::string name_, text_, host_;
  std::vector<std::uint32_t> line_starts_;
};

}  // namespace quern::dsl
