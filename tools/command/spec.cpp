// Reads the texts behind `name=`.
#include "tools/command/spec.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "dsl/text/diagnostic.h"
#include "tools/command/exit_code.h"

namespace quern::command {
namespace {

[[noreturn]] void usage(const std::string& message) { throw Failure(ExitCode::usage, message); }

std::vector<std::int64_t> parse_shape(std::string_view whole, std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    usage(fmt::format("'{}': the shape is written in brackets, as in random:[2,3]", whole));
  }
  std::vector<std::int64_t> shape;
  std::string_view rest = text.substr(1, text.size() - 2);
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const std::optional<std::int64_t> extent = parse_integer(item);
    if (!extent || *extent < 0) usage(fmt::format("'{}': '{}' is not an extent", whole, item));
    shape.push_back(*extent);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
    if (rest.empty()) usage(fmt::format("'{}': an extent is missing behind the last comma", whole));
  }
  if (shape.size() > 32) usage(fmt::format("'{}': more than 32 axes", whole));
  return shape;
}

std::optional<double> parse_real(std::string_view text) {
  bool negative = false;
  std::string_view digits = text;
  if (!digits.empty() && (digits.front() == '-' || digits.front() == '+')) {
    negative = digits.front() == '-';
    digits.remove_prefix(1);
  }
  double value = 0;
  if (digits == "inf") {
    value = std::numeric_limits<double>::infinity();
  } else if (digits == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (digits.empty() || (digits.front() != '.' && (digits.front() < '0' || digits.front() > '9'))) {
    return std::nullopt;
  } else {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  }
  return negative ? -value : value;
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Setting parse_setting(std::string_view text, std::string_view what) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    usage(fmt::format("'{}': {} is written NAME=VALUE", text, what));
  }
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

Spec parse_spec(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view head = text.substr(0, colon);
  std::optional<Filling> filling;
  if (head == "random") filling = Filling::random;
  if (head == "zeros") filling = Filling::zeros;
  if (head == "iota") filling = Filling::iota;
  if (filling) {
    FillSpec spec{*filling, {}, {}};
    if (colon == std::string_view::npos) return spec;
    std::string_view rest = text.substr(colon + 1);
    if (!rest.empty() && rest.front() == '[') {
      const std::size_t end = rest.find(']');
      const std::size_t length = end == std::string_view::npos ? rest.size() : end + 1;
      spec.shape = parse_shape(text, rest.substr(0, length));
      rest.remove_prefix(length);
      if (rest.empty()) return spec;
      if (rest.front() != ':') usage(fmt::format("'{}': unexpected '{}' behind the shape", text, rest));
      rest.remove_prefix(1);
    }
    const std::optional<std::int64_t> seed = parse_integer(rest);
    if (*filling != Filling::random) usage(fmt::format("'{}': only random takes a seed", text));
    if (!seed || *seed < 0) {
      usage(fmt::format("'{}': '{}' is neither a shape in brackets nor a seed (random:[2,3]:SEED)", text, rest));
    }
    spec.seed = static_cast<std::uint64_t>(*seed);
    return spec;
  }
  if (text.size() > 4 && text.substr(text.size() - 4) == ".npy") return FileSpec{std::string(text)};
  if (text == "true" || text == "false") return NumberSpec{std::string(text), text == "true" ? 1.0 : 0.0, text == "true"};
  if (const auto integer = parse_integer(text)) {
    return NumberSpec{std::string(text), static_cast<double>(*integer), integer};
  }
  if (const auto real = parse_real(text)) return NumberSpec{std::string(text), *real, std::nullopt};

  const std::string_view known[] = {"random", "zeros", "iota"};
  const std::string_view meant = dsl::nearest(head, known);
  usage(fmt::format("'{}' is not data{}; known are FILE.npy, random:[2,3], random:[2,3]:SEED, zeros:[2,3], iota:[2,3] "
                    "and numbers",
                    text, meant.empty() ? "" : fmt::format(" (did you mean '{}'?)", meant)));
}

}  // namespace quern::command
