// Literals to values, independent of the process locale.
#include "dsl/syntax/number.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>

namespace quern::dsl {
namespace {

std::string without_separators(std::string_view text) {
  std::string out(text);
  out.erase(std::remove(out.begin(), out.end(), '\''), out.end());
  return out;
}

bool has_prefix(std::string_view text, char letter) {
  return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter;
}

}  // namespace

std::optional<std::int64_t> integer_value(std::string_view text) {
  const std::string digits = without_separators(text);
  std::string_view rest = digits;
  int base = 10;
  if (has_prefix(rest, 'x')) base = 16;
  if (has_prefix(rest, 'b')) base = 2;
  if (base != 10) rest.remove_prefix(2);
  if (base == 10 && rest.size() > 1 && rest[0] == '0') return std::nullopt;  // would be octal in C++
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value, base);
  if (error != std::errc() || end != rest.data() + rest.size() || rest.empty()) return std::nullopt;
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<double> real_value(std::string_view text) {
  const std::string digits = without_separators(text);
  std::string_view rest = digits;
  if (!has_prefix(rest, 'x') || rest.find_first_of("pP.") == std::string_view::npos) {
    if (const auto integer = integer_value(rest)) return static_cast<double>(*integer);
    if (has_prefix(rest, 'b')) return std::nullopt;
  }
  const bool hex = has_prefix(rest, 'x');
  if (hex) rest.remove_prefix(2);
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value, hex ? std::chars_format::hex : std::chars_format::general);
  if (rest.empty() || end != rest.data() + rest.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // Too small rounds to zero; too large is refused.
    const std::size_t exponent = rest.find_first_of(hex ? "pP" : "eE");
    if (exponent != std::string_view::npos && exponent + 1 < rest.size() && rest[exponent + 1] == '-') return 0.0;
    return std::nullopt;
  }
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace quern::dsl
