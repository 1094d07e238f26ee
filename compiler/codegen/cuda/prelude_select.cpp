// Device functions that select the first few of a row, and sort.
#include "compiler/codegen/cuda/kernel_printer.h"

namespace quern::cuda {

std::string select_prelude() {
  return R"cuda(
// Whether x at position p stands before y at q: descending with NaN first, or ascending with NaN last; ties by position.
template <class T, bool ascending> __device__ __forceinline__ bool quern_before(T x, int p, T y, int q) {
  const bool x_nan = x != x, y_nan = y != y;
  const bool larger = x > y || (x_nan && !y_nan), smaller = x < y || (y_nan && !x_nan);
  if (ascending ? smaller : larger) return true;
  if (ascending ? larger : smaller) return false;
  return p < q;
}

// Integers in that order: NaN is largest, -0 and +0 are the same.
__device__ __forceinline__ int quern_key(float x) {
  const int bits = __float_as_int(x + 0.0f);
  return x != x ? 0x7fffffff : bits ^ (bits >> 31 & 0x7fffffff);
}
__device__ __forceinline__ long long quern_key(double x) {
  const long long bits = __double_as_longlong(x + 0.0);
  return x != x ? 0x7fffffffffffffffll : bits ^ (bits >> 63 & 0x7fffffffffffffffll);
}
__device__ __forceinline__ int quern_key(int x) { return x; }
__device__ __forceinline__ long long quern_key(long long x) { return x; }
__device__ __forceinline__ void quern_unkey(float& x, int key) { x = __int_as_float(key ^ (key >> 31 & 0x7fffffff)); }
__device__ __forceinline__ void quern_unkey(double& x, long long key) { x = __longlong_as_double(key ^ (key >> 63 & 0x7fffffffffffffffll)); }
template <class T, class Key> __device__ __forceinline__ void quern_unkey(T& x, Key key) { x = (T)key; }

// Pieces of N neighbours, `step` elements apart, of a row of which `left` elements follow `from`; zeros behind its end.
template <class T, int N, int C> __device__ __forceinline__ void quern_load_pieces(quern_vector<T, N> (&to)[C], const T* from, int step, int left) {
  typedef typename quern_piece<sizeof(T) * N>::type piece;
  constexpr int parts = int(sizeof(T) * N / sizeof(piece));
  if (((unsigned long long)from & (sizeof(piece) - 1)) == 0 && left % N == 0) {
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
      for (int i = 0; i < parts; ++i) ((piece*)to[c].at)[i] = c * step < left ? ((const piece*)(from + c * step))[i] : piece();
  } else {
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
      for (int i = 0; i < N; ++i) to[c].at[i] = c * step + i < left ? from[c * step + i] : T(0);
  }
}
// Bit 4 p + e: element e of piece p exists.
template <int pieces> __device__ __forceinline__ unsigned quern_existing(int step, int left) {
  unsigned there = 0xffffffffu >> (32 - 4 * pieces);
  if (left < (pieces - 1) * step + 4) {
#pragma unroll
    for (int i = 0; i < 4 * pieces; ++i)
      if (i / 4 * step + i % 4 >= left) there &= ~(1u << i);
  }
  return there;
}

// One key of each lane into descending order over the lanes.
template <class Key> __device__ __forceinline__ Key quern_sort_lanes(Key x, int lane) {
#pragma unroll
  for (int size = 2; size <= 32; size *= 2)
#pragma unroll
    for (int step = size / 2; step > 0; step /= 2) {
      const Key y = shuffle_xor(x, step);
      const bool larger = ((lane & step) == 0) == ((lane & size) == 0);
      x = larger ? max(x, y) : min(x, y);
    }
  return x;
}

// The first k of n values in order, the largest first, by all `threads` of a block or, with values of its own, by a warp.
// row(x, d, step, left) fills x[p][e] with value d + p step + e where p step + e < left, and says by bit 4 p + e where there
// is one; keep(j, x, d) takes the results, `none` and -1 where values are missing. Ends with a barrier of those who took part.
//
// A chunk of the row is in registers. Its values fall into 32 groups, so the k-th largest of the groups' best is a bound
// that k values reach and, in any order, few others do. Those that reach it, one a thread at a time, are ranked by counting
// together with the best of the chunks before, which bound the chunks behind. Beyond 32 the row is walked again.
template <int threads, int pieces, class T, class Row, class Keep>
__device__ __forceinline__ void quern_top(const Row& row, const Keep& keep, long long n, long long k, T none, unsigned char* exchange) {
  typedef decltype(quern_key(none)) Key;
  constexpr bool by_warp = threads == 32;
  constexpr int each = pieces * 4, step = threads * 4, chunk = threads * each;
  const int lane = (int)threadIdx.x % 32, thread = by_warp ? lane : (int)threadIdx.x;
  constexpr int places = threads + 32;
  T* const found = (T*)exchange;  // the best so far and what may be as good, in any order
  int* const found_at = (int*)(exchange + places * 8);
  T* const best = (T*)(exchange + places * 12);
  int* const best_at = (int*)(exchange + places * 12 + 256);
  int* const count = (int*)(exchange + places * 12 + 384);     // twice, by turns
  Key* const groups = (Key*)(exchange + places * 12 + 400);  // twice 32
  const auto meet = [&] {
    if (by_warp) __syncwarp();
    else __syncthreads();
  };
  if (thread < 2) count[thread] = 0;
  meet();
  int turn = 0, round = 0;
  T last = none;
  int last_at = -1;
#pragma unroll 1
  for (long long taken = 0; taken < k; taken += 32) {
    const int want = (int)min(k - taken, 32ll);
    int have = 0, limit_at = -1;
    T limit = none;
#pragma unroll 1
    for (long long base = 0; base < n; base += chunk) {
      T x[pieces][4];
      const int first = (int)base + thread * 4;
      unsigned there = row(x, base + thread * 4, step, (int)min(n - base, (long long)chunk) - thread * 4);
      if (last_at >= 0) {
#pragma unroll
        for (int i = 0; i < each; ++i)
          if (!quern_before<T, false>(last, last_at, x[i / 4][i % 4], first + i / 4 * step + i % 4)) there &= ~(1u << i);
      }
      if (there != 0xffffffffu >> (32 - each)) {
#pragma unroll
        for (int i = 0; i < each; ++i) x[i / 4][i % 4] = there >> i & 1 ? x[i / 4][i % 4] : none;
      }
      T most = x[0][0];
#pragma unroll
      for (int i = 1; i < each; ++i) most = quern_larger(most, x[i / 4][i % 4]);
      const Key own = quern_key(most);
      Key group = own;
      if (!by_warp) {
#pragma unroll
        for (int distance = 1; distance < threads / 32; distance *= 2) group = max(group, shuffle_xor(group, distance));
        if (lane % (threads / 32) == 0) groups[turn * 32 + thread / (threads / 32)] = group;
        meet();
        group = groups[turn * 32 + lane];
        turn ^= 1;
      }
      // Later values of the same rank stand behind.
      const bool full = have == want;
      const Key low = quern_key(limit);
      const unsigned better = __ballot_sync(0xffffffffu, !full || group > low);
      if (better == 0) continue;
      Key bound = low;
      if (!full || __popc(better) >= want) bound = shuffle(quern_sort_lanes(group, lane), want - 1);
      unsigned open = 0;
      if (own >= bound && (!full || own > low)) {
        T least;
        quern_unkey(least, bound);
#pragma unroll
        for (int i = 0; i < each; ++i)
          if (!(x[i / 4][i % 4] < least) && !(full && x[i / 4][i % 4] <= limit)) open |= 1u << i;
        open &= there;
      }
      bool more = true;
#pragma unroll 1
      while (more) {
        const auto add = [&](T one, int one_at) {
          const int place = atomicAdd(count + round, 1);
          found[place] = one;
          found_at[place] = one_at;
        };
        if (open != 0) {
          const int chosen = __ffs((int)open) - 1;
          T one = x[0][0];
#pragma unroll
          for (int i = 1; i < each; ++i) one = i == chosen ? x[i / 4][i % 4] : one;
          add(one, first + chosen / 4 * step + chosen % 4);
          open &= open - 1;
        }
        if (thread < have) add(best[thread], best_at[thread]);
        if (by_warp) __syncwarp();
        more = by_warp ? __any_sync(0xffffffffu, open != 0) != 0 : __syncthreads_or(open != 0) != 0;
        const int total = count[round];
        round ^= 1;
        if (thread == 0) count[round] = 0;
#pragma unroll 1
        for (int i = thread; i < total; i += threads) {
          const T one = found[i];
          const int one_at = found_at[i];
          int before = 0;
#pragma unroll 2
          for (int j = 0; j < total; ++j) before += quern_before<T, false>(found[j], found_at[j], one, one_at) ? 1 : 0;
          if (before < want) best[before] = one, best_at[before] = one_at;
        }
        meet();
        have = min(total, want);
        if (have < want) continue;
        limit = best[want - 1];
        limit_at = best_at[want - 1];
        if (open == 0) continue;
        // What is still open may no longer be good: bits of positions before the limit's, then of values.
        const int ahead = max(limit_at - first, 0), early = ahead / step * 4 + min(ahead % step, 4);
        const unsigned sooner = early < 32 ? (1u << early) - 1 : 0xffffffffu;
#pragma unroll
        for (int i = 0; i < each; ++i) {
          const T one = x[i / 4][i % 4];
          const bool same = one == limit || (one != one && limit != limit);
          if (!((!(one <= limit) && limit == limit) || (same && (sooner >> i & 1)))) open &= ~(1u << i);
        }
      }
    }
    if (thread < want) keep(taken + thread, thread < have ? best[thread] : none, thread < have ? best_at[thread] : -1);
    if (have < want || want < 32) {
      for (long long j = taken + 32 + thread; j < k; j += threads) keep(j, none, -1);
      break;
    }
    last = limit;
    last_at = limit_at;
    meet();
  }
  meet();
}

// The same by a warp for up to 128 values of f32 and at most 32 k: a lane has four neighbours in order, in every round the
// largest of all first ones is taken, from the lowest lane where several are as large.
template <class Row, class Keep>
__device__ __forceinline__ void quern_top_128(const Row& row, const Keep& keep, int n, int k, float none) {
  const int lane = (int)threadIdx.x % 32;
  constexpr int missing = -0x7fffffff - 1;  // below the key of -inf
  float x[1][4];
  const unsigned there = row(x, lane * 4, 128, n - lane * 4);
  int key[4], which[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) key[i] = there >> i & 1 ? quern_key(x[0][i]) : missing, which[i] = i;
#pragma unroll
  for (int done = 3; done > 0; --done)
#pragma unroll
    for (int i = 0; i < done; ++i) {
      const bool swap = key[i + 1] > key[i];
      const int high = max(key[i], key[i + 1]), low = min(key[i], key[i + 1]), high_at = swap ? which[i + 1] : which[i], low_at = swap ? which[i] : which[i + 1];
      key[i] = high, key[i + 1] = low, which[i] = high_at, which[i + 1] = low_at;
    }
  const int order = which[0] | which[1] << 2 | which[2] << 4 | which[3] << 6;
  const unsigned before = (1u << lane) - 1;
  const int found = (int)__reduce_add_sync(0xffffffffu, (unsigned)__popc(there)), rounds = min(k, found);
  unsigned ranks = 0;  // of what was taken from this lane, a byte each, the last one lowest
  int taken = 0;
#pragma unroll 8
  for (int j = 0; j < rounds; ++j) {
    const int most = __reduce_max_sync(0xffffffffu, key[0]);
    const unsigned all = __ballot_sync(0xffffffffu, key[0] == most);
    if (key[0] == most && (all & before) == 0) {
      key[0] = key[1], key[1] = key[2], key[2] = key[3], key[3] = missing;
      ranks = ranks << 8 | (unsigned)j;
      ++taken;
    }
  }
#pragma unroll 1
  while (taken-- > 0) {
    const int place = order >> 2 * taken & 3;
    const float low = place & 1 ? x[0][1] : x[0][0], high = place & 1 ? x[0][3] : x[0][2];
    keep((long long)(ranks & 255), place & 2 ? high : low, lane * 4 + place);
    ranks >>= 8;
  }
  if (lane >= found && lane < k) keep(lane, none, -1);
  __syncwarp();
}

// Four such rows at once: eight lanes for each. A lane has 16 neighbours and their keys in order (Batcher's merges); in
// every round the largest of eight first ones is taken. Which value that was is looked for behind the last round, by one lane
// for each. The row that a lane works on is that of its `row` and `keep`.
template <int k, class Row, class Keep>
__device__ __forceinline__ void quern_top_eighths(const Row& row, const Keep& keep, int n, float none, unsigned char* exchange) {
  constexpr int missing = -0x7fffffff - 1, passes = (k + 7) / 8;
  const int lane = (int)threadIdx.x % 32, part = lane % 8, group = lane & 24;
  uint4* const keys = (uint4*)exchange;
  uint4* const values = keys + 4 * 32;
  float x[4][4];
  const unsigned there = row(x, part * 16, 4, n - part * 16);
  int key[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) key[i] = there >> i & 1 ? quern_key(x[i / 4][i % 4]) : missing;
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    uint4 one;
    one.x = (unsigned)key[4 * p], one.y = (unsigned)key[4 * p + 1], one.z = (unsigned)key[4 * p + 2], one.w = (unsigned)key[4 * p + 3];
    keys[p * 32 + lane] = one;
    one.x = __float_as_uint(x[p][0]), one.y = __float_as_uint(x[p][1]), one.z = __float_as_uint(x[p][2]), one.w = __float_as_uint(x[p][3]);
    values[p * 32 + lane] = one;
  }
#pragma unroll
  for (int a = 0; a < 4; ++a)
#pragma unroll
    for (int b = a; b >= 0; --b)
#pragma unroll
      for (int i = 0; i < 15; ++i) {
        // Pairs 2^b apart: from the start where whole halves meet, else from the second quarter on.
        const int step = 1 << b, from = b == a ? 0 : step;
        if (i >= from && (i - from & step) == 0 && i + step < 16 && i >> (a + 1) == (i + step) >> (a + 1)) {
          const int high = max(key[i], key[i + step]), low = min(key[i], key[i + step]);
          key[i] = high, key[i + step] = low;
        }
      }
  int taken[passes], place[passes], last = missing, from = -1, again = 0;
#pragma unroll
  for (int j = 0; j < k; ++j) {
    int most = key[0];
#pragma unroll
    for (int distance = 1; distance < 8; distance *= 2) most = max(most, shuffle_xor(most, distance));
    const unsigned all = __ballot_sync(0xffffffffu, key[0] == most) >> group & 255;
    const int owner = __ffs((int)all) - 1;
    again = most == last && owner == from ? again + 1 : 0;  // how many as large it has given before
    last = most, from = owner;
    if (part == owner) {
#pragma unroll
      for (int i = 0; i < 15; ++i) key[i] = key[i + 1];
      key[15] = missing;
    }
    if (part == j % 8) taken[j / 8] = most, place[j / 8] = owner | again << 8;
  }
  __syncwarp();
#pragma unroll
  for (int p = 0; p < passes; ++p) {
    const int j = p * 8 + part;
    if (j >= k) continue;
    if (taken[p] == missing) {
      keep(j, none, -1);
      continue;
    }
    const int owner = place[p] & 255;
    unsigned same = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint4 one = keys[i * 32 + group + owner];
      same |= ((int)one.x == taken[p] ? 1u : 0u) << 4 * i | ((int)one.y == taken[p] ? 2u : 0u) << 4 * i | ((int)one.z == taken[p] ? 4u : 0u) << 4 * i | ((int)one.w == taken[p] ? 8u : 0u) << 4 * i;
    }
    for (int before = place[p] >> 8; before > 0; --before) same &= same - 1;
    const int at = __ffs((int)same) - 1;
    keep(j, ((const float*)(values + at / 4 * 32 + group + owner))[at % 4], owner * 16 + at);
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
