// Bodies for compiler/codegen/cuda/prelude_hopper.cpp: memory barriers, tensor copies, products of warp groups. The work is
// done by the machine, later than asked for, so that a missing wait shows.
#pragma once

namespace quern_emulated {

/// The line of a call, where an int behind other ints would be taken for one of them.
struct Line {
  explicit constexpr Line(int line) : at(line) {}
  int at;
};

struct ProductPost {
  float* d;
  const unsigned* a;
  unsigned long long a_at, b_at;
  int columns, a_transposed, b_transposed, add, type, type_b, line;
};

inline void issue_product(const char* name, ProductPost mine) {
  together(name, 0xffffffffu, mine, [](ProductPost* const* lanes, unsigned) {
    const ProductPost& first = *lanes[0];
    GroupProduct p{{}, {}, first.a_at, first.b_at, first.columns, first.a_transposed, first.b_transposed, first.add, first.type, first.type_b};
    for (int i = 0; i < 32; ++i) {
      const ProductPost& lane = *lanes[i];
      if (lane.a_at != p.a_at || lane.b_at != p.b_at || lane.columns != p.columns || (lane.add != 0) != (p.add != 0))
        quern_emulated::fail("the lanes of a warp bring different operands to a product of the warp group", lane.line);
      p.d[i] = lane.d;
      p.a[i] = lane.a;
    }
    quern_machine->product_issue(quern_machine, p, first.line);
  }, mine.line);
}

template <class Map>
inline void issue_box(unsigned to, const Map& map, unsigned barrier, int rank, int c0, int c1, int c2, int c3, int c4, Line line) {
  static_assert(sizeof(Map) == 128 && alignof(Map) == 64);
  quern_machine->box_issue(quern_machine, BoxCopy{to, &map, barrier, rank, {c0, c1, c2, c3, c4}}, line.at);
}

}  // namespace quern_emulated

inline void quern_mbarrier_init(unsigned barrier, unsigned count, int line = __builtin_LINE()) { quern_machine->mbarrier_init(quern_machine, barrier, count, line); }
inline void quern_mbarrier_init_fence() {}
inline void quern_mbarrier_expect(unsigned barrier, unsigned bytes, int line = __builtin_LINE()) { quern_machine->mbarrier_arrive(quern_machine, barrier, bytes, line); }
inline void quern_mbarrier_arrive(unsigned barrier, int line = __builtin_LINE()) { quern_machine->mbarrier_arrive(quern_machine, barrier, 0, line); }
inline void quern_mbarrier_wait(unsigned barrier, unsigned parity, int line = __builtin_LINE()) { quern_machine->mbarrier_wait(quern_machine, barrier, parity, line); }
inline void quern_async_fence() {}
inline void quern_store_16_bytes(void* to, const uint4& x) { *static_cast<uint4*>(to) = x; }

#define QUERN_LINE quern_emulated::Line line = quern_emulated::Line(__builtin_LINE())
template <class Map>
inline void quern_tensor_load(unsigned to, const Map& map, unsigned barrier, int c0, int c1, QUERN_LINE) {
  quern_emulated::issue_box(to, map, barrier, 2, c0, c1, 0, 0, 0, line);
}
template <class Map>
inline void quern_tensor_load(unsigned to, const Map& map, unsigned barrier, int c0, int c1, int c2, QUERN_LINE) {
  quern_emulated::issue_box(to, map, barrier, 3, c0, c1, c2, 0, 0, line);
}
template <class Map>
inline void quern_tensor_load(unsigned to, const Map& map, unsigned barrier, int c0, int c1, int c2, int c3, QUERN_LINE) {
  quern_emulated::issue_box(to, map, barrier, 4, c0, c1, c2, c3, 0, line);
}
template <class Map>
inline void quern_tensor_load(unsigned to, const Map& map, unsigned barrier, int c0, int c1, int c2, int c3, int c4, QUERN_LINE) {
  quern_emulated::issue_box(to, map, barrier, 5, c0, c1, c2, c3, c4, line);
}
#undef QUERN_LINE

template <int registers>
inline void quern_fewer_registers() {
  static_assert(registers >= 24 && registers <= 256 && registers % 8 == 0);
}
template <int registers>
inline void quern_more_registers() {
  static_assert(registers >= 24 && registers <= 256 && registers % 8 == 0);
}

#define QUERN_PRODUCT(name, dtype)                                                                                                     \
  template <int transposed_a, int transposed_b, int T>                                                                                 \
  inline void name(float (&d)[T][4], unsigned long long a, unsigned long long b, int add, int line = __builtin_LINE()) {                \
    static_assert(T >= 1 && T <= 32);                                                                                                  \
    quern_emulated::issue_product(#name, {d[0], nullptr, a, b, 8 * T, transposed_a, transposed_b, add, quern_emulated::dtype, quern_emulated::dtype, line});   \
  }                                                                                                                                    \
  template <int transposed_b, int T>                                                                                                   \
  inline void name(float (&d)[T][4], const unsigned (&a)[4], unsigned long long b, int add, int line = __builtin_LINE()) {              \
    static_assert(T >= 1 && T <= 32);                                                                                                  \
    quern_emulated::issue_product(#name, {d[0], a, 0, b, 8 * T, 0, transposed_b, add, quern_emulated::dtype, quern_emulated::dtype, line});                    \
  }
QUERN_PRODUCT(quern_wgmma_bf16, bf16)
QUERN_PRODUCT(quern_wgmma_f16, f16)
#undef QUERN_PRODUCT
#define QUERN_BYTE_PRODUCT(left, right)                                                                                                \
  template <int T>                                                                                                                     \
  inline void quern_wgmma_##left##_##right(float (&d)[T][4], unsigned long long a, unsigned long long b, int add, int line = __builtin_LINE()) { \
    static_assert(T >= 1 && T <= 32);                                                                                                  \
    quern_emulated::issue_product("quern_wgmma_" #left "_" #right, {d[0], nullptr, a, b, 8 * T, 0, 0, add, quern_emulated::left, quern_emulated::right, line}); \
  }
QUERN_BYTE_PRODUCT(e4m3, e4m3)
QUERN_BYTE_PRODUCT(e4m3, e5m2)
QUERN_BYTE_PRODUCT(e5m2, e4m3)
QUERN_BYTE_PRODUCT(e5m2, e5m2)
#undef QUERN_BYTE_PRODUCT

inline void quern_wgmma_fence() {}
inline void quern_wgmma_commit(int line = __builtin_LINE()) {
  int mine = 0;
  quern_emulated::together("quern_wgmma_commit", 0xffffffffu, mine, [](int* const*, unsigned) { quern_machine->product_commit(quern_machine); }, line);
}
template <int N>
inline void quern_wgmma_wait(int line = __builtin_LINE()) {
  static_assert(N >= 0 && N <= 7);
  quern_emulated::together("quern_wgmma_wait", 0xffffffffu, line, [](int* const* lanes, unsigned) { quern_machine->product_wait(quern_machine, N, *lanes[0]); }, line);
}
template <int N>
inline void quern_wgmma_pin(float (&)[N][4]) {}
