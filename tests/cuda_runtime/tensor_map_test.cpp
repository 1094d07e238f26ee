// Tensor maps of a launch: made where the tensors of the call allow it, told to the kernel, and kept for the next call.
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include <quern/quern.h>

#include "compiler/codegen/cuda/prelude_hopper.h"
#include "compiler/codegen/cuda/prelude_tensor.h"
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

/// o = x by hand: k0 copies x to workspace t, k1 loads a box of 8 x 64 of each where it has a map and compares them.
/// What has no map is loaded plainly.
struct ByHand {
  explicit ByHand(std::uint32_t box = 64) {
    using quern::cuda::Word;
    tile::Module module;
    module.program = program_of("kernel f(x: bf16[M,N]) -> (o: bf16[M,N]) { o[m,n] = x[m,n] }");
    ir::Program& p = module.program;
    const auto named = [](const auto& all, const std::string& name) {
      for (std::uint32_t id = 0; id < all.size(); ++id)
        if (all[id].name == name) return id;
      throw std::runtime_error(name);
    };
    const ir::SymbolId m = named(p.symbols, "M"), n = named(p.symbols, "N");
    const ir::TensorId x = named(p.tensors, "x"), o = named(p.tensors, "o");
    ir::Tensor temp;
    temp.name = "t";
    temp.type = DType::bf16;
    temp.shape = {p.pool.symbol(m), p.pool.symbol(n)};
    const ir::TensorId t = p.add_tensor(temp);
    module.workspace = {t};
    quern::cuda::CudaModule printed;
    printed.workspace = {t};
    printed.text = quern::cuda::tensor_prelude() + std::string(quern::cuda::hopper_prelude()) + R"(
struct words0 { long long at[6]; };
extern "C" __global__ void k0(const __grid_constant__ words0 w) {
  for (int i = threadIdx.x; i < w.at[4] * w.at[5]; i += blockDim.x)
    ((unsigned short*)w.at[0])[i] = ((const unsigned short*)w.at[1])[i / w.at[5] * w.at[2] + i % w.at[5] * w.at[3]];
}
struct words1 { quern_map map[2]; long long at[9]; };
extern "C" __global__ void k1(const __grid_constant__ words1 w) {
  extern __shared__ __align__(1024) unsigned short tile[];
  const unsigned base = quern_shared_address(tile), barrier = base + 2048;
  const long long mapped = w.at[0];
  const int bytes = 1024 * ((mapped & 1) + (mapped >> 1 & 1));
  if (threadIdx.x == 0) {
    quern_mbarrier_init(barrier, 1);
    quern_mbarrier_init_fence();
    quern_mbarrier_expect(barrier, bytes);
    for (int k = 0; k < 2; ++k)
      if (mapped >> k & 1) quern_tensor_load(base + 1024 * k, w.map[k], barrier, 0, 0);
  }
  __syncthreads();
  quern_mbarrier_wait(barrier, 0);
  for (int i = threadIdx.x; i < w.at[7] * w.at[8]; i += blockDim.x) {
    const long long row = i / w.at[8], column = i % w.at[8];
    const int at = (int)(row * 64 + (column / 8 ^ row) * 8 + column % 8);
    const unsigned short plain = ((const unsigned short*)w.at[1])[row * w.at[2] + column * w.at[3]];
    const unsigned short a = mapped & 1 ? tile[at] : plain, b = mapped & 2 ? tile[512 + at] : plain;
    ((unsigned short*)w.at[4])[row * w.at[5] + column * w.at[6]] = a == b ? a : 0xdead;
  }
}
)";
    quern::cuda::KernelLaunch k0;
    k0.entry = "k0";
    k0.threads = 32;
    k0.tasks = p.pool.integer(1);
    k0.words = {{Word::data, t}, {Word::data, x}, {Word::stride, x, 0}, {Word::stride, x, 1}, {Word::symbol, m}, {Word::symbol, n}};
    quern::cuda::KernelLaunch k1 = k0;
    k1.entry = "k1";
    k1.shared_bytes = p.pool.integer(2056);
    k1.words = {{Word::mapped}, {Word::data, x}, {Word::stride, x, 0}, {Word::stride, x, 1}, {Word::data, o}, {Word::stride, o, 0}, {Word::stride, o, 1}, {Word::symbol, m}, {Word::symbol, n}};
    k1.maps = {{x, {1, 0}, {box, 8}}, {t, {1, 0}, {box, 8}}};
    printed.launches = {k0, k1};
    printed.program = p;
    executable = runtime::gpu::compile_printed(std::move(module), std::move(printed), *quern::cuda::target_named("sm_90a"));
  }

  /// Copies and compares; gives back the word of kind `mapped`.
  std::uint64_t run(const TensorView& x) const {
    const Tensor o = gpu_tensor(bf16, {x.extent(0), x.extent(1)});
    const TensorView view = o;
    const TensorView* views[] = {&x, &view};
    const std::int64_t symbols[] = {x.extent(0), x.extent(1)};
    runtime::Launch launch{views, symbols, nullptr, nullptr, &options};
    launch.wait = true;
    executable->run(launch);
    const Tensor result = to_host(o), wanted = to_host(x);
    const auto *a = static_cast<const std::uint16_t*>(result.data()), *b = static_cast<const std::uint16_t*>(wanted.data());
    for (std::int64_t i = 0; i < x.extent(0) * x.extent(1); ++i)
      if (a[i] != b[i]) throw std::runtime_error(fmt::format("element {} differs", i));
    std::uint64_t words[64] = {};
    unsigned grid = 0, threads = 0, shared = 0;
    if (controls().last_launch(words, 64, &grid, &threads, &shared) != (2 * 128 + 9 * 8 + 56) / 8) throw std::runtime_error("the parameter has another size");
    return words[32];
  }

  Options options;
  std::shared_ptr<const runtime::Executable> executable;
};

Tensor numbered(std::int64_t rows, std::int64_t columns) {
  Tensor host = Tensor::zeros(bf16, {rows, columns});
  for (std::int64_t i = 0; i < rows * columns; ++i) static_cast<std::uint16_t*>(host.data())[i] = static_cast<std::uint16_t>(i);
  return to_gpu(host);
}

/// Part of a tensor in GPU memory, without a copy.
TensorView part(const Tensor& of, std::int64_t first, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
  return TensorView(static_cast<std::uint16_t*>(const_cast<void*>(static_cast<const void*>(of.data()))) + first, bf16, shape, strides).on_gpu(0);
}

}  // namespace

TEST_CASE("a map is made where address and strides allow it, and the kernel is told") {
  const ByHand f;
  const Tensor x = numbered(5, 40), large = numbered(20, 64);
  CHECK(f.run(x) == 3);
  CHECK(f.run(numbered(5, 37)) == 0);                           // rows of 74 bytes, in the workspace too
  CHECK(f.run(part(large, 8, {5, 40}, {64, 1})) == 3);          // rows apart, from byte 16 on
  CHECK(f.run(part(large, 1, {5, 40}, {64, 1})) == 2);          // not from a multiple of 16 bytes
  CHECK(f.run(part(large, 0, {5, 40}, {60, 1})) == 2);          // rows of 120 bytes
  CHECK(f.run(part(large, 64 * 8, {5, 40}, {-64, 1})) == 2);    // backwards
  CHECK(f.run(part(large, 0, {5, 40}, {0, 1})) == 3);           // one row for all
  CHECK(f.run(part(large, 0, {8, 8}, {8, 2})) == 2);            // no neighbours along the fastest axis
  CHECK(f.run(part(large, 0, {1, 40}, {3, 1})) == 3);           // the stride of a single row does not matter
  CHECK(f.run(part(large, 0, {5, 1}, {64, 7})) == 1);           // nor that of a single column; the workspace has rows of 2 bytes
}

TEST_CASE("a map is made once for the same tensors") {
  const ByHand f;
  const Tensor x = numbered(5, 40), y = numbered(5, 40);
  f.run(x);
  const auto before = controls().counters().maps;
  for (int i = 0; i < 5; ++i) CHECK(f.run(x) == 3);
  CHECK(controls().counters().maps == before);
  CHECK(f.run(y) == 3);
  CHECK(controls().counters().maps == before + 1);  // the workspace is where it was
}

TEST_CASE("a map that the driver refuses is none, and no error") {
  const ByHand f;
  const Tensor x = numbered(5, 40), y = numbered(5, 40);
  controls().fail("cuTensorMapEncodeTiled", 1, 1);
  CHECK(f.run(x) == 2);
  CHECK(f.run(y) == 3);
}

TEST_CASE("threads that share a kernel have the maps of their own tensors") {
  const ByHand f;
  std::vector<std::string> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        const Tensor x = numbered(static_cast<std::int64_t>(i) + 2, 40);
        const TensorView view = x;
        const Tensor o = gpu_tensor(bf16, {view.extent(0), 40});
        const TensorView out = o;
        const TensorView* views[] = {&view, &out};
        const std::int64_t symbols[] = {view.extent(0), 40};
        runtime::Launch launch{views, symbols, nullptr, nullptr, &f.options};
        launch.wait = true;
        for (int k = 0; k < 20; ++k) f.executable->run(launch);
        const Tensor result = to_host(o);
        for (std::int64_t e = 0; e < view.extent(0) * 40; ++e)
          if (static_cast<const std::uint16_t*>(result.data())[e] != e) wrong[i] = fmt::format("element {} differs", e);
      } catch (const std::exception& e) {
        wrong[i] = e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a map that no tensor could have is a fault of the compiler") {
  for (const std::uint32_t box : {0u, 12u, 72u, 512u}) {
    try {
      const ByHand f(box);
      FAIL("compiled");
    } catch (const Error& e) {
      CHECK(e.code() == Code::internal);
      CHECK(e.message().find("a tensor map") != std::string::npos);
    }
  }
}
