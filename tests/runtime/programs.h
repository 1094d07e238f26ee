// Small programs of every kind of kernel, with shapes of their arguments, for tests of places, overlaps and memory.
#pragma once

#include <vector>

#include <quern/quern.h>

namespace quern_test {

struct Input {
  quern::ElementType type;
  quern::Sizes shape;
  int integers_below = 8;
};
struct SmallProgram {
  const char* name;
  const char* text;
  std::vector<Input> inputs;
  double tolerance = 2e-5;
};

inline const std::vector<SmallProgram>& small_programs() {
  using quern::f32, quern::i32, quern::f16, quern::f64, quern::i8;
  static const std::vector<SmallProgram> programs{
      {"pointwise", "kernel f(x: f32[M,N], y: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] * y[m,n] + 1 }", {{f32, {5, 37}}, {f32, {5, 37}}}},
      {"vector", "kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = abs(x[n]) }", {{f32, {133}}}},
      {"transpose", "kernel f(x: f32[M,N]) -> (o: f32[N,M]) { o[n,m] = x[m,n] }", {{f32, {19, 23}}}},
      {"product", "kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", {{f32, {13, 21}}, {f32, {21, 35}}}},
      {"product_f16", "kernel f(a: f16[M,K], b: f16[N,K]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[n,k]) }", {{f16, {7, 33}}, {f16, {18, 33}}}},
      {"row_sum", "kernel f(x: f32[M,N]) -> (o: f32[M]) { o[m] = sum[n](x[m,n]) }", {{f32, {9, 70}}}},
      {"column_max", "kernel f(x: f32[M,N]) -> (o: f32[N]) { o[n] = max[m](x[m,n]) }", {{f32, {9, 70}}}},
      {"all_sum", "kernel f(x: f64[M,N]) -> (s: f64) { s = sum[m,n](x[m,n]) }", {{f64, {9, 40}}}},
      {"row_mean_away", "kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] - mean[k](x[m,k]) }", {{f32, {6, 45}}}},
      {"cumsum_row", "kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = cumsum[n](x[m,n]) }", {{f32, {4, 50}}}},
      {"cumsum_column", "kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = cumsum[m](x[m,n]) }", {{f32, {11, 20}}}},
      {"argmax", "kernel f(x: f32[M,N]) -> (o: i32[M]) { o[m] = argmax[n](x[m,n]) }", {{f32, {8, 41}}}},
      {"gather", "kernel f(x: f32[V,E], ids: i32[T] in 0:V) -> (o: f32[T,E]) { o[t,e] = x[ids[t],e] }", {{f32, {8, 24}}, {i32, {15}}}},
      {"window", "kernel f<W>(x: f32[N], w: f32[W]) -> (o: f32[N-W+1]) { o[n in 0:N-W+1] = sum[k](x[n+k] * w[k]) }", {{f32, {60}}, {f32, {5}}}},
      {"reverse", "kernel f(x: f32[N]) -> (o: f32[N]) { o[n in 0:N] = x[N-1-n] }", {{f32, {43}}}},
      {"softmax", "kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = softmax[n](x[m,n]) }", {{f32, {7, 39}}}},
      {"attention", "kernel f<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n s[m,n] = sum[d](q[m,d]*k[n,d])/sqrt(D)\n o[m,d] = sum[n](softmax[n](s[m,n])*v[n,d]) }",
       {{f32, {10, 16}}, {f32, {26, 16}}, {f32, {26, 16}}}},
      {"integers", "kernel f(x: i8[M,N], y: i32[M,N]) -> (o: i32[M,N]) { o[m,n] = x[m,n] * 3 - y[m,n] div 2 }", {{i8, {5, 29}}, {i32, {5, 29}}}},
      {"half", "kernel f(x: f16[N], y: bf16[N]) -> (o: f16[N]) { o[n] = x[n] + y[n] }", {{f16, {77}}, {quern::bf16, {77}}}, 2e-3},
      {"rank3", "kernel f(x: f32[A,B,C]) -> (o: f32[C,A]) { o[c,a] = sum[b](x[a,b,c]) }", {{f32, {4, 6, 18}}}},
      {"unit_axes", "kernel f(x: f32[A,1,C], y: f32[A,C]) -> (o: f32[A,C]) { o[a,c] = x[a,0,c] + y[a,c] }", {{f32, {1, 1, 33}}, {f32, {1, 33}}}},
      {"two_outputs", "kernel f(x: f32[M,N]) -> (a: f32[M,N], b: f32[M,N]) {\n a[m,n] = x[m,n] * 2\n b[m,n] = x[m,n] + 1 }", {{f32, {5, 36}}}},
  };
  return programs;
}

}  // namespace quern_test
