// Preludes of kernels with operands of one byte a value: e4m3 and e5m2 as f16 or bf16, which hold all their values
// (widening.cpp), and copies for the machine's own products of them (prelude_products.cpp), both factors along the 128 bytes
// of their rows. These keep 14 bits of a sum (Arranger::find_byte_products).
#include "compiler/codegen/cuda/prelude_hopper.h"

namespace quern::cuda {

std::string_view byte_copies_prelude() {
  return R"(
// 16 values of one byte, `step` apart: the first `valid` from memory, zeros behind them; asynchronous where it can be.
__device__ __forceinline__ void quern_copy_16_bytes(unsigned short* to, const unsigned char* from, long long step, int valid) {
  if (valid >= 16 && step == 1 && ((unsigned long long)from & 15) == 0) {
    quern_cp_async_16(quern_shared_address(to), from, 16);
  } else {
    for (int i = 0; i < 16; ++i) ((unsigned char*)to)[i] = i < valid ? from[i * step] : (unsigned char)0;
  }
}
)";
}

std::string_view widening_prelude() {
  return R"(
// Two values in the low half of x, each as f16 or bf16.
template <bool is_e5m2, bool to_bf16> __device__ __forceinline__ unsigned quern_widened(unsigned x) {
  const unsigned f16 = is_e5m2 ? __byte_perm(x, 0, 0x1404) : f16x2_of_e4m3x2((unsigned short)x);  // an e5m2 is the upper half of an f16
  return to_bf16 ? bf16x2_bits(f16_value((unsigned short)f16), f16_value((unsigned short)(f16 >> 16))) : f16;
}
// 8 values that follow each other.
template <bool is_e5m2, bool to_bf16> __device__ __forceinline__ uint4 quern_widened_8(unsigned low, unsigned high) {
  uint4 y;
  y.x = quern_widened<is_e5m2, to_bf16>(low);
  y.y = quern_widened<is_e5m2, to_bf16>(low >> 16);
  y.z = quern_widened<is_e5m2, to_bf16>(high);
  y.w = quern_widened<is_e5m2, to_bf16>(high >> 16);
  return y;
}
// A tile that has arrived in pieces of `wide` columns, to an operand tile (quern_swizzled). Of eight threads that store
// together four have the other half of their 16 values first, so that they meet eight different units of 16 bytes.
template <bool is_e5m2, bool to_bf16, int rows, int columns, int wide, int threads>
__device__ __forceinline__ void quern_widen_tile(unsigned short* to, const unsigned char* from, int thread) {
  constexpr int row_units = wide / 16, step = threads / row_units;
  static_assert(threads % row_units == 0, "whole rows at a time");
#pragma unroll
  for (int piece = 0; piece < columns / wide; ++piece) {
    const int column = piece * wide + thread % row_units * 16, second = column / 64 % 2;
    unsigned short* const at = to + column / 64 * rows * 64;
    const unsigned char* const of_piece = from + piece * rows * wide + thread % row_units * 16;
    // Loads of several rows ahead of the first store, which might be to the same place for all that the compiler knows.
#pragma unroll 1
    for (int first = thread / row_units; first < rows; first += 4 * step) {
      uint4 held[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) held[i] = *(const uint4*)(of_piece + min(first + i * step, rows - 1) * wide);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = first + i * step;
        const uint4 x = held[i], a = quern_widened_8<is_e5m2, to_bf16>(x.x, x.y), b = quern_widened_8<is_e5m2, to_bf16>(x.z, x.w);
        if (row < rows) {
          *(uint4*)(at + row * 64 + ((column / 8 % 8 + second) ^ row % 8) * 8) = second ? b : a;
          *(uint4*)(at + row * 64 + ((column / 8 % 8 + (second ^ 1)) ^ row % 8) * 8) = second ? a : b;
        }
      }
    }
  }
}
// 8 values, `step` apart: the first `valid` from memory, zeros behind them.
template <bool is_e5m2, bool to_bf16> __device__ __forceinline__ void quern_widen_8(unsigned short* to, const unsigned char* from, long long step, int valid) {
  unsigned x[2] = {0, 0};
  if (valid >= 8 && step == 1 && ((unsigned long long)from & 7) == 0) {
    const uint2 both = *(const uint2*)from;
    x[0] = both.x, x[1] = both.y;
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (i < valid) x[i / 4] |= (unsigned)from[i * step] << (i % 4 * 8);
  }
  *(uint4*)to = quern_widened_8<is_e5m2, to_bf16>(x[0], x[1]);
}
)";
}

}  // namespace quern::cuda
