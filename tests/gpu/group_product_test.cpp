// Products of warp groups through tensor maps, by the kernel that tests/cuda_emulator has by hand: its model of layouts,
// descriptors, swizzle and barriers against the hardware.
#include <cstdlib>
#include <cstring>

#include <quern/quern.h>

#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "runtime/cuda/device_cuda.h"
#include "tests/catch.h"
#include "tests/cuda_emulator/group_product.h"

using namespace quern;
using quern_test::GroupProductCase;
using quern_test::GroupProductData;
using quern_test::padded;

namespace {

bool have_hopper() {
  static const CudaStatus status = cuda_status();
  if (!status.nvrtc.empty() && !status.gpus.empty() && status.gpus.front().target == "sm_90a") return true;
  const char* required = std::getenv("QUERN_REQUIRE_GPU");
  INFO(status.driver_problem << " " << status.nvrtc_problem);
  CHECK_FALSE((required && std::string(required) == "1" && status.gpus.empty()));
  WARN("skipped: no GPU of sm_90a");
  return false;
}

ir::Program program_of(const std::string& text) {
  const dsl::Source source("test", text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  auto program = dsl::check(std::get<dsl::ast::Kernel>(file.items.front().node), &file, source, {}, diagnostics);
  if (!program) throw std::runtime_error(dsl::render(diagnostics, source));
  return std::move(*program);
}

std::shared_ptr<const runtime::Executable> compiled(const GroupProductCase& c) {
  using quern::cuda::Word;
  tile::Module module;
  const std::string type = c.type == DType::bf16 ? "bf16" : "f16";
  module.program = program_of("kernel f(a: " + type + "[M,K], b: " + type + "[K,N]) -> (y: f32[M,N]) { y[m,n] = sum[k](a[m,k] * b[k,n]) }");
  ir::Program& p = module.program;
  const auto tensor = [&](const std::string& name) {
    for (ir::TensorId id = 0; id < p.tensors.size(); ++id)
      if (p.tensors[id].name == name) return id;
    throw std::runtime_error(name);
  };
  const ir::TensorId a = tensor("a"), b = tensor("b"), y = tensor("y");
  quern::cuda::KernelLaunch launch;
  launch.entry = "kernel";
  launch.threads = c.threads();
  launch.tasks = p.pool.integer(c.row_tiles());
  launch.shared_bytes = p.pool.integer(static_cast<std::int64_t>(c.shared_bytes()));
  launch.words = {{Word::data, a}, {Word::data, y}};
  launch.maps = {{a, c.a_transposed ? std::vector<int>{0, 1} : std::vector<int>{1, 0}, {64, 64}},
                 {b, c.b_transposed ? std::vector<int>{1, 0} : std::vector<int>{0, 1}, {64, c.b_transposed ? 64 : static_cast<std::uint32_t>(c.columns)}}};
  quern::cuda::CudaModule printed;
  printed.text = c.text();
  printed.launches = {launch};
  printed.program = p;
  return runtime::gpu::compile_printed(std::move(module), std::move(printed), *quern::cuda::target_named("sm_90a"));
}

/// Halves in GPU memory.
Tensor on_gpu(const std::vector<std::uint16_t>& from, ElementType type) {
  Tensor host = Tensor::zeros(type, {static_cast<std::int64_t>(from.size())});
  std::memcpy(host.data(), from.data(), 2 * from.size());
  return to_gpu(host);
}

void check(const GroupProductCase& c) {
  const GroupProductData data(c);
  const ElementType type = c.type == DType::bf16 ? bf16 : f16;
  const Tensor a = on_gpu(data.a, type), b = on_gpu(data.b, type), y = gpu_tensor(f32, {c.rows, c.columns});
  const auto view = [&](const Tensor& of, std::int64_t rows, std::int64_t columns, bool by_columns) {
    const std::int64_t row = by_columns ? 1 : padded(static_cast<int>(columns)), column = by_columns ? padded(static_cast<int>(rows)) : 1;
    return TensorView(of.data(), type, {rows, columns}, {row, column}).on_gpu(0);
  };
  const TensorView va = view(a, c.rows, c.depth, c.a_transposed), vb = view(b, c.depth, c.columns, !c.b_transposed), vy = y;
  const TensorView* views[] = {&va, &vb, &vy};
  const std::int64_t symbols[] = {c.rows, c.depth, c.columns};
  const Options options;
  runtime::Launch launch{views, symbols, nullptr, nullptr, &options};
  launch.wait = true;
  compiled(c)->run(launch);
  const Tensor result = to_host(y);
  int wrong = 0;
  for (std::size_t i = 0; i < data.y.size(); ++i) wrong += !(result.as<float>()[i] == data.y[i]);
  INFO("transposed " << c.a_transposed << c.b_transposed << ", in registers " << c.a_in_registers << ", " << c.columns << " columns");
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("products of warp groups are what the emulator takes them for") {
  if (!have_hopper()) return;
  for (const bool a : {false, true})
    for (const bool b : {false, true}) check({.a_transposed = a, .b_transposed = b});
  check({.b_transposed = true, .a_in_registers = true});
  check({.b_transposed = false, .a_in_registers = true});
  check({.groups = 1, .rows = 130, .columns = 8, .depth = 64, .type = DType::f16});
  check({.b_transposed = false, .groups = 1, .rows = 64, .columns = 256, .depth = 72, .type = DType::f16});
  check({.groups = 1, .rows = 64, .columns = 256, .depth = 1000});
}
