// E: the library is a guest in its process. Every public call leaves signal handlers, locale, floating-point mode,
// environment, directory and the two streams as they were. Where the other promises are shown: README.md.
#include <functional>

#include "tests/catch.h"
#include "tests/runtime/layouts.h"
#include "tests/runtime/snapshot.h"
#include "tools/fuzz/device.h"

#include <quern.h>

using namespace quern;
using namespace quern_test;

namespace {

const char* kText = "kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = exp(x[m,n]) * 2 - sum[k](x[m,k]) }";

struct Step {
  const char* name;
  std::function<bool()> run;  // whether it did what it should
};

}  // namespace

TEST_CASE("E3: no public call changes the process") {
  for (const Device device : {Device::interpreter, Device::cpu, Device::cuda}) {
    if (device != Device::interpreter && !fuzz::has_device(device)) continue;
    const bool gpu = device == Device::cuda;  // there may be none: then every call says so and changes nothing either
    const Options o = Options().on(device);
    std::vector<float> x(6000, 0.5f), y(6000);
    const TensorView in(x, {60, 100}), result(y, {60, 100});
    std::optional<Kernel> kernel;
    Tensor tensor;
    DLManagedTensorVersioned* managed = nullptr;
    const Argument list[] = {in, out(result)};
    const Argument wrong[] = {1.0};
    const Step steps[] = {
        {"version", [&] { return version() != nullptr; }},
        {"Kernel", [&] { auto k = Kernel::compile(kText, o); if (k) kernel.emplace(*k); return k.ok() || gpu; }},
        {"Kernel, wrong text", [&] { return Kernel::compile("kernel f(", o).code() == Code::invalid_program || gpu; }},
        {"compile_file, no file", [&] { return Kernel::compile_file("/nonexistent/file.quern", {}, o).code() == Code::io; }},
        {"prepare", [&] { return !kernel || kernel->try_prepare(list).ok() || gpu; }},
        {"prepare_async", [&] { return !kernel || kernel->prepare_async(list).get().ok() || gpu; }},
        {"run", [&] { return !kernel || kernel->try_run(list).ok() || gpu; }},
        {"launch", [&] { return !kernel || kernel->try_launch(list).ok() || gpu; }},
        {"synchronize", [&] { return !kernel || kernel->synchronize().ok() || gpu; }},
        {"run, wrong arguments", [&] { return !kernel || !kernel->try_run(wrong).ok(); }},
        {"run, allocated result", [&] { if (!kernel || gpu) return true; tensor = (*kernel)(in); return tensor.get({59, 99}) != 0; }},
        {"explain", [&] { return !kernel || gpu || (!kernel->explain().empty() && !kernel->explain(list).empty()); }},
        {"parameters and counters", [&] { return !kernel || (kernel->parameters().size() == 2 && kernel->counters().failures < 99 && counters().calls < ~0ull); }},
        {"Tensor", [&] { tensor = Tensor::zeros(f32, {3, 4}); return tensor.clone().count() == 12; }},
        {"Tensor, too large", [&] { try { Tensor(f32, {std::int64_t{1} << 60}); } catch (const Error&) { return true; } return false; }},
        {"to_dlpack", [&] { managed = tensor.to_dlpack(); return managed != nullptr; }},
        {"from_dlpack", [&] { tensor = Tensor::from_dlpack(managed); return tensor.count() == 12; }},
        {"cache", [&] { set_cache_capacity(100); set_cache_capacity(0); return cached_kernels() < 100000; }},
        {"C: options", [&] { quern_options* c = quern_options_create(); quern_options_device(c, gpu ? QUERN_DEVICE_CUDA : QUERN_DEVICE_INTERPRETER); quern_options_destroy(c); return c != nullptr; }},
        {"C: compile and destroy", [&] { quern_kernel* k = nullptr; const int status = quern_compile(kText, nullptr, nullptr, &k); quern_destroy(k); return status == 0; }},
        {"clear_cache", [&] { kernel.reset(); clear_cache(); return true; }},
    };
    for (const Step& step : steps) {
      const Snapshot before = Snapshot::take();
      Captured output;
      const bool fine = step.run();
      const long written = output.finish();
      INFO(step.name << " on device " << static_cast<int>(device));
      CHECK(fine);
      CHECK(written == 0);
      CHECK(Snapshot::take() == before);
    }
  }
}

TEST_CASE("E3: the snapshot sees what a library could change") {
  const Snapshot before = Snapshot::take();
  setenv("QUERN_TEST_SNAPSHOT", "1", 1);
  CHECK_FALSE(Snapshot::take() == before);
  unsetenv("QUERN_TEST_SNAPSHOT");
  CHECK(Snapshot::take() == before);
  const auto old = signal(SIGUSR2, [](int) {});
  CHECK_FALSE(Snapshot::take() == before);
  signal(SIGUSR2, old);
  fesetround(FE_UPWARD);
  CHECK_FALSE(Snapshot::take() == before);
  fesetround(FE_TONEAREST);
  const mode_t mask = umask(0777);
  CHECK_FALSE(Snapshot::take() == before);
  umask(mask);
#if defined(__x86_64__)
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | 0x8040);
  CHECK_FALSE(Snapshot::take() == before);
  _mm_setcsr(mode);
#endif
  CHECK(Snapshot::take() == before);
  Captured output;
  (void)!write(1, "x", 1);
  CHECK(output.finish() == 1);
}
