#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "tests/cuda_codegen/judge.h"

namespace quern::cuda::test {

namespace {

using Bits = std::vector<std::uint64_t>;  // one stored element each
using Random = std::mt19937_64;

std::uint64_t bits_of(DType type, double v) {
  std::uint64_t bits = 0;
  store_from_f64(type, &bits, v);
  return bits;
}
std::uint64_t bits_of(DType type, std::int64_t v) {
  std::uint64_t bits = 0;
  store_from_i64(type, &bits, v);
  return bits;
}

Bits specials(DType type, bool few) {
  Bits out;
  if (is_float(type)) {
    std::vector<double> v = {0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, -2, 3, 1e-40, -3e38};
    if (!few) v.insert(v.end(), {-0.5, 2, -3, 1.5, 2.5, -2.5, 1e30, -1e30, -1e-40, 1e-45, 100, -100, 88.8, -87.5, -95, -103.5, -1e4, 0x1p-126, 0x1p-149, 3.4028234663852886e38, 1e308, -1e308, 1e-310, 0x1p-1074, -740, 709.5, 16777217, 2147483648.0, -2147483649.0, 9.3e18, -9.3e18, 127.6, -128.9, 255.5, 256, 0.9999999, 1.0000001, 0x1.921fb6p1, -80.0, -80.1, -700.1});
    for (double x : v) out.push_back(bits_of(type, x));
  } else if (type == DType::boolean) {
    out = {0, 1};
  } else {
    std::vector<std::int64_t> v = {0, 1, -1, 2, -7, 127, -128, INT64_MIN, INT64_MAX, INT32_MIN, 3, 32767};
    if (!few) v.insert(v.end(), {-2, 7, 8, -8, 16, 64, 100, 255, -32768, 300, INT32_MAX, std::int64_t{INT32_MAX} + 1, std::int64_t{UINT32_MAX}, std::int64_t{UINT32_MAX} + 1, 16777217, 16842753, INT64_MIN + 1, std::int64_t{1} << 53, (std::int64_t{1} << 53) + 1, (std::int64_t{1} << 62) + 1, -5});
    for (std::int64_t x : v) out.push_back(bits_of(type, x));
  }
  return out;
}

std::uint64_t random_element(DType type, Random& g) {
  const std::uint64_t raw = g();
  if (type == DType::boolean) return raw & 1;
  if (!is_float(type)) {
    const int shift = static_cast<int>(g() % 64);  // all sizes
    return bits_of(type, static_cast<std::int64_t>(raw) >> shift);
  }
  if (type != DType::f64 && type != DType::f32) return raw & (size_of(type) == 1 ? 0xff : 0xffff);
  std::uniform_real_distribution<double> unit(-1, 1);
  const double u = unit(g);
  switch (g() % 6) {
    case 0: return type == DType::f64 ? raw : raw >> 32;  // any bits
    case 1: return bits_of(type, u * 10);
    case 2: return bits_of(type, u * (type == DType::f64 && g() % 2 ? 760 : 110));
    case 3: return bits_of(type, std::copysign(std::exp2(-30 * std::fabs(u)), unit(g)));
    case 4: return bits_of(type, std::round(u * 40) / 4);
    default: return bits_of(type, g() % 4 ? u * 1e4 : 1.0);
  }
}

/// What a cast meets: every small float or random elements, and the halves between neighbours of `to`, a little off, too.
Bits for_cast(DType from, DType to, Random& g) {
  Bits out = specials(from, false);
  if (size_of(from) <= 2) {
    for (std::uint64_t b = 0; b < (size_of(from) == 1 ? 256u : 65536u); ++b) out.push_back(from == DType::boolean ? b & 1 : b);
    return out;
  }
  for (int k = 0; k < 30000; ++k) out.push_back(random_element(from, g));
  if (!is_small_float(to)) return out;
  for (std::uint64_t b = 0; b < (size_of(to) == 1 ? 255u : 65535u); ++b) {
    const std::uint64_t next = b + 1;
    const double low = load_as_f64(to, &b), high = load_as_f64(to, &next);
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const double half = (low + high) / 2;
    for (double v : {low, half, std::nextafter(half, high), std::nextafter(half, low), low + (high - low) * 0.25}) {
      if (is_float(from)) out.push_back(bits_of(from, v));
      else if (std::fabs(v) >= 1 && std::fabs(v) < 9e18) out.push_back(bits_of(from, static_cast<std::int64_t>(v)));
    }
    if (from == DType::f32) {
      for (float off : {std::nextafter(static_cast<float>(half), INFINITY), std::nextafter(static_cast<float>(half), -INFINITY)}) out.push_back(bits_of(from, static_cast<double>(off)));
    } else if (!is_float(from) && std::fabs(half) >= 1 && std::fabs(half) < 9e18) {
      for (int off : {-1, 1}) out.push_back(bits_of(from, static_cast<std::int64_t>(half) + off));
    }
  }
  return out;
}

void append(std::vector<std::uint8_t>& to, DType type, std::uint64_t bits) {
  const std::size_t at = to.size();
  to.resize(at + size_of(type));
  std::memcpy(to.data() + at, &bits, size_of(type));
}

}  // namespace

Inputs inputs_of(const Case& c) {
  Random g(11);
  Inputs in;
  if (c.is_cast) {
    for (std::uint64_t b : for_cast(c.from, c.to, g)) append(in.stored[0], c.from, b);
    in.count = static_cast<std::int64_t>(in.stored[0].size() / size_of(c.from));
    return in;
  }
  const std::size_t arity = c.operands.size();
  std::array<Bits, 3> pool;
  std::size_t combinations = 1;
  for (std::size_t k = 0; k < arity; ++k) {
    pool[k] = specials(c.operands[k], arity == 3);
    combinations *= pool[k].size();
  }
  for (std::size_t n = 0; n < combinations + 20000; ++n) {
    std::size_t rest = n;
    for (std::size_t k = 0; k < arity; ++k) {
      const std::uint64_t b = n < combinations ? pool[k][rest % pool[k].size()] : random_element(c.operands[k], g);
      rest /= pool[k].size();
      append(in.stored[k], c.operands[k], b);
    }
    ++in.count;
  }
  return in;
}

}  // namespace quern::cuda::test
