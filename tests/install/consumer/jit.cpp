#include <quern/quern.h>

#include <cstdio>
#include <vector>

int main() {
  const quern::Kernel kernel("kernel f(x: f32[N]) -> (s: f32) { s = sum[n](x[n]) }");
  const std::vector<float> x{1, 2, 3};
  const quern::Tensor s = kernel(quern::TensorView(x));
  std::printf("%g\n", s.view().get({}));
  return s.view().get({}) == 6 ? 0 : 1;
}
