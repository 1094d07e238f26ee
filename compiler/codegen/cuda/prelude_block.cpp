// Device functions for the threads of a block: counts, best-of pairs, shuffles of any value, selection of a row.
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

// Consecutive elements in registers; whole and aligned ones move in pieces of up to 16 bytes.
template <class T, int N> struct __align__(sizeof(T) * N < 16 ? sizeof(T) * N : 16) quern_vector { T at[N]; };
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

// 8 elements of 2 bytes, `step` apart: the first `valid` from global memory, zeros behind them; asynchronous where it can be.
__device__ __forceinline__ void quern_copy_8(unsigned short* to, const unsigned short* from, long long step, int valid) {
  if (valid >= 8 && step == 1 && ((unsigned long long)from & 15) == 0) {
    quern_cp_async_16(quern_shared_address(to), from, 16);
  } else {
    for (int i = 0; i < 8; ++i) to[i] = i < valid ? from[i * step] : (unsigned short)0;
  }
}

// Whether x at position p stands before y at q: descending with NaN first, or ascending with NaN last; ties by position.
template <class T, bool ascending> __device__ __forceinline__ bool quern_before(T x, int p, T y, int q) {
  const bool x_nan = x != x, y_nan = y != y;
  const bool larger = x > y || (x_nan && !y_nan), smaller = x < y || (y_nan && !x_nan);
  if (ascending ? smaller : larger) return true;
  if (ascending ? larger : smaller) return false;
  return p < q;
}

// The first k of n values in order, by all threads of a block. Values whose byte in `live` is 0 are not there; missing
// ones get `none` and position -1. `values` and `positions` may be null. Ends with a barrier.
// Each thread keeps the first of its own share that is not taken; only the owner of what was taken looks again.
template <class T, bool ascending>
__device__ __noinline__ void quern_select(const T* row, const unsigned char* live, long long n, long long k, T* values, int* positions, T none,
                                          unsigned char* exchange) {
  const int thread = (int)threadIdx.x, threads = (int)blockDim.x, warps = threads / 32;
  T* const passed = (T*)exchange;
  int* const passed_at = (int*)(exchange + 1024);
  T mine = none;
  int mine_at = -1;
  T last = none;
  int last_at = -1;
  bool look = true;
  for (long long j = 0; j < k; ++j) {
    if (look) {
      mine_at = -1;
      for (long long i = thread; i < n; i += threads) {
        const T x = row[i];
        const bool there = (live == 0 || live[i] != 0) && (last_at < 0 || quern_before<T, ascending>(last, last_at, x, (int)i));
        if (there && (mine_at < 0 || quern_before<T, ascending>(x, (int)i, mine, mine_at))) mine = x, mine_at = (int)i;
      }
      look = false;
    }
    T best = mine;
    int at = mine_at;
    for (int step = 16; step > 0; step /= 2) {
      const T x = quern_shuffle_xor(0xffffffffu, best, step);
      const int x_at = quern_shuffle_xor(0xffffffffu, at, step);
      if (x_at >= 0 && (at < 0 || quern_before<T, ascending>(x, x_at, best, at))) best = x, at = x_at;
    }
    if (thread % 32 == 0) passed[thread / 32] = best, passed_at[thread / 32] = at;
    __syncthreads();
    best = passed[0];
    at = passed_at[0];
    for (int w = 1; w < warps; ++w) {
      const T x = passed[w];
      const int x_at = passed_at[w];
      if (x_at >= 0 && (at < 0 || quern_before<T, ascending>(x, x_at, best, at))) best = x, at = x_at;
    }
    if (thread == 0) {
      if (values) values[j] = at < 0 ? none : best;
      if (positions) positions[j] = at;
    }
    if (at >= 0 && at == mine_at) last = mine, last_at = mine_at, look = true;
    __syncthreads();
  }
  __syncthreads();
}
)cuda";
}

}  // namespace quern::cuda
