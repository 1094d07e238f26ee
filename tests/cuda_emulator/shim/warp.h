// Shuffles, votes and reductions: every lane of the mask brings its value, the last one to come works it out for all.
#pragma once

namespace quern_emulated {

/// All lanes of `mask` bring a Post; f(posts, mask) fills their results.
template <class Post, class Function>
inline void together(const char* name, unsigned mask, Post& mine, Function, int line) {
  quern_machine->meet(quern_machine, name, mask, &mine, [](void* const* lanes, unsigned all) { Function{}(reinterpret_cast<Post* const*>(lanes), all); }, line);
}

enum class Pick { index, up, down, exclusive };

/// shfl.sync: the lane whose value `lane` gets.
template <Pick pick>
constexpr int source_of(int lane, int by, int width) {
  const int first = lane & ~(width - 1), last = first + width - 1;
  int from = lane;
  switch (pick) {
    case Pick::index: return first + (by & (width - 1));
    case Pick::up: from = lane - by; return from < first ? lane : from;
    case Pick::down: from = lane + by; return from > last ? lane : from;
    case Pick::exclusive: from = lane ^ by; return from > last ? lane : from;
  }
  return from;
}

template <Pick pick, class T>
inline T shuffle(const char* name, unsigned mask, T value, int by, int width, int line) {
  struct Post {
    T value, result;
    int by, width, line;
  } mine{value, value, by, width, line};
  if (width < 1 || width > 32 || (width & (width - 1))) quern_emulated::fail("the width of a shuffle is no power of two up to 32", line);
  together(name, mask, mine, [](Post* const* lanes, unsigned all) {
    for (int i = 0; i < 32; ++i) {
      if (!lanes[i]) continue;
      const int from = source_of<pick>(i, lanes[i]->by, lanes[i]->width);
      if (from < 0 || from > 31 || !(all >> from & 1)) {
        Message m;
        m.add("lane ").add(i).add(" of a shuffle takes from lane ").add(from).add(", which is not in the mask");
        quern_emulated::fail(m.text, lanes[i]->line);
      }
      lanes[i]->result = lanes[from]->value;
    }
  }, line);
  return mine.result;
}

template <class T> constexpr bool shuffles = false;
template <> inline constexpr bool shuffles<int> = true;
template <> inline constexpr bool shuffles<unsigned> = true;
template <> inline constexpr bool shuffles<long> = true;
template <> inline constexpr bool shuffles<unsigned long> = true;
template <> inline constexpr bool shuffles<long long> = true;
template <> inline constexpr bool shuffles<unsigned long long> = true;
template <> inline constexpr bool shuffles<float> = true;
template <> inline constexpr bool shuffles<double> = true;

struct Vote {
  int predicate;
  unsigned ballot;
};

inline unsigned ballot(const char* name, unsigned mask, int predicate, int line) {
  Vote mine{predicate, 0};
  together(name, mask, mine, [](Vote* const* lanes, unsigned) {
    unsigned ballot = 0;
    for (int i = 0; i < 32; ++i)
      if (lanes[i] && lanes[i]->predicate) ballot |= 1u << i;
    for (int i = 0; i < 32; ++i)
      if (lanes[i]) lanes[i]->ballot = ballot;
  }, line);
  return mine.ballot;
}

template <class T, class Combine>
inline T reduce(const char* name, unsigned mask, T value, Combine, int line) {
  struct Post {
    T value, result;
  } mine{value, value};
  together(name, mask, mine, [](Post* const* lanes, unsigned) {
    bool any = false;
    T sum{};
    for (int i = 0; i < 32; ++i)
      if (lanes[i]) sum = any ? Combine{}(sum, lanes[i]->value) : lanes[i]->value, any = true;
    for (int i = 0; i < 32; ++i)
      if (lanes[i]) lanes[i]->result = sum;
  }, line);
  return mine.result;
}

}  // namespace quern_emulated

#define QUERN_SHUFFLE(name, pick, offset)                                                                             \
  template <class T>                                                                                                  \
  inline T name(unsigned mask, T value, offset by, int width = 32, int line = __builtin_LINE())                        \
    requires quern_emulated::shuffles<T>                                                                              \
  {                                                                                                                   \
    return quern_emulated::shuffle<quern_emulated::Pick::pick>(#name, mask, value, static_cast<int>(by), width, line); \
  }
QUERN_SHUFFLE(__shfl_sync, index, int)
QUERN_SHUFFLE(__shfl_up_sync, up, unsigned)
QUERN_SHUFFLE(__shfl_down_sync, down, unsigned)
QUERN_SHUFFLE(__shfl_xor_sync, exclusive, int)
#undef QUERN_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) { return quern_emulated::ballot("__ballot_sync", mask, predicate, line); }
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) { return quern_emulated::ballot("__any_sync", mask, predicate, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) { return quern_emulated::ballot("__all_sync", mask, predicate, line) == mask; }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) { quern_emulated::ballot("__syncwarp", mask, 0, line); }
inline unsigned __activemask() { return quern_machine->lanes_alive(quern_machine); }

#define QUERN_REDUCE(name, type, expression)                                                       \
  inline type name(unsigned mask, type value, int line = __builtin_LINE()) {                        \
    return quern_emulated::reduce(#name, mask, value, [](type a, type b) -> type { return expression; }, line); \
  }
QUERN_REDUCE(__reduce_add_sync, unsigned, a + b)
QUERN_REDUCE(__reduce_add_sync, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
QUERN_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
QUERN_REDUCE(__reduce_min_sync, int, a < b ? a : b)
QUERN_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
QUERN_REDUCE(__reduce_max_sync, int, a > b ? a : b)
QUERN_REDUCE(__reduce_and_sync, unsigned, a & b)
QUERN_REDUCE(__reduce_or_sync, unsigned, a | b)
QUERN_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
#undef QUERN_REDUCE

template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, int line = __builtin_LINE()) {
  struct Post {
    T value;
    unsigned equal;
  } mine{value, 0};
  quern_emulated::together("__match_any_sync", mask, mine, [](Post* const* lanes, unsigned) {
    for (int i = 0; i < 32; ++i)
      for (int j = 0; j < 32; ++j)
        if (lanes[i] && lanes[j] && lanes[i]->value == lanes[j]->value) lanes[i]->equal |= 1u << j;
  }, line);
  return mine.equal;
}
