// Makes test data. Its own generator and its own normal distribution (a sum of uniforms would have no tails, the
// standard library's differs between implementations): splitmix64 and Marsaglia's polar method.
#include "tools/command/fill.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "tools/command/exit_code.h"

namespace quern::command {
namespace {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double normal() {
    if (std::exchange(has_spare_, false)) return spare_;
    double x, y, square;
    do {
      x = 2 * unit() - 1;
      y = 2 * unit() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square == 0);
    const double scale = std::sqrt(-2 * std::log(square) / square);
    spare_ = y * scale;
    has_spare_ = true;
    return x * scale;
  }
  /// In [begin, end); the bias of the multiplication is below 2^-32 for every range used here.
  std::int64_t integer(std::int64_t begin, std::int64_t end) {
    const auto width = static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin);
    const auto high = static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * width) >> 64);
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(begin) + high);
  }

 private:
  std::uint64_t state_;
  double spare_ = 0;
  bool has_spare_ = false;
};

/// Sorts along the last axis.
void sort_rows(npy::Array& array) {
  const std::int64_t columns = array.shape.empty() ? 1 : array.shape.back();
  if (columns < 2) return;
  const std::int64_t count = array.size();
  for (std::int64_t row = 0; row < count; row += columns) {
    if (is_float(array.type)) {
      std::vector<double> values(static_cast<std::size_t>(columns));
      for (std::int64_t i = 0; i < columns; ++i) values[static_cast<std::size_t>(i)] = load_as_f64(array.type, array.at(row + i));
      std::sort(values.begin(), values.end());
      for (std::int64_t i = 0; i < columns; ++i) store_from_f64(array.type, array.at(row + i), values[static_cast<std::size_t>(i)]);
    } else {
      std::vector<std::int64_t> values(static_cast<std::size_t>(columns));
      for (std::int64_t i = 0; i < columns; ++i) values[static_cast<std::size_t>(i)] = load_as_i64(array.type, array.at(row + i));
      std::sort(values.begin(), values.end());
      for (std::int64_t i = 0; i < columns; ++i) store_from_i64(array.type, array.at(row + i), values[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace

npy::Array filled(Filling filling, DType type, const npy::Shape& shape, const Facts& facts, std::uint64_t seed,
                  const std::string& who) {
  npy::Array array = npy::Array::zeros(type, shape);
  const std::int64_t count = array.size();
  if (count == 0) return array;
  // Integers without a fact: small, so that sums and products of them stay in range.
  std::pair<std::int64_t, std::int64_t> range = type == DType::u8 ? std::pair<std::int64_t, std::int64_t>{0, 256}
                                                : type == DType::boolean ? std::pair<std::int64_t, std::int64_t>{0, 2}
                                                                         : std::pair<std::int64_t, std::int64_t>{-128, 128};
  if (facts.range) {
    range = *facts.range;
    if (range.first >= range.second) {
      throw Failure(ExitCode::data, fmt::format("{} is declared in {}:{}, which has no values, but has the shape [{}]", who,
                                                range.first, range.second, fmt::join(shape, ",")));
    }
  }
  Generator generator(seed);
  switch (filling) {
    case Filling::zeros:
      // Zero, or the value nearest to it that keeps the promise.
      if (facts.range && (range.first > 0 || range.second <= 0)) {
        const std::int64_t value = range.first > 0 ? range.first : range.second - 1;
        for (std::int64_t i = 0; i < count; ++i) store_from_i64(type, array.at(i), value);
      }
      break;
    case Filling::iota:
      for (std::int64_t i = 0; i < count; ++i) {
        // Past the end of a declared range it begins again; that keeps the range, and order where a row fits.
        const std::int64_t value = facts.range ? range.first + i % (range.second - range.first) : i;
        if (is_float(type)) {
          store_from_f64(type, array.at(i), static_cast<double>(value));
        } else {
          store_from_i64(type, array.at(i), type == DType::boolean ? value & 1 : value);
        }
      }
      break;
    case Filling::random:
      for (std::int64_t i = 0; i < count; ++i) {
        if (is_float(type)) {
          store_from_f64(type, array.at(i), generator.normal());
        } else {
          store_from_i64(type, array.at(i), generator.integer(range.first, range.second));
        }
      }
      break;
  }
  if (facts.nondecreasing && filling != Filling::zeros) sort_rows(array);
  return array;
}

}  // namespace quern::command
