// The kernels of all programs become machine code for sm_80 and sm_90a, without remarks of ptxas and without heavy spills.
// Needs NVRTC and no GPU; without NVRTC the tests say that they are skipped, unless QUERN_REQUIRE_NVRTC=1.
#include <atomic>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include <quern/error.h>

#include "compiler/codegen/cuda/plan_cuda.h"
#include "runtime/cuda/compile_nvrtc.h"
#include "tests/catch.h"
#include "tests/programs/programs.h"
#include "tools/fuzz/front.h"

using namespace quern;

namespace {

/// What went wrong, or "".
std::string compiled(const test::ExampleFile& file, const fuzz::Case& which, const cuda::Target& target) {
  const fuzz::Checked checked = fuzz::check_case(file.text, which);
  if (!checked.program) return checked.diagnostics;
  cuda::CudaOptions options;
  options.target = target;
  options.layouts.assign(checked.program->tensors.size(), cpu::TensorLayout{true, {}});
  const cuda::CudaModule module = cuda::print_cuda(cuda::plan_for_cuda(*checked.program, options), options);
  if (!module.error.empty()) return module.error;
  const runtime::gpu::CompiledText code = runtime::gpu::compile_nvrtc(module.text, target);
  for (const auto& remark : code.remarks) return remark.text;
  for (const auto& kernel : code.kernels)
    if (kernel.spill_store_bytes > 1024) return fmt::format("{} spills {} bytes", kernel.entry, kernel.spill_store_bytes);
  return "";
}

/// The first case of each kernel of the examples, on every core.
void compile_all(const cuda::Target& target) {
  try {
    (void)runtime::gpu::compile_nvrtc("extern \"C\" __global__ void nothing() {}\n", target);
  } catch (const Error& e) {
    if (e.code() != Code::unsupported || std::getenv("QUERN_REQUIRE_NVRTC")) FAIL(e.what());
    WARN("skipped: " << e.what());
    return;
  }
  std::vector<std::pair<const test::ExampleFile*, fuzz::Case>> cases;
  for (const test::ExampleFile& file : test::examples()) {
    std::string last;
    for (const fuzz::Case& which : file.cases) {
      if (which.kernel != last) cases.emplace_back(&file, which);
      last = which.kernel;
    }
  }
  REQUIRE(cases.size() > 100);
  std::vector<std::string> faults(cases.size());
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t)
    threads.emplace_back([&] {
      for (std::size_t i = next++; i < cases.size(); i = next++) {
        try {
          faults[i] = compiled(*cases[i].first, cases[i].second, target);
        } catch (const std::exception& e) {
          faults[i] = e.what();
        }
      }
    });
  for (std::thread& t : threads) t.join();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    INFO(cases[i].first->name << ".quern, kernel " << cases[i].second.kernel << ", " << cuda::name_of(target));
    CHECK(faults[i] == "");
  }
}

}  // namespace

TEST_CASE("all programs compile for sm_80") { compile_all(*cuda::target_named("sm_80")); }
TEST_CASE("all programs compile for sm_90a") { compile_all(*cuda::target_named("sm_90a")); }
