// Prints arrays short.
#include "tools/command/preview.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace quern::command {
namespace {

constexpr std::int64_t kEdge = 3;       // values shown at either end of a long axis
constexpr std::int64_t kWhole = 8;      // an axis up to this is shown whole
constexpr std::int64_t kMaxLines = 24;  // rows of all matrices together

std::string element(const npy::Array& array, std::int64_t i) {
  if (array.type == DType::boolean) return load_as_i64(array.type, array.at(i)) != 0 ? "true" : "false";
  if (!is_float(array.type)) return fmt::format("{}", load_as_i64(array.type, array.at(i)));
  return fmt::format("{:.5g}", load_as_f64(array.type, array.at(i)));
}

/// Places of an axis to show; -1 stands for "...".
std::vector<std::int64_t> shown(std::int64_t extent, std::int64_t whole) {
  std::vector<std::int64_t> result;
  if (extent <= whole) {
    for (std::int64_t i = 0; i < extent; ++i) result.push_back(i);
  } else {
    for (std::int64_t i = 0; i < kEdge; ++i) result.push_back(i);
    result.push_back(-1);
    for (std::int64_t i = extent - kEdge; i < extent; ++i) result.push_back(i);
  }
  return result;
}

}  // namespace

std::string type_and_shape(DType type, const npy::Shape& shape) {
  return shape.empty() ? std::string(name(type)) : fmt::format("{}[{}]", name(type), fmt::join(shape, ","));
}

std::string preview(const npy::Array& array) {
  const std::int64_t count = array.size();
  if (array.shape.empty()) return fmt::format("  {}\n", element(array, 0));
  if (count == 0) return "  (no elements)\n";

  const std::int64_t columns = array.shape.back(), rows = count / columns;
  std::vector<std::int64_t> row_list;
  // The rows of the last two axes, shortened; of further axes the first and last ones.
  if (array.shape.size() == 1) {
    row_list = {0};
  } else {
    const std::int64_t height = array.shape[array.shape.size() - 2];
    for (std::int64_t block : shown(rows / height, array.shape.size() == 2 ? 1 : 4)) {
      if (block < 0) {
        row_list.push_back(-1);
        continue;
      }
      for (std::int64_t r : shown(height, kWhole)) row_list.push_back(r < 0 ? -1 : block * height + r);
      if (static_cast<std::int64_t>(row_list.size()) > kMaxLines) break;
    }
  }
  const std::vector<std::int64_t> column_list = shown(columns, kWhole);
  std::vector<std::vector<std::string>> cells;
  std::size_t width = 0;
  for (std::int64_t r : row_list) {
    std::vector<std::string> line;
    if (r >= 0) {
      for (std::int64_t c : column_list) line.push_back(c < 0 ? "..." : element(array, r * columns + c));
      for (const std::string& cell : line) width = std::max(width, cell.size());
    }
    cells.push_back(std::move(line));
  }
  std::string result;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    result += ' ';
    for (const std::string& cell : cells[i]) result += fmt::format(" {:>{}}", cell, cell == "..." ? 3 : width);
    if (cells[i].empty()) result += " ...";
    // Where the rows are not simply 0, 1, 2, ... say which one this is.
    if (array.shape.size() > 2 && row_list[i] >= 0 && row_list[i] % array.shape[array.shape.size() - 2] == 0) {
      npy::Shape position;
      std::int64_t rest = row_list[i] / array.shape[array.shape.size() - 2];
      for (std::size_t a = array.shape.size() - 2; a-- > 0;) {
        position.insert(position.begin(), rest % array.shape[a]);
        rest /= array.shape[a];
      }
      result += fmt::format("   [{},:,:]", fmt::join(position, ","));
    }
    result += '\n';
  }
  return result;
}

Json first_values(const npy::Array& array, std::int64_t count) {
  Json result = Json::array();
  for (std::int64_t i = 0; i < std::min(count, array.size()); ++i) {
    if (array.type == DType::boolean) {
      result.push_back(load_as_i64(array.type, array.at(i)) != 0);
    } else if (!is_float(array.type)) {
      result.push_back(load_as_i64(array.type, array.at(i)));
    } else {
      const double value = load_as_f64(array.type, array.at(i));
      if (std::isfinite(value)) {
        result.push_back(value);
      } else {
        result.push_back(fmt::format("{}", value));
      }
    }
  }
  return result;
}

}  // namespace quern::command
