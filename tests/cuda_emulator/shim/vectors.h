// Vector types with the alignment that CUDA gives them.
#pragma once

#define QUERN_VECTOR(name, type, aligned2, aligned4)                                                       \
  struct __attribute__((aligned(aligned2))) name##2 { type x, y; };                                        \
  struct name##3 { type x, y, z; };                                                                        \
  struct __attribute__((aligned(aligned4))) name##4 { type x, y, z, w; };                                  \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                         \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                              \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

QUERN_VECTOR(char, signed char, 2, 4)
QUERN_VECTOR(uchar, unsigned char, 2, 4)
QUERN_VECTOR(short, short, 4, 8)
QUERN_VECTOR(ushort, unsigned short, 4, 8)
QUERN_VECTOR(int, int, 8, 16)
QUERN_VECTOR(uint, unsigned, 8, 16)
QUERN_VECTOR(float, float, 8, 16)
QUERN_VECTOR(longlong, long long, 16, 16)
QUERN_VECTOR(ulonglong, unsigned long long, 16, 16)
QUERN_VECTOR(double, double, 16, 16)
#undef QUERN_VECTOR

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Loads and stores with cache hints.
#define QUERN_LOAD(name)                      \
  template <class T>                          \
  inline T name(const T* at) { return *at; }
#define QUERN_STORE(name)                     \
  template <class T>                          \
  inline void name(T* at, T value) { *at = value; }
QUERN_LOAD(__ldg)
QUERN_LOAD(__ldca)
QUERN_LOAD(__ldcg)
QUERN_LOAD(__ldcs)
QUERN_LOAD(__ldlu)
QUERN_LOAD(__ldcv)
QUERN_STORE(__stwb)
QUERN_STORE(__stcg)
QUERN_STORE(__stcs)
QUERN_STORE(__stwt)
#undef QUERN_LOAD
#undef QUERN_STORE
