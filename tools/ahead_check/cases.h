// The kernels of kernels.quern with data, and whether a result agrees with the interpreter's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <quern/gpu.h>
#include <quern/quern.h>

namespace ahead_check {

using namespace quern;

struct Case {
  std::string kernel;
  std::vector<Tensor> inputs;  // on the host
  Sizes output;
  ElementType type = f32;
  double tolerance = 0;
  std::int64_t d = 0;          // compile-time value, 0 = none
};

/// Values k / 32 with |k| <= 32, exact in every type.
inline Tensor filled(ElementType type, Sizes shape, std::uint32_t seed) {
  Tensor t(type, shape);
  for (std::int64_t i = 0; i < t.view().count(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    const float value = (static_cast<float>(seed >> 26) - 31.5f) / 32;
    if (type == bf16) static_cast<std::uint16_t*>(t.view().data())[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
    else static_cast<float*>(t.view().data())[i] = value;
  }
  return t;
}
inline Tensor indices(std::int64_t count, std::int64_t below) {
  Tensor t(i32, {count});
  for (std::int64_t i = 0; i < count; ++i) static_cast<std::int32_t*>(t.view().data())[i] = static_cast<std::int32_t>((i * 7919 + 3) % below);
  return t;
}

inline Case causal(std::int64_t heads, std::int64_t t, std::int64_t d) {
  return {"causal", {filled(bf16, {heads, t, d}, 1), filled(bf16, {heads, t, d}, 2), filled(bf16, {heads, t, d}, 3)}, {heads, t, d}, bf16, 0x1p-7, d};
}
inline Case attention(std::int64_t m, std::int64_t n, std::int64_t d) {
  return {"attention", {filled(f32, {m, d}, 1), filled(f32, {n, d}, 2), filled(f32, {n, d}, 3)}, {m, d}, f32, 1e-5, d};
}
inline Case rows(std::int64_t m, std::int64_t n) { return {"rows", {filled(f32, {m, n}, 4)}, {m, n}, f32, 1e-6, 0}; }
inline Case pick(std::int64_t v, std::int64_t e, std::int64_t t) { return {"pick", {filled(f32, {v, e}, 5), indices(t, v)}, {t, e}, f32, 0, 0}; }

inline std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline Options options(const Case& c, Device device) {
  Options o = Options().on(device);
  if (c.d) o = o.set("D", c.d);
  return o;
}
inline std::vector<Argument> arguments(const std::vector<Tensor>& inputs, const Tensor& output) {
  std::vector<Argument> list(inputs.begin(), inputs.end());
  list.push_back(out(output));
  return list;
}

inline double value(const Tensor& t, std::int64_t i) {
  if (t.type() == bf16) return std::bit_cast<float>(static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(t.view().data())[i]) << 16);
  return static_cast<const float*>(t.view().data())[i];
}
/// The largest difference from `wanted`, NaN where one side is NaN.
inline double difference(const Tensor& found, const Tensor& wanted) {
  double most = 0;
  for (std::int64_t i = 0; i < wanted.view().count(); ++i) {
    const double d = std::abs(value(found, i) - value(wanted, i));
    if (std::isnan(d)) return d;
    most = std::max(most, d);
  }
  return most;
}
inline Tensor reference(const std::string& text, const Case& c) {
  const Tensor wanted(c.type, c.output);
  Kernel(text, c.kernel, options(c, Device::interpreter)).run(std::span<const Argument>(arguments(c.inputs, wanted)));
  return wanted;
}

}  // namespace ahead_check
