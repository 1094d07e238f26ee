// Whole .npy files: bytes to Array and back, on top of the header. Data is brought to the host's byte order and to
// row-major order while reading.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>

#include "tools/npy/npy.h"

namespace quern::npy {
namespace {

static_assert(std::endian::native == std::endian::little, "element data is written as little-endian");

void swap_bytes(Array& array) {
  const std::size_t size = size_of(array.type);
  for (std::size_t i = 0; i + size <= array.data.size(); i += size) {
    std::reverse(array.data.begin() + static_cast<std::ptrdiff_t>(i),
                 array.data.begin() + static_cast<std::ptrdiff_t>(i + size));
  }
}

/// `array.data` holds the first axis fastest; brings the last axis to be the fastest.
void to_row_major(Array& array) {
  const std::size_t rank = array.shape.size(), size = size_of(array.type);
  if (rank < 2 || array.data.empty()) return;
  std::vector<std::int64_t> stride(rank), position(rank, 0);
  std::int64_t step = 1;
  for (std::size_t a = 0; a < rank; ++a) {
    stride[a] = step;
    step *= array.shape[a];
  }
  std::vector<std::byte> result(array.data.size());
  std::int64_t from = 0;
  for (std::size_t to = 0; to < result.size(); to += size) {
    std::memcpy(result.data() + to, array.data.data() + static_cast<std::size_t>(from) * size, size);
    for (std::size_t a = rank; a-- > 0;) {
      from += stride[a];
      if (++position[a] < array.shape[a]) break;
      from -= stride[a] * array.shape[a];
      position[a] = 0;
    }
  }
  array.data = std::move(result);
}

/// After the data has been read as it stands in the file.
Array finished(Array array, const Header& header) {
  if (header.big_endian) swap_bytes(array);
  if (header.fortran_order) to_row_major(array);
  if (array.type == DType::boolean) {
    const auto bad = std::find_if(array.data.begin(), array.data.end(), [](std::byte b) { return b > std::byte{1}; });
    if (bad != array.data.end()) {
      throw Error(fmt::format("element {} of a bool array is the byte {}, which is neither 0 nor 1",
                              bad - array.data.begin(), std::to_integer<int>(*bad)));
    }
  }
  return array;
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

[[noreturn]] void fail_system(const std::string& path) {
  throw Error(fmt::format("{}: {}", path, std::generic_category().message(errno)));
}

std::string_view code_of(DType type) {
  switch (type) {
    case DType::f64: return "<f8";
    case DType::f16: return "<f2";
    case DType::i64: return "<i8";
    case DType::i32: return "<i4";
    case DType::i16: return "<i2";
    case DType::i8: return "|i1";
    case DType::u8: return "|u1";
    case DType::boolean: return "|b1";
    case DType::f32:
    case DType::bf16:
    case DType::e4m3:
    case DType::e5m2: return "<f4";
  }
  return "<f4";
}

}  // namespace

Array parse(std::span<const std::byte> file) {
  const Header header = parse_header(file, file.size());
  Array array = Array::zeros(header.type, header.shape);
  if (!array.data.empty()) std::memcpy(array.data.data(), file.data() + header.data_begin, array.data.size());
  return finished(std::move(array), header);
}

Array read(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail_system(path);
  try {
    if (std::fseek(file.get(), 0, SEEK_END) != 0) fail_system(path);
    const long size = std::ftell(file.get());
    if (size < 0 || std::fseek(file.get(), 0, SEEK_SET) != 0) fail_system(path);
    // A directory opens, but tells an absurd size and cannot be read.
    std::vector<std::byte> start(static_cast<std::size_t>(std::min<long>(size, (1 << 20) + 12)));
    if (std::fread(start.data(), 1, start.size(), file.get()) != start.size()) fail_system(path);
    const Header header = parse_header(start, static_cast<std::uint64_t>(size));

    Array array = Array::zeros(header.type, header.shape);
    if (std::fseek(file.get(), static_cast<long>(header.data_begin), SEEK_SET) != 0) fail_system(path);
    if (std::fread(array.data.data(), 1, array.data.size(), file.get()) != array.data.size()) {
      throw Error("the file became shorter while it was read");
    }
    return finished(std::move(array), header);
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (what.substr(0, path.size()) == path) throw;
    throw Error(fmt::format("{}: {}", path, what));
  }
}

std::vector<std::byte> format(const Array& array) {
  Array widened;
  const Array* source = &array;
  if (is_small_float(array.type) && array.type != DType::f16) {
    widened = Array::zeros(DType::f32, array.shape);
    const std::int64_t count = array.size();
    for (std::int64_t i = 0; i < count; ++i) {
      store_from_f64(DType::f32, widened.at(i), load_as_f64(array.type, array.at(i)));
    }
    source = &widened;
  }
  std::string shape = fmt::format("({}{})", fmt::join(array.shape, ", "), array.shape.size() == 1 ? "," : "");
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", code_of(array.type), shape);
  // The data begins at a multiple of 64.
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string head("\x93NUMPY\x01\x00", 8);
  head += static_cast<char>(text.size() & 0xff);
  head += static_cast<char>(text.size() >> 8);
  head += text;
  std::vector<std::byte> result(head.size() + source->data.size());
  std::memcpy(result.data(), head.data(), head.size());
  if (!source->data.empty()) std::memcpy(result.data() + head.size(), source->data.data(), source->data.size());
  return result;
}

void write(const std::string& path, const Array& array) {
  const std::vector<std::byte> bytes = format(array);
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) fail_system(path);
  if (std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) fail_system(path);
  if (std::fclose(file.release()) != 0) fail_system(path);
}

}  // namespace quern::npy
