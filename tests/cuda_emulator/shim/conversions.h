// Bodies for the functions of the scalar prelude that are single instructions (compiler/codegen/cuda/
// prelude_instructions.cpp), under the same names. Approximations are off by what is documented for them, up or down
// by the bits of the argument, so that a result that needs more shows.
#pragma once

#define __CUDA_ARCH__ 900

namespace quern_emulated {
enum Stored { f16 = 2, bf16 = 3, e4m3 = 4, e5m2 = 5 };  // quern::DType

template <class Bits>
inline Bits stored(Stored type, float x) {
  Bits bits = 0;
  quern_machine->store(type, &bits, static_cast<double>(x));
  return bits;
}
template <class Bits>
inline float loaded(Stored type, Bits bits) {
  return static_cast<float>(quern_machine->load(type, &bits));
}
/// A normal x moved by one unit in the last place, which is up to 2^-23 of it.
inline float moved(float x, float argument) {
  const unsigned bits = __float_as_uint(x), size = bits & 0x7fffffffu;
  if (size < 0x01000000u || size > 0x7f000000u) return x;
  return __uint_as_float((__float_as_uint(argument) * 2654435761u) >> 31 ? bits + 1u : bits - 1u);
}
inline float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }
}  // namespace quern_emulated

inline float ex2(float x) {
  const float y = exp2f(x);
  return x == rintf(x) ? y : quern_emulated::moved(y, x);
}
inline float ex2_flushed(float x) { return quern_emulated::flushed(ex2(quern_emulated::flushed(x))); }
inline float reciprocal(float x) {
  x = quern_emulated::flushed(x);
  return quern_emulated::flushed(quern_emulated::moved(1.0f / x, x));
}
inline float max_f32(float x, float y) {
  if (x != x || y != y) return __int_as_float(0x7fffffff);
  return x > y || (x == y && !signbit(x)) ? x : y;
}
inline float min_f32(float x, float y) {
  if (x != x || y != y) return __int_as_float(0x7fffffff);
  return x < y || (x == y && signbit(x)) ? x : y;
}

inline unsigned short f16_bits(float x) { return quern_emulated::stored<unsigned short>(quern_emulated::f16, x); }
inline float f16_value(unsigned short x) { return quern_emulated::loaded(quern_emulated::f16, x); }
inline unsigned short bf16_bits(float x) { return quern_emulated::stored<unsigned short>(quern_emulated::bf16, x); }
inline unsigned f16x2_bits(float low, float high) { return f16_bits(low) | static_cast<unsigned>(f16_bits(high)) << 16; }
inline unsigned bf16x2_bits(float low, float high) { return bf16_bits(low) | static_cast<unsigned>(bf16_bits(high)) << 16; }
#define QUERN_FP8_INSTRUCTIONS 1
inline unsigned short e4m3x2_bits(float low, float high) {
  return static_cast<unsigned short>(quern_emulated::stored<unsigned char>(quern_emulated::e4m3, low) | quern_emulated::stored<unsigned char>(quern_emulated::e4m3, high) << 8);
}
inline unsigned short e5m2x2_bits(float low, float high) {
  return static_cast<unsigned short>(quern_emulated::stored<unsigned char>(quern_emulated::e5m2, low) | quern_emulated::stored<unsigned char>(quern_emulated::e5m2, high) << 8);
}
inline unsigned f16x2_of_e4m3x2(unsigned short x) {
  return f16x2_bits(quern_emulated::loaded(quern_emulated::e4m3, static_cast<unsigned char>(x)), quern_emulated::loaded(quern_emulated::e4m3, static_cast<unsigned char>(x >> 8)));
}
