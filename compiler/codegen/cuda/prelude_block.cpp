// Device functions for the threads of a block: counts, best-of pairs, shuffles of any value, vectors in registers.
#include "compiler/codegen/cuda/kernel_printer.h"

namespace quern::cuda {

std::string block_prelude() {
  return R"cuda(
// rest mod count, and rest becomes rest div count; both at least 0.
__device__ __forceinline__ long long quern_split(long long& rest, long long count) {
  long long q;
  if (((unsigned long long)(rest | count) >> 32) == 0) q = (long long)((unsigned)rest / (unsigned)count);
  else q = rest / count;
  const long long left = rest - q * count;
  rest = q;
  return left;
}

// x, of which the compiler knows nothing: what follows from it is not kept in registers from one task to the next.
#ifdef QUERN_EMULATED
__device__ __forceinline__ int quern_opaque(int x) { return x; }
#else
__device__ __forceinline__ int quern_opaque(int x) { asm volatile("" : "+r"(x)); return x; }
#endif

// rest div count, and rest becomes rest mod count; both at least 0.
__device__ __forceinline__ long long quern_quotient(long long& rest, long long count) {
  long long q = rest;
  rest = quern_split(q, count);
  return q;
}

// The next task, to all threads of a block: in order as blocks arrive.
__device__ __forceinline__ long long quern_ticket(unsigned long long* counter, unsigned char* exchange) {
  if (threadIdx.x == 0) *(long long*)exchange = (long long)atomicAdd(counter, 1ull);
  __syncthreads();
  const long long task = *(long long*)exchange;
  __syncthreads();
  return task;
}
// A value in words of device memory that were 0: each has 4 bytes of it below a mark, so a word that is there is right.
__device__ __forceinline__ unsigned long long quern_bits(float x) { return (unsigned long long)__float_as_uint(x); }
__device__ __forceinline__ unsigned long long quern_bits(double x) { return (unsigned long long)__double_as_longlong(x); }
__device__ __forceinline__ unsigned long long quern_bits(int x) { return (unsigned long long)(unsigned)x; }
__device__ __forceinline__ unsigned long long quern_bits(long long x) { return (unsigned long long)x; }
__device__ __forceinline__ void quern_take(float& x, unsigned long long bits) { x = __uint_as_float((unsigned)bits); }
__device__ __forceinline__ void quern_take(double& x, unsigned long long bits) { x = __longlong_as_double((long long)bits); }
__device__ __forceinline__ void quern_take(int& x, unsigned long long bits) { x = (int)(unsigned)bits; }
__device__ __forceinline__ void quern_take(long long& x, unsigned long long bits) { x = (long long)bits; }
template <class T> __device__ __forceinline__ void quern_publish(volatile unsigned long long* at, T x) {
  const unsigned long long bits = quern_bits(x);
  at[0] = 1ull << 32 | (bits & 0xffffffffull);
  if (sizeof(T) == 8) at[1] = 1ull << 32 | bits >> 32;
}
template <class T> struct quern_words {
  unsigned long long low, high;
  __device__ __forceinline__ void look(const volatile unsigned long long* at) {
    low = at[0];
    high = sizeof(T) == 8 ? at[1] : 1ull << 32;
  }
  __device__ __forceinline__ T wait(const volatile unsigned long long* at) {
    while (low >> 32 == 0 || high >> 32 == 0) {
      __nanosleep(32);
      look(at);
    }
    T x;
    quern_take(x, sizeof(T) == 8 ? high << 32 | (low & 0xffffffffull) : low & 0xffffffffull);
    return x;
  }
};
template <class T> __device__ __forceinline__ T quern_receive(const volatile unsigned long long* at) {
  quern_words<T> words;
  words.look(at);
  return words.wait(at);
}
template <class T> __device__ __forceinline__ bool quern_finite(T x) { return x - x == 0; }

__device__ __forceinline__ float quern_shuffle_xor(unsigned mask, float x, int step) { return __shfl_xor_sync(mask, x, step); }
__device__ __forceinline__ double quern_shuffle_xor(unsigned mask, double x, int step) { return __shfl_xor_sync(mask, x, step); }
__device__ __forceinline__ int quern_shuffle_xor(unsigned mask, int x, int step) { return __shfl_xor_sync(mask, x, step); }
__device__ __forceinline__ long long quern_shuffle_xor(unsigned mask, long long x, int step) { return __shfl_xor_sync(mask, x, step); }
__device__ __forceinline__ short quern_shuffle_xor(unsigned mask, short x, int step) { return (short)__shfl_xor_sync(mask, (int)x, step); }
__device__ __forceinline__ signed char quern_shuffle_xor(unsigned mask, signed char x, int step) { return (signed char)__shfl_xor_sync(mask, (int)x, step); }
__device__ __forceinline__ unsigned char quern_shuffle_xor(unsigned mask, unsigned char x, int step) { return (unsigned char)__shfl_xor_sync(mask, (int)x, step); }
__device__ __forceinline__ bool quern_shuffle_xor(unsigned mask, bool x, int step) { return __shfl_xor_sync(mask, (int)x, step) != 0; }

// (best, at) takes (x, x_at) when that is better, or as good at a lower position. NaN is best; position -1 is nothing.
template <class T> __device__ __forceinline__ void quern_argmax(T& best, int& at, T x, int x_at) {
  const bool nan = x != x, best_nan = best != best;
  const bool better = x > best || (nan && !best_nan), same = x == best || (nan && best_nan);
  if (x_at >= 0 && (at < 0 || better || (same && x_at < at))) best = x, at = x_at;
}
template <class T> __device__ __forceinline__ void quern_argmin(T& best, int& at, T x, int x_at) {
  const bool nan = x != x, best_nan = best != best;
  const bool better = x < best || (nan && !best_nan), same = x == best || (nan && best_nan);
  if (x_at >= 0 && (at < 0 || better || (same && x_at < at))) best = x, at = x_at;
}

// The same for N neighbours at once, the first at position `first`, behind all that came before: a vector is kept whole, and
// `at` is where it begins until quern_first_best says where in it the best stands.
template <class T> __device__ __forceinline__ T quern_larger(T x, T y) { return x > y || x != x ? x : y; }
template <class T> __device__ __forceinline__ T quern_smaller(T x, T y) { return x < y || x != x ? x : y; }
__device__ __forceinline__ float quern_larger(float x, float y) { return max_f32(x, y); }
__device__ __forceinline__ float quern_smaller(float x, float y) { return min_f32(x, y); }
template <class T, int N> __device__ __forceinline__ void quern_keep(bool better, T& best, int& at, T (&kept)[N], T x, const T (&seen)[N], int first) {
  best = better ? x : best;
  at = better ? first : at;
#pragma unroll
  for (int i = 0; i < N; ++i) kept[i] = better ? seen[i] : kept[i];
}
template <class T, int N> __device__ __forceinline__ void quern_argmax_vector(T& best, int& at, T (&kept)[N], const T (&seen)[N], int first) {
  T x = seen[0];
#pragma unroll
  for (int i = 1; i < N; ++i) x = quern_larger(x, seen[i]);
  quern_keep((!(x <= best) && best == best) || at < 0, best, at, kept, x, seen, first);
}
template <class T, int N> __device__ __forceinline__ void quern_argmin_vector(T& best, int& at, T (&kept)[N], const T (&seen)[N], int first) {
  T x = seen[0];
#pragma unroll
  for (int i = 1; i < N; ++i) x = quern_smaller(x, seen[i]);
  quern_keep((!(x >= best) && best == best) || at < 0, best, at, kept, x, seen, first);
}
template <class T, int N> __device__ __forceinline__ void quern_first_best(T best, int& at, const T (&kept)[N]) {
  if (at < 0) return;
  int found = N - 1;
#pragma unroll
  for (int i = N - 1; i > 0; --i)
    if (kept[i - 1] == best || kept[i - 1] != kept[i - 1]) found = i - 1;
  at += found;
}

// Consecutive elements in registers; whole and aligned ones move in pieces of up to 16 bytes.
template <class T, int N> struct __align__(sizeof(T) * N < 16 ? sizeof(T) * N : 16) quern_vector {
  T at[N];
  // Element e as bf16, by one instruction: its bits are the upper half of the f32.
  __device__ __forceinline__ float bf16(int e) const {
    const unsigned pair = ((const unsigned*)at)[e / 2];
    return __uint_as_float(e % 2 ? pair & 0xffff0000u : pair << 16);
  }
};
template <int N> __device__ __forceinline__ quern_vector<unsigned short, N> quern_pack_bf16(const float (&x)[N]) {
  quern_vector<unsigned short, N> y;
#pragma unroll
  for (int i = 0; i < N; i += 2) ((unsigned*)y.at)[i / 2] = bf16x2_bits(x[i], x[i + 1]);
  return y;
}
template <int N> __device__ __forceinline__ quern_vector<unsigned short, N> quern_pack_f16(const float (&x)[N]) {
  quern_vector<unsigned short, N> y;
#pragma unroll
  for (int i = 0; i < N; i += 2) ((unsigned*)y.at)[i / 2] = f16x2_bits(x[i], x[i + 1]);
  return y;
}
template <int bytes> struct quern_piece { typedef uint4 type; };
template <> struct quern_piece<8> { typedef uint2 type; };
template <> struct quern_piece<4> { typedef unsigned type; };
template <> struct quern_piece<2> { typedef unsigned short type; };
template <> struct quern_piece<1> { typedef unsigned char type; };
template <class T, int N> __device__ __forceinline__ void quern_load(quern_vector<T, N>& to, const T* from, int valid) {
  typedef typename quern_piece<sizeof(T) * N>::type piece;
  if (valid >= N && ((unsigned long long)from & (sizeof(piece) - 1)) == 0) {
#pragma unroll
    for (int i = 0; i < int(sizeof(T) * N / sizeof(piece)); ++i) ((piece*)to.at)[i] = ((const piece*)from)[i];
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) to.at[i] = i < valid ? from[i] : T(0);
  }
}
// Whole vectors `step` elements apart, those that begin before `left`; all are on their way before the first is there.
template <bool all, class T, int N, int C> __device__ __forceinline__ void quern_load_chunks(quern_vector<T, N> (&to)[C], const T* from, int step, int left) {
  typedef typename quern_piece<sizeof(T) * N>::type piece;
  if (((unsigned long long)from & (sizeof(piece) - 1)) == 0) {
#pragma unroll
    for (int c = 0; c < C; ++c)
      if (all || c * step < left) {
#pragma unroll
        for (int i = 0; i < int(sizeof(T) * N / sizeof(piece)); ++i) ((piece*)to[c].at)[i] = ((const piece*)(from + c * step))[i];
      }
  } else {
#pragma unroll
    for (int c = 0; c < C; ++c)
      if (all || c * step < left) {
#pragma unroll
        for (int i = 0; i < N; ++i) to[c].at[i] = from[c * step + i];
      }
  }
}
template <class T, int N> __device__ __forceinline__ void quern_store(T* to, const quern_vector<T, N>& from, int valid) {
  typedef typename quern_piece<sizeof(T) * N>::type piece;
  if (valid >= N && ((unsigned long long)to & (sizeof(piece) - 1)) == 0) {
#pragma unroll
    for (int i = 0; i < int(sizeof(T) * N / sizeof(piece)); ++i) ((piece*)to)[i] = ((const piece*)from.at)[i];
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) if (i < valid) to[i] = from.at[i];
  }
}

// What quern_store_quad stores where 16 bytes cannot go at once. A function of its own: every piece of every row calls it,
// and inlined it was a third of the code of kernels with wide results.
__device__ __noinline__ void quern_store_pairs(unsigned short* to, unsigned short* behind, int valid, int valid_behind, unsigned a, unsigned b, unsigned c, unsigned d) {
#pragma unroll 1
  for (int j = 0; j < 4; ++j) {
    if (valid > 0) to[0] = (unsigned short)a;
    if (valid > 1) to[1] = (unsigned short)(a >> 16);
    a = b, b = c, c = d;
    to = j == 1 ? behind : to + 8;
    valid = j == 1 ? valid_behind : valid - 8;
  }
}

// Twice 16 neighbours, of which valid[0] and valid[1] exist, by the four lanes of a quad: each holds, in word j, elements
// 2 (lane % 4) and the next one of the j-th eight. Words change places so that lane % 4 = j holds the j-th eight, 16 bytes.
// Warp-wide, all lanes.
__device__ __forceinline__ void quern_store_quad(unsigned short* const (&to)[2], const int (&valid)[2], const unsigned (&own)[4], int lane) {
  const int part = lane % 4;
  const bool odd = part % 2 != 0, upper = part >= 2;
  const unsigned a = shuffle_xor(odd ? own[0] : own[1], 1), b = shuffle_xor(odd ? own[2] : own[3], 1);
  const unsigned low[2] = {odd ? a : own[0], odd ? b : own[2]}, high[2] = {odd ? own[1] : a, odd ? own[3] : b};
  const unsigned c = shuffle_xor(upper ? low[0] : low[1], 2), d = shuffle_xor(upper ? high[0] : high[1], 2);
  if ((((unsigned long long)to[0] | (unsigned long long)to[1]) & 15) == 0 && ((valid[0] | valid[1]) & 7) == 0) {
    uint4 x;
    x.x = upper ? c : low[0];
    x.y = upper ? d : high[0];
    x.z = upper ? low[1] : c;
    x.w = upper ? high[1] : d;
    const int at = part % 2 * 8;
    if (at < (upper ? valid[1] : valid[0])) *(uint4*)((upper ? to[1] : to[0]) + at) = x;
  } else {
    quern_store_pairs(to[0] + part * 2, to[1] + part * 2, valid[0] - part * 2, valid[1] - part * 2, own[0], own[1], own[2], own[3]);
  }
}

// 8 elements of 2 bytes, `step` apart: the first `valid` from global memory, zeros behind them; asynchronous where it can be.
__device__ __forceinline__ void quern_copy_8(unsigned short* to, const unsigned short* from, long long step, int valid) {
  if (valid >= 8 && step == 1 && ((unsigned long long)from & 15) == 0) {
    quern_cp_async_16(quern_shared_address(to), from, 16);
  } else {
    for (int i = 0; i < 8; ++i) to[i] = i < valid ? from[i * step] : (unsigned short)0;
  }
}

// The same for 4 elements of 4 bytes.
__device__ __forceinline__ void quern_copy_4(float* to, const float* from, long long step, int valid) {
  if (valid >= 4 && step == 1 && ((unsigned long long)from & 15) == 0) {
    quern_cp_async_16(quern_shared_address(to), from, 16);
  } else {
    for (int i = 0; i < 4; ++i) to[i] = i < valid ? from[i * step] : 0.0f;
  }
}
)cuda";
}

}  // namespace quern::cuda
