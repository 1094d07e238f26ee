// NumPy's .npy files: a file in, an array in row-major order out, and back. Formats 1.0 to 3.0, C and Fortran order.
// Strict: whatever is not exactly a plain array of one of our element types is an Error that says what was found;
// nothing beyond the end of the file is ever read, and no size is believed before the file's length has confirmed it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "dsl/ir/dtype.h"

namespace quern::npy {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Shape = std::vector<std::int64_t>;

/// Elements of `shape`; throws Error when the product, or its bytes, leave 63 bits. A zero does not hide an overflow.
std::int64_t element_count(const Shape& shape, std::size_t element_size = 1);

/// Dense, row-major.
struct Array {
  DType type = DType::f32;
  Shape shape;
  std::vector<std::byte> data;

  static Array zeros(DType type, Shape shape);
  std::int64_t size() const { return element_count(shape); }
  const std::byte* at(std::int64_t i) const { return data.data() + i * static_cast<std::int64_t>(size_of(type)); }
  std::byte* at(std::int64_t i) { return data.data() + i * static_cast<std::int64_t>(size_of(type)); }
};

struct Header {
  DType type = DType::f32;
  bool big_endian = false;
  bool fortran_order = false;
  Shape shape;
  std::size_t data_begin = 0;  // bytes from the start of the file
};

/// `start` is the beginning of a file of `file_size` bytes, at least the whole header (or the whole file).
Header parse_header(std::span<const std::byte> start, std::uint64_t file_size);

Array parse(std::span<const std::byte> file);
/// Errors name the path.
Array read(const std::string& path);

/// Format 1.0. Types that NumPy lacks (bf16, e4m3, e5m2) are written as f32, which holds them exactly.
std::vector<std::byte> format(const Array& array);
void write(const std::string& path, const Array& array);

/// The array a parameter of type `type` takes from `array`: itself, or for f16, bf16, e4m3 and e5m2 rounded from f32.
/// Anything else is an Error naming both types.
Array converted(Array array, DType type);

}  // namespace quern::npy
