// Tensors of your own: any pointer with shape and strides, read in place; outputs into your memory; errors as values.
#include <quern/quern.h>

#include <cstdio>
#include <vector>

// A matrix type as programs have them. With the members of std::mdspan it is an argument as it stands.
struct Matrix {
  std::vector<float>& storage;
  std::size_t rows, columns;
  float* data_handle() const { return storage.data(); }
  static constexpr std::size_t rank() { return 2; }
  std::size_t extent(std::size_t axis) const { return axis == 0 ? rows : columns; }
  std::size_t stride(std::size_t axis) const { return axis == 0 ? columns : 1; }
};

int main() {
  const auto compiled = quern::Kernel::compile(R"(
    kernel product(a: f32[M,K], b: f32[K,N], scale: f32 = 1) -> (c: f32[M,N]) {
      c[m,n] = scale * sum[k](a[m,k] * b[k,n])
    })");
  if (!compiled) {
    std::fprintf(stderr, "%s\n", compiled.error().what());
    return 1;
  }
  const quern::Kernel& product = *compiled;

  std::vector<float> storage{1, 2, 3, 4, 5, 6};
  const Matrix a{storage, 2, 3};
  // The transpose of the same memory: no copy, only other strides.
  const quern::TensorView b(storage.data(), {3, 2}, {1, 3});
  std::vector<float> result(4);
  product(a, b, quern::arg("scale", 10), quern::out(quern::TensorView(result, {2, 2})));
  std::printf("%g %g\n%g %g\n", result[0], result[1], result[2], result[3]);
  if (result != std::vector<float>{140, 320, 320, 770}) return 1;

  // What does not fit is refused with names and numbers, here without exceptions.
  const quern::Argument wrong[] = {a, a};
  const auto refused = product.try_run(wrong);
  std::printf("%s\n", refused.error().message().c_str());
  if (refused.code() != quern::Code::shape_mismatch) return 1;

  // Results travel to other libraries through DLPack and come back.
  const quern::Tensor c = product(a, b);
  const quern::Tensor same = quern::Tensor::from_dlpack(c.to_dlpack());
  return same.data() == c.data() && same.get({1, 1}) == 77 ? 0 : 1;
}
