// The public interface on a GPU: where tensors may lie, preparing, streams, graphs, and everything that goes wrong.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <quern.h>
#include <quern/quern.h>

#include "tests/catch.h"
#include "tests/cuda_runtime/emulated_gpu.h"

using namespace quern;
using quern_test::controls;

namespace {

constexpr const char* kScale = "kernel scale(x: f32[M,N], s: f32 = 2) -> (o: f32[M,N]) { o[m,n] = x[m,n] * s }";
constexpr const char* kPick = "kernel pick(x: f32[V], ids: i32[N] in 0:V) -> (o: f32[N]) { o[n] = x[ids[n]] }";
constexpr const char* kAway = "kernel away(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] - sum[k](x[k,n]) }";

Options on_gpu() { return Options().on(Device::cuda); }

Tensor numbers(Sizes shape) {
  Tensor t(f32, shape);
  for (std::int64_t i = 0; i < t.count(); ++i) t.as<float>()[static_cast<std::size_t>(i)] = static_cast<float>(i % 19) - 7;
  return t;
}

std::string code_of(const Status& status) { return status.ok() ? "ok" : name(status.code()); }

}  // namespace

TEST_CASE("tensors on the GPU go in and come out there") {
  const Kernel scale(kScale, on_gpu());
  const Tensor x = numbers({6, 33}), device = to_gpu(x);
  const Tensor result = scale(device, 3.0);
  CHECK(result.view().memory() == Memory::gpu);
  CHECK_THROWS_AS(result.get({0, 0}), Error);
  CHECK_THROWS_AS(result.as<float>(), Error);
  const Tensor here = to_host(result);
  for (std::size_t i = 0; i < 6 * 33; ++i) REQUIRE(here.as<float>()[i] == 3 * x.as<float>()[i]);
}

TEST_CASE("memory that a launch wants cleared is cleared before each") {
  const Kernel sums("kernel sums(x: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) }", on_gpu());
  const Tensor x = to_gpu(numbers({9000}));
  for (int round = 0; round < 3; ++round) {  // what the round before left there would be taken for this one's
    const Tensor made = sums(x), y = to_host(made);
    double sum = 0;
    for (std::int64_t n = 0; n < 9000; ++n) {
      sum += static_cast<double>(n % 19) - 7;
      REQUIRE(y.as<float>()[static_cast<std::size_t>(n)] == sum);
    }
  }
}

TEST_CASE("tensors on the host are copied in and out, strided ones in place") {
  const Kernel scale(kScale, on_gpu());
  const Tensor x = numbers({8, 20});
  std::vector<float> storage(16 * 40, -1);
  const TensorView every_other(storage.data(), {8, 20}, {80, 2});
  const auto live = controls().counters().live_allocations;
  scale(x.view().reversed(0), 2.0, out(every_other));
  CHECK(controls().counters().live_allocations <= live + 2);  // code and status stay, copies go
  for (int m = 0; m < 8; ++m)
    for (int n = 0; n < 20; ++n) REQUIRE(every_other.get({m, n}) == 2 * x.get({7 - m, n}));
  for (std::size_t i = 1; i < storage.size(); i += 2) REQUIRE(storage[i] == -1);
  // Some here, some there.
  const Tensor mixed = scale(to_gpu(x), 2.0, out(every_other)).size() == 0 ? Tensor::copy_of(every_other) : Tensor();
  CHECK(mixed.get({3, 4}) == 2 * x.get({3, 4}));
  // The very storage of the input.
  Tensor same = x.clone();
  scale(same, 5.0, out(same));
  CHECK(same.get({7, 19}) == 5 * x.get({7, 19}));
}

TEST_CASE("copies between any two places keep strides and what lies between") {
  const Tensor x = numbers({4, 6}), device = to_gpu(x);
  CHECK(to_host(device.view().transposed({1, 0})).get({5, 3}) == x.get({3, 5}));
  const Tensor other = gpu_tensor(f32, {4, 12});
  copy_elements(Tensor::zeros(f32, {4, 12}), other);
  const TensorView half = other.view().slice(1, 1, 12, 2);
  copy_elements(device, half);
  CHECK(to_host(other).get({2, 5}) == x.get({2, 2}));
  CHECK(to_host(other).get({2, 4}) == 0);
  const Tensor second = gpu_tensor(f32, {4, 6});
  copy_elements(half, second);
  CHECK(to_host(second).get({3, 5}) == x.get({3, 5}));
  CHECK_THROWS_AS(copy_elements(device, gpu_tensor(f32, {6, 4})), Error);
  CHECK_THROWS_AS(copy_elements(device, gpu_tensor(i32, {4, 6})), Error);
}

TEST_CASE("DLPack tensors of CUDA memory are used in place") {
  const Tensor x = numbers({3, 5}), device = to_gpu(x);
  DLManagedTensorVersioned* exported = device.to_dlpack();
  CHECK(exported->dl_tensor.device.device_type == kDLCUDA);
  CHECK(exported->dl_tensor.data == device.data());
  const Tensor again = Tensor::from_dlpack(exported);
  const Tensor result = Kernel(kScale, on_gpu())(again);
  CHECK(to_host(result).get({2, 4}) == 2 * x.get({2, 4}));
  // A bare pointer of the GPU.
  CHECK(to_host(Tensor(Kernel(kScale, on_gpu())(TensorView(device.data(), f32, {3, 5}).on_gpu(0)))).get({1, 1}) == 2 * x.get({1, 1}));
}

TEST_CASE("a tensor on a GPU is refused where the kernel does not run, and two GPUs in one call") {
  const Tensor device = to_gpu(numbers({2, 2})), other = to_gpu(numbers({2, 2}), 1);
  CHECK(code_of(Kernel(kScale, Options().on(Device::interpreter)).launch(device, out(Tensor(f32, {2, 2})))) == "unsupported");
  const Kernel scale(kScale, on_gpu());
  const auto mixed = [&] { scale(device, out(other)); };
  CHECK_THROWS_AS(mixed(), Error);
  CHECK(to_host(Tensor(scale(other))).get({1, 1}) == 2 * to_host(other).get({1, 1}));
  CHECK_THROWS_AS(to_gpu(device, 7), Error);
}

TEST_CASE("launch compiles and loads nothing") {
  const Kernel scale("kernel fresh(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] * 7 }", on_gpu());  // of no other test
  const Tensor x = to_gpu(numbers({4, 4})), o = gpu_tensor(f32, {4, 4});
  CHECK(code_of(scale.launch(x, out(o))) == "not_prepared");
  scale.explain();  // compiles, loads nothing
  CHECK(code_of(scale.launch(x, out(o))) == "not_prepared");
  scale.prepare(x, out(o));
  const auto before = controls().counters();
  CHECK(code_of(scale.launch(x, out(o))) == "ok");
  CHECK(controls().counters().library_loads == before.library_loads);
  CHECK(code_of(scale.synchronize()) == "ok");
}

TEST_CASE("what the data breaks is reported in the interpreter's words: by run at once, by launch when waited for") {
  const Tensor x = numbers({5, 1});
  const TensorView values(x.as<float>().data(), {5});
  const std::vector<std::int32_t> good{0, 4, 2}, bad{1, 9, 0};
  const Kernel meaning(kPick, Options().on(Device::interpreter)), pick(kPick, on_gpu());
  std::string words;
  try {
    meaning(values, bad);
  } catch (const Error& e) {
    words = e.message();
  }
  REQUIRE(!words.empty());
  const auto refused = [&](const TensorView& ids, const TensorView& v) {
    try {
      pick(v, ids);
      return std::string("ran");
    } catch (const Error& e) {
      return e.code() == Code::data ? e.message() : "another code: " + e.message();
    }
  };
  CHECK(refused(bad, values) == words);
  CHECK(refused(to_gpu(bad), to_gpu(values)) == words);
  CHECK(Tensor(pick(values, good)).get({1}) == x.get({4, 0}));

  const Tensor v = to_gpu(values), right = to_gpu(good), wrong = to_gpu(bad), o = gpu_tensor(f32, {3});
  pick.prepare(v, wrong, out(o));
  CHECK(code_of(pick.launch(v, wrong, out(o))) == "ok");
  const Status late = pick.synchronize();
  REQUIRE(code_of(late) == "data");
  CHECK(late.error().message() == words);
  CHECK(code_of(pick.synchronize()) == "ok");  // once
  CHECK(code_of(pick.launch(v, right, out(o))) == "ok");
  CHECK(code_of(pick.synchronize()) == "ok");
}

TEST_CASE("an order that is promised is checked in GPU memory too") {
  const Kernel f("kernel f(doc: i32[N] nondecreasing) -> (o: i32[N]) { o[n] = doc[n] }", on_gpu());
  const std::vector<std::int32_t> right{1, 1, 2}, wrong{1, 3, 2};
  CHECK(to_host(Tensor(f(to_gpu(right)))).get({2}) == 2);
  const auto run = [&] { f(to_gpu(wrong)); };
  CHECK_THROWS_AS(run(), Error);
}

TEST_CASE("a launch is captured into a graph; what would allocate or wait is refused meanwhile") {
  const Kernel away(kAway, on_gpu());
  const quern_test::OwnStream stream;
  const Tensor x = to_gpu(numbers({12, 40})), o = gpu_tensor(f32, {12, 40});
  away.prepare(x, out(o), on_stream(stream.get()));
  const Tensor expected = Kernel(kAway, Options().on(Device::interpreter))(to_host(x));
  copy_elements(Tensor::zeros(f32, {12, 40}), o);

  controls().begin_capture(stream.get());
  CHECK(code_of(away.launch(x, out(o), on_stream(stream.get()))) == "ok");
  const Argument waiting[] = {Argument(x), out(o), on_stream(stream.get())};
  CHECK(away.try_run(waiting).code() == Code::not_prepared);
  const Tensor host = numbers({12, 40});
  CHECK(code_of(away.launch(host, out(o), on_stream(stream.get()))) == "not_prepared");
  const Kernel unknown("kernel unknown(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] * 8 }", on_gpu());
  CHECK(code_of(unknown.launch(x, out(o), on_stream(stream.get()))) == "not_prepared");
  CHECK(controls().end_capture() > 0);

  CHECK(to_host(o).get({3, 3}) == 0);  // captured, not run
  controls().replay();
  for (int m = 0; m < 12; ++m)
    for (int n = 0; n < 40; ++n) REQUIRE(std::fabs(to_host(o).get({m, n}) - expected.get({m, n})) < 1e-4);

  // Launches beside the graph take other workspace than it has.
  away.prepare(x, out(o), on_stream(stream.get()));
  CHECK(code_of(away.launch(x, out(o), on_stream(stream.get()))) == "ok");
  controls().replay();
  CHECK(code_of(away.synchronize(stream.get())) == "ok");
}

TEST_CASE("threads share one compile and get their own results") {
  const auto before = counters().compiles;
  const Kernel scale("kernel shared(x: f32[M,N], s: f32) -> (o: f32[M,N]) { o[m,n] = x[m,n] * s }", on_gpu());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      const Tensor x = numbers({3, 7});
      for (int i = 0; i < 5; ++i) {
        const Tensor o = scale(x, static_cast<double>(t + 1));
        for (std::size_t j = 0; j < 21; ++j) wrong += o.as<float>()[j] != static_cast<float>(t + 1) * x.as<float>()[j];
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(counters().compiles == before + 1);
}

TEST_CASE("kernels are compiled on threads of the library") {
  std::vector<std::future<Status>> ready;
  std::vector<Kernel> kernels;
  const Tensor x = to_gpu(numbers({2, 3})), o = gpu_tensor(f32, {2, 3});
  for (int i = 0; i < 4; ++i) {
    kernels.emplace_back("kernel later" + std::to_string(i) + "(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] + " + std::to_string(i) + " }", on_gpu());
    std::string given = "x";
    const Argument arguments[] = {arg(given, x), out("o", o)};
    ready.push_back(kernels.back().prepare_async(arguments));
    given.assign(1, '?');
  }
  for (auto& r : ready) CHECK(code_of(r.get()) == "ok");
  for (const Kernel& k : kernels) CHECK(code_of(k.launch(x, out(o))) == "ok");
  CHECK(code_of(kernels[0].synchronize()) == "ok");
  // An error comes back as one.
  const Argument wrong[] = {arg("y", x)};
  CHECK(code_of(kernels[0].prepare_async(wrong).get()) == "invalid_argument");
}

TEST_CASE("kernels that go leave no memory, code or status words behind") {
  const auto cycle = [](int i) {
    const Kernel k("kernel gone" + std::to_string(i) + "(x: f32[M,N], ids: i32[M] in 0:M) -> (o: f32[M,N]) { o[m,n] = x[ids[m],n] - sum[k](x[k,n]) }", on_gpu());
    k(numbers({4, 9}), std::vector<std::int32_t>{0, 1, 2, 3});
    clear_cache();
  };
  cycle(0);
  clear_cache();
  const auto before = controls().counters();
  for (int i = 1; i < 4; ++i) {
    cycle(i);
    clear_cache();
  }
  const auto after = controls().counters();
  CHECK(after.library_loads - before.library_loads == 3);
  CHECK(after.library_unloads - before.library_unloads == 3);
  CHECK(after.live_allocations == before.live_allocations);
  CHECK(after.live_bytes == before.live_bytes);
}

TEST_CASE("code is made for the GPU that is there, or for the one that is named") {
  CHECK(Kernel(kScale, on_gpu().for_target("sm_80")).explain().find("sm_80") != std::string::npos);
  CHECK(Kernel(kScale, on_gpu()).explain().find("sm_90a") != std::string::npos);
  const Kernel older(kScale, on_gpu().for_target("sm_80"));
  const Tensor x = numbers({2, 2});
  const auto run = [&] { older(x); };
  CHECK_THROWS_AS(run(), Error);  // an sm_80 cubin does not run on compute capability 9.0
  CHECK_THROWS_AS(Kernel(kScale, on_gpu().for_target("sm_12")), Error);
}

TEST_CASE("(alone) an illegal address loses the GPU", "[.lost]") {
  const Kernel scale(kScale, on_gpu());
  const Tensor x = to_gpu(numbers({4, 4})), o = gpu_tensor(f32, {4, 4});
  const Argument arguments[] = {Argument(x), out(o)};
  CHECK(scale.try_run(arguments).ok());
  controls().fail("cuStreamSynchronize", 700, 1);
  const auto first = scale.try_run(arguments), second = scale.try_run(arguments);
  REQUIRE(first.code() == Code::device_lost);
  CHECK(first.error().message().find("CUDA_ERROR_ILLEGAL_ADDRESS") != std::string::npos);
  CHECK(first.error().message().find("kernel 'scale'") != std::string::npos);
  REQUIRE(second.code() == Code::device_lost);
  CHECK(second.error().message().find("was lost earlier") != std::string::npos);
  CHECK(scale.launch(x, out(o)).code() == Code::device_lost);
  CHECK(scale.synchronize().code() == Code::device_lost);
  CHECK_THROWS_AS(to_host(o), Error);
}

TEST_CASE("an illegal address loses the GPU: reported once with its kernel, refused from then on") {
  // In a process of its own, since nothing of this one could use the GPU afterwards.
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  CHECK(std::system(("'" + self + "' '[lost]' > /dev/null").c_str()) == 0);
}

TEST_CASE("the C functions know GPUs") {
  CHECK(quern_gpu_count(nullptr, 0) == 2);
  std::int64_t shape[] = {3, 4};
  std::vector<float> values(12, 1.5f), results(12, 0);
  const DLTensor host{values.data(), {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, 0};
  DLTensor back = host;
  back.data = results.data();
  DLManagedTensorVersioned *x = nullptr, *o = nullptr;
  char error[200];
  REQUIRE(quern_gpu_allocate(&host, 0, &x, error, sizeof error) == QUERN_OK);
  REQUIRE(quern_gpu_allocate(&host, 0, &o, error, sizeof error) == QUERN_OK);
  REQUIRE(quern_copy(&host, &x->dl_tensor, error, sizeof error) == QUERN_OK);
  quern_options* options = quern_options_create();
  CHECK(quern_options_device(options, QUERN_DEVICE_CUDA) == QUERN_OK);
  CHECK(quern_options_gpu(options, -1) == QUERN_INVALID_ARGUMENT);
  CHECK(quern_options_stream(options, nullptr) == QUERN_OK);
  quern_kernel* k = nullptr;
  REQUIRE(quern_compile(kScale, nullptr, options, &k) == QUERN_OK);
  const quern_test::OwnStream stream;
  quern_argument arguments[3] = {};
  arguments[0].kind = QUERN_INPUT;
  arguments[0].tensor = &x->dl_tensor;
  arguments[1].kind = QUERN_OUTPUT;
  arguments[1].tensor = &o->dl_tensor;
  arguments[2].kind = QUERN_STREAM;
  arguments[2].integer = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(stream.get()));
  CHECK(quern_launch(k, arguments, 3) == QUERN_NOT_PREPARED);
  CHECK(quern_prepare(k, arguments, 3) == QUERN_OK);
  CHECK(quern_launch(k, arguments, 3) == QUERN_OK);
  CHECK(quern_synchronize(k, stream.get()) == QUERN_OK);
  REQUIRE(quern_copy(&o->dl_tensor, &back, error, sizeof error) == QUERN_OK);
  CHECK(results[11] == 3);
  shape[0] = -1;
  DLManagedTensorVersioned* none = nullptr;
  CHECK(quern_gpu_allocate(&host, 0, &none, error, sizeof error) == QUERN_INVALID_ARGUMENT);
  CHECK(std::string(error).find("negative size") != std::string::npos);
  x->deleter(x);
  o->deleter(o);
  quern_destroy(k);
  quern_options_destroy(options);
}
