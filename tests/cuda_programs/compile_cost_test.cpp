// What a kernel gives its compilers to do, by which the time of a cold compile goes: bytes of text and of PTX, and statements with
// all sums as operands. These are the same on every machine, seconds are not. A limit is what the kernel had, and a tenth.
#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include <quern/error.h>

#include "compiler/codegen/cuda/plan_cuda.h"
#include "runtime/cuda/compile_nvrtc.h"
#include "tests/catch.h"
#include "tools/fuzz/front.h"

using namespace quern;

namespace {

constexpr const char* kAttention = "  o[b,h,m,e] = sum[n](softmax[n{}](sum[d](q[b,h,m,d] * k[b,h,n,d]) / {}) * v[b,h,n,e])\n";

std::string attention(int d, const char* where) {
  return fmt::format("#: B=1 H=1 M=64 N=64\nkernel f(q: bf16[B,H,M,{0}], k: bf16[B,H,N,{0}], v: bf16[B,H,N,{0}]) -> (o: bf16[B,H,M,{0}]) {{\n", d) +
         fmt::format(fmt::runtime(kAttention), where, fmt::format("sqrt({})", d)) + "}\n";
}

struct Cost {
  const char* name;
  std::string text;
  std::size_t bytes, ptx;  // of CUDA text and of PTX, at most; PTX as CUDA 13.0 makes it
  int products;            // statements that start products of warp groups: each carries all sums through the compiler
};

const Cost kCosts[] = {
    {"attention, heads of 64", attention(64, ""), 96000, 165000, 4},
    {"attention, heads of 128", attention(128, ""), 98000, 158000, 4},
    {"attention, heads of 256", attention(256, ""), 102000, 228000, 4},
    {"causal attention, heads of 128", attention(128, " where n <= m + N - M"), 106000, 182000, 4},
    {"causal attention, heads of 256", attention(256, " where n <= m + N - M"), 110000, 253000, 4},
    {"product", "#: M=64 N=64 K=64\nkernel f(a: bf16[M,K], b: bf16[K,N]) -> (c: bf16[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }\n", 63000, 142000, 3},
    {"RMS norm", "#: M=4 N=64\nkernel f(x: bf16[M,N], w: bf16[N]) -> (y: bf16[M,N]) { y[m,n] = x[m,n] * rsqrt(mean[n](x[m,n] * x[m,n]) + 1e-6) * w[n] }\n", 49000, 69000, 0},
    {"softmax", "#: M=4 N=64\nkernel f(x: bf16[M,N]) -> (y: bf16[M,N]) { y[m,n] = softmax[n](x[m,n]) }\n", 56000, 90000, 0},
    {"argmax", "#: M=4 N=64\nkernel f(x: f32[M,N]) -> (at: i32[M]) { at[m] = argmax[n](x[m,n]) }\n", 45000, 50000, 0},
    {"top 8", "#: M=4 N=64\nkernel f(x: f32[M,N]) -> (v: f32[M,8], at: i32[M,8]) { v[m,j], at[m,j] = topk[n -> j in 0:8](x[m,n]) }\n", 58000, 97000, 0},
};

std::string printed(const Cost& cost, const cuda::Target& target) {
  const fuzz::Checked checked = fuzz::check_case(cost.text, fuzz::cases_of(cost.text).at(0));
  INFO(checked.diagnostics);
  REQUIRE(checked.program);
  cuda::CudaOptions options;
  options.target = target;
  options.layouts.assign(checked.program->tensors.size(), cpu::TensorLayout{true, {}});
  const cuda::CudaModule module = cuda::print_cuda(cuda::plan_for_cuda(*checked.program, options), options);
  REQUIRE(module.error == "");
  return module.text;
}

}  // namespace

TEST_CASE("kernels give their compilers no more to do than they did") {
  const cuda::Target target = *cuda::target_named("sm_90a");
  for (const Cost& cost : kCosts) {
    const std::string text = printed(cost, target);
    CAPTURE(cost.name, text.size());
    CHECK(text.size() <= cost.bytes);
    // Nor can a limit be far behind.
    CHECK(text.size() >= cost.bytes / 2);
    int products = 0;
    for (std::size_t at = 0; (at = text.find("quern_products_", at)) != std::string::npos; ++at) products += text.substr(std::max<std::size_t>(at, 5) - 5, 5) != "void ";
    CHECK(products == cost.products);
    try {
      const runtime::gpu::CompiledText code = runtime::gpu::compile_nvrtc(text, target);
      CAPTURE(code.ptx.size());
      CHECK(code.remarks.empty());
      CHECK(code.ptx.size() <= cost.ptx);
      CHECK(code.ptx.size() >= cost.ptx / 2);
    } catch (const Error& e) {
      if (e.code() != Code::unsupported || std::getenv("QUERN_REQUIRE_NVRTC")) FAIL(e.what());
      WARN("skipped: " << e.what());
    }
  }
}
