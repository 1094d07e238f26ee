// The runtime on a real GPU (or on the emulated one, where QUERN_LIBCUDA names it). See README.md.
#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include <quern/quern.h>

#include "runtime/cuda/gpu.h"
#include "tests/catch.h"

using namespace quern;
namespace rg = quern::runtime::gpu;

namespace {

/// Whether there is a GPU; says so where there is none.
bool have_gpu() {
  static const CudaStatus status = cuda_status();
  if (!status.gpus.empty() && !status.nvrtc.empty()) return true;
  const char* required = std::getenv("QUERN_REQUIRE_GPU");
  INFO(status.driver_problem << " " << status.nvrtc_problem);
  CHECK_FALSE((required && std::string(required) == "1"));
  WARN("skipped: no GPU");
  return false;
}

bool emulated() { return cuda_status().gpus.front().name == "emulated GPU"; }

Options on_gpu() { return Options().on(Device::cuda); }

/// Functions of the driver that the library itself has no use for.
template <class F>
F driver_function(const char* name) {
  const char* named = std::getenv("QUERN_LIBCUDA");
  void* library = dlopen(named && *named ? named : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto get = reinterpret_cast<int (*)(const char*, void**, int, std::uint64_t, int*)>(dlsym(library, "cuGetProcAddress_v2"));
  void* found = nullptr;
  int status = 0;
  if (get(name, &found, 12000, 0, &status) != 0 || !found) throw std::runtime_error(std::string("no ") + name);
  return reinterpret_cast<F>(found);
}

class OwnStream {
 public:
  OwnStream() : gpu_(rg::gpu_at(0)) {
    const rg::Current current(gpu_);
    gpu_.require(gpu_.driver().cuStreamCreate(&stream_, 1), "a stream");  // not ordered with the default stream
  }
  ~OwnStream() {
    gpu_.driver().cuStreamSynchronize(stream_);
    gpu_.driver().cuStreamDestroy(stream_);
  }
  void* get() const { return stream_; }

 private:
  rg::Gpu& gpu_;
  rg::Stream stream_ = nullptr;
};

Tensor numbers(Sizes shape, int seed) {
  Tensor t(f32, shape);
  for (std::int64_t i = 0; i < t.count(); ++i) t.as<float>()[static_cast<std::size_t>(i)] = static_cast<float>((i * 7 + seed * 13) % 23) / 8 - 1;
  return t;
}

/// Largest difference, as a part of the largest value.
double difference(const TensorView& device, const Tensor& wanted) {
  const Tensor here = to_host(device);
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(wanted.count()); ++i) {
    const double w = static_cast<double>(wanted.as<float>()[i]), d = std::fabs(static_cast<double>(here.as<float>()[i]) - w);
    most = std::isnan(d) ? INFINITY : std::max(most, d);
    largest = std::max(largest, std::fabs(w));
  }
  return most / largest;
}

/// Sums that several equations read, so that there are several launches and workspace between them.
constexpr const char* kCentred = R"(kernel centred(x: f32[M,N]) -> (o: f32[M,N]) {
  c[n] = sum[m](x[m,n])
  r[m] = sum[n](x[m,n] * c[n])
  o[m,n] = x[m,n] * c[n] - r[m]
})";

Tensor meaning(const char* text, const Tensor& x) { return Kernel(text, Options().on(Device::interpreter))(x); }

}  // namespace

TEST_CASE("a graph holds launches and is replayed on new data") {
  if (!have_gpu()) return;
  const auto begin = driver_function<int (*)(void*, int)>("cuStreamBeginCapture");
  const auto end = driver_function<int (*)(void*, void**)>("cuStreamEndCapture");
  const auto instantiate = driver_function<int (*)(void**, void*, unsigned long long)>("cuGraphInstantiate");
  const auto replay = driver_function<int (*)(void*, void*)>("cuGraphLaunch");
  const OwnStream stream;
  const rg::Current current(rg::gpu_at(0));
  const Kernel centred(kCentred, on_gpu().on_stream(stream.get()));
  const Tensor x = to_gpu(numbers({37, 130}, 0)), o = gpu_tensor(f32, {37, 130}), twice = gpu_tensor(f32, {37, 130});
  centred.prepare(x, out(o));

  void *graph = nullptr, *exec = nullptr;
  REQUIRE(begin(stream.get(), 0) == 0);
  const Status first = centred.launch(x, out(o)), second = centred.launch(o, out(twice));
  const Kernel unknown("kernel unknown(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] * 8 }", on_gpu().on_stream(stream.get()));
  CHECK(unknown.launch(x, out(o)).code() == Code::not_prepared);
  REQUIRE(end(stream.get(), &graph) == 0);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  REQUIRE(instantiate(&exec, graph, 0) == 0);
  for (int seed = 1; seed < 4; ++seed) {
    const Tensor values = numbers({37, 130}, seed);
    copy_elements(values, x);
    // A launch beside the graph must not disturb its workspace.
    if (seed == 2) CHECK(centred.launch(x, out(twice)).ok());
    REQUIRE(replay(exec, stream.get()) == 0);
    REQUIRE(centred.synchronize().ok());
    const Tensor wanted = meaning(kCentred, values);
    CHECK(difference(o, wanted) < 1e-5);
    CHECK(difference(twice, meaning(kCentred, wanted)) < 1e-5);
  }
}

TEST_CASE("one kernel runs on several streams and threads at once") {
  if (!have_gpu()) return;
  const Kernel centred(kCentred, on_gpu());
  const int threads = 4, rounds = emulated() ? 3 : 200;
  std::atomic<int> wrong{0};
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      const OwnStream stream;
      const Tensor values = numbers({40 + t, 90}, t), wanted = meaning(kCentred, values);
      const Tensor x = to_gpu(values), o = gpu_tensor(f32, {40 + t, 90});
      centred.prepare(x, out(o), on_stream(stream.get()));
      for (int i = 0; i < rounds; ++i) wrong += !centred.launch(x, out(o), on_stream(stream.get())).ok();
      wrong += !centred.synchronize(stream.get()).ok();
      wrong += difference(o, wanted) > 1e-5;
    });
  for (std::thread& t : running) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("data that breaks a fact is reported by the stream's synchronisation") {
  if (!have_gpu()) return;
  const Kernel pick("kernel pick(x: f32[V], ids: i32[N] in 0:V) -> (o: f32[N]) { o[n] = x[ids[n]] }", on_gpu());
  const OwnStream stream;
  std::vector<std::int32_t> ids(1000, 3);
  ids[777] = -5;
  const Tensor x = to_gpu(numbers({10, 1}, 0)), wrong = to_gpu(ids), o = gpu_tensor(f32, {1000});
  const TensorView v = TensorView(x.data(), f32, {10}).on_gpu(0);
  pick.prepare(v, wrong, out(o), on_stream(stream.get()));
  CHECK(pick.launch(v, wrong, out(o), on_stream(stream.get())).ok());
  const Status late = pick.synchronize(stream.get());
  REQUIRE(late.code() == Code::data);
  CHECK(late.error().message().find("777") != std::string::npos);
  CHECK(late.error().message().find("-5") != std::string::npos);
  CHECK(pick.synchronize(stream.get()).ok());
}

TEST_CASE("kernels that go give their memory back") {
  if (!have_gpu()) return;
  const auto free_bytes = [] {
    rg::Gpu& gpu = rg::gpu_at(0);
    const rg::Current current(gpu);
    std::size_t free = 0, total = 0;
    gpu.driver().cuMemGetInfo(&free, &total);
    return static_cast<double>(free);
  };
  const Tensor x = numbers({50, 300}, 1);
  const auto cycle = [&](int i) {
    // Another text each time, or the cache would have it.
    const Kernel k("kernel gone(x: f32[M,N]) -> (o: f32[M,N]) {\n c[n] = sum[m](x[m,n])\n r[m] = sum[n](x[m,n] * c[n])\n o[m,n] = x[m,n] * c[n] - r[m] * " + std::to_string(i) + " }", on_gpu());
    k(x);
    clear_cache();
  };
  const int cycles = emulated() ? 2 : 30;
  for (int i = 0; i < 3; ++i) cycle(i);
  clear_cache();
  const double before = free_bytes();
  for (int i = 3; i < 3 + cycles; ++i) cycle(i);
  clear_cache();
  CHECK(before - free_bytes() < 16e6);
}

TEST_CASE("tensors of more than 2^31 elements", "[.large]") {
  if (!have_gpu()) return;
  const std::int64_t n = (std::int64_t{1} << 31) + 1000;
  const Tensor x = gpu_tensor(i8, {n}), o = gpu_tensor(i8, {n});
  const Tensor tail = Tensor::from(std::vector<std::int8_t>{1, 2, 3, 4}, {4});
  copy_elements(tail, x.view().slice(0, n - 4, n));
  copy_elements(tail, x.view().slice(0, 0, 4));
  const Kernel k("kernel f(x: i8[N]) -> (o: i8[N]) { o[n] = x[n] + i8(1) }", on_gpu());
  k(x, out(o));
  CHECK(to_host(o.view().slice(0, n - 4, n)).get({3}) == 5);
  CHECK(to_host(o.view().slice(0, 0, 4)).get({0}) == 2);
}

TEST_CASE("what queueing a launch costs", "[.speed]") {
  if (!have_gpu()) return;
  const Kernel k("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] + 1 }", on_gpu());
  const OwnStream stream;
  const Tensor x = to_gpu(numbers({1, 64}, 0)), o = gpu_tensor(f32, {64});
  const TensorView v = TensorView(x.data(), f32, {64}).on_gpu(0);
  k.prepare(v, out(o), on_stream(stream.get()));
  double best = 1;
  for (int round = 0; round < 20; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 200; ++i) (void)k.launch(v, out(o), on_stream(stream.get()));
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 200);
    REQUIRE(k.synchronize(stream.get()).ok());
  }
  WARN("a launch takes " << best * 1e6 << " us of this processor");
}

TEST_CASE("(alone) a kernel that reads where nothing is loses the GPU", "[.lost]") {
  if (!have_gpu()) return;
  const Kernel k("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] + 1 }", on_gpu());
  const Tensor o = gpu_tensor(f32, {64});
  const TensorView nowhere = TensorView(reinterpret_cast<float*>(std::uintptr_t{1} << 44), f32, {64}).on_gpu(0);
  const Argument arguments[] = {Argument(nowhere), out(o)};
  const auto first = k.try_run(arguments), second = k.try_run(arguments);
  REQUIRE(first.code() == Code::device_lost);
  CHECK(first.error().message().find("kernel 'f'") != std::string::npos);
  CHECK(second.code() == Code::device_lost);
  CHECK(second.error().message().find("was lost earlier") != std::string::npos);
}

TEST_CASE("an illegal address is device_lost") {
  if (!have_gpu()) return;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  CHECK(std::system(("'" + self + "' '[lost]' > /dev/null 2>&1").c_str()) == 0);
}
