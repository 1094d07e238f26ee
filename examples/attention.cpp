// Attention in ten lines: a string, three tensors, one call.
#include <quern/quern.h>

#include <cstdio>

int main() {
  const quern::Kernel attention(R"(
    kernel attention<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {
      s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)
      o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])
    })");
  std::vector<float> q(128 * 64, 0.5f), k(256 * 64, 0.25f), v(256 * 64);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i / 64);
  const quern::Tensor o = attention(quern::TensorView(q, {128, 64}), quern::TensorView(k, {256, 64}), quern::TensorView(v, {256, 64}));

  // All scores are equal, so each output is the mean of v's rows: 127.5.
  std::printf("o[0,0] = %g, o[127,63] = %g\n", o.get({0, 0}), o.get({127, 63}));
  const double error = o.get({127, 63}) - 127.5;
  return error > -1e-3 && error < 1e-3 ? 0 : 1;
}
