// Arrays in memory: sizes that cannot overflow, and the conversions a file's data may undergo.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tools/npy/npy.h"

namespace quern::npy {

std::int64_t element_count(const Shape& shape, std::size_t element_size) {
  std::int64_t bytes = static_cast<std::int64_t>(element_size);
  bool empty = false;
  for (std::int64_t extent : shape) {
    if (extent < 0) throw Error(fmt::format("the shape [{}] has a negative extent", fmt::join(shape, ", ")));
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      throw Error(fmt::format("the shape [{}] of {}-byte elements is more than 2^63 bytes", fmt::join(shape, ", "),
                              element_size));
    }
  }
  return empty ? 0 : bytes / static_cast<std::int64_t>(element_size);
}

Array Array::zeros(DType type, Shape shape) {
  const std::int64_t count = element_count(shape, size_of(type));
  Array array{type, std::move(shape), {}};
  try {
    array.data.resize(static_cast<std::size_t>(count) * size_of(type));
  } catch (const std::exception&) {  // bad_alloc or length_error
    throw Error(fmt::format("{}[{}] needs {} bytes, more than this machine has", name(type),
                            fmt::join(array.shape, ", "), static_cast<std::uint64_t>(count) * size_of(type)));
  }
  return array;
}

Array converted(Array array, DType type) {
  if (array.type == type) return array;
  if (!is_small_float(type) || array.type != DType::f32) {
    throw Error(fmt::format("holds {}, but {} is wanted; convert it first (NumPy: x.astype('{}'))", name(array.type),
                            name(type), is_small_float(type) && type != DType::f16 ? "float32"
                                        : type == DType::boolean                   ? "bool"
                                        : type == DType::f64                       ? "float64"
                                        : type == DType::f32                       ? "float32"
                                        : type == DType::f16                       ? "float16"
                                        : type == DType::u8                        ? "uint8"
                                                            : fmt::format("int{}", 8 * size_of(type))));
  }
  Array result = Array::zeros(type, array.shape);
  const std::int64_t count = result.size();
  for (std::int64_t i = 0; i < count; ++i) store_from_f64(type, result.at(i), load_as_f64(array.type, array.at(i)));
  return result;
}

}  // namespace quern::npy
