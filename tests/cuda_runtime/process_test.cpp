// What a user sees where parts of CUDA are missing or old, with the real NVRTC where there is one, and after fork.
#include <cstdlib>

#include <quern/quern.h>

#include "tests/catch.h"
#include "tests/command/process.h"
#include "tests/cuda_runtime/emulated_gpu.h"

namespace {

const std::string kProgram = "kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = 2 * x[n] }\n";
const std::vector<std::string> kRun{"run", "-", "x=iota:[5]", "--on", "cuda"};

bool says(const Output& o, const std::string& words) { return o.err.find(words) != std::string::npos || o.out.find(words) != std::string::npos; }

/// The first line of what the real NVRTC's absence is; "" where it is there.
std::string no_nvrtc() {
  const Output o = run_quern({"inspect", "-", "--on", "cuda:sm_90a", "--emit=ptx"}, kProgram, {"QUERN_NVRTC="});
  return o.status == 0 ? "" : o.err;
}

}  // namespace

TEST_CASE("a kernel runs on the emulated GPU from the command line") {
  const Output o = run_quern({"run", "-", "x=iota:[5]", "--on", "cuda", "--verify"}, kProgram);
  CHECK(o.status == 0);
  CHECK(says(o, "verified 5 of 5"));
}

TEST_CASE("no driver: the message names the library, and nothing else stops working") {
  const std::vector<std::string> none{"QUERN_LIBCUDA=/nowhere/libcuda.so.1"};
  const Output o = run_quern(kRun, kProgram, none);
  CHECK(o.status == 6);
  CHECK(says(o, "no CUDA driver"));
  CHECK(says(o, "/nowhere/libcuda.so.1"));
  CHECK(says(o, "QUERN_LIBCUDA"));
  CHECK(run_quern({"run", "-", "x=iota:[5]", "--on", "interpreter"}, kProgram, none).status == 0);
  CHECK(run_quern({"inspect", "-", "--on", "cuda:sm_80", "--emit=cuda"}, kProgram, none).status == 0);
  const Output doctor = run_quern({"doctor"}, "", none);
  CHECK(doctor.status == 0);
  CHECK(says(doctor, "no CUDA driver"));
}

TEST_CASE("an old driver: which version was found and which is needed") {
  const Output o = run_quern(kRun, kProgram, {"QUERN_EMULATED_DRIVER=11040"});
  CHECK(o.status == 6);
  CHECK(says(o, "supports CUDA 11.4; 12.0 or newer is needed"));
}

TEST_CASE("no NVRTC: what was tried and what to install") {
  const Output o = run_quern(kRun, kProgram, {"QUERN_NVRTC=/nowhere/libnvrtc.so"});
  CHECK(o.status == 6);
  CHECK(says(o, "NVRTC, which QUERN_NVRTC names, cannot be used"));
  CHECK(says(o, "/nowhere/libnvrtc.so"));
  // A library that is none.
  CHECK(says(run_quern(kRun, kProgram, {"QUERN_NVRTC=libm.so.6"}), "does not tell its version"));
}

TEST_CASE("stages that do not belong together are usage errors") {
  CHECK(run_quern({"inspect", "-", "--emit=ptx"}, kProgram).status == 2);
  CHECK(run_quern({"inspect", "-", "--on", "cuda:sm_90a", "--emit=asm"}, kProgram).status == 2);
  CHECK(run_quern({"run", "-", "x=iota:[5]", "--on", "gpu"}, kProgram).status == 2);
  CHECK(run_quern({"inspect", "-", "--on", "cuda:sm_1", "--emit=ptx"}, kProgram).status == 4);
}

TEST_CASE("NVRTC compiles for every target without a GPU, and its report is read") {
  if (const std::string missing = no_nvrtc(); !missing.empty()) {
    // .ci/run has NVRTC and sets this, so that the test cannot be passed over there.
    const char* required = std::getenv("QUERN_REQUIRE_NVRTC");
    INFO(missing);
    CHECK_FALSE((required && std::string(required) == "1"));
    WARN("skipped: " << missing);
    return;
  }
  const std::vector<std::string> real{"QUERN_NVRTC=", "QUERN_LIBCUDA=/nowhere"};
  for (const char* target : {"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"}) {
    const Output o = run_quern({"inspect", "-", "--on", std::string("cuda:") + target, "--emit=resources"}, kProgram, real);
    INFO(target << o.err);
    CHECK(o.status == 0);
    CHECK(says(o, "registers"));
    CHECK(o.out.find("quern_k0") != std::string::npos);
    CHECK(o.out.find(" 0 bytes of cubin") == std::string::npos);
    const Output ptx = run_quern({"inspect", "-", "--on", std::string("cuda:") + target, "--emit=ptx"}, kProgram, real);
    CHECK(ptx.out.find(std::string(".target ") + target) != std::string::npos);
  }
}

TEST_CASE("fuzz and judge run their programs in processes that each start CUDA") {
  const Output fuzz = run_quern({"fuzz", "--on", "cuda", "--count", "3", "--no-shrink"});
  INFO(fuzz.out << fuzz.err);
  CHECK(fuzz.status == 0);
  const Output judge = run_quern({"judge", "-", "--on", "cuda"}, "#: N=5 | N=1 | N=0\n" + kProgram);
  INFO(judge.out << judge.err);
  CHECK(judge.status == 0);
  CHECK(says(judge, "3 agree"));
}

TEST_CASE("a child of a process that has used CUDA is told why it cannot") {
  quern::cuda_status();
  const std::string text = quern_test::in_child([]() -> std::string {
    const quern::Result<quern::Kernel> k = quern::Kernel::compile(kProgram, quern::Options().on(quern::Device::cuda));
    if (k.ok()) return "compiled";
    if (k.code() != quern::Code::unsupported) return quern::name(k.code());
    return k.error().message().find("forked") != std::string::npos ? "" : k.error().message();
  });
  CHECK(text.empty());
}

TEST_CASE("the tests for a real GPU pass on the emulated one") {
  CHECK(std::system("'" QUERN_GPU_TESTS "' > /dev/null 2>&1") == 0);
}
