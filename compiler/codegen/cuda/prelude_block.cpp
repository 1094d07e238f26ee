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
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      quern_vector<unsigned short, 2> pair;
      *(unsigned*)pair.at = own[j];
      const int at = j % 2 * 8 + part * 2;
      quern_store(to[j / 2] + at, pair, valid[j / 2] - at);
    }
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

// Whether x at position p stands before y at q: descending with NaN first, or ascending with NaN last; ties by position.
template <class T, bool ascending> __device__ __forceinline__ bool quern_before(T x, int p, T y, int q) {
  const bool x_nan = x != x, y_nan = y != y;
  const bool larger = x > y || (x_nan && !y_nan), smaller = x < y || (y_nan && !x_nan);
  if (ascending ? smaller : larger) return true;
  if (ascending ? larger : smaller) return false;
  return p < q;
}

// False only where x cannot stand before y at an earlier position. NaN on either side: true.
template <class T> __device__ __forceinline__ bool quern_may_beat(T x, T y) { return !(x <= y); }

// One value of each lane into descending order over the lanes.
template <class T> __device__ __forceinline__ void quern_sort_lanes(T& x, int& at, int lane) {
#pragma unroll
  for (int size = 2; size <= 32; size *= 2)
#pragma unroll
    for (int step = size / 2; step > 0; step /= 2) {
      const T y = shuffle_xor(x, step);
      const int y_at = shuffle_xor(at, step);
      // Positions tell all lanes that have a value apart; those without one come last.
      const bool before = at >= 0 && (y_at < 0 || quern_before<T, false>(x, at, y, y_at));
      const bool upper = (lane & step) == 0, descending = (lane & size) == 0;
      if (before != (upper == descending) && (at >= 0 || y_at >= 0)) x = y, at = y_at;
    }
}

// The first k of n values in order, the largest first, by all threads of a block or, each with values of its own, by every
// warp. look(d, x) says whether value d is there; keep(j, x, d) takes the results, `none` and -1 where values are missing.
// Ends with a barrier of those who took part.
// Each lane of a warp holds one of the 32 best so far, in order; the first 32 are sorted. Few of the others are better than
// the last of them: a warp mostly compares. Beyond 32 the values are walked again for the next 32.
template <bool by_warp, class T, class Look, class Keep>
__device__ __forceinline__ void quern_top(const Look& look, const Keep& keep, long long n, long long k, T none, unsigned char* exchange) {
  constexpr int kAtOnce = 8;
  const int lane = (int)threadIdx.x % 32, thread = by_warp ? lane : (int)threadIdx.x, threads = by_warp ? 32 : (int)blockDim.x, warp = thread / 32;
  T* const passed = (T*)exchange;
  int* const passed_at = (int*)(exchange + threads * 8);
  T last = none;
  int last_at = -1;
#pragma unroll 1
  for (long long taken = 0; taken < k; taken += 32) {
    const int want = (int)min(k - taken, 32ll);
    T best = none, limit = none;
    int at = -1, limit_at = -1;
    const auto insert = [&](T x, int x_at) {
      const bool later = at < 0 || quern_before<T, false>(x, x_at, best, at);  // what is here moves on
      const T above = shuffle_up(best, 1);
      const int above_at = shuffle_up(at, 1), above_later = shuffle_up(later ? 1 : 0, 1);
      if (later) {
        const bool moved = lane > 0 && above_later != 0;
        best = moved ? above : x;
        at = moved ? above_at : x_at;
      }
      limit = shuffle(best, want - 1);
      limit_at = shuffle(at, want - 1);
    };
#pragma unroll 1
    for (long long base = 0; base < n; base += threads * kAtOnce) {
      T x[kAtOnce];
      bool there[kAtOnce];
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        const long long d = base + u * threads + thread;
        x[u] = none;
        there[u] = d < n && look(d, x[u]);
      }
      if (last_at >= 0) {
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u) there[u] = there[u] && quern_before<T, false>(last, last_at, x[u], (int)base + u * threads + thread);
      }
      if (base == 0) {
        best = x[0];
        at = there[0] ? thread : -1;
        there[0] = false;
        quern_sort_lanes(best, at, lane);
        limit = shuffle(best, want - 1);
        limit_at = shuffle(at, want - 1);
      }
      unsigned some = 0;  // of them that may be good: the same in all lanes
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u)
        if (__any_sync(0xffffffffu, there[u] && (limit_at < 0 || quern_may_beat(x[u], limit)))) some |= 1u << u;
#pragma unroll 1
      for (; some != 0; some &= some - 1) {
        const int chosen = __ffs((int)some) - 1;
        T mine = none;
        bool good = false;
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u)
          if (u == chosen) mine = x[u], good = there[u];
        good = good && (limit_at < 0 || quern_may_beat(mine, limit));
        // Lane after lane offers its value, as long as it may be among the best.
        while (const unsigned found = __ballot_sync(0xffffffffu, good)) {
          const int from = __ffs((int)found) - 1;
          const T one = shuffle(mine, from);
          const int one_at = (int)base + chosen * threads + warp * 32 + from;
          if (limit_at < 0 || quern_before<T, false>(one, one_at, limit, limit_at)) insert(one, one_at);
          good = good && lane != from && (limit_at < 0 || quern_may_beat(mine, limit));
        }
      }
    }
    if (by_warp) {
      if (lane < want) keep(taken + lane, at < 0 ? none : best, at);
      last = limit;
      last_at = limit_at;
    } else {
      passed[thread] = best;
      passed_at[thread] = at;
      __syncthreads();
      if (warp == 0) {
#pragma unroll 1
        for (int w = 1; w < threads / 32; ++w)
#pragma unroll 1
          for (int e = 0; e < want; ++e) {
            const T one = passed[w * 32 + e];
            const int one_at = passed_at[w * 32 + e];
            if (one_at < 0 || (limit_at >= 0 && !quern_before<T, false>(one, one_at, limit, limit_at))) break;
            insert(one, one_at);
          }
        if (lane < want) keep(taken + lane, at < 0 ? none : best, at);
        if (lane == 0) passed[0] = limit, passed_at[0] = limit_at;
      }
      __syncthreads();
      last = passed[0];
      last_at = passed_at[0];
      __syncthreads();
    }
    if (last_at < 0) {
      for (long long j = taken + 32 + thread; j < k; j += threads) keep(j, none, -1);
      break;
    }
  }
  if (by_warp) __syncwarp();
  else __syncthreads();
}

// The same by a warp for up to 128 values of f32 and a few k: a lane has four in order, in every round the largest of all
// first ones is taken, the lowest position where several are as large. Values become integers in the order of `quern_before`.
template <class Look, class Keep>
__device__ __forceinline__ void quern_top_128(const Look& look, const Keep& keep, int n, int k, float none) {
  const int lane = (int)threadIdx.x % 32;
  unsigned key[4], at[4];
#pragma unroll
  for (int u = 0; u < 4; ++u) {
    float x = none;
    const int d = u * 32 + lane;
    const bool there = d < n && look(d, x);
    const int bits = __float_as_int(x + 0.0f);
    const unsigned order = (unsigned)bits ^ ((unsigned)(bits >> 31) | 0x80000000u);
    key[u] = !there ? 0u : x != x ? 0xffffffffu : order;  // -inf is above 0
    at[u] = (unsigned)d;
  }
#pragma unroll
  for (int done = 3; done > 0; --done)
#pragma unroll
    for (int u = 0; u < done; ++u) {
      const bool swap = key[u + 1] > key[u];
      const unsigned high = swap ? key[u + 1] : key[u], low = swap ? key[u] : key[u + 1], high_at = swap ? at[u + 1] : at[u], low_at = swap ? at[u] : at[u + 1];
      key[u] = high, key[u + 1] = low, at[u] = high_at, at[u + 1] = low_at;
    }
#pragma unroll 1
  for (int taken = 0; taken < k; taken += 32) {
    const int want = min(k - taken, 32);
    int mine = -1;
#pragma unroll 4
    for (int j = 0; j < want; ++j) {
      const unsigned most = __reduce_max_sync(0xffffffffu, key[0]);
      const unsigned first = __reduce_min_sync(0xffffffffu, key[0] == most ? at[0] : 0xffffffffu);
      if (lane == j) mine = most == 0 ? -1 : (int)first;
      if (at[0] == first) {
#pragma unroll
        for (int u = 0; u < 3; ++u) key[u] = key[u + 1], at[u] = at[u + 1];
        key[3] = 0u;
      }
    }
    if (lane < want) {
      float x = none;
      if (mine >= 0) look(mine, x);
      keep(taken + lane, x, mine);
    }
  }
  __syncwarp();
}

// n values into ascending order, NaN last; `at`, where wanted, follows them from 0, 1, 2 ... and makes the order stable. By
// all threads of a block, begins after and ends with a barrier. A bitonic network whose exchanges all go upwards: what
// would lie behind the end is the largest and stays there, so it need not exist.
template <class T, bool positions>
__device__ __noinline__ void quern_sort(T* row, int* at, long long n) {
  const int thread = (int)threadIdx.x, threads = (int)blockDim.x;
  if (positions) for (long long i = thread; i < n; i += threads) at[i] = (int)i;
  long long half = 1;
  while (2 * half < n) half *= 2;
  __syncthreads();
  const auto exchange = [&](long long i, long long j) {
    if (j >= n) return;
    const T x = row[i], y = row[j];
    const int p = positions ? at[i] : 0, q = positions ? at[j] : 0;
    if (!quern_before<T, true>(y, q, x, p)) return;
    row[i] = y, row[j] = x;
    if (positions) at[i] = q, at[j] = p;
  };
  for (long long size = 1; size <= half; size *= 2) {
    for (long long t = thread; t < half; t += threads) {
      const long long first = (t & ~(size - 1)) * 2, inside = t & (size - 1);
      exchange(first + inside, first + 2 * size - 1 - inside);
    }
    __syncthreads();
    for (long long step = size / 2; step > 0; step /= 2) {
      for (long long t = thread; t < half; t += threads) {
        const long long i = (t & ~(step - 1)) * 2 + (t & (step - 1));
        exchange(i, i + step);
      }
      __syncthreads();
    }
  }
}
)cuda";
}

}  // namespace quern::cuda
