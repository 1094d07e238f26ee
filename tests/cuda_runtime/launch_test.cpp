// A module written by hand, so that every kind of parameter word, the grid and the memory of a launch are seen as they
// arrive at the driver.
#include <cstring>

#include <quern/quern.h>

#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "runtime/cuda/device_cuda.h"
#include "tests/catch.h"
#include "tests/cuda_runtime/emulated_gpu.h"

using namespace quern;
using quern_test::controls;

namespace {

ir::Program program_of(const std::string& text) {
  const dsl::Source source("test", text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  auto program = dsl::check(std::get<dsl::ast::Kernel>(file.items.front().node), &file, source, {}, diagnostics);
  if (!program) throw std::runtime_error(dsl::render(diagnostics, source));
  return std::move(*program);
}

/// o[m,n] = x[m,n] * s with a module by hand: k0 writes workspace, k1 reads it and the slab.
struct ByHand {
  explicit ByHand(int blocks_per_multiprocessor = 0) {
    using quern::cuda::Word;
    tile::Module module;
    module.program = program_of("kernel f(x: f32[M,N], s: f32) -> (o: f32[M,N]) { o[m,n] = x[m,n] * s }");
    ir::Program& p = module.program;
    const auto tensor = [&](const std::string& name) {
      for (ir::TensorId id = 0; id < p.tensors.size(); ++id)
        if (p.tensors[id].name == name) return id;
      throw std::runtime_error(name);
    };
    const auto symbol = [&](const std::string& name) {
      for (ir::SymbolId id = 0; id < p.symbols.size(); ++id)
        if (p.symbols[id].name == name) return id;
      throw std::runtime_error(name);
    };
    const ir::Expr m = p.pool.symbol(symbol("M")), n = p.pool.symbol(symbol("N"));
    ir::Tensor temp;
    temp.name = "t";
    temp.shape = {m, n};
    const ir::TensorId t = p.add_tensor(temp);
    module.workspace = {t};
    quern::cuda::CudaModule printed;
    printed.workspace = {t};
    printed.text = R"(
struct words0 { long long at[8]; };
extern "C" __global__ void k0(const __grid_constant__ words0 w) {
  for (long long task = blockIdx.x; task < w.at[0]; task += gridDim.x)
    for (long long n = threadIdx.x; n < w.at[5]; n += blockDim.x)
      ((float*)w.at[1])[task * w.at[6] + n] = ((const float*)w.at[2])[task * w.at[3] + n * w.at[4]];
}
struct words1 { long long at[9]; };
extern "C" __global__ void k1(const __grid_constant__ words1 w) {
  float* mine = (float*)(w.at[7] + blockIdx.x * w.at[5] * 4);
  for (long long task = blockIdx.x; task < w.at[0]; task += gridDim.x)
    for (long long n = threadIdx.x; n < w.at[5]; n += blockDim.x) {
      mine[n] = ((const float*)w.at[1])[task * w.at[5] + n] * __int_as_float((int)w.at[6]);
      ((float*)w.at[2])[task * w.at[3] + n * w.at[4]] = mine[n];
    }
}
)";
    const ir::TensorId x = tensor("x"), o = tensor("o");
    quern::cuda::KernelLaunch k0;
    k0.entry = "k0";
    k0.threads = 32;
    k0.tasks = m;
    k0.blocks_per_multiprocessor = blocks_per_multiprocessor;
    k0.shared_bytes = p.pool.mul(n, p.pool.integer(8));
    k0.words = {{Word::tasks}, {Word::data, t}, {Word::data, x}, {Word::stride, x, 0}, {Word::stride, x, 1}, {Word::symbol, symbol("N")}, {Word::stride, t, 0}, {Word::stride, t, 1}};
    quern::cuda::KernelLaunch k1 = k0;
    k1.entry = "k1";
    k1.threads = 64;
    k1.shared_bytes = {};
    k1.slab_bytes = p.pool.mul(n, p.pool.integer(4));
    k1.words = {{Word::tasks}, {Word::data, t}, {Word::data, o}, {Word::stride, o, 0}, {Word::stride, o, 1}, {Word::symbol, symbol("N")}, {Word::scalar, 0}, {Word::slab}, {Word::status}};
    printed.launches = {k0, k1};
    printed.program = p;
    executable = runtime::gpu::compile_printed(std::move(module), std::move(printed), *quern::cuda::target_named("sm_90a"));
  }

  void run(const TensorView& x, float s, const TensorView& o, bool wait = true) const {
    const TensorView* views[] = {&x, &o};
    const std::int64_t symbols[] = {x.extent(0), x.extent(1)};
    const double value = s;
    std::int64_t bits = 0;
    std::memcpy(&bits, &s, 4);
    runtime::Launch launch{views, symbols, &value, &bits, &options};
    launch.wait = wait;
    executable->run(launch);
  }

  Options options;
  std::shared_ptr<const runtime::Executable> executable;
};

}  // namespace

TEST_CASE("words, grid, shared memory, workspace and slab arrive as the module lists them") {
  const ByHand f(2);
  std::vector<float> values(5 * 70);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Tensor x = to_gpu(TensorView(values, {5, 70})), o = gpu_tensor(f32, {5, 70});
  f.run(x, 3, o);
  const Tensor result = to_host(o);
  for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(result.as<float>()[i] == 3 * values[i]);

  std::uint64_t words[16] = {};
  unsigned grid = 0, threads = 0, shared = 1;
  CHECK(controls().last_launch(words, 16, &grid, &threads, &shared) == 9);
  CHECK(grid == 5);  // min(tasks, 2 x 3 multiprocessors)
  CHECK(threads == 64);
  CHECK(shared == 0);
  CHECK(words[0] == 5);
  CHECK(words[1] % 256 == 0);                                       // workspace
  CHECK(words[2] == reinterpret_cast<std::uint64_t>(o.data()));
  CHECK(words[3] == 70);
  CHECK(words[4] == 1);
  CHECK(words[5] == 70);
  float s = 0;
  std::memcpy(&s, &words[6], 4);
  CHECK(s == 3);
  CHECK(words[7] % 256 == 0);                                       // slab
  CHECK(words[7] >= words[1] + 5 * 70 * 4);                          // behind the workspace
  CHECK(words[8] != 0);                                             // status
}

TEST_CASE("a persistent grid is as large as the GPU, any other as the tasks") {
  const Tensor x = to_gpu(Tensor::zeros(f32, {20, 4})), o = gpu_tensor(f32, {20, 4});
  std::uint64_t words[16];
  unsigned grid = 0, threads = 0, shared = 0;
  ByHand(2).run(x, 1, o);
  controls().last_launch(words, 16, &grid, &threads, &shared);
  CHECK(grid == 6);
  ByHand(0).run(x, 1, o);
  controls().last_launch(words, 16, &grid, &threads, &shared);
  CHECK(grid == 20);
}

TEST_CASE("no tasks, no launch") {
  const ByHand f;
  const auto before = controls().counters().launches;
  f.run(gpu_tensor(f32, {0, 4}), 1, gpu_tensor(f32, {0, 4}));
  CHECK(controls().counters().launches == before);
}

TEST_CASE("more shared memory than a block has is refused before the launch") {
  const ByHand f;
  const Tensor wide = to_gpu(Tensor::zeros(f32, {1, 29000})), o = gpu_tensor(f32, {1, 29000});
  f.run(wide, 1, o);  // 226.6 KB of 227
  const Tensor wider = to_gpu(Tensor::zeros(f32, {1, 29057})), o2 = gpu_tensor(f32, {1, 29057});
  try {
    f.run(wider, 1, o2);
    FAIL("ran");
  } catch (const Error& e) {
    CHECK(e.code() == Code::internal);
    CHECK(e.message().find("shared memory") != std::string::npos);
  }
}

TEST_CASE("a repeated launch allocates nothing and waits for nothing") {
  const ByHand f;
  const Tensor x = to_gpu(Tensor::zeros(f32, {8, 16})), o = gpu_tensor(f32, {8, 16});
  f.run(x, 1, o, false);
  const auto before = controls().counters();
  for (int i = 0; i < 10; ++i) f.run(x, 1, o, false);
  const auto after = controls().counters();
  CHECK(after.launches == before.launches + 20);
  CHECK(after.allocations == before.allocations);
  CHECK(after.synchronizations == before.synchronizations);
}

TEST_CASE("workspace that cannot be had is out of memory and leaves the kernel usable") {
  const ByHand f;
  const Tensor x = to_gpu(Tensor::zeros(f32, {8, 16})), o = gpu_tensor(f32, {8, 16});
  controls().fail("cuMemAllocAsync", 2, 1);
  try {
    f.run(x, 1, o);
    FAIL("ran");
  } catch (const Error& e) {
    CHECK(e.code() == Code::out_of_memory);
    CHECK(e.message().find("workspace") != std::string::npos);
  }
  f.run(x, 1, o);
}

TEST_CASE("code that does not load or start says so and can be tried again") {
  for (const char* function : {"cuLibraryLoadData", "cuMemAlloc", "cuMemsetD8Async", "cuStreamSynchronize", "cuLaunchKernel"}) {
    const ByHand f;
    const Tensor x = to_gpu(Tensor::zeros(f32, {8, 16})), o = gpu_tensor(f32, {8, 16});
    const auto live = controls().counters().live_allocations;
    controls().fail(function, 801, 1);
    INFO(function);
    CHECK_THROWS_AS(f.run(x, 1, o), Error);
    f.run(x, 1, o);
    CHECK(controls().counters().live_allocations <= live + 4);
  }
}

TEST_CASE("text that does not compile shows the compiler's words") {
  quern::cuda::CudaModule printed;
  printed.text = "#error nothing\n";
  printed.launches.resize(1);
  try {
    runtime::gpu::compile_printed(tile::Module{}, std::move(printed), *quern::cuda::target_named("sm_90a"));
    FAIL("compiled");
  } catch (const Error& e) {
    CHECK(e.code() == Code::internal);
    CHECK(e.message().find("#error nothing") != std::string::npos);
  }
}
