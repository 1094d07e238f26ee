// Element types: every bit pattern of the small floats is decoded, re-encoded, and rounded to from both sides.
#include "dsl/ir/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/catch.h"

using namespace quern;

namespace {

const double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::numeric_limits<double>::quiet_NaN();

unsigned stored_bits(DType type, double value) {
  unsigned char bytes[8] = {};
  store_from_f64(type, bytes, value);
  return size_of(type) == 1 ? bytes[0] : bytes[0] | unsigned(bytes[1]) << 8;
}

double value_of(DType type, unsigned bits) {
  const unsigned char bytes[2] = {static_cast<unsigned char>(bits), static_cast<unsigned char>(bits >> 8)};
  return load_as_f64(type, bytes);
}

std::int64_t through(DType type, double value) {
  unsigned char bytes[8] = {};
  store_from_f64(type, bytes, value);
  return load_as_i64(type, bytes);
}

/// Every finite magnitude of `type` in ascending order of bits.
unsigned largest_bits(DType type) {
  switch (type) {
    case DType::f16:
      return 0x7BFF;
    case DType::bf16:
      return 0x7F7F;
    case DType::e4m3:
      return 0x7E;
    default:
      return 0x7B;
  }
}

}  // namespace

TEST_CASE("names of types go both ways") {
  for (int i = 0; i < kDTypeCount; ++i) {
    const DType type = static_cast<DType>(i);
    REQUIRE(dtype_from_name(name(type)) == type);
  }
  CHECK(name(DType::boolean) == "bool");
  CHECK(!dtype_from_name("boolean"));
  CHECK(!dtype_from_name(""));
}

TEST_CASE("every pattern of a small float survives a round trip") {
  for (DType type : {DType::f16, DType::bf16, DType::e4m3, DType::e5m2}) {
    CAPTURE(name(type));
    const unsigned count = size_of(type) == 1 ? 256 : 65536;
    const unsigned sign = count / 2;
    int wrong = 0, nans = 0;
    for (unsigned bits = 0; bits < count; ++bits) {
      const double value = value_of(type, bits);
      if (std::isnan(value)) {
        ++nans;
        wrong += !std::isnan(value_of(type, stored_bits(type, value)));
      } else if (std::isinf(value) && size_of(type) == 1) {
        wrong += stored_bits(type, value) != ((bits & sign) | largest_bits(type));  // fp8 saturates
      } else {
        wrong += stored_bits(type, value) != bits;
        wrong += std::signbit(value) != ((bits & sign) != 0);
      }
    }
    CHECK(wrong == 0);
    CHECK(nans == (type == DType::f16 ? 2046 : type == DType::bf16 ? 254 : type == DType::e4m3 ? 2 : 6));
  }
}

TEST_CASE("rounding to a small float is to nearest, ties to even") {
  for (DType type : {DType::f16, DType::bf16, DType::e4m3, DType::e5m2}) {
    CAPTURE(name(type));
    int wrong = 0;
    for (unsigned bits = 0; bits < largest_bits(type); ++bits) {
      const double low = value_of(type, bits), high = value_of(type, bits + 1);
      const double middle = low + (high - low) / 2;
      const unsigned even = bits & 1 ? bits + 1 : bits;
      wrong += !(low < high);
      wrong += stored_bits(type, middle) != even;
      wrong += stored_bits(type, std::nextafter(middle, -kInf)) != bits;
      wrong += stored_bits(type, std::nextafter(middle, kInf)) != bits + 1;
      wrong += rounded_to(type, -middle) != -value_of(type, even);
    }
    CHECK(wrong == 0);
    CHECK(value_of(type, largest_bits(type)) == largest_finite(type));
    CHECK(value_of(type, 1) == smallest_subnormal(type));
    CHECK(value_of(type, stored_bits(type, 1 + 2 * unit_roundoff(type))) == 1 + 2 * unit_roundoff(type));
    CHECK(rounded_to(type, 1 + unit_roundoff(type)) == 1);
    CHECK(std::signbit(rounded_to(type, -0.0)));
    CHECK(rounded_to(type, std::numeric_limits<double>::denorm_min()) == 0);
  }
}

TEST_CASE("overflow: infinity for f16 and bf16, the largest value for fp8") {
  CHECK(rounded_to(DType::f16, 65519.999) == 65504);
  CHECK(rounded_to(DType::f16, 65520) == kInf);
  CHECK(rounded_to(DType::f16, -1e300) == -kInf);
  CHECK(rounded_to(DType::bf16, 3.4e38) == kInf);
  CHECK(rounded_to(DType::e4m3, 1e9) == 448);
  CHECK(rounded_to(DType::e4m3, kInf) == 448);
  CHECK(rounded_to(DType::e4m3, 465) == 448);
  CHECK(rounded_to(DType::e5m2, -kInf) == -57344);
  CHECK(std::isnan(rounded_to(DType::e4m3, kNaN)));
  CHECK(std::isnan(rounded_to(DType::e5m2, kNaN)));
  CHECK(value_of(DType::e5m2, 0x7C) == kInf);
  CHECK(std::isnan(value_of(DType::e4m3, 0x7F)));
}

#ifdef __FLT16_MAX__
TEST_CASE("f16 agrees with the compiler's own half type") {
  int wrong = 0;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    _Float16 half;
    std::memcpy(&half, &pattern, 2);
    const double theirs = static_cast<double>(static_cast<float>(half)), ours = value_of(DType::f16, bits);
    wrong += !(theirs == ours || (std::isnan(theirs) && std::isnan(ours)));
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 200000; ++i) {
    float value;
    const auto word = static_cast<std::uint32_t>(random());
    std::memcpy(&value, &word, 4);
    if (std::isnan(value)) continue;
    value = i % 2 ? value : static_cast<float>(std::ldexp(static_cast<double>(word), -int(random() % 60)));
    const _Float16 half = static_cast<_Float16>(value);
    wrong += static_cast<double>(static_cast<float>(half)) != rounded_to(DType::f16, value);
  }
  CHECK(wrong == 0);
}
#endif

TEST_CASE("floats become integers toward zero, saturating") {
  CHECK(through(DType::i32, 2.9) == 2);
  CHECK(through(DType::i32, -2.9) == -2);
  CHECK(through(DType::i32, 1e10) == 2147483647);
  CHECK(through(DType::i32, -kInf) == -2147483648LL);
  CHECK(through(DType::i32, kNaN) == 0);
  CHECK(through(DType::i8, 127.9) == 127);
  CHECK(through(DType::i8, 128) == 127);
  CHECK(through(DType::i8, -128.9) == -128);
  CHECK(through(DType::u8, -1) == 0);
  CHECK(through(DType::u8, 255.5) == 255);
  CHECK(through(DType::i64, 0x1p63) == std::numeric_limits<std::int64_t>::max());
  CHECK(through(DType::i64, -0x1p63) == std::numeric_limits<std::int64_t>::min());
  CHECK(through(DType::i64, 0x1p62) == (std::int64_t{1} << 62));
  CHECK(through(DType::boolean, 0.5) == 1);
  CHECK(through(DType::boolean, -0.0) == 0);
}

TEST_CASE("integers wrap") {
  CHECK(wrapped_to(DType::i8, 128) == -128);
  CHECK(wrapped_to(DType::u8, -1) == 255);
  CHECK(wrapped_to(DType::i16, 65537) == 1);
  CHECK(wrapped_to(DType::i32, 1LL << 31) == -(1LL << 31));
  CHECK(wrapped_to(DType::i64, -5) == -5);
  CHECK(wrapped_to(DType::boolean, 256) == 1);
  unsigned char bytes[8];
  for (DType type : {DType::i64, DType::i32, DType::i16, DType::i8, DType::u8}) {
    store_from_i64(type, bytes, 0x1234567890ABCDEFLL);
    CHECK(load_as_i64(type, bytes) == wrapped_to(type, 0x1234567890ABCDEFLL));
  }
}

TEST_CASE("integers stored as floats round once") {
  unsigned char bytes[8];
  // 2^54 + 2^46 is a tie of bf16; one more must go up although f64 cannot hold it.
  const std::int64_t tie = (std::int64_t{1} << 54) + (std::int64_t{1} << 46);
  store_from_i64(DType::bf16, bytes, tie);
  CHECK(load_as_f64(DType::bf16, bytes) == 0x1p54);
  store_from_i64(DType::bf16, bytes, tie + 1);
  CHECK(load_as_f64(DType::bf16, bytes) == 0x1.02p54);
  store_from_i64(DType::bf16, bytes, -(tie + 1));
  CHECK(load_as_f64(DType::bf16, bytes) == -0x1.02p54);
  store_from_i64(DType::f16, bytes, 70000);
  CHECK(load_as_f64(DType::f16, bytes) == kInf);
  store_from_i64(DType::f32, bytes, (1LL << 54) + (1LL << 30) + 1);
  CHECK(load_as_f64(DType::f32, bytes) == 0x1.000002p54);
  store_from_i64(DType::f64, bytes, -3);
  CHECK(load_as_f64(DType::f64, bytes) == -3);
}

TEST_CASE("accumulators") {
  CHECK(accumulator_of(DType::f64) == DType::f64);
  CHECK(accumulator_of(DType::e4m3) == DType::f32);
  CHECK(accumulator_of(DType::f32) == DType::f32);
  CHECK(accumulator_of(DType::i32) == DType::i64);
  CHECK(accumulator_of(DType::u8) == DType::i32);
  CHECK(accumulator_of(DType::boolean) == DType::i32);
}
