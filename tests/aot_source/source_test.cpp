// GPU functions that came as C text: values against the interpreter, data errors, facts in GPU memory, what --source refuses.
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include <quern/gpu.h>
#include <quern/quern.h>

#include "kernels.h"
#include "tests/catch.h"
#include "tests/command/process.h"
#include "tests/cuda_runtime/emulated_gpu.h"

using namespace quern;

namespace {

const std::string& text() {
  static const std::string text = content_of(QUERN_SOURCE_DIR "/tests/aot/kernels.quern");
  return text;
}

Tensor random_tensor(Sizes shape, unsigned seed) {
  Tensor t(f32, shape);
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < t.view().count(); ++i) static_cast<float*>(t.view().data())[i] = normal(generator);
  return t;
}
/// 64 values from -1 to 1, exact in bf16.
Tensor small_tensor(Sizes shape, unsigned seed) {
  Tensor t(bf16, shape);
  std::mt19937 generator(seed);
  for (std::int64_t i = 0; i < t.view().count(); ++i)
    static_cast<std::uint16_t*>(t.view().data())[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>((static_cast<float>(generator() % 64) - 31.5f) / 32) >> 16);
  return t;
}
template <class T>
T* at(const Tensor& t) { return static_cast<T*>(t.view().data()); }

template <class T>
Tensor on_gpu(const std::vector<T>& values) { return to_gpu(TensorView(values, {static_cast<std::int64_t>(values.size())})); }

Tensor reference(const std::string& kernel, const Tensor& q, const Tensor& k, const Tensor& v) {
  return Kernel(text(), kernel, Options().on(Device::interpreter))(q, k, v);
}

}  // namespace

TEST_CASE("attention from C text is attention of the interpreter") {
  for (const std::int64_t d : {16, 64}) {
    const std::int64_t m = 37, n = 41;
    const Tensor q = random_tensor({m, d}, 1), k = random_tensor({n, d}, 2), v = random_tensor({n, d}, 3), wanted = reference("attention", q, k, v);
    const Tensor gq = to_gpu(q.view()), gk = to_gpu(k.view()), gv = to_gpu(v.view()), go = gpu_tensor(f32, {m, d});
    REQUIRE(c_attention_cuda(d, m, n, at<float>(gq), nullptr, at<float>(gk), nullptr, at<float>(gv), nullptr, nullptr, at<float>(go), nullptr, nullptr) == QUERN_OK);
    const Tensor found = to_host(go.view());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < d; ++j) CHECK(std::abs(found.get({i, j}) - wanted.get({i, j})) <= 3e-6);
  }
}

TEST_CASE("warp roles and tensor maps from C text, call after call") {
  const std::int64_t d = 64, heads = 2, t = 129;
  const Tensor q = small_tensor({heads, t, d}, 1), k = small_tensor({heads, t, d}, 2), v = small_tensor({heads, t, d}, 3), wanted = reference("causal", q, k, v);
  const Tensor gq = to_gpu(q.view()), gk = to_gpu(k.view()), gv = to_gpu(v.view());
  using raw = std::uint16_t;
  for (int call = 0; call < 2; ++call) {
    const Tensor go = gpu_tensor(bf16, {heads, t, d});
    const auto maps = quern_test::controls().counters().maps;
    REQUIRE(c_causal_cuda(d, heads, t, at<raw>(gq), nullptr, at<raw>(gk), nullptr, at<raw>(gv), nullptr, at<raw>(go), nullptr, nullptr) == QUERN_OK);
    if (call == 0) CHECK(quern_test::controls().counters().maps > maps);
    const Tensor found = to_host(go.view());
    double worst = 0;
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < t; ++i)
        for (std::int64_t j = 0; j < d; ++j) worst = std::max(worst, std::abs(found.get({h, i, j}) - wanted.get({h, i, j})));
    CHECK(worst <= 0x1p-7);  // |v| <= 1: weights and results are rounded to bf16
  }
}

TEST_CASE("numbers, an inout, rank 0 and an output of f64 from C text") {
  const Tensor x = random_tensor({3, 8}, 4), gx = to_gpu(x.view()), mean_of = gpu_tensor(f64, {3});
  REQUIRE(c_normalise_cuda(3, 8, at<float>(gx), nullptr, 0.5, -2, at<double>(mean_of), nullptr, nullptr) == QUERN_OK);
  const Tensor means = to_host(mean_of.view()), centred = to_host(gx.view());
  for (std::int64_t m = 0; m < 3; ++m) {
    double sum = 0;
    for (std::int64_t n = 0; n < 8; ++n) sum += x.get({m, n});
    CHECK(means.get({m}) == Approx(sum / 8 + 0.5 - 2).margin(1e-6));
    CHECK(centred.get({m, 2}) == Approx(x.get({m, 2}) - sum / 8).margin(1e-6));
  }
  const Tensor values = on_gpu(std::vector<float>{1, 2, 3.5f}), sum = gpu_tensor(f32, {});
  REQUIRE(c_total_cuda(3, at<float>(values), nullptr, at<float>(sum), nullptr) == QUERN_OK);
  CHECK(to_host(sum.view()).get({}) == 6.5);
}

TEST_CASE("what is declared of data in GPU memory is checked by calls that wait") {
  const Tensor x = on_gpu(std::vector<float>{1, 2, 3}), o = gpu_tensor(f32, {3});
  const Tensor right = on_gpu(std::vector<std::int32_t>{0, 1, 1}), wrong = on_gpu(std::vector<std::int32_t>{0, 2, 1});
  using ids = std::int32_t;
  REQUIRE(c_segments_cuda(3, at<ids>(right), nullptr, at<float>(x), nullptr, at<float>(o), nullptr, nullptr) == QUERN_OK);
  CHECK(to_host(o.view()).get({1}) == 5);
  CHECK(c_segments_cuda(3, at<ids>(wrong), nullptr, at<float>(x), nullptr, at<float>(o), nullptr, nullptr) == QUERN_DATA);
  CHECK(std::string(quern_aot_message()) == "error: 'doc' is declared nondecreasing, but 1 at position 2 follows 2");
  CHECK(to_host(o.view()).get({1}) == 5);  // refused before anything ran
  // Every other element of a larger tensor, which falls; those between it do not matter.
  const Tensor strided = on_gpu(std::vector<std::int32_t>{0, 9, 2, 0, 1, 7});
  const std::int64_t two[] = {2}, back[] = {-2};
  CHECK(c_segments_cuda(3, at<ids>(strided), two, at<float>(x), nullptr, at<float>(o), nullptr, nullptr) == QUERN_DATA);
  const Tensor falling = on_gpu(std::vector<std::int32_t>{5, 0, 4, 0, 3});
  CHECK(c_segments_cuda(3, at<ids>(falling) + 4, back, at<float>(x), nullptr, at<float>(o), nullptr, nullptr) == QUERN_OK);

  const Tensor table = on_gpu(std::vector<float>{1, 2, 3, 4}), indices = on_gpu(std::vector<std::int32_t>{1, 7}), picked = gpu_tensor(f32, {2, 2});
  CHECK(c_gather_cuda(2, 2, 2, at<float>(table), nullptr, at<ids>(indices), nullptr, at<float>(picked), nullptr, nullptr) == QUERN_DATA);
  CHECK(std::string(quern_aot_message()) == "error: ids[1] = 7 is outside axis 0 of 'x', which has 2 entries");
}

TEST_CASE("what --source gives and refuses") {
  const Folder folder;
  const std::vector<std::string> emulated{std::string("QUERN_NVRTC=") + QUERN_EMULATED_CUDA};
  const std::string file = folder.file("names.quern", "kernel f(quern_sizes: f32[N], f: f32[N], quern_kernel_f: f32[N], call: f32[N]) -> (o: f32[N]) { o[n] = quern_sizes[n] + f[n] + quern_kernel_f[n] + call[n] }");
  std::string first;
  for (int i = 0; i < 2; ++i) {
    const Output made = run_quern({"compile", file, "--target", "sm_80", "--source", "-o", folder.path("o"), "--quiet"}, "", emulated);
    INFO(made.err);
    REQUIRE(made.status == 0);
    CHECK(made.out == folder.path("o/names.h") + "\n" + folder.path("o/names.c") + "\n");
    if (i == 0) first = content_of(folder.path("o/names.c"));
  }
  CHECK(content_of(folder.path("o/names.c")) == first);
  // Names of the program that the text itself uses are set aside: it compiles.
  const std::string command = "cc -std=c99 -Wall -Wextra -Werror -c -I'" QUERN_SOURCE_DIR "/runtime/include' -o '" + folder.path("names.o") + "' '" + folder.path("o/names.c") + "' 2> '" + folder.path("log") + "'";
  const int status = std::system(command.c_str());
  INFO(content_of(folder.path("log")));
  CHECK(status == 0);
  const Output cpu = run_quern({"compile", file, "--target", "sm_80,x86-64-v3", "--source", "-o", folder.path("o")}, "", emulated);
  CHECK(cpu.status == 2);
  CHECK(cpu.err.find("code for x86-64-v3 goes into an object, not into C") != std::string::npos);
}
