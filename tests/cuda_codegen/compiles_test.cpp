// NVRTC accepts every text that elementwise.h can print, for the targets that differ, without a warning.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/interpreter/elementwise.h"
#include "tests/catch.h"
#include "tests/cuda_codegen/cases.h"
#include "tests/cuda_codegen/nvrtc.h"

using namespace quern;
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

std::string everything() {
  std::string text;
  for (const Case& c : cases()) text += "extern \"C\" __global__ void " + c.name + "(" + parameters(c) + ") {\n  const int i = threadIdx.x;\n" + body(c) + "}\n";
  for (int k = 0; k < kDTypeCount; ++k) {
    const DType type = static_cast<DType>(k);
    const std::string label(name(type));
    text += "extern \"C\" __global__ void atomic_" + label + "(" + stored_type(type) + "* at, " + value_type(type) + " v) {\n";
    for (ir::Reducer r : {ir::Reducer::sum, ir::Reducer::max, ir::Reducer::min}) text += "  " + atomic_text(r, type, "at", "v") + ";\n";
    text += "}\nextern \"C\" __global__ void shuffle_" + label + "(" + stored_type(type) + "* at) {\n  " + value_type(type) + " v = " +
            from_stored(type, "at[threadIdx.x]") + ";\n  v = shuffle_xor(shuffle(shuffle_up(shuffle_down(v, 1), 2), 3), 16);\n  at[threadIdx.x] = " +
            to_stored(type, "v") + ";\n}\n";
  }
  text += "extern \"C\" __global__ void report(quern_status* s, long long i, int j) {\n  if (i > 3) quern_report(s, 1u, 0, i, 3ll, 0xffffffffu, 0);\n"
          "  if (j > 3) quern_report(s, 1u, 0, j, 3ll, 2u, 2, i, j);\n}\n";
  return prelude(text) + text;
}

}  // namespace

TEST_CASE("NVRTC accepts every operator, conversion, atomic and exchange") {
  if (skipped()) return;
  const std::string text = everything();
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    const Compiled c = compile(text, arch);
    INFO(arch << "\n" << c.log);
    CHECK(c.ok);
    CHECK(c.log.empty());
  }
}

TEST_CASE("CUDA documents no larger error than the language allows") {
  for (int k = static_cast<int>(ir::Op::neg); k <= static_cast<int>(ir::Op::where); ++k) {
    const ir::Op op = static_cast<ir::Op>(k);
    INFO(ir::name(op));
    CHECK(documented_ulps(op, DType::f32) <= interpreter::error_rule(op).ulps);
    CHECK(documented_ulps(op, DType::f64) <= interpreter::error_rule(op).ulps);
  }
}

TEST_CASE("the prelude costs little and leaves nothing in the object") {
  if (skipped()) return;
  const std::string kernel = "extern \"C\" __global__ void k() {}";
  for (const char* arch : {"sm_80", "sm_90a"}) {
    Compiled none = compile(kernel, arch), with = compile(prelude(kernel) + kernel, arch), whole = compile(prelude("atomic_") + kernel, arch);
    for (int again = 0; again < 5; ++again) {
      none.milliseconds = std::min(none.milliseconds, compile(kernel, arch).milliseconds);
      with.milliseconds = std::min(with.milliseconds, compile(prelude(kernel) + kernel, arch).milliseconds);
      whole.milliseconds = std::min(whole.milliseconds, compile(prelude("atomic_") + kernel, arch).milliseconds);
    }
    std::printf("%s: empty unit %.1f ms, with the prelude %.1f ms, with atomics %.1f ms\n", arch, none.milliseconds, with.milliseconds, whole.milliseconds);
    REQUIRE(with.ok);
    CHECK(whole.cubin.size() < none.cubin.size() + 2000);
  }
}
