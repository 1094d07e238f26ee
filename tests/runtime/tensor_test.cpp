// Views, owning tensors, DLPack in and out, memory.
#include <limits>
#include <vector>

#include <quern/quern.h>

#include "runtime/memory.h"
#include "tests/catch.h"

namespace {
/// What std::mdspan with a strided layout offers.
struct Matrix {
  float* p;
  long rows, columns, pitch;
  float* data_handle() const { return p; }
  static constexpr std::size_t rank() { return 2; }
  long extent(std::size_t axis) const { return axis == 0 ? rows : columns; }
  long stride(std::size_t axis) const { return axis == 0 ? pitch : 1; }
};
int failing = -1;
bool gate(std::size_t) { return failing < 0 || failing-- != 0; }
}  // namespace

TEST_CASE("views over vectors, spans and mdspan-like types") {
  std::vector<float> v(12);
  for (int i = 0; i < 12; ++i) v[static_cast<std::size_t>(i)] = static_cast<float>(i);
  const quern::TensorView a(v, {3, 4});
  CHECK(a.rank() == 2);
  CHECK(a.stride(0) == 4);
  CHECK(a.get({2, 3}) == 11);
  CHECK_FALSE(a.read_only());
  const std::vector<float>& constant = v;
  CHECK(quern::TensorView(constant).read_only());
  CHECK_THROWS_AS(quern::TensorView(v, {3, 5}), quern::Error);
  const quern::TensorView m = Matrix{v.data(), 2, 3, 5};
  CHECK(m.get({1, 2}) == 7);
  CHECK(m.shape() == quern::Sizes{2, 3});
  CHECK(a.transposed({1, 0}).get({3, 2}) == 11);
  CHECK(a.reversed(1).get({0, 0}) == 3);
  CHECK(a.slice(1, 1, 4, 2).get({1, 1}) == 7);
  CHECK(a.slice(0, 3, 3).count() == 0);
  CHECK_THROWS_AS(a.slice(0, 2, 4), quern::Error);
  CHECK_THROWS_AS(a.transposed({0, 0}), quern::Error);
  CHECK_THROWS_AS(a.get({3, 0}), quern::Error);
  CHECK_THROWS_AS(quern::TensorView(v.data(), {-1}), quern::Error);
}

TEST_CASE("owning tensors are aligned, shared and cloned") {
  for (std::int64_t n : {0, 1, 17, 1 << 20, 3 << 20}) {
    quern::Tensor t(quern::f32, {n});
    CHECK(reinterpret_cast<std::uintptr_t>(t.data()) % 64 == 0);
    if (n) {
      t.set({n - 1}, 5);
      const quern::Tensor same = t;
      CHECK(same.get({n - 1}) == 5);
      const quern::Tensor copy = t.clone();
      t.set({n - 1}, 6);
      CHECK(copy.get({n - 1}) == 5);
      CHECK(same.get({n - 1}) == 6);
    }
  }
  CHECK(quern::Tensor::zeros(quern::bf16, {3}).get({2}) == 0);
  const quern::Tensor scalar(quern::f64, {});
  CHECK(scalar.count() == 1);
  const quern::Tensor t = quern::Tensor::from(std::vector<std::int32_t>{1, 2, 3, 4}, {2, 2});
  CHECK(quern::Tensor::copy_of(t.view().transposed({1, 0})).get({0, 1}) == 3);
  CHECK(t.as<std::int32_t>()[3] == 4);
  CHECK_THROWS_AS(t.as<float>(), quern::Error);
}

TEST_CASE("sizes that do not fit are refused with numbers") {
  const std::int64_t big = std::int64_t{1} << 62;
  try {
    quern::Tensor t(quern::f32, {big, 4});
    FAIL("no error");
  } catch (const quern::Error& e) {
    CHECK(e.code() == quern::Code::overflow);
    CHECK(e.message().find("4611686018427387904") != std::string::npos);
  }
  CHECK_THROWS_AS(quern::Tensor(quern::f64, {big}), quern::Error);
  CHECK_THROWS_AS(quern::Sizes(std::vector<std::int64_t>(17, 1)), quern::Error);
  CHECK(quern::TensorView(static_cast<float*>(nullptr), {big, 4, 0}).count() == 0);
}

TEST_CASE("DLPack goes out and comes in") {
  quern::Tensor t = quern::Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  DLManagedTensorVersioned* out = t.to_dlpack();
  CHECK(out->version.major == 1);
  CHECK(out->dl_tensor.ndim == 2);
  CHECK(out->dl_tensor.dtype.code == kDLFloat);
  CHECK(out->dl_tensor.dtype.bits == 32);
  quern::Tensor back = quern::Tensor::from_dlpack(out);
  t = {};
  CHECK(back.get({1, 2}) == 6);
  for (quern::ElementType type : {quern::f64, quern::f16, quern::bf16, quern::e4m3, quern::e5m2, quern::i64, quern::i8, quern::u8, quern::boolean})
    CHECK(quern::Tensor::from_dlpack(quern::Tensor(type, {2}).to_dlpack_unversioned()).type() == type);
  DLManagedTensorVersioned* none = quern::Tensor(quern::f32, {0}).to_dlpack();
  CHECK(none->dl_tensor.data == nullptr);
  none->deleter(none);

  std::vector<std::int64_t> shape{3}, strides{2};
  std::vector<float> values{0, 1, 2, 3, 4, 5, 6};
  DLTensor legacy{values.data(), {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, shape.data(), strides.data(), 4};
  CHECK(quern::TensorView(legacy).get({2}) == 5);
  legacy.strides = nullptr;
  CHECK(quern::TensorView(legacy).get({2}) == 3);
  legacy.device.device_type = kDLCUDA;
  legacy.device.device_id = 1;
  const quern::TensorView elsewhere(legacy);
  CHECK(elsewhere.memory() == quern::Memory::gpu);
  CHECK(elsewhere.gpu() == 1);
  CHECK_THROWS_AS(elsewhere.get({0}), quern::Error);
  legacy.device.device_type = static_cast<DLDeviceType>(8);  // OpenCL
  CHECK_THROWS_AS(quern::TensorView(legacy), quern::Error);
  legacy.device = {kDLCPU, 0};
  legacy.dtype.lanes = 4;
  CHECK_THROWS_AS(quern::TensorView(legacy), quern::Error);
}

TEST_CASE("running out of memory is an error that leaves everything usable") {
  quern::runtime::set_allocation_gate(gate);
  failing = 0;
  try {
    quern::Tensor t(quern::f32, {100});
    FAIL("no error");
  } catch (const quern::Error& e) {
    CHECK(e.code() == quern::Code::out_of_memory);
  }
  failing = -1;
  CHECK(quern::Tensor(quern::f32, {100}).count() == 100);
  quern::runtime::set_allocation_gate(nullptr);
}

TEST_CASE("errors carry code, message and place") {
  const quern::Error e(quern::Code::overlap, "error: x", std::source_location::current());
  CHECK(std::string(e.what()).find("tensor_test.cpp:") != std::string::npos);
  CHECK(e.message() == "error: x");
  CHECK(std::string(quern::name(quern::Code::not_prepared)) == "not_prepared");
  quern::Result<int> good(3), bad(e);
  CHECK(good.ok());
  CHECK(*good == 3);
  CHECK(bad.code() == quern::Code::overlap);
  CHECK_THROWS_AS(bad.value(), quern::Error);
}
