// Every kernel of examples/ with its cases as CUDA text on the emulator: the interpreter's values within its bound, the same
// bits in two orders of threads over two kinds of poison, with guard pages around every argument.
#include <array>

#include "tests/catch.h"
#include "tests/cuda_programs/emulated_device.h"
#include "tests/programs/programs.h"
#include "tools/fuzz/variants.h"

using namespace quern;

namespace {

void agree(const test::ExampleFile& file, const fuzz::Case& which) {
  const fuzz::Verdict verdict = fuzz::judge(file.text, which, test::emulated());
  INFO(file.name << ".quern, kernel " << which.kernel << ", case " << which.text());
  INFO(fuzz::name(verdict.outcome) << ": " << verdict.message);
  CHECK(verdict.outcome == fuzz::Outcome::agree);
}

void run_file(const std::string& name) {
  const test::ExampleFile& file = test::example(name);
  REQUIRE(!file.cases.empty());
  for (const fuzz::Case& which : file.cases)
    if (!which.slow) agree(file, which);
}

}  // namespace

TEST_CASE("loops agree") { run_file("loops"); }
TEST_CASE("einsum agrees") { run_file("einsum"); }
TEST_CASE("memory agrees") { run_file("memory"); }
TEST_CASE("rows agree") { run_file("rows"); }
TEST_CASE("broadcasting agrees") { run_file("broadcasting"); }
TEST_CASE("indexing agrees") { run_file("indexing"); }
TEST_CASE("attention agrees") { run_file("attention"); }
TEST_CASE("scores agree") { run_file("scores"); }
TEST_CASE("serving agrees") { run_file("serving"); }
TEST_CASE("networks agree") { run_file("networks"); }

TEST_CASE("strided, reversed, transposed, offset, padded and repeated inputs are read in place") {
  // One layout a kernel, in turn.
  const std::array layouts = {"transposed", "reversed", "strided", "offset", "padded", "broadcast"};
  std::size_t turn = 0;
  for (const test::ExampleFile& file : test::examples()) {
    std::string last;
    for (const fuzz::Case& which : file.cases) {
      if (which.kernel != last) agree(file, fuzz::with_layout(file.text, which, layouts[turn++ % layouts.size()]));
      last = which.kernel;
    }
  }
}

TEST_CASE("a GPU with less shared memory keeps tiles in device memory, with the same results") {
  cuda::Target small;
  small.shared_bytes = 8 * 1024;
  int slabs = 0;
  for (const auto& [name, kernel] : {std::pair{"attention", "attention"}, {"attention", "causal"}, {"rows", "row_softmax"}, {"einsum", "matrix_product"}, {"scores", "documents"}})
    for (const fuzz::Case& which : test::example(name).cases) {
      if (which.slow || which.kernel != kernel) continue;
      const fuzz::Verdict verdict = fuzz::judge(test::example(name).text, which, test::emulated(small, [&](std::string& text) { slabs += text.find("slab") != std::string::npos; }));
      INFO(kernel << ", case " << which.text() << ": " << verdict.message);
      CHECK(verdict.outcome == fuzz::Outcome::agree);
    }
  CHECK(slabs > 0);
}

TEST_CASE("a text without its barriers is noticed") {
  const auto without_barriers = [](std::string& text) {
    const std::size_t kernels = text.find("extern \"C\"");
    for (std::size_t at = kernels; (at = text.find("__syncthreads();", at)) != std::string::npos;) text.erase(at, 16);
  };
  for (const auto& [name, kernel] : {std::pair{"attention", "attention"}, {"attention", "causal"}, {"rows", "row_softmax"}, {"rows", "row_moments"}, {"einsum", "matrix_product"}}) {
    bool noticed = false;
    for (const fuzz::Case& which : test::example(name).cases) {
      if (which.slow || which.kernel != kernel || noticed) continue;
      noticed = fuzz::judge(test::example(name).text, which, test::emulated({}, without_barriers)).outcome != fuzz::Outcome::agree;
    }
    INFO(kernel);
    CHECK(noticed);
  }
}
