// What the library does to its process: nothing. One compile per key, counters, fork, out of memory.
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <thread>

#include "runtime/memory.h"
#include "tests/catch.h"
#include "tests/runtime/layouts.h"
#include "tests/runtime/programs.h"
#include "tests/runtime/snapshot.h"

using namespace quern;
using namespace quern_test;

TEST_CASE("the process is left as it was") {
  for (Device device : {Device::automatic, Device::interpreter}) {
    const Snapshot before = Snapshot::take();
    Captured output;
    const Options o = Options().on(device);
    bool fine = true;
    {
      const Kernel k("kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] * 2 - sum[k](x[m,k]) }", o);
      std::vector<float> x(6000, 1);
      const Tensor y = k(TensorView(x, {60, 100}));
      fine = fine && y.get({59, 99}) == -98;
      k.prepare(TensorView(x, {60, 100}));
      fine = fine && k.launch(TensorView(x, {60, 100}), out(y)).ok();
      fine = fine && !k.explain().empty();
      fine = fine && Kernel::compile("kernel f(", o).code() == Code::invalid_program;
      const Argument wrong[] = {1.0};
      fine = fine && k.try_run(wrong).code() == Code::invalid_argument;
      fine = fine && Kernel::compile_file("/nonexistent/file.quern").code() == Code::io;
      DLManagedTensorVersioned* d = y.to_dlpack();
      Tensor::from_dlpack(d);
    }
    clear_cache();
    const long written = output.finish();
    CHECK(fine);
    CHECK(written == 0);
    CHECK(Snapshot::take() == before);
  }
}

#if defined(__x86_64__)
TEST_CASE("results do not depend on the floating-point mode of the caller, which stays") {
  const Kernel k("kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] * 0.5 }");
  std::vector<float> x(300000, 1e-40f), y(300000);
  const unsigned before = _mm_getcsr();
  const unsigned odd = before | 0x8040 | 0x6000;  // flush to zero, denormals are zero, round toward zero
  _mm_setcsr(odd);
  k(TensorView(x, {1000, 300}), out(TensorView(y, {1000, 300})));
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  CHECK((after & ~0x3fu) == (odd & ~0x3fu));
  int wrong = 0;
  for (float value : y) wrong += value != 5e-41f;
  CHECK(wrong == 0);
}
#endif

TEST_CASE("run-time sizes do not recompile, compile-time names and layouts do") {
  const Kernel k("kernel f<D>(x: f32[M,D]) -> (o: f32[M]) { o[m] = sum[d](x[m,d]) }");
  std::vector<float> x(10000, 1);
  for (std::int64_t m : {1, 2, 3, 17, 100}) CHECK(Tensor(k(TensorView(x.data(), {m, 8}))).get({m - 1}) == 8);
  CHECK(k.counters().compiles == 1);
  CHECK(k.counters().hits == 4);
  CHECK(k.counters().misses == 1);
  CHECK(k.counters().calls == 5);
  k(TensorView(x.data(), {5, 9}));
  CHECK(k.counters().compiles == 2);
  k(TensorView(x.data(), {5, 9}, {1, 5}));
  CHECK(k.counters().compiles == 3);
  k(TensorView(x.data(), {7, 9}, {1, 100}));
  CHECK(k.counters().compiles == 3);
  // Another object of the same text finds what the first has compiled; comments and layout of the text do not count.
  const Kernel same("# a comment\nkernel f<D>(x: f32[M,D])   -> (o: f32[M]) { o[m] = sum[d](x[m,d])   }");
  same(TensorView(x.data(), {3, 8}));
  CHECK(same.counters().compiles == 0);
  CHECK(same.counters().hits == 1);
}

TEST_CASE("whatever code depends on makes another kernel") {
  const std::string text = "kernel keyed<W: int = 2, T: type = f32>(x: T[N]) -> (o: T[N]) { o[n] = x[n] * W }";
  std::vector<float> x(3, 1);
  const std::uint64_t before = counters().compiles;
  CHECK(Tensor(Kernel(text)(x)).get({0}) == 2);
  CHECK(Tensor(Kernel(text, Options().set("W", 5))(x)).get({0}) == 5);
  CHECK(Tensor(Kernel(text, Options().set("W", 6))(x)).get({0}) == 6);
  CHECK(Tensor(Kernel(text, Options().set("W", 6).without("simplify"))(x)).get({0}) == 6);
  CHECK(Tensor(Kernel(text, Options().set("W", 6).on(Device::interpreter))(x)).get({0}) == 6);
  CHECK(Tensor(Kernel(text, Options().set("T", f64))(std::vector<double>{4})).get({0}) == 8);
  const Kernel on_cpu(text);
  const std::uint64_t made = counters().compiles - before;
  if (on_cpu.device() == Device::cpu) {
    CHECK(made == 6);
    CHECK(Tensor(Kernel(text, Options().set("W", 6).for_target("baseline"))(x)).get({0}) == 6);
    CHECK(counters().compiles - before == 7);
  } else {
    CHECK(made == 5);  // "on the interpreter" is what automatic means there
  }
  CHECK(Tensor(Kernel(text, Options().set("W", 5))(x)).get({0}) == 5);
  CHECK(counters().compiles - before == (on_cpu.device() == Device::cpu ? 7 : 5));
}

TEST_CASE("element types are read off the arguments or set") {
  const Kernel k("kernel f<T: type>(x: T[N], y: T[N]) -> (o: T[N]) { o[n] = x[n] + y[n] }");
  const std::vector<double> d{1, 2};
  const std::vector<std::int32_t> i{3, 4};
  CHECK(Tensor(k(d, d)).type() == f64);
  CHECK(Tensor(k(i, i)).get({1}) == 8);
  CHECK(k.counters().compiles == 2);
  const Argument mixed[] = {d, i};
  CHECK(k.try_run(mixed).code() == Code::type_mismatch);
  const Kernel fixed("kernel f<T: type>(x: T[N], y: T[N]) -> (o: T[N]) { o[n] = x[n] + y[n] }", Options().set("T", f64));
  CHECK(Tensor(fixed(d, d)).get({0}) == 2);
  const Argument other[] = {i, i};
  CHECK(fixed.try_run(other).code() == Code::type_mismatch);
}

TEST_CASE("launch never compiles, prepare runs nothing") {
  const Kernel k("kernel launch_only(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] + 41 }");
  std::vector<float> x{1}, y{0};
  CHECK(k.launch(x, out(y)).code() == Code::not_prepared);
  CHECK(y[0] == 0);
  k.prepare(TensorView(static_cast<float*>(nullptr), {100}));
  CHECK(k.counters().calls == 0);
  CHECK(k.launch(x, out(y)).ok());
  CHECK(y[0] == 42);
  CHECK(k.launch(x).code() == Code::invalid_argument);
  k.prepare(x, out(x));  // in place is a signature of its own
  CHECK(k.launch(x, out(x)).ok());
  CHECK(x[0] == 42);
}

TEST_CASE("24 threads, one compile per key") {
  const Counters before = counters();
  clear_cache();
  constexpr int kKernels = 6;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 24; ++t)
    threads.emplace_back([&, t] {
      try {
        for (int i = 0; i < 48; ++i) {
          const int which = (i + t) % kKernels;
          const Kernel k("kernel threads" + std::to_string(which) + "(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] * " + std::to_string(which + 2) + " }");
          std::vector<float> x(static_cast<std::size_t>(100 + t), 3);
          const Tensor y = k(x);
          if (y.get({99 + t}) != 3 * (which + 2)) ++wrong;
        }
      } catch (...) {
        ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(counters().compiles - before.compiles == kKernels);
  CHECK(counters().calls - before.calls == 24 * 48);
}

TEST_CASE("one kernel object is called from many threads") {
  const Kernel k("kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }");
  std::mt19937 random(3);
  const Tensor a = random_tensor(random, f32, {70, 33}), b = random_tensor(random, f32, {33, 50});
  const Tensor expected = k(a, b);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        if (difference(Tensor(k(a, b)), expected) != 0) ++wrong;
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(k.counters().compiles <= 1);
}

TEST_CASE("a user's executor runs the tasks") {
  struct Counting {
    std::atomic<int> runs{0}, tasks{0};
  } counting;
  Executor executor;
  executor.self = &counting;
  executor.run = [](void* self, std::int64_t count, void (*task)(void*, std::int64_t), void* data) {
    auto& c = *static_cast<Counting*>(self);
    ++c.runs;
    std::thread half([&] { for (std::int64_t i = 0; i < count / 2; ++i) task(data, i); });
    for (std::int64_t i = count / 2; i < count; ++i) task(data, i);
    half.join();
    c.tasks += static_cast<int>(count);
  };
  Options options;
  options.executor = executor;
  const Kernel k("kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", options);
  const Kernel plain("kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }");
  std::mt19937 random(3);
  const Tensor a = random_tensor(random, f32, {900, 33}), b = random_tensor(random, f32, {33, 500});
  const Tensor c = k(a, b);
  CHECK(difference(c, Tensor(plain(a, b))) <= 1e-6);
  if (k.device() == Device::cpu) CHECK(counting.tasks > 1);
}

TEST_CASE("a forked child computes and compiles") {
#ifdef __SANITIZE_THREAD__
  return;  // the thread sanitizer allows no threads after fork
#endif
  const Kernel k("kernel f(x: f32[M,N]) -> (o: f32[M]) { o[m] = sum[n](x[m,n]) }");
  const std::vector<float> x(200000, 1);
  k(TensorView(x, {400, 500}));
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      const Tensor y = k(TensorView(x, {400, 500}));
      const Kernel fresh("kernel g(x: f32[M,N]) -> (o: f32[N]) { o[n] = sum[m](x[m,n]) }");
      const Tensor z = fresh(TensorView(x, {400, 500}));
      code = y.get({399}) == 500 && z.get({499}) == 400 ? 0 : 2;
    } catch (...) {
    }
    _exit(code);
  }
  int status = 1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

namespace {
std::atomic<int> allocations_left{1 << 30};
}
TEST_CASE("running out of memory at any allocation leaves the kernel usable") {
  const Kernel k("kernel f<D>(q: f32[M,D], k: f32[N,D]) -> (o: f32[M,N], s: f32[M]) {\n t[m,n] = sum[d](q[m,d] * k[n,d])\n s[m] = sum[n](t[m,n])\n o[m,n] = t[m,n] / (1 + abs(s[m])) }");
  std::mt19937 random(5);
  const Tensor a = random_tensor(random, f32, {300, 16}), b = random_tensor(random, f32, {200, 16});
  const Outputs expected = k(a, b);
  runtime::set_allocation_gate([](std::size_t) { return allocations_left-- > 0; });
  int failures = 0;
  for (int n = 0; n < 40; ++n) {
    allocations_left = n;
    const Argument list[] = {a, b};
    const auto result = k.try_run(list);
    if (result) {
      CHECK(difference((*result)["o"], expected["o"]) == 0);
      break;
    }
    CHECK(result.code() == Code::out_of_memory);
    ++failures;
  }
  runtime::set_allocation_gate(nullptr);
  CHECK(failures >= 2);
  CHECK(failures < 40);
}

TEST_CASE("API misuse is an error that says what to do") {
  CHECK(Kernel::compile("").code() == Code::invalid_argument);
  CHECK(Kernel::compile("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }\nkernel b(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }").code() == Code::invalid_argument);
  CHECK(Kernel::compile("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }\nkernel b(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }", "b").ok());
  CHECK(Kernel::compile("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }", "zzz").code() == Code::invalid_argument);
  CHECK(Kernel::compile("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }", Options().set("W", 3)).code() == Code::invalid_program);
  const auto bad = Kernel::compile("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = z[n] }");
  REQUIRE_FALSE(bad);
  CHECK(bad.code() == Code::invalid_program);
  CHECK(std::string(bad.error().what()).find("process_test.cpp:") != std::string::npos);
  CHECK(bad.error().message().find("'z'") != std::string::npos);
  CHECK(bad.error().message().rfind("<string>:1:45: error: ", 0) == 0);
  CHECK(std::string(bad.error().what()).find("process_test.cpp") == std::string(bad.error().what()).rfind("process_test.cpp"));
  const Kernel k("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }");
  try {
    k();
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::invalid_argument);
    CHECK(e.where().line() > 0);
  }
  std::vector<float> x(4), y(4);
  const Outputs none = k(x, out(y));
  CHECK(none.size() == 0);
  CHECK_THROWS_AS(none["y"], Error);
  if (k.device() == Device::cpu) {
    const Argument list[] = {x};
    CHECK(Kernel::compile("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }", Options().for_target("pdp11")).code() == Code::invalid_argument);
    CHECK(Kernel("kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }", Options().for_target("baseline")).try_run(list).ok());
  }
}
