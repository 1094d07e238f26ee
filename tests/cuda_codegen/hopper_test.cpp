// NVRTC accepts every function of prelude_hopper.h for sm_90a, each in a kernel that uses it as generated text does.
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "compiler/codegen/cuda/prelude_hopper.h"
#include "compiler/codegen/cuda/prelude_tensor.h"
#include "tests/catch.h"
#include "tests/cuda_codegen/nvrtc.h"
#include "tests/cuda_emulator/group_product.h"

using namespace quern::cuda;
using namespace quern::cuda::test;

namespace {

bool skipped() {
  std::string why;
  if (have_nvrtc(&why)) return false;
  const char* required = std::getenv("QUERN_REQUIRE_NVRTC");
  INFO(why);
  REQUIRE_FALSE((required && std::string(required) == "1"));
  std::printf("skipped: %s\n", why.c_str());
  return true;
}

constexpr const char* kOwn = "unsigned own[4][4];\n#pragma unroll\n  for (int i = 0; i < 16; ++i) own[i / 4][i % 4] = from[128 * i + threadIdx.x];";

/// One kernel for each form of a product with that many columns.
std::string products(int columns) {
  std::set<GroupProduct> used;
  std::string text;
  for (const char* type : {"bf16", "f16"})
    for (int form = 0; form < 6; ++form) {
      GroupProduct p{type, type, columns, 4, {}, {}};
      p.left = form >= 4 ? GroupOperand{true, false, 0} : GroupOperand{false, form / 2 % 2 == 1, form / 2 % 2 == 1 ? 0 : 64};
      p.right = form % 2 == 1 ? GroupOperand{false, true, 0} : GroupOperand{false, false, columns};
      used.insert(p);
      text += fmt::format(R"(
extern "C" __global__ void __launch_bounds__(128) product_{}_{}_{}(const unsigned* from, float* to) {{
  float d[{}][4];
  {}
  quern_wgmma_fence();
  {}(d, {}, quern_operand(4096, 8192), {});
  quern_wgmma_commit();
  quern_wgmma_wait<0>();
  quern_wgmma_pin(d);
#pragma unroll
  for (int i = 0; i < {}; ++i) to[i * 128 + threadIdx.x] = d[i][0] + d[i][1] + d[i][2] + d[i][3];
}}
)", columns, type, form, columns / 8, p.left.in_registers ? kOwn : "", p.name(), p.left.in_registers ? "own" : "quern_operand(0, 16)", form % 2, columns / 8);
    }
  return group_products(used) + text;
}

constexpr const char* kCopies = R"(
struct Parameters { quern_map map; float* to; };
extern "C" __global__ void __launch_bounds__(256, 1) copies(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) unsigned char tile[];
  const unsigned base = quern_shared_address(tile), barrier = base + 65536;
  if (threadIdx.x == 0) {
    quern_mbarrier_init(barrier, 1);
    quern_mbarrier_init(barrier + 8, 128);
    quern_mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    quern_fewer_registers<24>();
    if (threadIdx.x == 0) {
      quern_mbarrier_wait(barrier + 8, 1);
      quern_mbarrier_expect(barrier, 32768);
      quern_tensor_load(base, p.map, barrier, 1, -2);
      quern_tensor_load(base + 8192, p.map, barrier, 1, 2, 3);
      quern_tensor_load(base + 16384, p.map, barrier, 1, 2, 3, 4);
      quern_tensor_load(base + 24576, p.map, barrier, 1, 2, 3, 4, 5);
    }
  } else {
    quern_more_registers<240>();
    quern_mbarrier_wait(barrier, 0);
    p.to[threadIdx.x] = ((float*)tile)[threadIdx.x];
    quern_async_fence();
    quern_mbarrier_arrive(barrier + 8);
  }
}
)";

void accepts(const std::string& text) {
  const Compiled c = compile(text, "sm_90a");
  INFO(c.log);
  CHECK(c.ok);
  CHECK(c.log.empty());
}

}  // namespace

TEST_CASE("NVRTC accepts every product of warp groups") {
  if (skipped()) return;
  std::string kernels;
  for (const int columns : {16, 64, 80, 128, 256}) kernels += products(columns);
  accepts(tensor_prelude() + std::string(hopper_prelude()) + kernels);
}

TEST_CASE("NVRTC accepts memory barriers, tensor copies and other numbers of registers") {
  if (skipped()) return;
  accepts(tensor_prelude() + std::string(hopper_prelude()) + kCopies);
  std::set<GroupProduct> used;
  std::string calls;
  for (const char* left : {"e4m3", "e5m2"})
    for (const char* right : {"e4m3", "e5m2"}) {
      const GroupProduct p{left, right, 80, 2, {false, false, 64}, {false, false, 80}};
      used.insert(p);
      calls += fmt::format("  {}(d, a, b, {});\n", p.name(), calls.empty() ? 0 : 1);
    }
  accepts(tensor_prelude() + std::string(hopper_prelude()) + std::string(byte_copies_prelude()) + group_products(used) + R"(
extern "C" __global__ void __launch_bounds__(128, 1) products(float* y, unsigned long long a, unsigned long long b) {
  float d[10][4];
  quern_wgmma_fence();
)" + calls + R"(
  quern_wgmma_commit();
  quern_wgmma_wait<0>();
  quern_wgmma_pin(d);
  for (int i = 0; i < 40; ++i) y[threadIdx.x * 40 + i] = d[i / 4][i % 4];
}
)");
}

TEST_CASE("NVRTC accepts the whole kernels by hand") {
  if (skipped()) return;
  for (const bool a : {false, true})
    for (const bool b : {false, true}) accepts(quern_test::GroupProductCase{.a_transposed = a, .b_transposed = b}.text());
  accepts(quern_test::GroupProductCase{.a_in_registers = true}.text());
}
