// Bodies for compiler/codegen/cuda/prelude_tensor.cpp: products of the tensor cores, ldmatrix, stmatrix (prelude_hopper.cpp), cp.async. What a lane holds
// is said there.
#pragma once

namespace quern_emulated {

inline float half_of(unsigned word, int high, Stored type) { return loaded(type, static_cast<unsigned short>(word >> (16 * high))); }

struct Product {
  float* d;
  const unsigned *a, *b;
};

/// d (16 x 8) += a (16 x depth) b (depth x 8). Products are exact; the sum of a whole step is cut toward zero, as
/// the accumulators of the tensor cores do at their best.
template <int depth, class A, class B>
inline void multiply(Product* const* lanes, A a_at, B b_at) {
  double a[16][depth], b[depth][8];
  for (int l = 0; l < 32; ++l) {
    a_at(l, *lanes[l], a);
    b_at(l, *lanes[l], b);
  }
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      float& d = lanes[row % 8 * 4 + column / 2]->d[row / 8 * 2 + column % 2];
      double sum = static_cast<double>(d);
      for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
      d = truncated(sum);
    }
}

template <Stored type>
inline void multiply_halves(const char* name, float* d, const unsigned* a, const unsigned* b, int line) {
  Product mine{d, a, b};
  together(name, 0xffffffffu, mine, [](Product* const* lanes, unsigned) {
    multiply<16>(
        lanes,
        [](int l, const Product& p, double (&a)[16][16]) {
          for (int i = 0; i < 4; ++i)
            for (int h = 0; h < 2; ++h) a[l / 4 + i % 2 * 8][l % 4 * 2 + h + i / 2 * 8] = static_cast<double>(half_of(p.a[i], h, type));
        },
        [](int l, const Product& p, double (&b)[16][8]) {
          for (int i = 0; i < 2; ++i)
            for (int h = 0; h < 2; ++h) b[l % 4 * 2 + h + i * 8][l / 4] = static_cast<double>(half_of(p.b[i], h, type));
        });
  }, line);
}

/// tf32 reads the upper 19 bits of an f32.
inline double tf32(unsigned bits) { return static_cast<double>(__uint_as_float(bits & 0xffffe000u)); }

struct Matrices {
  unsigned* r;
  unsigned address;
  int line;
};

/// ldmatrix: lanes 8i to 8i + 7 give the addresses of the rows of matrix i.
template <int count, bool transposed>
inline void load_matrices(const char* name, unsigned* r, unsigned address, int line) {
  Matrices mine{r, address, line};
  together(name, 0xffffffffu, mine, [](Matrices* const* lanes, unsigned) {
    for (int i = 0; i < count; ++i) {
      unsigned short m[8][8];
      for (int row = 0; row < 8; ++row) {
        const Matrices& from = *lanes[8 * i + row];
        __builtin_memcpy(m[row], shared_memory(from.address, 16, 16, from.line), 16);
      }
      for (int l = 0; l < 32; ++l) {
        const int g = l / 4, q = l % 4 * 2;
        lanes[l]->r[i] = transposed ? m[q][g] | static_cast<unsigned>(m[q + 1][g]) << 16 : m[g][q] | static_cast<unsigned>(m[g][q + 1]) << 16;
      }
    }
  }, line);
}

struct StoredMatrices {
  const unsigned* r;
  unsigned address;
  int line;
};

/// stmatrix: the same the other way.
inline void store_matrices(const char* name, const unsigned* r, unsigned address, int line) {
  StoredMatrices mine{r, address, line};
  together(name, 0xffffffffu, mine, [](StoredMatrices* const* lanes, unsigned) {
    for (int i = 0; i < 4; ++i)
      for (int row = 0; row < 8; ++row) {
        unsigned m[4];
        for (int q = 0; q < 4; ++q) m[q] = lanes[row * 4 + q]->r[i];
        const StoredMatrices& to = *lanes[8 * i + row];
        __builtin_memcpy(shared_memory(to.address, 16, 16, to.line), m, 16);
      }
  }, line);
}

}  // namespace quern_emulated

inline void quern_stmatrix_x4(unsigned shared_address, const unsigned (&r)[4], int line = __builtin_LINE()) {
  quern_emulated::store_matrices("quern_stmatrix_x4", r, shared_address, line);
}
inline void quern_mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  quern_emulated::multiply_halves<quern_emulated::bf16>("quern_mma_bf16", d, a, b, line);
}
inline void quern_mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  quern_emulated::multiply_halves<quern_emulated::f16>("quern_mma_f16", d, a, b, line);
}
inline void quern_mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  using namespace quern_emulated;
  Product mine{d, a, b};
  together("quern_mma_tf32", 0xffffffffu, mine, [](Product* const* lanes, unsigned) {
    multiply<8>(
        lanes,
        [](int l, const Product& p, double (&a)[16][8]) {
          for (int i = 0; i < 4; ++i) a[l / 4 + i % 2 * 8][l % 4 + i / 2 * 4] = tf32(p.a[i]);
        },
        [](int l, const Product& p, double (&b)[8][8]) {
          for (int i = 0; i < 2; ++i) b[l % 4 + i * 4][l / 4] = tf32(p.b[i]);
        });
  }, line);
}
/// cvt.rna.tf32.f32: to nearest, ties away from zero.
inline unsigned quern_tf32_bits(float x) {
  const unsigned bits = __float_as_uint(x);
  return (bits & 0x7fffffffu) >= 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
}

inline void quern_ldmatrix_x4(unsigned (&r)[4], unsigned shared_address, int line = __builtin_LINE()) {
  quern_emulated::load_matrices<4, false>("quern_ldmatrix_x4", r, shared_address, line);
}
inline void quern_ldmatrix_x4_trans(unsigned (&r)[4], unsigned shared_address, int line = __builtin_LINE()) {
  quern_emulated::load_matrices<4, true>("quern_ldmatrix_x4_trans", r, shared_address, line);
}
inline void quern_ldmatrix_x2(unsigned (&r)[2], unsigned shared_address, int line = __builtin_LINE()) {
  quern_emulated::load_matrices<2, false>("quern_ldmatrix_x2", r, shared_address, line);
}
inline void quern_ldmatrix_x2_trans(unsigned (&r)[2], unsigned shared_address, int line = __builtin_LINE()) {
  quern_emulated::load_matrices<2, true>("quern_ldmatrix_x2_trans", r, shared_address, line);
}

/// movmatrix: 8 x 8 values of 16 bits, two of a row to a lane.
inline unsigned quern_transposed(unsigned x, int line = __builtin_LINE()) {
  quern_emulated::together("quern_transposed", 0xffffffffu, x, [](unsigned* const* lanes, unsigned) {
    unsigned short m[8][8];
    for (int l = 0; l < 32; ++l)
      for (int h = 0; h < 2; ++h) m[l / 4][l % 4 * 2 + h] = static_cast<unsigned short>(*lanes[l] >> (16 * h));
    for (int l = 0; l < 32; ++l) *lanes[l] = m[l % 4 * 2][l / 4] | static_cast<unsigned>(m[l % 4 * 2 + 1][l / 4]) << 16;
  }, line);
  return x;
}

inline void quern_cp_async_16(unsigned shared_address, const void* global, int bytes, int line = __builtin_LINE()) {
  if (bytes < 0 || bytes > 16) quern_emulated::fail("quern_cp_async_16 copies 0 to 16 bytes", line);
  if (bytes > 0 && reinterpret_cast<unsigned long>(global) % 16 != 0) quern_emulated::fail("quern_cp_async_16 from an address that is not aligned to 16 bytes", line);
  quern_machine->copy_issue(quern_machine, quern_emulated::shared_memory(shared_address, 16, 16, line), global, bytes, line);
}
inline void quern_cp_async_commit() { quern_machine->copy_commit(quern_machine); }
template <int N>
inline void quern_cp_async_wait() {
  quern_machine->copy_wait(quern_machine, N);
}
