// .npy files: what NumPy writes is read, what is written reads back, and a damaged file is an error, never more.
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/catch.h"
#include "tools/npy/npy.h"

using namespace quern;
using npy::Array;

namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

/// A file with this dictionary and these element bytes.
std::vector<std::byte> file_of(std::string dictionary, std::string_view data, int major = 1) {
  dictionary += '\n';
  std::string text("\x93NUMPY", 6);
  text += static_cast<char>(major);
  text += '\0';
  const std::size_t length = dictionary.size();
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) text += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes_of(text + dictionary + std::string(data));
}

std::string error_of(const std::vector<std::byte>& file) {
  try {
    npy::parse(file);
  } catch (const npy::Error& error) {
    return error.what();
  }
  return "(no error)";
}

Array numbered(DType type, npy::Shape shape) {
  Array array = Array::zeros(type, std::move(shape));
  for (std::int64_t i = 0; i < array.size(); ++i) store_from_f64(type, array.at(i), type == DType::boolean ? i % 2 : i % 13);
  return array;
}

bool same(const Array& a, const Array& b) { return a.type == b.type && a.shape == b.shape && a.data == b.data; }

}  // namespace

TEST_CASE("every type and rank survives writing and reading") {
  for (int t = 0; t < kDTypeCount; ++t) {
    const DType type = static_cast<DType>(t);
    for (const npy::Shape& shape : {npy::Shape{}, npy::Shape{5}, npy::Shape{2, 3}, npy::Shape{0}, npy::Shape{3, 0, 2},
                                    npy::Shape{2, 1, 3, 2}}) {
      const Array array = numbered(type, shape);
      const std::vector<std::byte> file = npy::format(array);
      const Array back = npy::parse(file);
      INFO(name(type));
      CHECK((file.size() - back.data.size()) % 64 == 0);
      if (is_small_float(type) && type != DType::f16) {
        CHECK(back.type == DType::f32);
        CHECK(same(npy::converted(back, type), array));
      } else {
        CHECK(same(back, array));
      }
    }
  }
}

TEST_CASE("files as NumPy writes them") {
  // np.save of np.array([[1, 2, 3], [4, 5, 6]], dtype='>i2', order='F')
  const std::string_view data("\0\1\0\4\0\2\0\5\0\3\0\6", 12);
  const Array array = npy::parse(file_of("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }     ", data));
  CHECK(array.type == DType::i16);
  CHECK(array.shape == npy::Shape{2, 3});
  for (int i = 0; i < 6; ++i) CHECK(load_as_i64(DType::i16, array.at(i)) == i + 1);

  // Formats 2.0 and 3.0 have a longer length field; keys may come in any order.
  for (int major : {2, 3}) {
    const Array scalar = npy::parse(file_of("{\"shape\":(),'fortran_order':False,'descr':'|u1'}", "\x07", major));
    CHECK(scalar.shape.empty());
    CHECK(load_as_i64(DType::u8, scalar.at(0)) == 7);
  }
}

TEST_CASE("Fortran order of three axes") {
  const Array array = numbered(DType::f64, {2, 3, 4});
  Array turned = array;  // element [i,j,k] at i + 2 (j + 3 k)
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) std::memcpy(turned.at(i + 2 * (j + 3 * k)), array.at((i * 3 + j) * 4 + k), 8);
  const std::string data(reinterpret_cast<const char*>(turned.data.data()), turned.data.size());
  CHECK(same(npy::parse(file_of("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3, 4)}", data)), array));
}

TEST_CASE("rounding into small floats happens once, to nearest even") {
  Array array = Array::zeros(DType::f32, {3});
  store_from_f64(DType::f32, array.at(0), 1.0 + 1.0 / 256);  // halfway between two bf16: to even
  store_from_f64(DType::f32, array.at(1), 1e9);              // e4m3 saturates
  store_from_f64(DType::f32, array.at(2), std::nan(""));
  CHECK(load_as_f64(DType::bf16, npy::converted(array, DType::bf16).at(0)) == 1.0);
  CHECK(load_as_f64(DType::e4m3, npy::converted(array, DType::e4m3).at(1)) == 448.0);
  CHECK(std::isnan(load_as_f64(DType::e4m3, npy::converted(array, DType::e4m3).at(2))));
  CHECK_THROWS_WITH(npy::converted(array, DType::i32), "holds f32, but i32 is wanted; convert it first (NumPy: "
                                                       "x.astype('int32'))");
}

TEST_CASE("errors say what was found") {
  CHECK(error_of(bytes_of("")) == "not a .npy file: it does not begin with \\x93NUMPY");
  CHECK(error_of(bytes_of("PK\3\4")) == "this is a .npz archive; save each array to its own .npy file");
  CHECK(error_of(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "12345678")) ==
        "f32[3] takes 12 bytes, but 8 follow the header");
  CHECK(error_of(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "12345")) ==
        "f32[1] takes 4 bytes, but 5 follow the header");
  CHECK(error_of(file_of("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "12345678")) ==
        "elements of NumPy type '<c8' are not supported; known are float64 float32 float16 int64 int32 int16 int8 "
        "uint8 bool (save bf16 and fp8 as float32)");
  CHECK(error_of(file_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "1234")) ==
        "this .npy file holds records (a structured dtype), not a plain array");
  CHECK(error_of(file_of("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", "")) ==
        "the shape [4294967296, 4294967296] of 8-byte elements is more than 2^63 bytes");
  // A zero among the extents hides no overflow.
  CHECK(error_of(file_of("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296)}", "")) ==
        "the shape [0, 4294967296, 4294967296] of 8-byte elements is more than 2^63 bytes");
  CHECK(error_of(file_of("{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775808,)}", "")) ==
        "damaged .npy header: an extent of 2^63 or more (at byte 69 of the dictionary)");
  CHECK(error_of(file_of("{'descr': '<f8', 'descr': '<f8', 'shape': (0,)}", "")) ==
        "damaged .npy header: the key 'descr' stands there twice (at byte 25 of the dictionary)");
  CHECK(error_of(file_of("{'descr': '<f8', 'shape': (0,)}", "")) ==
        "damaged .npy header: the key 'fortran_order' is missing (at byte 31 of the dictionary)");
  CHECK(error_of(file_of("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", "\1\2")) ==
        "element 1 of a bool array is the byte 2, which is neither 0 nor 1");
  CHECK(error_of(file_of("{'descr': '<f8', 'fortran_order': False, 'shape': (0,)}", "", 4)) ==
        "unknown .npy format 4.0");
  CHECK_THROWS_WITH(npy::read("/nonexistent/x.npy"), "/nonexistent/x.npy: No such file or directory");
  CHECK_THROWS_AS(npy::read("/"), npy::Error);
}

TEST_CASE("a truncated file is an error at every length, a flipped bit an error or another array") {
  for (const Array& array : {numbered(DType::f32, {2, 3}), numbered(DType::boolean, {3}), numbered(DType::i64, {})}) {
    const std::vector<std::byte> file = npy::format(array);
    for (std::size_t length = 0; length < file.size(); ++length) {
      // A copy of exactly that length: a sanitizer sees any read behind it.
      const std::vector<std::byte> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(length));
      CHECK_THROWS_AS(npy::parse(cut), npy::Error);
    }
    std::size_t accepted = 0;
    for (std::size_t i = 0; i < file.size(); ++i) {
      for (int value = 0; value < 256; ++value) {
        std::vector<std::byte> damaged = file;
        damaged[i] = static_cast<std::byte>(value);
        try {
          const Array read = npy::parse(damaged);
          CHECK(static_cast<std::size_t>(read.size()) * size_of(read.type) == read.data.size());
          ++accepted;
        } catch (const npy::Error&) {
        }
      }
    }
    CHECK(accepted > file.size());  // at least the undamaged file, once for each position
  }
}

TEST_CASE("random bytes behind a valid magic are errors or arrays") {
  const std::uint64_t seed = 20261120;
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const std::string_view alphabet = "{}'\":,() descrfortan_ohpFTlsue<>|=124680bui\n";
  int errors = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string dictionary;
    const std::size_t length = random() % 60;
    for (std::size_t i = 0; i < length; ++i) dictionary += alphabet[random() % alphabet.size()];
    try {
      npy::parse(file_of(dictionary, "", 1 + static_cast<int>(random() % 3)));
    } catch (const npy::Error&) {
      ++errors;
    }
  }
  CHECK(errors == 20000);
}

TEST_CASE("files on disk") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("quern_npy_test_" + std::to_string(::getpid()) + ".npy");
  const Array array = numbered(DType::f16, {7, 3});
  npy::write(path.string(), array);
  CHECK(same(npy::read(path.string()), array));
  std::ofstream(path, std::ios::app) << "x";
  CHECK_THROWS_WITH(npy::read(path.string()), path.string() + ": f16[7, 3] takes 42 bytes, but 43 follow the header");
  std::filesystem::remove(path);
}
