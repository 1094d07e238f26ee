// Line breaking for the formatter. In: one statement with marks where it may break. Out: lines within a width where
// that is possible. The one idea: a break is a control byte followed by how tightly its place binds (depth of brackets,
// then strength of the operator); the loosest break that fits is taken, the last one of those.
#pragma once

#include <string>
#include <string_view>

namespace quern::dsl::layout {

inline constexpr char kBreak = '\x01';      // stands for nothing when not taken
inline constexpr std::size_t kWidth = 120;

/// A possible break inside `depth` open brackets (depth 0 never breaks: a newline would end the statement), behind an
/// operator of binding `strength` below 8, 0 for a comma.
std::string possible_break(int depth, int strength);
/// Breaks `text`; the first line starts with `indent` columns, further lines four columns deeper.
std::string break_lines(std::string_view text, std::size_t indent);
/// `text` on one line.
std::string without_breaks(std::string_view text);

}  // namespace quern::dsl::layout
