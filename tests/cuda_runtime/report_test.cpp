// What is read from ptxas's report.
#include "runtime/cuda/compile_nvrtc.h"
#include "tests/catch.h"

using namespace quern::runtime::gpu;

TEST_CASE("the report of ptxas gives registers, spills, stack and shared memory of each kernel") {
  CompiledText c;
  read_report(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'k1' for 'sm_90a'\n"
      "ptxas info    : Function properties for k1\n"
      "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 10 registers, used 0 barriers\n"
      "ptxas info    : Compile time = 1.798 ms\n"
      "ptxas info    : Compiling entry function 'k0' for 'sm_90a'\n"
      "ptxas info    : Function properties for k0\n"
      "    256 bytes stack frame, 96 bytes spill stores, 104 bytes spill loads\n"
      "ptxas info    : Used 255 registers, used 1 barriers, 256 bytes cumulative stack size, 128 bytes smem, 400 bytes cmem[0]\n"
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to a function\n"
      "ptxas info    : Function properties for _Z17quern_store_pairsPtS_iijjjj\n"
      "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n",
      c);
  REQUIRE(c.kernels.size() == 2);
  CHECK(c.kernels[0].entry == "k1");
  CHECK(c.kernels[0].registers == 10);
  CHECK(c.kernels[0].static_shared_bytes == 0);
  CHECK(c.kernels[1].entry == "k0");
  CHECK(c.kernels[1].registers == 255);
  CHECK(c.kernels[1].stack_bytes == 256);
  CHECK(c.kernels[1].spill_store_bytes == 96);
  CHECK(c.kernels[1].spill_load_bytes == 104);
  CHECK(c.kernels[1].static_shared_bytes == 128);
  REQUIRE(c.remarks.size() == 1);
  CHECK(c.remarks[0].code == "C7510");
  CHECK(c.remarks[0].meaning.find("function boundary") != std::string::npos);
}

TEST_CASE("a log without a report gives none") {
  CompiledText c;
  read_report("", c);
  read_report("kernel.cu(3): warning #177-D: variable \"x\" was declared but never referenced\n", c);
  CHECK(c.kernels.empty());
  CHECK(c.remarks.empty());
}
