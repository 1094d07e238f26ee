// jit [FACTOR]: a kernel of this factor at run time. Exit status 3 and the message when there is no way to make it.
#include <quern/quern.h>

#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  const std::string factor = argc > 1 ? argv[1] : "2";
  try {
    const quern::Kernel kernel("kernel f(x: f32[N]) -> (s: f32) { s = sum[n](x[n]) * " + factor + " }");
    const std::vector<float> x{1, 2, 3};
    const quern::Tensor s = kernel(quern::TensorView(x));
    std::printf("%g, compiled %d, loaded %d\n", s.view().get({}), static_cast<int>(kernel.counters().compiles), static_cast<int>(kernel.counters().loads));
    return s.view().get({}) == 6 * std::stod(factor) ? 0 : 1;
  } catch (const quern::Error& error) {
    std::printf("%s: %s\n", quern::name(error.code()), error.message().c_str());
    return 3;
  }
}
