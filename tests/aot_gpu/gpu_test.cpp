// GPU functions made ahead of time: values, streams that are not waited for, refusals, on the emulated driver.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <quern/gpu.h>
#include <quern/quern.h>

#include "kernels.h"
#include "tests/catch.h"
#include "tests/cuda_runtime/emulated_gpu.h"

using quern::Tensor;
using quern::TensorView;

namespace {

Tensor random_tensor(quern::Sizes shape, unsigned seed) {
  Tensor t(quern::f32, shape);
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < t.view().count(); ++i) static_cast<float*>(t.view().data())[i] = normal(generator);
  return t;
}
const float* floats(const Tensor& t) { return static_cast<const float*>(t.view().data()); }
float* written(const Tensor& t) { return static_cast<float*>(t.view().data()); }

}  // namespace

TEST_CASE("attention on a GPU is attention on the CPU") {
  for (const std::int64_t d : {16, 64})
    for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{37, 41}, {1, 1}, {5, 0}}) {
      INFO("M=" << m << " N=" << n << " D=" << d);
      const Tensor q = random_tensor({m, d}, 1), k = random_tensor({n, d}, 2), v = random_tensor({n, d}, 3), wanted(quern::f32, {m, d});
      REQUIRE(g_attention(d, m, n, floats(q), nullptr, floats(k), nullptr, floats(v), nullptr, nullptr, written(wanted), nullptr, nullptr) == QUERN_OK);
      const Tensor gq = quern::to_gpu(q.view()), gk = quern::to_gpu(k.view()), gv = quern::to_gpu(v.view());
      const Tensor go = quern::gpu_tensor(quern::f32, {m, d});
      const auto check = [&] {
        const Tensor found = quern::to_host(go.view());
        for (std::int64_t i = 0; i < m * d; ++i) CHECK(std::abs(floats(found)[i] - floats(wanted)[i]) <= 3e-6f);
      };
      REQUIRE(g_attention_cuda(d, m, n, floats(gq), nullptr, floats(gk), nullptr, floats(gv), nullptr, nullptr, written(go), nullptr, nullptr) == QUERN_OK);
      check();
      // Into the transposed: other strides, on a stream that is waited for here.
      quern_test::OwnStream stream;
      quern_call call{};
      call.stream = stream.get();
      call.no_wait = 1;
      const float scale = 1 / std::sqrt(static_cast<float>(d));
      const std::int64_t strides[2] = {1, m};
      const Tensor turned = quern::gpu_tensor(quern::f32, {d, m});
      REQUIRE(g_attention_cuda(d, m, n, floats(gq), nullptr, floats(gk), nullptr, floats(gv), nullptr, &scale, written(turned), strides, &call) == QUERN_OK);
      const Tensor back = quern::to_host(turned.view());
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < d; ++j) CHECK(std::abs(floats(back)[j * m + i] - floats(wanted)[i * d + j]) <= 3e-6f);
    }
}

TEST_CASE("a kernel with warp roles: tensor maps and a counter of tasks, call after call") {
  const std::int64_t d = 64, heads = 3;
  const auto values = [](std::int64_t t, unsigned seed) {
    Tensor x(quern::bf16, {heads, t, d});
    std::mt19937 generator(seed);
    // 64 values from -1 to 1, exact in bf16.
    for (std::int64_t i = 0; i < x.view().count(); ++i)
      static_cast<std::uint16_t*>(x.view().data())[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>((static_cast<float>(generator() % 64) - 31.5f) / 32) >> 16);
    return x;
  };
  const auto raw = [](const Tensor& x) { return static_cast<std::uint16_t*>(x.view().data()); };
  const auto value = [](std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); };
  for (const std::int64_t t : {300, 1, 129}) {
    INFO("T=" << t);
    const Tensor q = values(t, 1), k = values(t, 2), v = values(t, 3), wanted(quern::bf16, {heads, t, d});
    REQUIRE(g_causal(d, heads, t, raw(q), nullptr, raw(k), nullptr, raw(v), nullptr, raw(wanted), nullptr, nullptr) == QUERN_OK);
    const Tensor gq = quern::to_gpu(q.view()), gk = quern::to_gpu(k.view()), gv = quern::to_gpu(v.view());
    for (int call = 0; call < 2; ++call) {  // the second one finds the counter as the first one left it
      const Tensor go = quern::gpu_tensor(quern::bf16, {heads, t, d});
      const auto maps = quern_test::controls().counters().maps;
      REQUIRE(g_causal_cuda(d, heads, t, raw(gq), nullptr, raw(gk), nullptr, raw(gv), nullptr, raw(go), nullptr, nullptr) == QUERN_OK);
      if (call == 0 && t > 1) CHECK(quern_test::controls().counters().maps == maps + 3);  // the emulator's driver made them, for sm_90a; few rows take another plan
      const Tensor found = quern::to_host(go.view());
      // |v| <= 1: weights rounded to bf16 move a result by 2^-9 at most, rounding it by as much on each side.
      float worst = 0;
      for (std::int64_t i = 0; i < heads * t * d; ++i) worst = std::max(worst, std::abs(value(raw(found)[i]) - value(raw(wanted)[i])));
      CHECK(worst <= 0x1p-7f);
    }
  }
}

TEST_CASE("inout, small floats, data errors and refusals on a GPU") {
  const Tensor x = random_tensor({3, 8}, 4), mean_of = quern::gpu_tensor(quern::f64, {3});
  const Tensor gx = quern::to_gpu(x.view());
  REQUIRE(g_normalise_cuda(3, 8, written(gx), nullptr, 0.0, 0, static_cast<double*>(mean_of.view().data()), nullptr, nullptr) == QUERN_OK);
  const Tensor centred = quern::to_host(gx.view());
  for (std::int64_t m = 0; m < 3; ++m) {
    float sum = 0;
    for (std::int64_t n = 0; n < 8; ++n) sum += floats(centred)[m * 8 + n];
    CHECK(std::abs(sum) < 1e-5f);
  }

  Tensor ids(quern::i32, {2});
  static_cast<std::int32_t*>(ids.view().data())[0] = 1;
  static_cast<std::int32_t*>(ids.view().data())[1] = 3;
  const Tensor gids = quern::to_gpu(ids.view()), go = quern::gpu_tensor(quern::f32, {2, 8});
  CHECK(g_gather_cuda(3, 8, 2, floats(gx), nullptr, static_cast<const std::int32_t*>(gids.view().data()), nullptr, written(go), nullptr, nullptr) == QUERN_DATA);
  CHECK(std::string(quern_aot_message()) == "error: ids[1] = 3 is outside axis 0 of 'x', which has 3 entries");

  Tensor doc(quern::i32, {3});
  for (int i = 0; i < 3; ++i) static_cast<std::int32_t*>(doc.view().data())[i] = i == 2 ? 0 : i;
  const Tensor gdoc = quern::to_gpu(doc.view()), sums = quern::gpu_tensor(quern::f32, {3});
  CHECK(g_segments_cuda(3, static_cast<const std::int32_t*>(gdoc.view().data()), nullptr, floats(gx), nullptr, written(sums), nullptr, nullptr) == QUERN_DATA);
  CHECK(std::string(quern_aot_message()) == "error: 'doc' is declared nondecreasing, but 0 at position 2 follows 1");

  CHECK(g_gather_cuda(3, 8, 2, nullptr, nullptr, static_cast<const std::int32_t*>(gids.view().data()), nullptr, written(go), nullptr, nullptr) == QUERN_INVALID_ARGUMENT);
  quern_call call{};
  call.gpu = 7;
  CHECK(g_gather_cuda(3, 8, 2, floats(gx), nullptr, static_cast<const std::int32_t*>(gids.view().data()), nullptr, written(go), nullptr, &call) == QUERN_INVALID_ARGUMENT);
  INFO(quern_aot_message());
  CHECK(std::string(quern_aot_message()).find("7") != std::string::npos);
}

TEST_CASE("code that the driver refuses: the message says what to do, and the next call tries again") {
  const Tensor x = quern::to_gpu(random_tensor({3, 9}, 4).view()), o = quern::gpu_tensor(quern::f32, {2, 8});
  Tensor ids(quern::i32, {2});
  static_cast<std::int32_t*>(ids.view().data())[0] = 1;
  static_cast<std::int32_t*>(ids.view().data())[1] = 2;
  const Tensor gids = quern::to_gpu(ids.view());
  const std::int64_t apart[2] = {9, 1};  // a variant that no other test loads
  const auto call = [&](int no_wait) {
    quern_call how{};
    how.no_wait = no_wait;
    return g_gather_cuda(3, 8, 2, floats(x), apart, static_cast<const std::int32_t*>(gids.view().data()), nullptr, written(o), nullptr, &how);
  };
  for (const char* function : {"cuLibraryLoadData", "cuKernelGetFunction"})
    for (const int no_wait : {0, 1}) {
      quern_test::controls().fail(function, 209, 1);
      CHECK(call(no_wait) == QUERN_UNSUPPORTED);
      const std::string message = quern_aot_message();
      CHECK(message.find("refuses the machine code of kernel 'gather', which was made for sm_") != std::string::npos);
      CHECK(message.find("make the object again by `quern compile --target sm_90a`, with an NVRTC no newer than this driver, or install a newer driver") != std::string::npos);
    }
  CHECK(call(0) == QUERN_OK);
}

TEST_CASE("a call that is not waited for trusts what is declared nondecreasing, as `launch` does") {
  Tensor doc(quern::i32, {3});
  for (int i = 0; i < 3; ++i) static_cast<std::int32_t*>(doc.view().data())[i] = i == 2 ? 0 : i;
  const Tensor gdoc = quern::to_gpu(doc.view()), x = quern::to_gpu(random_tensor({3}, 5).view()), sums = quern::gpu_tensor(quern::f32, {3});
  quern_call call{};
  call.no_wait = 1;
  CHECK(g_segments_cuda(3, static_cast<const std::int32_t*>(gdoc.view().data()), nullptr, floats(x), nullptr, written(sums), nullptr, &call) == QUERN_OK);
  call.no_wait = 0;
  CHECK(g_segments_cuda(3, static_cast<const std::int32_t*>(gdoc.view().data()), nullptr, floats(x), nullptr, written(sums), nullptr, &call) == QUERN_DATA);
}
