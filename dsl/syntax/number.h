// Literals to values. In: the text of a number token. Out: its value, or nothing when it does not fit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace quern::dsl {

/// 12, 0x1F, 0b101, 1'000; nothing beyond the i64 range or when the text is no such number.
std::optional<std::int64_t> integer_value(std::string_view text);
/// 1.5, 1e-5, .5, 0x1p-3 and integers; nothing beyond the f64 range.
std::optional<double> real_value(std::string_view text);

}  // namespace quern::dsl
