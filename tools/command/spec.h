// What an argument on the command line stands for: the text behind `name=`, as a value.
//   q.npy   random:[1,8,128,64]   random:[1,8,128,64]:7   random   zeros:[..]   iota:[..]   0.125   true
// The one idea: `random`, `zeros` and `iota` may leave the shape out; then the other arguments' sizes decide it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quern::command {

struct FileSpec {
  std::string path;
};
enum class Filling { random, zeros, iota };
struct FillSpec {
  Filling filling = Filling::random;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::uint64_t> seed;
};
struct NumberSpec {
  std::string text;
  double real = 0;
  std::optional<std::int64_t> integer;  // when it is one
};
using Spec = std::variant<FillSpec, FileSpec, NumberSpec>;

/// Throws Failure{usage} that says what is wrong with `text`.
Spec parse_spec(std::string_view text);

/// NAME=VALUE; throws Failure{usage} when it is not that.
struct Setting {
  std::string name;
  std::string value;
};
Setting parse_setting(std::string_view text, std::string_view what);

/// A whole decimal integer, or nothing.
std::optional<std::int64_t> parse_integer(std::string_view text);

}  // namespace quern::command
